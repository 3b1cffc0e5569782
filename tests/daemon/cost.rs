//! The number of system calls that a request costs the daemon.

use crate::kit::memfd;
use crate::kit::server::{DaemonDir, Server};
use crate::kit::strace::{calls, strace_detached};
use crate::kit::wire::{self, Held, expiry_in};
use rustix::process::Signal;
use std::process::Stdio;
use std::time::Duration;

/// The names of the calls that the daemon makes for ten requests of one client, while it holds an entry with
/// this expiry.
fn calls_of_ten_requests(expiry: [u8; 12]) -> Vec<String> {
    let daemon_dir = DaemonDir::open();
    let trace = daemon_dir.child("trace");
    let mut command = strace_detached(&trace, &[]);
    command
        .args(["s6-fdholder-daemon", "-1", "-v0", "-i"])
        .arg(daemon_dir.rules())
        .arg(daemon_dir.socket());
    let server = Server::start(daemon_dir, command.stdin(Stdio::null()));
    let client = server.connect();
    wire::store(&client, &Held::new("it", expiry, memfd())).unwrap();
    // The first of these requests is not counted, because the daemon holds no entry when the turn of the store
    // begins.
    for _ in 0..11 {
        assert_eq!(wire::list(&client).unwrap(), [b"it"]);
    }
    server.signal(Signal::TERM);
    drop(client);
    let daemon_dir = server.daemon_dir.clone();
    assert_eq!(server.end().0, 0);
    let names: Vec<_> =
        calls(&daemon_dir.child("trace")).into_iter().map(|call| call.name).collect();
    // The last `sendmsg` is the reply to the last request.
    let last = names.iter().rposition(|name| name == "sendmsg").unwrap();
    let replies = names[..=last].iter().enumerate().filter(|(_, name)| *name == "sendmsg");
    let first = replies.map(|(at, _)| at).nth_back(10).unwrap();
    names[first + 1..=last].to_vec()
}

#[test]
fn a_request_takes_four_calls() {
    let turn = ["ppoll", "clock_gettime", "recvmsg", "sendmsg"];
    assert_eq!(calls_of_ten_requests(wire::never()), turn.repeat(10));
}

#[test]
fn with_an_entry_that_expires_a_request_takes_one_call_more_to_read_the_date() {
    let turn = ["ppoll", "clock_gettime", "recvmsg", "clock_gettime", "sendmsg"];
    assert_eq!(calls_of_ten_requests(expiry_in(Duration::from_secs(3600))), turn.repeat(10));
}
