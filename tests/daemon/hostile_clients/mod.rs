//! Clients that harm a daemon, by intent or not: garbage, split and incomplete requests, disconnects, slow
//! readers, floods and many clients. After each test the daemon still runs, holds exactly the same entries,
//! has exactly the expected number of open descriptors, and has not grown.
//!
//! Some tests run with the C daemon of 2.15 as well, which shows that their demands are not too hard. It
//! fails in the others.

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

mod broken_requests;
mod floods;
mod memory;
mod slow_readers;

use crate::kit::memfd;
use crate::kit::server::connect;
use crate::kit::watched::in_an_hour;
use crate::kit::wire::{
    self, Held, delete_request, entry, frame, retrieve_request, set_dump_request, store_request,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long other clients may delay the answer to a client: a second. If an emulator runs the daemon,
/// `FDHOLDER_SLOWER` says how many times slower it is than a processor.
fn longest_delay() -> Duration {
    let slower = std::env::var("FDHOLDER_SLOWER").map_or(1, |times| times.parse().unwrap());
    Duration::from_secs(slower)
}

/// `EPROTO`, `ENFILE` and `EBUSY`.
const PROTOCOL: i32 = 71;

const BUSY: i32 = 16;

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
