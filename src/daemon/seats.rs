//! Places for connections: what each has of its own, and serving those for which something can be done.

use super::connection::{Connection, Inbox, REQUEST_MAX, Stop};
use super::request::{Descriptors, Service};
use super::{MOMENT, expire, places};
use crate::protocol::frame::ENTRIES_MAX;
use crate::slice::{part, part_mut};
use crate::sys::Errno;
use crate::sys::memory::{List, Mapping, PAGE_MAX, at};
use crate::sys::time::{self, Poll};
use core::ops::{Deref, DerefMut};

/// Bytes of a buffer for requests: whole pages, so that they can be given back.
const BUFFER: usize = REQUEST_MAX.next_multiple_of(PAGE_MAX);

/// The buffer of that number.
fn buffer(buffers: &mut [u8], number: usize) -> &mut [u8] {
    part_mut(part_mut(buffers, number * BUFFER..), ..BUFFER)
}

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
    /// Places for that many connections. `open_most` descriptors may be open for clients, for what is
    /// held and for what comes with requests.
    pub fn new(count: usize, open_most: usize) -> Seats {
        let mut connections = List::new(count);
        for _ in 0..connections.capacity() {
            connections.push(Connection::NOBODY);
        }
        let mut polls = List::new(OTHERS + count);
        for _ in 0..polls.capacity() {
            polls.push(Poll::NOTHING);
        }
        let buffers = Mapping::new_or_empty((1 + count).saturating_mul(BUFFER));
        let descriptors = Mapping::new_or_empty(count);
        Seats { connections, polls, buffers, descriptors, open_most }
    }

    /// Whether there has been memory for them.
    pub fn has_memory(&self) -> bool {
        let Seats { connections, polls, buffers, descriptors, .. } = self;
        let is_none = connections.is_empty() || polls.is_empty() || buffers.is_empty();
        !is_none && !descriptors.is_empty()
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
        for (number, connection) in self.connections.iter_mut().enumerate() {
            let poll = at(&mut self.polls, OTHERS + number);
            *poll = Poll::NOTHING;
            if connection.fd.is_some() {
                let bytes = buffer(&mut self.buffers, 1 + number);
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
        let polls = part_mut(&mut self.polls, ..end);
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
        let mut done = self.serve(service, number, has_kept, true);
        if let Err(Stop::NeedsSlots(count)) = done {
            self.make_room(service, count);
            done = self.serve(service, number, has_kept, false);
        }
        if let Err(Stop::Leave(errno)) = done {
            let fds = at(&mut self.descriptors, number);
            self.connections.at(number).leave(fds, service, errno);
        }
        self.keep(number, has_kept);
    }

    /// Receives from a connection, if that `receives`, and answers. What has come is in the buffer that
    /// all share, or in the connection's own if its request `is_kept`.
    fn serve(
        &mut self,
        service: &mut Service,
        number: usize,
        is_kept: bool,
        receives: bool,
    ) -> Result<(), Stop> {
        let connection = self.connections.at(number);
        let fds = at(&mut self.descriptors, number);
        let bytes = buffer(&mut self.buffers, if is_kept { 1 + number } else { 0 });
        let mut inbox = Inbox { bytes, fds };
        if receives {
            connection.receive(&mut inbox, service)?;
            // Nothing that has come is to see what has expired before.
            expire(service);
        }
        connection.answer(&mut inbox, service)
    }

    /// Keeps the beginning of a request in the buffer of its own connection, or gives that back.
    fn keep(&mut self, number: usize, has_kept: bool) {
        let kept = self.connections.at(number).kept();
        if has_kept && kept == 0 {
            Mapping::give_back(buffer(&mut self.buffers, 1 + number));
        } else if !has_kept {
            let (shared, others) = self.buffers.split_at_mut(BUFFER);
            part_mut(buffer(others, number), ..kept).copy_from_slice(part(shared, ..kept));
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
        while !service.table.has_slots(descriptors) {
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
