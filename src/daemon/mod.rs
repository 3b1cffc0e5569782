//! The server side: a daemon that holds descriptors for others.
//!
//! One loop waits for everything at once. What is held is in [`table`]; each connection is a
//! [`client`], what it may do comes from [`gate`], what its requests mean stands in [`request`]. The
//! rules are in [`rules`], [`cdb`] and [`regex`], which know nothing of sockets and files. What is said
//! of all this goes through [`log`]; what is let go goes through [`closing`], since nobody is to wait
//! for that; the socket, for those who bring none, comes from [`listener`]. All
//! memory but that for a file of rules is taken once, at the start, by how many descriptors and
//! clients there may be; so there is nothing to run out of later.

pub mod cdb;
pub mod client;
pub mod closing;
pub mod gate;
pub mod hash;
pub mod listener;
pub mod log;
pub mod regex;
pub mod request;
pub mod rules;
pub mod table;

use crate::exit::{self, Exit};
use crate::fd::{self, Fd};
use crate::pool;
use crate::sys::hand_out::HandOut;
use crate::sys::memory::{Memory, Space, at};
use crate::sys::server::{self, Signal, Signals};
use crate::sys::text::Text;
use crate::sys::{self, Errno, Poll};
use crate::tai;
use crate::text::{Phrase, text};
use client::Client;
use closing::Closing;
use core::mem;
use core::sync::atomic::AtomicU8;
use gate::{Gate, Source};
use hash::Key;
use log::{Log, NOBODY};
use request::{Service, Session};
use rules::Identity;
use table::{NO_ALARM, NOW, Table};

/// The most clients at a time.
pub const CLIENTS_MAX: usize = 256;

/// The listening socket: standard input.
const LISTENER: i32 = 0;

/// The first client's place among what is waited for.
const FIRST: usize = 2;

/// Descriptors that the daemon itself needs besides those that were open at the start: a spare one,
/// one for signals and one for reading rules.
const OWN_DESCRIPTORS: u32 = 3;

/// How many clients are accepted before it is the others' turn.
const ACCEPTED: usize = 4;

/// Milliseconds after which something is tried again of which nothing tells when it can be done.
const MOMENT: u32 = 10;

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

/// What there is for each client, as many as there can be.
struct Seats {
    clients: [Client; CLIENTS_MAX],
    /// What is waited for: new clients, signals, and each client.
    polls: [Poll; FIRST + CLIENTS_MAX],
}

static SEATS: HandOut<Seats> = HandOut::new(Seats {
    clients: [const { Client::NOBODY }; CLIENTS_MAX],
    polls: [Poll { fd: 0, events: 0, happened: 0 }; FIRST + CLIENTS_MAX],
});

/// A running daemon. What is large stands last: the rest is reached with shorter instructions.
#[repr(C)]
struct Daemon<'a> {
    settings: &'a Settings,
    clients: &'static mut [Client],
    polls: &'static mut [Poll],
    signals: Signals,
    /// Closed to get a descriptor where there is no other.
    spare: Option<Fd>,
    /// Whether a client has been turned away since the last one was accepted, for want of a
    /// descriptor: so it has been said.
    is_crowded: bool,
    /// Whether not even that could be done. The client is still there, so that to wait for one would
    /// be no wait.
    is_stuck: bool,
    /// Whether it is to end: a lame duck.
    is_ending: bool,
    /// Since when it is, in milliseconds of uptime.
    ending_since: u32,
    service: Service,
}

/// Says what cannot be done, with what, and ends the process.
pub fn fail(what: Phrase, object: Text, errno: Errno) -> ! {
    exit::fatal().text(what).quoted(object).reason(errno.number()).end(Exit::SYSTEM)
}

/// Serves on the listening socket that is standard input, until it is told to end. `source` is
/// where the rules are, as the settings have it; `key` is for hashing, if the kernel has given one.
pub fn serve(settings: &Settings, source: Source, key: Option<Key>) -> ! {
    if let Err(errno) = server::check_listening(LISTENER) {
        fail(text!("standard input is not a listening socket"), Text::EMPTY, errno);
    }
    let mut log = Log::new(settings.verbosity);
    server::set_nonblocking(LISTENER);
    server::refuse_credentials(LISTENER);
    fd::raise_limit();
    let spare = spare();
    let (held, clients) = fit(settings, &spare, &mut log);
    // One for each client, and one that they share.
    let count = 1 + clients;
    // The lengths of three pieces are rounded up.
    let size = count * (gate::BYTES_EACH + size_of::<Space>()) + 64;
    // On 32-bit processors the limit on open files can allow for more than there are addresses.
    let size = held.saturating_mul(table::BYTES_EACH).saturating_add(size + closing::BYTES);
    let Some(mut memory) = Memory::map(size) else {
        fail(text!("unable to get memory for -n and -c"), Text::EMPTY, Errno::NOMEM)
    };
    let memory = &mut memory;
    let Seats { clients: seats, polls } = SEATS.take();
    // They come first, so that each begins with a page.
    let mut spaces = memory.zeros(count).iter_mut();
    let space = spaces.next();
    for seat in seats.iter_mut().take(clients) {
        seat.space = spaces.next();
    }
    let signals = Signals::new().unwrap_or_else(|errno| {
        fail(text!("unable to wait for signals"), Text::EMPTY, errno);
    });
    let key = key.unwrap_or_else(|| {
        let time = sys::now();
        let stack = core::ptr::from_ref(settings).addr() as u64;
        [time.nanoseconds as u64, time.seconds as u64 ^ stack]
    });
    let closing = Closing::new(memory, signals.number());
    let mut daemon = Daemon {
        settings,
        clients: seats.get_mut(..clients).unwrap_or_default(),
        polls: polls.get_mut(..FIRST + clients).unwrap_or_default(),
        signals,
        spare,
        is_crowded: false,
        is_stuck: false,
        is_ending: false,
        ending_since: 0,
        service: Service {
            table: Table::new(memory, held, key, closing),
            now: 0,
            space,
            out: pool::composer(),
            log,
            gate: Gate::new(memory, clients, source),
        },
    };
    if let Err((path, errno)) = daemon.service.gate.reload() {
        fail(text!("unable to read rules from "), path, errno);
    }
    if settings.says_ready {
        // Whoever does not want to know any more is no reason to stop. The listener takes the place of
        // standard output: were that free, something that comes later would get the number.
        let _ = sys::write_all(1, &[AtomicU8::new(b'\n')]);
        let _ = server::put_at(LISTENER, 1);
    }
    loop {
        daemon.turn();
    }
}

/// A descriptor to be closed where another is needed and cannot be had. What is closed of the first
/// three, which would be the number of something else before long, is opened on the way.
fn spare() -> Option<Fd> {
    loop {
        let fd = Fd::own(sys::duplicate(LISTENER).ok()?);
        if fd.is_some() {
            return fd;
        }
    }
}

/// How many descriptors and clients there is room for: what is asked for, or less. A warning says so
/// if it is fewer descriptors.
fn fit(settings: &Settings, spare: &Option<Fd>, log: &mut Log) -> (usize, usize) {
    // The kernel lets it be no more than 2^31.
    let limit = sys::open_file_limit().soft as u32;
    // What was open at the start has the numbers below the first free one.
    let taken = spare.as_ref().map_or(limit, |spare| spare.number() as u32 + OWN_DESCRIPTORS);
    let room = limit.saturating_sub(taken);
    if room < 2 {
        fail(text!("the open-file limit is too low"), Text::EMPTY, Errno::MFILE);
    }
    let clients = settings.clients.min(CLIENTS_MAX as u32).min(room / 2).max(1);
    let held = settings.held.min(room - clients).max(1);
    if held < settings.held {
        if let Some(line) = log.warning() {
            line.text(text!("the open-file limit is ")).number(limit);
            line.text(text!(": it leaves room for ")).number(held);
            log.end(line.text(text!(" descriptors")));
        }
    }
    (held as usize, clients as usize)
}

impl Daemon<'_> {
    /// Waits until there is something to do, and does it.
    #[inline(never)]
    fn turn(&mut self) {
        let milliseconds = self.prepare();
        server::wait(self.polls, milliseconds);
        self.service.now = server::uptime();
        self.serve_all(false);
        let [listener, signals, ..] = *self.polls else { return };
        if listener.happened != 0 || self.is_stuck {
            self.is_stuck = false;
            // No more than a few: those who have come already are not to wait for those who come.
            for _ in 0..ACCEPTED {
                if self.is_ending || !self.accept() {
                    break;
                }
            }
        }
        if signals.happened != 0 {
            while let Some(signal) = self.signals.next() {
                if signal == Signal::HangUp {
                    self.reload();
                } else if !self.is_ending {
                    self.service.log.note(NOBODY, text!("lame duck"), 0);
                    (self.is_ending, self.ending_since) = (true, self.service.now);
                    // What has come by now is still answered.
                    self.serve_all(true);
                }
            }
        }
    }

    /// Serves `all` clients, or those for which something can be done.
    fn serve_all(&mut self, all: bool) {
        for number in 0..self.clients.len() {
            let poll = at(self.polls, FIRST + number);
            // Those without a descriptor do not wait for anything outside.
            if all || poll.happened != 0 || poll.fd < 0 {
                attend(self.clients, &mut self.service, number);
            }
        }
    }

    /// Says what is to be waited for, and for how many milliseconds. A lame duck that has nobody left, or
    /// no time, ends here.
    fn prepare(&mut self) -> u32 {
        let mut wait = expire(&mut self.service);
        wait = wait.min(self.service.table.closing.tend());
        wait = wait.min(self.service.log.tend(self.service.now));
        // As it was after the last wait: what has been done since took no time to speak of.
        let now = self.service.now;
        let timeout = self.settings.timeout;
        let [listener, signals, polls @ ..] = &mut *self.polls else { return wait };
        let mut count = 0;
        for (client, poll) in self.clients.iter_mut().zip(polls) {
            // What happened is written over, unless the wait fails, as it does when there are more
            // than the limit on open files has been lowered to: then everything is tried.
            (poll.fd, poll.happened) = (-1, Poll::IN);
            if client.fd.is_some() {
                count += 1;
                wait = wait.min(client.prepare(poll, now, timeout, self.is_ending));
            }
        }
        *signals = Poll { fd: self.signals.number(), events: Poll::IN, happened: Poll::IN };
        *listener = Poll { fd: -1, events: Poll::IN, happened: Poll::IN };
        if self.is_ending {
            let mut left = u32::MAX;
            if self.settings.lame_duck > 0 {
                left = self.settings.lame_duck.saturating_sub(now.wrapping_sub(self.ending_since));
            }
            if count == 0 || left == 0 {
                self.end();
            }
            wait = wait.min(left);
        } else if self.is_stuck {
            wait = wait.min(MOMENT);
        } else if count < self.clients.len() {
            listener.fd = LISTENER;
        }
        wait
    }

    /// Accepts a client and serves it at once, since it may have asked already. False if it is of no use
    /// to try again now: nobody is waiting, or there is no place, or no descriptor.
    fn accept(&mut self) -> bool {
        let Some(number) = self.clients.iter().position(|client| client.fd.is_none()) else {
            return false;
        };
        // It may have been given away for one whose connection took long to close.
        if self.spare.is_none() {
            self.spare = spare();
        }
        let Service { gate, now, log, .. } = &mut self.service;
        let fd = match server::accept(LISTENER) {
            Ok(number) => Fd::own(number),
            Err(Errno::AGAIN) => return false,
            Err(errno) => {
                if !self.is_crowded {
                    log.note(NOBODY, text!("unable to accept a client"), errno.number());
                }
                // It is turned away: nothing that is held is closed for it.
                self.is_crowded = true;
                self.spare = None;
                match server::accept(LISTENER) {
                    Ok(number) => self.turn_away(Fd::own(number)),
                    Err(_) => self.is_stuck = true,
                }
                self.spare = spare();
                return false;
            }
        };
        self.is_crowded = false;
        let Some(fd) = fd else { return true };
        let peer = server::peer(fd.number());
        let Some((who, access)) = peer.ok().and_then(|(uid, gid)| {
            let who = Identity { uid, gid };
            gate.admit(log, number, who).map(|access| (who, access))
        }) else {
            self.turn_away(Some(fd));
            return true;
        };
        server::receive_in_line(fd.number());
        let client = at(self.clients, number);
        client.session = Session { who, missing: 0, access };
        (client.fd, client.last_active) = (Some(fd), *now);
        log.note(who, text!("connect"), 0);
        attend(self.clients, &mut self.service, number);
        true
    }

    /// Hangs up on a client that has not got a place. It may have sent something already.
    fn turn_away(&mut self, fd: Option<Fd>) {
        if let Some(fd) = fd {
            self.service.table.closing.hang_up(fd);
        }
    }

    /// Ends the process: the kernel closes what it has.
    fn end(&mut self) -> ! {
        for client in self.clients.iter_mut().filter(|client| client.fd.is_some()) {
            client.leave(&mut self.service, Errno::PIPE);
        }
        self.service.table.end();
        if self.service.table.closing.is_busy() {
            // Nothing closes by itself before the closers end. Nobody is to take this for a daemon by
            // then, nor a client for one who may still be accepted.
            while let Ok(number) = server::accept(LISTENER) {
                self.turn_away(Fd::own(number));
            }
            // It has been put at others of the first three numbers if these were free.
            for number in 0..3 {
                if server::check_listening(number).is_ok() {
                    sys::close(number);
                }
            }
            self.spare = None;
        }
        exit::success()
    }

    /// Reads the rules again.
    fn reload(&mut self) {
        let Err((path, errno)) = self.service.gate.reload() else {
            return self.service.log.note(NOBODY, text!("rules read"), 0);
        };
        let log = &mut self.service.log;
        if let Some(line) = log.warning() {
            line.text(text!("the old rules stay: unable to read rules from "));
            log.end(line.quoted(path).reason(errno.number()));
        }
    }
}

/// Does for the client of that number, if there is one, what can be done without waiting, and hangs
/// up on one that is gone, or has to go.
pub fn attend(clients: &mut [Client], service: &mut Service, number: usize) {
    let client = at(clients, number);
    if client.fd.is_none() {
        return;
    }
    // All use the same space, until the beginning of a request has to be kept: its client keeps that
    // space then, and leaves its own to the others.
    let has_kept = client.keeps_request();
    if !has_kept {
        mem::swap(&mut client.space, &mut service.space);
    }
    let mut done = client.receive(service);
    if done.is_ok() {
        let descriptors = client.descriptors();
        make_room(clients, service, descriptors);
        // Nothing that has come is to see what has expired before.
        expire(service);
        done = at(clients, number).answer(service);
    }
    let client = at(clients, number);
    if let Err(errno) = done {
        client.leave(service, errno);
    }
    if client.keeps_request() {
        return;
    }
    match &mut client.space {
        Some(space) if has_kept => space.give_back(),
        space => mem::swap(space, &mut service.space),
    }
}

/// Stops holding what has expired, and says in how many milliseconds that may be due again; `u32::MAX`
/// if it never is.
fn expire(service: &mut Service) -> u32 {
    let table = &mut service.table;
    // The usual case, that nothing held ever expires, needs no clock.
    if tai::is_far_off(&table.alarm) {
        return u32::MAX;
    }
    let now = tai::label(sys::now());
    if now >= table.alarm {
        table.alarm = NO_ALARM;
        let mut at = 0;
        while let Some(slot) = table.after(&mut at, NOW) {
            let expiry = *slot.expiry();
            if now >= expiry {
                service.log.event(NOBODY, text!("expire"), slot.identifier(), 0);
                table.forget(at - 1);
            } else {
                table.set_alarm(&expiry);
            }
        }
    }
    let (alarm, now) = (tai::order(&table.alarm), tai::order(&now));
    let seconds = (alarm.0 - now.0).min(WAIT_MAX) as i32;
    let milliseconds = (alarm.1 as i32 - now.1 as i32) / 1_000_000;
    // A millisecond that has begun counts: it is not to be looked at before.
    (seconds * 1000 + milliseconds + 1) as u32
}

/// Makes room for so many `descriptors`. Answers that nobody takes must not be in the way of what is to
/// be held: of the clients for whose answers slots are kept, those that have taken nothing for longest
/// are hung up on, until there is a free slot for each descriptor, or as many as may be held.
fn make_room(clients: &mut [Client], service: &mut Service, descriptors: usize) {
    let Service { table, now, .. } = service;
    while table.free_slots() < descriptors.min(table.most()) {
        let (mut slowest, mut longest) = (None, 0);
        for client in clients.iter_mut() {
            let waited = now.wrapping_sub(client.last_active);
            if client.needs_slots() && waited >= longest {
                (slowest, longest) = (Some(client), waited);
            }
        }
        let Some(client) = slowest else { return };
        client.doom = Some(Errno::NOBUFS);
        client.forget_answer(table);
    }
}
