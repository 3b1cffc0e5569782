//! Many requests, connections and clients.

use super::*;
use crate::kit::daemon::Generation::{self, Ours};
use crate::kit::daemon::Setup;
use crate::kit::fake::files_to_hold;
use crate::kit::memfd;
use crate::kit::process::wait_until_read;
use crate::kit::server::connect;
use crate::kit::watched::{MARGIN, WatchedDaemon, in_an_hour};
use crate::kit::wire::{
    self, FRAME_ENTRIES, Held, delete_request, frame, retrieve_request, set_dump_request,
    store_request,
};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

with_ours_and_c! {
    clients_that_do_not_read_delay_no_other_client
    busy_clients_delay_no_other_client
    new_connections_delay_no_connected_client
    a_full_daemon_serves_waiting_clients_one_after_the_other
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
