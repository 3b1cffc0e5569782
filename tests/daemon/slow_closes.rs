//! Closing a descriptor can take as long as its peer likes. The daemon never waits for that, and closes every
//! descriptor, whatever kind of descriptor clients send and whatever the reason to close it is.

use crate::kit::daemon::Generation::Ours;
use crate::kit::daemon::LIST;
use crate::kit::process::{descriptors, wait_until};
use crate::kit::server::{DaemonDir, Server, assert_disconnects, status};
use crate::kit::strace::{calls, strace_detached};
use crate::kit::tool::TIMEOUT;
use crate::kit::wire::{
    self, FRAME_ENTRIES, Held, delete_request, entry, expiry_in, store_request,
};
use crate::kit::{memfd, raise_open_file_limit};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longer than any test waits.
const LINGER: Duration = Duration::from_secs(600);

/// A socket whose closing takes as long as its peer likes, and the peer.
fn lingering() -> (OwnedFd, impl Sized) {
    crate::kit::lingering(LINGER)
}

/// The children of the daemon that are running, or that it has not waited for.
fn children(server: &Server) -> Vec<i32> {
    let path = format!("/proc/{0}/task/{0}/children", server.pid());
    let children = fs::read_to_string(path).unwrap();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// A way in which the daemon has to close a descriptor: a name, and what the client does. The client keeps no
/// copy of the descriptor. The stream that it returns stays open until the descriptor is closed.
type Way = (&'static str, fn(&Server, UnixStream, OwnedFd) -> Option<UnixStream>);

/// Sends a frame while the daemon is stopped, and closes its descriptors on this side.
fn send_while_stopped(server: &Server, client: &UnixStream, payload: &[u8], fds: Vec<OwnedFd>) {
    server.signal(Signal::STOP);
    let borrowed: Vec<BorrowedFd> = fds.iter().map(|fd| fd.as_fd()).collect();
    wire::send_frame(client, payload, &borrowed).unwrap();
    drop(fds);
    server.signal(Signal::CONT);
}

/// Stores a descriptor as `it` with this expiry, and closes it on this side.
fn put(server: &Server, client: &UnixStream, expiry: [u8; 12], fd: OwnedFd) {
    send_while_stopped(server, client, &store_request(b"it", expiry), vec![fd]);
    assert_eq!(wire::receive_frame(client).unwrap().0, [0]);
}

/// Waits until the daemon disconnects the client.
fn disconnected(client: UnixStream) -> Option<UnixStream> {
    assert_disconnects(&client);
    None
}

/// All ways. A retrieve that deletes is not among them, because then the client holds the descriptor.
const WAYS: [Way; 15] = [
    ("a request that is malformed", |server, client, fd| {
        send_while_stopped(server, &client, b"L", vec![fd]);
        assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
        Some(client)
    }),
    ("a request that its header rules out", |server, client, fd| {
        let request = wire::frame(b"Long", 1);
        let (begin, rest) = request.split_at(request.len() - 3);
        server.signal(Signal::STOP);
        wire::send(&client, begin, &[fd.as_fd()]).unwrap();
        drop(fd);
        server.signal(Signal::CONT);
        crate::kit::process::wait_until_read(&client);
        wire::send(&client, rest, &[]).unwrap();
        assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
        Some(client)
    }),
    ("more descriptors than a request needs", |server, client, fd| {
        let request = store_request(b"a", wire::never());
        send_while_stopped(server, &client, &request, vec![memfd(), fd]);
        assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
        Some(client)
    }),
    ("a store of an identifier that is held", |server, client, fd| {
        put(server, &client, wire::never(), memfd());
        send_while_stopped(server, &client, &store_request(b"it", wire::never()), vec![fd]);
        assert_eq!(wire::receive_frame(&client).unwrap().0, [16]);
        assert_eq!(status(&client, &delete_request(b"it"), &[]), 0);
        Some(client)
    }),
    ("another number of descriptors than announced", |server, client, fd| {
        server.signal(Signal::STOP);
        wire::send(&client, &wire::frame(b"L", 2), &[fd.as_fd()]).unwrap();
        drop(fd);
        server.signal(Signal::CONT);
        disconnected(client)
    }),
    ("a part of a request, and the client disconnects", |server, client, fd| {
        server.signal(Signal::STOP);
        wire::send(&client, &[0], &[fd.as_fd()]).unwrap();
        drop((fd, client));
        server.signal(Signal::CONT);
        None
    }),
    ("a part of a request, and a timeout", |server, client, fd| {
        server.signal(Signal::STOP);
        wire::send(&client, &[0], &[fd.as_fd()]).unwrap();
        drop(fd);
        server.signal(Signal::CONT);
        disconnected(client)
    }),
    ("a descriptor after the first byte of a request", |server, client, fd| {
        let request = wire::frame(b"L", 0);
        wire::send(&client, &request[..3], &[]).unwrap();
        crate::kit::process::wait_until_read(&client);
        server.signal(Signal::STOP);
        wire::send(&client, &request[3..], &[fd.as_fd()]).unwrap();
        drop(fd);
        server.signal(Signal::CONT);
        disconnected(client)
    }),
    ("a descriptor behind a request that ends the connection", |server, client, fd| {
        server.signal(Signal::STOP);
        wire::send(&client, &[255; 6], &[memfd().as_fd()]).unwrap();
        wire::send(&client, &[0], &[fd.as_fd()]).unwrap();
        drop(fd);
        server.signal(Signal::CONT);
        disconnected(client)
    }),
    ("an urgent byte", |server, client, fd| {
        server.signal(Signal::STOP);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [fd.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        let (bytes, flags) = ([IoSlice::new(&[0])], SendFlags::OOB);
        let sent = sendmsg(&client, &bytes, &mut control, flags);
        drop(fd);
        // Unix sockets have urgent bytes since Linux 5.15.
        if sent.is_ok() {
            wire::send(&client, &[0], &[]).unwrap();
        }
        server.signal(Signal::CONT);
        drop(client);
        None
    }),
    ("a deletion", |server, client, fd| {
        put(server, &client, wire::never(), fd);
        assert_eq!(status(&client, &delete_request(b"it"), &[]), 0);
        Some(client)
    }),
    ("an expiry", |server, client, fd| {
        put(server, &client, expiry_in(Duration::from_millis(50)), fd);
        wait_until(|| "it does not expire".into(), || wire::list(&client).unwrap().is_empty());
        Some(client)
    }),
    ("a replacement", |server, client, fd| {
        put(server, &client, wire::never(), fd);
        let held = [Held::new("it", wire::never(), memfd())];
        wire::set_dump(&server.daemon_dir.socket(), &held).unwrap();
        assert_eq!(status(&client, &delete_request(b"it"), &[]), 0);
        Some(client)
    }),
    ("a frame of a set dump that is refused", |server, client, fd| {
        assert_eq!(status(&client, &wire::set_dump_request(1), &[]), 0);
        let entries = [entry(b"a", wire::never()), entry(b"b", wire::never())].concat();
        send_while_stopped(server, &client, &[b".", &entries[..]].concat(), vec![memfd(), fd]);
        assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
        Some(client)
    }),
    ("an unread message in a socket that is deleted", |server, client, fd| {
        let (near, far) = UnixStream::pair().unwrap();
        wire::send(&near, &[0], &[fd.as_fd()]).unwrap();
        drop((near, fd));
        put(server, &client, wire::never(), far.into());
        assert_eq!(status(&client, &delete_request(b"it"), &[]), 0);
        Some(client)
    }),
];

#[test]
fn a_slow_close_delays_no_client_whatever_its_reason() {
    let mut server = Server::open(Ours, &["-v0", "-t100"]);
    let client = server.connect();
    assert_eq!(status(&client, b"L", &[]), 0);
    let usual = descriptors(server.pid());
    for (name, way) in WAYS {
        let (fd, _peer) = lingering();
        let client = server.connect();
        assert_eq!(status(&client, b"L", &[]), 0);
        eprintln!("{name}");
        drop(way(&server, client, fd));
        server.assert_serves();
        let pid = server.pid();
        let state =
            || format!("{name}: {} open, {} children", descriptors(pid), children(&server).len());
        wait_until(state, || descriptors(pid) == usual && children(&server).is_empty());
    }
    drop(client);
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_slow_close_of_a_descriptor_from_a_client_without_a_rule_delays_no_client() {
    let daemon_dir = DaemonDir::new();
    let mut command = daemon_dir.fdholderd(Ours, &["-v0"]);
    let server = Server::start(daemon_dir, &mut command);
    let usual = descriptors(server.pid());
    let mut peers = Vec::new();
    // There are more descriptors than closers.
    for _ in 0..40 {
        let (fd, peer) = lingering();
        server.signal(Signal::STOP);
        let client = server.connect();
        wire::send(&client, &[0], &[fd.as_fd()]).unwrap();
        drop(fd);
        server.signal(Signal::CONT);
        assert_disconnects(&client);
        peers.push(peer);
    }
    assert_disconnects(&server.connect());
    let pid = server.pid();
    let state = || format!("{} open, {} children", descriptors(pid), children(&server).len());
    wait_until(state, || descriptors(pid) == usual && children(&server).is_empty());
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_slow_close_of_a_descriptor_from_a_client_without_the_right_delays_no_client() {
    let daemon_dir = DaemonDir::new();
    daemon_dir.allow("uid/default", &[(LIST, "\n")]);
    let mut command = daemon_dir.fdholderd(Ours, &["-v0"]);
    let server = Server::start(daemon_dir, &mut command);
    let (client, other) = (server.connect(), server.connect());
    let (fd, _peer) = lingering();
    send_while_stopped(&server, &client, &store_request(b"it", wire::never()), vec![fd]);
    assert_eq!(wire::receive_frame(&client).unwrap().0, [1]);
    assert_eq!(status(&other, b"L", &[]), 0);
    drop((client, other));
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn two_messages_full_of_slow_sockets_delay_no_client() {
    raise_open_file_limit();
    let mut server = Server::open(Ours, &["-v0"]);
    let usual = descriptors(server.pid());
    let (many, _peers): (Vec<_>, Vec<_>) = (0..FRAME_ENTRIES).map(|_| lingering()).unzip();
    for fds in [many, (0..FRAME_ENTRIES).map(|_| lingering().0).collect()] {
        let client = server.connect();
        assert_eq!(status(&client, b"L", &[]), 0);
        send_while_stopped(&server, &client, b"L", fds);
        assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
        server.assert_serves();
    }
    let pid = server.pid();
    let state = || format!("{} open, {} children", descriptors(pid), children(&server).len());
    wait_until(state, || descriptors(pid) == usual && children(&server).is_empty());
}

#[test]
fn slow_closes_do_not_delay_the_end_of_the_daemon() {
    let server = Server::open(Ours, &["-v0", "-T100"]);
    let (mut peers, client) = (Vec::new(), server.connect());
    // One slow socket is held,
    let (fd, peer) = lingering();
    peers.push(peer);
    put(&server, &client, wire::never(), fd);
    // one is being closed,
    let (fd, peer) = lingering();
    peers.push(peer);
    send_while_stopped(&server, &client, b"L", vec![fd]);
    assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
    // one is in a part of a request,
    let (fd, peer) = lingering();
    peers.push(peer);
    wire::send(&client, &[0], &[fd.as_fd()]).unwrap();
    drop(fd);
    // and one is with a client that the daemon does not accept any more.
    server.signal(Signal::TERM);
    let late = server.connect();
    let (fd, peer) = lingering();
    peers.push(peer);
    wire::send(&late, &[0], &[fd.as_fd()]).unwrap();
    drop(fd);
    assert_eq!(server.end(), (0, vec![]));
    assert_disconnects(&client);
    assert_disconnects(&late);
}

/// A daemon whose clocks always show the same time, with this limit on open files.
fn with_stopped_clocks(limit: u32) -> Server {
    let daemon_dir = DaemonDir::open();
    let time = [1_000_000_i64, 0].map(i64::to_ne_bytes).concat();
    let bytes: String = time.iter().map(|byte| format!("{byte:02x}")).collect();
    let answer = [format!("clock_gettime:poke_exit=@arg2={bytes}")];
    let strace = strace_detached(&daemon_dir.child("trace"), &answer);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {limit}; exec strace \"$@\""), "sh"]);
    command.args(strace.get_args()).args(["s6-fdholder-daemon", "-1", "-v0", "-n20", "-c4", "-i"]);
    command.arg(daemon_dir.rules()).arg(daemon_dir.socket()).stdin(Stdio::null());
    Server::start(daemon_dir, &mut command)
}

/// Stores and deletes `count` sockets, one after the other. Returns their other ends.
fn delete_sockets(server: &Server, count: usize) -> Vec<UnixStream> {
    let client = server.connect();
    let mut ends = Vec::new();
    for _ in 0..count {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_read_timeout(Some(TIMEOUT)).unwrap();
        let request = store_request(b"it", wire::never());
        assert_eq!(status(&client, &request, &[far.as_fd()]), 0);
        drop(far);
        assert_eq!(status(&client, &delete_request(b"it"), &[]), 0);
        ends.push(near);
    }
    ends
}

#[test]
fn one_closer_takes_a_batch_of_sockets() {
    let server = with_stopped_clocks(4096);
    let ends = delete_sockets(&server, 300);
    // The first socket is closed at once, the others in batches of 64.
    ends[..257].iter().for_each(assert_disconnects);
    let daemon_dir = server.daemon_dir.clone();
    assert_eq!(server.stop(), [""; 0]);
    ends[257..].iter().for_each(assert_disconnects);
    let calls = calls(&daemon_dir.child("trace"));
    assert_eq!(calls.iter().filter(|call| call.name == "clone").count(), 1 + 4);
}

#[test]
fn a_listening_socket_is_closed_at_once_with_the_sockets_before_it() {
    let server = with_stopped_clocks(4096);
    let waiting = delete_sockets(&server, 2);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, client) = (listener.local_addr().unwrap(), server.connect());
    let request = store_request(b"it", wire::never());
    assert_eq!(status(&client, &request, &[listener.as_fd()]), 0);
    drop(listener);
    assert_eq!(status(&client, &delete_request(b"it"), &[]), 0);
    wait_until(|| format!("{address} is free"), || TcpListener::bind(address).is_ok());
    waiting.iter().for_each(assert_disconnects);
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn sockets_are_closed_at_once_if_descriptors_are_scarce() {
    let server = with_stopped_clocks(64);
    delete_sockets(&server, 100).iter().for_each(assert_disconnects);
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_slow_socket_does_not_delay_others_of_its_batch() {
    let mut server = Server::open(Ours, &["-v0"]);
    let usual = descriptors(server.pid());
    let client = server.connect();
    let (mut ends, mut fds, mut peers) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..30 {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_read_timeout(Some(TIMEOUT)).unwrap();
        ends.push(near);
        fds.push(far.into());
        if number % 10 == 0 {
            let (fd, peer) = lingering();
            fds.push(fd);
            peers.push(peer);
        }
    }
    send_while_stopped(&server, &client, b"L", fds);
    assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
    ends.iter().for_each(assert_disconnects);
    drop(client);
    server.assert_serves();
    let pid = server.pid();
    let state = || format!("{} open, {} children", descriptors(pid), children(&server).len());
    wait_until(state, || descriptors(pid) == usual && children(&server).is_empty());
}

/// A daemon whose closers never end: strace delays each one after its `dup3`. Other calls get these answers.
fn with_stuck_closers(answers: &[String]) -> Server {
    let delay = format!("dup3:delay_exit={}", LINGER.as_micros());
    with_answers(&[&[delay], answers].concat())
}

/// A daemon under strace, with its closers: their calls get these answers. The daemon itself calls `dup3` when
/// it reports that it is ready, so its standard output is closed.
fn with_answers(answers: &[String]) -> Server {
    let daemon_dir = DaemonDir::open();
    let strace = strace_detached(&daemon_dir.child("trace"), answers);
    let listener = UnixListener::bind(daemon_dir.socket()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" >&-", "sh", "strace", "-f"]).args(strace.get_args());
    command
        .args(["s6-fdholderd", "-v0", "-i"])
        .arg(daemon_dir.rules())
        .stdin(OwnedFd::from(listener));
    Server::attempt(daemon_dir, &mut command)
}

/// The strace process of such a daemon. If it is killed, the closers go on.
fn tracer(server: &Server) -> Pid {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap();
    Pid::from_raw(line.trim().parse().unwrap()).unwrap()
}

/// The number of processes that this strace traces.
fn traced(tracer: Pid) -> usize {
    let line = format!("TracerPid:\t{tracer}\n");
    let status = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("status"));
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| status(entry.ok()?).ok());
    all.filter(|status| status.contains(&line)).count()
}

/// A descriptor of a kind for which the daemon cannot know how long closing takes.
fn unknown_kind() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC).unwrap()
}

#[test]
fn closers_that_never_end_delay_no_client() {
    raise_open_file_limit();
    let mut server = with_stuck_closers(&[]);
    let client = server.connect();
    assert_eq!(status(&client, b"L", &[]), 0);
    let usual = descriptors(server.pid());
    // There are more descriptors than closers.
    let many = (0..32).map(|_| unknown_kind()).collect();
    send_while_stopped(&server, &client, b"L", many);
    assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
    server.assert_serves();
    let pid = server.pid();
    // Each closer has taken a descriptor over, and its number in the daemon is free.
    let state = || format!("{} open, {} children", descriptors(pid), children(&server).len());
    wait_until(state, || children(&server).len() == 8 && descriptors(pid) == usual + 32 - 8);
    // Sockets have closers of their own.
    let (near, far) = UnixStream::pair().unwrap();
    put(&server, &client, wire::never(), far.into());
    assert_eq!(status(&client, &delete_request(b"it"), &[]), 0);
    assert_disconnects(&near);
    // When closers end, new ones start.
    kill_process(tracer(&server), Signal::KILL).unwrap();
    wait_until(state, || descriptors(pid) == usual && children(&server).is_empty());
    server.assert_serves();
    assert_eq!(server.stop(), [""; 0]);
}

/// Sends eight sockets that the daemon closes. The result is the other ends.
fn send_sockets(server: &Server, client: &UnixStream) -> Vec<UnixStream> {
    let pairs = [(); 8].map(|()| UnixStream::pair().unwrap());
    let (ends, fds): (Vec<_>, Vec<_>) =
        pairs.into_iter().map(|(near, far)| (near, OwnedFd::from(far))).unzip();
    ends.iter().for_each(|near| near.set_read_timeout(Some(TIMEOUT)).unwrap());
    send_while_stopped(server, client, b"L", fds);
    assert_eq!(wire::receive_frame(client).unwrap().0, [71]);
    ends
}

#[test]
fn what_a_closer_replaces_before_it_is_killed_gets_no_other_closer() {
    // The closer replaces all descriptors while the daemon is about to kill it.
    let answers = ["kill:delay_enter=1000000".into(), "dup3:delay_enter=50000".into()];
    let server = with_answers(&answers);
    let client = server.connect();
    assert_eq!(status(&client, b"L", &[]), 0);
    let usual = descriptors(server.pid());
    send_sockets(&server, &client).iter().for_each(assert_disconnects);
    // The daemon uses their numbers again.
    for number in 0..8 {
        let request = store_request(format!("{number}").as_bytes(), wire::never());
        assert_eq!(status(&client, &request, &[memfd().as_fd()]), 0);
    }
    let pid = server.pid();
    let state = || format!("{} open, {} children", descriptors(pid), children(&server).len());
    wait_until(state, || descriptors(pid) == usual + 8 && children(&server).is_empty());
    let trace = fs::read_to_string(server.daemon_dir.child("trace")).unwrap();
    assert!(trace.contains("SIGKILL"), "{trace}");
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn the_daemon_does_not_close_a_batch_whose_closer_another_process_kills() {
    // The closer gets time in which it is killed.
    let server = with_answers(&["dup3:delay_enter=2000000".into()]);
    let client = server.connect();
    assert_eq!(status(&client, b"L", &[]), 0);
    let (sockets, peers): (Vec<_>, Vec<_>) = [lingering(), lingering()].into_iter().unzip();
    let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    wire::send(&client, &[0], &fds).unwrap();
    drop((sockets, client));
    wait_until(|| "a closer starts".into(), || !children(&server).is_empty());
    for closer in children(&server) {
        kill_process(Pid::from_raw(closer).unwrap(), Signal::KILL).unwrap();
    }
    let other = server.connect();
    other.set_read_timeout(Some(TIMEOUT)).unwrap();
    assert_eq!(status(&other, b"L", &[]), 0);
    wait_until(|| "each gets a closer".into(), || children(&server).len() == 2);
    assert_eq!(status(&other, b"L", &[]), 0);
    drop(peers);
}

#[test]
fn a_closer_that_cannot_be_killed_keeps_its_sockets() {
    let server = with_stuck_closers(&["kill:error=EPERM".into()]);
    let client = server.connect();
    assert_eq!(status(&client, b"L", &[]), 0);
    let usual = descriptors(server.pid());
    let ends = send_sockets(&server, &client);
    assert_disconnects(&ends[0]);
    // Before that many attempts, the daemon could have given the others to other closers.
    let trace = || fs::read_to_string(server.daemon_dir.child("trace")).unwrap();
    wait_until(trace, || trace().matches("SIGKILL").count() > 50);
    assert_eq!(children(&server).len(), 1);
    kill_process(tracer(&server), Signal::KILL).unwrap();
    ends.iter().skip(1).for_each(assert_disconnects);
    let pid = server.pid();
    let state = || format!("{} open, {} children", descriptors(pid), children(&server).len());
    wait_until(state, || descriptors(pid) == usual && children(&server).is_empty());
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_socket_that_never_closes_does_not_delay_others_of_its_batch() {
    // The signal has no effect.
    let server = with_stuck_closers(&["kill:retval=0".into()]);
    let client = server.connect();
    let ends = send_sockets(&server, &client);
    for (number, near) in ends.iter().enumerate() {
        // The daemon leaves the second socket to the closer, which may still take it.
        if number != 1 {
            assert_disconnects(near);
        }
    }
    kill_process(tracer(&server), Signal::KILL).unwrap();
    assert_disconnects(&ends[1]);
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn closers_that_never_end_do_not_delay_the_end_of_the_daemon() {
    let trace = ends_with_stuck_closers(&[]);
    // The same if the kernel does not report at the end that the socket listens.
    let mut number = 0;
    let mut asked = None;
    for line in trace.lines() {
        number += usize::from(line.contains("getsockopt("));
        if line.contains("accept4(") {
            asked = None;
        } else if line.contains("SO_ACCEPTCONN") {
            asked = asked.or(Some(number));
        }
    }
    // Every second `getsockopt` from there on is about it.
    let unreported = format!("getsockopt:error=EPERM:when={}+2", asked.unwrap());
    let trace = ends_with_stuck_closers(&[unreported]);
    assert!(trace.contains("SO_ACCEPTCONN, 0x") && trace.contains("(INJECTED)"), "{trace}");
}

/// Ends such a daemon while one descriptor is being closed and another one is held. Returns its trace.
fn ends_with_stuck_closers(answers: &[String]) -> String {
    let mut server = with_stuck_closers(answers);
    let client = server.connect();
    // The first descriptor is being closed, the second one is held.
    send_while_stopped(&server, &client, b"L", vec![unknown_kind()]);
    assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
    put(&server, &client, wire::never(), unknown_kind());
    wait_until(|| "no closer".into(), || !children(&server).is_empty());
    let tracer = tracer(&server);
    drop(client);
    server.signal(Signal::TERM);
    let path = server.daemon_dir.socket();
    let ended = server.wait();
    // Both are still being closed, but the socket of the daemon refuses clients.
    let refused = UnixStream::connect(path).unwrap_err();
    let closers = traced(tracer);
    kill_process(tracer, Signal::KILL).unwrap();
    assert_eq!((ended, closers), (0, 2));
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    fs::read_to_string(server.daemon_dir.child("trace")).unwrap()
}

#[test]
fn a_file_on_fuseblk_goes_to_a_closer() {
    // The description of a file on fuseblk: a regular file, the device 8:1, no attributes.
    let mut status = [0_u8; 256];
    status[28..30].copy_from_slice(&0o100644_u16.to_ne_bytes());
    status[136..140].copy_from_slice(&8_u32.to_ne_bytes());
    status[140..144].copy_from_slice(&1_u32.to_ne_bytes());
    for (attributes, closers) in [(0_u64, 1), (0x30, 0)] {
        status[56..64].copy_from_slice(&attributes.to_ne_bytes());
        let bytes: String = status.iter().map(|byte| format!("{byte:02x}")).collect();
        let daemon_dir = DaemonDir::open();
        let answer = [format!("statx:poke_exit=@arg5={bytes}")];
        let mut command = strace_detached(&daemon_dir.child("trace"), &answer);
        command.args(["s6-fdholder-daemon", "-1", "-v0", "-i"]).arg(daemon_dir.rules());
        command.arg(daemon_dir.socket()).stdin(Stdio::null());
        let server = Server::start(daemon_dir, &mut command);
        let client = server.connect();
        let file = fs::File::open(server.daemon_dir.rules().join("uid/default/allow")).unwrap();
        wire::send_frame(&client, b"L", &[file.as_fd()]).unwrap();
        assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
        drop(client);
        let daemon_dir = server.daemon_dir.clone();
        assert_eq!(server.stop(), [""; 0]);
        let calls = calls(&daemon_dir.child("trace"));
        assert!(calls.iter().any(|call| call.name == "statx"));
        assert_eq!(calls.iter().filter(|call| call.name == "clone").count(), closers);
    }
}
