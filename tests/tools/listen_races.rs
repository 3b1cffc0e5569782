//! fdholder-listen with others: several at the same time, changes by others while it runs, daemons that break
//! the protocol, and low limits.

use super::listen::{held, ids};
use crate::kit::clients::succeeded;
use crate::kit::daemon::{Daemon, Generation};
use crate::kit::fake::{
    Fake,
    Step::{self, Do, HangUp, Next, Receive, Send},
    status,
};
use crate::kit::tool::{Ended, Running, run, tool};
use crate::kit::wire::{self, Held, frame};
use crate::kit::{free_port, memfd, program};
use rustix::fs::{FlockOperation, flock};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use rustix::process::geteuid;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use temp_dir::TempDir;

/// A daemon that holds nothing, and refuses a store after a pause. The receiver reports when the request has
/// arrived.
fn slow_to_refuse(time: Duration) -> (Fake, mpsc::Receiver<()>) {
    let (asked, is_asked) = mpsc::channel();
    let tell = Do(Box::new(move || asked.send(()).unwrap()));
    (Fake::start(at_store([tell, Step::Pause(time), answers(PERM)])), is_asked)
}

/// Free addresses of all kinds.
fn addresses(dir: &TempDir) -> [String; 4] {
    let path = dir.child("s").display().to_string();
    [
        format!("tcp:127.0.0.1:{}", free_port()),
        format!("udp:[::1]:{}", free_port()),
        format!("unix:{path}"),
        format!("unix-dgram:@{path}"),
    ]
}

#[test]
fn a_second_tool_at_an_address_waits_for_the_first() {
    let (daemon, dir) = (Daemon::start(Generation::Ours), TempDir::new().unwrap());
    for address in addresses(&dir) {
        let time = Duration::from_millis(1500);
        let (first_daemon, is_asked) = slow_to_refuse(time);
        let mut first = tool("fdholder-listen");
        let first = Running::start(first.arg(&first_daemon.path).args(["it", &address]));
        is_asked.recv().unwrap();
        // A tool with a timeout.
        let mut command = tool("fdholder-listen");
        let ended = run(command.arg("-t300").arg(&daemon.path).args([&address, &address]));
        let line = format!("unable to wait for another fdholder-listen at {address}");
        assert_fatal(&ended, 111, &format!("{line}: Connection timed out"));
        assert!(ended.wall >= Duration::from_millis(300) && ended.wall < time, "{ended:?}");
        let mut command = tool("fdholder-listen");
        let second = run(command.arg(&daemon.path).args([&address, &address]));
        assert_eq!(first.wait().code, 1);
        succeeded(&second);
        drop(held(&daemon, &address));
    }
}

/// An ordinary user.
const OTHER: u32 = 65534;

#[test]
fn a_tool_does_not_wait_for_another_user_or_for_a_socket_that_does_not_listen() {
    let (daemon, dir) = (Daemon::start(Generation::Ours), TempDir::new().unwrap());
    for (number, address) in addresses(&dir).into_iter().enumerate() {
        let kind = SocketType::STREAM;
        let taken = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        let text =
            [&b"fdholder-listen "[..], &address.as_bytes()[address.len().saturating_sub(91)..]]
                .concat();
        bind(&taken, &SocketAddrUnix::new_abstract_name(&text).unwrap()).unwrap();
        if geteuid().is_root() && number % 2 == 0 {
            // Only the user of this thread changes. The kernel records the user that calls `listen`.
            let taken = &taken;
            thread::scope(|scope| {
                scope.spawn(|| {
                    // SAFETY: the call touches no memory.
                    let done = unsafe { libc::syscall(libc::SYS_setresuid, OTHER, OTHER, OTHER) };
                    assert_eq!(done, 0);
                    listen(taken, 5).unwrap();
                });
            });
        }
        let mut command = tool("fdholder-listen");
        let ended = run(command.arg(&daemon.path).args([&address, &address]));
        succeeded(&ended);
        assert!(ended.wall < Duration::from_secs(2), "{ended:?}");
    }
}

/// Errors that a daemon answers with.
const PERM: u8 = 1;
const NOENT: u8 = 2;
const BUSY: u8 = 16;

/// The number of tools that start at the same time, and how often that is done.
const TOOLS: usize = 8;
const ROUNDS: usize = 12;

/// Runs several tools at the same time. `id` returns the identifier for each.
fn run_at_once(daemon: &Daemon, address: &str, id: impl Fn(usize) -> String) -> Vec<Ended> {
    let start = |number| {
        let mut command = tool("fdholder-listen");
        Running::start(command.arg(&daemon.path).arg(id(number)).arg(address))
    };
    let all: Vec<_> = (0..TOOLS).map(start).collect();
    all.into_iter().map(Running::wait).collect()
}

/// Checks that a client that connects to the path reaches the socket that is held under the identifier.
fn assert_reachable(daemon: &Daemon, id: &str, path: &Path) {
    let listener = UnixListener::from(held(daemon, id));
    listener.set_nonblocking(true).unwrap();
    let mut client = UnixStream::connect(path).unwrap();
    client.write_all(b"x").unwrap();
    loop {
        let (mut accepted, _) = listener.accept().expect("another socket is at the path");
        // Other tools have connected to see whether the socket listens, and have disconnected.
        if accepted.read(&mut [0]).unwrap() == 1 {
            return;
        }
    }
}

#[test]
fn several_tools_with_the_same_identifier_all_succeed_with_one_socket() {
    for generation in Generation::DAEMONS {
        let (daemon, dir) = (Daemon::start(generation), TempDir::new().unwrap());
        for round in 0..ROUNDS {
            let (id, path) = (format!("unix {round}"), dir.child(round.to_string()));
            if round % 2 == 0 {
                // A stale socket, which has to be replaced.
                drop(UnixListener::bind(&path).unwrap());
            }
            let ended = run_at_once(&daemon, &format!("unix:{}", path.display()), |_| id.clone());
            ended.iter().for_each(succeeded);
            assert_reachable(&daemon, &id, &path);
            let (id, port) = (format!("tcp {round}"), free_port());
            let ended = run_at_once(&daemon, &format!("tcp:127.0.0.1:{port}"), |_| id.clone());
            ended.iter().for_each(succeeded);
        }
        assert_eq!(ids(&daemon).len(), 2 * ROUNDS);
    }
}

#[test]
fn of_several_tools_that_replace_a_socket_one_succeeds_and_its_socket_is_reachable() {
    let (daemon, dir) = (Daemon::start(Generation::Ours), TempDir::new().unwrap());
    for round in 0..2 * ROUNDS {
        let path = dir.child(round.to_string());
        drop(UnixListener::bind(&path).unwrap());
        let address = format!("unix:{}", path.display());
        let ended = run_at_once(&daemon, &address, |number| format!("{round} {number}"));
        let line = format!(
            "fdholder-listen: fatal: unable to bind to {address}: Address already in use\n"
        );
        for ended in ended.iter().filter(|ended| ended.code != 0) {
            assert_eq!((ended.code, &ended.err), (111, &line));
        }
        let start = format!("{round} ");
        let held: Vec<_> = ids(&daemon).into_iter().filter(|id| id.starts_with(&start)).collect();
        assert_eq!(held.len(), 1, "{held:?}");
        assert_reachable(&daemon, &held[0], &path);
    }
}

/// Runs the tool with a scripted daemon. Returns how it ended and what it sent.
fn run_with_script(options: &[&str], address: &str, script: Vec<Step>) -> (Ended, Vec<u8>) {
    let fake = Fake::start(script);
    let mut command = tool("fdholder-listen");
    let ended = run(command.args(options).arg(&fake.path).args(["it", address]));
    (ended, fake.seen().bytes)
}

/// An answer of only a status.
fn answers(number: u8) -> Step {
    Send(status(number), vec![])
}

/// The answer to a retrieve, with a descriptor.
fn gives(fd: OwnedFd) -> Step {
    Send(frame(&[0], 1), vec![fd])
}

/// The script of a daemon that does not hold the identifier, up to the request to store it.
fn script_up_to_store() -> Vec<Step> {
    vec![Receive, answers(NOENT), Next, Receive]
}

fn assert_fatal(ended: &Ended, code: i32, line: &str) {
    let line = format!("fdholder-listen: fatal: {line}\n");
    assert_eq!((ended.code, &ended.err[..]), (code, &line[..]));
}

#[test]
fn an_entry_that_another_tool_has_stored_meanwhile_counts() {
    let port = free_port();
    let address = format!("tcp:127.0.0.1:{port}");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = format!("tcp:{}", other.local_addr().unwrap());

    // The same address. The tool cannot bind it, and finds it stored a moment later.
    let same = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let script = vec![
        Receive,
        answers(NOENT),
        Next,
        Receive,
        answers(NOENT),
        Next,
        Receive,
        gives(same.into()),
    ];
    succeeded(&run_with_script(&[], &address, script).0);
    // A socket at another address. Other tests do not use this address.
    let dir = TempDir::new().unwrap();
    let address = format!("unix:@{}", dir.path().display());
    let fd: OwnedFd = other.into();
    let script = at_store([answers(BUSY), Receive, gives(fd)]);
    let (ended, _) = run_with_script(&[], &address, script);
    assert_fatal(&ended, 1, &format!("it is held at {theirs}, not at {address}"));
    // The other entry is deleted again before it is seen, each time. Then the refusal is reported.
    let mut script = script_up_to_store();
    for _ in 0..5 {
        script.extend([answers(BUSY), Receive, answers(NOENT), Next, Receive]);
    }
    script.push(answers(BUSY));
    let (ended, _) = run_with_script(&[], &address, script);
    assert_fatal(&ended, 1, "unable to store fd for id it: Device or resource busy");
}

#[test]
fn an_address_that_becomes_free_meanwhile_is_taken() {
    let dir = TempDir::new().unwrap();
    let (port, path) = (free_port(), dir.child("s"));
    let tcp: OwnedFd = TcpListener::bind(("127.0.0.1", port)).unwrap().into();
    let unix: OwnedFd = UnixListener::bind(&path).unwrap().into();
    let rows = [(tcp, format!("tcp:127.0.0.1:{port}")), (unix, format!("unix:{}", path.display()))];
    for (fd, address) in rows {
        // The socket is closed when the tool has failed once and asks the daemon again.
        let closes = Do(Box::new(|| drop(fd)));
        let script = vec![
            Receive,
            answers(NOENT),
            Next,
            Receive,
            closes,
            answers(NOENT),
            Next,
            Receive,
            answers(0),
        ];
        let (ended, seen) = run_with_script(&[], &address, script);
        succeeded(&ended);
        assert!(seen.windows(3).any(|bytes| bytes == b"\x02it"));
    }
}

/// The script of a daemon that does not hold the identifier, and does these steps at the request to store it.
fn at_store(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    script_up_to_store().into_iter().chain(steps).collect()
}

#[test]
fn a_file_that_another_process_has_put_at_the_path_is_not_removed() {
    let dir = TempDir::new().unwrap();
    let path = dir.child("s");
    let address = format!("unix:{}", path.display());
    let replace = |what: fn(&Path)| {
        let path = path.clone();
        Do(Box::new(move || {
            fs::remove_file(&path).unwrap();
            what(&path);
        }))
    };
    let others: [fn(&Path); 2] =
        [|path| drop(UnixListener::bind(path).unwrap()), |path| fs::write(path, "text").unwrap()];
    for what in others {
        let script = at_store([replace(what), answers(PERM)]);
        let (ended, _) = run_with_script(&[], &address, script);
        assert_eq!(ended.code, 1, "{ended:?}");
        fs::remove_file(&path).expect("the file of the other process");
    }
    let script = at_store([answers(PERM)]);
    assert_eq!(run_with_script(&[], &address, script).0.code, 1);
    assert!(fs::symlink_metadata(&path).is_err());
}

#[test]
fn a_socket_that_the_daemon_may_hold_keeps_its_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.child("s");
    let address = format!("unix:{}", path.display());
    let (doubt, closed) = ("; it may have been done", "connection closed");
    let silent = "connection closed without an answer: is this user allowed to connect?";
    let rows: [(&[&str], Vec<Step>, String, bool); 4] = [
        (&[], vec![Send(vec![0, 0], vec![]), HangUp], format!("{closed}{doubt}"), true),
        (&[], vec![Send(frame(&[0, 0], 0), vec![])], format!("Protocol error{doubt}"), true),
        (&["-t", "300"], vec![], format!("Connection timed out{doubt}"), true),
        // A daemon that disconnects before it answers anything has stored nothing.
        (&[], vec![HangUp], silent.into(), false),
    ];
    for (options, steps, reason, stays) in rows {
        let (ended, seen) = run_with_script(options, &address, at_store(steps));
        assert_fatal(&ended, 1, &format!("unable to store fd for id it: {reason}"));
        assert_eq!(path.exists(), stays, "{reason}");
        assert!(seen.windows(3).any(|bytes| bytes == b"\x02it"));
    }
    // The next tool replaces the socket, since it is not held.
    drop(fs::remove_file(&path));
    drop(UnixListener::bind(&path).unwrap());
    let daemon = Daemon::start(Generation::Ours);
    succeeded(&run(tool("fdholder-listen").arg(&daemon.path).args(["it", &address])));
    assert_reachable(&daemon, "it", &path);
}

#[test]
fn no_socket_is_made_if_the_daemon_breaks_the_protocol() {
    let dir = TempDir::new().unwrap();
    let address = format!("unix:{}", dir.child("s").display());
    let rows: [(Vec<Step>, &str); 7] = [
        (vec![Send(frame(&[0], 0), vec![])], "Protocol error"),
        (vec![Send(frame(&[0], 2), vec![memfd(), memfd()])], "Protocol error"),
        (vec![Send(frame(&[NOENT], 1), vec![memfd()])], "Protocol error"),
        (vec![Send(frame(&[0, 0], 1), vec![memfd()])], "Protocol error"),
        (vec![Send(vec![0xff; 7], vec![])], "Protocol error"),
        (vec![answers(5)], "Input/output error"),
        (vec![Send(vec![0], vec![]), HangUp], "connection closed"),
    ];
    for (steps, reason) in rows {
        let (ended, _) =
            run_with_script(&[], &address, [Receive].into_iter().chain(steps).collect());
        assert_fatal(&ended, 1, &format!("unable to retrieve fd for id it: {reason}"));
        assert!(!dir.child("s").exists());
    }
    let ended = run(tool("fdholder-listen").args(["/nowhere/s", "it", &address]));
    let line = "unable to connect to a fd-holder daemon at /nowhere/s: No such file or directory";
    assert_fatal(&ended, 111, line);
    assert!(!dir.child("s").exists());
}

#[test]
fn the_timeout_limits_the_time_of_the_daemon_only() {
    let dir = TempDir::new().unwrap();
    let address = format!("unix:{}", dir.child("s").display());
    let limit = Duration::from_millis(300);
    let (ended, _) = run_with_script(&["-t300"], &address, vec![Receive]);
    assert_fatal(&ended, 1, "unable to retrieve fd for id it: Connection timed out");
    assert!((limit..limit + Duration::from_secs(2)).contains(&ended.wall), "{ended:?}");
    // The time to get the lock of the directory does not count. It has a limit of its own.
    let daemon = Daemon::start(Generation::Ours);
    let lock = File::open(dir.path()).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let mut command = tool("fdholder-listen");
    let ended = run(command.args(["-t300"]).arg(&daemon.path).args(["it", &address]));
    succeeded(&ended);
    assert!(
        (Duration::from_millis(400)..Duration::from_secs(3)).contains(&ended.wall),
        "{ended:?}"
    );
}

#[test]
fn option_t_sets_the_expiry_of_the_entry() {
    let daemon = Daemon::start(Generation::Ours);
    let rows: [(&[&str], Option<u64>); 3] =
        [(&[], None), (&["-T0"], None), (&["--expire=60500"], Some(60_500))];
    for (number, (options, span)) in rows.into_iter().enumerate() {
        let id = number.to_string();
        let address = format!("tcp:127.0.0.1:{}", free_port());
        let expiry_in = |ms| wire::expiry_in(Duration::from_millis(ms));
        let before = span.map(expiry_in);
        succeeded(&run(tool("fdholder-listen")
            .args(options)
            .arg(&daemon.path)
            .args([&id, &address])));
        let all = wire::get_dump(&daemon.path).unwrap();
        let Held { expiry, .. } = all.iter().find(|held| held.id == id.as_bytes()).unwrap();
        match (before, span.map(expiry_in)) {
            (Some(before), Some(after)) => assert!((before..=after).contains(expiry)),
            _ => assert!(*expiry > wire::expiry_in(Duration::from_secs(1 << 60))),
        }
    }
}

#[test]
fn with_closed_standard_descriptors_no_message_goes_into_a_socket() {
    let (daemon, dir) = (Daemon::start(Generation::Ours), TempDir::new().unwrap());
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let path = dir.child(closed.replace(['<', '>', '&', ' '], ""));
        let address = format!("unix:{}", path.display());
        let again = || {
            let mut shell = Command::new("sh");
            let script = format!("exec \"$0\" fdholder-listen \"$@\" {closed}");
            shell.args(["-c", &script]).arg(program()).arg(&daemon.path);
            run(shell.args([closed, &address]))
        };
        succeeded(&again());
        assert_reachable(&daemon, closed, &path);
        succeeded(&again());
        // A message that cannot be printed must not reach a client or the daemon.
        fs::remove_file(&path).unwrap();
        let ended = again();
        assert_eq!((ended.code, ended.err.is_empty()), (1, closed.contains("2>")), "{ended:?}");
    }
    assert_eq!(daemon.log(), "");
}

#[test]
fn a_limit_that_is_too_low_is_named_and_leaves_nothing() {
    let (daemon, dir) = (Daemon::start(Generation::Ours), TempDir::new().unwrap());
    let (mut failed, mut done) = (0, 0);
    for limit in 3..12 {
        let path = dir.child(limit.to_string());
        let address = format!("unix:{}", path.display());
        drop(UnixListener::bind(&path).unwrap());
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {limit} && exec \"$0\" listen \"$@\"");
        shell.args(["-c", &script]).arg(program()).arg(&daemon.path);
        let ended = run(shell.args([limit.to_string(), address]));
        if ended.code == 0 {
            assert_reachable(&daemon, &limit.to_string(), &path);
            done += 1;
        } else {
            let right = ended.err.ends_with(": Too many open files\n") && ended.code == 111;
            assert!(right && ended.err.lines().count() == 1, "{limit}: {ended:?}");
            failed += 1;
        }
    }
    assert!(failed > 0 && done > 0, "{failed} {done}");
    // A low soft limit is raised.
    let mut shell = Command::new("sh");
    let script = "ulimit -Sn 3 && exec \"$0\" listen \"$@\"";
    shell.args(["-c", script]).arg(program()).arg(&daemon.path);
    let address = format!("tcp:127.0.0.1:{}", free_port());
    succeeded(&run(shell.args(["soft", &address])));
    drop(held(&daemon, "soft"));
}
