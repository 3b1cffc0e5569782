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
use crate::pool::{self, Composer};
use crate::sys::memory::{List, Memory};
use crate::sys::server::{self, Signal, Signals};
use crate::sys::{self, Errno, Poll};
use crate::tai;
use crate::text::{Message, text};
use client::{Buffer, Client};
use core::mem;
use core::sync::atomic::AtomicU8;
use gate::{Gate, Source};
use log::{Log, NOBODY};
use request::{Service, Session};
use rules::Identity;
use table::Table;

/// The most clients at a time.
pub const CLIENTS_MAX: usize = 256;

/// The listening socket: standard input.
const LISTENER: i32 = 0;

/// The first client's place among what is waited for.
const FIRST: usize = 2;

/// Descriptors that the daemon itself needs besides those that were open at the start: a spare one,
/// one for signals and one for reading rules.
const OWN_DESCRIPTORS: usize = 3;

/// How many clients are accepted before it is the others' turn.
const ACCEPTED: usize = 4;

/// Milliseconds after which is tried again what nothing tells when it can be done.
const MOMENT: u32 = 10;

/// Milliseconds that a wait for a date takes at most: the clock may be set meanwhile.
const WAIT_MAX: u32 = 60_000;

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
    service: Service,
    /// The clients; one that is gone leaves its place to another.
    clients: List<Option<Client>>,
    /// What each of them is served with if something of it has been left there; and all others.
    buffers: List<Buffer>,
    buffer: Buffer,
    /// Pieces of answers.
    out: &'static mut Composer,
    /// What is waited for: new clients, signals, and each client.
    polls: List<Poll>,
    /// Closed to get a descriptor where there is no other.
    spare: Option<Fd>,
    /// How many clients there are, and how many there may be.
    count: usize,
    most: usize,
    /// Whether a client has been turned away since the last one was accepted, for want of a
    /// descriptor; and whether there is nothing but to wait.
    is_crowded: bool,
    is_stuck: bool,
    /// Milliseconds, as in the settings.
    timeout: u32,
    lame_duck: u32,
    /// When the daemon ends whatever is under way, if it is to end; in milliseconds of uptime.
    end: Option<u64>,
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
    server::set_nonblocking(LISTENER);
    fd::raise_limit();
    let spare = spare();
    let log = Log(settings.verbosity);
    let (held, clients) = fit(settings, spare.as_ref(), log);

    let pages = Buffer::size(held).saturating_mul(clients + 1);
    let each_client = gate::BYTES_EACH + size_of::<(Option<Client>, Buffer, Poll)>();
    let rest = each_client * clients + size_of::<[Poll; FIRST]>() + 64;
    let size = table::BYTES_EACH.saturating_mul(held).saturating_add(pages).saturating_add(rest);
    let Some(mut memory) = Memory::map(size) else {
        fail(text!("unable to get memory for -n and -c"), Errno::NOMEM)
    };
    let mut pages = memory.part(pages);
    let mut daemon = Daemon {
        service: Service {
            table: Table::new(&mut memory, held, sys::now().nanoseconds as u64),
            gate: Gate::new(&mut memory, clients, source),
            log,
        },
        clients: memory.list(clients),
        buffers: memory.list(clients),
        buffer: Buffer::new(&mut pages, held),
        out: pool::composer(),
        polls: memory.list(FIRST + clients),
        spare,
        count: 0,
        most: clients,
        is_crowded: false,
        is_stuck: false,
        timeout: settings.timeout,
        lame_duck: settings.lame_duck,
        end: None,
    };
    while !daemon.clients.is_full() {
        daemon.clients.push(None);
        daemon.buffers.push(Buffer::new(&mut pages, held));
    }
    while !daemon.polls.is_full() {
        daemon.polls.push(Poll { fd: -1, events: Poll::IN, happened: 0 });
    }
    if let Err((path, errno)) = daemon.service.gate.reload() {
        let line = exit::fatal().text(text!("unable to read rules from ")).quoted(path);
        line.reason(errno.number()).end(Exit::SYSTEM);
    }
    let signals = Signals::new();
    let signals = signals.unwrap_or_else(|errno| fail(text!("unable to wait for signals"), errno));
    daemon.polls.at(1).fd = signals.number();
    if settings.says_ready {
        // Whoever does not want to know any more is no reason to stop.
        let _ = sys::write_all(1, &[AtomicU8::new(b'\n')]);
        let _ = server::put_at(LISTENER, 1);
    }
    loop {
        daemon.turn(&signals);
    }
}

/// A descriptor to be closed where another is needed and cannot be had. What is closed of the first
/// three would be the number of something else before long, so these stay open.
fn spare() -> Option<Fd> {
    loop {
        if let Some(fd) = Fd::own(sys::duplicate(LISTENER).ok()?) {
            return Some(fd);
        }
    }
}

/// How many descriptors and clients there is room for: what is asked for, or less.
fn fit(settings: &Settings, spare: Option<&Fd>, log: Log) -> (usize, usize) {
    let limit = usize::try_from(sys::open_file_limit().soft).unwrap_or(usize::MAX);
    // What was open at the start has the numbers below the first free one.
    let taken = spare.map_or(limit, |spare| spare.number() as usize) + OWN_DESCRIPTORS;
    let room = limit.saturating_sub(taken);
    if room < 2 {
        fail(text!("the open-file limit is too low"), Errno::MFILE);
    }
    let clients = (settings.clients as usize).min(CLIENTS_MAX).min(room / 2).max(1);
    let wanted = (settings.held as usize).max(1);
    let held = wanted.min(room - clients);
    if held < wanted {
        if let Some(line) = log.warning() {
            line.text(text!("the open-file limit is ")).number(limit as u32);
            line.text(text!(": it leaves room for ")).number(held as u32);
            line.text(text!(" descriptors")).say();
        }
    }
    (held, clients)
}

impl Daemon {
    /// Waits until there is something to do, and does it: for every client once at the most.
    fn turn(&mut self, signals: &Signals) {
        let milliseconds = self.prepare();
        server::wait(&mut self.polls, milliseconds);
        let now = server::uptime();
        for number in 0..self.most {
            let poll = self.polls.at(FIRST + number);
            // Those without a descriptor do not wait for anything outside.
            if poll.happened != 0 || poll.fd < 0 {
                self.serve(number, now);
            }
        }
        if self.end.is_none() && (self.polls.at(0).happened != 0 || self.is_stuck) {
            self.is_stuck = false;
            // No more than a few: those who have come already are not to wait for those who come.
            for _ in 0..ACCEPTED {
                if self.count == self.most || !self.accept(now) {
                    break;
                }
            }
        }
        if self.polls.at(1).happened == 0 {
            return;
        }
        while let Some(signal) = signals.next() {
            if signal == Signal::HangUp {
                self.reload();
            } else if self.end.is_none() {
                self.service.log.note(NOBODY, text!("lame duck"), 0);
                let limit = if self.lame_duck > 0 { self.lame_duck.into() } else { u64::MAX / 2 };
                self.end = Some(now + limit);
                // What has come by now is still answered.
                for number in 0..self.most {
                    self.serve(number, now);
                }
            }
        }
    }

    /// Says what is to be waited for, and for how many milliseconds.
    fn prepare(&mut self) -> u32 {
        let mut wait = self.expire();
        let now = server::uptime();
        for number in 0..self.most {
            let poll = self.polls.at(FIRST + number);
            poll.fd = -1;
            let Some(client) = self.clients.at(number) else { continue };
            let is_busy = client.is_busy();
            let mut left = u32::MAX;
            if self.timeout > 0 && is_busy {
                left = self.timeout.saturating_sub((now - client.moved) as u32);
                if left == 0 {
                    client.doom = Some(Errno::TIMEDOUT);
                }
            }
            if self.end.is_some() && !is_busy {
                client.doom = Some(Errno::PIPE);
            }
            if client.doom.is_some() || client.has_request(self.buffers.at(number)) {
                left = 0;
            } else if client.is_crowded {
                left = left.min(MOMENT);
            } else {
                poll.fd = client.number();
                poll.events = if client.is_answered() { Poll::OUT } else { Poll::IN };
            }
            wait = wait.min(left);
        }
        let listener = self.polls.at(0);
        listener.fd = -1;
        if let Some(end) = self.end {
            if self.count == 0 || now >= end {
                exit::success();
            }
            wait = wait.min((end - now).min(WAIT_MAX.into()) as u32);
        } else if self.is_stuck {
            wait = wait.min(MOMENT);
        } else if self.count < self.most {
            listener.fd = LISTENER;
        }
        wait
    }

    /// Closes what is past its expiry, and says in how many milliseconds something else will be.
    fn expire(&mut self) -> u32 {
        while let Some(&number) = self.service.table.held().first() {
            let slot = self.service.table.slot(number);
            let (seconds, nanoseconds) = tai::order(&slot.expiry);
            let now = tai::order(&tai::label(sys::now()));
            if (seconds, nanoseconds) > now {
                let left = nanoseconds as i32 - now.1 as i32;
                return match seconds - now.0 {
                    seconds @ 0..60 => (seconds as i32 * 1000 + left / 1_000_000 + 1) as u32,
                    seconds if seconds < tai::NEVER / 2 => WAIT_MAX,
                    _ => u32::MAX,
                };
            }
            self.service.log.event(NOBODY, text!("expire"), slot.identifier(), 0);
            self.service.table.forget(number);
        }
        u32::MAX
    }

    /// Accepts a client and serves it at once, since it may have asked already; false if there is
    /// none.
    fn accept(&mut self, now: u64) -> bool {
        let fd = match server::accept(LISTENER) {
            Ok(number) => Fd::own(number),
            Err(Errno::AGAIN) => return false,
            Err(errno) => {
                if !self.is_crowded {
                    let what = text!("unable to accept a client");
                    self.service.log.note(NOBODY, what, errno.number());
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
        let Some(access) = self.service.gate.admit(who, self.service.log) else { return true };
        self.service.log.note(who, text!("connect"), 0);
        let mut number = 0;
        while self.clients.at(number).is_some() {
            number += 1;
        }
        *self.clients.at(number) = Some(Client::new(fd, Session { who, access, missing: 0 }, now));
        self.count += 1;
        self.serve(number, now);
        true
    }

    /// Does for a client what can be done without waiting, and hangs up on one that is gone, or has
    /// to go.
    fn serve(&mut self, number: usize, now: u64) {
        let Some(mut client) = self.clients.at(number).take() else { return };
        let was_kept = client.is_kept;
        if was_kept {
            mem::swap(&mut self.buffer, self.buffers.at(number));
        }
        let served = match client.doom {
            Some(errno) => Err(errno),
            None => self.try_serve(&mut client, now),
        };
        client.is_kept = served.is_ok() && client.has_rest();
        if let Err(errno) = served {
            client.leave(&mut self.buffer, &mut self.service.table);
            self.service.gate.dismiss(&client.session.access);
            self.count -= 1;
            let is_expected = matches!(errno, Errno::PIPE | Errno::CONNRESET);
            let reason = if is_expected { 0 } else { errno.number() };
            self.service.log.note(client.session.who, text!("disconnect"), reason);
        }
        let is_kept = client.is_kept;
        if served.is_ok() {
            *self.clients.at(number) = Some(client);
        }
        // One buffer is in everybody's use; what is kept is in the client's own.
        if was_kept || is_kept {
            let own = self.buffers.at(number);
            mem::swap(&mut self.buffer, own);
            if !is_kept {
                own.give_back();
            }
        }
    }

    fn try_serve(&mut self, client: &mut Client, now: u64) -> Result<(), Errno> {
        if !client.is_answered() {
            if !client.has_request(&self.buffer) && !client.receive(&mut self.buffer)? {
                return Ok(());
            }
            client.moved = now;
            // Answers that nobody takes must not be in the way of what is to be held.
            while self.service.table.free_slots()
                < client.descriptors().min(self.service.table.most())
            {
                self.shed(now);
            }
            self.expire();
            client.take(&mut self.buffer, &mut self.service)?;
        }
        if client.send(&mut self.buffer, self.out, &mut self.service.table)? {
            client.moved = now;
        }
        Ok(())
    }

    /// Hangs up on the client that has waited longest of those for whose answers slots are kept.
    fn shed(&mut self, now: u64) {
        let mut slowest = (u64::MAX, 0);
        for number in 0..self.most {
            if let Some(client) = self.clients.at(number) {
                if client.needs_slots() {
                    slowest = slowest.min((client.moved, number));
                }
            }
        }
        if let Some(client) = self.clients.at(slowest.1) {
            client.doom = Some(Errno::NOBUFS);
        }
        self.serve(slowest.1, now);
    }

    /// Reads the rules again.
    fn reload(&mut self) {
        let Err((path, errno)) = self.service.gate.reload() else {
            return self.service.log.note(NOBODY, text!("rules read"), 0);
        };
        if let Some(line) = self.service.log.warning() {
            line.text(text!("the old rules stay: unable to read rules from "));
            line.quoted(path).reason(errno.number()).say();
        }
    }
}
