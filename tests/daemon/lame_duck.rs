//! The end of the daemon: after SIGTERM it finishes the requests and set dumps that have begun, and starts
//! nothing new.

use crate::kit::daemon::Generation::{self, Ours};
use crate::kit::fake::files_to_hold;
use crate::kit::server::{Server, assert_disconnects, status};
use crate::kit::wire::{self, Held, retrieve_request, set_dump_request, store_request};
use crate::kit::{memfd, raise_open_file_limit};
use rustix::process::Signal;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// `EAGAIN`, the answer to a frame of a set dump when more frames are expected.
const AGAIN: i32 = 11;

/// Opens a set dump of `count` entries.
fn open_dump(client: &UnixStream, count: usize) {
    assert_eq!(status(client, &set_dump_request(count), &[]), 0);
}

/// Sends a frame of a set dump with one entry.
fn send_one(client: &UnixStream, id: &str) -> i32 {
    let held = &files_to_hold(1, 5)[0];
    let entry = wire::entry(id.as_bytes(), held.expiry);
    status(client, &[b".", &entry[..]].concat(), &[held.fd.as_fd()])
}

/// Sends SIGTERM, and waits until the daemon has noticed it, which it shows by disconnecting an idle client.
fn terminate(server: &Server) {
    let idle = server.connect();
    assert_eq!(status(&idle, b"L", &[]), 0);
    server.signal(Signal::TERM);
    assert_disconnects(&idle);
}

/// Waits for the end of the daemon. The exit code must be 0, without a message.
fn assert_ends(server: Server) {
    assert_eq!(server.end(), (0, vec![]));
}

/// Checks that nothing has arrived yet.
fn assert_nothing_received(stream: &UnixStream) {
    stream.set_nonblocking(true).unwrap();
    let error = wire::receive(stream, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
}

#[test]
fn idle_clients_are_disconnected_and_the_daemon_exits() {
    for generation in Generation::DAEMONS {
        for count in [0, 1, 16] {
            let server = Server::open(generation, &[]);
            let clients: Vec<_> = (0..count).map(|_| server.connect()).collect();
            for client in &clients {
                assert_eq!(status(client, b"L", &[]), 0);
            }
            server.signal(Signal::TERM);
            clients.iter().for_each(assert_disconnects);
            let (code, lines) = server.end();
            // The C daemons exit 2 if there were idle clients.
            assert!(code == 0 || generation != Ours && code == 2, "{generation:?} {count}: {code}");
            assert_eq!(lines, [""; 0], "{generation:?} {count}");
        }
    }
}

#[test]
fn an_open_set_dump_may_be_finished_and_new_clients_are_not_served() {
    let mut server = Server::open(Ours, &[]);
    let client = server.connect();
    open_dump(&client, 3);
    assert_eq!(send_one(&client, "a"), AGAIN);
    terminate(&server);
    // A client can connect while the socket exists, but the daemon does not accept it.
    let late = server.connect();
    wire::send_frame(&late, b"L", &[]).unwrap();
    assert_eq!(send_one(&client, "b"), AGAIN);
    assert_nothing_received(&late);
    assert!(server.is_running());
    assert_eq!(send_one(&client, "c"), 0);
    assert_disconnects(&client);
    assert_disconnects(&late);
    assert_ends(server);
}

#[test]
fn a_set_dump_that_fails_is_finished_too() {
    let finish: [fn(&UnixStream); 3] = [
        |client| assert_eq!(status(client, b".x", &[]), 71),
        |client| assert_eq!(status(client, b"?x", &[]), 71),
        |client| client.shutdown(std::net::Shutdown::Both).unwrap(),
    ];
    for finish in &finish {
        let server = Server::open(Ours, &["-v0"]);
        let client = server.connect();
        open_dump(&client, 3);
        terminate(&server);
        finish(&client);
        assert_disconnects(&client);
        assert_ends(server);
    }
}

#[test]
fn an_incomplete_request_may_be_finished() {
    let whole = wire::frame(b"L", 0);
    for at in 1..whole.len() {
        let server = Server::open(Ours, &[]);
        let client = server.connect();
        wire::send(&client, &whole[..at], &[]).unwrap();
        terminate(&server);
        assert_nothing_received(&client);
        wire::send(&client, &whole[at..], &[]).unwrap();
        assert_eq!(wire::receive_frame(&client).unwrap().0, b"\0\0\0\0\0");
        assert_disconnects(&client);
        assert_ends(server);
    }
    // A request whose descriptor arrived with the first byte.
    let server = Server::open(Ours, &[]);
    let client = server.connect();
    let whole = wire::frame(&store_request(b"it", wire::never()), 1);
    wire::send(&client, &whole[..1], &[memfd().as_fd()]).unwrap();
    terminate(&server);
    wire::send(&client, &whole[1..], &[]).unwrap();
    assert_eq!(wire::receive_frame(&client).unwrap().0, b"\0");
    assert_disconnects(&client);
    assert_ends(server);
}

#[test]
fn a_slow_reader_gets_its_whole_dump() {
    raise_open_file_limit();
    // More than fits into the buffer of a socket.
    let all = files_to_hold(2000, 255);
    let server = Server::open(Ours, &["-n2000"]);
    let path = server.daemon_dir.socket();
    wire::set_dump(&path, &all).unwrap();
    let client = server.connect();
    wire::send_frame(&client, b"?", &[]).unwrap();
    // When the reply has arrived, the daemon has begun the dump.
    let reply = wire::receive_frame(&client).unwrap().0;
    terminate(&server);
    assert_eq!(reply[0], 0);
    let count = u32::from_be_bytes(reply[5..].try_into().unwrap()) as usize;
    let mut found: Vec<Held> = Vec::new();
    while found.len() < count {
        let (payload, fds) = wire::receive_frame(&client).unwrap();
        found.extend(wire::entries(&payload, fds));
    }
    assert!(wire::identities(&found) == wire::identities(&all));
    assert_disconnects(&client);
    assert_ends(server);
}

#[test]
fn a_slow_reader_gets_its_whole_list() {
    let server = Server::open(Ours, &["-n2000"]);
    wire::set_dump(&server.daemon_dir.socket(), &files_to_hold(2000, 255)).unwrap();
    let client = server.connect();
    wire::send_frame(&client, b"L", &[]).unwrap();
    let mut begin = [0; 1];
    assert_eq!(wire::receive(&client, &mut begin).unwrap().0, 1);
    terminate(&server);
    let length = 5 + 2000 * 256;
    let (mut have, mut bytes) = (1, vec![0; 65536]);
    while have < 6 + length {
        let (n, _) = wire::receive(&client, &mut bytes).unwrap();
        assert_ne!(n, 0, "{have} of {length}");
        have += n;
    }
    assert_eq!(have, 6 + length);
    assert_disconnects(&client);
    assert_ends(server);
}

#[test]
fn requests_that_arrived_before_the_signal_are_answered() {
    let server = Server::open(Ours, &[]);
    let clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &clients {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    // While the daemon is stopped, the requests and then the signal arrive.
    server.signal(Signal::STOP);
    let file = memfd();
    for (at, client) in clients.iter().enumerate() {
        let id = [b'a' + at as u8];
        wire::send_frame(client, &store_request(&id, wire::never()), &[file.as_fd()]).unwrap();
        wire::send_frame(client, &retrieve_request(&id, 0), &[]).unwrap();
        wire::send_frame(client, b"L", &[]).unwrap();
    }
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    for client in &clients {
        assert_eq!(wire::receive_frame(client).unwrap().0, b"\0");
        let (reply, fds) = wire::receive_frame(client).unwrap();
        assert_eq!((&reply[..], wire::inode(&fds[0])), (&b"\0"[..], wire::inode(&file)));
        assert_eq!(wire::receive_frame(client).unwrap().0[0], 0);
        assert_disconnects(client);
    }
    assert_ends(server);
}

/// Sends a request byte by byte until the daemon disconnects. This client is never silent, and its request
/// is never complete.
fn send_slowly(client: &UnixStream) {
    let request = wire::frame(&vec![b'.'; 60_000], 253);
    let fds: Vec<_> = (0..253).map(|_| memfd()).collect();
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    for (at, byte) in request.iter().enumerate() {
        if wire::send(client, &[*byte], if at == 0 { &fds } else { &[] }).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("the daemon does not disconnect");
}

#[test]
fn the_daemon_ends_when_the_lame_duck_timeout_has_passed() {
    for (option, limit) in [("-T1", 1), ("-T400", 400), ("-T2500", 2500)] {
        let server = Server::open(Ours, &[option]);
        let client = server.connect();
        open_dump(&client, 253);
        let sender = thread::spawn(move || send_slowly(&client));
        let begun = Instant::now();
        terminate(&server);
        sender.join().unwrap();
        assert_ends(server);
        let (spent, limit) = (begun.elapsed(), Duration::from_millis(limit));
        assert!(limit <= spent && spent < limit + Duration::from_secs(20), "{option}: {spent:?}");
    }
}

#[test]
fn without_a_timeout_the_daemon_waits_for_active_clients() {
    for options in [&[][..], &["-T0"], &["-T", "4294967295"]] {
        let mut server = Server::open(Ours, options);
        let (half, dump) = (server.connect(), server.connect());
        open_dump(&dump, 20);
        let request = wire::frame(&store_request(b"half", wire::never()), 1);
        wire::send(&half, &request[..1], &[memfd().as_fd()]).unwrap();
        terminate(&server);
        // This takes twice as long as the timeout for silent clients.
        for (at, byte) in request[1..20].iter().enumerate() {
            thread::sleep(Duration::from_millis(100));
            wire::send(&half, &[*byte], &[]).unwrap();
            assert_eq!(send_one(&dump, &format!("{at}")), AGAIN, "{options:?}");
        }
        assert!(server.is_running(), "{options:?}");
        wire::send(&half, &request[20..], &[]).unwrap();
        assert_eq!(wire::receive_frame(&half).unwrap().0, b"\0");
        assert_eq!(send_one(&dump, "last"), 0);
        assert_disconnects(&half);
        assert_disconnects(&dump);
        assert_ends(server);
    }
}

#[test]
fn a_silent_client_is_disconnected_after_a_second() {
    raise_open_file_limit();
    let begin: [fn(&Server, &UnixStream); 6] = [
        |_, client| wire::send(client, &[0], &[]).unwrap(),
        |_, client| wire::send(client, &wire::frame(b"Lx", 0)[..7], &[]).unwrap(),
        |_, client| {
            // The client sends its own end, so that the connection is never closed on its side.
            let request = wire::frame(&store_request(b"it", wire::never()), 1);
            wire::send(client, &request[..9], &[client.as_fd()]).unwrap();
        },
        |_, client| open_dump(client, 2),
        |_, client| {
            open_dump(client, 2);
            assert_eq!(send_one(client, "it"), AGAIN);
        },
        |server, client| {
            wire::set_dump(&server.daemon_dir.socket(), &files_to_hold(900, 255)).unwrap();
            wire::send_frame(client, b"?", &[]).unwrap();
            assert_eq!(wire::receive_frame(client).unwrap().0[0], 0);
        },
    ];
    for (at, begin) in begin.iter().enumerate() {
        for options in [&["-v1"][..], &["-v1", "-T60000"], &["-v1", "-t60000"]] {
            let server = Server::open(Ours, options);
            let client = server.connect();
            begin(&server, &client);
            let begun = Instant::now();
            terminate(&server);
            let (code, lines) = server.end();
            let spent = begun.elapsed();
            let line = "disconnect: Connection timed out";
            assert!(code == 0 && lines.len() == 1 && lines[0].ends_with(line), "{at}: {lines:?}");
            assert!(spent >= Duration::from_secs(1), "{at}: {spent:?}");
            assert!(spent < Duration::from_secs(20), "{at}: {spent:?}");
        }
    }
}

#[test]
fn a_client_that_has_just_connected_may_send_a_request() {
    let server = Server::open(Ours, &["-c16"]);
    server.signal(Signal::STOP);
    let clients: Vec<_> = (0..12).map(|_| server.connect()).collect();
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    thread::sleep(Duration::from_millis(200));
    for client in &clients[..11] {
        wire::send_frame(client, b"L", &[]).unwrap();
    }
    for client in &clients[..11] {
        assert_eq!(wire::receive_frame(client).unwrap().0, b"\0\0\0\0\0");
        assert_disconnects(client);
    }
    // The daemon does not wait long for the one that sends no request.
    assert_disconnects(&clients[11]);
    assert_ends(server);
}

#[test]
fn the_client_timeout_applies_to_a_lame_duck_too() {
    let server = Server::open(Ours, &["-t300", "-v0"]);
    let client = server.connect();
    open_dump(&client, 1);
    terminate(&server);
    assert_disconnects(&client);
    assert_ends(server);
}

#[test]
fn further_signals_change_nothing() {
    let mut server = Server::open(Ours, &[]);
    let client = server.connect();
    open_dump(&client, 2);
    terminate(&server);
    for signal in [Signal::TERM, Signal::HUP, Signal::TERM] {
        server.signal(signal);
    }
    assert_eq!(send_one(&client, "a"), AGAIN);
    server.signal(Signal::TERM);
    assert!(server.is_running());
    assert_eq!(send_one(&client, "b"), 0);
    assert_disconnects(&client);
    assert_ends(server);
}

#[test]
fn a_second_signal_does_not_restart_the_lame_duck_timeout() {
    let limit = Duration::from_secs(5);
    let server = Server::open(Ours, &["-T5000"]);
    let client = server.connect();
    open_dump(&client, 253);
    let sender = thread::spawn(move || send_slowly(&client));
    let begun = Instant::now();
    terminate(&server);
    thread::sleep(Duration::from_secs(4));
    server.signal(Signal::TERM);
    sender.join().unwrap();
    assert_ends(server);
    let spent = begun.elapsed();
    // With a restart it would take 9 seconds.
    assert!(limit <= spent && spent < Duration::from_millis(8500), "{spent:?}");
}

#[test]
fn a_full_daemon_ends_too() {
    // A full daemon does not watch its listening socket.
    let server = Server::open(Ours, &["-c1"]);
    let client = server.connect();
    open_dump(&client, 1);
    let waiting = server.connect();
    server.signal(Signal::TERM);
    assert_eq!(send_one(&client, "a"), 0);
    assert_disconnects(&client);
    assert_disconnects(&waiting);
    assert_ends(server);
}

#[test]
fn fdholder_daemon_becomes_a_lame_duck_too() {
    let daemon_dir = crate::kit::server::DaemonDir::open();
    let mut command = daemon_dir.daemon(&[]);
    let server = Server::start(daemon_dir, &mut command);
    terminate(&server);
    assert_ends(server);
}
