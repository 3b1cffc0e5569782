//! What fdholder-adopt takes out of a process, what it leaves alone, and what it says.

use super::listen::{free_port, held, ids};
use crate::kit::clients::succeeded;
use crate::kit::daemon::{Daemon, GETDUMP, Generation, LIST, RETRIEVE, STORE, Setup};
use crate::kit::fake::{
    Fake,
    Step::{self, HangUp, Receive, Send},
    status,
};
use crate::kit::target::{Target, high};
use crate::kit::tool::{Ended, run, tool};
use crate::kit::wire::{self, Held, frame, inode};
use crate::kit::{make_room, memfd, program};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use rustix::process::geteuid;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use temp_dir::TempDir;

/// Runs the tool on a daemon and a process, with options in front and addresses behind.
fn adopt(options: &[&str], path: &Path, target: &Target, addresses: &[&str]) -> Ended {
    let mut command = tool("fdholder-adopt");
    command.args(options).arg(path).arg(target.pid().to_string());
    run(command.args(addresses))
}

#[track_caller]
fn is_fatal(ended: &Ended, code: i32, line: &str) {
    let line = format!("fdholder-adopt: fatal: {line}\n");
    assert_eq!((ended.code, &ended.err[..], &ended.out[..]), (code, &line[..], &b""[..]));
}

/// A socket of the internet that may share its address with others that may.
fn shared(port: u16) -> OwnedFd {
    let fd = net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let fd = fd.unwrap();
    sockopt::set_socket_reuseport(&fd, true).unwrap();
    net::bind(&fd, &SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    net::listen(&fd, 5).unwrap();
    fd
}

/// Sockets of all kinds, some of which listen.
struct Sockets {
    all: Vec<OwnedFd>,
    /// What listens, by the address that is due.
    listening: Vec<(String, (u64, u64))>,
    /// What is bound and does not know connections.
    bound: Vec<(String, (u64, u64))>,
    /// The addresses of a connection, and of a UDP socket that has a peer.
    connections: [String; 2],
    _dir: TempDir,
}

impl Sockets {
    fn new() -> Sockets {
        make_room();
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
        // Nothing to adopt: connections, what is not bound, what is no socket, what is there twice.
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
        let all = all.into_iter().map(high).collect();
        Sockets { all, listening, bound, connections, _dir: dir }
    }

    /// A process that has them, with gaps in between.
    fn target(&self) -> Target {
        let numbers = (3..).step_by(2);
        let all: Vec<_> = numbers.zip(&self.all).map(|(at, fd)| (at, fd.as_fd())).collect();
        Target::start(&all)
    }

    /// What is printed of those that listen.
    fn printed(&self, prefix: &str) -> String {
        self.listening.iter().map(|(address, _)| format!("{prefix}{address}\n")).collect()
    }
}

/// What a daemon holds, but for the expiry, which has to be never; in order.
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
fn what_listens_is_taken_once_and_nothing_else() {
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
        // Again, and when one of them is missing.
        succeeded(&adopt(&[], &daemon.path, &target, &[]));
        let stream = UnixStream::connect(&daemon.path).unwrap();
        wire::delete(&stream, sockets.listening[2].0.as_bytes()).unwrap();
        succeeded(&adopt(&[], &daemon.path, &target, &[]));
        assert_eq!(dump(&daemon), sorted(&sockets.listening, ""));
    }
}

#[test]
fn addresses_name_what_is_taken_also_if_it_does_not_listen() {
    let sockets = Sockets::new();
    let target = sockets.target();
    let daemon = Daemon::start(Generation::Ours);
    let (tcp, seq) = (&sockets.listening[0], &sockets.listening[3]);
    let mut wanted = vec![tcp.clone(), seq.clone()];
    wanted.extend(sockets.bound.iter().cloned());
    let names: Vec<_> = wanted.iter().map(|(address, _)| &address[..]).collect();
    // Twice is once.
    let names = [&names[..], &names[..1]].concat();
    succeeded(&adopt(&["-p", "a "], &daemon.path, &target, &names));
    assert_eq!(dump(&daemon), sorted(&wanted, "a "));
    // All that have the address.
    let shared = sockets.listening[4].0.clone();
    let ended = adopt(&["-n"], &daemon.path, &target, &[&shared]);
    assert_eq!(
        String::from_utf8(ended.out).unwrap(),
        format!("{shared}\n{shared}#2\n{shared}#3\n")
    );
}

#[test]
fn who_connects_is_served_by_the_next_when_the_process_is_killed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let listener = high(listener);
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
fn what_is_not_there_is_said_before_a_daemon_hears_of_anything() {
    let sockets = Sockets::new();
    let target = sockets.target();
    let tcp = &sockets.listening[0].0;
    let [client, udp] = &sockets.connections;
    let no_client = format!("process PID has no socket at {client}");
    let no_udp = format!("process PID has no socket at {udp}");
    let rows: [(&[&str], i32, &str); 10] = [
        (&[tcp, "tcp:127.0.0.1:1"], 1, "process PID has no socket at tcp:127.0.0.1:1"),
        (&["unix:/nowhere", tcp], 1, "process PID has no socket at unix:/nowhere"),
        (&["tcp:[::]:1"], 1, "process PID has no socket at tcp:[::]:1"),
        // A connection has an address too.
        (&[tcp, client], 1, &no_client),
        (&[tcp, udp], 1, &no_udp),
        (&["tcp:0.0.0.0:1", "x"], 100, "no address: x: it does not begin with *"),
        (&["tcp:localhost:1"], 100, "no address: tcp:localhost:1: it is not ADDRESS:PORT or *"),
        (&["tcp:1.2.3.4:0"], 100, "no address: tcp:1.2.3.4:0: there is no port 0"),
        (&["unix:"], 100, "no address: unix:: there is no path"),
        (&["\n"], 100, "no address: \\n: it does not begin with *"),
    ];
    for option in ["-t0", "-n"] {
        for (addresses, code, line) in rows {
            let fake = Fake::start(vec![]);
            let ended = adopt(&[option], &fake.path, &target, addresses);
            let line =
                format!("fdholder-adopt: fatal: {line}").replace("PID", &target.pid().to_string());
            match line.strip_suffix('*') {
                Some(start) => assert!(ended.err.starts_with(start), "{ended:?}"),
                None => assert_eq!(ended.err, format!("{line}\n")),
            }
            assert_eq!((ended.code, &ended.out[..]), (code, &b""[..]));
            assert!(!fake.seen().connected);
        }
    }
    let (empty, fake) = (Target::start(&[]), Fake::start(vec![]));
    let ended = adopt(&[], &fake.path, &empty, &[]);
    is_fatal(&ended, 1, &format!("process {} has no listening socket", empty.pid()));
    let gone = Target::start(&[]);
    let pid = gone.pid().to_string();
    gone.kill();
    let unable = "unable to take descriptors out of process";
    for (pid, code, line) in [
        (&pid[..], 111, format!("{unable} {pid}: No such process")),
        ("0", 111, format!("{unable} 0: Invalid argument")),
        ("4294967295", 111, format!("{unable} 4294967295: Invalid argument")),
    ] {
        let ended = run(tool("fdholder-adopt").arg(&fake.path).arg(pid));
        is_fatal(&ended, code, &line);
    }
    assert!(!fake.seen().connected);
}

#[test]
fn what_is_held_by_something_else_stops_it_before_anything_is_stored() {
    let sockets = Sockets::new();
    let target = sockets.target();
    for generation in Generation::DAEMONS {
        let (daemon, id) = (Daemon::start(generation), &sockets.listening[5].0);
        let stream = UnixStream::connect(&daemon.path).unwrap();
        // That the address is the same does not make it the same socket.
        let other = &sockets.all[6];
        wire::store(&stream, &Held::new(id, wire::never(), other)).unwrap();
        let ended = adopt(&[], &daemon.path, &target, &[]);
        is_fatal(&ended, 1, &format!("{id} is held, but is another socket"));
        assert_eq!(ids(&daemon), [&id[..]]);
    }
    let long = "x".repeat(256 - sockets.listening[0].0.len());
    let fake = Fake::start(vec![]);
    let ended = adopt(&["-p", &long], &fake.path, &target, &[]);
    let id = format!("{long}{}", sockets.listening[0].0);
    is_fatal(&ended, 1, &format!("unable to store fd for id {id}: File name too long"));
    assert!(!fake.seen().connected);
}

#[test]
fn what_cannot_be_stored_takes_what_was_stored_before_it_along() {
    let sockets = Sockets::new();
    let target = sockets.target();
    for generation in Generation::DAEMONS {
        let rights = Some(&[GETDUMP, LIST, RETRIEVE, STORE][..]);
        let daemon =
            Daemon::start_with(generation, Setup { maxfds: 4, rights, ..Setup::default() });
        let stream = UnixStream::connect(&daemon.path).unwrap();
        wire::store(&stream, &Held::new("mine", wire::never(), memfd())).unwrap();
        let ended = adopt(&[], &daemon.path, &target, &[]);
        let reason = "Too many open files in system";
        let id = &sockets.listening[3].0;
        is_fatal(&ended, 1, &format!("unable to store fd for id {id}: {reason}"));
        assert_eq!(ids(&daemon), ["mine"]);
        for (right, what) in [(STORE, "store"), (RETRIEVE, "retrieve")] {
            fs::remove_file(daemon.rules().join("uid/default/env").join(right)).unwrap();
            let ended = adopt(&[], &daemon.path, &target, &[]);
            let id = &sockets.listening[0].0;
            let reason = format!("Operation not permitted (the right {right} is missing)");
            is_fatal(&ended, 1, &format!("unable to {what} fd for id {id}: {reason}"));
        }
        assert_eq!(ids(&daemon), ["mine"]);
    }
}

/// An answer without descriptors.
fn says(number: u8) -> Step {
    Send(status(number), vec![])
}

#[test]
fn daemons_that_do_not_do_as_they_should_are_said_to() {
    let [one, two] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let names = [&one, &two].map(|it| format!("tcp:{}", it.local_addr().unwrap()));
    let [one, two] = [one, two].map(high);
    let target = Target::start(&[(3, one.as_fd()), (4, two.as_fd())]);
    let against = |options: &[&str], steps: Vec<Step>| {
        let fake = Fake::start(steps);
        let ended = adopt(options, &fake.path, &target, &[]);
        drop(fake.seen());
        ended
    };
    let (noent, perm) = (2, 1);
    let store = |number: usize| format!("unable to store fd for id {}", names[number]);
    let advice = " (the right S6_FDHOLDER_STORE_REGEX is missing)";
    let neither = || vec![Receive, says(noent), Receive, says(noent)];
    let then = |steps: Vec<Step>| neither().into_iter().chain(steps).collect::<Vec<_>>();
    // It holds something that is no socket.
    let ended = against(&[], vec![Receive, Send(frame(&[0], 1), vec![memfd()])]);
    is_fatal(&ended, 1, &format!("{} is held, but is another socket", names[0]));
    // It refuses the second, and forgets the first or does not.
    let refuses = |last: u8| then(vec![Receive, says(0), Receive, says(perm), Receive, says(last)]);
    let line = format!("{}: Operation not permitted{advice}", store(1));
    is_fatal(&against(&[], refuses(0)), 1, &line);
    is_fatal(&against(&[], refuses(noent)), 1, &line);
    let line = format!("{line}; of those before it 1 may still be held");
    is_fatal(&against(&[], refuses(perm)), 1, &line);
    // It is gone: then it may hold both.
    let gone = then(vec![Receive, says(0), Receive, Send(vec![0], vec![]), HangUp]);
    let doubt = "; it may have been done; of those before it 1 may still be held";
    let ended = against(&["-t2000"], gone);
    is_fatal(&ended, 1, &format!("{}: connection closed{doubt}", store(1)));
    let late = then(vec![Receive, says(0), Receive]);
    let ended = against(&["-t300"], late);
    is_fatal(&ended, 1, &format!("{}: Connection timed out{doubt}", store(1)));
    assert!(ended.wall >= Duration::from_millis(300));
}

#[test]
fn rights_that_are_missing_are_named() {
    if !geteuid().is_root() {
        return;
    }
    let target = Target::start(&[]);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(program()).args(["adopt", "-n", "/nowhere/s"]).arg(target.pid().to_string());
    let ended = run(&mut command);
    let line = format!(
        "unable to take descriptors out of process {}: Operation not permitted (this needs \
         CAP_SYS_PTRACE in the user namespace of the process; its own user may do it too, if \
         kernel.yama.ptrace_scope is 0 and it can be traced)",
        target.pid()
    );
    is_fatal(&ended, 111, &line);
}

#[test]
fn descriptors_are_found_wherever_they_are() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let line = format!("tcp:{}\n", listener.local_addr().unwrap());
    let (listener, nowhere) = (high(listener), PathBuf::from("/nowhere/s"));
    let others: Vec<_> = (0..3).map(|_| high(memfd())).collect();
    let start = |all: &[RawFd]| {
        let fds = others.iter().map(AsFd::as_fd).chain([listener.as_fd()]);
        let last = others.len() + 1 - all.len();
        let all: Vec<(RawFd, BorrowedFd)> = all.iter().copied().zip(fds.skip(last)).collect();
        Target::start(&all)
    };
    // The last of each is the listener: behind a gap, and above a limit that has been lowered. The
    // program itself has yet to be loaded, for which it needs a number.
    for (numbers, limit) in [(&[3][..], 1024), (&[900], 1024), (&[3, 40], 10), (&[3, 60], 5)] {
        let target = start(numbers);
        target.limit(limit);
        let ended = adopt(&["-n"], &nowhere, &target, &[]);
        assert_eq!(String::from_utf8(ended.out).unwrap(), line, "{numbers:?} {limit}");
    }
    // The first three count as well.
    let target = Target::start(&[(0, listener.as_fd())]);
    assert_eq!(adopt(&["-n"], &nowhere, &target, &[]).out, line.as_bytes());
}

#[test]
fn three_hundred_are_no_more_trouble_than_one() {
    let dir = TempDir::new().unwrap();
    let bound = |number| UnixListener::bind(dir.child(format!("{number:03}"))).unwrap();
    let all: Vec<OwnedFd> = (0..300).map(|number| high(bound(number))).collect();
    let all: Vec<_> = (10..).zip(&all).map(|(at, fd)| (at, fd.as_fd())).collect();
    let target = Target::start(&all);
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        succeeded(&adopt(&[], &daemon.path, &target, &[]));
        let due = |number| format!("unix:{}", dir.child(format!("{number:03}")).display());
        assert_eq!(ids(&daemon), (0..300).map(due).collect::<Vec<_>>());
        succeeded(&adopt(&["-t5000"], &daemon.path, &target, &[]));
    }
}

#[test]
fn closed_standard_descriptors_do_not_get_what_is_taken() {
    // A message that went to a number of the process would come out here.
    let (mut peer, socket) = UnixStream::pair().unwrap();
    let socket = high(socket);
    let listener = high(TcpListener::bind("127.0.0.1:0").unwrap());
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
        let due = if closed.contains(" >") || closed.starts_with('>') { 111 } else { 0 };
        assert_eq!(ended.code, due, "{closed}: {ended:?}");
    }
    target.kill();
    let mut said = Vec::new();
    peer.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"");
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
