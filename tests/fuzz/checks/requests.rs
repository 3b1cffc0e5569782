//! The daemon's clients, over sockets: requests in any pieces, readers fast and slow, and a model
//! of what is held and of every answer. Each thing held is the one end of a pipe, of which the other
//! tells whether anybody still has it.

use super::{Input, composer, entries};
use crate::kit::{cdb, wire};
use fdholder::daemon::gate::{self, Gate, Source};
use fdholder::daemon::log::Log;
use fdholder::daemon::request::{Service, Session};
use fdholder::daemon::rules::Identity;
use fdholder::daemon::table::{self, NOW, Table};
use fdholder::daemon::{self, client::Client};
use fdholder::fd::Fd;
use fdholder::message::{ENTRIES_MAX, FRAME_MAX, HEADER};
use fdholder::sys::Errno;
use fdholder::sys::memory::{Memory, Space};
use fdholder::sys::text::Text;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionread;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::pipe::{PipeFlags, pipe_with};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::CString;
use std::io::ErrorKind;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;
use temp_dir::TempDir;

/// How many clients there are.
const SEATS: usize = 3;
/// The most that a table holds here.
const MOST: usize = 12;
/// The most steps and pipes of a check.
const STEPS: usize = 80;
const PIPES: usize = 200;
/// Longer than a process that has been started takes to let go of what it was started with.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// Somebody with certain rights.
struct Role {
    uid: u32,
    /// The rule, less the beginnings of its names.
    rule: &'static [&'static str],
    store: fn(&[u8]) -> bool,
    retrieve: fn(&[u8]) -> bool,
    get_dump: bool,
    set_dump: bool,
    list: bool,
}

static ROLES: [Role; 4] = [
    Role {
        uid: 1001,
        rule: &["STORE_REGEX=", "RETRIEVE_REGEX=", "GETDUMP=", "SETDUMP=", "LIST="],
        store: |_| true,
        retrieve: |_| true,
        get_dump: true,
        set_dump: true,
        list: true,
    },
    Role {
        uid: 1002,
        rule: &["STORE_REGEX=^a", "RETRIEVE_REGEX=b$", "LIST="],
        store: |id| id.starts_with(b"a"),
        retrieve: |id| id.ends_with(b"b"),
        get_dump: false,
        set_dump: false,
        list: true,
    },
    Role {
        uid: 1003,
        rule: &["RETRIEVE_REGEX=", "SETDUMP=", "GETDUMP="],
        store: |_| false,
        retrieve: |_| true,
        get_dump: true,
        set_dump: true,
        list: false,
    },
    Role {
        uid: 1004,
        rule: &[],
        store: |_| false,
        retrieve: |_| false,
        get_dump: false,
        set_dump: false,
        list: false,
    },
];

/// What a thread has of the product for all its checks.
struct World {
    gate: Option<Gate>,
    spaces: Vec<&'static mut Space>,
    memory: Memory,
    start: *mut [u8],
}

impl World {
    fn new() -> World {
        let dir = TempDir::new().unwrap();
        let rule = |role: &Role| {
            let strings = role.rule.iter().map(|name| format!("S6_FDHOLDER_{name}\0"));
            let value = cdb::allow(strings.collect::<String>().as_bytes(), b"");
            (format!("uid/{}", role.uid), value)
        };
        let path = dir.child("rules");
        std::fs::write(&path, cdb::file(&ROLES.each_ref().map(rule), 2)).unwrap();
        let path = CString::new(path.into_os_string().into_vec()).unwrap();
        let source = Source::File(Text::new(Box::leak(path.into_boxed_c_str())));
        let spaces = SEATS + 1;
        let size = spaces * (size_of::<Space>() + gate::BYTES_EACH) + 64;
        let mut memory = Memory::map(size).unwrap();
        let spaces = memory.zeros(spaces).iter_mut().collect();
        let mut gate = Gate::new(&mut memory, SEATS, source);
        gate.reload().unwrap();
        let size = MOST * table::BYTES_EACH + 64;
        let mut memory = Memory::map(size).unwrap();
        let start = memory.zeros::<u32>(0).as_mut_ptr().cast::<u8>();
        let start = std::ptr::slice_from_raw_parts_mut(start, size);
        World { gate: Some(gate), spaces, memory, start }
    }

    /// A new table, in the same memory as the one before.
    fn table(&mut self, most: usize, seed: u64) -> Table {
        // SAFETY: nobody has the table before any more, so all of its memory can be handed out
        // again, by a copy of what has not handed out anything.
        unsafe {
            (*self.start).fill(0);
            Table::new(&mut std::ptr::read(&raw const self.memory), most, seed)
        }
    }
}

/// The other end of a pipe, of which one end was sent.
struct Pipe(OwnedFd);

impl Pipe {
    fn inode(&self) -> (u64, u64) {
        wire::inode(&self.0)
    }

    /// Whether all others have closed it, within that time.
    fn is_closed(&self, within: &Timespec) -> bool {
        poll(&mut [PollFd::new(&self.0, PollFlags::empty())], Some(within)).unwrap() > 0
    }
}

/// Something held.
struct Thing {
    expiry: [u8; 12],
    pipe: Rc<Pipe>,
}

/// What has to be answered.
#[derive(Debug)]
enum Reply {
    Bytes(Vec<u8>),
    Descriptor((u64, u64)),
    List(Vec<Vec<u8>>),
    Dump(Vec<wire::Identity>),
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
    expected: VecDeque<Reply>,
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
                    assert_eq!(poll(&mut polls, Some(&PATIENCE)), Ok(1), "not hung up");
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

    fn compare(&mut self, reply: Reply, payload: Vec<u8>, fds: Vec<OwnedFd>) {
        match reply {
            Reply::Bytes(bytes) => assert_eq!((payload, fds.len()), (bytes, 0)),
            Reply::Descriptor(inode) => {
                assert_eq!((&payload[..], fds.len()), (&[0][..], 1));
                assert_eq!(wire::inode(&fds[0]), inode);
            }
            Reply::List(ids) => {
                let mut got: Vec<_> = payload[5..].split_inclusive(|byte| *byte == 0).collect();
                got.sort();
                assert_eq!(got, ids);
                let head = [&[0][..], &(ids.len() as u32).to_be_bytes()].concat();
                assert_eq!((&payload[..5], fds.len()), (&head[..], 0));
            }
            Reply::Dump(all) => {
                let count = all.len() as u32;
                let frames = count.div_ceil(ENTRIES_MAX as u32).to_be_bytes();
                let bytes = [&[0][..], &frames, &count.to_be_bytes()].concat();
                assert_eq!((payload, fds.len()), (bytes, 0));
                if count > 0 {
                    self.expected.push_front(Reply::Entries(all));
                }
            }
            Reply::Entries(all) => {
                assert_eq!(fds.len(), all.len());
                assert_eq!(wire::identities(&wire::entries(&payload, fds)), all);
            }
        }
    }

    /// Whether all that it has sent has been done and answered, and it has the answers.
    fn is_quiet(&self) -> bool {
        let is_done = self.next == self.sent.len() && self.pipes.is_empty();
        is_done && !self.is_doomed && !self.is_answered && self.expected.is_empty()
    }
}

/// The daemon's side, the model, and the clients.
struct Scene {
    service: Service,
    clients: [Client; SEATS],
    peers: [Option<Peer>; SEATS],
    held: BTreeMap<Vec<u8>, Thing>,
    /// All pipes that may still be open elsewhere, and how many there have been.
    open: Vec<Rc<Pipe>>,
    count: usize,
    /// Whether it is open if what has expired has been looked for since a client was hung up on.
    is_unsure: bool,
}

/// What a request comes to.
type Outcome = Result<Reply, Errno>;

impl Scene {
    /// Connects a client.
    fn connect(&mut self, seat: usize, role: &'static Role) {
        let (stream, other) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        other.set_nonblocking(true).unwrap();
        // As small as it can be.
        set_socket_send_buffer_size(&other, 0).unwrap();
        let who = Identity { uid: role.uid, gid: role.uid };
        let access = self.service.gate.admit(seat, who, Log(0)).expect("a client that is let in");
        let client = &mut self.clients[seat];
        client.session = Session { who, missing: 0, access };
        let copy = other.try_clone().unwrap().into();
        client.fd = Fd::own(other.into_raw_fd() as usize);
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
        let (free, most) = (self.service.table.free_slots(), self.service.table.most());
        daemon::attend(&mut self.clients, &mut self.service, seat);
        for (client, peer) in self.clients.iter().zip(&mut self.peers) {
            let Some(peer) = peer.as_mut().filter(|peer| !peer.is_doomed) else { continue };
            if client.doom.is_some() {
                assert_eq!(client.doom, Some(Errno::NOBUFS));
                assert!(peer.is_answered && free < most, "doomed without need");
                (peer.is_doomed, peer.is_answered, peer.last) = (true, false, None);
            }
        }
        let client = &self.clients[seat];
        let peer = self.peers[seat].as_mut().unwrap();
        if client.fd.is_none() {
            assert!(was_doomed || peer.may_go, "hung up on without a reason");
            return self.leave(seat);
        }
        assert!(!was_doomed);
        let now = wire::expiry_in(Duration::ZERO);
        self.held.retain(|_, thing| thing.expiry > now);
        self.is_unsure = false;
        if !was_answered {
            if let Some(end) = peer.end(peer.received()) {
                let (_, descriptors) = peer.header(peer.next).unwrap();
                let request = peer.sent[peer.next + HEADER..end].to_vec();
                let pipes = peer.pipes.drain(..descriptors).collect();
                peer.batches.retain(|(place, _)| *place >= end);
                (peer.next, peer.is_answered) = (end, true);
                let outcome = self.execute(seat, &request, pipes);
                let peer = self.peers[seat].as_mut().unwrap();
                peer.expected.push_back(outcome.unwrap_or_else(|errno| {
                    peer.missing = 0;
                    Reply::Bytes(vec![errno.number() as u8])
                }));
            }
        }
        let peer = self.peers[seat].as_mut().unwrap();
        assert_eq!(peer.missing, self.clients[seat].session.missing);
        if peer.is_answered && !self.clients[seat].is_answered() {
            peer.is_answered = false;
            if let Some(last) = peer.last.take() {
                self.held.retain(|_, thing| !Rc::ptr_eq(&thing.pipe, &last));
            }
        }
        assert_eq!(peer.is_answered, self.clients[seat].is_answered());
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
        let (nobody, _) = UnixStream::pair().unwrap();
        peer.stream = nobody;
        daemon::attend(&mut self.clients, &mut self.service, seat);
        assert!(self.clients[seat].fd.is_none(), "a client that is gone");
        self.peers[seat] = None;
        self.is_unsure = true;
    }

    /// What a request does.
    fn execute(&mut self, seat: usize, request: &[u8], pipes: Vec<Rc<Pipe>>) -> Outcome {
        let most = self.service.table.most();
        let peer = self.peers[seat].as_mut().unwrap();
        let role = peer.role;
        let must = |is: bool, errno| if is { Ok(()) } else { Err(errno) };
        let (letter, rest) = request.split_first().ok_or(Errno::PROTO)?;
        let whole = |bytes| {
            let (all, behind) = entries::read(bytes);
            let is_whole = behind.is_empty() && !all.is_empty() && all.len() == pipes.len();
            if is_whole { Ok(all) } else { Err(Errno::PROTO) }
        };
        let identifier = |bytes: &[u8]| {
            let id = bytes.strip_suffix(&[0]).and_then(|bytes| bytes.split_first());
            let id = id.filter(|(length, id)| usize::from(**length) == id.len() && !id.is_empty());
            let id = id.filter(|(_, id)| !id.contains(&0) && pipes.is_empty());
            id.map(|(_, id)| id.to_vec()).ok_or(Errno::PROTO)
        };
        let nothing = |rest: &[u8]| must(rest.is_empty() && pipes.is_empty(), Errno::PROTO);
        let status = |number: u8| Ok(Reply::Bytes(vec![number]));
        match letter {
            b'S' => {
                let all = whole(rest)?;
                let [(expiry, id)] = &all[..] else { return Err(Errno::PROTO) };
                must((role.store)(id), Errno::PERM)?;
                must(!self.held.contains_key(id), Errno::BUSY)?;
                must(self.held.len() < most, Errno::NFILE)?;
                let thing = Thing { expiry: *expiry, pipe: pipes[0].clone() };
                self.held.insert(id.clone(), thing);
                status(0)
            }
            b'D' => {
                let id = identifier(rest)?;
                must((role.store)(&id), Errno::PERM)?;
                self.held.remove(&id).ok_or(Errno::NOENT)?;
                status(0)
            }
            b'R' => {
                let (flag, rest) = rest.split_first().unwrap_or((&0, &[]));
                let id = identifier(rest)?;
                must((role.retrieve)(&id) && (*flag == 0 || (role.store)(&id)), Errno::PERM)?;
                must(*flag < 2, Errno::PROTO)?;
                let thing = self.held.get(&id).ok_or(Errno::NOENT)?;
                peer.last = (*flag == 1).then(|| thing.pipe.clone());
                Ok(Reply::Descriptor(thing.pipe.inode()))
            }
            b'L' => {
                nothing(rest)?;
                must(role.list, Errno::PERM)?;
                Ok(Reply::List(self.held.keys().map(|id| [&id[..], &[0]].concat()).collect()))
            }
            b'?' => {
                nothing(rest)?;
                must(role.get_dump, Errno::PERM)?;
                let all = self.held.iter();
                let all = all.map(|(id, thing)| (id.clone(), thing.expiry, thing.pipe.inode()));
                Ok(Reply::Dump(all.collect()))
            }
            b'!' => {
                let (number, rest) = rest.split_first_chunk().ok_or(Errno::PROTO)?;
                nothing(rest)?;
                must(role.set_dump, Errno::PERM)?;
                let missing = u32::from_be_bytes(*number);
                must(missing as usize <= most, Errno::NFILE)?;
                peer.missing = missing as usize;
                let frames = missing.div_ceil(ENTRIES_MAX as u32).to_be_bytes();
                Ok(Reply::Bytes([&[0][..], &frames].concat()))
            }
            b'.' => {
                let all = whole(rest)?;
                must(all.len() <= peer.missing, Errno::PROTO)?;
                let ids: BTreeSet<_> = all.iter().map(|(_, id)| id).collect();
                let new = ids.iter().filter(|id| !self.held.contains_key(**id)).count();
                must(self.held.len() + new <= most, Errno::NFILE)?;
                peer.missing -= all.len();
                for ((expiry, id), pipe) in all.into_iter().zip(pipes) {
                    self.held.insert(id, Thing { expiry, pipe });
                }
                status(if peer.missing > 0 { wire::AGAIN as u8 } else { 0 })
            }
            _ => Err(Errno::PROTO),
        }
    }

    /// Checks that nothing is missing, and nothing kept.
    fn check(&mut self) {
        let held = self.service.table.most() - self.service.table.room();
        assert!(self.is_unsure || held == self.held.len(), "{held} are held");
        let now = wire::expiry_in(Duration::ZERO);
        let here = self.held.values().filter(|thing| thing.expiry > now);
        let mut polls: Vec<_> =
            here.map(|thing| PollFd::new(&thing.pipe.0, PollFlags::empty())).collect();
        let closed = poll(&mut polls, Some(&Timespec::default())).unwrap();
        assert_eq!(closed, 0, "something held is closed");
        if !self.is_unsure && self.peers.iter().flatten().all(Peer::is_quiet) {
            assert_eq!(self.service.table.free_slots(), 2 * self.service.table.most() - held);
            let held: Vec<_> = self.held.values().map(|thing| thing.pipe.clone()).collect();
            self.open.retain(|pipe| {
                let is_held = held.iter().any(|held| Rc::ptr_eq(held, pipe));
                assert!(is_held || pipe.is_closed(&PATIENCE), "something forgotten is open");
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
}

/// An identifier out of 64, short and long ones.
fn identifier(input: &mut Input) -> Vec<u8> {
    let byte = input.byte();
    let letter = |number: u8| b'a' + number % 4;
    let mut id = vec![letter(byte); [1, 2, 255, 100][usize::from(byte / 4 % 4)]];
    *id.last_mut().unwrap() = letter(byte / 16);
    id
}

/// An expiry: never, past, some day, or anything.
fn expiry(input: &mut Input) -> [u8; 12] {
    match input.byte() % 8 {
        0..=4 => wire::label((3 << 61) + 2_000_000_000, 0),
        5 => wire::label((1 << 62) + 1_000_000_000, 5),
        6 => wire::label((1 << 62) + 8_000_000_000, 999_999_999),
        _ => input.array(),
    }
}

/// A request, right or nearly: a frame, and how many descriptors it takes along.
fn request(input: &mut Input) -> (Vec<u8>, usize) {
    let kind = input.byte();
    let number = usize::from(kind / 8);
    let mut payload = vec![b"SSDRL?!."[usize::from(kind % 8)]];
    let mut descriptors = 0;
    match payload[0] {
        b'S' => {
            payload.extend(wire::entry(&identifier(input), expiry(input)));
            descriptors = 1;
        }
        b'D' => payload = wire::delete_request(&identifier(input)),
        b'R' => payload = wire::retrieve_request(&identifier(input), kind / 8 % 3),
        b'!' => payload = wire::set_dump_request(number % 16),
        b'.' => {
            descriptors = number % 16;
            for _ in 0..descriptors {
                payload.extend(wire::entry(&identifier(input), expiry(input)));
            }
        }
        _ => {}
    }
    let (damage, mut announced) = (input.byte(), descriptors as u16);
    if damage >= 0xe0 {
        match damage % 8 {
            0 => drop(payload.pop()),
            1 => payload.push(0),
            2 => {
                let at = input.below(payload.len());
                payload[at] ^= input.byte();
            }
            3 => descriptors += 1,
            4 => descriptors = descriptors.saturating_sub(1),
            5 => announced += 1,
            6 => payload.clear(),
            _ => payload.extend(input.take(20)),
        }
        if damage & 8 > 0 {
            announced = descriptors as u16;
        }
    }
    (wire::frame(&payload, announced), descriptors)
}

impl Scene {
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
    let table = world.table(most, input.byte().into());
    let mut composer = composer();
    let mut clients = [const { Client::NOBODY }; SEATS];
    clients.iter_mut().for_each(|client| client.space = world.spaces.pop());
    let mut scene = Scene {
        service: Service {
            log: Log(0),
            now: 0,
            space: world.spaces.pop(),
            out: composer.take().unwrap(),
            table,
            gate: world.gate.take().unwrap(),
        },
        clients,
        peers: [const { None }; SEATS],
        held: BTreeMap::new(),
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
    let Scene { mut service, open, .. } = scene;
    let mut at = 0;
    while service.table.after(&mut at, NOW).is_some() {
        service.table.forget(at - 1);
    }
    assert_eq!(service.table.free_slots(), 2 * most, "slots are lost");
    assert!(open.iter().all(|pipe| pipe.is_closed(&PATIENCE)), "descriptors are lost");
    clients = scene.clients;
    world.spaces.extend(clients.iter_mut().filter_map(|client| client.space.take()));
    world.spaces.extend(service.space.take());
    assert_eq!(world.spaces.len(), SEATS + 1, "spaces are lost");
    world.spaces.iter_mut().for_each(|space| space.give_back());
    (world.gate, *composer) = (Some(service.gate), Some(service.out));
}
