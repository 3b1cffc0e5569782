//! Unusual environments of the daemon: a listening socket that other processes share, namespaces of users,
//! processes that inspect the daemon, and a missing rules directory.

use crate::kit::daemon::Generation::{Ours, S6_2_15};
use crate::kit::daemon::{Daemon, GETDUMP, LIST, RETRIEVE, SETDUMP, STORE, Setup};
use crate::kit::process::{descriptors, wait_until};
use crate::kit::server::{DaemonDir, Server, answer, status, through};
use crate::kit::strace::{calls, strace_detached};
use crate::kit::tool::{TIMEOUT, run};
use crate::kit::wire::{self, retrieve_request, store_request};
use crate::kit::{memfd, program};
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use temp_dir::TempDir;

/// All rights.
const ALL: [(&str, &str); 5] =
    [(GETDUMP, "\n"), (SETDUMP, "\n"), (LIST, "\n"), (STORE, "\n"), (RETRIEVE, "\n")];

/// A listening socket for a daemon. The test shares it with the daemon.
fn listener(daemon_dir: &DaemonDir) -> UnixListener {
    let listener = UnixListener::bind(daemon_dir.socket()).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// Starts a daemon with this socket. If there are injections, the daemon runs under strace.
fn serve(daemon_dir: &DaemonDir, listener: &UnixListener, answers: &[&str]) -> Server {
    let answers: Vec<_> = answers.iter().map(|answer| answer.to_string()).collect();
    let mut command = if answers.is_empty() {
        through(Ours, "s6-fdholderd", "", "")
    } else {
        let mut command = strace_detached(&daemon_dir.child("trace"), &answers);
        command.arg("s6-fdholderd");
        command
    };
    command.arg("-1i").arg(daemon_dir.rules());
    command.stdin(OwnedFd::from(listener.try_clone().unwrap()));
    Server::start(daemon_dir.clone(), &mut command)
}

#[test]
fn a_listener_that_another_process_sets_to_blocking_mode_delays_no_client() {
    // After a wait that fails, the daemon tries all descriptors, and would block in `accept`.
    for answers in [&[][..], &["ppoll:error=ENOMEM:when=2+3"]] {
        let daemon_dir = DaemonDir::open();
        let shared = listener(&daemon_dir);
        let server = serve(&daemon_dir, &shared, answers);
        let idle = server.connect();
        for _ in 0..10 {
            shared.set_nonblocking(false).unwrap();
            let client = server.connect();
            assert_eq!(status(&client, b"L", &[]), 0, "{answers:?}");
            shared.set_nonblocking(false).unwrap();
            assert_eq!(status(&idle, b"L", &[]), 0, "{answers:?}");
        }
        assert_eq!(server.stop(), [""; 0]);
    }
}

#[test]
fn a_listener_that_is_shut_down_is_logged_once_and_not_polled() {
    for how in [Shutdown::Both, Shutdown::Read] {
        let daemon_dir = DaemonDir::open();
        let shared = listener(&daemon_dir);
        // The injection changes nothing. It makes the daemon run under strace, for the list of calls.
        let server = serve(&daemon_dir, &shared, &["umask:retval=0"]);
        let client = server.connect();
        assert_eq!(status(&client, b"L", &[]), 0);
        shutdown(&shared, how).unwrap();
        let expected =
            "s6-fdholderd: warning: the listening socket is shut down: Connection refused";
        assert_eq!(server.line(), expected);
        let tries = || {
            calls(&daemon_dir.child("trace")).iter().filter(|call| call.name == "accept4").count()
        };
        let (begun, first) = (Instant::now(), tries());
        // The daemon tries again at once, after a moment, and then every second.
        wait_until(|| format!("{} tries", tries() - first), || tries() >= first + 4);
        assert!(begun.elapsed() > Duration::from_millis(1500), "{:?}", begun.elapsed());
        assert_eq!(status(&client, b"L", &[]), 0);
        assert_eq!(server.stop(), [""; 0]);
    }
}

/// Sets an option of a socket, if the kernel knows it.
fn set_option(socket: &UnixListener, name: i32, value: i32) -> bool {
    let (address, length) = ((&raw const value).cast(), size_of_val(&value) as u32);
    let (socket, level) = (socket.as_raw_fd(), libc::SOL_SOCKET);
    // SAFETY: the kernel reads one number.
    let done = unsafe { libc::setsockopt(socket, level, name, address, length) };
    let unknown = io::Error::last_os_error().raw_os_error() == Some(libc::ENOPROTOOPT);
    assert!(done == 0 || unknown);
    done == 0
}

#[test]
fn socket_options_that_add_control_messages_cost_no_descriptor() {
    for option in [libc::SO_PASSCRED, libc::SO_PASSSEC, libc::SO_PASSPIDFD] {
        let daemon_dir = DaemonDir::open();
        let shared = listener(&daemon_dir);
        set_option(&shared, option, 1);
        let client = UnixStream::connect(daemon_dir.socket()).unwrap();
        client.set_read_timeout(Some(TIMEOUT)).unwrap();
        let server = serve(&daemon_dir, &shared, &[]);
        let file = memfd();
        assert_eq!(status(&client, &store_request(b"it", wire::never()), &[file.as_fd()]), 0);
        let before = descriptors(server.pid());
        for _ in 0..10 {
            let (reply, fds) = answer(&client, &retrieve_request(b"it", 0), &[]).unwrap();
            assert_eq!((&reply[..], wire::inode(&fds[0])), (&b"\0"[..], wire::inode(&file)));
        }
        assert_eq!(descriptors(server.pid()), before, "option {option}");
        assert_eq!(server.stop(), [""; 0]);
    }
}

#[test]
fn a_listener_without_descriptor_passing_causes_a_warning() {
    const SO_PASSRIGHTS: i32 = 83;
    let daemon_dir = DaemonDir::open();
    let shared = listener(&daemon_dir);
    let is_known = set_option(&shared, SO_PASSRIGHTS, 0);
    let server = serve(&daemon_dir, &shared, &[]);
    if is_known {
        let expected = "s6-fdholderd: warning: standard input has SO_PASSRIGHTS off: \
                   Operation not permitted";
        assert_eq!(server.line(), expected);
    }
    let client = server.connect();
    assert_eq!(status(&client, b"L", &[]), 0);
    let request = store_request(b"it", wire::never());
    let stored = answer(&client, &request, &[memfd().as_fd()]).map(|(reply, _)| reply);
    assert_eq!(stored.is_ok(), !is_known, "{stored:?}");
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn the_daemon_starts_if_the_kernel_does_not_report_that_its_socket_listens() {
    // The daemon reads SO_ACCEPTCONN with its second `getsockopt`. Its value stays 0.
    for answer in ["getsockopt:retval=0:when=2", "getsockopt:error=ENOPROTOOPT:when=2"] {
        for is_early in [false, true] {
            let daemon_dir = DaemonDir::open();
            let shared = listener(&daemon_dir);
            let early = is_early.then(|| UnixStream::connect(daemon_dir.socket()).unwrap());
            let mut server = serve(&daemon_dir, &shared, &[answer]);
            let all = calls(&daemon_dir.child("trace"));
            let asked = all.iter().find(|call| call.is_injected()).unwrap();
            assert!(asked.line.contains("SO_ACCEPTCONN"), "{}", asked.line);
            if let Some(client) = early {
                client.set_read_timeout(Some(TIMEOUT)).unwrap();
                assert_eq!(status(&client, b"L", &[]), 0);
            }
            server.assert_serves();
            assert_eq!(server.stop(), [""; 0]);
        }
    }
}

#[test]
fn without_option_1_the_daemon_closes_its_standard_output() {
    // A command substitution ends when all copies of its output are closed.
    for name in ["s6-fdholderd", "s6-fdholder-daemon"] {
        let daemon_dir = DaemonDir::open();
        let mut command = Command::new("sh");
        // A shell replaces the standard input of a background process.
        let script = "exec 3<&0; x=$(\"$@\" <&3 & echo $!); echo $x";
        command
            .args(["-c", script, "sh"])
            .arg(program())
            .args([name, "-i"])
            .arg(daemon_dir.rules());
        if name == "s6-fdholderd" {
            command.stdin(OwnedFd::from(listener(&daemon_dir)));
        } else {
            command.stdin(Stdio::null()).arg(daemon_dir.socket());
        }
        // The daemon keeps its standard error, so the test must not wait for its end.
        let output = command.stderr(Stdio::null()).output().unwrap();
        let pid = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        let client = UnixStream::connect(daemon_dir.socket()).unwrap();
        client.set_read_timeout(Some(TIMEOUT)).unwrap();
        let reply = answer(&client, b"L", &[]).map(|(reply, _)| reply[0]);
        kill_process(pid, Signal::TERM).unwrap();
        assert_eq!(reply.ok(), Some(0), "{name}");
    }
}

#[test]
fn the_process_name_is_s6_fdholderd_for_both_tools() {
    let check_name = |server: &Server| {
        let name = fs::read_to_string(format!("/proc/{}/comm", server.pid())).unwrap();
        assert_eq!(name, "s6-fdholderd\n");
    };
    check_name(&Server::open(Ours, &[]));
    let daemon_dir = DaemonDir::open();
    let mut command = daemon_dir.daemon(&[]);
    check_name(&Server::start(daemon_dir, &mut command));
    let daemon_dir = DaemonDir::open();
    let link = daemon_dir.child("s6-fdholder-daemon");
    symlink(program(), &link).unwrap();
    let mut command = Command::new(link);
    command.arg("-1i").arg(daemon_dir.rules()).arg(daemon_dir.socket()).stdin(Stdio::null());
    check_name(&Server::start(daemon_dir, &mut command));
}

/// An ordinary user.
const NOBODY: u32 = 65534;

/// Tries to take a descriptor out of a process, as a process of [`NOBODY`]. Returns the error, if any.
fn take_descriptor_of(pid: u32) -> Option<i32> {
    let mut command = Command::new("true");
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let take = move || {
        // SAFETY: the calls touch no memory.
        let taken = unsafe {
            let process = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            libc::syscall(libc::SYS_pidfd_getfd, process, 0, 0)
        };
        if taken < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: the closure makes system calls and nothing else.
    unsafe { command.pre_exec(take) };
    match command.status() {
        Ok(_) => None,
        Err(error) => error.raw_os_error(),
    }
}

#[test]
fn another_process_of_the_same_user_cannot_take_descriptors_out_of_the_daemon() {
    let start = |generation| {
        let setup = Setup { unprivileged: true, forbids_inspection: true, ..Setup::default() };
        let daemon = Daemon::start_with(generation, setup);
        let client = UnixStream::connect(&daemon.path).unwrap();
        client.set_read_timeout(Some(TIMEOUT)).unwrap();
        assert_eq!(status(&client, b"L", &[]), 0);
        daemon
    };
    let (theirs, ours) = (start(S6_2_15), start(Ours));
    // The C daemon allows it, unless the kernel is configured otherwise.
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or("0".into());
    if scope.trim() == "0" {
        assert_eq!(take_descriptor_of(theirs.pid()), None);
    }
    assert_eq!(take_descriptor_of(ours.pid()), Some(libc::EPERM));
}

/// A command that starts `s6-fdholderd` in a namespace of users in which no user has a number.
fn without_numbers(daemon_dir: &DaemonDir) -> Command {
    let mut command = Command::new("unshare");
    command.arg("-U").arg(program()).args(["s6-fdholderd", "-1i"]).arg(daemon_dir.rules());
    command.stdin(OwnedFd::from(listener(daemon_dir)));
    command
}

const SHARED: &str = "65534 may stand for others in this namespace: no client is self by it";

#[test]
fn a_client_without_a_number_in_the_namespace_is_not_self() {
    let check_warnings = |server: &Server| {
        for kind in ["uid", "gid"] {
            assert_eq!(server.line(), format!("s6-fdholderd: warning: {kind} {SHARED}"));
        }
    };
    // The daemon sees 65534 as the number of all users, including its own.
    let daemon_dir = DaemonDir::new();
    for key in ["uid/self", "gid/self"] {
        daemon_dir.allow(key, &ALL);
    }
    let mut command = without_numbers(&daemon_dir);
    let server = Server::start(daemon_dir, &mut command);
    check_warnings(&server);
    assert!(answer(&server.connect(), b"L", &[]).is_err(), "another user counts as self");
    let refused = "s6-fdholderd: info: uid 65534 gid 65534: connect: Operation not permitted";
    assert!(server.stop().iter().all(|line| line == refused));
    // A rule that refuses self then refuses no client.
    let daemon_dir = DaemonDir::open();
    daemon_dir.refuse("uid/self");
    let mut command = without_numbers(&daemon_dir);
    let mut server = Server::start(daemon_dir, &mut command);
    check_warnings(&server);
    server.assert_serves();
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_client_whose_real_number_is_65534_is_self() {
    let daemon =
        Daemon::start_with(Ours, Setup { rights: None, unprivileged: true, ..Setup::default() });
    let key = daemon.rules().join("uid/self");
    fs::create_dir_all(key.join("env")).unwrap();
    fs::write(key.join("env").join(LIST), "\n").unwrap();
    fs::write(key.join("allow"), "").unwrap();
    // The user of this test has made the socket, and the other user must be able to connect.
    fs::set_permissions(&daemon.path, fs::Permissions::from_mode(0o777)).unwrap();
    let user = match geteuid().is_root() {
        true => "setpriv --reuid=65534 --regid=65534 --clear-groups",
        false => "",
    };
    // That user may have no access to the folder of the program.
    let dir = TempDir::new().unwrap();
    let link = dir.child("fdholder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/proc/self/fd/9", &link).unwrap();
    let script = format!("exec {user} \"$2\" list \"$1\" 9<\"$0\"");
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).arg(program()).arg(&daemon.path).arg(&link);
    let ended = run(&mut command);
    // In a namespace where some users have no number, 65534 is ambiguous.
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    let (code, warned) = if map.contains(" 4294967295\n") { (0, false) } else { (1, true) };
    assert_eq!(ended.code, code, "{}", ended.err);
    assert_eq!(daemon.log().contains(SHARED), warned, "{}", daemon.log());
}

#[test]
fn without_proc_a_client_with_the_number_65534_is_not_self() {
    let daemon_dir = DaemonDir::new();
    daemon_dir.allow("uid/self", &ALL);
    // The daemon can open no file. It finds no rights, but a client that is self may connect.
    let server = serve(&daemon_dir, &listener(&daemon_dir), &["openat:error=ENOENT"]);
    let reply = answer(&server.connect(), b"L", &[]).map(|(reply, _)| reply);
    if geteuid().as_raw() == NOBODY {
        assert_eq!(server.line(), format!("s6-fdholderd: warning: uid {SHARED}"));
        assert_eq!(server.line(), format!("s6-fdholderd: warning: gid {SHARED}"));
        assert!(reply.is_err(), "{reply:?}");
    } else {
        assert_eq!(reply.unwrap(), [libc::EPERM as u8]);
    }
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn groups_that_cannot_be_set_are_accepted_if_they_are_right_already() {
    // In a namespace of one user, no process may set groups. The columns are the groups at the start, the
    // options, and whether the groups at the start are those of the options. A group without a number in the
    // namespace appears as 65534.
    let rows: &[(&str, &[&str], bool)] = &[
        ("", &["-u0"], true),
        ("", &["-g0"], true),
        ("", &["-u0", "-g0", "-G", ""], true),
        ("", &["-G0"], true),
        ("", &["-G5"], false),
        ("0", &["-u0", "-g0"], true),
        ("0", &["-G0"], true),
        ("5", &["-u0", "-g0"], false),
        ("0,5", &["-G0"], false),
        ("5", &["-G65534"], false),
        ("5,6", &["-G", ""], false),
    ];
    for (groups, options, is_right) in rows {
        // Only root can choose the groups at the start.
        if !geteuid().is_root() && !groups.is_empty() {
            continue;
        }
        let daemon_dir = DaemonDir::open();
        let mut command = match geteuid().is_root() {
            true => Command::new("setpriv"),
            false => Command::new("env"),
        };
        if geteuid().is_root() && groups.is_empty() {
            command.arg("--clear-groups");
        } else if geteuid().is_root() {
            command.args(["--groups", groups]);
        }
        command.args(["unshare", "-r"]).arg(program()).args(["daemon", "-1"]).args(*options);
        command.arg("-i").arg(daemon_dir.rules()).arg(daemon_dir.socket()).stdin(Stdio::null());
        if *is_right {
            let mut server = Server::start(daemon_dir, &mut command);
            server.assert_serves();
        } else {
            let ended = run(&mut command);
            let expected = "s6-fdholder-daemon: fatal: unable to drop privileges: \
                       Operation not permitted\n";
            assert_eq!((ended.code, &ended.err[..]), (111, expected), "{groups:?} {options:?}");
        }
    }
}

/// Starts a daemon with this rules directory.
fn with_rules(daemon_dir: &DaemonDir, rules: &Path) -> Server {
    let mut command = through(Ours, "s6-fdholderd", "", "");
    command.arg("-1i").arg(rules).stdin(OwnedFd::from(listener(daemon_dir)));
    Server::start(daemon_dir.clone(), &mut command)
}

#[test]
fn an_unreadable_rules_directory_causes_a_warning_and_may_appear_later() {
    let daemon_dir = DaemonDir::open();
    let (file, closed) = (daemon_dir.child("file"), daemon_dir.child("closed"));
    fs::write(&file, "").unwrap();
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let mut rows = vec![
        (daemon_dir.child("absent"), "No such file or directory"),
        (file, "Not a directory"),
        (daemon_dir.child("absent/rules"), "No such file or directory"),
    ];
    if !geteuid().is_root() {
        rows.push((closed, "Permission denied"));
    }
    for (rules, reason) in rows {
        let _ = fs::remove_file(daemon_dir.socket());
        let server = with_rules(&daemon_dir, &rules);
        let path = rules.display();
        let expected = format!("s6-fdholderd: warning: unable to read rules from {path}: {reason}");
        assert_eq!(server.line(), expected);
        assert!(answer(&server.connect(), b"L", &[]).is_err());
    }
    let _ = fs::remove_file(daemon_dir.socket());
    let late = daemon_dir.child("late");
    let mut server = with_rules(&daemon_dir, &late);
    server.line();
    symlink(daemon_dir.rules(), &late).unwrap();
    server.assert_serves();
    let _ = fs::remove_file(daemon_dir.socket());
    // A directory that exists causes no warning, also if its path ends with a slash.
    assert_eq!(with_rules(&daemon_dir, &daemon_dir.rules().join("")).stop(), [""; 0]);
}
