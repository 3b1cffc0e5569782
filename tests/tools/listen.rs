//! fdholder-listen: the sockets that it makes, the files that it does not touch, and its messages.

use crate::kit::clients::succeeded;
use crate::kit::daemon::{Daemon, Generation, RETRIEVE, STORE, Setup};
use crate::kit::process::wait_until;
use crate::kit::tool::{Ended, run, tool};
use crate::kit::wire::{self, Held, inode};
use crate::kit::{free_port, make_device, memfd};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use temp_dir::TempDir;

/// The kinds of Unix sockets.
pub const KINDS: [(&str, SocketType); 3] = [
    ("unix", SocketType::STREAM),
    ("unix-dgram", SocketType::DGRAM),
    ("unix-seqpacket", SocketType::SEQPACKET),
];

/// The end of the message about a socket that no client can reach by its path.
pub const LOST: &str = ": no client can reach it any more; delete it with s6-fdholder-delete";

/// Runs the tool with a daemon.
pub fn listen(daemon: &Daemon, options: &[&str], id: impl AsRef<OsStr>, address: &str) -> Ended {
    let mut command = tool("fdholder-listen");
    run(command.args(options).arg(&daemon.path).arg(id).arg(address))
}

/// The descriptor that a daemon holds under an identifier.
pub fn held(daemon: &Daemon, id: impl AsRef<[u8]>) -> OwnedFd {
    wire::retrieve(&UnixStream::connect(&daemon.path).unwrap(), id.as_ref()).unwrap()
}

/// The identifiers of all entries of a daemon, sorted.
pub fn ids(daemon: &Daemon) -> Vec<String> {
    let all = wire::list(&UnixStream::connect(&daemon.path).unwrap()).unwrap();
    let mut all: Vec<_> = all.into_iter().map(|id| String::from_utf8(id).unwrap()).collect();
    all.sort();
    all
}

/// Checks the exit code and the message.
#[track_caller]
pub fn assert_fatal(ended: &Ended, code: i32, line: &str) {
    let line = format!("fdholder-listen: fatal: {line}\n");
    assert_eq!((ended.code, &ended.err[..], &ended.out[..]), (code, &line[..], &b""[..]));
}

/// Makes a Unix socket without a listener.
pub fn stale(path: &Path, kind: SocketType) {
    bound(path, kind);
    assert!(fs::symlink_metadata(path).unwrap().file_type().is_socket());
}

fn bound(path: &Path, kind: SocketType) -> OwnedFd {
    let fd = net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    net::bind(&fd, &SocketAddrUnix::new(path).unwrap()).unwrap();
    fd
}

#[test]
fn every_kind_of_socket_is_made_with_the_right_options_and_held() {
    for generation in Generation::DAEMONS {
        let (daemon, dir) = (Daemon::start(generation), TempDir::new().unwrap());
        // A wildcard address is in conflict with other addresses of the same port.
        let (port, other) = (free_port(), free_port());
        let hosts = [("127.0.0.1", port), ("[::1]", port), ("[::]", other), ("0.0.0.0", other)];
        for (host, port) in hosts {
            for (kind, socket_type) in [("tcp", SocketType::STREAM), ("udp", SocketType::DGRAM)] {
                let address = format!("{kind}:{host}:{port}");
                succeeded(&listen(&daemon, &[], &address, &address));
                let fd = held(&daemon, &address);
                let name = net::getsockname(&fd).unwrap();
                let name = std::net::SocketAddr::try_from(name).unwrap();
                assert_eq!(format!("{kind}:{name}"), address);
                assert_eq!(sockopt::socket_type(&fd).unwrap(), socket_type);
                let is_tcp = kind == "tcp";
                assert_eq!(sockopt::socket_acceptconn(&fd).unwrap(), is_tcp, "{address}");
                // With this option, another UDP socket could receive the datagrams.
                assert_eq!(sockopt::socket_reuseaddr(&fd).unwrap(), is_tcp, "{address}");
                assert!(name.is_ipv4() || sockopt::ipv6_v6only(&fd).unwrap());
                assert!(!fcntl_getfl(&fd).unwrap().contains(OFlags::NONBLOCK));
            }
        }
        for (kind, socket_type) in KINDS {
            let path = dir.child(kind);
            for name in [path.display().to_string(), format!("@{}", path.display())] {
                let address = format!("{kind}:{name}");
                succeeded(&listen(&daemon, &[], &address, &address));
                let fd = held(&daemon, &address);
                let found = SocketAddrUnix::try_from(net::getsockname(&fd).unwrap()).unwrap();
                match name.strip_prefix('@') {
                    Some(name) => assert_eq!(found.abstract_name(), Some(name.as_bytes())),
                    None => assert_eq!(found.path_bytes(), Some(name.as_bytes())),
                }
                assert_eq!(sockopt::socket_type(&fd).unwrap(), socket_type);
                let listens = sockopt::socket_acceptconn(&fd).unwrap();
                assert_eq!(listens, kind != "unix-dgram", "{address}");
                assert!(!fcntl_getfl(&fd).unwrap().contains(OFlags::NONBLOCK));
            }
        }
    }
}

#[test]
fn a_client_is_served_by_the_program_that_retrieves_the_socket() {
    let (daemon, port) = (Daemon::start(Generation::Ours), free_port());
    succeeded(&listen(&daemon, &[], "web", &format!("tcp:127.0.0.1:{port}")));
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (_, peer) = TcpListener::from(held(&daemon, "web")).accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
}

#[test]
fn a_socket_that_is_held_already_stays_and_only_the_right_to_retrieve_is_needed() {
    for generation in Generation::DAEMONS {
        let (daemon, dir) = (Daemon::start(generation), TempDir::new().unwrap());
        let port = free_port();
        let addresses = [
            (format!("tcp:127.0.0.1:{port}"), format!("tcp:127.0.0.1:{port}")),
            (format!("udp:[::1]:{port}"), format!("udp:[0:0::0001]:{port}")),
            (format!("unix:{}", dir.child("s").display()), "the same".into()),
            (format!("unix-seqpacket:@{}", dir.child("a").display()), "the same".into()),
        ];
        for (address, _) in &addresses {
            succeeded(&listen(&daemon, &[], address, address));
        }
        let before = wire::identities(&wire::get_dump(&daemon.path).unwrap());
        let env = daemon.rules().join("uid/default/env");
        for right in fs::read_dir(&env).unwrap() {
            let right = right.unwrap();
            if right.file_name() != RETRIEVE {
                fs::remove_file(right.path()).unwrap();
            }
        }
        for (address, other) in &addresses {
            succeeded(&listen(&daemon, &["-b1", "-m0", "-T1"], address, address));
            if other.contains(':') {
                succeeded(&listen(&daemon, &[], address, other));
            }
        }
        fs::write(env.join("S6_FDHOLDER_GETDUMP"), "\n").unwrap();
        assert!(wire::identities(&wire::get_dump(&daemon.path).unwrap()) == before);
    }
}

#[test]
fn an_entry_at_another_address_is_named_with_both_addresses_and_stays() {
    for generation in Generation::DAEMONS {
        let (daemon, dir) = (Daemon::start(generation), TempDir::new().unwrap());
        let port = free_port();
        let (path, gone) = (dir.child("s"), dir.child("gone"));
        let tcp = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (accepted, _) = tcp.accept().unwrap();
        let gone_socket = UnixListener::bind(&gone).unwrap();
        fs::remove_file(&gone).unwrap();
        let unix = bound(&path, SocketType::STREAM);
        let at = format!("tcp:127.0.0.1:{port}");
        let (unix_at, gone_at) =
            (format!("unix:{}", path.display()), format!("unix:{}", gone.display()));
        let unbound = UnixDatagram::unbound().unwrap();
        let other = format!("tcp:127.0.0.1:{}", client.local_addr().unwrap().port());
        let rows: [(OwnedFd, &str, String); 9] = [
            (tcp.into(), "tcp:127.0.0.1:1", format!("{at}, not at tcp:127.0.0.1:1")),
            (client.into(), &at, format!("{other}, not at {at}")),
            (accepted.into(), &at, format!("{at}, but does not listen")),
            (gone_socket.into(), &gone_at, format!("{gone_at}, but its file is gone{LOST}")),
            (unix.try_clone().unwrap(), &unix_at, format!("{unix_at}, but does not listen")),
            (unix, &at, format!("{unix_at}, not at {at}")),
            (memfd(), &at, format!(", but is no socket at {at}")),
            (File::open("/").unwrap().into(), &at, format!(", but is no socket at {at}")),
            (unbound.into(), "unix-dgram:@x", String::from(", but is no socket at unix-dgram:@x")),
        ];
        for (number, (fd, address, line)) in rows.into_iter().enumerate() {
            let id = format!("{number}\n");
            let expiry = wire::expiry_in(Duration::from_secs(3600 + number as u64));
            let stream = UnixStream::connect(&daemon.path).unwrap();
            wire::store(&stream, &Held::new(&id, expiry, &fd)).unwrap();
            let ended = listen(&daemon, &[], &id, address);
            let at = if line.starts_with(',') { "" } else { " at " };
            assert_fatal(&ended, 1, &format!("{number}\\n is held{at}{line}"));
            assert_eq!(inode(held(&daemon, &id)), inode(&fd));
        }
    }
}

#[test]
fn the_file_of_a_socket_has_its_mode_from_the_first_moment() {
    let (daemon, dir) = (Daemon::start(Generation::Ours), TempDir::new().unwrap());
    let rows = [
        ("022", "", 0o755),
        ("077", "", 0o700),
        ("0", "", 0o777),
        ("077", "-m 666", 0o666),
        ("0", "-m660", 0o660),
        ("022", "--mode=0777", 0o777),
        ("022", "-m 0", 0),
    ];
    for (number, (umask, option, expected)) in rows.into_iter().enumerate() {
        let path = dir.child(number.to_string());
        let mut shell = Command::new("sh");
        // A change of the mode after `bind` would be too late.
        let script = format!(
            "umask {umask}; exec strace -o \"$0\" -e trace=bind,chmod,fchmod,fchmodat,umask \"$@\""
        );
        let trace = dir.child("trace");
        shell.args(["-c", &script]).arg(&trace).arg(crate::kit::program()).arg("listen");
        shell.args(option.split_whitespace()).arg(&daemon.path).arg(number.to_string());
        succeeded(&run(shell.arg(format!("unix:{}", path.display()))));
        let found = fs::symlink_metadata(&path).unwrap().mode() & 0o7777;
        assert_eq!(found, expected, "umask {umask}, {option}");
        let trace = fs::read_to_string(trace).unwrap();
        let last = trace.lines().rfind(|line| !line.starts_with('+')).unwrap();
        assert!(last.starts_with("bind("), "{trace}");
    }
}

#[test]
fn a_socket_without_a_listener_is_replaced() {
    let (daemon, dir) = (Daemon::start(Generation::Ours), TempDir::new().unwrap());
    for (kind, _) in KINDS {
        for (old, socket_type) in KINDS {
            let path = dir.child(format!("{old} {kind}"));
            stale(&path, socket_type);
            let address = format!("{kind}:{}", path.display());
            succeeded(&listen(&daemon, &[], &address, &address));
            let ended = listen(&daemon, &[], &address, &address);
            succeeded(&ended);
        }
    }
    // A relative path without a directory.
    stale(&dir.child("here"), SocketType::STREAM);
    let mut command = tool("fdholder-listen");
    command.current_dir(dir.path()).arg(&daemon.path).args(["here", "unix:here"]);
    succeeded(&run(&mut command));
    UnixStream::connect(dir.child("here")).unwrap();
}

#[test]
fn any_other_file_at_the_path_stays_and_is_an_error() {
    let (daemon, dir) = (Daemon::start(Generation::Ours), TempDir::new().unwrap());
    let path = |name: &str| dir.child(name);
    let _stream = UnixListener::bind(path("live")).unwrap();
    let full = UnixListener::bind(path("full")).unwrap();
    net::listen(&full, 0).unwrap();
    let _clients = crate::kit::fake::fill_backlog(&path("full"), usize::MAX);
    let _datagram = UnixDatagram::bind(path("datagram")).unwrap();
    fs::write(path("file"), "text").unwrap();
    fs::create_dir(path("directory")).unwrap();
    stale(&path("stale"), SocketType::STREAM);
    symlink(path("stale"), path("link")).unwrap();
    symlink(path("live"), path("link to live")).unwrap();
    symlink(path("nothing"), path("dangling")).unwrap();
    // The tool tells a FIFO from a socket only if it may write to it.
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), mode).unwrap();
    let has_device = make_device(&path("device"));
    let (used, exists) = ("Address already in use", "File exists");
    for (name, reason) in [
        ("live", used),
        ("full", used),
        ("datagram", used),
        ("file", exists),
        ("directory", exists),
        ("link", exists),
        ("link to live", used),
        ("dangling", used),
        ("fifo", exists),
        ("device", exists),
    ] {
        // An ordinary user cannot make a device node.
        if name == "device" && !has_device {
            continue;
        }
        let before = fs::symlink_metadata(path(name)).unwrap().ino();
        let address = format!("unix:{}", path(name).display());
        let ended = listen(&daemon, &[], "it", &address);
        assert_fatal(&ended, 111, &format!("unable to bind to {address}: {reason}"));
        assert_eq!(fs::symlink_metadata(path(name)).unwrap().ino(), before, "{name}");
    }
    assert!(path("stale").exists());
    let address = format!("unix:{}/x", path("nowhere").display());
    let reason = "No such file or directory";
    let ended = listen(&daemon, &[], "it", &address);
    assert_fatal(&ended, 111, &format!("unable to bind to {address}: {reason}"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let [tcp, udp] = [("tcp", taken.local_addr()), ("udp", udp.local_addr())]
        .map(|(kind, at)| format!("{kind}:{}", at.unwrap()));
    for (address, reason) in [
        (&tcp[..], used),
        (&udp[..], used),
        ("tcp:192.0.2.1:8000", "Cannot assign requested address"),
        ("tcp:[2001:db8::1]:8000", "Cannot assign requested address"),
        ("tcp:[fe80::1%4294967295]:8000", "No such device"),
    ] {
        let ended = listen(&daemon, &[], "it", address);
        assert_fatal(&ended, 111, &format!("unable to bind to {address}: {reason}"));
    }
    assert!(ids(&daemon).is_empty());
}

#[test]
fn a_socket_that_the_daemon_does_not_hold_is_removed_again() {
    for generation in Generation::DAEMONS {
        let dir = TempDir::new().unwrap();
        let port = free_port();
        let advice = " (the right S6_FDHOLDER_STORE_REGEX is missing)";
        let setup = |rights| Setup { rights: Some(rights), ..Setup::default() };
        let rows = [
            (setup(&[RETRIEVE]), format!("Operation not permitted{advice}")),
            (
                Setup { maxfds: 1, ..setup(&[RETRIEVE, STORE]) },
                String::from("Too many open files in system"),
            ),
        ];
        for (number, (setup, reason)) in rows.into_iter().enumerate() {
            let daemon = Daemon::start_with(generation, setup);
            if setup.maxfds == 1 {
                let stream = UnixStream::connect(&daemon.path).unwrap();
                wire::store(&stream, &Held::new("first", wire::never(), memfd())).unwrap();
            }
            let path = dir.child(number.to_string());
            for address in [format!("unix:{}", path.display()), format!("tcp:127.0.0.1:{port}")] {
                let ended = listen(&daemon, &[], "it", &address);
                assert_fatal(&ended, 1, &format!("unable to store fd for id it: {reason}"));
            }
            assert!(fs::symlink_metadata(&path).is_err(), "{generation:?} {number}");
            // The daemon may close its descriptor some moments after its reply.
            let is_free = || TcpListener::bind(("127.0.0.1", port)).is_ok();
            wait_until(|| format!("port {port} is free"), is_free);
        }
        let daemon = Daemon::start_with(generation, setup(&[STORE]));
        let ended = listen(&daemon, &[], "it", &format!("unix:{}", dir.child("x").display()));
        let advice = " (the right S6_FDHOLDER_RETRIEVE_REGEX is missing)";
        let line = format!("unable to retrieve fd for id it: Operation not permitted{advice}");
        assert_fatal(&ended, 1, &line);
        assert!(!dir.child("x").exists());
    }
}

#[test]
fn names_with_special_bytes_are_kept_and_quoted() {
    let (daemon, dir) = (Daemon::start(Generation::Ours), TempDir::new().unwrap());
    let all: Vec<u8> = (1..=255).collect();
    let odd = OsString::from_vec(all.clone());
    let mut address = OsString::from("unix-seqpacket:@");
    address.push(OsStr::from_bytes(&all[..107]));
    let run_it = |id: &OsStr, address: &OsStr| {
        run(tool("fdholder-listen").current_dir(dir.path()).arg(&daemon.path).arg(id).arg(address))
    };
    succeeded(&run_it(&odd, &address));
    let name = SocketAddrUnix::try_from(net::getsockname(held(&daemon, &all)).unwrap()).unwrap();
    assert_eq!(name.abstract_name(), Some(&all[..107]));
    succeeded(&run_it(&odd, &address));
    for name in ["./@x", " ", "\u{1b}[2J", "-x", "a:b", "\n"] {
        succeeded(&run_it(OsStr::new(name), OsStr::new(&format!("unix:{name}"))));
        UnixStream::connect(dir.child(name)).unwrap();
    }
    // An abstract name with NULs, which the text of the address has to escape.
    succeeded(&run_it(OsStr::new("nul"), OsStr::new("unix:@%0%%0%%%x%")));
    let name = SocketAddrUnix::try_from(net::getsockname(held(&daemon, "nul")).unwrap()).unwrap();
    assert_eq!(name.abstract_name(), Some(&b"\0%0%%x%"[..]));
    succeeded(&run_it(OsStr::new("nul"), OsStr::new("unix:@%0%%0%%%x%")));
    let ended = run_it(OsStr::new("it"), OsStr::new("unix:\n"));
    assert_fatal(&ended, 111, "unable to bind to unix:\\n: Address already in use");
    // The longest path, and a path that is too long.
    let start = dir.path().to_str().unwrap().len() + 1;
    for (length, code) in [(107, 0), (108, 100)] {
        let path = dir.child("x".repeat(length - start));
        let ended = run_it(
            OsStr::new(&length.to_string()),
            OsStr::new(&format!("unix:{}", path.display())),
        );
        assert_eq!((ended.code, path.exists()), (code, code == 0), "{ended:?}");
    }
    for (id, reason) in [("", "Invalid argument"), (&"x".repeat(256), "File name too long")] {
        let ended = run_it(OsStr::new(id), OsStr::new("unix:never"));
        assert_fatal(&ended, 1, &format!("unable to retrieve fd for id {id}: {reason}"));
    }
    assert!(!dir.child("never").exists());
}
