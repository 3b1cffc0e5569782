//! Equal warnings are limited in number.

use super::warning;
use crate::kit::daemon::Generation::Ours;
use crate::kit::server::{DaemonDir, Server, assert_disconnects};
use crate::kit::strace::strace_detached;
use crate::kit::wire::{self};
use std::process::Stdio;
use std::time::Instant;

#[test]
fn equal_warnings_are_limited_and_counted() {
    assert_warnings_are_counted(&Server::open(Ours, &[]));
}

#[test]
fn equal_warnings_are_limited_and_counted_if_each_turn_takes_long() {
    let daemon_dir = DaemonDir::open();
    let slow = ["recvmsg:delay_exit=5000".into()];
    let mut command = strace_detached(&daemon_dir.child("trace"), &slow);
    command
        .args(["s6-fdholder-daemon", "-1", "-i"])
        .arg(daemon_dir.rules())
        .arg(daemon_dir.socket());
    assert_warnings_are_counted(&Server::start(daemon_dir, command.stdin(Stdio::null())));
}

/// Breaks the protocol on 50 connections, and counts the warnings.
fn assert_warnings_are_counted(server: &Server) {
    let begun = Instant::now();
    for _ in 0..50 {
        let client = server.connect();
        wire::send(&client, &[255; 6], &[]).unwrap();
        assert_disconnects(&client);
    }
    let line = warning("disconnect: Protocol error");
    assert_eq!(server.line(), line);
    let (mut count, mut lines) = (1, 1);
    while count < 50 {
        let next = server.line();
        let more = next.strip_prefix(&format!("{line} (and "));
        let more = more.and_then(|rest| rest.strip_suffix(" more)"));
        // After a second, the daemon may log the full line again.
        assert!(more.is_some() || next == line, "{next}");
        count += more.map_or(1, |number| number.parse::<u64>().unwrap());
        lines += 1;
    }
    assert_eq!(count, 50);
    assert!(lines <= 3 + begun.elapsed().as_secs(), "{lines} lines");
}
