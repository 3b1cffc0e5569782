//! The clients, in a fixed number of places: the connection and the buffers of each, and serving those
//! that are ready.

use super::closing::BATCH;
use super::connection::{Connection, Inbox, REQUEST_MAX, Stop};
use super::request::{Descriptors, Service};
use super::{RETRY, eviction, expire};
use crate::protocol::frame::ENTRIES_MAX;
use crate::slice::{part, part_mut};
use crate::sys::Errno;
use crate::sys::memory::{List, Mapping, PAGE_MAX, at};
use crate::sys::time::{self, Poll};
use core::ops::{Deref, DerefMut};

/// Bytes of a buffer for requests: whole pages, so that they can be returned to the kernel.
const BUFFER: usize = REQUEST_MAX.next_multiple_of(PAGE_MAX);

/// The buffer of this number.
fn buffer(buffers: &mut [u8], number: usize) -> &mut [u8] {
    part_mut(part_mut(buffers, number * BUFFER..), ..BUFFER)
}

/// The clients.
pub struct Clients {
    /// One per place.
    connections: List<Connection>,
    /// What to wait for: [`OTHERS`] descriptors that are no connections, then each connection.
    polls: List<Poll>,
    /// One shared buffer in which all requests are received, then a buffer for each place, which keeps
    /// the start of an incomplete request.
    buffers: Mapping<u8>,
    /// The descriptors that came with the requests of each connection.
    descriptors: Mapping<Descriptors>,
    /// The most descriptors that may be open for clients besides their connections.
    open_most: usize,
}

/// The number of descriptors to wait for that are no connections.
pub const OTHERS: usize = 2;

impl Clients {
    /// `count` places. At most `open_most` descriptors may be open for clients besides their
    /// connections: held ones, and those of requests.
    pub fn new(count: usize, open_most: usize) -> Clients {
        let mut connections = List::new(count);
        for _ in 0..connections.capacity() {
            connections.push(Connection::NONE);
        }
        let mut polls = List::new(OTHERS + count);
        for _ in 0..polls.capacity() {
            polls.push(Poll::NOTHING);
        }
        let buffers = Mapping::new_or_empty((1 + count).saturating_mul(BUFFER));
        let descriptors = Mapping::new_or_empty(count);
        Clients { connections, polls, buffers, descriptors, open_most }
    }

    /// False if there was no memory.
    pub fn has_memory(&self) -> bool {
        let Clients { connections, polls, buffers, descriptors, .. } = self;
        let is_none = connections.is_empty() || polls.is_empty() || buffers.is_empty();
        !is_none && !descriptors.is_empty()
    }

    /// The connection in this place.
    pub fn at(&mut self, number: usize) -> &mut Connection {
        self.connections.at(number)
    }

    /// The number of a free place.
    pub fn free(&self) -> Option<usize> {
        self.iter().position(|connection| connection.fd.is_none())
    }

    /// The number of places that are taken.
    pub fn count(&self) -> usize {
        self.iter().filter(|connection| connection.fd.is_some()).count()
    }

    /// True if a place is free.
    pub fn has_room(&self) -> bool {
        self.free().is_some()
    }

    /// True if more than one place is free.
    pub fn has_two_free(&self) -> bool {
        self.count() + 1 < self.len()
    }

    /// Prepares [`Clients::wait`]. Returns the milliseconds to wait at most.
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

    /// Waits for the connections as prepared, and for `others`, at most `milliseconds`; `u32::MAX` is
    /// no limit. The kernel refuses more descriptors than the limit on open files, which others may
    /// have lowered. Then everything counts as ready after `RETRY`.
    pub fn wait(&mut self, others: &mut [Poll; OTHERS], milliseconds: u32) {
        let used = self.connections.iter().rposition(|connection| connection.fd.is_some());
        let end = used.map_or(OTHERS, |last| OTHERS + 1 + last);
        let polls = part_mut(&mut self.polls, ..end);
        if let Some(place) = polls.first_chunk_mut() {
            *place = *others;
        }
        let limit = Some(milliseconds).filter(|limit| *limit < u32::MAX);
        if time::poll(polls, limit).is_err() && milliseconds > 0 {
            let _ = time::poll(&mut [], Some(RETRY));
            polls.iter_mut().for_each(Poll::mark_ready);
        }
        if let Some(place) = polls.first_chunk() {
            *others = *place;
        }
    }

    /// Serves the connections that are ready, or `all`.
    pub fn serve_all(&mut self, service: &mut Service, all: bool) {
        for number in 0..self.len() {
            let poll = at(&mut self.polls, OTHERS + number);
            // A connection that waits for no event has something else to do.
            if all || poll.has_happened() || !poll.is_set() {
                self.serve(service, number);
            }
        }
    }

    /// Serves a connection: receives, carries out a request and answers, as far as that does not block.
    /// Disconnects it if necessary. Does nothing for a free place or for the connection that waits for
    /// one.
    pub fn serve(&mut self, service: &mut Service, number: usize) {
        self.close_pending_descriptors(service);
        let connection = self.connections.at(number);
        if connection.fd.is_none() || connection.is_waiting {
            return;
        }
        let has_kept = connection.has_partial_request();
        let mut done = self.receive_and_answer(service, number, has_kept, true);
        if let Err(Stop::NeedsSlots(count)) = done {
            self.free_slots(service, count);
            done = self.receive_and_answer(service, number, has_kept, false);
        }
        if let Err(Stop::Disconnect(errno)) = done {
            let fds = at(&mut self.descriptors, number);
            self.connections.at(number).disconnect(fds, service, errno);
        }
        self.keep_request(number, has_kept);
    }

    /// Receives if it `receives`, then answers. The bytes are in the connection's own buffer if its
    /// request `is_kept`, else in the shared one.
    fn receive_and_answer(
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
            // Requests must not see entries that expired before them.
            expire(service, None);
        }
        connection.answer(&mut inbox, service)
    }

    /// Copies the start of an incomplete request to the connection's own buffer, or returns that buffer
    /// to the kernel when it is empty.
    fn keep_request(&mut self, number: usize, has_kept: bool) {
        let kept = self.connections.at(number).buffered();
        if has_kept && kept == 0 {
            Mapping::give_back(buffer(&mut self.buffers, 1 + number));
        } else if !has_kept {
            let (shared, others) = self.buffers.split_at_mut(BUFFER);
            part_mut(buffer(others, number), ..kept).copy_from_slice(part(shared, ..kept));
        }
    }

    /// Keeps room under the limit on open files for the descriptors of the next request: as many as a
    /// request can have, or a quarter of all if that is less. If necessary it closes descriptors of
    /// incomplete requests, of the client that has been silent for longest first.
    fn close_pending_descriptors(&mut self, service: &mut Service) {
        let now = service.now;
        let room = self.open_most.saturating_sub(service.table.used());
        let reserve = (ENTRIES_MAX + 2 * BATCH).min(self.open_most / 4);
        // Usually there is room for all that the connections can send.
        while room < reserve + self.len() * ENTRIES_MAX {
            let pending: usize = self.iter().map(Connection::pending_descriptors).sum();
            if room >= reserve + pending {
                return;
            }
            let may = |connection: &Connection| connection.may_lose_descriptors(now);
            let Some(number) = eviction::longest_silent(self, now, may) else { return };
            let fds = at(&mut self.descriptors, number);
            self.connections.at(number).close_descriptors(fds, &mut service.table.closing);
        }
    }

    /// True if there is room under the limit on open files for more than the next request, so that what
    /// is to be closed may stay open for a moment.
    pub fn has_ample_room(&self, service: &Service) -> bool {
        self.open_most >= service.table.used() + 4 * ENTRIES_MAX
    }

    /// Frees slots of the table for a request with this number of `descriptors`. Answers that clients
    /// do not read must not block what is to be held. So clients whose answers keep slots are
    /// disconnected, the one that has been silent for longest first, until each descriptor has a slot,
    /// or as many as may be held.
    fn free_slots(&mut self, service: &mut Service, descriptors: usize) {
        let now = service.now;
        while !service.table.has_slots(descriptors) {
            let waits = eviction::longest_silent(self, now, Connection::needs_slots);
            let Some(number) = waits else { return };
            let slowest = self.connections.at(number);
            slowest.disconnect_reason = Some(Errno::NOBUFS);
            slowest.cancel_answer(service);
        }
    }

    /// Disconnects all clients.
    pub fn disconnect_all(&mut self, service: &mut Service) {
        for (connection, fds) in self.connections.iter_mut().zip(self.descriptors.iter_mut()) {
            if connection.fd.is_some() {
                connection.disconnect(fds, service, Errno::PIPE);
            }
        }
    }
}

impl Deref for Clients {
    type Target = [Connection];

    fn deref(&self) -> &[Connection] {
        &self.connections
    }
}

impl DerefMut for Clients {
    fn deref_mut(&mut self) -> &mut [Connection] {
        &mut self.connections
    }
}
