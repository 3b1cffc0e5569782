//! The server side: a daemon that holds descriptors for others.
//!
//! One loop waits for everything at once. What is held is in [`table`]; each connection is a
//! [`client`], what it may do comes from [`gate`], what its requests mean stands in [`request`]. The
//! rules are in [`rules`], [`cdb`] and [`regex`], which know nothing of sockets and files. All memory
//! is taken once, at the start, by how many descriptors and clients there may be; so there is nothing
//! to run out of later.

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
use crate::pool;
use crate::sys::memory::{List, Memory};
use crate::sys::server::{self, Signal, Signals};
use crate::sys::{self, Errno, Poll, Time};
use crate::tai;
use crate::text::{Message, text};
use client::{Client, Own, Shared};
use core::sync::atomic::AtomicU8;
use gate::{Gate, Source};
use log::{Level, Log};
use request::Session;
use rules::Identity;
use table::Table;

/// The most clients at a time.
pub const CLIENTS_MAX: usize = 256;

/// The listening socket: standard input.
const LISTENER: i32 = 0;

/// Descriptors that the daemon itself needs: the first three, signals, a spare one, and one for
/// reading rules.
const OWN_DESCRIPTORS: usize = 6;

/// What waits for a place or for luck is tried again after that.
const MOMENT: Time = Time { seconds: 0, nanoseconds: 10_000_000 };

/// A moment that never comes.
const FOREVER: Time = Time { seconds: i64::MAX, nanoseconds: 0 };

/// Nothing to wait for.
const IDLE: Poll = Poll { fd: -1, events: Poll::IN, happened: 0 };

/// The clock that dates are about may be set, so nobody waits for a date longer than that.
const WAIT_MAX: Time = Time { seconds: 60, nanoseconds: 0 };

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
    /// Where the access rules are.
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

/// A running daemon.
struct Daemon {
    table: Table,
    gate: Gate,
    log: Log,
    shared: Shared,
    /// The clients, and what memory each has; a client that is gone leaves its place to another.
    clients: List<Option<Client>>,
    own: List<Own>,
    /// How many there are, and how many there may be.
    count: usize,
    most: usize,
    /// Milliseconds, as in the settings.
    timeout: u32,
    /// Closed to get a descriptor where there is no other.
    spare: Option<Fd>,
    /// Whether a client has been turned away since the last one was accepted, for want of a
    /// descriptor; and whether there is nothing but to wait.
    is_crowded: bool,
    is_stuck: bool,
    /// When the daemon ends whatever is under way, if it is to end.
    end: Option<Time>,
}

/// Says what cannot be had and ends the process.
fn fail(what: Message, errno: Errno) -> ! {
    exit::fatal().text(what).reason(errno.number()).end(Exit::SYSTEM)
}

/// Serves on the listening socket that is standard input, until it is told to end. `source` is
/// where the rules are.
pub fn serve(settings: &Settings, source: Source) -> ! {
    if let Err(errno) = server::check_listening(LISTENER) {
        fail(text!("standard input is not a listening socket"), errno);
    }
    // What is closed of the first three would be the number of something else before long.
    while sys::duplicate(LISTENER).is_ok_and(|number| Fd::own(number).is_none()) {}
    server::set_nonblocking(LISTENER);
    let log = Log(settings.verbosity);
    let (held, clients) = fit(settings, log);

    let pages = client::bytes_each(held).saturating_mul(clients);
    let each_client = gate::BYTES_EACH + size_of::<Option<Client>>() + size_of::<Own>();
    let size = table::BYTES_EACH
        .saturating_mul(held)
        .saturating_add(each_client * clients + client::bytes_shared(held) + 1024)
        .saturating_add(pages);
    let Some(mut memory) = Memory::map(size) else {
        let line = exit::fatal().text(text!("unable to get memory for ")).number(held as u32);
        line.text(text!(" descriptors and ")).number(clients as u32).text(text!(" clients"));
        line.reason(Errno::NOMEM.number()).end(Exit::SYSTEM)
    };
    let mut pages = memory.part(pages);
    let mut own = memory.list(clients);
    while !own.is_full() {
        own.push(Own::new(&mut pages, held));
    }
    let mut gate = Gate::new(&mut memory, clients, source);
    if let Err((path, errno)) = gate.reload() {
        let line = exit::fatal().text(text!("unable to read rules from ")).quoted(path);
        line.reason(errno.number()).end(Exit::SYSTEM);
    }
    let signals = Signals::new();
    let signals = signals.unwrap_or_else(|errno| fail(text!("unable to wait for signals"), errno));
    if settings.says_ready {
        // Whoever does not want to know any more is no reason to stop.
        let _ = sys::write_all(1, &[AtomicU8::new(b'\n')]);
        let _ = server::put_at(LISTENER, 1);
    }
    let mut daemon = Daemon {
        table: Table::new(&mut memory, held, sys::now().nanoseconds as u64),
        gate,
        log,
        shared: Shared::new(&mut memory, held, pool::composer()),
        clients: memory.list(clients),
        own,
        count: 0,
        most: clients,
        timeout: settings.timeout,
        spare: spare(),
        is_crowded: false,
        is_stuck: false,
        end: None,
    };
    loop {
        daemon.turn(&signals, settings.lame_duck);
    }
}

/// A descriptor to be closed where another is needed and cannot be had.
fn spare() -> Option<Fd> {
    sys::duplicate(LISTENER).ok().and_then(Fd::own)
}

/// How many descriptors and clients there is room for: what is asked for, or less.
fn fit(settings: &Settings, log: Log) -> (usize, usize) {
    fd::raise_limit();
    let limit = usize::try_from(sys::open_file_limit().soft).unwrap_or(usize::MAX);
    let room = limit.saturating_sub(OWN_DESCRIPTORS);
    let clients = (settings.clients as usize).min(CLIENTS_MAX).min(room / 2).max(1);
    let wanted = (settings.held as usize).max(1);
    let held = wanted.min(room.saturating_sub(clients)).max(1);
    if held < wanted {
        if let Some(line) = log.line(Level::Warning) {
            line.text(text!("the open-file limit is ")).number(limit as u32);
            line.text(text!(": it leaves room for ")).number(held as u32);
            line.text(text!(" descriptors")).say();
        }
    }
    (held, clients)
}

/// Makes a wait no longer than that.
fn at_most(wait: &mut Option<Time>, span: Time) {
    if wait.is_none_or(|wait| span < wait) {
        *wait = Some(span);
    }
}

/// Closes what is past its expiry.
fn expire(table: &mut Table, log: Log) {
    if table.next().is_none() {
        return;
    }
    let now = tai::label(sys::now());
    while let Some(slot) = table.next().filter(|slot| *table.expiry(*slot) <= now) {
        log.event(Level::Info, None, text!("expire"), table.identifier(slot), 0);
        table.forget(slot);
    }
}

impl Daemon {
    /// Waits until there is something to do, and does it: for every client once at the most.
    fn turn(&mut self, signals: &Signals, lame_duck: u32) {
        expire(&mut self.table, self.log);
        let mut polls = [IDLE; 2 + CLIENTS_MAX];
        let mut wait = self.prepare(&mut polls);
        polls[1].fd = signals.number();
        let length = 2 + self.clients.len();
        let _ = sys::poll(polls.get_mut(..length).unwrap_or_default(), wait.as_mut());
        let now = server::uptime();
        let [listener, signal, clients @ ..] = polls;
        for (number, poll) in clients.iter().enumerate() {
            // Those that wait for nothing have something to do.
            if poll.happened != 0 || poll.events == 0 {
                self.serve(number, now);
            }
        }
        if (listener.happened != 0 || self.is_stuck) && self.end.is_none() {
            self.is_stuck = false;
            while self.count < self.most && self.accept(now) {}
        }
        if signal.happened == 0 {
            return;
        }
        while let Some(signal) = signals.next() {
            if signal == Signal::HangUp {
                self.reload();
            } else if self.end.is_none() {
                self.log.event(Level::Info, None, text!("lame duck"), &[], 0);
                let span = Time::from_milliseconds(lame_duck);
                self.end = Some(if lame_duck > 0 { now.plus(span) } else { FOREVER });
                // What has come by now is still answered.
                for number in 0..self.clients.len() {
                    self.serve(number, now);
                }
            }
        }
    }

    /// Says what is to be waited for and for how long, after closing whatever has waited too long
    /// itself. The first place is the listening socket's, those from the third on are the
    /// clients'.
    fn prepare(&mut self, polls: &mut [Poll]) -> Option<Time> {
        let mut wait = None;
        if let Some(slot) = self.table.next() {
            let (expiry, now) = (self.table.expiry(slot), sys::now());
            if !tai::is_never(expiry, now) {
                at_most(&mut wait, tai::until(expiry, &tai::label(now)).min(WAIT_MAX));
            }
        }
        let now = server::uptime();
        let timeout = Time::from_milliseconds(self.timeout);
        for (number, poll) in (0..self.clients.len()).zip(polls.iter_mut().skip(2)) {
            let (Some(Some(client)), Some(own)) = (self.clients.get(number), self.own.get(number))
            else {
                continue;
            };
            let silent = now.since(client.moved);
            if !client.is_busy() {
                if self.end.is_some() {
                    self.disconnect(number, Errno::PIPE);
                    continue;
                }
            } else if self.timeout > 0 {
                if silent >= timeout {
                    self.disconnect(number, Errno::TIMEDOUT);
                    continue;
                }
                at_most(&mut wait, timeout.since(silent));
            }
            if client.is_crowded || client.has_request(own) {
                poll.events = 0;
                let moment = if client.is_crowded { MOMENT } else { Time::NONE };
                at_most(&mut wait, moment);
            } else {
                poll.fd = client.number();
                poll.events = if client.is_answered() { Poll::OUT } else { Poll::IN };
            }
        }
        if let Some(end) = self.end {
            if self.count == 0 || now >= end {
                exit::success();
            }
            at_most(&mut wait, end.since(now));
        } else if self.is_stuck {
            at_most(&mut wait, MOMENT);
        } else if let (true, Some(poll)) = (self.count < self.most, polls.first_mut()) {
            poll.fd = LISTENER;
        }
        wait
    }

    /// Accepts a client and serves it at once, since it may have asked already; false if there is
    /// none.
    fn accept(&mut self, now: Time) -> bool {
        let fd = match server::accept(LISTENER) {
            Ok(number) => Fd::own(number),
            Err(Errno::AGAIN) => return false,
            Err(server::CONNABORTED) => return true,
            Err(errno) => {
                if !self.is_crowded {
                    let what = text!("unable to accept a client");
                    self.log.event(Level::Warning, None, what, &[], errno.number());
                }
                // It is turned away: nothing that is held is closed for it.
                self.is_crowded = true;
                self.spare = None;
                self.is_stuck = server::accept(LISTENER).map(Fd::own).is_err();
                self.spare = spare();
                return false;
            }
        };
        self.is_crowded = false;
        let Some(fd) = fd else { return true };
        let Ok((uid, gid)) = server::peer(fd.number()) else { return true };
        let who = Identity { uid, gid };
        let Some(access) = self.gate.admit(who, self.log) else { return true };
        self.log.event(Level::Info, Some(who), text!("connect"), &[], 0);
        let mut client = Client::new(fd, Session { who, access, missing: 0 });
        client.moved = now;
        let free = self.clients.iter().position(Option::is_none);
        let number = match free.and_then(|number| Some((number, self.clients.get_mut(number)?))) {
            Some((number, place)) => {
                *place = Some(client);
                number
            }
            None => self.clients.push(Some(client)).unwrap_or(0),
        };
        self.count += 1;
        self.serve(number, now);
        true
    }

    /// Does for a client what can be done without waiting.
    fn serve(&mut self, number: usize, now: Time) {
        if let Err(errno) = self.try_serve(number, now) {
            self.disconnect(number, errno);
        }
    }

    fn try_serve(&mut self, number: usize, now: Time) -> Result<(), Errno> {
        let (Some(Some(client)), Some(own)) =
            (self.clients.get_mut(number), self.own.get_mut(number))
        else {
            return Ok(());
        };
        if !client.is_answered() {
            if !client.receive(own, &mut self.shared)? {
                return Ok(());
            }
            client.moved = now;
            let descriptors = client.descriptors();
            self.make_room(descriptors.min(self.table.most()));
            expire(&mut self.table, self.log);
        }
        let Daemon { clients, own, shared, table, gate, log, .. } = self;
        let (Some(Some(client)), Some(own)) = (clients.get_mut(number), own.get_mut(number)) else {
            return Ok(());
        };
        if !client.is_answered() {
            client.take(own, shared, table, gate, *log)?;
        }
        if client.is_answered() && client.send(own, shared, table)? {
            client.moved = now;
        }
        Ok(())
    }

    /// Reads the rules again.
    fn reload(&mut self) {
        match self.gate.reload() {
            Ok(()) => self.log.event(Level::Info, None, text!("rules read"), &[], 0),
            Err((path, errno)) => {
                if let Some(line) = self.log.line(Level::Warning) {
                    line.text(text!("the old rules stay: unable to read rules from "));
                    line.quoted(path).reason(errno.number()).say();
                }
            }
        }
    }

    /// Hangs up on a client, or a client has hung up: that is `EPIPE`.
    fn disconnect(&mut self, number: usize, errno: Errno) {
        let (Some(place), Some(own)) = (self.clients.get_mut(number), self.own.get_mut(number))
        else {
            return;
        };
        let Some(mut client) = place.take() else { return };
        client.leave(own, &mut self.table);
        self.gate.dismiss(&client.session.access);
        self.count -= 1;
        let (level, reason) = match errno {
            Errno::PIPE | Errno::CONNRESET => (Level::Info, 0),
            _ => (Level::Warning, errno.number()),
        };
        let who = Some(client.session.who);
        self.log.event(level, who, text!("disconnect"), &[], reason);
    }

    /// Sees to it that so many slots are free: answers that nobody takes must not be in the way of
    /// what is to be held.
    fn make_room(&mut self, slots: usize) {
        while self.table.free_slots() < slots {
            let waiting = self.clients.iter().enumerate().filter_map(|(number, client)| {
                let client = client.as_ref().filter(|client| client.needs_slots())?;
                Some((client.moved, number))
            });
            let Some((_, number)) = waiting.min() else { break };
            self.disconnect(number, Errno::NOBUFS);
        }
    }
}
