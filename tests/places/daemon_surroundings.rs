//! What the daemon believes about its surroundings: the listening socket that others have as well, who it
//! is in a namespace, who may look into it, and a folder of rules that is not there.

use crate::kit::daemon::Generation::{Ours, S6_2_15};
use crate::kit::daemon::{Daemon, GETDUMP, LIST, RETRIEVE, SETDUMP, STORE, Setup};
use crate::kit::process::{descriptors, until};
use crate::kit::server::{Place, Server, answer, status, through};
use crate::kit::strace::{calls, strace_aside};
use crate::kit::tool::{PATIENCE, run};
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

/// All rights of a client that may do everything.
const ALL: [(&str, &str); 5] =
    [(GETDUMP, "\n"), (SETDUMP, "\n"), (LIST, "\n"), (STORE, "\n"), (RETRIEVE, "\n")];

/// A listening socket for the daemon of a place, which the test has as well.
fn listener(place: &Place) -> UnixListener {
    let listener = UnixListener::bind(place.socket()).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// Starts a daemon on it, under strace with these answers in the kernel's place if there are any.
fn serve(place: &Place, listener: &UnixListener, answers: &[&str]) -> Server {
    let answers: Vec<_> = answers.iter().map(|answer| answer.to_string()).collect();
    let mut command = if answers.is_empty() {
        through(Ours, "s6-fdholderd", "", "")
    } else {
        let mut command = strace_aside(&place.child("trace"), &answers);
        command.arg("s6-fdholderd");
        command
    };
    command.arg("-1i").arg(place.rules());
    command.stdin(OwnedFd::from(listener.try_clone().unwrap()));
    Server::start(place.clone(), &mut command)
}

#[test]
fn a_listener_that_somebody_else_lets_block_holds_nobody_up() {
    // With a wait that fails now and then all is tried, as if somebody were there.
    for answers in [&[][..], &["ppoll:error=ENOMEM:when=2+3"]] {
        let place = Place::open();
        let shared = listener(&place);
        let server = serve(&place, &shared, answers);
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
fn a_listener_that_is_shut_down_is_said_once_and_costs_no_time() {
    for how in [Shutdown::Both, Shutdown::Read] {
        let place = Place::open();
        let shared = listener(&place);
        // An answer that changes nothing: it is for the list of calls.
        let server = serve(&place, &shared, &["umask:retval=0"]);
        let client = server.connect();
        assert_eq!(status(&client, b"L", &[]), 0);
        shutdown(&shared, how).unwrap();
        let due = "s6-fdholderd: warning: the listening socket is shut down: Connection refused";
        assert_eq!(server.line(), due);
        let tries =
            || calls(&place.child("trace")).iter().filter(|call| call.name == "accept4").count();
        let (begun, first) = (Instant::now(), tries());
        // At once, after a moment, and from then on every second.
        until(|| format!("{} tries", tries() - first), || tries() >= first + 4);
        assert!(begun.elapsed() > Duration::from_millis(1500), "{:?}", begun.elapsed());
        assert_eq!(status(&client, b"L", &[]), 0);
        assert_eq!(server.stop(), [""; 0]);
    }
}

/// Sets an option of a socket, if the kernel knows it.
fn set_option(socket: &UnixListener, name: i32, value: i32) -> bool {
    let (place, length) = ((&raw const value).cast(), size_of_val(&value) as u32);
    let (socket, level) = (socket.as_raw_fd(), libc::SOL_SOCKET);
    // SAFETY: the kernel reads one number.
    let done = unsafe { libc::setsockopt(socket, level, name, place, length) };
    let unknown = io::Error::last_os_error().raw_os_error() == Some(libc::ENOPROTOOPT);
    assert!(done == 0 || unknown);
    done == 0
}

#[test]
fn what_a_connection_made_before_the_start_is_to_tell_costs_nobody_a_descriptor() {
    for option in [libc::SO_PASSCRED, libc::SO_PASSSEC, libc::SO_PASSPIDFD] {
        let place = Place::open();
        let shared = listener(&place);
        set_option(&shared, option, 1);
        let client = UnixStream::connect(place.socket()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let server = serve(&place, &shared, &[]);
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
fn a_listener_that_lets_no_descriptors_through_is_warned_of() {
    const SO_PASSRIGHTS: i32 = 83;
    let place = Place::open();
    let shared = listener(&place);
    let is_known = set_option(&shared, SO_PASSRIGHTS, 0);
    let server = serve(&place, &shared, &[]);
    if is_known {
        let due = "s6-fdholderd: warning: standard input has SO_PASSRIGHTS off: \
                   Operation not permitted";
        assert_eq!(server.line(), due);
    }
    let client = server.connect();
    assert_eq!(status(&client, b"L", &[]), 0);
    let request = store_request(b"it", wire::never());
    let stored = answer(&client, &request, &[memfd().as_fd()]).map(|(reply, _)| reply);
    assert_eq!(stored.is_ok(), !is_known, "{stored:?}");
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_kernel_that_does_not_say_that_a_socket_listens_is_not_believed() {
    // The second option that is asked for is SO_ACCEPTCONN; what it says stays 0.
    for answer in ["getsockopt:retval=0:when=2", "getsockopt:error=ENOPROTOOPT:when=2"] {
        for is_early in [false, true] {
            let place = Place::open();
            let shared = listener(&place);
            let early = is_early.then(|| UnixStream::connect(place.socket()).unwrap());
            let mut server = serve(&place, &shared, &[answer]);
            let all = calls(&place.child("trace"));
            let asked = all.iter().find(|call| call.is_injected()).unwrap();
            assert!(asked.line.contains("SO_ACCEPTCONN"), "{}", asked.line);
            if let Some(client) = early {
                client.set_read_timeout(Some(PATIENCE)).unwrap();
                assert_eq!(status(&client, b"L", &[]), 0);
            }
            server.serves();
            assert_eq!(server.stop(), [""; 0]);
        }
    }
}

#[test]
fn a_shell_that_waits_for_the_end_of_its_output_gets_it() {
    // A file stands for the listening socket where the tool makes none.
    for name in ["s6-fdholderd", "s6-fdholder-daemon"] {
        let place = Place::open();
        let mut command = Command::new("sh");
        // A shell gives what runs in the background another standard input.
        let script = "exec 3<&0; x=$(\"$@\" <&3 & echo $!); echo $x";
        command.args(["-c", script, "sh"]).arg(program()).args([name, "-i"]).arg(place.rules());
        if name == "s6-fdholderd" {
            command.stdin(OwnedFd::from(listener(&place)));
        } else {
            command.stdin(Stdio::null()).arg(place.socket());
        }
        // Its standard error is not to be waited for.
        let output = command.stderr(Stdio::null()).output().unwrap();
        let pid = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        let client = UnixStream::connect(place.socket()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let reply = answer(&client, b"L", &[]).map(|(reply, _)| reply[0]);
        kill_process(pid, Signal::TERM).unwrap();
        assert_eq!(reply.ok(), Some(0), "{name}");
    }
}

#[test]
fn the_process_is_called_s6_fdholderd_whichever_tool_was_called() {
    let name = |server: &Server| {
        let name = fs::read_to_string(format!("/proc/{}/comm", server.pid())).unwrap();
        assert_eq!(name, "s6-fdholderd\n");
    };
    name(&Server::open(Ours, &[]));
    let place = Place::open();
    let mut command = place.daemon(&[]);
    name(&Server::start(place, &mut command));
    let place = Place::open();
    let link = place.child("s6-fdholder-daemon");
    symlink(program(), &link).unwrap();
    let mut command = Command::new(link);
    command.arg("-1i").arg(place.rules()).arg(place.socket()).stdin(Stdio::null());
    name(&Server::start(place, &mut command));
}

/// An ordinary user.
const NOBODY: u32 = 65534;

/// Has a process of [`NOBODY`] try to take a descriptor out of another one: the error, if it cannot.
fn takes_out_of(pid: u32) -> Option<i32> {
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
fn nobody_takes_a_descriptor_out_of_a_daemon_of_the_same_user() {
    let start = |generation| {
        let setup = Setup { unprivileged: true, is_closed: true, ..Setup::default() };
        let daemon = Daemon::start_with(generation, setup);
        let client = UnixStream::connect(&daemon.path).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(status(&client, b"L", &[]), 0);
        daemon
    };
    let (theirs, ours) = (start(S6_2_15), start(Ours));
    // Where nothing else forbids it, the one of C is open to it.
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or("0".into());
    if scope.trim() == "0" {
        assert_eq!(takes_out_of(theirs.pid()), None);
    }
    assert_eq!(takes_out_of(ours.pid()), Some(libc::EPERM));
}

/// A command that starts `s6-fdholderd` in a namespace of users in which nobody has a number.
fn without_numbers(place: &Place) -> Command {
    let mut command = Command::new("unshare");
    command.arg("-U").arg(program()).args(["s6-fdholderd", "-1i"]).arg(place.rules());
    command.stdin(OwnedFd::from(listener(place)));
    command
}

const SHARED: &str = "65534 may stand for others in this namespace: no client is self by it";

#[test]
fn who_has_no_number_is_nobodys_self() {
    let is_warned = |server: &Server| {
        for kind in ["uid", "gid"] {
            assert_eq!(server.line(), format!("s6-fdholderd: warning: {kind} {SHARED}"));
        }
    };
    // To the daemon all have 65534, itself included.
    let place = Place::new();
    for key in ["uid/self", "gid/self"] {
        place.allow(key, &ALL);
    }
    let mut command = without_numbers(&place);
    let server = Server::start(place, &mut command);
    is_warned(&server);
    assert!(answer(&server.connect(), b"L", &[]).is_err(), "a stranger is self");
    let refused = "s6-fdholderd: info: uid 65534 gid 65534: connect: Operation not permitted";
    assert!(server.stop().iter().all(|line| line == refused));
    // That it is nobody's self refuses nobody.
    let place = Place::open();
    place.refuse("uid/self");
    let mut command = without_numbers(&place);
    let mut server = Server::start(place, &mut command);
    is_warned(&server);
    server.serves();
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn who_really_has_the_number_65534_is_self() {
    let daemon =
        Daemon::start_with(Ours, Setup { rights: None, unprivileged: true, ..Setup::default() });
    let key = daemon.rules().join("uid/self");
    fs::create_dir_all(key.join("env")).unwrap();
    fs::write(key.join("env").join(LIST), "\n").unwrap();
    fs::write(key.join("allow"), "").unwrap();
    // Whoever made the socket, that user is to connect.
    fs::set_permissions(&daemon.path, fs::Permissions::from_mode(0o777)).unwrap();
    let user = match geteuid().is_root() {
        true => "setpriv --reuid=65534 --regid=65534 --clear-groups",
        false => "",
    };
    // The program may lie where that user may not go.
    let dir = TempDir::new().unwrap();
    let link = dir.child("fdholder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/proc/self/fd/9", &link).unwrap();
    let script = format!("exec {user} \"$2\" list \"$1\" 9<\"$0\"");
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).arg(program()).arg(&daemon.path).arg(&link);
    let ended = run(&mut command);
    // In a namespace that not all have a number in, nobody knows.
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    let (code, warned) = if map.contains(" 4294967295\n") { (0, false) } else { (1, true) };
    assert_eq!(ended.code, code, "{}", ended.err);
    assert_eq!(daemon.log().contains(SHARED), warned, "{}", daemon.log());
}

#[test]
fn without_proc_65534_is_nobodys_self() {
    let place = Place::new();
    place.allow("uid/self", &ALL);
    // No file can be opened: no right is found either, but who is self is let in.
    let server = serve(&place, &listener(&place), &["openat:error=ENOENT"]);
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
fn groups_that_cannot_be_set_but_are_right_will_do() {
    // A namespace of one user, in which nobody may set groups: what the process has before, what it
    // asks for, and whether that is so. Groups without a number there are seen as 65534.
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
        // Only root may have others to begin with.
        if !geteuid().is_root() && !groups.is_empty() {
            continue;
        }
        let place = Place::open();
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
        command.arg("-i").arg(place.rules()).arg(place.socket()).stdin(Stdio::null());
        if *is_right {
            let mut server = Server::start(place, &mut command);
            server.serves();
        } else {
            let ended = run(&mut command);
            let due = "s6-fdholder-daemon: fatal: unable to drop privileges: \
                       Operation not permitted\n";
            assert_eq!((ended.code, &ended.err[..]), (111, due), "{groups:?} {options:?}");
        }
    }
}

/// Starts a daemon with this folder of rules.
fn with_rules(place: &Place, rules: &Path) -> Server {
    let mut command = through(Ours, "s6-fdholderd", "", "");
    command.arg("-1i").arg(rules).stdin(OwnedFd::from(listener(place)));
    Server::start(place.clone(), &mut command)
}

#[test]
fn a_folder_of_rules_that_cannot_be_read_is_warned_of_and_may_come_later() {
    let place = Place::open();
    let (file, closed) = (place.child("file"), place.child("closed"));
    fs::write(&file, "").unwrap();
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let mut rows = vec![
        (place.child("absent"), "No such file or directory"),
        (file, "Not a directory"),
        (place.child("absent/rules"), "No such file or directory"),
    ];
    if !geteuid().is_root() {
        rows.push((closed, "Permission denied"));
    }
    for (rules, reason) in rows {
        let _ = fs::remove_file(place.socket());
        let server = with_rules(&place, &rules);
        let path = rules.display();
        let due = format!("s6-fdholderd: warning: unable to read rules from {path}: {reason}");
        assert_eq!(server.line(), due);
        assert!(answer(&server.connect(), b"L", &[]).is_err());
    }
    let _ = fs::remove_file(place.socket());
    let late = place.child("late");
    let mut server = with_rules(&place, &late);
    server.line();
    symlink(place.rules(), &late).unwrap();
    server.serves();
    let _ = fs::remove_file(place.socket());
    // Nothing is said of one that is there, with a name that ends with a slash or not.
    assert_eq!(with_rules(&place, &place.rules().join("")).stop(), [""; 0]);
}
