//! What a request costs the daemon, counted in system calls.

use crate::kit::memfd;
use crate::kit::server::{DaemonDir, Server};
use crate::kit::strace::{calls, strace_detached};
use crate::kit::wire::{self, Held, expiry_in};
use rustix::process::Signal;
use std::process::Stdio;
use std::time::Duration;

/// The names of the calls that the daemon makes for ten requests of one client, while it holds
/// something with this expiry.
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
    // One more, since nothing expires when the turn of the store begins.
    for _ in 0..11 {
        assert_eq!(wire::list(&client).unwrap(), [b"it"]);
    }
    server.signal(Signal::TERM);
    drop(client);
    let daemon_dir = server.daemon_dir.clone();
    assert_eq!(server.end().0, 0);
    let names: Vec<_> =
        calls(&daemon_dir.child("trace")).into_iter().map(|call| call.name).collect();
    // The last reply is that of the last request.
    let last = names.iter().rposition(|name| name == "sendmsg").unwrap();
    let replies = names[..=last].iter().enumerate().filter(|(_, name)| *name == "sendmsg");
    let first = replies.map(|(at, _)| at).nth_back(10).unwrap();
    names[first + 1..=last].to_vec()
}

#[test]
fn a_request_takes_few_calls() {
    let turn = ["ppoll", "clock_gettime", "recvmsg", "sendmsg"];
    assert_eq!(calls_of_ten_requests(wire::never()), turn.repeat(10));
}

#[test]
fn one_more_reads_the_date_if_something_expires() {
    let turn = ["ppoll", "clock_gettime", "recvmsg", "clock_gettime", "sendmsg"];
    assert_eq!(calls_of_ten_requests(expiry_in(Duration::from_secs(3600))), turn.repeat(10));
}
