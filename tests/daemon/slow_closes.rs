//! Closing can take as long as others like. The daemon never waits for it, whatever clients give it
//! and in whichever way it gets rid of that, and leaves nothing open.

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

/// Longer than anybody waits here.
const LINGER: Duration = Duration::from_secs(600);

/// A socket that takes as long to close as its peer likes, and the peer.
fn lingering() -> (OwnedFd, impl Sized) {
    crate::kit::lingering(LINGER)
}

/// How many processes the daemon has started that have not ended, or that it has not asked for.
fn children(server: &Server) -> Vec<i32> {
    let path = format!("/proc/{0}/task/{0}/children", server.pid());
    let children = fs::read_to_string(path).unwrap();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// Something that a client does with a descriptor, of which it keeps no copy. What it returns stays
/// until it has been closed.
type Way = (&'static str, fn(&Server, UnixStream, OwnedFd) -> Option<UnixStream>);

/// Sends a frame while the daemon does not look, and lets go of its descriptors.
fn send_unseen(server: &Server, client: &UnixStream, payload: &[u8], fds: Vec<OwnedFd>) {
    server.signal(Signal::STOP);
    let borrowed: Vec<BorrowedFd> = fds.iter().map(|fd| fd.as_fd()).collect();
    wire::send_frame(client, payload, &borrowed).unwrap();
    drop(fds);
    server.signal(Signal::CONT);
}

/// Stores it as `it`, with that date.
fn put(server: &Server, client: &UnixStream, expiry: [u8; 12], fd: OwnedFd) {
    send_unseen(server, client, &store_request(b"it", expiry), vec![fd]);
    assert_eq!(wire::receive_frame(client).unwrap().0, [0]);
}

/// What hangs up, or is hung up on.
fn leaves(client: UnixStream) -> Option<UnixStream> {
    assert_disconnects(&client);
    None
}

/// A retrieval that deletes is not among them: the client would have it then, and wait for it.
const WAYS: [Way; 15] = [
    ("a request that is malformed", |server, client, fd| {
        send_unseen(server, &client, b"L", vec![fd]);
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
    ("more than a request needs", |server, client, fd| {
        let request = store_request(b"a", wire::never());
        send_unseen(server, &client, &request, vec![memfd(), fd]);
        assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
        Some(client)
    }),
    ("what is in use", |server, client, fd| {
        put(server, &client, wire::never(), memfd());
        send_unseen(server, &client, &store_request(b"it", wire::never()), vec![fd]);
        assert_eq!(wire::receive_frame(&client).unwrap().0, [16]);
        assert_eq!(status(&client, &delete_request(b"it"), &[]), 0);
        Some(client)
    }),
    ("another number than was announced", |server, client, fd| {
        server.signal(Signal::STOP);
        wire::send(&client, &wire::frame(b"L", 2), &[fd.as_fd()]).unwrap();
        drop(fd);
        server.signal(Signal::CONT);
        leaves(client)
    }),
    ("half a request, and the client hangs up", |server, client, fd| {
        server.signal(Signal::STOP);
        wire::send(&client, &[0], &[fd.as_fd()]).unwrap();
        drop((fd, client));
        server.signal(Signal::CONT);
        None
    }),
    ("half a request, and no more for too long", |server, client, fd| {
        server.signal(Signal::STOP);
        wire::send(&client, &[0], &[fd.as_fd()]).unwrap();
        drop(fd);
        server.signal(Signal::CONT);
        leaves(client)
    }),
    ("something that comes too late", |server, client, fd| {
        let request = wire::frame(b"L", 0);
        wire::send(&client, &request[..3], &[]).unwrap();
        crate::kit::process::wait_until_read(&client);
        server.signal(Signal::STOP);
        wire::send(&client, &request[3..], &[fd.as_fd()]).unwrap();
        drop(fd);
        server.signal(Signal::CONT);
        leaves(client)
    }),
    ("something behind a request that is hung up on", |server, client, fd| {
        server.signal(Signal::STOP);
        wire::send(&client, &[255; 6], &[memfd().as_fd()]).unwrap();
        wire::send(&client, &[0], &[fd.as_fd()]).unwrap();
        drop(fd);
        server.signal(Signal::CONT);
        leaves(client)
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
        // Kernels before 5.15 do not know such a thing.
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
        wait_until(|| "it expires".into(), || wire::list(&client).unwrap().is_empty());
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
        send_unseen(server, &client, &[b".", &entries[..]].concat(), vec![memfd(), fd]);
        assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
        Some(client)
    }),
    ("a message that nobody has read in a socket that is deleted", |server, client, fd| {
        let (near, far) = UnixStream::pair().unwrap();
        wire::send(&near, &[0], &[fd.as_fd()]).unwrap();
        drop((near, fd));
        put(server, &client, wire::never(), far.into());
        assert_eq!(status(&client, &delete_request(b"it"), &[]), 0);
        Some(client)
    }),
];

#[test]
fn nobody_waits_for_what_lingers_in_whichever_way_it_goes() {
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
fn nobody_waits_for_what_somebody_without_a_rule_has_sent() {
    let daemon_dir = DaemonDir::new();
    let mut command = daemon_dir.fdholderd(Ours, &["-v0"]);
    let server = Server::start(daemon_dir, &mut command);
    let usual = descriptors(server.pid());
    let mut peers = Vec::new();
    // More than there are closers.
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
fn nobody_waits_for_what_somebody_without_the_right_has_sent() {
    let daemon_dir = DaemonDir::new();
    daemon_dir.allow("uid/default", &[(LIST, "\n")]);
    let mut command = daemon_dir.fdholderd(Ours, &["-v0"]);
    let server = Server::start(daemon_dir, &mut command);
    let (client, other) = (server.connect(), server.connect());
    let (fd, _peer) = lingering();
    send_unseen(&server, &client, &store_request(b"it", wire::never()), vec![fd]);
    assert_eq!(wire::receive_frame(&client).unwrap().0, [1]);
    assert_eq!(status(&other, b"L", &[]), 0);
    drop((client, other));
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_whole_message_of_them_and_another_one_keep_nobody_waiting() {
    raise_open_file_limit();
    let mut server = Server::open(Ours, &["-v0"]);
    let usual = descriptors(server.pid());
    let (many, _peers): (Vec<_>, Vec<_>) = (0..FRAME_ENTRIES).map(|_| lingering()).unzip();
    for fds in [many, (0..FRAME_ENTRIES).map(|_| lingering().0).collect()] {
        let client = server.connect();
        assert_eq!(status(&client, b"L", &[]), 0);
        send_unseen(&server, &client, b"L", fds);
        assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
        server.assert_serves();
    }
    let pid = server.pid();
    let state = || format!("{} open, {} children", descriptors(pid), children(&server).len());
    wait_until(state, || descriptors(pid) == usual && children(&server).is_empty());
}

#[test]
fn it_ends_whatever_lingers() {
    let server = Server::open(Ours, &["-v0", "-T100"]);
    let (mut peers, client) = (Vec::new(), server.connect());
    // Held,
    let (fd, peer) = lingering();
    peers.push(peer);
    put(&server, &client, wire::never(), fd);
    // being closed,
    let (fd, peer) = lingering();
    peers.push(peer);
    send_unseen(&server, &client, b"L", vec![fd]);
    assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
    // in half a request,
    let (fd, peer) = lingering();
    peers.push(peer);
    wire::send(&client, &[0], &[fd.as_fd()]).unwrap();
    drop(fd);
    // and with a client that is not accepted any more.
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

/// A daemon for which time stands still: every clock says the same. It has this limit on open files.
fn without_time(limit: u32) -> Server {
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

/// Has a daemon hold and delete so many sockets, one after the other. The result is the other ends.
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
fn many_sockets_take_few_processes() {
    let server = without_time(4096);
    let ends = delete_sockets(&server, 300);
    // The first one goes at once, the others when there are 64 of them.
    ends[..257].iter().for_each(assert_disconnects);
    let daemon_dir = server.daemon_dir.clone();
    assert_eq!(server.stop(), [""; 0]);
    ends[257..].iter().for_each(assert_disconnects);
    let calls = calls(&daemon_dir.child("trace"));
    assert_eq!(calls.iter().filter(|call| call.name == "clone").count(), 1 + 4);
}

#[test]
fn a_listening_socket_goes_at_once_and_so_does_what_waits_before_it() {
    let server = without_time(4096);
    let waiting = delete_sockets(&server, 2);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, client) = (listener.local_addr().unwrap(), server.connect());
    let request = store_request(b"it", wire::never());
    assert_eq!(status(&client, &request, &[listener.as_fd()]), 0);
    drop(listener);
    assert_eq!(status(&client, &delete_request(b"it"), &[]), 0);
    until(|| format!("{address} is free"), || TcpListener::bind(address).is_ok());
    waiting.iter().for_each(hangs_up);
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn sockets_go_at_once_where_descriptors_are_scarce() {
    let server = without_time(64);
    delete_sockets(&server, 100).iter().for_each(assert_disconnects);
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_socket_that_lingers_does_not_keep_others_of_its_batch() {
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
    send_unseen(&server, &client, b"L", fds);
    assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
    ends.iter().for_each(assert_disconnects);
    drop(client);
    server.assert_serves();
    let pid = server.pid();
    let state = || format!("{} open, {} children", descriptors(pid), children(&server).len());
    wait_until(state, || descriptors(pid) == usual && children(&server).is_empty());
}

/// A daemon whose closers do not come to an end: strace holds each up when it has begun. The daemon
/// itself would be held up if it said that it is ready; instead its standard output is closed. Other
/// calls get these answers.
fn with_stuck_closers(answers: &[String]) -> Server {
    let daemon_dir = DaemonDir::open();
    let held_up = format!("dup3:delay_exit={}", LINGER.as_micros());
    let strace = strace_detached(&daemon_dir.child("trace"), &[&[held_up], answers].concat());
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

/// The strace of such a daemon. When it ends, the closers go on.
fn tracer(server: &Server) -> Pid {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap();
    Pid::from_raw(line.trim().parse().unwrap()).unwrap()
}

/// How many processes a strace watches.
fn traced(tracer: Pid) -> usize {
    let line = format!("TracerPid:\t{tracer}\n");
    let status = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("status"));
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| status(entry.ok()?).ok());
    all.filter(|status| status.contains(&line)).count()
}

/// Something of which nobody knows how long it takes to close.
fn unknown() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC).unwrap()
}

#[test]
fn nobody_waits_for_what_never_closes() {
    raise_open_file_limit();
    let mut server = with_stuck_closers(&[]);
    let client = server.connect();
    assert_eq!(status(&client, b"L", &[]), 0);
    let usual = descriptors(server.pid());
    // Twice as many as there are closers.
    let many = (0..32).map(|_| unknown()).collect();
    send_unseen(&server, &client, b"L", many);
    assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
    server.assert_serves();
    let pid = server.pid();
    // The numbers of those that have been taken over can be used again.
    let state = || format!("{} open, {} children", descriptors(pid), children(&server).len());
    wait_until(state, || children(&server).len() == 8 && descriptors(pid) == usual + 32 - 8);
    // There are others for sockets.
    let (near, far) = UnixStream::pair().unwrap();
    put(&server, &client, wire::never(), far.into());
    assert_eq!(status(&client, &delete_request(b"it"), &[]), 0);
    assert_disconnects(&near);
    // As closers come to an end, there are new ones.
    kill_process(tracer(&server), Signal::KILL).unwrap();
    wait_until(state, || descriptors(pid) == usual && children(&server).is_empty());
    server.assert_serves();
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_socket_that_never_closes_does_not_keep_others_of_its_batch() {
    // Killing the closer does not help.
    let server = with_stuck_closers(&["kill:error=EPERM".into()]);
    let client = server.connect();
    let pairs = [(); 8].map(|()| UnixStream::pair().unwrap());
    let (ends, fds): (Vec<_>, Vec<_>) =
        pairs.into_iter().map(|(near, far)| (near, OwnedFd::from(far))).unzip();
    send_unseen(&server, &client, b"L", fds);
    assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
    for (number, near) in ends.iter().enumerate() {
        near.set_read_timeout(Some(TIMEOUT)).unwrap();
        // The next one is left to a closer that could still take it.
        if number != 1 {
            assert_disconnects(near);
        }
    }
    kill_process(tracer(&server), Signal::KILL).unwrap();
    assert_disconnects(&ends[1]);
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn it_ends_whatever_never_closes() {
    let trace = ends_with_stuck_closers(&[]);
    // The same where the kernel does not tell any more at the end that the socket listens.
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
    // That is every second question.
    let untold = format!("getsockopt:error=EPERM:when={}+2", asked.unwrap());
    let trace = ends_with_stuck_closers(&[untold]);
    assert!(trace.contains("SO_ACCEPTCONN, 0x") && trace.contains("(INJECTED)"), "{trace}");
}

/// Ends such a daemon, while something is being closed and something else is held. The result is its
/// trace.
fn ends_with_stuck_closers(answers: &[String]) -> String {
    let mut server = with_stuck_closers(answers);
    let client = server.connect();
    // One is being closed, one is held.
    send_unseen(&server, &client, b"L", vec![unknown()]);
    assert_eq!(wire::receive_frame(&client).unwrap().0, [71]);
    put(&server, &client, wire::never(), unknown());
    wait_until(|| "a closer".into(), || !children(&server).is_empty());
    let tracer = tracer(&server);
    drop(client);
    server.signal(Signal::TERM);
    let path = server.daemon_dir.socket();
    let ended = server.wait();
    // Both are still being closed, but nobody could take that for a daemon.
    let refused = UnixStream::connect(path).unwrap_err();
    let closers = traced(tracer);
    kill_process(tracer, Signal::KILL).unwrap();
    assert_eq!((ended, closers), (0, 2));
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    fs::read_to_string(server.daemon_dir.child("trace")).unwrap()
}

#[test]
fn a_file_of_a_server_that_has_a_block_device_goes_to_a_closer() {
    // As the kernel describes a file of fuseblk: a regular file, the device 8:1, no attributes.
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
