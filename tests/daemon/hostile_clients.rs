//! Clients that harm a daemon, by intent or not: garbage, split and incomplete requests, disconnects, slow
//! readers, floods and many clients. After each test the daemon still runs, holds exactly the same entries,
//! has exactly the expected number of open descriptors, and has not grown.
//!
//! Some tests run with the C daemon of 2.15 as well, which shows that their demands are not too hard. It
//! fails in the others.

use crate::kit::daemon::Generation::{self, Ours};
use crate::kit::daemon::{Daemon, Setup};
use crate::kit::fake::files_to_hold;
use crate::kit::process::{descriptors, wait_until, wait_until_read};
use crate::kit::random_cases;
use crate::kit::server::connect;
use crate::kit::tool::TIMEOUT;
use crate::kit::watched::{MARGIN, WatchedDaemon, in_an_hour};
use crate::kit::wire::{
    self, FRAME_ENTRIES, Held, delete_request, entry, frame, retrieve_request, set_dump_request,
    store_request,
};
use crate::kit::memfd;
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

/// How long other clients may delay the answer to a client: a second. If an emulator runs the daemon,
/// `FDHOLDER_SLOWER` says how many times slower it is than a processor.
fn longest_delay() -> Duration {
    let slower = std::env::var("FDHOLDER_SLOWER").map_or(1, |times| times.parse().unwrap());
    Duration::from_secs(slower)
}

/// The largest payload of a request.
const PAYLOAD_MAX: usize = 1 + FRAME_ENTRIES * 269;

/// `EPROTO`, `ENFILE` and `EBUSY`.
const PROTOCOL: i32 = 71;
const FULL: i32 = 23;
const BUSY: i32 = 16;

/// Makes tests of functions. Each runs with our daemon and with that of C.
macro_rules! with_ours_and_c {
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

with_ours_and_c! {
a_disconnect_at_any_byte_changes_nothing
incomplete_requests_delay_no_other_client
clients_that_do_not_read_delay_no_other_client
busy_clients_delay_no_other_client
new_connections_delay_no_connected_client
a_full_daemon_serves_waiting_clients_one_after_the_other
}

/// Whether bytes or the end can be read within this time.
fn is_ready(stream: &UnixStream, time: Duration) -> bool {
    let time = Timespec::try_from(time).unwrap();
    retry_on_intr(|| poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&time))).unwrap() > 0
}

/// Reads until the daemon disconnects, which it must do.
fn drain(stream: &UnixStream) {
    let mut bytes = vec![0; 1 << 16];
    loop {
        match wire::receive(stream, &mut bytes) {
            Ok((0, _)) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the daemon does not disconnect: {error}"),
        }
    }
}

/// Sets a flag when it is dropped, also by a panic, so that the other threads of the test end.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An identifier that the daemon does not have to keep.
const TEMPORARY: &[u8] = b"temporary";

/// A request of one kind.
#[derive(Clone, Debug)]
struct Request {
    name: &'static str,
    /// The number of entries of a set dump that has to be opened before, or 0.
    open: usize,
    payload: Vec<u8>,
    /// How many descriptors it carries.
    fds: usize,
}

impl Request {
    fn bytes(&self) -> Vec<u8> {
        frame(&self.payload, self.fds as u16)
    }

    /// A connection on which the request can be sent.
    fn prepare(&self, path: &Path) -> UnixStream {
        let stream = connect(path);
        if self.open > 0 {
            assert_eq!(wire::exchange(&stream, &set_dump_request(self.open), &[]).unwrap(), 0);
        }
        stream
    }
}

/// A request of every kind.
fn requests() -> Vec<Request> {
    let request = |name, open, payload, fds| Request { name, open, payload, fds };
    let entries: Vec<u8> =
        (0..3).flat_map(|n| entry(format!("temporary {n}").as_bytes(), in_an_hour())).collect();
    vec![
        request("store", 0, store_request(TEMPORARY, in_an_hour()), 1),
        request("delete", 0, delete_request(TEMPORARY), 0),
        request("retrieve", 0, retrieve_request(TEMPORARY, 0), 0),
        request("retrieve and delete", 0, retrieve_request(TEMPORARY, 1), 0),
        request("list", 0, b"L".to_vec(), 0),
        request("get dump", 0, b"?".to_vec(), 0),
        request("set dump", 0, set_dump_request(3), 0),
        request("a part of a set dump", 4, [b".", &entries[..]].concat(), 3),
        request("the whole of a set dump", 3, [b".", &entries[..]].concat(), 3),
    ]
}

/// `count` files.
fn files(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| memfd()).collect()
}

/// Sends bytes with descriptors. Returns false if the daemon has disconnected or does not read.
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

/// Stores an entry [`TEMPORARY`] if the daemon does not hold one.
fn store_temporary(path: &Path) {
    let held = Held::new(TEMPORARY, in_an_hour(), memfd());
    match wire::store(&connect(path), &held) {
        Err(error) if error.raw_os_error() != Some(BUSY) => panic!("{error}"),
        _ => {}
    }
}

fn a_disconnect_at_any_byte_changes_nothing(generation: Generation) {
    let mut watched = WatchedDaemon::start(generation, Setup::default(), files_to_hold(20, 20));
    for request in requests() {
        let (bytes, fds) = (request.bytes(), files(request.fds));
        for at in 0..=bytes.len() {
            let begin = &bytes[..at];
            // Without reading the reply, which resets the connection; and with reading it.
            store_temporary(watched.path());
            send(&request.prepare(watched.path()), begin, &fds);
            store_temporary(watched.path());
            let stream = request.prepare(watched.path());
            send(&stream, begin, &fds);
            stream.shutdown(Shutdown::Write).unwrap();
            drain(&stream);
        }
        // Disconnects after each number of bytes of the reply.
        for length in 0..=300 {
            store_temporary(watched.path());
            let stream = request.prepare(watched.path());
            send(&stream, &bytes, &fds);
            // A short reply arrives as a whole.
            assert!(is_ready(&stream, TIMEOUT), "{} is not answered", request.name);
            stream.set_nonblocking(true).unwrap();
            let _ = (&stream).read(&mut vec![0; length]);
        }
    }
    watched.check_unchanged();
}

#[test]
fn every_split_of_a_request_is_answered_like_the_whole() {
    let mut watched = WatchedDaemon::start(Ours, Setup::default(), files_to_hold(20, 20));
    // The answer to a request that is sent in these parts. The daemon has read each part before the next
    // one is sent.
    let ask = |request: &Request, parts: &[&[u8]]| {
        watched.delete_other_entries();
        if request.name != "store" {
            store_temporary(watched.path());
        }
        let stream = request.prepare(watched.path());
        let fds = files(request.fds);
        for (number, part) in parts.iter().enumerate() {
            send(&stream, part, if number == 0 { &fds } else { &[] });
            wait_until_read(&stream);
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
    watched.check_unchanged();
}

#[test]
fn several_requests_in_one_write_are_answered_in_order() {
    let mut watched = WatchedDaemon::start(Ours, Setup::default(), files_to_hold(20, 20));
    let (first, second) = (&watched.expected[3], &watched.expected[7]);
    let stream = connect(watched.path());
    let requests = [
        frame(&retrieve_request(&first.id, 0), 0),
        frame(&delete_request(b"absent"), 0),
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
    assert_eq!(wire::identities(&dump), wire::identities(&watched.expected));
    send(&stream, &frame(b"L", 0)[3..], &[]);
    assert_eq!(wire::read_list(&stream).unwrap().len(), 20);

    // Requests with descriptors and others between them. The client reads no answer before it has sent all.
    for number in 0..50 {
        let held = Held::new(format!("behind {number}"), in_an_hour(), memfd());
        let request = frame(&store_request(&held.id, held.expiry), 1);
        send(&stream, &frame(b"L", 0).repeat(number % 3), &[]);
        send(&stream, &request, &[held.fd.try_clone().unwrap()]);
        watched.expected.push(held);
    }
    for number in 0..50 {
        for _ in 0..number % 3 {
            assert_eq!(wire::read_list(&stream).unwrap().len(), 20 + number);
        }
        wire::answer(&stream).unwrap();
    }
    drop(stream);
    watched.check_unchanged();
}

/// One write of a client that sends garbage.
#[derive(Clone, Debug)]
struct Write {
    bytes: Vec<u8>,
    fds: usize,
}

/// How a client ends its connection.
#[derive(Clone, Copy, Debug)]
enum End {
    /// At once.
    Drop,
    /// When the daemon has read all bytes.
    DropWhenRead,
    /// By closing the direction to the daemon, and reading until the daemon disconnects.
    Drain,
}

/// A request with a random change. Most changes make it invalid.
fn mutated() -> impl Strategy<Value = Write> {
    let kinds = select(requests());
    (kinds, 0..10, any::<Index>(), any::<u8>(), vec(any::<u8>(), 0..20), 0..4usize).prop_map(
        |(request, change, position, byte, extra, fds)| {
            let mut payload = request.payload.clone();
            let mut bytes = request.bytes();
            let at = position.index(bytes.len());
            match change {
                0 => bytes[at] = byte,
                1 => bytes[at] ^= 1 << (byte % 8),
                2 => bytes.truncate(at),
                3 => drop(bytes.splice(at..at, extra)),
                4 => drop(bytes.remove(at)),
                // The following ones are valid frames.
                5 => {
                    let at = position.index(payload.len());
                    payload[at] = byte;
                    bytes = frame(&payload, request.fds as u16);
                }
                6 => {
                    payload.truncate(position.index(payload.len()));
                    bytes = frame(&payload, request.fds as u16);
                }
                7 => {
                    payload.extend(extra);
                    bytes = frame(&payload, request.fds as u16);
                }
                8 => bytes = frame(&payload, fds as u16),
                _ => {}
            }
            // Two thirds have the right number of descriptors.
            let fds = if byte % 3 == 0 { fds } else { request.fds };
            Write { bytes, fds }
        },
    )
}

/// Random bytes, some of them in a frame.
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
            // A header with a wrong length.
            _ => bytes = [&[0, 0, bytes[0], letter, 0, at_most], &bytes[..]].concat(),
        }
        Write { bytes, fds }
    })
}

/// A connection of a client that sends garbage: whether it opens a set dump, its writes, and how it ends.
fn garbage() -> impl Strategy<Value = (bool, Vec<Write>, End)> {
    let write = prop_oneof![2 => mutated(), 1 => random()];
    let end = select(vec![End::Drop, End::DropWhenRead, End::Drain]);
    (any::<bool>(), vec(write, 1..8), end)
}

#[test]
fn garbage_changes_nothing() {
    let start = || WatchedDaemon::start(Ours, Setup::default(), files_to_hold(20, 20));
    let watched = RefCell::new(start());
    let config = random_cases(1500);
    let result = TestRunner::new(config).run(&garbage(), |(open, writes, end)| {
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let watched = watched.borrow();
            let stream = connect(watched.path());
            if open {
                assert_eq!(wire::exchange(&stream, &set_dump_request(4), &[]).unwrap(), 0);
            }
            // This client does not read answers, so it must not wait for room to send.
            stream.set_nonblocking(true).unwrap();
            let all = writes.iter().all(|write| send(&stream, &write.bytes, &files(write.fds)));
            stream.set_nonblocking(false).unwrap();
            match end {
                End::Drop => {}
                // The replies are short, so the daemon goes on even if the client does not read them.
                End::DropWhenRead if all => wait_until_read(&stream),
                End::DropWhenRead => {}
                End::Drain => {
                    let _ = stream.shutdown(Shutdown::Write);
                    drain(&stream);
                }
            }
            drop(stream);
            // Other clients are still served, and the entries are still held.
            let stream = connect(watched.path());
            for held in &watched.expected[..2] {
                let inode = wire::inode(wire::retrieve(&stream, &held.id).unwrap());
                assert_eq!(inode, wire::inode(&held.fd));
            }
        }));
        checked.map_err(|_| {
            // The next attempt, with a simpler input, needs a new daemon.
            drop(watched.replace(start()));
            TestCaseError::fail("the daemon does not serve other clients")
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    watched.into_inner().check_unchanged();
}

/// At the end of a connection, the daemon closes the descriptors that arrived for an incomplete request. It
/// must not close descriptors of other entries that have the same numbers by then.
#[test]
fn the_end_of_a_connection_closes_only_descriptors_of_its_incomplete_request() {
    let mut watched = WatchedDaemon::start(Ours, Setup::default(), files_to_hold(20, 20));
    let parts: [(&str, &[u8]); 5] = [
        ("one byte", &[0]),
        ("a head", &[0, 0, 0, 30, 0, 1]),
        ("a part of a request", b"\0\0\0\x1c\0\x01S\x40\0\0\0"),
        ("a delete request", b"\0\0\0\x04\0\0D\x01x\0"),
        ("too long", b"\xff\0\0\0\0\x01S"),
    ];
    for (name, bytes) in parts {
        for count in [1, 2, FRAME_ENTRIES] {
            // The end of the connection must not undo a store that was made on it before.
            let stream = connect(watched.path());
            let held = Held::new(format!("{name} {count}"), in_an_hour(), memfd());
            wire::store(&stream, &held).unwrap();
            watched.expected.push(held);
            send(&stream, bytes, &files(count));
            stream.shutdown(Shutdown::Write).unwrap();
            drain(&stream);
            watched.assert_serves();
        }
    }
    watched.check_unchanged();
}

fn incomplete_requests_delay_no_other_client(generation: Generation) {
    let mut watched = WatchedDaemon::start(generation, Setup::default(), files_to_hold(20, 20));
    for request in requests() {
        let bytes = request.bytes();
        // The requests stop at different bytes.
        let lengths = 6..bytes.len();
        for at in lengths.step_by(bytes.len().div_ceil(3)) {
            let streams: Vec<_> = (0..5).map(|_| request.prepare(watched.path())).collect();
            for stream in &streams {
                send(stream, &bytes[..at], &files(request.fds));
                wait_until_read(stream);
            }
            watched.assert_serves();
        }
        watched.check_unchanged();
    }
}

fn clients_that_do_not_read_delay_no_other_client(generation: Generation) {
    let mut watched = WatchedDaemon::start(generation, Setup::default(), files_to_hold(20, 200));
    let id = &watched.expected[0].id[..];
    let floods: [(Vec<u8>, usize); 8] = [
        (frame(b"L", 0), 0),
        (frame(b"?", 0), 0),
        (frame(&store_request(id, in_an_hour()), 1), 1),
        (frame(&delete_request(TEMPORARY), 0), 0),
        (frame(&retrieve_request(id, 0), 0), 0),
        (frame(&set_dump_request(0), 0), 0),
        (frame(&set_dump_request(9), 0), 0),
        (frame(b"nonsense", 0), 0),
    ];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (bytes, fds) in &floods {
            let stream = connect(watched.path());
            let stop = &stop;
            scope.spawn(move || {
                stream.set_nonblocking(true).unwrap();
                let file = memfd();
                while !stop.load(Ordering::Relaxed) {
                    // This client sends whole requests while there is room, and never reads.
                    match wire::send(&stream, bytes, &vec![file.as_fd(); *fds]) {
                        Ok(()) => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            thread::sleep(Duration::from_millis(1));
                        }
                        Err(error) => {
                            // The C daemon may disconnect such a client.
                            assert!(generation != Ours, "disconnected: {error}");
                            break;
                        }
                    }
                }
            });
        }
        let _stop = SetOnDrop(&stop);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1500) {
            watched.assert_serves_within(longest_delay());
        }
        if generation == Ours {
            // The daemon needs memory for one request and one reply of each client.
            let most = watched.memory + MARGIN + 2 * 72 * floods.len() as u64;
            assert!(watched.memory_now() < most, "{} kB", watched.memory_now());
        }
    });
    watched.check_unchanged();
}

fn busy_clients_delay_no_other_client(generation: Generation) {
    let setup = Setup { maxconn: 64, ..Setup::default() };
    let mut watched = WatchedDaemon::start(generation, setup, files_to_hold(20, 20));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..40 {
            let (stop, watched) = (&stop, &watched);
            scope.spawn(move || {
                let held = Held::new(format!("busy {number}"), in_an_hour(), memfd());
                while !stop.load(Ordering::Relaxed) {
                    let stream = connect(watched.path());
                    for _ in 0..5 {
                        wire::store(&stream, &held).unwrap();
                        wire::list(&stream).unwrap();
                        wire::retrieve(&stream, &watched.expected[number % 20].id).unwrap();
                        // The C daemon fails if an entry of a dump is deleted before the dump is read.
                        if generation == Ours {
                            wire::send_frame(&stream, b"?", &[]).unwrap();
                            wire::read_dump(&stream, drop).unwrap();
                        }
                        wire::delete(&stream, &held.id).unwrap();
                    }
                }
            });
        }
        let _stop = SetOnDrop(&stop);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1500) {
            watched.assert_serves_within(longest_delay());
        }
    });
    watched.check_unchanged();
}

/// A connected client is served while others connect and disconnect as fast as possible.
fn new_connections_delay_no_connected_client(generation: Generation) {
    let setup = Setup { maxconn: 64, ..Setup::default() };
    let mut watched = WatchedDaemon::start(generation, setup, files_to_hold(20, 20));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stream = connect(watched.path());
        wire::list(&stream).unwrap();
        for _ in 0..40 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(connect(watched.path()));
                }
            });
        }
        let _stop = SetOnDrop(&stop);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1500) {
            let begun = Instant::now();
            wire::list(&stream).unwrap();
            assert!(begun.elapsed() < longest_delay(), "the list took {:?}", begun.elapsed());
        }
    });
    watched.check_unchanged();
}

#[test]
fn large_set_dumps_in_a_nearly_full_daemon_delay_no_other_client() {
    let setup = Setup { maxfds: 300, maxconn: 64, ..Setup::default() };
    let mut watched = WatchedDaemon::start(Ours, setup, files_to_hold(299, 255));
    let stop = AtomicBool::new(false);
    let same = &watched.expected[..FRAME_ENTRIES];
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    wire::set_dump(watched.path(), same).unwrap();
                }
            });
        }
        let _stop = SetOnDrop(&stop);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1500) {
            watched.assert_serves_within(longest_delay());
        }
    });
    watched.check_unchanged();
}

/// The limit on open files leaves no room for the descriptors of incomplete requests.
#[test]
fn descriptors_beyond_the_limit_on_open_files_remove_no_entry() {
    let setup = Setup { maxfds: 200, open_files: Some(300), ..Setup::default() };
    let mut watched = WatchedDaemon::start(Ours, setup, files_to_hold(200, 20));
    let bytes = frame(&[b'.'; 4000], FRAME_ENTRIES as u16);
    for _ in 0..20 {
        let streams: Vec<_> = (0..10).map(|_| connect(watched.path())).collect();
        for stream in &streams {
            send(stream, &bytes[..bytes.len() - 1], &files(FRAME_ENTRIES));
            wait_until_read(stream);
        }
    }
    watched.assert_serves();
    watched.check_unchanged();
}

#[test]
fn a_header_that_announces_too_much_takes_no_memory() {
    let mut watched = WatchedDaemon::start(
        Ours,
        Setup { maxconn: 32, ..Setup::default() },
        files_to_hold(20, 20),
    );
    let head =
        |length: usize, fds: u16| [&(length as u32).to_be_bytes()[..], &fds.to_be_bytes()].concat();
    // No valid request has such a header.
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
        let stream = connect(watched.path());
        send(&stream, &head(length, fds), &files(usize::from(fds).min(FRAME_ENTRIES)));
        drain(&stream);
        // The same header as the first bytes of a longer write.
        let stream = connect(watched.path());
        send(&stream, &[&head(length, fds)[..], &[b'S'; 5000]].concat(), &[]);
        drain(&stream);
    }
    // This header is valid. The daemon needs memory only for what has arrived: a page of bytes, and a page of
    // descriptor numbers.
    let streams: Vec<_> = (0..31).map(|_| connect(watched.path())).collect();
    for stream in &streams {
        send(stream, &head(PAYLOAD_MAX, 253), &files(FRAME_ENTRIES));
        wait_until_read(stream);
    }
    watched.assert_serves();
    let most = watched.memory + 31 * 8 + MARGIN;
    assert!(watched.memory_now() <= most, "{} kB, not {most}", watched.memory_now());
    assert!(streams.iter().all(|stream| !is_ready(stream, Duration::ZERO)));
    drop(streams);

    let stream = connect(watched.path());
    for total in [watched.setup.maxfds + 1, 1 << 16, 1 << 31, u32::MAX as usize] {
        let status = wire::exchange(&stream, &set_dump_request(total), &[]).unwrap();
        assert_eq!(status, FULL, "a set dump of {total}");
    }
    drop(stream);
    watched.check_unchanged();
}

fn a_full_daemon_serves_waiting_clients_one_after_the_other(generation: Generation) {
    let setup = Setup { maxconn: 4, ..Setup::default() };
    let mut watched = WatchedDaemon::start(generation, setup, files_to_hold(20, 20));
    let mut accepted: Vec<_> = (0..4).map(|_| connect(watched.path())).collect();
    accepted.iter().for_each(|stream| drop(wire::list(stream).unwrap()));
    let waiting: Vec<_> = (0..50).map(|_| connect(watched.path())).collect();
    for stream in &waiting {
        wire::send_frame(stream, b"L", &[]).unwrap();
    }
    // While the daemon serves four clients, it serves no other.
    accepted.iter().for_each(|stream| drop(wire::list(stream).unwrap()));
    assert!(waiting.iter().all(|stream| !is_ready(stream, Duration::from_millis(2))));
    // When a client disconnects, the daemon serves the next one at once.
    for stream in waiting {
        drop(accepted.remove(0));
        assert_eq!(wire::read_list(&stream).unwrap().len(), 20);
        accepted.push(stream);
    }
    drop(accepted);
    // Waiting clients may disconnect before they are accepted.
    let accepted: Vec<_> = (0..4).map(|_| connect(watched.path())).collect();
    for _ in 0..50 {
        send(
            &connect(watched.path()),
            &frame(&store_request(TEMPORARY, in_an_hour()), 1),
            &files(1),
        );
    }
    drop(accepted);
    watched.assert_serves();
    watched.check_unchanged();
}

#[test]
fn idle_clients_take_no_memory_and_the_memory_of_a_large_request_is_freed() {
    let setup = Setup { maxconn: 256, ..Setup::default() };
    // The daemon has had only one client before, so it has no memory for more yet.
    let mut watched = WatchedDaemon::start_after(Ours, setup, 1, files_to_hold(20, 20));
    let streams: Vec<_> = (0..248).map(|_| connect(watched.path())).collect();
    streams.iter().for_each(|stream| drop(wire::list(stream).unwrap()));
    let idle = watched.memory_now();
    assert!(idle < watched.memory + 64, "{} kB more for idle clients", idle - watched.memory);

    // Incomplete frames of 60 kB, half of them with the largest number of descriptors.
    let ids = (0..FRAME_ENTRIES).map(|n| format!("{n:0>224}"));
    let entries: Vec<u8> = ids.flat_map(|id| entry(id.as_bytes(), in_an_hour())).collect();
    let payload = [b".", &entries[..]].concat();
    let large: Vec<_> = (0..8).map(|_| connect(watched.path())).collect();
    for (number, stream) in large.iter().enumerate() {
        let fds = if number % 2 == 0 { FRAME_ENTRIES } else { 0 };
        let bytes = frame(&payload, fds as u16);
        assert_eq!(wire::exchange(stream, &set_dump_request(FRAME_ENTRIES), &[]).unwrap(), 0);
        send(stream, &bytes[..bytes.len() - 1], &files(fds));
        wait_until_read(stream);
    }
    let most = idle + 8 * 80;
    assert!(watched.memory_now() < most, "{} kB with large requests", watched.memory_now());
    drop(large);
    let state = || format!("{} kB, {idle} before", watched.memory_now());
    wait_until(state, || watched.memory_now() < idle + MARGIN);
    wire::list(&streams[100]).unwrap();
    drop(streams);
    watched.check_unchanged();
}

#[test]
fn a_slow_reader_gets_what_was_held_when_it_sent_its_request() {
    // A dump of these entries is more than the buffer of a socket takes.
    let setup = Setup { maxfds: 900, ..Setup::default() };
    let mut watched = WatchedDaemon::start(Ours, setup, files_to_hold(900, 255));
    watched.allow_entries_of_slow_readers();
    let before = wire::identities(&watched.expected);
    let ask = |request: &[u8]| {
        let stream = connect(watched.path());
        wire::send_frame(&stream, request, &[]).unwrap();
        wait_until_read(&stream);
        stream
    };
    let dumps = [ask(b"?"), ask(b"?"), ask(b"?")];
    let lists = [ask(b"L"), ask(b"L"), ask(b"L")];
    // The daemon answers these requests before the following ones.
    watched.assert_serves();

    // All entries are deleted, and a new descriptor is stored under each identifier.
    let late = connect(watched.path());
    for held in &mut watched.expected {
        *held = Held::new(&held.id, held.expiry, memfd());
        wire::delete(&late, &held.id).unwrap();
    }
    for held in &watched.expected {
        wire::store(&late, held).unwrap();
    }
    watched.assert_serves();
    for stream in dumps {
        let mut dump = Vec::new();
        wire::read_dump(&stream, |held| dump.push(held)).unwrap();
        assert_eq!(wire::identities(&dump), before);
        // A second request of this client gets what is held now.
        wire::send_frame(&stream, b"?", &[]).unwrap();
        dump.clear();
        wire::read_dump(&stream, |held| dump.push(held)).unwrap();
        assert_eq!(wire::identities(&dump), wire::identities(&watched.expected));
    }
    for stream in lists {
        let mut list = wire::read_list(&stream).unwrap();
        list.sort();
        assert!(list.iter().eq(before.iter().map(|(id, ..)| id)));
    }
    drop(late);
    watched.check_unchanged();
}

#[test]
fn the_number_of_deleted_entries_that_slow_readers_keep_open_is_limited() {
    let setup = Setup { maxfds: 900, ..Setup::default() };
    let mut watched = WatchedDaemon::start(Ours, setup, files_to_hold(900, 255));
    watched.allow_entries_of_slow_readers();
    let mut dumps = Vec::new();
    // The kernel has taken a part of each dump, so several readers are needed to reach the limit.
    for _ in 0..12 {
        let stream = connect(watched.path());
        wire::send_frame(&stream, b"?", &[]).unwrap();
        wait_until_read(&stream);
        dumps.push((stream, wire::identities(&watched.expected)));
        // Each replaced descriptor is needed by slow readers only.
        for held in &mut watched.expected {
            *held = Held::new(&held.id, held.expiry, memfd());
        }
        wire::set_dump(watched.path(), &watched.expected).unwrap();
        watched.assert_serves();
        let (count, most) = (descriptors(watched.daemon.pid()), watched.own + 2 * 900 + 8);
        assert!(count <= most, "{count} descriptors");
    }
    let disconnected = dumps.into_iter().map(|(stream, expected)| {
        let mut dump = Vec::new();
        // The entries before the disconnect must be right.
        let result = wire::read_dump(&stream, |held| dump.push(held));
        let found = wire::identities(&dump);
        assert!(found.iter().all(|one| expected.binary_search(one).is_ok()));
        assert!(result.is_err() || found == expected);
        result.is_err()
    });
    let disconnected = disconnected.filter(|disconnected| *disconnected).count();
    assert!((1..12).contains(&disconnected), "{disconnected} of 12 are disconnected");
    assert!(watched.daemon.log().contains("warning: "), "{}", watched.daemon.log());
    watched.check_unchanged();
}

/// A client that reads a little at a time is not silent, however long the whole dump takes.
#[test]
fn a_slow_but_steady_reader_is_not_disconnected() {
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
            // The whole dump takes three times the limit.
            let pace = 3 * LIMIT.mul_f64(read as f64 / total as f64);
            thread::sleep(pace.saturating_sub(begun.elapsed()));
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
        // If the machine has stalled this reader, the disconnect may be right, and the test tries again.
        assert!(
            stalled > LIMIT / 4,
            "disconnected after {read} of {total} in {:?}",
            begun.elapsed()
        );
    }
    panic!("the machine is too busy");
}
