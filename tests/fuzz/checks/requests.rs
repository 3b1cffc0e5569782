//! The daemon's clients, over sockets: requests in any pieces, readers fast and slow, and a model
//! of what is held and of every answer. Each thing held is the one end of a pipe, of which the other
//! tells whether anybody still has it.

use super::Input;
use super::model::{Model, ROLES, Reply, Role, request};
use super::world::{self, MOST, SEATS, World, session};
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

/// The most steps and pipes of a check.
const STEPS: usize = 80;
const PIPES: usize = 200;
/// More than clients can have open: none has to make way for another.
const OPEN_MOST: usize = 10_000;
/// Longer than a process that has been started takes to let go of what it was started with.
const TIMEOUT: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// The other end of a pipe, of which one end was sent.
struct Pipe(OwnedFd);

impl Pipe {
    fn inode(&self) -> (u64, u64) {
        wire::inode(&self.0)
    }

    /// Whether all others have closed it, within that time.
    fn forbids_inspection(&self, within: &Timespec) -> bool {
        poll(&mut [PollFd::new(&self.0, PollFlags::empty())], Some(within)).unwrap() > 0
    }
}

/// A frame that has to come.
enum Expected {
    Reply(Reply<Rc<Pipe>>),
    Entries(Vec<wire::Identity>),
}

/// A client, from its own side.
struct Peer {
    stream: UnixStream,
    /// The daemon's end of the connection, once more.
    other: OwnedFd,
    role: &'static Role,
    /// All that it has sent, and where in that the next request begins.
    sent: Vec<u8>,
    next: usize,
    /// Where in that descriptors were sent, and how many; and all that belong to no request yet.
    batches: VecDeque<(usize, usize)>,
    pipes: VecDeque<Rc<Pipe>>,
    /// Entries of a set dump that are to come.
    missing: usize,
    /// Whether an answer is not out yet, and what is to be forgotten when it is.
    is_answered: bool,
    last: Option<Rc<Pipe>>,
    expected: VecDeque<Expected>,
    got: Vec<u8>,
    got_fds: VecDeque<OwnedFd>,
    /// Whether it reads nothing at the moment.
    is_slow: bool,
    /// Whether it is to be hung up on, to make room; and whether it may be, for what it has sent.
    is_doomed: bool,
    may_go: bool,
}

impl Peer {
    /// Length and descriptors that a header at that place says.
    fn header(&self, at: usize) -> Option<(usize, usize)> {
        let [a, b, c, d, e, f] = *self.sent.get(at..)?.first_chunk()?;
        Some((u32::from_be_bytes([a, b, c, d]) as usize, u16::from_be_bytes([e, f]).into()))
    }

    /// Where the request ends that comes next, if so many bytes that were sent have it all.
    fn end(&self, received: usize) -> Option<usize> {
        let (length, _) = self.header(self.next)?;
        Some(self.next + HEADER + length).filter(|end| *end <= received)
    }

    /// How many bytes the daemon has received.
    fn received(&self) -> usize {
        self.sent.len() - ioctl_fionread(&self.other).unwrap() as usize
    }

    /// Whether descriptors came with the first byte of the frame that says so, and with no other;
    /// and no frame is too long.
    fn is_regular(&self) -> bool {
        let (mut at, mut batches) = (self.next, self.batches.iter().peekable());
        while let Some((length, descriptors)) = self.header(at) {
            let batch = batches.next_if(|(place, _)| *place == at);
            at += HEADER + length;
            let is_alone = batches.peek().is_none_or(|(place, _)| *place >= at);
            if batch.map_or(0, |batch| batch.1) != descriptors || !is_alone {
                return false;
            }
            if length > FRAME_MAX + 1 - HEADER {
                return false;
            }
        }
        batches.all(|(place, _)| *place == at)
    }

    /// Receives what there is, to the end if that has to come, and compares it with what should be.
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
                    assert_eq!(poll(&mut polls, Some(&TIMEOUT)), Ok(1), "not hung up");
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
                    let all = all.map(|(id, thing)| (id, thing.expiry, thing.descriptor.inode()));
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

    /// Whether all that it has sent has been done and answered, and it has the answers.
    fn is_quiet(&self) -> bool {
        let is_done = self.next == self.sent.len() && self.pipes.is_empty();
        is_done && !self.is_doomed && !self.is_answered && self.expected.is_empty()
    }
}

/// The daemon's side, the model, and the clients.
struct Scene<'w> {
    service: Service<'w>,
    clients: Clients,
    peers: [Option<Peer>; SEATS],
    model: Model<Rc<Pipe>>,
    /// All pipes that may still be open elsewhere, and how many there have been.
    open: Vec<Rc<Pipe>>,
    count: usize,
    /// Whether it is open if what has expired has been looked for since a client was hung up on.
    is_unsure: bool,
}

impl Scene<'_> {
    /// Connects a client.
    fn connect(&mut self, seat: usize, role: &'static Role) {
        let (stream, other) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        other.set_nonblocking(true).unwrap();
        // As small as it can be.
        set_socket_send_buffer_size(&other, 0).unwrap();
        let session = session(&mut self.service, seat, role);
        let connection = self.clients.at(seat);
        connection.session = session;
        let copy = other.try_clone().unwrap().into();
        // SAFETY: nobody else has it any more.
        connection.fd = unsafe { Fd::own(other.into_raw_fd() as usize) };
        self.peers[seat] = Some(Peer {
            stream,
            other: copy,
            role,
            sent: Vec::new(),
            next: 0,
            batches: VecDeque::new(),
            pipes: VecDeque::new(),
            missing: 0,
            is_answered: false,
            last: None,
            expected: VecDeque::new(),
            got: Vec::new(),
            got_fds: VecDeque::new(),
            is_slow: false,
            is_doomed: false,
            may_go: false,
        });
    }

    /// Sends bytes with so many descriptors.
    fn send(&mut self, seat: usize, bytes: &[u8], descriptors: usize) {
        let Some(peer) = &mut self.peers[seat] else { return };
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
        peer.may_go |= !peer.is_regular();
    }

    /// Has the daemon do what it can for a client, and the model the same.
    fn attend(&mut self, seat: usize) {
        let Some(peer) = &self.peers[seat] else { return };
        let (was_answered, was_doomed) = (peer.is_answered, peer.is_doomed);
        let wanted = peer.pipes.len().min(self.service.table.capacity());
        let is_crowded = self.service.table.free_slots() < wanted;
        self.clients.serve(&mut self.service, seat);
        self.service.table.closing.tick(0, false);
        for (connection, peer) in self.clients.iter().zip(&mut self.peers) {
            let Some(peer) = peer.as_mut().filter(|peer| !peer.is_doomed) else { continue };
            if connection.disconnect_reason.is_some() {
                assert_eq!(connection.disconnect_reason, Some(Errno::NOBUFS));
                assert!(peer.is_answered && is_crowded, "doomed without need");
                (peer.is_doomed, peer.is_answered, peer.last) = (true, false, None);
            }
        }
        let peer = self.peers[seat].as_mut().unwrap();
        if self.clients[seat].fd.is_none() {
            assert!(was_doomed || peer.may_go, "hung up on without a reason");
            return self.leave(seat);
        }
        assert!(!was_doomed);
        self.model.expire();
        self.is_unsure = false;
        if !was_answered {
            if let Some(end) = peer.end(peer.received()) {
                let (_, descriptors) = peer.header(peer.next).unwrap();
                let request = &peer.sent[peer.next + HEADER..end];
                let pipes = peer.pipes.drain(..descriptors).collect();
                let reply = self.model.execute(peer.role, &mut peer.missing, request, pipes);
                peer.batches.retain(|(place, _)| *place >= end);
                (peer.next, peer.is_answered) = (end, true);
                if let Reply::Descriptor(pipe, true) = &reply {
                    peer.last = Some(pipe.clone());
                }
                peer.expected.push_back(Expected::Reply(reply));
            }
        }
        assert_eq!(peer.missing, self.clients[seat].session.missing);
        if peer.is_answered && !self.clients[seat].is_answering() {
            peer.is_answered = false;
            if let Some(last) = peer.last.take() {
                self.model.held.retain(|_, thing| !Rc::ptr_eq(&thing.descriptor, &last));
            }
        }
        assert_eq!(peer.is_answered, self.clients[seat].is_answering());
        if !peer.is_slow {
            peer.read(false);
        }
    }

    /// The daemon has hung up on a client.
    fn leave(&mut self, seat: usize) {
        let mut peer = self.peers[seat].take().unwrap();
        let (nobody, _) = UnixStream::pair().unwrap();
        peer.other = nobody.into();
        peer.read(true);
        self.is_unsure = true;
    }

    /// Has a client hang up, when it can be said what the daemon has done for it.
    fn hang_up(&mut self, seat: usize) {
        while let Some(peer) = &self.peers[seat] {
            let is_stuck = peer.is_answered || peer.is_doomed;
            let received = peer.received();
            if is_stuck || received == peer.sent.len() && peer.end(received).is_none() {
                break;
            }
            self.attend(seat);
        }
        let Some(peer) = &mut self.peers[seat] else { return };
        // A process that is just being started may have a copy of it.
        peer.stream.shutdown(Shutdown::Both).unwrap();
        self.clients.serve(&mut self.service, seat);
        assert!(self.clients[seat].fd.is_none(), "a client that is gone");
        self.peers[seat] = None;
        self.is_unsure = true;
    }

    /// Checks that nothing is missing, and nothing kept.
    fn check(&mut self) {
        let held = self.service.table.capacity() - self.service.table.room();
        assert!(self.is_unsure || held == self.model.held.len(), "{held} are held");
        let now = wire::expiry_in(Duration::ZERO);
        let here = self.model.held.values().filter(|thing| thing.expiry > now);
        let mut polls: Vec<_> =
            here.map(|thing| PollFd::new(&thing.descriptor.0, PollFlags::empty())).collect();
        let closed = poll(&mut polls, Some(&Timespec::default())).unwrap();
        assert_eq!(closed, 0, "something held is closed");
        if !self.is_unsure && self.peers.iter().flatten().all(Peer::is_quiet) {
            assert_eq!(self.service.table.free_slots(), 2 * self.service.table.capacity() - held);
            let held: Vec<_> =
                self.model.held.values().map(|thing| thing.descriptor.clone()).collect();
            self.open.retain(|pipe| {
                let is_held = held.iter().any(|held| Rc::ptr_eq(held, pipe));
                assert!(
                    is_held || pipe.forbids_inspection(&TIMEOUT),
                    "something forgotten is open"
                );
                is_held
            });
        }
    }

    /// Has all clients read and all requests done.
    fn settle(&mut self) {
        // What was settled at the end of a round may be the head of a frame that is too long: the
        // next one shows that.
        let (mut rounds, mut settled) = (0, 0);
        while settled < 2 {
            rounds += 1;
            assert!(rounds < 1000, "no end");
            for seat in 0..SEATS {
                if let Some(peer) = &mut self.peers[seat] {
                    peer.is_slow = false;
                    peer.read(false);
                }
                self.attend(seat);
            }
            let is_settled = |peer: &Peer| {
                let received = peer.received();
                let is_idle = received == peer.sent.len() && peer.end(received).is_none();
                is_idle && peer.expected.is_empty() && !peer.is_answered && !peer.is_doomed
            };
            let is_done = self.peers.iter().flatten().all(is_settled);
            settled = if is_done { settled + 1 } else { 0 };
        }
        for peer in self.peers.iter().flatten() {
            let length = peer.header(peer.next).map_or(0, |header| header.0);
            assert!(length <= FRAME_MAX + 1 - HEADER, "a frame too long");
        }
    }

    /// Does one thing that the input says.
    fn step(&mut self, input: &mut Input) {
        let byte = input.byte();
        let (seat, times) = (usize::from(byte) % SEATS, usize::from(byte >> 5));
        match byte >> 2 & 7 {
            0..=3 => {
                let (frame, descriptors) = request(input);
                let split = usize::from(input.byte()).saturating_sub(0xc0) * frame.len() / 64;
                let (first, second) = frame.split_at(split);
                let first_has = if first.is_empty() { 0 } else { descriptors };
                self.send(seat, first, first_has);
                if times & 1 > 0 {
                    self.attend(seat);
                }
                self.send(seat, second, descriptors - first_has);
                (0..times).for_each(|_| self.attend(seat));
            }
            4 => {
                let (length, descriptors) = (input.below(40), input.below(4));
                let bytes = input.take(length);
                self.send(seat, bytes, descriptors);
            }
            5 => {
                if let Some(peer) = &mut self.peers[seat] {
                    peer.is_slow = times & 1 > 0;
                }
            }
            6 => (0..=times).for_each(|_| self.attend(seat)),
            _ => {
                self.hang_up(seat);
                self.connect(seat, &ROLES[times % ROLES.len()]);
            }
        }
        self.check();
    }
}

/// Checks what clients get that do whatever the bytes say.
pub fn check(bytes: &[u8]) {
    thread_local!(static WORLD: RefCell<World> = RefCell::new(World::new()));
    WORLD.with_borrow_mut(|world| check_in(world, Input(bytes)));
}

fn check_in(world: &mut World, mut input: Input) {
    let most = 1 + input.below(MOST);
    let service = world.service(most, input.byte());
    let mut scene = Scene {
        service,
        clients: Clients::new(SEATS, OPEN_MOST),
        peers: [const { None }; SEATS],
        model: Model { held: BTreeMap::new(), most },
        open: Vec::new(),
        count: 0,
        is_unsure: false,
    };
    for seat in 0..SEATS {
        scene.connect(seat, &ROLES[input.below(ROLES.len())]);
    }
    for _ in 0..STEPS {
        if input.0.is_empty() || scene.count > PIPES {
            break;
        }
        scene.step(&mut input);
    }
    scene.settle();
    scene.check();
    (0..SEATS).for_each(|seat| scene.hang_up(seat));
    let Scene { service, open, .. } = scene;
    let gate = world::end(service);
    world.take_back(gate);
    assert!(open.iter().all(|pipe| pipe.forbids_inspection(&TIMEOUT)), "descriptors are lost");
}
