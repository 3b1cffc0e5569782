//! How the daemon ends: SIGTERM lets it finish what is under way, and nothing else.

use crate::kit::daemon::Generation::{self, Ours};
use crate::kit::fake::things;
use crate::kit::server::{Server, hangs_up, status};
use crate::kit::wire::{self, Held, retrieve_request, set_dump_request, store_request};
use crate::kit::{make_room, memfd};
use rustix::process::Signal;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// `EAGAIN`, the answer of a set dump that wants more.
const AGAIN: i32 = 11;

/// Opens a set dump of so many entries.
fn open_dump(client: &UnixStream, count: usize) {
    assert_eq!(status(client, &set_dump_request(count), &[]), 0);
}

/// Sends a frame of a set dump that has one entry.
fn send_one(client: &UnixStream, id: &str) -> i32 {
    let held = &things(1, 5)[0];
    let entry = wire::entry(id.as_bytes(), held.expiry);
    status(client, &[b".", &entry[..]].concat(), &[held.fd.as_fd()])
}

/// Sends SIGTERM, and returns once it has been noticed: an idle client is disconnected.
fn terminate(server: &Server) {
    let idle = server.connect();
    assert_eq!(status(&idle, b"L", &[]), 0);
    server.signal(Signal::TERM);
    hangs_up(&idle);
}

/// Checks that the daemon has ended, well and in silence.
fn ends(server: Server) {
    assert_eq!(server.end(), (0, vec![]));
}

/// Checks that nothing has come in yet.
fn is_silent(stream: &UnixStream) {
    stream.set_nonblocking(true).unwrap();
    let error = wire::receive(stream, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
}

#[test]
fn idle_clients_are_disconnected_and_it_exits() {
    for generation in Generation::DAEMONS {
        for count in [0, 1, 16] {
            let server = Server::open(generation, &[]);
            let clients: Vec<_> = (0..count).map(|_| server.connect()).collect();
            for client in &clients {
                assert_eq!(status(client, b"L", &[]), 0);
            }
            server.signal(Signal::TERM);
            clients.iter().for_each(hangs_up);
            let (code, lines) = server.end();
            // Those of C have a code of their own for idle clients.
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
    // It may connect as long as the socket is there, but nobody listens.
    let late = server.connect();
    wire::send_frame(&late, b"L", &[]).unwrap();
    assert_eq!(send_one(&client, "b"), AGAIN);
    is_silent(&late);
    assert!(server.is_running());
    assert_eq!(send_one(&client, "c"), 0);
    hangs_up(&client);
    hangs_up(&late);
    ends(server);
}

#[test]
fn a_set_dump_that_is_refused_or_given_up_is_finished_too() {
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
        hangs_up(&client);
        ends(server);
    }
}

#[test]
fn half_a_request_may_be_finished() {
    let whole = wire::frame(b"L", 0);
    for at in 1..whole.len() {
        let server = Server::open(Ours, &[]);
        let client = server.connect();
        wire::send(&client, &whole[..at], &[]).unwrap();
        terminate(&server);
        is_silent(&client);
        wire::send(&client, &whole[at..], &[]).unwrap();
        assert_eq!(wire::receive_frame(&client).unwrap().0, b"\0\0\0\0\0");
        hangs_up(&client);
        ends(server);
    }
    // One with a descriptor, which has come with the first byte.
    let server = Server::open(Ours, &[]);
    let client = server.connect();
    let whole = wire::frame(&store_request(b"it", wire::never()), 1);
    wire::send(&client, &whole[..1], &[memfd().as_fd()]).unwrap();
    terminate(&server);
    wire::send(&client, &whole[1..], &[]).unwrap();
    assert_eq!(wire::receive_frame(&client).unwrap().0, b"\0");
    hangs_up(&client);
    ends(server);
}

#[test]
fn a_slow_reader_gets_its_whole_dump() {
    make_room();
    // More than fits into the buffer of a socket.
    let all = things(2000, 255);
    let server = Server::open(Ours, &["-n2000"]);
    let path = server.place.socket();
    wire::set_dump(&path, &all).unwrap();
    let client = server.connect();
    wire::send_frame(&client, b"?", &[]).unwrap();
    // As soon as the first byte is there it has been asked for.
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
    hangs_up(&client);
    ends(server);
}

#[test]
fn a_slow_reader_of_a_long_list_gets_all_of_it() {
    let server = Server::open(Ours, &["-n2000"]);
    wire::set_dump(&server.place.socket(), &things(2000, 255)).unwrap();
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
    hangs_up(&client);
    ends(server);
}

#[test]
fn requests_that_arrived_before_the_signal_are_answered() {
    let server = Server::open(Ours, &[]);
    let clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &clients {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    // While it cannot look, both happen, the request first.
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
        hangs_up(client);
    }
    ends(server);
}

/// Sends a byte of a request again and again until the daemon has hung up: never silent, and never
/// done.
fn drip(client: &UnixStream) {
    let request = wire::frame(&vec![b'.'; 60_000], 253);
    let fds: Vec<_> = (0..253).map(|_| memfd()).collect();
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    for (at, byte) in request.iter().enumerate() {
        if wire::send(client, &[*byte], if at == 0 { &fds } else { &[] }).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("it is not hung up on");
}

#[test]
fn it_waits_no_longer_than_it_was_told() {
    for (option, limit) in [("-T1", 1), ("-T400", 400), ("-T2500", 2500)] {
        let server = Server::open(Ours, &[option]);
        let client = server.connect();
        open_dump(&client, 253);
        let dripping = thread::spawn(move || drip(&client));
        let begun = Instant::now();
        terminate(&server);
        dripping.join().unwrap();
        ends(server);
        let (spent, limit) = (begun.elapsed(), Duration::from_millis(limit));
        assert!(limit <= spent && spent < limit + Duration::from_secs(20), "{option}: {spent:?}");
    }
}

#[test]
fn without_a_limit_it_waits_for_what_moves_on() {
    for options in [&[][..], &["-T0"], &["-T", "4294967295"]] {
        let mut server = Server::open(Ours, options);
        let (half, dump) = (server.connect(), server.connect());
        open_dump(&dump, 20);
        let request = wire::frame(&store_request(b"half", wire::never()), 1);
        wire::send(&half, &request[..1], &[memfd().as_fd()]).unwrap();
        terminate(&server);
        // Twice as long as who is silent is waited for.
        for (at, byte) in request[1..20].iter().enumerate() {
            thread::sleep(Duration::from_millis(100));
            wire::send(&half, &[*byte], &[]).unwrap();
            assert_eq!(send_one(&dump, &format!("{at}")), AGAIN, "{options:?}");
        }
        assert!(server.is_running(), "{options:?}");
        wire::send(&half, &request[20..], &[]).unwrap();
        assert_eq!(wire::receive_frame(&half).unwrap().0, b"\0");
        assert_eq!(send_one(&dump, "last"), 0);
        hangs_up(&half);
        hangs_up(&dump);
        ends(server);
    }
}

#[test]
fn who_is_silent_is_not_waited_for() {
    make_room();
    let begin: [fn(&Server, &UnixStream); 6] = [
        |_, client| wire::send(client, &[0], &[]).unwrap(),
        |_, client| wire::send(client, &wire::frame(b"Lx", 0)[..7], &[]).unwrap(),
        |_, client| {
            // Its own end of the connection, so that it is never closed.
            let request = wire::frame(&store_request(b"it", wire::never()), 1);
            wire::send(client, &request[..9], &[client.as_fd()]).unwrap();
        },
        |_, client| open_dump(client, 2),
        |_, client| {
            open_dump(client, 2);
            assert_eq!(send_one(client, "it"), AGAIN);
        },
        |server, client| {
            wire::set_dump(&server.place.socket(), &things(900, 255)).unwrap();
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
fn who_has_just_come_may_still_ask() {
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
        hangs_up(client);
    }
    // And is not waited for long.
    hangs_up(&clients[11]);
    ends(server);
}

#[test]
fn the_limit_of_a_silent_client_applies_to_the_end() {
    let server = Server::open(Ours, &["-t300", "-v0"]);
    let client = server.connect();
    open_dump(&client, 1);
    terminate(&server);
    hangs_up(&client);
    ends(server);
}

#[test]
fn more_signals_change_nothing() {
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
    hangs_up(&client);
    ends(server);
}

#[test]
fn a_second_signal_does_not_begin_the_time_anew() {
    let limit = Duration::from_secs(3);
    let server = Server::open(Ours, &["-T3000"]);
    let client = server.connect();
    open_dump(&client, 253);
    let dripping = thread::spawn(move || drip(&client));
    let begun = Instant::now();
    terminate(&server);
    thread::sleep(Duration::from_secs(2));
    server.signal(Signal::TERM);
    dripping.join().unwrap();
    ends(server);
    let spent = begun.elapsed();
    assert!(limit <= spent && spent < limit + Duration::from_millis(1900), "{spent:?}");
}

#[test]
fn a_full_house_is_no_obstacle() {
    // With no room for others, it does not look at its socket.
    let server = Server::open(Ours, &["-c1"]);
    let client = server.connect();
    open_dump(&client, 1);
    let waiting = server.connect();
    server.signal(Signal::TERM);
    assert_eq!(send_one(&client, "a"), 0);
    hangs_up(&client);
    hangs_up(&waiting);
    ends(server);
}

#[test]
fn the_daemon_that_binds_ends_as_well() {
    let place = crate::kit::server::Place::open();
    let mut command = place.daemon(&[]);
    let server = Server::start(place, &mut command);
    terminate(&server);
    ends(server);
}
