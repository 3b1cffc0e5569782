//! Clients that read their answers slowly.

use crate::kit::daemon::Generation::Ours;
use crate::kit::daemon::{Daemon, Setup};
use crate::kit::fake::files_to_hold;
use crate::kit::memfd;
use crate::kit::process::{descriptors, wait_until_read};
use crate::kit::server::connect;
use crate::kit::watched::{WatchedDaemon, in_an_hour};
use crate::kit::wire::{self, FRAME_ENTRIES, Held, entry, frame};
use std::thread;
use std::time::{Duration, Instant};

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
