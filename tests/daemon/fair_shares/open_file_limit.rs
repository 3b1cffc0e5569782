//! A daemon at its limit on open files.

use super::{ENFILE, assert_waits, pipes, send_and_close, store};
use crate::kit::daemon::Generation::Ours;
use crate::kit::process::wait_for_hangup;
use crate::kit::server::{DaemonDir, Server, status};
use crate::kit::wire::{self, entry, frame, set_dump_request};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::path::Path;

/// Sets the limit on open files of a running daemon. Returns the limit before.
fn limit(server: &Server, current: u64) -> Option<u64> {
    let pid = Pid::from_raw(server.pid() as i32).unwrap();
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(current), maximum })
        .unwrap()
        .current
}

/// The `count` lowest descriptor numbers that are free in a daemon.
fn free_numbers(server: &Server, count: usize) -> Vec<u64> {
    let folder = format!("/proc/{}/fd", server.pid());
    let is_free = |number: &u64| !Path::new(&folder).join(number.to_string()).is_symlink();
    (0..).filter(is_free).take(count).collect()
}

#[test]
fn a_store_beyond_the_limit_on_open_files_is_refused_and_the_daemon_goes_on() {
    let server = Server::open(Ours, &["-v1"]);
    let client = server.connect();
    assert_eq!(store(&client, "first"), 0);
    // Before the second answer, the daemon has checked for new clients.
    assert_eq!(status(&client, b"L", &[]), 0);
    let before = limit(&server, free_numbers(&server, 1)[0]).unwrap();
    for _ in 0..3 {
        assert_eq!(store(&client, "second"), ENFILE);
        let line = server.line();
        assert!(line.contains(": store: Too many open files"), "{line}");
    }
    // If there is room for only a part of a set dump, the daemon stores none of it.
    assert_eq!(status(&client, &set_dump_request(3), &[]), 0);
    limit(&server, free_numbers(&server, 2)[1]);
    let three: Vec<u8> =
        ["a", "b", "c"].iter().flat_map(|id| entry(id.as_bytes(), wire::never())).collect();
    let (end, fds) = pipes(3);
    send_and_close(&client, &frame(&[b".", &three[..]].concat(), 3), fds);
    assert_eq!(wire::receive_frame(&client).unwrap().0, [ENFILE as u8]);
    assert!(wait_for_hangup(&end));
    limit(&server, before);
    assert_eq!(wire::list(&client).unwrap(), [b"first"]);
    assert_eq!(store(&client, "second"), 0);
}

#[test]
fn the_spare_descriptor_is_used_to_read_a_rule_at_the_limit() {
    let server = Server::open(Ours, &["-v1"]);
    let first = server.connect();
    (0..2).for_each(|_| assert_eq!(status(&first, b"L", &[]), 0));
    // The limit leaves room for the connection only.
    let free = free_numbers(&server, 1)[0];
    let before = limit(&server, free + 1).unwrap();
    for _ in 0..2 {
        // In the second round the daemon has its spare descriptor again.
        let second = server.connect();
        assert_eq!(status(&second, b"L", &[]), 0);
        drop(second);
        // Before the last answer, the daemon has closed the connection and checked for new clients.
        (0..3).for_each(|_| assert_eq!(status(&first, b"L", &[]), 0));
    }
    limit(&server, before);
    let lines = server.stop();
    assert!(!lines.iter().any(|line| line.contains("rule")), "{lines:?}");
}

#[test]
fn inherited_descriptors_above_a_gap_count_against_the_limit() {
    let daemon_dir = DaemonDir::open();
    let first = "ulimit -n 300 && for n in {100..179}; do eval \"exec $n</dev/null\"; done;";
    let mut command = daemon_dir.fdholderd_through(Ours, first, "", &["-n250"]);
    let server = Server::start(daemon_dir, &mut command);
    let line = server.line();
    assert!(line.starts_with("s6-fdholderd: warning: the open-file limit is 300"), "{line}");
    let client = server.connect();
    let mut count = 0;
    while store(&client, &format!("{count}")) == 0 {
        count += 1;
    }
    assert!((170..220).contains(&count), "{count}");
    let clients: Vec<_> = (0..15).map(|_| server.connect()).collect();
    for client in &clients {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_limit_below_the_number_of_clients_does_not_make_the_daemon_poll() {
    let server = Server::open(Ours, &["-v0"]);
    let clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &clients {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    let before = limit(&server, 4).unwrap();
    assert_waits(server.pid());
    for client in &clients {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    limit(&server, before);
}
