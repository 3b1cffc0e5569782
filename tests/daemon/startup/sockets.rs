//! The socket that fdholder-daemon makes: what it replaces, its mode, its path and its backlog.

use super::*;
use crate::kit::daemon::Generation::Ours;
use crate::kit::fake::fill_backlog;
use crate::kit::process::wait_until;
use crate::kit::server::{DaemonDir, Server, connect, status, through};
use crate::kit::tool::{TIMEOUT, run};
use crate::kit::wire::{self, store_request};
use crate::kit::{make_device, memfd};
use rustix::net::listen;
use rustix::process::{Signal, geteuid};
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes a file at a path, and returns a descriptor that must stay open.
type Make = fn(&Path) -> Option<OwnedFd>;

#[test]
fn only_a_socket_without_a_listener_is_replaced() {
    const IN_USE: &str = "Address already in use";
    const EXISTS: &str = "File exists";
    fn stale(path: &Path) -> Option<OwnedFd> {
        drop(UnixListener::bind(path).unwrap());
        None
    }
    fn live(path: &Path) -> Option<OwnedFd> {
        Some(UnixListener::bind(path).unwrap().into())
    }
    fn with_full_backlog(path: &Path) -> Option<OwnedFd> {
        let listener = UnixListener::bind(path).unwrap();
        listen(&listener, 0).unwrap();
        fill_backlog(path, usize::MAX);
        Some(listener.into())
    }
    fn link_to(path: &Path, name: &str, make: Make) -> Option<OwnedFd> {
        let target = path.with_file_name(name);
        symlink(&target, path).unwrap();
        make(&target)
    }
    fn file(path: &Path) -> Option<OwnedFd> {
        fs::write(path, "text").unwrap();
        None
    }
    // What is at the path, and the reason for the refusal by default and with -d. `None` if it is replaced.
    let rows: [(&str, Make, Option<&str>); 15] = [
        ("no file", |_| None, None),
        ("a stale socket", stale, None),
        ("a live socket", live, Some(IN_USE)),
        ("a live socket with a full backlog", with_full_backlog, Some(IN_USE)),
        ("a file", file, Some(EXISTS)),
        ("an empty file", |path| Some(File::create(path).unwrap().into()), Some(EXISTS)),
        ("a directory", |path| fs::create_dir(path).map(|()| None).unwrap(), Some(EXISTS)),
        ("a pipe", |path| make_pipe(path), Some(EXISTS)),
        ("a device", |path| make_device(path).then(memfd), Some(EXISTS)),
        ("a dangling link", |path| link_to(path, "absent", |_| None), Some(EXISTS)),
        ("a link to a file", |path| link_to(path, "file", file), Some(EXISTS)),
        ("a link to a directory", |path| link_to(path, "rules", |_| None), Some(EXISTS)),
        ("a link to itself", |path| link_to(path, "s", |_| None), Some(EXISTS)),
        ("a link to a stale socket", |path| link_to(path, "stale", stale), Some(EXISTS)),
        ("a link to a live socket", |path| link_to(path, "live", live), Some(EXISTS)),
    ];
    for (what, make, reason) in rows {
        for options in [&[][..], &["-d"], &["-D"], &["-D", "-d"], &["-d", "-D"]] {
            let daemon_dir = DaemonDir::open();
            let kept = make(&daemon_dir.socket());
            // An ordinary user cannot make a device node.
            if what == "a device" && kept.is_none() {
                continue;
            }
            let what = format!("{what} {options:?}");
            let reason = match options.last() {
                Some(&"-D") if what.starts_with("no file") => None,
                Some(&"-D") => Some(IN_USE),
                _ => reason,
            };
            let before = contents(daemon_dir.path());
            let Some(reason) = reason else {
                let mut command = daemon_dir.daemon(options);
                let mut server = Server::start(daemon_dir, &mut command);
                server.assert_serves();
                assert_eq!(
                    contents(server.daemon_dir.path()).len(),
                    2,
                    "there is another file beside the socket"
                );
                continue;
            };
            let ended = fails_to_bind(&daemon_dir, options);
            // For a link, both reasons are true.
            let is_link_in_use =
                what.contains("link") && ended.err.contains(": Address already in use");
            let reason = if is_link_in_use { IN_USE } else { reason };
            // The message names the process that listens. With a full backlog the kernel does not tell which
            // process that is.
            let (by, own) = (" by a daemon that still serves what it holds", std::process::id());
            let reason = match kept.is_some() && what.contains("live") {
                true if what.contains("backlog") => format!("{reason}{by}"),
                true => format!("{reason}{by}, process {own}"),
                false => reason.into(),
            };
            let path = daemon_dir.socket();
            let path = path.display();
            let message = format!("s6-fdholder-daemon: fatal: unable to bind to {path}: {reason}");
            assert_fatal(&what, &ended, &message);
            assert_eq!(contents(daemon_dir.path()), before, "{what}");
            drop(kept);
        }
    }
}

/// Makes a named pipe.
fn make_pipe(path: &Path) -> Option<OwnedFd> {
    let status = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(status.success());
    None
}

/// The entries of a folder: names, inodes, modes, sizes, targets of links.
fn contents(folder: &Path) -> Vec<(PathBuf, String)> {
    use std::os::unix::fs::MetadataExt;
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let data = fs::symlink_metadata(&path).unwrap();
        let about = (data.ino(), data.mode(), data.size(), fs::read_link(&path).ok());
        (path, format!("{about:?}"))
    };
    let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(entry).collect();
    all.sort();
    all
}

#[test]
fn a_datagram_socket_is_not_replaced() {
    for options in [&[][..], &["-d"], &["-D"]] {
        let daemon_dir = DaemonDir::open();
        let kept = UnixDatagram::bind(daemon_dir.socket()).unwrap();
        let before = contents(daemon_dir.path());
        let ended = fails_to_bind(&daemon_dir, options);
        assert_eq!(ended.code, 111, "{}", ended.err);
        assert_eq!(contents(daemon_dir.path()), before);
        drop(kept);
    }
}

#[test]
fn a_running_daemon_is_not_disturbed_by_a_second_one_at_its_path() {
    let daemon_dir = DaemonDir::open();
    let mut command = daemon_dir.daemon(&["-c1"]);
    let server = Server::start(daemon_dir, &mut command);
    // The daemon is full, and still must be recognized.
    let client = server.connect();
    let file = memfd();
    assert_eq!(status(&client, &store_request(b"it", wire::never()), &[file.as_fd()]), 0);
    for options in [&[][..], &["-d"], &["-D"]] {
        let ended = fails_to_bind(&server.daemon_dir, options);
        assert_eq!(ended.code, 111, "{}", ended.err);
        let by = "Address already in use by a daemon that still serves what it holds, process";
        assert!(ended.err.ends_with(&format!(": {by} {}\n", server.pid())), "{}", ended.err);
    }
    drop(client);
    assert_eq!(wire::list(&server.connect()).unwrap(), [b"it"]);
}

#[test]
fn the_socket_of_a_killed_daemon_is_replaced() {
    let mut daemon_dir = DaemonDir::open();
    for _ in 0..3 {
        let mut command = daemon_dir.daemon(&[]);
        let mut server = Server::start(daemon_dir, &mut command);
        server.assert_serves();
        server.signal(Signal::KILL);
        // The folder must outlive the daemon.
        daemon_dir = std::mem::replace(&mut server.daemon_dir, DaemonDir::new());
        assert_eq!(server.end().0, 1009);
    }
}

#[test]
fn all_users_may_connect_with_any_umask() {
    for umask in ["077", "000", "777"] {
        let daemon_dir = DaemonDir::open();
        let mut command = daemon_dir.daemon_through(&format!("umask {umask} &&"), "", &[]);
        let mut server = Server::start(daemon_dir, &mut command);
        let data = fs::metadata(server.daemon_dir.socket()).unwrap();
        assert!(data.file_type().is_socket());
        assert_eq!(data.permissions().mode() & 0o7777, 0o777, "umask {umask}");
        server.assert_serves();
    }
}

#[test]
fn a_path_may_be_relative_and_at_most_107_bytes_long() {
    let daemon_dir = DaemonDir::open();
    let started = |path: &Path| {
        let mut command = through(Ours, "s6-fdholder-daemon", "", "");
        command.current_dir(daemon_dir.path()).args(["-1", "-i", "rules"]).arg(path);
        command
    };
    let fatal = |path: &Path, reason: &str| {
        let ended = run(&mut started(path));
        let path = path.display();
        let message = format!("s6-fdholder-daemon: fatal: unable to bind to {path}: {reason}");
        assert_fatal(reason, &ended, &message);
    };
    let length = daemon_dir.path().as_os_str().len();
    let longest = daemon_dir.child("x".repeat(107 - 1 - length));
    assert_eq!(longest.as_os_str().len(), 107);
    fatal(&daemon_dir.child("x".repeat(107 - length)), "File name too long");
    fatal(Path::new(&"y".repeat(108)), "File name too long");
    fatal(Path::new(""), "No such file or directory");
    fatal(&daemon_dir.child("absent/s"), "No such file or directory");
    fs::write(daemon_dir.child("file"), "").unwrap();
    fatal(&daemon_dir.child("file/s"), "Not a directory");
    assert_eq!(contents(daemon_dir.path()).len(), 2);

    for path in [longest, PathBuf::from("relative"), PathBuf::from("y".repeat(107))] {
        // The server has another folder, but the socket is in this one.
        let _server = Server::start(DaemonDir::new(), &mut started(&path));
        // The absolute path of the last one is too long to connect to.
        let data = fs::metadata(daemon_dir.path().join(&path)).unwrap();
        assert!(data.file_type().is_socket());
        if path.as_os_str().len() < 107 || path.is_absolute() {
            assert_eq!(status(&connect(&daemon_dir.path().join(&path)), b"L", &[]), 0);
        }
    }
    assert_eq!(contents(daemon_dir.path()).len(), 5);
}

#[test]
fn a_folder_without_write_permission_is_reported() {
    // Root can write to any folder except those in /proc.
    let (folder, reason) = match geteuid().is_root() {
        true => ("/proc/self", "No such file or directory"),
        false => ("/", "Permission denied"),
    };
    let path = format!("{folder}/fdholder-test-socket");
    let ended = try_to_start(Ours, "s6-fdholder-daemon", &["-i", "/absent", &path]);
    let message = format!("s6-fdholder-daemon: fatal: unable to bind to {path}: {reason}");
    assert_fatal(folder, &ended, &message);
}

#[test]
fn the_backlog_has_the_length_of_option_b() {
    for (backlog, room) in [("0", 1), ("3", 4), ("50", 51)] {
        let daemon_dir = DaemonDir::open();
        let mut command = daemon_dir.daemon(&["-c1", "-b", backlog]);
        let server = Server::start(daemon_dir, &mut command);
        let client = server.connect();
        assert_eq!(status(&client, b"L", &[]), 0);
        // The daemon is full. It accepts one more client, which waits for a free connection. The kernel lets
        // one more client wait than the backlog says.
        let mut waiting = fill_backlog(&server.daemon_dir.socket(), usize::MAX);
        if waiting.len() == room {
            let is_accepted = || {
                waiting.extend(fill_backlog(&server.daemon_dir.socket(), usize::MAX));
                waiting.len() > room
            };
            wait_until(|| format!("-b {backlog}: no client is accepted"), is_accepted);
        }
        assert_eq!(waiting.len(), 1 + room, "-b {backlog}");
        // When a client disconnects, the next one is served at once.
        drop(client);
        let first = UnixStream::from(waiting.into_iter().next().unwrap());
        first.set_nonblocking(false).unwrap();
        first.set_read_timeout(Some(TIMEOUT)).unwrap();
        assert_eq!(status(&first, b"L", &[]), 0);
    }
}

#[test]
fn the_default_backlog_is_at_least_20() {
    let daemon_dir = DaemonDir::open();
    let mut command = daemon_dir.daemon(&["-c1"]);
    let server = Server::start(daemon_dir, &mut command);
    let client = server.connect();
    assert_eq!(status(&client, b"L", &[]), 0);
    let waiting = fill_backlog(&server.daemon_dir.socket(), 20);
    assert_eq!(waiting.len(), 20);
    assert_eq!(status(&client, b"L", &[]), 0);
}
