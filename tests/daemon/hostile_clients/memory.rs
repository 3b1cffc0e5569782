//! The memory that clients make the daemon allocate.

use super::*;
use crate::kit::daemon::Generation::Ours;
use crate::kit::daemon::Setup;
use crate::kit::fake::files_to_hold;
use crate::kit::process::{wait_until, wait_until_read};
use crate::kit::server::connect;
use crate::kit::watched::{MARGIN, WatchedDaemon, in_an_hour};
use crate::kit::wire::{self, FRAME_ENTRIES, entry, frame, set_dump_request};
use std::time::Duration;

const FULL: i32 = 23;

/// The largest payload of a request.
const PAYLOAD_MAX: usize = 1 + FRAME_ENTRIES * 269;

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
