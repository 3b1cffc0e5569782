//! The events that are logged, and the text of each line.

use super::{info, warning};
use crate::kit::daemon::Generation::Ours;
use crate::kit::memfd;
use crate::kit::server::{DaemonDir, Server, assert_disconnects, connect, status};
use crate::kit::tool::TIMEOUT;
use crate::kit::wire::{self, delete_request, retrieve_request, store_request};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

fn put(client: &UnixStream, id: &[u8]) -> i32 {
    status(client, &store_request(id, wire::never()), &[memfd().as_fd()])
}

/// What a client does with a daemon that holds at most two entries, and the text of the line about it.
type Event = (fn(&UnixStream), &'static str);

/// All events of a client that has all rights, in order.
const EVENTS: [Event; 17] = [
    (|client| assert_eq!(put(client, b"a"), 0), "store a"),
    (|client| assert_eq!(put(client, b"a"), 16), "store a: Device or resource busy"),
    (|client| assert_eq!(put(client, b"b"), 0), "store b"),
    (|client| assert_eq!(put(client, b"c"), 23), "store c: Too many open files in system"),
    (|client| assert_eq!(status(client, &retrieve_request(b"a", 0), &[]), 0), "retrieve a"),
    (
        |client| assert_eq!(status(client, &retrieve_request(b"x", 0), &[]), 2),
        "retrieve x: No such file or directory",
    ),
    (
        |client| assert_eq!(status(client, &retrieve_request(b"y", 1), &[]), 2),
        "retrieve y: No such file or directory",
    ),
    (|client| assert_eq!(status(client, &delete_request(b"a"), &[]), 0), "delete a"),
    (
        |client| assert_eq!(status(client, &delete_request(b"a"), &[]), 2),
        "delete a: No such file or directory",
    ),
    (|client| assert_eq!(status(client, b"L", &[]), 0), "list"),
    (
        |client| {
            assert_eq!(status(client, b"?", &[]), 0);
            wire::receive_frame(client).unwrap();
        },
        "get dump",
    ),
    (|client| assert_eq!(status(client, b"!\0\0\0\0", &[]), 0), "set dump"),
    (
        |client| assert_eq!(status(client, b"!\0\0\0\x03", &[]), 23),
        "set dump: Too many open files in system",
    ),
    (|client| assert_eq!(status(client, b"!\0\0\0\x01", &[]), 0), "set dump"),
    (|client| assert_eq!(status(client, &delete_request(b"b"), &[]), 0), "delete b"),
    (|client| assert_eq!(put(client, b" ~a\\\n\x07\x7f\x80\xff"), 0), "QUOTED"),
    (
        |client| assert_eq!(status(client, &delete_request(b"-"), &[]), 2),
        "delete -: No such file or directory",
    ),
];

/// The text of the event with an identifier of special bytes.
const QUOTED: &str = "store  ~a\\\\\\n\\a\\0x7f\\0x80\\0xff";

/// Lets a client do all these events, and compares the lines.
fn assert_logs(options: &[&str], daemon_dir: DaemonDir, events: &[Event], expected: &[String]) {
    let mut command = daemon_dir.fdholderd(Ours, options);
    let server = Server::start(daemon_dir, &mut command);
    let client = server.connect();
    for (act, _) in events {
        act(&client);
    }
    drop(client);
    // The daemon is stopped only after all expected lines, since it must see the disconnect first.
    let all: Vec<_> = expected.iter().map(|_| server.line()).collect();
    assert_eq!(all, expected, "{options:?}");
    assert_eq!(server.stop(), [""; 0], "{options:?}");
}

#[test]
fn each_event_is_a_line() {
    let mut expected = vec![info("connect")];
    expected.extend(EVENTS.map(|(_, text)| info(if text == "QUOTED" { QUOTED } else { text })));
    expected.push(info("disconnect"));
    assert_logs(&["-v2", "-n2"], DaemonDir::open(), &EVENTS, &expected);
    // Higher levels are the same as level 2.
    assert_logs(&["-v4294967295", "-n2"], DaemonDir::open(), &EVENTS, &expected);
}

#[test]
fn below_verbosity_2_events_are_not_logged() {
    for options in [&["-n2"][..], &["-v1", "-n2"], &["-v", "0", "-n2"], &["-v2", "-v1", "-n2"]] {
        assert_logs(options, DaemonDir::open(), &EVENTS, &[]);
    }
}

#[test]
fn a_refused_request_is_logged_with_the_reason() {
    let refused: [Event; 6] = [
        (|client| assert_eq!(put(client, b"a"), 1), "store a"),
        (|client| assert_eq!(status(client, &delete_request(b"a"), &[]), 1), "delete a"),
        (|client| assert_eq!(status(client, &retrieve_request(b"a", 0), &[]), 1), "retrieve a"),
        (|client| assert_eq!(status(client, b"L", &[]), 1), "list"),
        (|client| assert_eq!(status(client, b"?", &[]), 1), "get dump"),
        (|client| assert_eq!(status(client, b"!\0\0\0\0", &[]), 1), "set dump"),
    ];
    let mut expected = vec![info("connect")];
    expected.extend(refused.map(|(_, text)| info(&format!("{text}: Operation not permitted"))));
    expected.push(info("disconnect"));
    let daemon_dir = DaemonDir::new();
    daemon_dir.allow("uid/default", &[]);
    assert_logs(&["-v2"], daemon_dir, &refused, &expected);
}

#[test]
fn a_client_that_may_not_connect_is_logged_at_verbosity_2() {
    for refuse in [false, true] {
        for (option, expected) in
            [("-v2", &[info("connect: Operation not permitted")][..]), ("-v1", &[]), ("-v0", &[])]
        {
            let daemon_dir = DaemonDir::new();
            if refuse {
                daemon_dir.refuse("uid/default");
            }
            let mut command = daemon_dir.fdholderd(Ours, &[option]);
            let server = Server::start(daemon_dir, &mut command);
            assert_disconnects(&server.connect());
            assert_eq!(server.stop(), expected, "{option}");
        }
    }
}

#[test]
fn a_retrieve_that_deletes_is_one_line() {
    let events: [Event; 2] = [
        (|client| assert_eq!(put(client, b"a"), 0), "store a"),
        (|client| assert_eq!(status(client, &retrieve_request(b"a", 1), &[]), 0), "retrieve a"),
    ];
    let expected = ["connect", "store a", "retrieve a", "disconnect"].map(info);
    assert_logs(&["-v2"], DaemonDir::open(), &events, &expected);
}

#[test]
fn an_expiry_is_logged_once_at_verbosity_2() {
    for (option, is_logged) in [("-v2", true), ("-v1", false), ("-v0", false)] {
        let server = Server::open(Ours, &[option]);
        let client = server.connect();
        let soon = wire::expiry_in(Duration::from_millis(200));
        assert_eq!(status(&client, &store_request(b"a\n", soon), &[memfd().as_fd()]), 0);
        if is_logged {
            assert_eq!([server.line(), server.line()], [info("connect"), info("store a\\n")]);
            // The daemon logs the expiry without a request.
            assert_eq!(server.line(), "s6-fdholderd: info: expire a\\n");
        }
        let begun = Instant::now();
        while !wire::list(&client).unwrap().is_empty() {
            assert!(begun.elapsed() < TIMEOUT);
            thread::sleep(Duration::from_millis(1));
        }
        let all = server.stop();
        assert!(!all.iter().any(|line| line.contains("expire")), "logged twice: {all:?}");
        assert_eq!(all.is_empty(), !is_logged);
    }
}

#[test]
fn a_client_that_breaks_the_protocol_is_a_warning() {
    let broken: [fn(&UnixStream); 4] = [
        |client| wire::send(client, &[255; 6], &[]).unwrap(),
        |client| wire::send(client, &[0, 0, 0, 1, 255, 255], &[]).unwrap(),
        // A descriptor is announced, but not sent.
        |client| {
            wire::send(client, &wire::frame(&store_request(b"a", wire::never()), 1), &[]).unwrap()
        },
        |client| wire::send(client, &wire::frame(b"L", 0), &[memfd().as_fd()]).unwrap(),
    ];
    for (at, broken) in broken.iter().enumerate() {
        for option in ["-v2", "-v1", "-v0"] {
            let server = Server::open(Ours, &[option]);
            let client = server.connect();
            broken(&client);
            assert_disconnects(&client);
            let line = warning("disconnect: Protocol error");
            let expected = match option {
                "-v2" => vec![info("connect"), line],
                "-v1" => vec![line],
                _ => vec![],
            };
            assert_eq!(server.stop(), expected, "{at} {option}");
        }
    }
}

#[test]
fn a_client_that_is_silent_in_the_middle_of_a_request_is_a_warning() {
    let begin: [fn(&UnixStream); 2] = [
        |client| wire::send(client, &[0], &[]).unwrap(),
        |client| assert_eq!(status(client, b"!\0\0\0\x01", &[]), 0),
    ];
    for (at, begin) in begin.iter().enumerate() {
        for option in ["-v2", "-v1", "-v0"] {
            let server = Server::open(Ours, &[option, "-t100"]);
            let client = server.connect();
            begin(&client);
            assert_disconnects(&client);
            let line = warning("disconnect: Connection timed out");
            let mut expected = match option {
                "-v2" => vec![info("connect"), line],
                "-v1" => vec![line],
                _ => vec![],
            };
            if at == 1 && option == "-v2" {
                expected.insert(1, info("set dump"));
            }
            assert_eq!(server.stop(), expected, "{at} {option}");
        }
    }
}

#[test]
fn the_longest_identifiers_make_one_line() {
    for byte in [b'x', 1, b'\n', b'\\', 255] {
        let server = Server::open(Ours, &["-v2"]);
        let client = server.connect();
        let id = [byte; 255];
        assert_eq!(put(&client, &id), 0);
        assert_eq!(put(&client, &id), 16);
        let quoted = match byte {
            b'x' => "x",
            1 => "\\0x01",
            b'\n' => "\\n",
            b'\\' => "\\\\",
            _ => "\\0xff",
        };
        let quoted = quoted.repeat(255);
        assert_eq!(server.line(), info("connect"));
        assert_eq!(server.line(), info(&format!("store {quoted}")));
        assert_eq!(server.line(), info(&format!("store {quoted}: Device or resource busy")));
    }
}

#[test]
fn messages_of_fdholder_daemon_begin_with_fdholderd() {
    let daemon_dir = DaemonDir::open();
    let mut command = daemon_dir.daemon(&["-v2"]);
    let server = Server::start(daemon_dir, &mut command);
    let client = server.connect();
    assert_eq!(server.line(), info("connect"));
    drop(client);
    assert_eq!(server.line(), info("disconnect"));
}

#[test]
fn lines_about_several_clients_do_not_mix() {
    let server = Server::open(Ours, &["-v2"]);
    let path = server.daemon_dir.socket();
    let workers = (0..8).map(|worker| {
        let path = path.clone();
        thread::spawn(move || {
            for round in 0..50 {
                let client = connect(&path);
                let id = format!("{worker}-{round}");
                assert_eq!(put(&client, id.as_bytes()), 0);
            }
        })
    });
    workers.collect::<Vec<_>>().into_iter().for_each(|worker| worker.join().unwrap());
    let mut expected = Vec::new();
    for worker in 0..8 {
        for round in 0..50 {
            expected.push(info("connect"));
            expected.push(info(&format!("store {worker}-{round}")));
            expected.push(info("disconnect"));
        }
    }
    // The daemon is stopped only after all expected lines, since it must see the last disconnect first.
    let mut all: Vec<String> = expected.iter().map(|_| server.line()).collect();
    assert_eq!(server.stop(), [""; 0]);
    all.sort();
    expected.sort();
    assert_eq!(all, expected);
}
