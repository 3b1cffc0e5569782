//! Places for connections: what each has of its own, and serving those for which something can be done.

use super::connection::{Connection, Inbox, Progress, REQUEST_MAX};
use super::request::{Descriptors, Service};
use super::{MOMENT, expire, places};
use crate::protocol::frame::ENTRIES_MAX;
use crate::sys::Errno;
use crate::sys::memory::{List, Mapping, PAGE_MAX, at};
use crate::sys::time::{self, Poll};
use core::ops::{Deref, DerefMut};

/// Bytes of a buffer for requests: whole pages, so that they can be given back.
const BUFFER: usize = REQUEST_MAX.next_multiple_of(PAGE_MAX);

/// The places.
pub struct Seats {
    /// As many as there can be connections.
    connections: List<Connection>,
    /// What is waited for: other things, and each connection.
    polls: List<Poll>,
    /// A buffer that all requests are received in, and behind it one for each connection, for the
    /// beginning of a request that has to be kept.
    buffers: Mapping<u8>,
    /// What came with the requests of each.
    descriptors: Mapping<Descriptors>,
    /// How many descriptors may be open for clients, besides their connections.
    open_most: usize,
}

/// How many other things are waited for.
pub const OTHERS: usize = 2;

impl Seats {
    /// Places for that many connections; nothing if there is no memory for them. `open_most` descriptors
    /// may be open for clients, for what is held and for what comes with requests.
    pub fn new(count: usize, open_most: usize) -> Option<Seats> {
        let mut connections = List::new(count)?;
        let mut polls = List::new(OTHERS + count)?;
        for _ in 0..count {
            connections.push(Connection::NOBODY);
        }
        for _ in 0..OTHERS + count {
            polls.push(Poll::NOTHING);
        }
        let buffers = Mapping::new((1 + count).checked_mul(BUFFER)?)?;
        let descriptors = Mapping::new(count)?;
        Some(Seats { connections, polls, buffers, descriptors, open_most })
    }

    /// The connection of that number.
    pub fn at(&mut self, number: usize) -> &mut Connection {
        self.connections.at(number)
    }

    /// The number of a place that is free.
    pub fn free(&self) -> Option<usize> {
        self.iter().position(|connection| connection.fd.is_none())
    }

    /// How many places are taken.
    pub fn count(&self) -> usize {
        self.iter().filter(|connection| connection.fd.is_some()).count()
    }

    /// Whether a place is free.
    pub fn has_room(&self) -> bool {
        self.free().is_some()
    }

    /// Whether more than one is.
    pub fn has_more_than_one(&self) -> bool {
        self.count() + 1 < self.len()
    }

    /// Says of each what is to be waited for. The result is for how many milliseconds.
    pub fn prepare(&mut self, now: u32, timeout: u32, is_ending: bool) -> u32 {
        let mut wait = u32::MAX;
        let buffers = self.buffers.chunks(BUFFER).skip(1);
        let polls = self.polls.iter_mut().skip(OTHERS);
        for ((connection, poll), bytes) in self.connections.iter_mut().zip(polls).zip(buffers) {
            *poll = Poll::NOTHING;
            if connection.fd.is_some() {
                let left;
                (*poll, left) = connection.prepare(bytes, now, timeout, is_ending);
                wait = wait.min(left);
            }
        }
        wait
    }

    /// Waits for what has been prepared and for others, at most that many milliseconds, `u32::MAX` for
    /// ever. The kernel refuses to wait for more places than the limit on open files allows, which
    /// somebody may have lowered: then everything is tried, after a moment.
    pub fn wait(&mut self, others: &mut [Poll; OTHERS], milliseconds: u32) {
        let used = self.connections.iter().rposition(|connection| connection.fd.is_some());
        let end = used.map_or(OTHERS, |last| OTHERS + 1 + last);
        let polls = self.polls.get_mut(..end).unwrap_or_default();
        if let Some(place) = polls.first_chunk_mut() {
            *place = *others;
        }
        let limit = Some(milliseconds).filter(|limit| *limit < u32::MAX);
        if time::poll(polls, limit).is_err() && milliseconds > 0 {
            let _ = time::poll(&mut [], Some(MOMENT));
            polls.iter_mut().for_each(Poll::pretend);
        }
        if let Some(place) = polls.first_chunk() {
            *others = *place;
        }
    }

    /// Serves `all` connections, or those for which something can be done.
    pub fn serve_all(&mut self, service: &mut Service, all: bool) {
        for number in 0..self.len() {
            let poll = at(&mut self.polls, OTHERS + number);
            // Those without a descriptor do not wait for anything outside.
            if all || poll.has_happened() || !poll.is_something() {
                self.attend(service, number);
            }
        }
    }

    /// Does for the connection of that number, if there is one that has a place, what can be done without
    /// waiting, and hangs up on one that is gone, or has to go.
    pub fn attend(&mut self, service: &mut Service, number: usize) {
        self.make_way(service);
        let connection = self.connections.at(number);
        if connection.fd.is_none() || connection.is_waiting {
            return;
        }
        let has_kept = connection.keeps_request();
        let mut done = self.with(number, has_kept, |connection, inbox| {
            connection.receive(inbox, service)?;
            // Nothing that has come is to see what has expired before.
            expire(service);
            connection.answer(inbox, service)
        });
        if let Ok(Progress::NeedsSlots(count)) = done {
            self.make_room(service, count);
            done =
                self.with(number, has_kept, |connection, inbox| connection.answer(inbox, service));
        }
        if let Err(errno) = done {
            let fds = at(&mut self.descriptors, number);
            self.connections.at(number).leave(fds, service, errno);
        }
        self.keep(number, has_kept);
    }

    /// Has something done with a connection and what has come from it: in the buffer that all share, or
    /// in its own.
    fn with<T>(
        &mut self,
        number: usize,
        is_own: bool,
        action: impl FnOnce(&mut Connection, &mut Inbox) -> T,
    ) -> T {
        let buffer = if is_own { 1 + number } else { 0 };
        let bytes = self.buffers.chunks_mut(BUFFER).nth(buffer).unwrap_or_default();
        let fds = at(&mut self.descriptors, number);
        action(self.connections.at(number), &mut Inbox { bytes, fds })
    }

    /// Keeps the beginning of a request in the buffer of its own connection, or gives that back.
    fn keep(&mut self, number: usize, has_kept: bool) {
        let kept = self.connections.at(number).kept();
        let (shared, others) = self.buffers.split_at_mut(BUFFER);
        let own = others.chunks_mut(BUFFER).nth(number).unwrap_or_default();
        if has_kept && kept == 0 {
            Mapping::give_back(own);
        } else if !has_kept && kept > 0 {
            if let (Some(own), Some(shared)) = (own.get_mut(..kept), shared.get(..kept)) {
                own.copy_from_slice(shared);
            }
        }
    }

    /// Keeps room under the limit on open files for descriptors of the request that comes next: a quarter
    /// of all, or as many as one can have. Those that came with requests that are not done yet have to
    /// make way, of the client that has been silent for longest first.
    fn make_way(&mut self, service: &mut Service) {
        let now = service.now;
        let room = self.open_most.saturating_sub(service.table.used());
        let reserve = ENTRIES_MAX.min(self.open_most / 4);
        // Usually there is enough whatever they send.
        while room < reserve + self.len() * ENTRIES_MAX {
            let parked: usize = self.iter().map(Connection::parked).sum();
            if room >= reserve + parked {
                return;
            }
            let may = |connection: &Connection| connection.has_to_make_way(now);
            let Some(number) = places::longest_silent(self, now, may) else { return };
            let fds = at(&mut self.descriptors, number);
            self.connections.at(number).make_way(fds, &mut service.table.closing);
        }
    }

    /// Makes room for `descriptors`, for a request that is to be done. Answers that nobody takes must not
    /// be in the way of what is to be held: of the clients for whose answers slots are kept, those that
    /// have taken nothing for longest are hung up on, until there is a free slot for each descriptor, or
    /// as many as may be held.
    fn make_room(&mut self, service: &mut Service, descriptors: usize) {
        let now = service.now;
        while service.table.free_slots() < descriptors.min(service.table.most()) {
            let waits = places::longest_silent(self, now, Connection::needs_slots);
            let Some(number) = waits else { return };
            let slowest = self.connections.at(number);
            slowest.doom = Some(Errno::NOBUFS);
            slowest.forget_answer(service);
        }
    }

    /// Hangs up on all.
    pub fn leave_all(&mut self, service: &mut Service) {
        for (connection, fds) in self.connections.iter_mut().zip(self.descriptors.iter_mut()) {
            if connection.fd.is_some() {
                connection.leave(fds, service, Errno::PIPE);
            }
        }
    }
}

impl Deref for Seats {
    type Target = [Connection];

    fn deref(&self) -> &[Connection] {
        &self.connections
    }
}

impl DerefMut for Seats {
    fn deref_mut(&mut self) -> &mut [Connection] {
        &mut self.connections
    }
}
