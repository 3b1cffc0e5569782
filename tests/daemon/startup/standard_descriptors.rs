//! Standard descriptors: the listening socket, the report that the daemon is ready, and closed ones.

use super::*;
use crate::kit::daemon::Generation::{self, Ours};
use crate::kit::memfd;
use crate::kit::process::closed;
use crate::kit::server::{DaemonDir, Killed, Server, answer, connect, status, through};
use crate::kit::tool::{TIMEOUT, run};
use crate::kit::wire::{self, retrieve_request, store_request};
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_ready_daemon_writes_a_newline_and_closes_standard_output() {
    for generation in Generation::DAEMONS {
        let mut server = Server::open(generation, &[]);
        server.assert_serves();
    }
    let daemon_dir = DaemonDir::open();
    let mut command = daemon_dir.daemon(&[]);
    Server::start(daemon_dir, &mut command).assert_serves();
}

#[test]
fn option_1_without_a_standard_output_is_fatal() {
    // A program that waits for the newline would wait for ever. The C fdholderd exits 100 instead, and the C
    // daemon, which executes other programs, starts.
    for (name, _) in TOOLS {
        let daemon_dir = DaemonDir::open();
        let mut command = through(Ours, name, "", ">&-");
        command.arg("-1i").arg(daemon_dir.rules()).arg(daemon_dir.socket()).stdin(Stdio::null());
        let message = "unable to write to standard output: Bad file descriptor";
        assert_fatal(name, &run(&mut command), &format!("{name}: fatal: {message}"));
        assert!(!daemon_dir.socket().exists(), "{name}");
    }
}

#[test]
fn without_option_1_the_daemon_writes_nothing_to_standard_output() {
    let daemon_dir = DaemonDir::open();
    let mut command = through(Ours, "s6-fdholder-daemon", "", "");
    command.arg("-i").arg(daemon_dir.rules()).arg(daemon_dir.socket());
    let out = File::create(daemon_dir.child("out")).unwrap();
    let child = Killed(command.stdout(out).stderr(Stdio::null()).spawn().unwrap());
    let begun = Instant::now();
    let client = loop {
        match UnixStream::connect(daemon_dir.socket()) {
            Ok(client) => break client,
            Err(error) => assert!(begun.elapsed() < TIMEOUT, "{error}"),
        }
        thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(status(&client, b"L", &[]), 0);
    drop(child);
    assert_eq!(fs::read(daemon_dir.child("out")).unwrap(), b"");
}

#[test]
fn standard_input_must_be_a_listening_socket() {
    let daemon_dir = DaemonDir::open();
    let (stream, _other) = UnixStream::pair().unwrap();
    let bound = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let bound = bound.unwrap();
    bind(&bound, &SocketAddrUnix::new(daemon_dir.child("bound")).unwrap()).unwrap();
    let (pipe, _writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let packets = SocketType::SEQPACKET;
    let packets = socket_with(AddressFamily::UNIX, packets, SocketFlags::CLOEXEC, None).unwrap();
    bind(&packets, &SocketAddrUnix::new(daemon_dir.child("packets")).unwrap()).unwrap();
    listen(&packets, 1).unwrap();
    let unbound = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    // A standard input that is no socket is wrong usage, as in C.
    let rows: [(&str, Option<OwnedFd>, i32); 9] = [
        ("/dev/null", Some(File::open("/dev/null").unwrap().into()), 100),
        ("a file", Some(memfd()), 100),
        ("a pipe", Some(pipe), 100),
        ("a connection", Some(stream.into()), 111),
        ("a socket that does not listen", Some(bound), 111),
        ("a socket without a name", Some(unbound.unwrap()), 111),
        ("a datagram socket", Some(UnixDatagram::unbound().unwrap().into()), 111),
        ("a listening socket of packets", Some(packets), 111),
        ("a listening TCP socket", Some(TcpListener::bind("127.0.0.1:0").unwrap().into()), 111),
    ];
    for (what, stdin, code) in rows {
        let mut command = through(Ours, "s6-fdholderd", "", "");
        command.arg("-1i").arg(daemon_dir.rules()).stdin(stdin.unwrap());
        let ended = run(&mut command);
        let right = ended.err.starts_with("s6-fdholderd: fatal: ");
        assert!(right && ended.err.lines().count() == 1, "{what}: {}", ended.err);
        assert_eq!((ended.code, &ended.out[..]), (code, &b""[..]), "{what}");
    }
    let mut command = through(Ours, "s6-fdholderd", "", "<&-");
    let ended = run(command.arg("-1i").arg(daemon_dir.rules()));
    assert!(ended.err.starts_with("s6-fdholderd: fatal: "), "{}", ended.err);
    assert_eq!((ended.code, &ended.out[..]), (111, &b""[..]));
}

#[test]
fn the_listening_socket_may_be_in_blocking_mode() {
    let daemon_dir = DaemonDir::open();
    let mut command = through(Ours, "s6-fdholderd", "", "");
    let listener = UnixListener::bind(daemon_dir.socket()).unwrap();
    command.arg("-1i").arg(daemon_dir.rules()).stdin(OwnedFd::from(listener));
    let mut server = Server::start(daemon_dir, &mut command);
    let _idle = server.connect();
    server.assert_serves();
}

#[test]
fn credentials_in_a_message_are_not_taken_for_descriptors() {
    // With `SO_PASSCRED`, the kernel adds the numbers of process, user and group to each request, in a control
    // message. If the daemon took them for descriptors, it would close its own descriptors with these
    // numbers.
    let daemon_dir = DaemonDir::open();
    let listener = UnixListener::bind(daemon_dir.socket()).unwrap();
    set_socket_passcred(&listener, true).unwrap();
    let shared = listener.try_clone().unwrap();
    let mut command = through(Ours, "s6-fdholderd", "", "");
    command.arg("-1i").arg(daemon_dir.rules()).stdin(OwnedFd::from(listener));
    let server = Server::start(daemon_dir, &mut command);
    let (client, file) = (server.connect(), memfd());
    assert_eq!(status(&client, &store_request(b"it", wire::never()), &[file.as_fd()]), 0);
    // Another process that has the socket can set the option again.
    set_socket_passcred(&shared, true).unwrap();
    let other = server.connect();
    assert_eq!(wire::list(&other).unwrap(), [b"it"]);
    let (reply, fds) = answer(&client, &retrieve_request(b"it", 0), &[]).unwrap();
    assert_eq!((&reply[..], wire::inode(&fds[0])), (&b"\0"[..], wire::inode(&file)));
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn with_closed_standard_descriptors_no_message_goes_into_a_held_file() {
    for (redirections, _) in closed() {
        // Only our daemon makes a listening socket itself, so that standard input may be closed.
        let daemon_dir = DaemonDir::open();
        let mut command = through(Ours, "s6-fdholder-daemon", "", &redirections);
        // Option -1 needs a standard output.
        if !redirections.split(' ').any(|each| each == ">&-") {
            command.arg("-1");
        }
        command
            .args(["-v2", "-i"])
            .arg(daemon_dir.rules())
            .arg(daemon_dir.socket())
            .stdin(Stdio::null());
        let mut child = Killed(command.stdout(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        while UnixStream::connect(daemon_dir.socket()).is_err() {
            assert!(begun.elapsed() < TIMEOUT, "{redirections}");
            thread::sleep(Duration::from_millis(1));
        }
        let clients: Vec<_> = (0..3).map(|_| connect(&daemon_dir.socket())).collect();
        let file = memfd();
        for (at, client) in clients.iter().enumerate() {
            let request = store_request(&[b'a' + at as u8], wire::never());
            let (reply, _) = answer(client, &request, &[file.as_fd()]).unwrap();
            assert_eq!(reply, [0], "{redirections}");
        }
        for client in &clients {
            let (reply, fds) = answer(client, &retrieve_request(b"b", 0), &[]).unwrap();
            assert_eq!((&reply[..], wire::inode(&fds[0])), (&[0][..], wire::inode(&file)));
            assert_eq!(wire::list(client).unwrap().len(), 3);
        }
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        assert_eq!(rustix::fs::fstat(&file).unwrap().st_size, 0, "{redirections}");
    }
}
