//! The server side: a daemon that holds descriptors for others.
//!
//! One loop waits for everything at once. What is held is in [`table`]; each connection is a
//! [`client`], what it may do comes from [`gate`], what its requests mean stands in [`request`]. The
//! rules are in [`rules`], [`cdb`] and [`regex`], which know nothing of sockets and files. What is said
//! of all this goes through [`log`]; the socket, for those who bring none, comes from [`listener`]. All
//! memory but that for a file of rules is taken once, at the start, by how many descriptors and
//! clients there may be; so there is nothing to run out of later.

pub mod cdb;
pub mod client;
pub mod gate;
pub mod listener;
pub mod log;
pub mod regex;
pub mod request;
pub mod rules;
pub mod table;

use crate::exit::{self, Exit};
use crate::fd::{self, Fd};
use crate::message::ENTRIES_MAX;
use crate::pool;
use crate::sys::hand_out::HandOut;
use crate::sys::memory::{Memory, Space, at};
use crate::sys::server::{self, Signal, Signals};
use crate::sys::text::Text;
use crate::sys::{self, Errno, Poll, Time};
use crate::tai;
use crate::text::{Phrase, text};
use client::{Client, Progress};
use core::mem;
use core::sync::atomic::AtomicU8;
use gate::{Gate, Source};
use log::NOBODY;
use request::{Service, Session};
use rules::Identity;
use table::{NO_ALARM, NOW, Table};

/// The most clients at a time.
pub const CLIENTS_MAX: usize = 256;

/// The most connections: one more may wait for a place when all are taken.
const CONNECTIONS_MAX: usize = CLIENTS_MAX + 1;

/// The listening socket: standard input.
const LISTENER: i32 = 0;

/// The first client's place among what is waited for.
const FIRST: usize = 2;

/// Descriptors that the daemon itself needs besides those that are open when it counts them: one for
/// signals and one for a connection that waits. Rules are read with the spare one if need be.
const OWN_DESCRIPTORS: usize = 2;

/// How many clients are accepted before it is the others' turn.
const ACCEPTED: usize = 4;

/// Milliseconds after which something is tried again of which nothing tells when it can be done.
const MOMENT: u32 = 10;

/// Milliseconds after which a client that has sent and taken nothing is silent: its place can be given
/// to another, and a daemon that is to end does not wait for it.
const SILENCE: u32 = 1000;

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

/// What there is for each connection, as many as there can be.
struct Seats {
    clients: [Client; CONNECTIONS_MAX],
    /// What is waited for: new clients, signals, and each client.
    polls: [Poll; FIRST + CONNECTIONS_MAX],
}

static SEATS: HandOut<Seats> = HandOut::new(Seats {
    clients: [const { Client::NOBODY }; CONNECTIONS_MAX],
    polls: [Poll { fd: 0, events: 0, happened: 0 }; FIRST + CONNECTIONS_MAX],
});

/// A running daemon. What is large stands last: the rest is reached with shorter instructions.
#[repr(C)]
struct Daemon<'a> {
    settings: &'a Settings,
    /// Places for connections: one more than may be clients at a time. Who comes when all but one are
    /// taken waits there for a place.
    clients: &'static mut [Client],
    polls: &'static mut [Poll],
    signals: Signals,
    /// Which connection waits for a place, if one does.
    waiting: Option<Waiting>,
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

/// The connection that waits for a place.
#[derive(Clone, Copy)]
struct Waiting {
    /// Its number among the clients.
    number: usize,
    /// Since when there has been no place for it, or for those of whom it has taken the place, in
    /// milliseconds of uptime.
    since: u32,
    /// When it was looked whether somebody has to make way for it, and after how many milliseconds it
    /// can be of use to look again.
    looked: u32,
    pause: u32,
    /// Whether its user has more than its share of the places: then it must not keep those behind it
    /// from being seen.
    is_in_the_way: bool,
}

impl Waiting {
    /// For how many milliseconds those behind it have to wait; `u32::MAX` if until it is let in.
    fn holds_up(&self, now: u32) -> u32 {
        let left = SILENCE.saturating_sub(now.wrapping_sub(self.since));
        if self.is_in_the_way { left } else { u32::MAX }
    }
}

/// Says what cannot be done, with what, and ends the process.
pub fn fail(what: Phrase, object: Text, errno: Errno) -> ! {
    exit::fatal().text(what).quoted(object).reason(errno.number()).end(Exit::SYSTEM)
}

/// Serves on the listening socket that is standard input, until it is told to end. `source` is
/// where the rules are, as the settings have it.
pub fn serve(settings: &Settings, source: Source) -> ! {
    if let Err(errno) = server::check_listening(LISTENER) {
        fail(text!("standard input is not a listening socket"), Text::EMPTY, errno);
    }
    log::set_verbosity(settings.verbosity);
    server::set_nonblocking(LISTENER);
    server::refuse_credentials(LISTENER);
    fd::raise_limit();
    let Seats { clients: seats, polls } = SEATS.take();
    let spare = spare();
    let room = fit(settings, &spare, polls);
    // Another connection may wait for a place.
    let (held, clients) = (room.held, 1 + room.clients);
    // One for each client, and one that they share.
    let count = 1 + clients;
    // The lengths of three pieces are rounded up.
    let size = count * (gate::BYTES_EACH + size_of::<Space>()) + 64;
    // On 32-bit processors the limit on open files can allow for more than there are addresses.
    let size = held.saturating_mul(table::BYTES_EACH).saturating_add(size);
    let Some(mut memory) = Memory::map(size) else {
        fail(text!("unable to get memory for -n and -c"), Text::EMPTY, Errno::NOMEM)
    };
    let memory = &mut memory;
    // They come first, so that each begins with a page.
    let mut spaces = memory.zeros(count).iter_mut();
    let space = spaces.next();
    for seat in seats.iter_mut().take(clients) {
        seat.space = spaces.next();
    }
    let signals = Signals::new().unwrap_or_else(|errno| {
        fail(text!("unable to wait for signals"), Text::EMPTY, errno);
    });
    let mut daemon = Daemon {
        settings,
        clients: seats.get_mut(..clients).unwrap_or_default(),
        polls: polls.get_mut(..FIRST + clients).unwrap_or_default(),
        signals,
        waiting: None,
        is_crowded: false,
        is_stuck: false,
        is_ending: false,
        ending_since: 0,
        service: Service {
            table: Table::new(memory, held, sys::now().nanoseconds as u64),
            now: 0,
            space,
            out: pool::composer(),
            gate: Gate::new(memory, clients, source),
        },
    };
    daemon.service.gate.spare = spare;
    daemon.service.table.open_most = room.descriptors;
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

/// What there is room for.
struct Room {
    /// How many descriptors may be held.
    held: usize,
    /// How many clients there may be.
    clients: usize,
    /// How many descriptors may be open for clients, besides their connections: what is held, and what
    /// comes with requests.
    descriptors: usize,
}

/// How many descriptors and clients there is room for: what is asked for, or less. A warning says so
/// if it is fewer descriptors. `polls` is a place to work in.
fn fit(settings: &Settings, spare: &Option<Fd>, polls: &mut [Poll]) -> Room {
    // The kernel lets it be no more than 2^31.
    let limit = sys::open_file_limit().soft as u32;
    let clients = settings.clients.min(CLIENTS_MAX as u32).max(1) as usize;
    let wanted = (settings.held.max(1) as usize).saturating_add(clients + OWN_DESCRIPTORS);
    let free = if spare.is_some() { count_free(polls, limit as usize, wanted) } else { 0 };
    let room = free.saturating_sub(OWN_DESCRIPTORS);
    if room < 2 {
        fail(text!("the open-file limit is too low"), Text::EMPTY, Errno::MFILE);
    }
    let clients = clients.min(room / 2);
    let held = (settings.held.max(1) as usize).min(room - clients);
    if held < settings.held as usize {
        if let Some(line) = log::warning() {
            line.text(text!("the open-file limit is ")).number(limit);
            line.text(text!(": it leaves room for ")).number(held as u32);
            line.text(text!(" descriptors")).say();
        }
    }
    Room { held, clients, descriptors: room - clients }
}

/// How many numbers below the limit are free for descriptors. What was inherited can have any numbers:
/// they are looked at from 0 on until as many as are wanted are free, and those behind them, where
/// nothing is needed, count as free.
fn count_free(polls: &mut [Poll], limit: usize, wanted: usize) -> usize {
    let (mut next, mut free) = (0, 0);
    while next < limit && free < wanted {
        let count = polls.len().min(limit - next);
        let polls = polls.get_mut(..count).unwrap_or_default();
        for (number, poll) in (next..).zip(polls.iter_mut()) {
            // What the kernel does not look at counts as free.
            *poll = Poll { fd: number as i32, events: 0, happened: Poll::CLOSED };
        }
        server::wait(polls, 0);
        free += polls.iter().filter(|poll| poll.happened & Poll::CLOSED != 0).count();
        next += polls.len();
    }
    free + (limit - next)
}

impl Daemon<'_> {
    /// Waits until there is something to do, and does it.
    #[inline(never)]
    fn turn(&mut self) {
        let milliseconds = self.prepare();
        self.wait(milliseconds);
        self.service.now = server::uptime();
        self.serve_all(false);
        self.let_in();
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
                    self.end();
                }
            }
        }
    }

    /// Waits for what has been prepared, at most that many milliseconds. The kernel refuses to wait for
    /// more places than the limit on open files allows, which somebody may have lowered: then everything
    /// is tried, after a moment.
    fn wait(&mut self, milliseconds: u32) {
        let used = self.clients.iter().rposition(|client| client.fd.is_some());
        let polls = self.polls.get_mut(..used.map_or(FIRST, |last| FIRST + 1 + last));
        let time = Time::from_milliseconds(milliseconds);
        let (mut time, mut moment) = (Some(time), Time::from_milliseconds(MOMENT));
        if milliseconds == u32::MAX {
            time = None;
        }
        if sys::poll(polls.unwrap_or_default(), time.as_mut()).is_err() && milliseconds > 0 {
            let _ = sys::poll(&mut [], Some(&mut moment));
        }
    }

    /// Begins to end: a lame duck.
    fn end(&mut self) {
        log::note(NOBODY, text!("lame duck"), 0);
        // Those who have connected by now are let in as far as there are places, and what they have
        // asked by now is answered.
        for _ in 0..CONNECTIONS_MAX {
            if !self.accept() {
                break;
            }
        }
        (self.is_ending, self.ending_since) = (true, self.service.now);
        for client in self.clients.iter_mut() {
            client.last_active = self.service.now;
        }
        self.serve_all(true);
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
        // As it was after the last wait: what has been done since took no time to speak of.
        let now = self.service.now;
        let timeout = self.settings.timeout;
        let [listener, signals, polls @ ..] = &mut *self.polls else { return wait };
        let mut count = 0;
        for (client, poll) in self.clients.iter_mut().zip(polls) {
            // What happened is written over, unless the wait fails: then everything is tried.
            (poll.fd, poll.happened) = (-1, Poll::IN);
            if client.fd.is_some() {
                count += 1;
                wait = wait.min(client.prepare(poll, now, timeout, self.is_ending));
            }
        }
        let mut holds_up = if count < self.clients.len() { 0 } else { u32::MAX };
        if let Some(waiting) = self.waiting {
            wait = wait.min(waiting.pause.saturating_sub(now.wrapping_sub(waiting.looked)));
            holds_up = waiting.holds_up(now);
        }
        *signals = Poll { fd: self.signals.number(), events: Poll::IN, happened: Poll::IN };
        *listener = Poll { fd: -1, events: Poll::IN, happened: Poll::IN };
        if self.is_ending {
            let mut left = u32::MAX;
            if self.settings.lame_duck > 0 {
                left = self.settings.lame_duck.saturating_sub(now.wrapping_sub(self.ending_since));
            }
            if count == 0 || left == 0 {
                exit::success();
            }
            wait = wait.min(left);
        } else if self.is_stuck {
            wait = wait.min(MOMENT);
        } else if holds_up == 0 {
            listener.fd = LISTENER;
        } else {
            wait = wait.min(holds_up);
        }
        wait
    }

    /// Accepts a client and serves it at once, since it may have asked already; if all places are taken
    /// it waits. False if it is of no use to try again now: nobody is waiting, or there is no place, or
    /// no descriptor.
    fn accept(&mut self) -> bool {
        let mut free = self.clients.iter().enumerate().filter(|(_, client)| client.fd.is_none());
        let (free, is_full) = (free.next().map(|(number, _)| number), free.next().is_none());
        let Service { gate, now, .. } = &mut self.service;
        let before = self.waiting.filter(|waiting| waiting.holds_up(*now) == 0);
        let Some(number) = free.or(before.map(|waiting| waiting.number)) else { return false };
        let fd = match server::accept(LISTENER) {
            Ok(number) => Fd::own(number),
            Err(Errno::AGAIN) => return false,
            Err(errno) => {
                if !self.is_crowded {
                    log::note(NOBODY, text!("unable to accept a client"), errno.number());
                }
                // It is turned away: nothing that is held is closed for it.
                self.is_crowded = true;
                gate.spare = None;
                self.is_stuck = server::accept(LISTENER).map(Fd::own).is_err();
                gate.spare = spare();
                return false;
            }
        };
        self.is_crowded = false;
        let Some(fd) = fd else { return true };
        let Ok((uid, gid)) = server::peer(fd.number()) else { return true };
        let who = Identity { uid, gid };
        if free.is_none() {
            let client = at(self.clients, number);
            (client.is_waiting, client.doom) = (false, Some(Errno::TIMEDOUT));
            attend(self.clients, &mut self.service, number);
            self.waiting = None;
        }
        let Service { gate, now, .. } = &mut self.service;
        let access = gate.admit(number, who);
        if gate.spare.is_none() {
            gate.spare = spare();
        }
        let Some(access) = access else { return true };
        let client = at(self.clients, number);
        client.session = Session { who, missing: 0, access };
        (client.fd, client.last_active, client.is_waiting) = (Some(fd), *now, is_full);
        log::note(who, text!("connect"), 0);
        if is_full {
            let since = before.map_or(*now, |waiting| waiting.since);
            let looked = *now;
            self.waiting = Some(Waiting { number, since, looked, pause: 0, is_in_the_way: false });
            self.let_in();
        } else {
            attend(self.clients, &mut self.service, number);
        }
        true
    }

    /// Gives the connection that waits a place, if there is one: a free one, or that of a client who has
    /// to make way.
    fn let_in(&mut self) {
        let Some(Waiting { number, looked, pause, .. }) = self.waiting else { return };
        let now = self.service.now;
        if self.clients.iter().all(|client| client.fd.is_some()) {
            if now.wrapping_sub(looked) < pause {
                return;
            }
            match who_makes_way(self.clients, number, now) {
                Ok(other) => {
                    at(self.clients, other).doom = Some(Errno::TIMEDOUT);
                    attend(self.clients, &mut self.service, other);
                }
                Err(pause) => {
                    if let Some(waiting) = &mut self.waiting {
                        (waiting.looked, waiting.pause) = (now, pause);
                        let share = share(self.clients);
                        waiting.is_in_the_way = has_more(self.clients, share, number);
                    }
                    return;
                }
            }
        }
        self.waiting = None;
        let client = at(self.clients, number);
        (client.is_waiting, client.last_active) = (false, now);
        attend(self.clients, &mut self.service, number);
    }

    /// Reads the rules again.
    fn reload(&mut self) {
        let Err((path, errno)) = self.service.gate.reload() else {
            return log::note(NOBODY, text!("rules read"), 0);
        };
        if let Some(line) = log::warning() {
            line.text(text!("the old rules stay: unable to read rules from "));
            line.quoted(path).reason(errno.number()).say();
        }
    }
}

/// Whose connection it is.
fn user(client: &Client) -> u32 {
    client.session.who.uid
}

/// How many places each user may have that is there, whether it has one or waits for one.
fn share(clients: &[Client]) -> usize {
    let mut users = 0;
    let mut rest = clients;
    while let [client, others @ ..] = rest {
        // The last one of each user counts.
        users += usize::from(!others.iter().any(|other| user(other) == user(client)));
        rest = others;
    }
    clients.len().saturating_sub(1) / users.max(1)
}

/// Whether the user of that connection has more of them than its share.
fn has_more(clients: &[Client], share: usize, number: usize) -> bool {
    let who = clients.get(number).map(user);
    clients.iter().filter(|client| Some(user(client)) == who).count() > share
}

/// Which client has to make way for the connection of the number `waiting`, when all places are taken;
/// or else after how many milliseconds it can be of use to look again.
///
/// The connection that waits counts as one of its user's. Of those who have more than their share the
/// client goes that has been silent for longest, if it has been for [`SILENCE`]. It need not be if the
/// user that waits has no more than its share, and has waited for that long: so nobody keeps more by
/// being busy.
pub fn who_makes_way(clients: &[Client], waiting: usize, now: u32) -> Result<usize, u32> {
    let share = share(clients);
    let (mut silent, mut silence) = (waiting, 0);
    for (number, client) in clients.iter().enumerate() {
        let is_silent = number != waiting && client.silence(now) >= silence;
        if is_silent && has_more(clients, share, number) {
            (silent, silence) = (number, client.silence(now));
        }
    }
    if let Some(client) = clients.get(waiting).filter(|_| !has_more(clients, share, waiting)) {
        silence = silence.max(client.silence(now));
    }
    if silence >= SILENCE { Ok(silent) } else { Err(SILENCE - silence) }
}

/// Does for the client of that number, if there is one that has a place, what can be done without
/// waiting, and hangs up on one that is gone, or has to go.
pub fn attend(clients: &mut [Client], service: &mut Service, number: usize) {
    make_way(clients, service);
    let client = at(clients, number);
    if client.fd.is_none() || client.is_waiting {
        return;
    }
    // All use the same space, until the beginning of a request has to be kept: its client keeps that
    // space then, and leaves its own to the others.
    let has_kept = client.keeps_request();
    if !has_kept {
        mem::swap(&mut client.space, &mut service.space);
    }
    let mut done = client.receive(service.now).map(|()| Progress::Done);
    if done.is_ok() {
        // Nothing that has come is to see what has expired before.
        expire(service);
        done = client.answer(service);
    }
    if let Ok(Progress::NeedsSlots(count)) = done {
        make_room(clients, service, count);
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

/// Keeps room under the limit on open files for descriptors of the request that comes next: a quarter
/// of all, or as many as one can have. Those that came with requests that are not done yet have to make
/// way, of the client that has been silent for longest first.
fn make_way(clients: &mut [Client], service: &mut Service) {
    let Service { table, now, .. } = service;
    let room = table.open_most.saturating_sub(table.used());
    let reserve = ENTRIES_MAX.min(table.open_most / 4);
    // Usually there is enough whatever they send.
    while room < reserve + clients.len() * ENTRIES_MAX {
        let parked: usize = clients.iter().map(Client::parked).sum();
        if room >= reserve + parked {
            return;
        }
        let may = |client: &Client| client.has_to_make_way(*now);
        let Some(client) = longest_silent(clients, *now, may) else { return };
        client.make_way();
    }
}

/// The client that has been silent for longest of those for which that is so.
fn longest_silent(
    clients: &mut [Client],
    now: u32,
    is_meant: impl Fn(&Client) -> bool,
) -> Option<&mut Client> {
    let (mut slowest, mut longest) = (None, 0);
    for client in clients {
        let silence = client.silence(now);
        if is_meant(client) && silence >= longest {
            (slowest, longest) = (Some(client), silence);
        }
    }
    slowest
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
                log::event(NOBODY, text!("expire"), slot.identifier(), 0);
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

/// Makes room for so many `descriptors`, for a request that is to be done. Answers that nobody takes must not be in the way of what is to
/// be held: of the clients for whose answers slots are kept, those that have taken nothing for longest
/// are hung up on, until there is a free slot for each descriptor, or as many as may be held.
fn make_room(clients: &mut [Client], service: &mut Service, descriptors: usize) {
    let Service { table, now, .. } = service;
    while table.free_slots() < descriptors.min(table.most()) {
        let Some(client) = longest_silent(clients, *now, Client::needs_slots) else { return };
        client.doom = Some(Errno::NOBUFS);
        client.forget_answer(table);
    }
}
