//! The clients of a daemon, over sockets: requests in any pieces, fast and slow readers, and a model of the
//! entries and of every answer. Each descriptor is one end of a pipe. The other end shows whether all copies
//! are closed.

use super::Input;
use super::fixture::{self, CLIENTS, Fixture, MOST, session};
use super::model::{Model, ROLES, Reply, Role, request};
use crate::kit::wire;
use fdholder::daemon::clients::Clients;
use fdholder::daemon::request::Service;
use fdholder::protocol::frame::{ENTRIES_MAX, FRAME_MAX, HEADER};
use fdholder::sys::Errno;
use fdholder::sys::fd::Fd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionread;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::pipe::{PipeFlags, pipe_with};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

/// The largest number of steps and of pipes in a check.
const STEPS: usize = 80;
const PIPES: usize = 200;
/// More descriptors than the clients can have, so that none is evicted for another.
const OPEN_MOST: usize = 10_000;
/// Longer than a new process takes until it has closed the descriptors that it has inherited.
const TIMEOUT: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// The end of a pipe whose other end was sent.
struct Pipe(OwnedFd);

impl Pipe {
    fn inode(&self) -> (u64, u64) {
        wire::inode(&self.0)
    }

    /// Whether all copies of the other end are closed, within this time.
    fn is_closed(&self, within: &Timespec) -> bool {
        poll(&mut [PollFd::new(&self.0, PollFlags::empty())], Some(within)).unwrap() > 0
    }
}

/// A frame that the daemon must send.
enum Expected {
    Reply(Reply<Rc<Pipe>>),
    Entries(Vec<wire::Identity>),
}

/// The client's side of a connection.
struct Peer {
    stream: UnixStream,
    /// A copy of the daemon's end of the connection.
    other: OwnedFd,
    role: &'static Role,
    /// All bytes that it has sent, and the position in them of the next request.
    sent: Vec<u8>,
    next: usize,
    /// The positions in these bytes at which descriptors were sent, with their numbers, and the pipes of
    /// requests that are not done yet.
    batches: VecDeque<(usize, usize)>,
    pipes: VecDeque<Rc<Pipe>>,
    /// The number of entries of a set dump that are not sent yet.
    missing: usize,
    /// Whether an answer is not sent completely yet, and the descriptor that is deleted then.
    is_being_answered: bool,
    deleted: Option<Rc<Pipe>>,
    expected: VecDeque<Expected>,
    got: Vec<u8>,
    got_fds: VecDeque<OwnedFd>,
    /// Whether it reads nothing at the moment.
    is_slow: bool,
    /// Whether the daemon is about to disconnect it to make room, and whether the daemon may disconnect it
    /// because of what it has sent.
    is_evicted: bool,
    may_be_disconnected: bool,
}

impl Peer {
    /// The length and the number of descriptors in the header at this position.
    fn header(&self, at: usize) -> Option<(usize, usize)> {
        let [a, b, c, d, e, f] = *self.sent.get(at..)?.first_chunk()?;
        Some((u32::from_be_bytes([a, b, c, d]) as usize, u16::from_be_bytes([e, f]).into()))
    }

    /// The end of the next request, if it is complete in the first `received` bytes.
    fn end(&self, received: usize) -> Option<usize> {
        let (length, _) = self.header(self.next)?;
        Some(self.next + HEADER + length).filter(|end| *end <= received)
    }

    /// How many bytes the daemon has received.
    fn received(&self) -> usize {
        self.sent.len() - ioctl_fionread(&self.other).unwrap() as usize
    }

    /// Whether all descriptors were sent with the first byte of the frame that announces them, and no frame is
    /// too long.
    fn is_regular(&self) -> bool {
        let (mut at, mut batches) = (self.next, self.batches.iter().peekable());
        while let Some((length, descriptors)) = self.header(at) {
            let batch = batches.next_if(|(position, _)| *position == at);
            at += HEADER + length;
            let is_alone = batches.peek().is_none_or(|(position, _)| *position >= at);
            if batch.map_or(0, |batch| batch.1) != descriptors || !is_alone {
                return false;
            }
            if length > FRAME_MAX + 1 - HEADER {
                return false;
            }
        }
        batches.all(|(position, _)| *position == at)
    }

    /// Receives what has arrived, and compares it with the expected answers. With `to_end`, it waits for the
    /// daemon to disconnect.
    fn read(&mut self, to_end: bool) {
        let mut bytes = [0; 8192];
        loop {
            match wire::receive(&self.stream, &mut bytes) {
                Ok((0, _)) => break,
                Ok((n, fds)) => {
                    self.got.extend(&bytes[..n]);
                    self.got_fds.extend(fds);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !to_end {
                        break;
                    }
                    let mut polls = [PollFd::new(&self.stream, PollFlags::IN)];
                    assert_eq!(poll(&mut polls, Some(&TIMEOUT)), Ok(1), "not disconnected");
                }
                Err(_) => break,
            }
        }
        while let Some([a, b, c, d, e, f]) = self.got.first_chunk().copied() {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            if self.got.len() < HEADER + length {
                break;
            }
            let rest = self.got.split_off(HEADER + length);
            let payload = std::mem::replace(&mut self.got, rest).split_off(HEADER);
            let fds = self.got_fds.drain(..usize::from(u16::from_be_bytes([e, f]))).collect();
            let reply = self.expected.pop_front().expect("a request for every answer");
            self.compare(reply, payload, fds);
        }
    }

    fn compare(&mut self, expected: Expected, payload: Vec<u8>, fds: Vec<OwnedFd>) {
        let inodes: Vec<_> = fds.iter().map(wire::inode).collect();
        let mut right = vec![0];
        match expected {
            Expected::Reply(Reply::Status(status)) => right[0] = status,
            Expected::Reply(Reply::Expect(frames)) => right.extend(frames.to_be_bytes()),
            Expected::Reply(Reply::Descriptor(pipe, _)) => {
                return assert_eq!((payload, inodes), (right, vec![pipe.inode()]));
            }
            Expected::Reply(Reply::List(ids)) => {
                let mut got: Vec<_> = payload[5..].split_inclusive(|byte| *byte == 0).collect();
                got.sort();
                right.extend((ids.len() as u32).to_be_bytes());
                return assert_eq!(
                    (&payload[..5], got, fds.len()),
                    (&right[..], ids.iter().map(|id| &id[..]).collect(), 0)
                );
            }
            Expected::Reply(Reply::Dump(all)) => {
                let count = all.len() as u32;
                let numbers = [count.div_ceil(ENTRIES_MAX as u32), count];
                right.extend(numbers.map(u32::to_be_bytes).concat());
                if count > 0 {
                    let all = all.into_iter();
                    let all = all.map(|(id, held)| (id, held.expiry, held.descriptor.inode()));
                    self.expected.push_front(Expected::Entries(all.collect()));
                }
            }
            Expected::Entries(all) => {
                assert_eq!(fds.len(), all.len());
                return assert_eq!(wire::identities(&wire::entries(&payload, fds)), all);
            }
        }
        assert_eq!((payload, fds.len()), (right, 0));
    }

    /// Whether all its requests are done, and it has received all answers.
    fn is_finished(&self) -> bool {
        let is_done = self.next == self.sent.len() && self.pipes.is_empty();
        is_done && !self.is_evicted && !self.is_being_answered && self.expected.is_empty()
    }
}

/// The daemon's side, the model, and the clients.
struct Simulation<'w> {
    service: Service<'w>,
    clients: Clients,
    peers: [Option<Peer>; CLIENTS],
    model: Model<Rc<Pipe>>,
    /// The pipes whose other ends may be open, and the number of all pipes so far.
    open: Vec<Rc<Pipe>>,
    count: usize,
    /// Whether a client has disconnected since the expiries were compared. Then it is not known whether the
    /// daemon has removed expired entries.
    is_expiry_unknown: bool,
}

impl Simulation<'_> {
    /// Connects a client.
    fn connect(&mut self, client: usize, role: &'static Role) {
        let (stream, other) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        other.set_nonblocking(true).unwrap();
        // The kernel uses its smallest size.
        set_socket_send_buffer_size(&other, 0).unwrap();
        let session = session(&mut self.service, client, role);
        let connection = self.clients.at(client);
        connection.session = session;
        let copy = other.try_clone().unwrap().into();
        // SAFETY: the caller gives its ownership away.
        connection.fd = unsafe { Fd::own(other.into_raw_fd() as usize) };
        self.peers[client] = Some(Peer {
            stream,
            other: copy,
            role,
            sent: Vec::new(),
            next: 0,
            batches: VecDeque::new(),
            pipes: VecDeque::new(),
            missing: 0,
            is_being_answered: false,
            deleted: None,
            expected: VecDeque::new(),
            got: Vec::new(),
            got_fds: VecDeque::new(),
            is_slow: false,
            is_evicted: false,
            may_be_disconnected: false,
        });
    }

    /// Sends bytes with this number of descriptors.
    fn send(&mut self, client: usize, bytes: &[u8], descriptors: usize) {
        let Some(peer) = &mut self.peers[client] else { return };
        if bytes.is_empty() {
            return;
        }
        let mut ends = Vec::new();
        for _ in 0..descriptors {
            let (other, end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
            let pipe = Rc::new(Pipe(other));
            self.open.push(pipe.clone());
            peer.pipes.push_back(pipe);
            ends.push(end);
        }
        self.count += descriptors;
        if descriptors > 0 {
            peer.batches.push_back((peer.sent.len(), descriptors));
        }
        peer.sent.extend(bytes);
        let ends: Vec<_> = ends.iter().map(OwnedFd::as_fd).collect();
        wire::send(&peer.stream, bytes, &ends).unwrap();
        peer.may_be_disconnected |= !peer.is_regular();
    }

    /// Makes the daemon serve a client, and updates the model.
    fn serve(&mut self, client: usize) {
        let Some(peer) = &self.peers[client] else { return };
        let (was_being_answered, was_evicted) = (peer.is_being_answered, peer.is_evicted);
        let needed = peer.pipes.len().min(self.service.table.capacity());
        let is_room_needed = self.service.table.free_slots() < needed;
        self.clients.serve(&mut self.service, client);
        self.service.table.closing.tick(0, false);
        for (connection, peer) in self.clients.iter().zip(&mut self.peers) {
            let Some(peer) = peer.as_mut().filter(|peer| !peer.is_evicted) else { continue };
            if connection.disconnect_reason.is_some() {
                assert_eq!(connection.disconnect_reason, Some(Errno::NOBUFS));
                assert!(peer.is_being_answered && is_room_needed, "evicted without need");
                (peer.is_evicted, peer.is_being_answered, peer.deleted) = (true, false, None);
            }
        }
        let peer = self.peers[client].as_mut().unwrap();
        if self.clients[client].fd.is_none() {
            assert!(was_evicted || peer.may_be_disconnected, "disconnected without a reason");
            return self.end_disconnected(client);
        }
        assert!(!was_evicted);
        self.model.expire();
        self.is_expiry_unknown = false;
        if !was_being_answered {
            if let Some(end) = peer.end(peer.received()) {
                let (_, descriptors) = peer.header(peer.next).unwrap();
                let request = &peer.sent[peer.next + HEADER..end];
                let pipes = peer.pipes.drain(..descriptors).collect();
                let reply = self.model.execute(peer.role, &mut peer.missing, request, pipes);
                peer.batches.retain(|(position, _)| *position >= end);
                (peer.next, peer.is_being_answered) = (end, true);
                if let Reply::Descriptor(pipe, true) = &reply {
                    peer.deleted = Some(pipe.clone());
                }
                peer.expected.push_back(Expected::Reply(reply));
            }
        }
        assert_eq!(peer.missing, self.clients[client].session.missing);
        if peer.is_being_answered && !self.clients[client].is_answering() {
            peer.is_being_answered = false;
            if let Some(deleted) = peer.deleted.take() {
                self.model.held.retain(|_, held| !Rc::ptr_eq(&held.descriptor, &deleted));
            }
        }
        assert_eq!(peer.is_being_answered, self.clients[client].is_answering());
        if !peer.is_slow {
            peer.read(false);
        }
    }

    /// Reads the last answers of a client that the daemon has disconnected.
    fn end_disconnected(&mut self, client: usize) {
        let mut peer = self.peers[client].take().unwrap();
        // Close the copy of the daemon's end, so that the stream ends.
        let (unused, _) = UnixStream::pair().unwrap();
        peer.other = unused.into();
        peer.read(true);
        self.is_expiry_unknown = true;
    }

    /// Disconnects a client when the daemon has done all its complete requests.
    fn disconnect(&mut self, client: usize) {
        while let Some(peer) = &self.peers[client] {
            let is_stuck = peer.is_being_answered || peer.is_evicted;
            let received = peer.received();
            if is_stuck || received == peer.sent.len() && peer.end(received).is_none() {
                break;
            }
            self.serve(client);
        }
        let Some(peer) = &mut self.peers[client] else { return };
        // A process that another test has just started may have a copy of the stream.
        peer.stream.shutdown(Shutdown::Both).unwrap();
        self.clients.serve(&mut self.service, client);
        assert!(self.clients[client].fd.is_none(), "the daemon still has the client");
        self.peers[client] = None;
        self.is_expiry_unknown = true;
    }

    /// Checks that no held descriptor is closed, and that no other one is open.
    fn check(&mut self) {
        let held = self.service.table.capacity() - self.service.table.room();
        assert!(self.is_expiry_unknown || held == self.model.held.len(), "{held} are held");
        let now = wire::expiry_in(Duration::ZERO);
        let valid = self.model.held.values().filter(|held| held.expiry > now);
        let mut polls: Vec<_> =
            valid.map(|held| PollFd::new(&held.descriptor.0, PollFlags::empty())).collect();
        let closed = poll(&mut polls, Some(&Timespec::default())).unwrap();
        assert_eq!(closed, 0, "a held descriptor is closed");
        if !self.is_expiry_unknown && self.peers.iter().flatten().all(Peer::is_finished) {
            assert_eq!(self.service.table.free_slots(), 2 * self.service.table.capacity() - held);
            let held: Vec<_> =
                self.model.held.values().map(|held| held.descriptor.clone()).collect();
            self.open.retain(|pipe| {
                let is_held = held.iter().any(|held| Rc::ptr_eq(held, pipe));
                assert!(
                    is_held || pipe.is_closed(&TIMEOUT),
                    "a descriptor that is not held is open"
                );
                is_held
            });
        }
    }

    /// Lets all clients read until all requests are done.
    fn finish(&mut self) {
        // After a round, the rest may be the header of a frame that is too long. The next round shows that.
        let (mut rounds, mut settled) = (0, 0);
        while settled < 2 {
            rounds += 1;
            assert!(rounds < 1000, "the requests are never finished");
            for client in 0..CLIENTS {
                if let Some(peer) = &mut self.peers[client] {
                    peer.is_slow = false;
                    peer.read(false);
                }
                self.serve(client);
            }
            let is_settled = |peer: &Peer| {
                let received = peer.received();
                let is_idle = received == peer.sent.len() && peer.end(received).is_none();
                is_idle && peer.expected.is_empty() && !peer.is_being_answered && !peer.is_evicted
            };
            let is_done = self.peers.iter().flatten().all(is_settled);
            settled = if is_done { settled + 1 } else { 0 };
        }
        for peer in self.peers.iter().flatten() {
            let length = peer.header(peer.next).map_or(0, |header| header.0);
            assert!(length <= FRAME_MAX + 1 - HEADER, "a frame that is too long was accepted");
        }
    }

    /// Does one step of the input.
    fn step(&mut self, input: &mut Input) {
        let byte = input.byte();
        let (client, times) = (usize::from(byte) % CLIENTS, usize::from(byte >> 5));
        match byte >> 2 & 7 {
            0..=3 => {
                let (frame, descriptors) = request(input);
                let split = usize::from(input.byte()).saturating_sub(0xc0) * frame.len() / 64;
                let (first, second) = frame.split_at(split);
                let first_has = if first.is_empty() { 0 } else { descriptors };
                self.send(client, first, first_has);
                if times & 1 > 0 {
                    self.serve(client);
                }
                self.send(client, second, descriptors - first_has);
                (0..times).for_each(|_| self.serve(client));
            }
            4 => {
                let (length, descriptors) = (input.below(40), input.below(4));
                let bytes = input.take(length);
                self.send(client, bytes, descriptors);
            }
            5 => {
                if let Some(peer) = &mut self.peers[client] {
                    peer.is_slow = times & 1 > 0;
                }
            }
            6 => (0..=times).for_each(|_| self.serve(client)),
            _ => {
                self.disconnect(client);
                self.connect(client, &ROLES[times % ROLES.len()]);
            }
        }
        self.check();
    }
}

/// Checks the answers to clients whose behaviour the bytes determine.
pub fn check(bytes: &[u8]) {
    thread_local!(static FIXTURE: RefCell<Fixture> = RefCell::new(Fixture::new()));
    FIXTURE.with_borrow_mut(|fixture| check_in(fixture, Input(bytes)));
}

fn check_in(fixture: &mut Fixture, mut input: Input) {
    let most = 1 + input.below(MOST);
    let service = fixture.service(most, input.byte());
    let mut simulation = Simulation {
        service,
        clients: Clients::new(CLIENTS, OPEN_MOST),
        peers: [const { None }; CLIENTS],
        model: Model { held: BTreeMap::new(), most },
        open: Vec::new(),
        count: 0,
        is_expiry_unknown: false,
    };
    for client in 0..CLIENTS {
        simulation.connect(client, &ROLES[input.below(ROLES.len())]);
    }
    for _ in 0..STEPS {
        if input.0.is_empty() || simulation.count > PIPES {
            break;
        }
        simulation.step(&mut input);
    }
    simulation.finish();
    simulation.check();
    (0..CLIENTS).for_each(|client| simulation.disconnect(client));
    let Simulation { service, open, .. } = simulation;
    let gate = fixture::end(service);
    fixture.take_back(gate);
    assert!(open.iter().all(|pipe| pipe.is_closed(&TIMEOUT)), "descriptors are not closed");
}
