//! Clients that do a daemon harm, by intent or not: garbage, splits, hang-ups, half requests, slow
//! readers, floods and crowds. After each siege the daemon still runs, holds exactly what it held,
//! has exactly the descriptors open that it should have, and no more memory.
//!
//! Most sieges are laid to the C daemon of 2.15 as well, which shows that it is possible to stand
//! them. Those that it does not survive say why.

use crate::kit::daemon::Generation::{self, Ours};
use crate::kit::daemon::{Daemon, Setup};
use crate::kit::fake::things;
use crate::kit::process::{descriptors, memory, until, until_read};
use crate::kit::server::connect;
use crate::kit::tool::PATIENCE;
use crate::kit::wire::{
    self, FRAME_ENTRIES, Held, delete_request, entry, frame, retrieve_request, set_dump_request,
    store_request,
};
use crate::kit::{make_room, memfd};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use std::cell::RefCell;
use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// By how many kilobytes a daemon's memory may have grown after a siege.
const MARGIN: u64 = 64;

/// How long anybody may be made to wait by others: a second, but `FDHOLDER_SLOWER` says how many
/// times slower than a processor the emulator is that runs the daemon.
fn fair() -> Duration {
    let slower = std::env::var("FDHOLDER_SLOWER").map_or(1, |times| times.parse().unwrap());
    Duration::from_secs(slower)
}

/// The largest payload of a request.
const PAYLOAD_MAX: usize = 1 + FRAME_ENTRIES * 269;

/// What is wrong: `EPROTO`, `ENFILE` and `EBUSY`.
const PROTOCOL: i32 = 71;
const FULL: i32 = 23;
const BUSY: i32 = 16;

/// Makes tests out of sieges: each is laid to our daemon and to that of C.
macro_rules! laid_to_both {
    ($($name:ident)*) => { $(
        mod $name {
            use crate::kit::daemon::Generation::{Ours, S6_2_15};

            #[test]
            fn ours() {
                super::$name(Ours);
            }

            #[test]
            fn c_2_15() {
                super::$name(S6_2_15);
            }
        }
    )* };
}

laid_to_both! { hang_ups half_requests floods hammering coming_and_going crowd }

/// A daemon under siege, and what it has to keep.
pub struct Siege {
    /// The daemon.
    pub daemon: Daemon,
    setup: Setup,
    /// What it has to hold in the end.
    pub things: Vec<Held>,
    /// How many descriptors it has open when it holds nothing and nobody is connected.
    own: usize,
    /// Its memory before the siege.
    memory: u64,
}

impl Siege {
    /// Starts a daemon and gives it these things. Whatever memory it needs for as many descriptors
    /// and clients as it allows it has got before.
    pub fn of(generation: Generation, setup: Setup, things: Vec<Held>) -> Siege {
        Siege::after(generation, setup, setup.maxconn - 1, things)
    }

    /// The same, after there have been no more than so many clients at a time.
    fn after(generation: Generation, setup: Setup, clients: usize, things: Vec<Held>) -> Siege {
        make_room();
        let daemon = Daemon::start_with(generation, setup);
        let first = connect(&daemon.path);
        assert!(wire::list(&first).unwrap().is_empty());
        let own = descriptors(daemon.pid()) - 1;
        drop(first);

        let filling = self::things(setup.maxfds, 250);
        wire::set_dump(&daemon.path, &filling).unwrap();
        assert_eq!(wire::get_dump(&daemon.path).unwrap().len(), filling.len());
        let streams: Vec<_> = (0..clients).map(|_| connect(&daemon.path)).collect();
        streams.iter().for_each(|stream| drop(wire::list(stream).unwrap()));
        filling.iter().for_each(|held| wire::delete(&streams[0], &held.id).unwrap());
        drop(streams);
        wire::set_dump(&daemon.path, &things).unwrap();

        let mut siege = Siege { daemon, setup, things, own, memory: u64::MAX / 2 };
        siege.over();
        siege.memory = siege.memory_now();
        siege
    }

    /// The path of its socket.
    pub fn path(&self) -> &Path {
        &self.daemon.path
    }

    fn memory_now(&self) -> u64 {
        memory(self.daemon.pid(), "Rss")
    }

    /// Allows the memory for as many that are deleted and that slow readers need as may be held.
    fn allow_ghosts(&mut self) {
        self.memory += 320 * self.setup.maxfds as u64 / 1024;
    }

    /// Removes what others have left there.
    fn tidy(&self) {
        let stream = connect(self.path());
        for id in wire::list(&stream).unwrap() {
            if !self.things.iter().any(|held| held.id == id) {
                // Gone by now is fine too: things expire.
                let _ = wire::delete(&stream, &id);
            }
        }
    }

    /// Checks what has to be true after a siege, when all who took part are gone.
    pub fn over(&mut self) {
        assert!(self.daemon.is_running(), "the daemon has ended");
        let (pid, due) = (self.daemon.pid(), self.own + self.things.len());
        let state = || format!("{} descriptors, not {due}", descriptors(pid));
        until(state, || {
            self.tidy();
            let settled = |_| {
                thread::sleep(Duration::from_micros(500));
                descriptors(pid) == due
            };
            (0..100).any(settled)
        });
        let held = wire::get_dump(self.path()).unwrap();
        assert_eq!(wire::identities(&held), wire::identities(&self.things));
        // That of C keeps what a buffer has once needed.
        if self.daemon.generation == Ours {
            let (most, state) = (self.memory + MARGIN, || format!("{} kB", self.memory_now()));
            until(state, || self.memory_now() <= most);
        }
    }

    /// Has somebody make a few requests. How long they take depends on what else the machine does,
    /// so only those sieges look at that whose point it is.
    fn serves(&self) {
        self.serves_within(PATIENCE);
    }

    /// The same, and checks that none of them takes that long.
    fn serves_within(&self, most: Duration) {
        let fair = |what: &str, request: &mut dyn FnMut(&UnixStream)| {
            let begun = Instant::now();
            request(&connect(self.path()));
            let time = begun.elapsed();
            assert!(time < most, "somebody had to wait {time:?} for {what}");
        };
        let held = Held::new("served", in_an_hour(), memfd());
        // A full one can take no more.
        if self.things.len() < self.setup.maxfds {
            fair("store", &mut |stream| wire::store(stream, &held).unwrap());
            fair("retrieve and delete", &mut |stream| {
                let fd = wire::take(stream, &held.id).unwrap();
                assert_eq!(wire::inode(fd), wire::inode(&held.fd));
            });
        }
        fair("retrieve", &mut |stream| {
            let fd = wire::retrieve(stream, &self.things[0].id).unwrap();
            assert_eq!(wire::inode(fd), wire::inode(&self.things[0].fd));
        });
        fair("list", &mut |stream| {
            assert!(wire::list(stream).unwrap().len() >= self.things.len());
        });
    }
}

/// Whether something is to be read within that time, be it the end.
fn is_ready(stream: &UnixStream, time: Duration) -> bool {
    let time = Timespec::try_from(time).unwrap();
    retry_on_intr(|| poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&time))).unwrap() > 0
}

/// Reads to the end, which has to come.
fn drain(stream: &UnixStream) {
    let mut bytes = vec![0; 1 << 16];
    loop {
        match wire::receive(stream, &mut bytes) {
            Ok((0, _)) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the daemon does not hang up: {error}"),
        }
    }
}

/// Says that it is over when it goes, be it by a panic: nobody is to attack for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A name that no besieged daemon has to keep.
const VISITOR: &[u8] = b"a visitor";

fn in_an_hour() -> [u8; 12] {
    wire::expiry_in(Duration::from_secs(3600))
}

/// A request of a kind.
#[derive(Clone, Debug)]
struct Request {
    name: &'static str,
    /// Whether a set dump of this many has to be opened before.
    open: usize,
    payload: Vec<u8>,
    /// How many descriptors come with it.
    fds: usize,
}

impl Request {
    fn bytes(&self) -> Vec<u8> {
        frame(&self.payload, self.fds as u16)
    }

    /// A connection on which it can be made.
    fn prepare(&self, path: &Path) -> UnixStream {
        let stream = connect(path);
        if self.open > 0 {
            assert_eq!(wire::exchange(&stream, &set_dump_request(self.open), &[]).unwrap(), 0);
        }
        stream
    }
}

/// Every kind of request.
fn requests() -> Vec<Request> {
    let request = |name, open, payload, fds| Request { name, open, payload, fds };
    let entries: Vec<u8> =
        (0..3).flat_map(|n| entry(format!("visitor {n}").as_bytes(), in_an_hour())).collect();
    vec![
        request("store", 0, store_request(VISITOR, in_an_hour()), 1),
        request("delete", 0, delete_request(VISITOR), 0),
        request("retrieve", 0, retrieve_request(VISITOR, 0), 0),
        request("retrieve and delete", 0, retrieve_request(VISITOR, 1), 0),
        request("list", 0, b"L".to_vec(), 0),
        request("get dump", 0, b"?".to_vec(), 0),
        request("set dump", 0, set_dump_request(3), 0),
        request("a part of a set dump", 4, [b".", &entries[..]].concat(), 3),
        request("the whole of a set dump", 3, [b".", &entries[..]].concat(), 3),
    ]
}

/// So many files.
fn files(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| memfd()).collect()
}

/// Sends bytes with descriptors. That the daemon has hung up is fine.
fn send(stream: &UnixStream, bytes: &[u8], fds: &[OwnedFd]) -> bool {
    match wire::send(stream, bytes, &fds.iter().map(AsFd::as_fd).collect::<Vec<_>>()) {
        Ok(()) => true,
        Err(error) => {
            let gone = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset, ErrorKind::WouldBlock];
            assert!(gone.contains(&error.kind()), "{error}");
            false
        }
    }
}

/// Has the daemon hold something for the visitor, if it does not.
fn invite(path: &Path) {
    let held = Held::new(VISITOR, in_an_hour(), memfd());
    match wire::store(&connect(path), &held) {
        Err(error) if error.raw_os_error() != Some(BUSY) => panic!("{error}"),
        _ => {}
    }
}

fn hang_ups(generation: Generation) {
    let mut siege = Siege::of(generation, Setup::default(), things(20, 20));
    for request in requests() {
        let (bytes, fds) = (request.bytes(), files(request.fds));
        for at in 0..=bytes.len() {
            let begin = &bytes[..at];
            // Whoever goes without reading resets the connection, and a process that is killed
            // may have read any part of the reply.
            invite(siege.path());
            send(&request.prepare(siege.path()), begin, &fds);
            invite(siege.path());
            let stream = request.prepare(siege.path());
            send(&stream, begin, &fds);
            stream.shutdown(Shutdown::Write).unwrap();
            drain(&stream);
        }
        // Hang-ups at every byte of the replies.
        for length in 0..=300 {
            invite(siege.path());
            let stream = request.prepare(siege.path());
            send(&stream, &bytes, &fds);
            // Once there is anything to read, all of a short reply is.
            assert!(is_ready(&stream, PATIENCE), "{} is not answered", request.name);
            stream.set_nonblocking(true).unwrap();
            let _ = (&stream).read(&mut vec![0; length]);
        }
    }
    siege.over();
}

#[test]
fn every_split_of_a_request_is_answered_like_the_whole() {
    let mut siege = Siege::of(Ours, Setup::default(), things(20, 20));
    // What the daemon answers to a request that is sent in these parts, each of which it has read
    // before it gets the next.
    let ask = |request: &Request, parts: &[&[u8]]| {
        siege.tidy();
        if request.name != "store" {
            invite(siege.path());
        }
        let stream = request.prepare(siege.path());
        let fds = files(request.fds);
        for (number, part) in parts.iter().enumerate() {
            send(&stream, part, if number == 0 { &fds } else { &[] });
            until_read(&stream);
        }
        wire::receive_frame(&stream).unwrap_or_else(|e| panic!("{} {parts:?}: {e}", request.name)).0
    };
    for request in requests() {
        let bytes = request.bytes();
        let whole = ask(&request, &[&bytes]);
        assert!([0, 11].contains(&whole[0]), "{} {whole:?}", request.name);
        for at in 1..bytes.len() {
            assert_eq!(ask(&request, &[&bytes[..at], &bytes[at..]]), whole, "{}", request.name);
        }
        let each: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(ask(&request, &each), whole, "{}", request.name);
    }
    siege.over();
}

#[test]
fn several_requests_in_one_write_are_answered_in_order() {
    let mut siege = Siege::of(Ours, Setup::default(), things(20, 20));
    let (first, second) = (&siege.things[3], &siege.things[7]);
    let stream = connect(siege.path());
    let requests = [
        frame(&retrieve_request(&first.id, 0), 0),
        frame(&delete_request(b"nobody"), 0),
        frame(b"nonsense", 0),
        frame(&retrieve_request(&second.id, 0), 0),
        frame(b"L", 0),
        frame(b"?", 0),
        frame(b"L", 0)[..3].to_vec(),
    ];
    send(&stream, &requests.concat(), &[]);
    let retrieved = |held: &Held| {
        let fd = wire::receive_frame(&stream).unwrap().1.pop().unwrap();
        assert_eq!(wire::inode(fd), wire::inode(&held.fd));
    };
    retrieved(first);
    assert_eq!(wire::answer(&stream).unwrap_err().raw_os_error(), Some(2));
    assert_eq!(wire::answer(&stream).unwrap_err().raw_os_error(), Some(PROTOCOL));
    retrieved(second);
    assert_eq!(wire::read_list(&stream).unwrap().len(), 20);
    let mut dump = Vec::new();
    wire::read_dump(&stream, |held| dump.push(held)).unwrap();
    assert_eq!(wire::identities(&dump), wire::identities(&siege.things));
    send(&stream, &frame(b"L", 0)[3..], &[]);
    assert_eq!(wire::read_list(&stream).unwrap().len(), 20);

    // Each with its descriptor, others in between, and nobody reads before all are sent.
    for number in 0..50 {
        let held = Held::new(format!("behind {number}"), in_an_hour(), memfd());
        let request = frame(&store_request(&held.id, held.expiry), 1);
        send(&stream, &frame(b"L", 0).repeat(number % 3), &[]);
        send(&stream, &request, &[held.fd.try_clone().unwrap()]);
        siege.things.push(held);
    }
    for number in 0..50 {
        for _ in 0..number % 3 {
            assert_eq!(wire::read_list(&stream).unwrap().len(), 20 + number);
        }
        wire::answer(&stream).unwrap();
    }
    drop(stream);
    siege.over();
}

/// One write of somebody who sends garbage.
#[derive(Clone, Debug)]
struct Write {
    bytes: Vec<u8>,
    fds: usize,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// At once.
    Drop,
    /// When everything has been read.
    DropWhenRead,
    /// By closing one direction, and reading to the end.
    Drain,
}

/// A request with something done to it that makes most of them invalid.
fn mutated() -> impl Strategy<Value = Write> {
    let kinds = select(requests());
    (kinds, 0..10, any::<Index>(), any::<u8>(), vec(any::<u8>(), 0..20), 0..4usize).prop_map(
        |(request, change, place, byte, extra, fds)| {
            let mut payload = request.payload.clone();
            let mut bytes = request.bytes();
            let at = place.index(bytes.len());
            match change {
                0 => bytes[at] = byte,
                1 => bytes[at] ^= 1 << (byte % 8),
                2 => bytes.truncate(at),
                3 => drop(bytes.splice(at..at, extra)),
                4 => drop(bytes.remove(at)),
                // These are framed well.
                5 => {
                    let at = place.index(payload.len());
                    payload[at] = byte;
                    bytes = frame(&payload, request.fds as u16);
                }
                6 => {
                    payload.truncate(place.index(payload.len()));
                    bytes = frame(&payload, request.fds as u16);
                }
                7 => {
                    payload.extend(extra);
                    bytes = frame(&payload, request.fds as u16);
                }
                8 => bytes = frame(&payload, fds as u16),
                _ => {}
            }
            // Mostly with the descriptors that are due.
            let fds = if byte % 3 == 0 { fds } else { request.fds };
            Write { bytes, fds }
        },
    )
}

/// Anything at all, some of it with a head that makes it a frame.
fn random() -> impl Strategy<Value = Write> {
    let bytes = vec(any::<u8>(), 1..300);
    let letter = select(b"SDRL?!.\0x".to_vec());
    (bytes, letter, 0..4, 0..3usize).prop_map(|(mut bytes, letter, kind, fds)| {
        let at_most = [2, 254].get(fds).copied().unwrap_or(0);
        match kind {
            0 => {}
            1 => bytes = frame(&bytes, fds as u16),
            2 => {
                bytes[0] = letter;
                bytes = frame(&bytes, fds as u16);
            }
            // A head that lies.
            _ => bytes = [&[0, 0, bytes[0], letter, 0, at_most], &bytes[..]].concat(),
        }
        Write { bytes, fds }
    })
}

/// Everything a connection of somebody who sends garbage is.
fn garbage() -> impl Strategy<Value = (bool, Vec<Write>, End)> {
    let write = prop_oneof![2 => mutated(), 1 => random()];
    let end = select(vec![End::Drop, End::DropWhenRead, End::Drain]);
    (any::<bool>(), vec(write, 1..8), end)
}

#[test]
fn garbage_changes_nothing() {
    let lay = || Siege::of(Ours, Setup::default(), things(20, 20));
    let siege = RefCell::new(lay());
    let config = ProptestConfig { failure_persistence: None, cases: 1500, ..Default::default() };
    let result = TestRunner::new(config).run(&garbage(), |(open, writes, end)| {
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let siege = siege.borrow();
            let stream = connect(siege.path());
            if open {
                assert_eq!(wire::exchange(&stream, &set_dump_request(4), &[]).unwrap(), 0);
            }
            // Who does not read must not wait for room.
            stream.set_nonblocking(true).unwrap();
            let all = writes.iter().all(|write| send(&stream, &write.bytes, &files(write.fds)));
            stream.set_nonblocking(false).unwrap();
            match end {
                End::Drop => {}
                // Replies are short enough that it goes on when they are not read.
                End::DropWhenRead if all => until_read(&stream),
                End::DropWhenRead => {}
                End::Drain => {
                    let _ = stream.shutdown(Shutdown::Write);
                    drain(&stream);
                }
            }
            drop(stream);
            // Everybody else is still served, and what is held is held.
            let stream = connect(siege.path());
            for held in &siege.things[..2] {
                let inode = wire::inode(wire::retrieve(&stream, &held.id).unwrap());
                assert_eq!(inode, wire::inode(&held.fd));
            }
        }));
        checked.map_err(|_| {
            // The next attempt, with something simpler, needs a daemon that is well.
            drop(siege.replace(lay()));
            TestCaseError::fail("the daemon has suffered")
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    siege.into_inner().over();
}

/// Closes a connection and nothing else: what was not used belongs to the connection, whatever the
/// number of its descriptor means by then.
#[test]
fn descriptors_that_nobody_asked_for_are_closed_and_no_others() {
    let mut siege = Siege::of(Ours, Setup::default(), things(20, 20));
    let parts: [(&str, &[u8]); 5] = [
        ("one byte", &[0]),
        ("a head", &[0, 0, 0, 30, 0, 1]),
        ("half a request", b"\0\0\0\x1c\0\x01S\x40\0\0\0"),
        ("a delete request", b"\0\0\0\x04\0\0D\x01x\0"),
        ("too long", b"\xff\0\0\0\0\x01S"),
    ];
    for (name, bytes) in parts {
        for count in [1, 2, FRAME_ENTRIES] {
            // A store before that, on the same connection, must not be undone by the end of it.
            let stream = connect(siege.path());
            let held = Held::new(format!("{name} {count}"), in_an_hour(), memfd());
            wire::store(&stream, &held).unwrap();
            siege.things.push(held);
            send(&stream, bytes, &files(count));
            stream.shutdown(Shutdown::Write).unwrap();
            drain(&stream);
            siege.serves();
        }
    }
    siege.over();
}

fn half_requests(generation: Generation) {
    let mut siege = Siege::of(generation, Setup::default(), things(20, 20));
    for request in requests() {
        let bytes = request.bytes();
        // Each stops at another byte.
        let halves = 6..bytes.len();
        for at in halves.step_by(bytes.len().div_ceil(3)) {
            let streams: Vec<_> = (0..5).map(|_| request.prepare(siege.path())).collect();
            for stream in &streams {
                send(stream, &bytes[..at], &files(request.fds));
                until_read(stream);
            }
            siege.serves();
        }
        siege.over();
    }
}

fn floods(generation: Generation) {
    let mut siege = Siege::of(generation, Setup::default(), things(20, 200));
    let id = &siege.things[0].id[..];
    let floods: [(Vec<u8>, usize); 8] = [
        (frame(b"L", 0), 0),
        (frame(b"?", 0), 0),
        (frame(&store_request(id, in_an_hour()), 1), 1),
        (frame(&delete_request(VISITOR), 0), 0),
        (frame(&retrieve_request(id, 0), 0), 0),
        (frame(&set_dump_request(0), 0), 0),
        (frame(&set_dump_request(9), 0), 0),
        (frame(b"nonsense", 0), 0),
    ];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (bytes, fds) in &floods {
            let stream = connect(siege.path());
            let stop = &stop;
            scope.spawn(move || {
                stream.set_nonblocking(true).unwrap();
                let file = memfd();
                while !stop.load(Ordering::Relaxed) {
                    // It sends whole requests as long as there is room for them, and never reads.
                    match wire::send(&stream, bytes, &vec![file.as_fd(); *fds]) {
                        Ok(()) => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            thread::sleep(Duration::from_millis(1));
                        }
                        Err(error) => {
                            // That the C daemon throws them out is an answer too.
                            assert!(generation != Ours, "thrown out: {error}");
                            break;
                        }
                    }
                }
            });
        }
        let _over = Over(&stop);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1500) {
            siege.serves_within(fair());
        }
        if generation == Ours {
            // No more than a request and a reply for each.
            let most = siege.memory + MARGIN + 2 * 72 * floods.len() as u64;
            assert!(siege.memory_now() < most, "{} kB", siege.memory_now());
        }
    });
    siege.over();
}

fn hammering(generation: Generation) {
    let setup = Setup { maxconn: 64, ..Setup::default() };
    let mut siege = Siege::of(generation, setup, things(20, 20));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..40 {
            let (stop, siege) = (&stop, &siege);
            scope.spawn(move || {
                let held = Held::new(format!("hammer {number}"), in_an_hour(), memfd());
                while !stop.load(Ordering::Relaxed) {
                    let stream = connect(siege.path());
                    for _ in 0..5 {
                        wire::store(&stream, &held).unwrap();
                        wire::list(&stream).unwrap();
                        wire::retrieve(&stream, &siege.things[number % 20].id).unwrap();
                        // C fails at a dump of what is deleted before it is read.
                        if generation == Ours {
                            wire::send_frame(&stream, b"?", &[]).unwrap();
                            wire::read_dump(&stream, drop).unwrap();
                        }
                        wire::delete(&stream, &held.id).unwrap();
                    }
                }
            });
        }
        let _over = Over(&stop);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1500) {
            siege.serves_within(fair());
        }
    });
    siege.over();
}

/// Somebody who is connected is served while others come and go as fast as they can.
fn coming_and_going(generation: Generation) {
    let setup = Setup { maxconn: 64, ..Setup::default() };
    let mut siege = Siege::of(generation, setup, things(20, 20));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stream = connect(siege.path());
        wire::list(&stream).unwrap();
        for _ in 0..40 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(connect(siege.path()));
                }
            });
        }
        let _over = Over(&stop);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1500) {
            let begun = Instant::now();
            wire::list(&stream).unwrap();
            assert!(begun.elapsed() < fair(), "somebody had to wait {:?}", begun.elapsed());
        }
    });
    siege.over();
}

#[test]
fn nobody_waits_for_large_set_dumps_into_a_daemon_that_is_nearly_full() {
    let setup = Setup { maxfds: 300, maxconn: 64, ..Setup::default() };
    let mut siege = Siege::of(Ours, setup, things(299, 255));
    let stop = AtomicBool::new(false);
    let same = &siege.things[..FRAME_ENTRIES];
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    wire::set_dump(siege.path(), same).unwrap();
                }
            });
        }
        let _over = Over(&stop);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1500) {
            siege.serves_within(fair());
        }
    });
    siege.over();
}

/// The limit on open files leaves no room for what clients send and do not need.
#[test]
fn descriptors_beyond_the_limit_on_open_files_push_nothing_out() {
    let setup = Setup { maxfds: 200, open_files: Some(300), ..Setup::default() };
    let mut siege = Siege::of(Ours, setup, things(200, 20));
    let bytes = frame(&[b'.'; 4000], FRAME_ENTRIES as u16);
    for _ in 0..20 {
        let streams: Vec<_> = (0..10).map(|_| connect(siege.path())).collect();
        for stream in &streams {
            send(stream, &bytes[..bytes.len() - 1], &files(FRAME_ENTRIES));
            until_read(stream);
        }
    }
    siege.serves();
    siege.over();
}

#[test]
fn announcing_too_much_costs_nothing() {
    let mut siege = Siege::of(Ours, Setup { maxconn: 32, ..Setup::default() }, things(20, 20));
    let head =
        |length: usize, fds: u16| [&(length as u32).to_be_bytes()[..], &fds.to_be_bytes()].concat();
    // Nobody needs such frames.
    let closed = [
        (PAYLOAD_MAX + 1, 0),
        (1 << 20, 1),
        (1 << 28, 0),
        ((1 << 28) + 1, 0),
        (1 << 31, 253),
        (u32::MAX as usize, 0),
        (7, 254),
        (7, 255),
        (7, u16::MAX),
        (u32::MAX as usize, u16::MAX),
    ];
    for (length, fds) in closed {
        let stream = connect(siege.path());
        send(&stream, &head(length, fds), &files(usize::from(fds).min(FRAME_ENTRIES)));
        drain(&stream);
        // The same as the first bytes of a longer write.
        let stream = connect(siege.path());
        send(&stream, &[&head(length, fds)[..], &[b'S'; 5000]].concat(), &[]);
        drain(&stream);
    }
    // These are possible, and cost no more than what has come: a page of memory, and one for the
    // numbers of descriptors.
    let streams: Vec<_> = (0..31).map(|_| connect(siege.path())).collect();
    for stream in &streams {
        send(stream, &head(PAYLOAD_MAX, 253), &files(FRAME_ENTRIES));
        until_read(stream);
    }
    siege.serves();
    let most = siege.memory + 31 * 8 + MARGIN;
    assert!(siege.memory_now() <= most, "{} kB, not {most}", siege.memory_now());
    assert!(streams.iter().all(|stream| !is_ready(stream, Duration::ZERO)));
    drop(streams);

    let stream = connect(siege.path());
    for total in [siege.setup.maxfds + 1, 1 << 16, 1 << 31, u32::MAX as usize] {
        let status = wire::exchange(&stream, &set_dump_request(total), &[]).unwrap();
        assert_eq!(status, FULL, "a set dump of {total}");
    }
    drop(stream);
    siege.over();
}

fn crowd(generation: Generation) {
    let setup = Setup { maxconn: 4, ..Setup::default() };
    let mut siege = Siege::of(generation, setup, things(20, 20));
    let mut inside: Vec<_> = (0..4).map(|_| connect(siege.path())).collect();
    inside.iter().for_each(|stream| drop(wire::list(stream).unwrap()));
    let outside: Vec<_> = (0..50).map(|_| connect(siege.path())).collect();
    for stream in &outside {
        wire::send_frame(stream, b"L", &[]).unwrap();
    }
    // While four are inside and served, nobody else is.
    inside.iter().for_each(|stream| drop(wire::list(stream).unwrap()));
    assert!(outside.iter().all(|stream| !is_ready(stream, Duration::from_millis(2))));
    // Who goes makes room for one, at once.
    for stream in outside {
        drop(inside.remove(0));
        assert_eq!(wire::read_list(&stream).unwrap().len(), 20);
        inside.push(stream);
    }
    drop(inside);
    // Some who wait give up before it is their turn.
    let inside: Vec<_> = (0..4).map(|_| connect(siege.path())).collect();
    for _ in 0..50 {
        send(&connect(siege.path()), &frame(&store_request(VISITOR, in_an_hour()), 1), &files(1));
    }
    drop(inside);
    siege.serves();
    siege.over();
}

#[test]
fn idle_clients_cost_no_memory_nor_do_those_who_had_much_to_say() {
    let setup = Setup { maxconn: 256, ..Setup::default() };
    // Nobody else has been there before, so that it is their number that counts.
    let mut siege = Siege::after(Ours, setup, 1, things(20, 20));
    let streams: Vec<_> = (0..248).map(|_| connect(siege.path())).collect();
    streams.iter().for_each(|stream| drop(wire::list(stream).unwrap()));
    let idle = siege.memory_now();
    assert!(idle < siege.memory + 64, "{} kB more for idle clients", idle - siege.memory);

    // A frame of 60 kB that is never completed, by some with as many descriptors as can be.
    let ids = (0..FRAME_ENTRIES).map(|n| format!("{n:0>224}"));
    let entries: Vec<u8> = ids.flat_map(|id| entry(id.as_bytes(), in_an_hour())).collect();
    let payload = [b".", &entries[..]].concat();
    let chatty: Vec<_> = (0..8).map(|_| connect(siege.path())).collect();
    for (number, stream) in chatty.iter().enumerate() {
        let fds = if number % 2 == 0 { FRAME_ENTRIES } else { 0 };
        let bytes = frame(&payload, fds as u16);
        assert_eq!(wire::exchange(stream, &set_dump_request(FRAME_ENTRIES), &[]).unwrap(), 0);
        send(stream, &bytes[..bytes.len() - 1], &files(fds));
        until_read(stream);
    }
    let most = idle + 8 * 80;
    assert!(siege.memory_now() < most, "{} kB with chatty clients", siege.memory_now());
    drop(chatty);
    let state = || format!("{} kB, {idle} before", siege.memory_now());
    until(state, || siege.memory_now() < idle + MARGIN);
    wire::list(&streams[100]).unwrap();
    drop(streams);
    siege.over();
}

#[test]
fn a_slow_reader_gets_what_was_held_when_it_asked() {
    // More than the kernel takes for somebody who does not read.
    let setup = Setup { maxfds: 900, ..Setup::default() };
    let mut siege = Siege::of(Ours, setup, things(900, 255));
    siege.allow_ghosts();
    let before = wire::identities(&siege.things);
    let ask = |request: &[u8]| {
        let stream = connect(siege.path());
        wire::send_frame(&stream, request, &[]).unwrap();
        until_read(&stream);
        stream
    };
    let dumps = [ask(b"?"), ask(b"?"), ask(b"?")];
    let lists = [ask(b"L"), ask(b"L"), ask(b"L")];
    // Requests that were read are answered before those that come later.
    siege.serves();

    // All of it is deleted, and something new is stored under each name.
    let late = connect(siege.path());
    for held in &mut siege.things {
        *held = Held::new(&held.id, held.expiry, memfd());
        wire::delete(&late, &held.id).unwrap();
    }
    for held in &siege.things {
        wire::store(&late, held).unwrap();
    }
    siege.serves();
    for stream in dumps {
        let mut dump = Vec::new();
        wire::read_dump(&stream, |held| dump.push(held)).unwrap();
        assert_eq!(wire::identities(&dump), before);
        // It can ask again, and gets what is held now.
        wire::send_frame(&stream, b"?", &[]).unwrap();
        dump.clear();
        wire::read_dump(&stream, |held| dump.push(held)).unwrap();
        assert_eq!(wire::identities(&dump), wire::identities(&siege.things));
    }
    for stream in lists {
        let mut list = wire::read_list(&stream).unwrap();
        list.sort();
        assert!(list.iter().eq(before.iter().map(|(id, ..)| id)));
    }
    drop(late);
    siege.over();
}

#[test]
fn what_slow_readers_keep_from_being_closed_is_bounded() {
    let setup = Setup { maxfds: 900, ..Setup::default() };
    let mut siege = Siege::of(Ours, setup, things(900, 255));
    siege.allow_ghosts();
    let mut dumps = Vec::new();
    // What the kernel has taken already is not kept, so it takes a few.
    for _ in 0..12 {
        let stream = connect(siege.path());
        wire::send_frame(&stream, b"?", &[]).unwrap();
        until_read(&stream);
        dumps.push((stream, wire::identities(&siege.things)));
        // Each replacement is one more that only slow readers need.
        for held in &mut siege.things {
            *held = Held::new(&held.id, held.expiry, memfd());
        }
        wire::set_dump(siege.path(), &siege.things).unwrap();
        siege.serves();
        let (count, most) = (descriptors(siege.daemon.pid()), siege.own + 2 * 900 + 8);
        assert!(count <= most, "{count} descriptors");
    }
    let cut = dumps.into_iter().map(|(stream, due)| {
        let mut dump = Vec::new();
        // What has come by then is right even so.
        let result = wire::read_dump(&stream, |held| dump.push(held));
        let found = wire::identities(&dump);
        assert!(found.iter().all(|one| due.binary_search(one).is_ok()));
        assert!(result.is_err() || found == due);
        result.is_err()
    });
    let cut = cut.filter(|cut| *cut).count();
    assert!((1..12).contains(&cut), "{cut} of 12 are cut off");
    assert!(siege.daemon.log().contains("warning: "), "{}", siege.daemon.log());
    siege.over();
}

/// Who takes a little every so often is not silent, however long all of it takes.
#[test]
fn a_slow_but_steady_reader_is_not_cut_off() {
    const LIMIT: Duration = Duration::from_millis(1000);
    let setup = Setup { maxfds: 6000, options: &["-t1000"], ..Setup::default() };
    let (daemon, file) = (Daemon::start_with(Ours, setup), memfd());
    let held = |number| Held::new(format!("{number:0>255}"), in_an_hour(), &file);
    wire::set_each(&daemon.path, 6000, (0..6000).map(held)).unwrap();
    let mut total = frame(&[0; 9], 0).len() + 6000 * entry(&[0; 255], in_an_hour()).len();
    total += 6 * 6000usize.div_ceil(FRAME_ENTRIES);
    for _ in 0..20 {
        let (stream, mut read, mut stalled) = (connect(&daemon.path), 0, Duration::ZERO);
        wire::send_frame(&stream, b"?", &[]).unwrap();
        let begun = Instant::now();
        let is_whole = loop {
            let before = Instant::now();
            // All of it takes three times the limit.
            let due = 3 * LIMIT.mul_f64(read as f64 / total as f64);
            thread::sleep(due.saturating_sub(begun.elapsed()));
            match wire::receive(&stream, &mut [0; 8192]) {
                Ok((0, _)) | Err(_) => break false,
                Ok((count, _)) => read += count,
            }
            stalled = stalled.max(before.elapsed());
            if read == total {
                break true;
            }
        };
        if is_whole && begun.elapsed() > 2 * LIMIT {
            return;
        }
        // On a machine that let this one itself wait for so long that says nothing.
        assert!(stalled > LIMIT / 4, "cut off after {read} of {total} in {:?}", begun.elapsed());
    }
    panic!("the machine is too busy");
}
