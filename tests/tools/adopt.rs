//! fdholder-adopt: the sockets that it takes out of a process. `adopt_refusals` has its errors.

use super::listen::{held, ids};
use crate::kit::clients::succeeded;
use crate::kit::daemon::{Daemon, Generation};
use crate::kit::target::{Target, with_high_number};
use crate::kit::tool::{Ended, run, tool};
use crate::kit::wire::{self, Held, inode};
use crate::kit::{free_port, memfd, program, raise_open_file_limit};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;
use temp_dir::TempDir;

/// Runs the tool with a daemon and a process.
pub fn adopt(options: &[&str], path: &Path, target: &Target, addresses: &[&str]) -> Ended {
    let mut command = tool("fdholder-adopt");
    command.args(options).arg(path).arg(target.pid().to_string());
    run(command.args(addresses))
}

/// Checks the exit code and the message.
#[track_caller]
pub fn assert_fatal(ended: &Ended, code: i32, line: &str) {
    let line = format!("fdholder-adopt: fatal: {line}\n");
    assert_eq!((ended.code, &ended.err[..], &ended.out[..]), (code, &line[..], &b""[..]));
}

/// A TCP socket that shares its address with other sockets of this kind.
fn shared(port: u16) -> OwnedFd {
    let fd = net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let fd = fd.unwrap();
    sockopt::set_socket_reuseport(&fd, true).unwrap();
    net::bind(&fd, &SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    net::listen(&fd, 5).unwrap();
    fd
}

/// Sockets of all kinds. Some of them listen.
pub struct Sockets {
    /// All of them.
    pub all: Vec<OwnedFd>,
    /// The listening sockets by their expected identifiers.
    pub listening: Vec<(String, (u64, u64))>,
    /// The bound datagram sockets by their expected identifiers.
    bound: Vec<(String, (u64, u64))>,
    /// The addresses of a connection, and of a UDP socket with a peer.
    pub connections: [String; 2],
    _dir: TempDir,
}

impl Sockets {
    pub fn new() -> Sockets {
        raise_open_file_limit();
        let dir = TempDir::new().unwrap();
        let (mut all, mut listening, mut bound) = (Vec::new(), Vec::new(), Vec::new());
        let port = free_port();
        let path = |name: &str| dir.child(name).display().to_string();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = tcp.local_addr().unwrap();
        let client = TcpStream::connect(at).unwrap();
        let accepted = tcp.accept().unwrap().0;
        let tcp6 = TcpListener::bind("[::1]:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
        connected.connect(at).unwrap();
        let connections = [
            format!("tcp:{}", client.local_addr().unwrap()),
            format!("udp:{}", connected.local_addr().unwrap()),
        ];
        let abstract_name = path("abstract");
        let name = SocketAddrUnix::new_abstract_name(abstract_name.as_bytes()).unwrap();
        let kind = SocketType::SEQPACKET;
        let seq = net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        net::bind(&seq, &name).unwrap();
        net::listen(&seq, 1).unwrap();
        let mut add = |address: String, fd: OwnedFd, to: &mut Vec<(String, (u64, u64))>| {
            to.push((address, inode(&fd)));
            all.push(fd);
        };
        add(format!("tcp:{at}"), tcp.into(), &mut listening);
        add(format!("tcp:{}", tcp6.local_addr().unwrap()), tcp6.into(), &mut listening);
        let unix = UnixListener::bind(path("s")).unwrap();
        add(format!("unix:{}", path("s")), unix.into(), &mut listening);
        add(format!("unix-seqpacket:@{abstract_name}"), seq, &mut listening);
        for suffix in ["", "#2", "#3"] {
            add(format!("tcp:127.0.0.1:{port}{suffix}"), shared(port), &mut listening);
        }
        add(format!("udp:{}", udp.local_addr().unwrap()), udp.into(), &mut bound);
        let datagram = UnixDatagram::bind(path("d")).unwrap();
        add(format!("unix-dgram:{}", path("d")), datagram.into(), &mut bound);
        // Descriptors that are not adopted: connections, unbound sockets, files, and a duplicate.
        let (a, b) = UnixStream::pair().unwrap();
        let tcp_again = all[0].try_clone().unwrap();
        let others: [OwnedFd; 9] = [
            client.into(),
            accepted.into(),
            connected.into(),
            a.into(),
            b.into(),
            memfd(),
            UnixDatagram::unbound().unwrap().into(),
            tcp_again,
            fs::File::open("/").unwrap().into(),
        ];
        all.extend(others);
        let all = all.into_iter().map(with_high_number).collect();
        Sockets { all, listening, bound, connections, _dir: dir }
    }

    /// A process that has these descriptors, with gaps between their numbers.
    pub fn target(&self) -> Target {
        let numbers = (3..).step_by(2);
        let all: Vec<_> = numbers.zip(&self.all).map(|(at, fd)| (at, fd.as_fd())).collect();
        Target::start(&all)
    }

    /// The lines that the tool prints about the listening sockets.
    fn printed(&self, prefix: &str) -> String {
        self.listening.iter().map(|(address, _)| format!("{prefix}{address}\n")).collect()
    }
}

/// The entries of a daemon, sorted. They must never expire.
fn dump(daemon: &Daemon) -> Vec<(String, (u64, u64))> {
    let far = wire::expiry_in(Duration::from_secs(1 << 60));
    let all = wire::get_dump(&daemon.path).unwrap();
    let name = |held: &Held| {
        assert!(held.expiry > far);
        (String::from_utf8(held.id.clone()).unwrap(), inode(&held.fd))
    };
    let mut all: Vec<_> = all.iter().map(name).collect();
    all.sort();
    all
}

fn sorted(all: &[(String, (u64, u64))], prefix: &str) -> Vec<(String, (u64, u64))> {
    let mut all: Vec<_> = all.iter().map(|(id, inode)| (format!("{prefix}{id}"), *inode)).collect();
    all.sort();
    all
}

#[test]
fn every_listening_socket_is_adopted_once_and_nothing_else() {
    let (sockets, nowhere) = (Sockets::new(), PathBuf::from("/nowhere/s"));
    let target = sockets.target();
    for (options, prefix) in [(&["-n"][..], ""), (&["--dry-run", "-p", "web:\n"], "web:\\n")] {
        let ended = adopt(options, &nowhere, &target, &[]);
        assert_eq!((ended.code, &ended.err[..]), (0, ""));
        assert_eq!(String::from_utf8(ended.out).unwrap(), sockets.printed(prefix));
    }
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        succeeded(&adopt(&[], &daemon.path, &target, &[]));
        assert_eq!(dump(&daemon), sorted(&sockets.listening, ""));
        // A second time, and after one of them has been deleted.
        succeeded(&adopt(&[], &daemon.path, &target, &[]));
        let stream = UnixStream::connect(&daemon.path).unwrap();
        wire::delete(&stream, sockets.listening[2].0.as_bytes()).unwrap();
        succeeded(&adopt(&[], &daemon.path, &target, &[]));
        assert_eq!(dump(&daemon), sorted(&sockets.listening, ""));
    }
}

#[test]
fn sockets_named_by_address_are_adopted_even_if_they_do_not_listen() {
    let sockets = Sockets::new();
    let target = sockets.target();
    let daemon = Daemon::start(Generation::Ours);
    let (tcp, seq) = (&sockets.listening[0], &sockets.listening[3]);
    let mut wanted = vec![tcp.clone(), seq.clone()];
    wanted.extend(sockets.bound.iter().cloned());
    let names: Vec<_> = wanted.iter().map(|(address, _)| &address[..]).collect();
    // An address that is given twice counts once.
    let names = [&names[..], &names[..1]].concat();
    succeeded(&adopt(&["-p", "a "], &daemon.path, &target, &names));
    assert_eq!(dump(&daemon), sorted(&wanted, "a "));
    // All sockets with the address are taken.
    let shared = sockets.listening[4].0.clone();
    let ended = adopt(&["-n"], &daemon.path, &target, &[&shared]);
    assert_eq!(
        String::from_utf8(ended.out).unwrap(),
        format!("{shared}\n{shared}#2\n{shared}#3\n")
    );
}

#[test]
fn sockets_that_share_an_address_keep_their_identifiers() {
    let [a, b, c] = [free_port(); 3].map(shared).map(with_high_number);
    let x = format!("tcp:{}", SocketAddr::try_from(net::getsockname(&a).unwrap()).unwrap());
    let numbered = |number: u32, fd: &OwnedFd| match number {
        1 => (x.clone(), inode(fd)),
        number => (format!("{x}#{number}"), inode(fd)),
    };
    let with = |all: &[&OwnedFd]| {
        let all: Vec<_> = (3..).zip(all).map(|(at, fd)| (at, fd.as_fd())).collect();
        Target::start(&all)
    };
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let check = |all: &[&OwnedFd], expected: &[(u32, &OwnedFd)]| {
            succeeded(&adopt(&[], &daemon.path, &with(all), &[]));
            let expected: Vec<_> =
                expected.iter().map(|(number, fd)| numbered(*number, fd)).collect();
            assert_eq!(dump(&daemon), expected);
        };
        let delete = |id: &str| {
            wire::delete(&UnixStream::connect(&daemon.path).unwrap(), id.as_bytes()).unwrap();
        };
        check(&[&a, &b], &[(1, &a), (2, &b)]);
        check(&[&a, &b], &[(1, &a), (2, &b)]);
        // The process has closed the first socket.
        check(&[&b], &[(1, &a), (2, &b)]);
        // In another order, and with a new socket.
        check(&[&c, &b, &a], &[(1, &a), (2, &b), (3, &c)]);
        // A number that becomes free is used again, and later ones keep their numbers.
        delete(&x);
        check(&[&b], &[(2, &b), (3, &c)]);
        check(&[&c, &b, &a], &[(1, &a), (2, &b), (3, &c)]);
        delete(&format!("{x}#2"));
        check(&[&b, &c], &[(1, &a), (2, &b), (3, &c)]);
    }
}

#[test]
fn similar_names_get_different_identifiers() {
    let dir = TempDir::new().unwrap();
    let name = dir.path().display().to_string();
    let named = |name: &str| {
        let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
        let fd = net::socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap();
        net::bind(&fd, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
        net::listen(&fd, 1).unwrap();
        fd
    };
    // Only the directory of this thread changes.
    let path = dir.path();
    let in_it = thread::scope(|scope| {
        let bind = || {
            // SAFETY: the call touches no memory.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FS) }, 0);
            std::env::set_current_dir(path).unwrap();
            UnixListener::bind("@x").unwrap()
        };
        scope.spawn(bind).join().unwrap()
    });
    let fds = [
        with_high_number(named(&format!("{name}\0a"))),
        with_high_number(named(&format!("{name}@a"))),
        with_high_number(named(&format!("{name}%0a"))),
        with_high_number(in_it),
    ];
    let all: Vec<_> = (3..).zip(&fds).map(|(at, fd)| (at, fd.as_fd())).collect();
    let target = Target::start(&all);
    let texts = [
        format!("unix:@{name}%0a"),
        format!("unix:@{name}@a"),
        format!("unix:@{name}%%0a"),
        String::from("unix:./@x"),
    ];
    let nowhere = PathBuf::from("/nowhere/s");
    let ended = adopt(&["-n"], &nowhere, &target, &[]);
    assert_eq!(String::from_utf8(ended.out).unwrap(), texts.join("\n") + "\n");
    for (text, fd) in texts.iter().zip(&fds) {
        let daemon = Daemon::start(Generation::Ours);
        succeeded(&adopt(&[], &daemon.path, &target, &[text]));
        assert_eq!(dump(&daemon), [(text.clone(), inode(fd))]);
        // fdholder-listen accepts the same address.
        if !text.contains("./") {
            succeeded(&run(tool("fdholder-listen").arg(&daemon.path).args([text, text])));
        }
    }
    let ended = adopt(&["-n"], &nowhere, &target, &["unix:@x"]);
    assert_fatal(&ended, 1, &format!("process {} has no socket at unix:@x", target.pid()));
    let daemon = Daemon::start(Generation::Ours);
    succeeded(&adopt(&[], &daemon.path, &target, &["unix:./@x"]));
    let mut command = tool("fdholder-listen");
    command.current_dir(dir.path()).arg(&daemon.path).args(["unix:./@x", "unix:./@x"]);
    succeeded(&run(&mut command));
}

#[test]
fn a_client_that_connects_before_the_process_is_killed_is_served_by_the_next_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let listener = with_high_number(listener);
    let target = Target::start(&[(5, listener.as_fd())]);
    drop(listener);
    let daemon = Daemon::start(Generation::S6_2_15);
    succeeded(&adopt(&[], &daemon.path, &target, &[]));
    let mut client = TcpStream::connect(at).unwrap();
    target.kill();
    client.write_all(b"x").unwrap();
    let next = TcpListener::from(held(&daemon, format!("tcp:{at}")));
    next.accept().unwrap().0.read_exact(&mut [0]).unwrap();
}

#[test]
fn descriptors_are_found_at_any_number() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let line = format!("tcp:{}\n", listener.local_addr().unwrap());
    let (listener, nowhere) = (with_high_number(listener), PathBuf::from("/nowhere/s"));
    let others: Vec<_> = (0..3).map(|_| with_high_number(memfd())).collect();
    let start = |all: &[RawFd]| {
        let fds = others.iter().map(AsFd::as_fd).chain([listener.as_fd()]);
        let last = others.len() + 1 - all.len();
        let all: Vec<(RawFd, BorrowedFd)> = all.iter().copied().zip(fds.skip(last)).collect();
        Target::start(&all)
    };
    // The last number of each row is that of the listener: behind a gap, and above a limit that is lowered
    // later. The limits leave a number for loading the program.
    for (numbers, limit) in [(&[3][..], 1024), (&[900], 1024), (&[3, 40], 10), (&[3, 60], 5)] {
        let target = start(numbers);
        target.limit(limit);
        let ended = adopt(&["-n"], &nowhere, &target, &[]);
        assert_eq!(String::from_utf8(ended.out).unwrap(), line, "{numbers:?} {limit}");
    }
    // The standard descriptors count too.
    let target = Target::start(&[(0, listener.as_fd())]);
    assert_eq!(adopt(&["-n"], &nowhere, &target, &[]).out, line.as_bytes());
}

#[test]
fn three_hundred_sockets_are_adopted() {
    let dir = TempDir::new().unwrap();
    let bound = |number| UnixListener::bind(dir.child(format!("{number:03}"))).unwrap();
    let all: Vec<OwnedFd> = (0..300).map(|number| with_high_number(bound(number))).collect();
    let all: Vec<_> = (10..).zip(&all).map(|(at, fd)| (at, fd.as_fd())).collect();
    let target = Target::start(&all);
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        succeeded(&adopt(&[], &daemon.path, &target, &[]));
        let expected = |number| format!("unix:{}", dir.child(format!("{number:03}")).display());
        assert_eq!(ids(&daemon), (0..300).map(expected).collect::<Vec<_>>());
        succeeded(&adopt(&["-t5000"], &daemon.path, &target, &[]));
    }
}

#[test]
fn with_closed_standard_descriptors_no_message_goes_into_an_adopted_socket() {
    // A message that is written to a taken descriptor would arrive at this peer.
    let (mut peer, socket) = UnixStream::pair().unwrap();
    let socket = with_high_number(socket);
    let listener = with_high_number(TcpListener::bind("127.0.0.1:0").unwrap());
    let target = Target::start(&[(3, socket.as_fd()), (4, listener.as_fd()), (5, socket.as_fd())]);
    drop(socket);
    for closed in ["<&-", ">&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"] {
        let daemon = Daemon::start(Generation::Ours);
        let again = |words: &str| {
            let mut shell = Command::new("sh");
            let script = format!("exec \"$0\" adopt \"$@\" {words} {closed}");
            shell.args(["-c", &script]).arg(program()).arg(&daemon.path);
            run(shell.arg(target.pid().to_string()))
        };
        succeeded(&again(""));
        assert_eq!(ids(&daemon).len(), 1);
        let ended = again("tcp:127.0.0.1:1");
        assert_eq!((ended.code, ended.err.is_empty()), (1, closed.contains("2>")), "{ended:?}");
        let mut shell = Command::new("sh");
        let script = format!("exec \"$0\" adopt -n s \"$@\" {closed}");
        shell.args(["-c", &script]).arg(program());
        let ended = run(shell.arg(target.pid().to_string()));
        let expected = if closed.contains(" >") || closed.starts_with('>') { 111 } else { 0 };
        assert_eq!(ended.code, expected, "{closed}: {ended:?}");
    }
    target.kill();
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"");
}

#[test]
fn a_limit_that_is_too_low_is_named() {
    let sockets = Sockets::new();
    let target = sockets.target();
    let (mut failed, mut done) = (0, 0);
    for limit in 3..16 {
        let daemon = Daemon::start(Generation::Ours);
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {limit} && exec \"$0\" adopt \"$@\"");
        shell.args(["-c", &script]).arg(program()).arg(&daemon.path);
        let ended = run(shell.arg(target.pid().to_string()));
        match ended.code {
            0 => {
                assert_eq!(ids(&daemon).len(), sockets.listening.len());
                done += 1;
            }
            code => {
                assert!(ids(&daemon).is_empty(), "{limit}");
                let right = ended.err.ends_with(": Too many open files\n") && code == 111;
                assert!(right && ended.err.lines().count() == 1, "{limit}: {ended:?}");
                failed += 1;
            }
        }
    }
    assert!(failed > 0 && done > 0, "{failed} {done}");
    let daemon = Daemon::start(Generation::Ours);
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -Sn 4 && exec \"$0\" adopt \"$@\""]).arg(program());
    succeeded(&run(shell.arg(&daemon.path).arg(target.pid().to_string())));
}
