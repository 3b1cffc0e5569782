//! Garbage, and requests that are split, incomplete or end in a disconnect.

use super::*;
use crate::kit::daemon::Generation::{self, Ours};
use crate::kit::daemon::Setup;
use crate::kit::fake::files_to_hold;
use crate::kit::process::wait_until_read;
use crate::kit::server::connect;
use crate::kit::tool::TIMEOUT;
use crate::kit::watched::{WatchedDaemon, in_an_hour};
use crate::kit::wire::{
    self, FRAME_ENTRIES, Held, delete_request, frame, retrieve_request, set_dump_request,
    store_request,
};
use crate::kit::{memfd, random_cases};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use std::cell::RefCell;
use std::io::Read;
use std::net::Shutdown;

with_ours_and_c! {
    a_disconnect_at_any_byte_changes_nothing
    incomplete_requests_delay_no_other_client
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
