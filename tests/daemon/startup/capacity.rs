//! The numbers of clients and entries, limits of the kernel, and memory.

use crate::kit::daemon::Generation::Ours;
use crate::kit::process::{descriptors, inherited, wait_until};
use crate::kit::server::{DaemonDir, Killed, Server, answer, connect, status};
use crate::kit::tool::TIMEOUT;
use crate::kit::wire::{self, Held, store_request};
use crate::kit::{memfd, raise_open_file_limit};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use rustix::process::Signal;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Stores entries until one is refused. Returns their number and the error.
fn store_until_refused(client: &UnixStream) -> (usize, i32) {
    let file = memfd();
    let mut count = 0;
    loop {
        let id = format!("id-{count}");
        match status(client, &store_request(id.as_bytes(), wire::never()), &[file.as_fd()]) {
            0 => count += 1,
            error => return (count, error),
        }
    }
}

const ENFILE: i32 = 23;

#[test]
fn extreme_numbers_are_limited_to_what_is_possible() {
    raise_open_file_limit();
    for (options, held) in
        [(&["-n0"][..], 1), (&["-n", "1"], 1), (&["-n7"], 7), (&["-n9", "-n7", "-c4294967295"], 7)]
    {
        let server = Server::open(Ours, options);
        assert_eq!(store_until_refused(&server.connect()), (held, ENFILE), "{options:?}");
        assert_eq!(server.stop(), [""; 0], "{options:?}");
    }
    // The daemon serves this number of clients, and the next one when one of them has disconnected.
    for (option, count) in [("-c0", 1), ("-c1", 1), ("-c3", 3), ("-c300", 256), ("-c256", 256)] {
        let server = Server::open(Ours, &[option]);
        let mut clients: Vec<_> = (0..count).map(|_| server.connect()).collect();
        for client in &clients {
            assert_eq!(status(client, b"L", &[]), 0, "{option}");
        }
        let next = server.connect();
        wire::send_frame(&next, b"L", &[]).unwrap();
        // After these answers it had time to serve the next client.
        for client in &clients {
            assert_eq!(status(client, b"L", &[]), 0, "{option}");
        }
        next.set_nonblocking(true).unwrap();
        let early = wire::receive(&next, &mut [0]).map(|(n, _)| n);
        assert_eq!(early.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "{option}");
        next.set_nonblocking(false).unwrap();
        clients.pop();
        assert_eq!(wire::receive_frame(&next).unwrap().0[0], 0, "{option}");
    }
    // The longest timeouts do not overflow to short ones.
    for option in ["-t4294967295", "-T4294967295", "-t0", "-T0"] {
        let mut server = Server::open(Ours, &[option]);
        let half = server.connect();
        wire::send(&half, &[0], &[]).unwrap();
        server.assert_serves();
        wire::send(&half, &wire::frame(b"L", 0)[1..], &[]).unwrap();
        assert_eq!(wire::receive_frame(&half).unwrap().0[0], 0, "{option}");
        drop(half);
        assert_eq!(server.stop(), [""; 0], "{option}");
    }
}

/// The redirections that close the descriptors that the tests themselves have inherited.
fn close_inherited() -> String {
    let others = inherited().into_iter().filter(|number| *number > 2);
    others.map(|number| format!("{number}>&-")).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_capacity_above_the_open_file_limit_is_lowered_with_a_warning() {
    let close = close_inherited();
    for (limit, maxfds, maxconn) in [(64, "1000", 16), (64, "4294967295", 1), (300, "290", 16)] {
        let daemon_dir = DaemonDir::open();
        let options = ["-n", maxfds, "-c", &maxconn.to_string()];
        let first = format!("ulimit -n {limit} &&");
        let mut command = daemon_dir.fdholderd_through(Ours, &first, &close, &options);
        let server = Server::start(daemon_dir, &mut command);
        let warning = server.line();
        assert!(warning.starts_with("s6-fdholderd: warning: "), "{warning}");
        let usual = descriptors(server.pid());
        let (count, error) = store_until_refused(&server.connect());
        assert_eq!(error, ENFILE);
        // A program that another test starts has a copy of the connection until it is executed.
        wait_until(
            || "the client is still connected".into(),
            || descriptors(server.pid()) == usual + count,
        );
        let most = limit - maxconn;
        assert!((most - 16..most).contains(&count), "{count} under {limit} with {maxconn}");
        // There is still room for every client, and for the descriptor of a request.
        let clients: Vec<_> = (0..maxconn).map(|_| server.connect()).collect();
        let file = memfd();
        for client in &clients {
            assert_eq!(
                status(client, &store_request(b"x", wire::never()), &[file.as_fd()]),
                ENFILE
            );
            assert_eq!(wire::retrieve(client, b"id-0").map(|_| ()).ok(), Some(()));
        }
        assert_eq!(server.stop(), [""; 0], "the warning is repeated");
    }
}

#[test]
fn the_soft_limit_on_open_files_is_raised_to_the_hard_one() {
    let daemon_dir = DaemonDir::open();
    let first = "ulimit -Sn 20 && ulimit -Hn 400 &&";
    let mut command = daemon_dir.fdholderd_through(Ours, first, "", &["-n300"]);
    let server = Server::start(daemon_dir, &mut command);
    assert_eq!(store_until_refused(&server.connect()), (300, ENFILE));
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn with_a_very_low_open_file_limit_the_daemon_works_or_ends_with_a_message() {
    let (close, mut useless) = (close_inherited(), Vec::new());
    for limit in 3..40 {
        let daemon_dir = DaemonDir::open();
        // The shell needs descriptors for redirections, so they come before the limit.
        let first = format!("exec {close}; ulimit -n {limit} &&");
        let mut command = daemon_dir.fdholderd_through(Ours, &first, "", &["-n1000"]);
        command.stderr(File::create(daemon_dir.child("log")).unwrap()).stdout(Stdio::piped());
        let mut child = Killed(command.spawn().unwrap());
        command.stdin(Stdio::null());
        let mut ready = Vec::new();
        let mut out = child.0.stdout.take().unwrap();
        std::io::Read::read_to_end(&mut out, &mut ready).unwrap();
        let log = || fs::read_to_string(daemon_dir.child("log")).unwrap();
        if ready.is_empty() {
            assert_eq!(child.0.wait().unwrap().code(), Some(111), "limit {limit}: {}", log());
            assert!(log().contains("s6-fdholderd: fatal: "), "limit {limit}: {}", log());
            continue;
        }
        let client = connect(&daemon_dir.socket());
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        if answer(&client, b"L", &[]).is_err() {
            useless.push(limit);
            continue;
        }
        let file = memfd();
        if !answer(&client, &store_request(b"it", wire::never()), &[file.as_fd()])
            .is_ok_and(|(reply, _)| reply == [0])
        {
            useless.push(limit);
        }
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        assert!(log().starts_with("s6-fdholderd: warning: "), "limit {limit}: {}", log());
    }
    assert!(useless.is_empty(), "limits {useless:?}: the daemon is ready, but does not answer");
}

#[test]
fn a_table_that_does_not_fit_into_memory_is_reported_at_the_start() {
    let most = raise_open_file_limit().to_string();
    let mut refused = 0;
    // Kilobytes of address space. The program needs some hundreds, the table thousands.
    for limit in [800, 1000, 1200, 1500] {
        let daemon_dir = DaemonDir::open();
        let first = format!("ulimit -v {limit} &&");
        let options = ["-n", &most, "-c256"];
        let mut command = daemon_dir.fdholderd_through(Ours, &first, "", &options);
        let (out, err) = (daemon_dir.child("out"), daemon_dir.child("log"));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let mut child = Killed(command.spawn().unwrap());
        command.stdin(Stdio::null());
        let begun = Instant::now();
        let code = loop {
            if let Some(status) = child.0.try_wait().unwrap() {
                break status.code();
            }
            if !fs::read(&out).unwrap().is_empty() {
                child.0.kill().unwrap();
                child.0.wait().unwrap();
                break None;
            }
            assert!(begun.elapsed() < TIMEOUT);
            thread::sleep(Duration::from_millis(1));
        };
        let Some(code) = code else { continue };
        let log = fs::read_to_string(&err).unwrap();
        assert_eq!(code, 111, "{log}");
        let last = log.lines().last().unwrap();
        assert!(last.starts_with("s6-fdholderd: fatal: "), "{log}");
        assert!(last.ends_with(": Cannot allocate memory"), "{log}");
        refused += 1;
    }
    assert!(refused > 0, "raise the hard limit on open files: the table for {most} is small");
}

#[test]
fn after_its_start_the_daemon_allocates_no_memory() {
    let daemon_dir = DaemonDir::open();
    let trace = daemon_dir.child("trace");
    let inner = daemon_dir.fdholderd(Ours, &["-n1000", "-c256", "-v2"]);
    let mut command = Command::new("strace");
    command.arg("-o").arg(&trace).arg(inner.get_program()).args(inner.get_args());
    let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let listener = listener.unwrap();
    // The socket of the command cannot be taken out of it, so another one is made.
    fs::remove_file(daemon_dir.socket()).unwrap();
    bind(&listener, &SocketAddrUnix::new(daemon_dir.socket()).unwrap()).unwrap();
    listen(&listener, 100).unwrap();
    drop(inner);
    let mut server = Server::start(daemon_dir, command.stdin(listener));
    let path = server.daemon_dir.socket();
    for count in [1, 300, 600] {
        let held = |number: usize| {
            let expiry = wire::expiry_in(Duration::from_secs(3600 + number as u64));
            Held::new(format!("{number:0>200}"), expiry, memfd())
        };
        let all: Vec<_> = (0..count).map(held).collect();
        wire::set_dump(&path, &all).unwrap();
        let clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
        for client in &clients {
            wire::send_frame(client, b"L", &[]).unwrap();
            wire::send_frame(client, b"L", &[]).unwrap();
        }
        assert_eq!(wire::get_dump(&path).unwrap().len(), count);
        for client in &clients {
            for _ in 0..2 {
                assert_eq!(wire::receive_frame(client).unwrap().0[0], 0);
            }
        }
    }
    server.assert_serves();
    // The daemon is the child of strace.
    let strace = server.pid();
    let children = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap();
    let daemon = children.trim().parse().unwrap();
    let daemon = rustix::process::Pid::from_raw(daemon).unwrap();
    rustix::process::kill_process(daemon, Signal::TERM).unwrap();
    // The trace is in the folder of the daemon.
    let daemon_dir = std::mem::replace(&mut server.daemon_dir, DaemonDir::new());
    assert_eq!(server.end().0, 0);
    let trace = fs::read_to_string(daemon_dir.child("trace")).unwrap();
    let all: Vec<_> = trace.lines().collect();
    let start = all.iter().rposition(|call| call.starts_with("execve(")).unwrap();
    let served = all.iter().position(|call| call.starts_with("accept")).unwrap();
    // The calls that allocate memory. `munmap` at the end does not count.
    let is_for_memory =
        |call: &&&str| ["mmap", "brk(", "mremap"].iter().any(|name| call.starts_with(name));
    let before = all[start..served].iter().filter(is_for_memory).count();
    assert!(before <= 9, "{before} mappings at the start");
    assert_eq!(all[served..].iter().find(is_for_memory), None);
}
