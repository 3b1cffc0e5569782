//! The server side: a daemon that holds descriptors for others.
//!
//! One loop waits for everything at once. What is held is in [`table`]; each client has a [`connection`],
//! what it may do comes from [`access`], what its requests mean stands in [`request`], and how they are
//! answered in [`answer`]. What is said of all this goes through [`log`]; what is let go goes through
//! [`closing`], since nobody is to wait for that; the socket, for a caller that brings none, comes from
//! [`listener`]. All memory but that for a file of rules is taken once, at the start, by how many
//! descriptors and clients there may be; so there is nothing to run out of later.

pub mod access;
pub mod answer;
pub mod closing;
pub mod connection;
pub mod hash;
pub mod identity;
pub mod listener;
pub mod log;
pub mod places;
pub mod request;
pub mod room;
pub mod seats;
pub mod start;
pub mod table;

use crate::protocol::tai;
use crate::sys::Errno;
use crate::sys::fd::{BorrowedFd, Fd, STDERR, STDIN, STDOUT};
use crate::sys::signal::{Signal, Signals};
use crate::sys::socket;
use crate::sys::time::{self, Poll};
use access::{Identity, Source};
use log::Cause;
use places::Waiting;
use request::{Service, Session};
use seats::Seats;
use table::{NO_ALARM, NOW};

/// The most clients at a time.
pub const CLIENTS_MAX: usize = 256;

/// The most connections: one more may wait for a place when all are taken.
const CONNECTIONS_MAX: usize = CLIENTS_MAX + 1;

/// Milliseconds after which something is tried again of which nothing tells when it can be done.
const MOMENT: u32 = 10;

/// Milliseconds after which a client that has sent and taken nothing is silent: its place can be given
/// to another, and a daemon that is to end does not wait for it.
const SILENCE: u32 = 1000;

/// Milliseconds of a second.
const SECOND: u32 = 1000;

/// Whole seconds that a wait for a date takes at most: the clock may be set meanwhile.
const WAIT_MAX: u64 = 60;

/// How the daemon is to be.
#[derive(Clone, Copy)]
pub struct Settings {
    /// How much it says: 0, 1 or 2.
    pub verbosity: u32,
    /// Clients at a time.
    pub clients: u32,
    /// Descriptors that it may hold.
    pub held: u32,
    /// Milliseconds for a client in the middle of an operation; 0 is no limit.
    pub timeout: u32,
    /// Milliseconds for all clients to finish when it is to end; 0 is no limit.
    pub lame_duck: u32,
    /// Whether to say when it is ready.
    pub says_ready: bool,
    /// Where the access rules are, once it is known. There is no daemon without.
    pub rules: Option<Source>,
}

impl Settings {
    /// Those without any option.
    pub const DEFAULT: Settings = Settings {
        verbosity: 1,
        clients: 16,
        held: 1000,
        timeout: 0,
        lame_duck: 0,
        says_ready: false,
        rules: None,
    };
}

/// Whether clients can be accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Accepting {
    /// A client has been turned away since the last one was accepted, for want of a descriptor: so it
    /// has been said.
    is_crowded: bool,
    /// Not even that could be done, or there was nobody though there should have been: to wait for a
    /// client would be no wait.
    is_stuck: bool,
    /// The listening socket has been shut down, by somebody else who has it: so it has been said.
    is_shut: bool,
}

/// A running daemon.
pub struct Daemon<'p> {
    settings: &'p Settings,
    /// The listening socket.
    listener: BorrowedFd<'static>,
    /// What was standard output, another descriptor of the same socket by now.
    out: BorrowedFd<'static>,
    /// Places for connections: one more than may be clients at a time. A client that comes when all but
    /// one are taken waits there for a place.
    seats: Seats,
    /// Which connection waits for a place, if one does.
    waiting: Option<Waiting>,
    accepting: Accepting,
    /// Since when it is a lame duck, in milliseconds of uptime, if it is to end.
    ending_since: Option<u32>,
    service: Service<'p>,
    /// It is closed last: closers put it in the place of what they close.
    signals: Signals,
}

/// What was waited for, besides clients.
struct Happened {
    listener: Poll,
    signals: Poll,
}

impl Daemon<'_> {
    /// Serves until it is told to end and all clients are done.
    pub fn run(mut self) {
        while let Some(happened) = self.wait() {
            self.turn(happened);
        }
        self.end();
    }

    /// Does what there is to do after a wait.
    fn turn(&mut self, Happened { listener, signals }: Happened) {
        // It could be read at the start. What is timed by it stands still if it cannot be any more.
        self.service.now = time::uptime().unwrap_or(self.service.now);
        self.seats.serve_all(&mut self.service, false);
        self.let_in();
        let Accepting { is_stuck, is_shut, .. } = self.accepting;
        // No more than one, as `socket::accept` wants it. Nor are those who have come already to wait
        // for those who come.
        if self.ending_since.is_none() && (listener.has_happened() || is_stuck || is_shut) {
            self.accept(listener);
        }
        if signals.has_happened() {
            while let Some(signal) = self.signals.next() {
                match signal {
                    Signal::HangUp => self.reload(),
                    Signal::Terminate if self.ending_since.is_none() => self.begin_to_end(),
                    Signal::Terminate => {}
                }
            }
        }
    }

    /// Waits until there is something to do. Nothing if a lame duck has nobody left, or no time.
    fn wait(&mut self) -> Option<Happened> {
        let mut wait = expire(&mut self.service);
        wait = wait.min(self.service.table.closing.tend());
        wait = wait.min(self.service.log.tend(self.service.now));
        // As it was after the last wait: what has been done since took no time to speak of.
        let now = self.service.now;
        let is_ending = self.ending_since.is_some();
        wait = wait.min(self.seats.prepare(now, self.settings.timeout, is_ending));
        let mut holds_up = if self.seats.has_room() { 0 } else { u32::MAX };
        if let Some(waiting) = self.waiting {
            wait = wait.min(waiting.left(now));
            holds_up = waiting.holds_up(now);
        }
        let mut listener = Poll::NOTHING;
        if let Some(since) = self.ending_since {
            let left = match self.settings.lame_duck {
                0 => u32::MAX,
                limit => limit.saturating_sub(now.wrapping_sub(since)),
            };
            if self.seats.count() == 0 || left == 0 {
                return None;
            }
            wait = wait.min(left);
        } else if self.accepting.is_stuck || self.accepting.is_shut {
            wait = wait.min(if self.accepting.is_shut { SECOND } else { MOMENT });
        } else if holds_up == 0 {
            listener = Poll::on_listener(self.listener);
        } else {
            wait = wait.min(holds_up);
        }
        let signals = Poll::on(self.signals.descriptor(), time::Event::Readable);
        let mut others = [listener, signals];
        self.seats.wait(&mut others, wait);
        let [listener, signals] = others;
        Some(Happened { listener, signals })
    }

    /// Begins to end: a lame duck.
    fn begin_to_end(&mut self) {
        self.service.log.note(None, "lame duck", Cause::Nothing);
        // Those who have connected by now are let in as far as there are places, and what they have
        // asked by now is answered.
        for _ in 0..CONNECTIONS_MAX {
            if !self.accept(Poll::NOTHING) {
                break;
            }
        }
        let now = self.service.now;
        self.ending_since = Some(now);
        for connection in self.seats.iter_mut() {
            connection.last_active = now;
        }
        self.seats.serve_all(&mut self.service, true);
    }

    /// Accepts a client, if there is a place for it. `happened` is why: what was waited for and came.
    /// False if it is of no use to try again now.
    fn accept(&mut self, happened: Poll) -> bool {
        self.accepting.is_stuck = false;
        if self.place().is_none() {
            return false;
        }
        // It may have been given away for a client whose connection took long to close.
        self.service.gate.find_spare(self.listener);
        match socket::accept(self.listener) {
            Ok(fd) => {
                (self.accepting.is_crowded, self.accepting.is_shut) = (false, false);
                if let Some(fd) = fd {
                    self.admit(fd);
                }
                true
            }
            // Somebody else who has the socket has been faster, or has shut it down.
            Err(Errno::AGAIN) => {
                self.accepting.is_stuck = happened.has_happened();
                if happened.has_ended() && !self.accepting.is_shut {
                    self.accepting.is_shut = true;
                    // That is what clients get.
                    let cause = Cause::Ours(Errno::CONNREFUSED);
                    self.service.log.note(None, "the listening socket is shut down", cause);
                }
                false
            }
            Err(errno) => {
                if !self.accepting.is_crowded {
                    self.service.log.note(None, "unable to accept a client", Cause::Ours(errno));
                }
                // It is turned away: nothing that is held is closed for it.
                self.accepting.is_crowded = true;
                self.service.gate.spare = None;
                match socket::accept(self.listener) {
                    Ok(fd) => fd.into_iter().for_each(|fd| self.service.table.closing.hang_up(fd)),
                    Err(_) => self.accepting.is_stuck = true,
                }
                self.service.gate.find_spare(self.listener);
                false
            }
        }
    }

    /// The number of a place for the next client: a free one, or that of a connection that has waited for
    /// long enough and must not keep others from being seen.
    fn place(&self) -> Option<usize> {
        let before = self.waiting.filter(|waiting| waiting.holds_up(self.service.now) == 0);
        self.seats.free().or(before.map(|waiting| waiting.number))
    }

    /// Lets a client in, if the rules do, and serves it at once, since it may have asked already; if all
    /// places are taken it waits.
    fn admit(&mut self, fd: Fd) {
        let now = self.service.now;
        let Some(number) = self.place() else { return self.service.table.closing.hang_up(fd) };
        let mut since = now;
        if let Some(before) = self.waiting.filter(|waiting| waiting.number == number) {
            since = before.since;
            self.waiting = None;
            let connection = self.seats.at(number);
            (connection.is_waiting, connection.doom) = (false, Some(Errno::TIMEDOUT));
            self.seats.attend(&mut self.service, number);
        }
        let Service { gate, log, table, .. } = &mut self.service;
        // It may have sent something already.
        let Ok(peer) = socket::peer(fd.borrow()) else { return table.closing.hang_up(fd) };
        let who = Identity { uid: peer.uid, gid: peer.gid };
        let admitted = gate.admit(number, who, log);
        gate.find_spare(self.listener);
        let Some(access) = admitted else { return table.closing.hang_up(fd) };
        socket::refuse_credentials(fd.borrow());
        socket::receive_in_line(fd.borrow());
        log.note(Some(&who), "connect", Cause::Nothing);
        let is_full = !self.seats.has_more_than_one();
        let connection = self.seats.at(number);
        connection.session = Session { who, missing: 0, access };
        (connection.fd, connection.last_active, connection.is_waiting) = (Some(fd), now, is_full);
        if is_full {
            let is_in_the_way = false;
            self.waiting = Some(Waiting { number, since, looked: now, pause: 0, is_in_the_way });
            self.let_in();
        } else {
            self.seats.attend(&mut self.service, number);
        }
    }

    /// Gives the connection that waits a place, if there is one: a free one, or that of a client that has
    /// to make way.
    fn let_in(&mut self) {
        let Some(waiting) = self.waiting else { return };
        let now = self.service.now;
        if !self.seats.has_room() {
            if waiting.left(now) > 0 {
                return;
            }
            match places::who_makes_way(&self.seats, waiting.number, now) {
                Ok(other) => {
                    self.seats.at(other).doom = Some(Errno::TIMEDOUT);
                    self.seats.attend(&mut self.service, other);
                }
                Err(pause) => {
                    let is_in_the_way = places::has_too_many(&self.seats, waiting.number);
                    self.waiting = Some(Waiting { looked: now, pause, is_in_the_way, ..waiting });
                    return;
                }
            }
        }
        self.waiting = None;
        let connection = self.seats.at(waiting.number);
        (connection.is_waiting, connection.last_active) = (false, now);
        self.seats.attend(&mut self.service, waiting.number);
    }

    /// Reads the rules again.
    fn reload(&mut self) {
        let Service { gate, log, .. } = &mut self.service;
        let Err((path, errno)) = gate.reload() else {
            return log.note(None, "rules read", Cause::Nothing);
        };
        log.warn(|line| {
            line.text("the old rules stay: unable to read rules from ");
            line.quoted(path.to_bytes()).reason(errno);
        });
    }

    /// Lets go of everything, before the process ends.
    fn end(mut self) {
        self.seats.leave_all(&mut self.service);
        let table = &mut self.service.table;
        table.end();
        if !table.closing.is_busy() {
            return;
        }
        // Nothing closes by itself before the closers end. Nobody is to take this for a daemon by then,
        // nor a client for one that may still be accepted.
        while let Ok(fd) = socket::accept(self.listener) {
            fd.into_iter().for_each(|fd| table.closing.hang_up(fd));
        }
        // It has been put at others of the first three numbers if these were free.
        for fd in [self.listener, self.out, STDIN, STDOUT, STDERR] {
            if socket::listens(fd) == Ok(true) {
                fd.close();
            }
        }
        self.service.gate.spare = None;
        // What still has to be closed would be closed here, and waited for.
        core::mem::forget(self);
    }
}

/// Stops holding what has expired, and says in how many milliseconds that may be due again; `u32::MAX`
/// if it never is.
fn expire(service: &mut Service) -> u32 {
    let Service { table, log, .. } = service;
    // The usual case, that nothing held ever expires, needs no clock.
    if tai::is_far_off(&table.alarm) {
        return u32::MAX;
    }
    // It could be read at the start. If it cannot be any more nothing expires, and it is tried again.
    let Ok(now) = time::now() else { return SECOND };
    let now = tai::label(now);
    if now >= table.alarm {
        table.alarm = NO_ALARM;
        let mut at = 0;
        while let Some(slot) = table.after(&mut at, NOW) {
            let expiry = *slot.expiry();
            if now >= expiry {
                log.event(None, "expire", slot.identifier(), Cause::Nothing);
                table.forget(at - 1);
            } else {
                table.set_alarm(&expiry);
            }
        }
    }
    let (alarm, now) = (tai::order(&table.alarm), tai::order(&now));
    let seconds = alarm.0.saturating_sub(now.0).min(WAIT_MAX) as i32;
    let milliseconds = (alarm.1 as i32 - now.1 as i32) / 1_000_000;
    // A millisecond that has begun counts: it is not to be looked at before.
    (seconds * 1000 + milliseconds + 1) as u32
}
