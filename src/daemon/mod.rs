//! The daemon, which holds descriptors for others.
//!
//! One loop waits for all events. [`table`] has what is held, [`connection`] the state of each client.
//! [`access`] decides what a client may do, [`request`] carries out requests, [`answer`] sends the
//! results. [`log`] writes messages without blocking, and [`closing`] closes descriptors without
//! blocking. [`listener`] makes a socket for a caller that has none. All memory except that for a
//! database of rules is allocated at the start, for the most descriptors and clients, so memory cannot
//! run out later.

pub mod access;
pub mod answer;
pub mod capacity;
pub mod clients;
pub mod closing;
pub mod connection;
pub mod eviction;
pub mod hash;
pub mod identity;
pub mod listener;
pub mod log;
pub mod request;
pub mod start;
pub mod table;

use crate::protocol::tai::{self, Label};
use crate::sys::Errno;
use crate::sys::fd::{BorrowedFd, Fd, STDERR, STDIN, STDOUT};
use crate::sys::signal::{Signal, Signals};
use crate::sys::socket;
use crate::sys::time::{self, Poll};
use access::{Identity, Source};
use clients::Clients;
use eviction::Waiting;
use log::Cause;
use request::{Service, Session};
use table::{NO_ALARM, NOW};

/// The most clients.
pub const CLIENTS_MAX: usize = 256;

/// The most connections: when all places are taken, one more waits for a place.
const CONNECTIONS_MAX: usize = CLIENTS_MAX + 1;

/// Milliseconds between two attempts at something whose success the kernel does not announce.
const RETRY: u32 = 10;

/// Milliseconds after which a client that sends and takes nothing counts as silent: another client can
/// get its place, and a daemon that ends does not wait for it.
const SILENCE: u32 = 1000;

/// Milliseconds of a second.
const SECOND: u32 = 1000;

/// The longest wait for a date, in seconds: the clock may be set meanwhile.
const WAIT_MAX: u64 = 60;

/// The settings of a daemon.
#[derive(Clone, Copy)]
pub struct Settings {
    /// How much is logged: 0, 1 or 2.
    pub verbosity: u32,
    /// The most clients.
    pub clients: u32,
    /// The most descriptors that may be held.
    pub held: u32,
    /// Milliseconds of silence allowed to a client in the middle of an operation; 0 is no limit.
    pub timeout: u32,
    /// Milliseconds for clients to finish after SIGTERM; 0 is no limit.
    pub lame_duck: u32,
    /// True if the daemon writes a newline to standard output when it is ready.
    pub says_ready: bool,
    /// Where the access rules are; `None` until the option has been read. The daemon needs them.
    pub rules: Option<Source>,
}

impl Settings {
    /// The settings without any option.
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
    /// True if a client has been turned away for lack of a descriptor, and none accepted since. It has
    /// been logged.
    has_rejected: bool,
    /// True if the listener is ready and yet no client could be accepted. Waiting for it would return
    /// at once, so the next attempt comes after [`RETRY`].
    must_retry: bool,
    /// True if another process has shut down the listening socket. It has been logged.
    is_shut: bool,
}

/// A running daemon.
pub struct Daemon<'p> {
    settings: &'p Settings,
    /// The listening socket.
    listener: BorrowedFd<'static>,
    /// The former standard output, by now another descriptor of the listening socket.
    out: BorrowedFd<'static>,
    /// The places for connections: one more than there may be clients. When only that one is free, a
    /// new connection takes it and waits for another place.
    clients: Clients,
    /// The connection that waits for a place, if there is one.
    waiting: Option<Waiting>,
    accepting: Accepting,
    /// Since when the daemon is a lame duck, in milliseconds of uptime; `None` before SIGTERM.
    ending_since: Option<u32>,
    service: Service<'p>,
    /// Dropped last: closers put this descriptor in the place of those that they close.
    signals: Signals,
}

/// The events that are not those of clients.
struct Happened {
    listener: Poll,
    signals: Poll,
}

impl Daemon<'_> {
    /// Serves until SIGTERM has come and all clients are done.
    pub fn run(mut self) {
        while let Some(happened) = self.wait() {
            self.handle(happened);
        }
        self.end();
    }

    /// Handles the events after a wait.
    fn handle(&mut self, Happened { listener, signals }: Happened) {
        // The clock could be read at the start. If it cannot be read any more, timeouts do not run.
        self.service.now = time::uptime().unwrap_or(self.service.now);
        self.service.date = None;
        self.clients.serve_all(&mut self.service, false);
        self.admit_waiting();
        let Accepting { must_retry, is_shut, .. } = self.accepting;
        // One client at a time: [`socket::accept`] relies on a `poll` before each call, and connected
        // clients must not wait for new ones.
        if self.ending_since.is_none() && (listener.has_happened() || must_retry || is_shut) {
            self.accept(listener);
        }
        if signals.has_happened() {
            while let Some(signal) = self.signals.next() {
                match signal {
                    Signal::HangUp => self.reload(),
                    Signal::Terminate if self.ending_since.is_none() => self.become_lame_duck(),
                    Signal::Terminate => {}
                }
            }
        }
    }

    /// Waits for events. `None` if a lame duck has no client left, or no time.
    fn wait(&mut self) -> Option<Happened> {
        // What has followed the last reading of the clock has taken next to no time.
        let date = self.service.date;
        let mut wait = expire(&mut self.service, date);
        let may_wait = self.clients.has_ample_room(&self.service);
        wait = wait.min(self.service.table.closing.tick(self.service.now, may_wait));
        wait = wait.min(self.service.log.tick(self.service.now));
        // The time of the last wait: what followed has taken next to no time.
        let now = self.service.now;
        let is_ending = self.ending_since.is_some();
        wait = wait.min(self.clients.prepare(now, self.settings.timeout, is_ending));
        let mut blocked = if self.clients.has_room() { 0 } else { u32::MAX };
        if let Some(waiting) = self.waiting {
            wait = wait.min(waiting.left(now));
            blocked = waiting.blocks_for(now);
        }
        let mut listener = Poll::NOTHING;
        if let Some(since) = self.ending_since {
            let left = match self.settings.lame_duck {
                0 => u32::MAX,
                limit => limit.saturating_sub(now.wrapping_sub(since)),
            };
            if self.clients.count() == 0 || left == 0 {
                return None;
            }
            wait = wait.min(left);
        } else if self.accepting.must_retry || self.accepting.is_shut {
            wait = wait.min(if self.accepting.is_shut { SECOND } else { RETRY });
        } else if blocked == 0 {
            listener = Poll::on_listener(self.listener);
        } else {
            wait = wait.min(blocked);
        }
        let signals = Poll::on(self.signals.descriptor(), time::Event::Readable);
        let mut others = [listener, signals];
        self.clients.wait(&mut others, wait);
        let [listener, signals] = others;
        Some(Happened { listener, signals })
    }

    /// Starts to end: the daemon becomes a lame duck.
    fn become_lame_duck(&mut self) {
        self.service.log.note(None, "lame duck", Cause::Nothing);
        // Clients that have connected by now are accepted as far as there are places, and requests that
        // have come by now are answered.
        for _ in 0..CONNECTIONS_MAX {
            if !self.accept(Poll::NOTHING) {
                break;
            }
        }
        let now = self.service.now;
        self.ending_since = Some(now);
        for connection in self.clients.iter_mut() {
            connection.last_active = now;
        }
        self.clients.serve_all(&mut self.service, true);
    }

    /// Accepts a client, if there is a place. `happened` is the event of the listener that led here.
    /// False if another attempt now is of no use.
    fn accept(&mut self, happened: Poll) -> bool {
        self.accepting.must_retry = false;
        if self.place().is_none() {
            return false;
        }
        // The spare descriptor may still be missing, since it has been given up for a client whose
        // connection took long to close.
        self.service.gate.restore_spare(self.listener);
        match socket::accept(self.listener) {
            Ok(fd) => {
                (self.accepting.has_rejected, self.accepting.is_shut) = (false, false);
                if let Some(fd) = fd {
                    self.admit(fd);
                }
                true
            }
            // Another process that shares the socket was faster, or has shut it down.
            Err(Errno::AGAIN) => {
                self.accepting.must_retry = happened.has_happened();
                if happened.has_ended() && !self.accepting.is_shut {
                    self.accepting.is_shut = true;
                    // Clients get this error.
                    let cause = Cause::Ours(Errno::CONNREFUSED);
                    self.service.log.note(None, "the listening socket is shut down", cause);
                }
                false
            }
            Err(errno) => {
                if !self.accepting.has_rejected {
                    self.service.log.note(None, "unable to accept a client", Cause::Ours(errno));
                }
                // The client is turned away with the spare descriptor. Nothing that is held is closed.
                self.accepting.has_rejected = true;
                self.service.gate.spare = None;
                match socket::accept(self.listener) {
                    Ok(fd) => fd.into_iter().for_each(|fd| self.service.table.closing.hang_up(fd)),
                    Err(_) => self.accepting.must_retry = true,
                }
                self.service.gate.restore_spare(self.listener);
                false
            }
        }
    }

    /// The number of a place for the next client: a free one, or that of a waiting connection that has
    /// blocked the ones behind it for long enough.
    fn place(&self) -> Option<usize> {
        let before = self.waiting.filter(|waiting| waiting.blocks_for(self.service.now) == 0);
        self.clients.free().or(before.map(|waiting| waiting.number))
    }

    /// Admits a client, if the rules allow it, and serves it at once, since it may have sent a request.
    /// If all places are taken, it waits.
    fn admit(&mut self, fd: Fd) {
        let now = self.service.now;
        let Some(number) = self.place() else { return self.service.table.closing.hang_up(fd) };
        let mut since = now;
        if let Some(before) = self.waiting.filter(|waiting| waiting.number == number) {
            since = before.since;
            self.waiting = None;
            let connection = self.clients.at(number);
            (connection.is_waiting, connection.disconnect_reason) = (false, Some(Errno::TIMEDOUT));
            self.clients.serve(&mut self.service, number);
        }
        let Service { gate, log, table, .. } = &mut self.service;
        // It may have sent something, so closing it may block.
        let Ok(peer) = socket::peer(fd.borrow()) else { return table.closing.hang_up(fd) };
        let who = Identity { uid: peer.uid, gid: peer.gid };
        let admitted = gate.admit(number, who, log);
        gate.restore_spare(self.listener);
        let Some(access) = admitted else { return table.closing.hang_up(fd) };
        socket::refuse_credentials(fd.borrow());
        socket::receive_in_line(fd.borrow());
        log.note(Some(&who), "connect", Cause::Nothing);
        let is_full = !self.clients.has_two_free();
        let connection = self.clients.at(number);
        connection.session = Session { who, missing: 0, access };
        (connection.fd, connection.last_active, connection.is_waiting) = (Some(fd), now, is_full);
        if is_full {
            let is_over_share = false;
            self.waiting = Some(Waiting { number, since, examined: now, pause: 0, is_over_share });
            self.admit_waiting();
        } else {
            self.clients.serve(&mut self.service, number);
        }
    }

    /// Gives the waiting connection a place, if there is one: a free one, or that of a client that can
    /// be disconnected for it.
    fn admit_waiting(&mut self) {
        let Some(waiting) = self.waiting else { return };
        let now = self.service.now;
        if !self.clients.has_room() {
            if waiting.left(now) > 0 {
                return;
            }
            match eviction::candidate(&self.clients, waiting.number, now) {
                Ok(other) => {
                    self.clients.at(other).disconnect_reason = Some(Errno::TIMEDOUT);
                    self.clients.serve(&mut self.service, other);
                }
                Err(pause) => {
                    let is_over_share = eviction::is_over_share(&self.clients, waiting.number);
                    self.waiting = Some(Waiting { examined: now, pause, is_over_share, ..waiting });
                    return;
                }
            }
        }
        self.waiting = None;
        let connection = self.clients.at(waiting.number);
        (connection.is_waiting, connection.last_active) = (false, now);
        self.clients.serve(&mut self.service, waiting.number);
    }

    /// Reads the rules again.
    fn reload(&mut self) {
        let Service { gate, log, .. } = &mut self.service;
        let Err((path, errno)) = gate.reload() else {
            return log.note(None, "rules read", Cause::Nothing);
        };
        log.warn(|line| {
            line.text("the old rules stay: unable to read rules from ");
            line.quoted_in_line(path.to_bytes()).reason(errno);
        });
    }

    /// Releases everything before the process ends.
    fn end(mut self) {
        self.clients.disconnect_all(&mut self.service);
        let table = &mut self.service.table;
        table.end();
        if !table.closing.is_busy() {
            return;
        }
        // The closers share all descriptors, so these stay open until the last closer has ended. The
        // listening socket must not: clients would connect to it and wait.
        while let Ok(fd) = socket::accept(self.listener) {
            fd.into_iter().for_each(|fd| table.closing.hang_up(fd));
        }
        // If 0, 1 or 2 were closed at the start, the listener has been put there. Some sandboxes do not
        // tell that it listens, so every Unix stream socket is closed; nothing more is written to one.
        for fd in [self.listener, self.out, STDIN, STDOUT, STDERR] {
            if socket::listens(fd).is_ok() {
                fd.close();
            }
        }
        self.service.gate.spare = None;
        // Dropping the rest would close descriptors here and could block.
        core::mem::forget(self);
    }
}

/// Stops holding what has expired by this date; `None` reads the clock. Returns the milliseconds until
/// the next call may be due; `u32::MAX` if nothing expires.
fn expire(service: &mut Service, date: Option<Label>) -> u32 {
    let Service { table, log, .. } = service;
    // Usually nothing that is held expires, and the clock need not be read.
    if tai::is_far_off(&table.alarm) {
        return u32::MAX;
    }
    // The clock could be read at the start. If it cannot be read any more, nothing expires until it
    // can.
    let Some(now) = date.or_else(|| time::now().ok().map(tai::label)) else { return SECOND };
    service.date = Some(now);
    if now >= table.alarm {
        table.alarm = NO_ALARM;
        let mut at = 0;
        while let Some(slot) = table.after(&mut at, NOW) {
            let expiry = *slot.expiry();
            if now >= expiry {
                log.event(None, "expire", slot.identifier(), Cause::Nothing);
                table.remove(at - 1);
            } else {
                table.set_alarm(&expiry);
            }
        }
    }
    let (alarm, now) = (tai::order(&table.alarm), tai::order(&now));
    let seconds = alarm.0.saturating_sub(now.0).min(WAIT_MAX) as i32;
    let milliseconds = (alarm.1 as i32 - now.1 as i32) / 1_000_000;
    // Rounds up, so that the next call is not too early.
    (seconds * 1000 + milliseconds + 1) as u32
}
