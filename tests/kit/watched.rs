//! A daemon whose entries, descriptors and memory are compared with those before a test.

use super::daemon::Generation::{self, Ours};
use super::daemon::{Daemon, Setup};
use super::fake::files_to_hold;
use super::process::{descriptors, memory, wait_until};
use super::server::connect;
use super::tool::TIMEOUT;
use super::wire::{self, Held};
use super::{memfd, raise_open_file_limit};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The kilobytes by which the memory of a daemon may grow during a test.
pub const MARGIN: u64 = 64;

/// A daemon with its expected entries, and its descriptors and memory before the test.
pub struct WatchedDaemon {
    /// The daemon.
    pub daemon: Daemon,
    pub setup: Setup,
    /// The entries that it must hold in the end.
    pub expected: Vec<Held>,
    /// How many descriptors it has open without entries and clients.
    pub own: usize,
    /// Its memory before the test, in kilobytes.
    pub memory: u64,
}

impl WatchedDaemon {
    /// Starts a daemon that holds these entries. Before that it has had as many entries and clients as
    /// it allows, so that it has allocated the memory for them.
    pub fn start(generation: Generation, setup: Setup, expected: Vec<Held>) -> WatchedDaemon {
        WatchedDaemon::start_after(generation, setup, setup.maxconn - 1, expected)
    }

    /// The same, but before that it has had only `clients` clients at the same time.
    pub fn start_after(
        generation: Generation,
        setup: Setup,
        clients: usize,
        expected: Vec<Held>,
    ) -> WatchedDaemon {
        raise_open_file_limit();
        let daemon = Daemon::start_with(generation, setup);
        let first = connect(&daemon.path);
        assert!(wire::list(&first).unwrap().is_empty());
        let own = descriptors(daemon.pid()) - 1;
        drop(first);

        let filling = files_to_hold(setup.maxfds, 250);
        wire::set_dump(&daemon.path, &filling).unwrap();
        assert_eq!(wire::get_dump(&daemon.path).unwrap().len(), filling.len());
        let streams: Vec<_> = (0..clients).map(|_| connect(&daemon.path)).collect();
        streams.iter().for_each(|stream| drop(wire::list(stream).unwrap()));
        filling.iter().for_each(|held| wire::delete(&streams[0], &held.id).unwrap());
        drop(streams);
        wire::set_dump(&daemon.path, &expected).unwrap();

        let mut watched = WatchedDaemon { daemon, setup, expected, own, memory: u64::MAX / 2 };
        watched.check_unchanged();
        watched.memory = watched.memory_now();
        watched
    }

    /// The path of its socket.
    pub fn path(&self) -> &Path {
        &self.daemon.path
    }

    pub fn memory_now(&self) -> u64 {
        memory(self.daemon.pid(), "Rss")
    }

    /// Allows the daemon more memory: for deleted entries that slow readers still need, as many as it may
    /// hold.
    pub fn allow_entries_of_slow_readers(&mut self) {
        self.memory += 320 * self.setup.maxfds as u64 / 1024;
    }

    /// Deletes entries that other clients have left behind.
    pub fn delete_other_entries(&self) {
        let stream = connect(self.path());
        for id in wire::list(&stream).unwrap() {
            if !self.expected.iter().any(|held| held.id == id) {
                // The entry may have expired meanwhile.
                let _ = wire::delete(&stream, &id);
            }
        }
    }

    /// Checks the state of the daemon when all other clients have disconnected.
    pub fn check_unchanged(&mut self) {
        assert!(self.daemon.is_running(), "the daemon has ended");
        let (pid, expected) = (self.daemon.pid(), self.own + self.expected.len());
        let state = || format!("{} descriptors, not {expected}", descriptors(pid));
        wait_until(state, || {
            self.delete_other_entries();
            let settled = |_| {
                thread::sleep(Duration::from_micros(500));
                descriptors(pid) == expected
            };
            (0..100).any(settled)
        });
        let held = wire::get_dump(self.path()).unwrap();
        assert_eq!(wire::identities(&held), wire::identities(&self.expected));
        // The C daemon does not free the memory of its buffers.
        if self.daemon.generation == Ours {
            let (most, state) = (self.memory + MARGIN, || format!("{} kB", self.memory_now()));
            wait_until(state, || self.memory_now() <= most);
        }
    }

    /// Makes a few requests as another client. Their duration depends on the load of the machine, so most
    /// tests do not check it.
    pub fn assert_serves(&self) {
        self.assert_serves_within(TIMEOUT);
    }

    /// The same, and checks that each request takes less than `most`.
    pub fn assert_serves_within(&self, most: Duration) {
        let timed = |what: &str, request: &mut dyn FnMut(&UnixStream)| {
            let begun = Instant::now();
            request(&connect(self.path()));
            let time = begun.elapsed();
            assert!(time < most, "{what} took {time:?}");
        };
        let held = Held::new("served", in_an_hour(), memfd());
        // A full daemon cannot store another entry.
        if self.expected.len() < self.setup.maxfds {
            timed("store", &mut |stream| wire::store(stream, &held).unwrap());
            timed("retrieve and delete", &mut |stream| {
                let fd = wire::take(stream, &held.id).unwrap();
                assert_eq!(wire::inode(fd), wire::inode(&held.fd));
            });
        }
        timed("retrieve", &mut |stream| {
            let fd = wire::retrieve(stream, &self.expected[0].id).unwrap();
            assert_eq!(wire::inode(fd), wire::inode(&self.expected[0].fd));
        });
        timed("list", &mut |stream| {
            assert!(wire::list(stream).unwrap().len() >= self.expected.len());
        });
    }
}

/// An expiry an hour from now.
pub fn in_an_hour() -> [u8; 12] {
    wire::expiry_in(Duration::from_secs(3600))
}
