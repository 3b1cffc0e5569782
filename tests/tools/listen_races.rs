//! fdholder-listen among others: several at a time, daemons that do not do as they should, others who
//! get in between, and little room.

use super::listen::{free_port, held, ids};
use crate::kit::clients::succeeded;
use crate::kit::daemon::{Daemon, Generation};
use crate::kit::fake::{
    Fake,
    Step::{self, Do, HangUp, Next, Receive, Send},
    status,
};
use crate::kit::tool::{Ended, Running, run, tool};
use crate::kit::wire::{self, Held, frame};
use crate::kit::{memfd, program};
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

/// A daemon that holds nothing, and refuses to store anything after so long. Says when it has been asked.
fn slow(time: Duration) -> (Fake, mpsc::Receiver<()>) {
    let (asked, is_asked) = mpsc::channel();
    let tell = Do(Box::new(move || asked.send(()).unwrap()));
    (Fake::start(then([tell, Step::Pause(time), says(PERM)])), is_asked)
}

/// Addresses of all kinds at which nothing is.
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
fn the_second_waits_as_long_as_the_first_takes_to_store_it() {
    let (daemon, dir) = (Daemon::start(Generation::Ours), TempDir::new().unwrap());
    for address in addresses(&dir) {
        let time = Duration::from_millis(1500);
        let (first_daemon, is_asked) = slow(time);
        let mut first = tool("fdholder-listen");
        let first = Running::start(first.arg(&first_daemon.path).args(["it", &address]));
        is_asked.recv().unwrap();
        // One that does not wait for ever.
        let mut command = tool("fdholder-listen");
        let ended = run(command.arg("-t300").arg(&daemon.path).args([&address, &address]));
        let line = format!("unable to wait for another fdholder-listen at {address}");
        is_fatal(&ended, 111, &format!("{line}: Connection timed out"));
        assert!(ended.wall >= Duration::from_millis(300) && ended.wall < time, "{ended:?}");
        let mut command = tool("fdholder-listen");
        let second = run(command.arg(&daemon.path).args([&address, &address]));
        assert_eq!(first.wait().code, 1);
        succeeded(&second);
        drop(held(&daemon, &address));
    }
}

/// A user who is not root.
const OTHER: u32 = 65534;

#[test]
fn nobody_waits_for_another_user_or_for_who_does_not_listen() {
    let (daemon, dir) = (Daemon::start(Generation::Ours), TempDir::new().unwrap());
    for (number, address) in addresses(&dir).into_iter().enumerate() {
        let kind = SocketType::STREAM;
        let taken = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        let text =
            [&b"fdholder-listen "[..], &address.as_bytes()[address.len().saturating_sub(91)..]]
                .concat();
        bind(&taken, &SocketAddrUnix::new_abstract_name(&text).unwrap()).unwrap();
        if geteuid().is_root() && number % 2 == 0 {
            // The user of a thread alone changes. The kernel notes who calls listen.
            let taken = &taken;
            thread::scope(|scope| {
                scope.spawn(|| {
                    // SAFETY: touches no memory.
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

/// Error numbers of the kernel, as a daemon answers.
const PERM: u8 = 1;
const NOENT: u8 = 2;
const BUSY: u8 = 16;

/// How many tools are started at once, and how often.
const TOOLS: usize = 8;
const ROUNDS: usize = 12;

/// Starts tools at once, each with an identifier of its own or all with the same, and says how they
/// ended.
fn at_once(daemon: &Daemon, address: &str, id: impl Fn(usize) -> String) -> Vec<Ended> {
    let start = |number| {
        let mut command = tool("fdholder-listen");
        Running::start(command.arg(&daemon.path).arg(id(number)).arg(address))
    };
    let all: Vec<_> = (0..TOOLS).map(start).collect();
    all.into_iter().map(Running::wait).collect()
}

/// Whether who connects to a path reaches what is held under an identifier.
fn is_served(daemon: &Daemon, id: &str, path: &Path) {
    let listener = UnixListener::from(held(daemon, id));
    listener.set_nonblocking(true).unwrap();
    let mut client = UnixStream::connect(path).unwrap();
    client.write_all(b"x").unwrap();
    loop {
        let (mut accepted, _) = listener.accept().expect("another socket is at the path");
        // Others have looked whether somebody listens, and have hung up.
        if accepted.read(&mut [0]).unwrap() == 1 {
            return;
        }
    }
}

#[test]
fn of_several_that_want_the_same_all_succeed_and_one_socket_is_left() {
    for generation in Generation::DAEMONS {
        let (daemon, dir) = (Daemon::start(generation), TempDir::new().unwrap());
        for round in 0..ROUNDS {
            let (id, path) = (format!("unix {round}"), dir.child(round.to_string()));
            if round % 2 == 0 {
                // One that is to be replaced.
                drop(UnixListener::bind(&path).unwrap());
            }
            let ended = at_once(&daemon, &format!("unix:{}", path.display()), |_| id.clone());
            ended.iter().for_each(succeeded);
            is_served(&daemon, &id, &path);
            let (id, port) = (format!("tcp {round}"), free_port());
            let ended = at_once(&daemon, &format!("tcp:127.0.0.1:{port}"), |_| id.clone());
            ended.iter().for_each(succeeded);
        }
        assert_eq!(ids(&daemon).len(), 2 * ROUNDS);
    }
}

#[test]
fn of_several_that_replace_the_same_socket_one_wins_and_is_reached() {
    let (daemon, dir) = (Daemon::start(Generation::Ours), TempDir::new().unwrap());
    for round in 0..2 * ROUNDS {
        let path = dir.child(round.to_string());
        drop(UnixListener::bind(&path).unwrap());
        let address = format!("unix:{}", path.display());
        let ended = at_once(&daemon, &address, |number| format!("{round} {number}"));
        let line = format!(
            "fdholder-listen: fatal: unable to bind to {address}: Address already in use\n"
        );
        for ended in ended.iter().filter(|ended| ended.code != 0) {
            assert_eq!((ended.code, &ended.err), (111, &line));
        }
        let start = format!("{round} ");
        let winners: Vec<_> =
            ids(&daemon).into_iter().filter(|id| id.starts_with(&start)).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        is_served(&daemon, &winners[0], &path);
    }
}

/// Runs the tool on a scripted daemon.
fn against(options: &[&str], address: &str, script: Vec<Step>) -> (Ended, Vec<u8>) {
    let fake = Fake::start(script);
    let mut command = tool("fdholder-listen");
    let ended = run(command.args(options).arg(&fake.path).args(["it", address]));
    (ended, fake.seen().bytes)
}

/// An answer without descriptors.
fn says(number: u8) -> Step {
    Send(status(number), vec![])
}

/// The answer to a retrieval.
fn gives(fd: OwnedFd) -> Step {
    Send(frame(&[0], 1), vec![fd])
}

/// What a daemon does that holds nothing under the identifier, up to the request to store it.
fn until_stored() -> Vec<Step> {
    vec![Receive, says(NOENT), Next, Receive]
}

fn is_fatal(ended: &Ended, code: i32, line: &str) {
    let line = format!("fdholder-listen: fatal: {line}\n");
    assert_eq!((ended.code, &ended.err[..]), (code, &line[..]));
}

#[test]
fn what_somebody_else_has_stored_meanwhile_counts() {
    let port = free_port();
    let address = format!("tcp:127.0.0.1:{port}");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = format!("tcp:{}", other.local_addr().unwrap());

    // The same, which the kernel lets nobody bind; it is stored a moment later.
    let same = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let script =
        vec![Receive, says(NOENT), Next, Receive, says(NOENT), Next, Receive, gives(same.into())];
    succeeded(&against(&[], &address, script).0);
    // Something else. Other tests do not use this address, whatever port they get.
    let dir = TempDir::new().unwrap();
    let address = format!("unix:@{}", dir.path().display());
    let fd: OwnedFd = other.into();
    let script = then([says(BUSY), Receive, gives(fd)]);
    let (ended, _) = against(&[], &address, script);
    is_fatal(&ended, 1, &format!("it is held at {theirs}, not at {address}"));
    // It has been deleted again, and so on: then the refusal stands.
    let mut script = then([says(BUSY), Receive, says(NOENT)]);
    for _ in 0..4 {
        script.extend([Next, Receive, says(NOENT)]);
    }
    let (ended, _) = against(&[], &address, script);
    is_fatal(&ended, 1, "unable to store fd for id it: Device or resource busy");
}

/// What a daemon does that holds nothing under the identifier, and then this.
fn then(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    until_stored().into_iter().chain(steps).collect()
}

#[test]
fn a_file_that_somebody_else_has_put_in_its_place_is_not_removed() {
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
        let script = then([replace(what), says(PERM)]);
        let (ended, _) = against(&[], &address, script);
        assert_eq!(ended.code, 1, "{ended:?}");
        fs::remove_file(&path).expect("what somebody else has put there");
    }
    let script = then([says(PERM)]);
    assert_eq!(against(&[], &address, script).0.code, 1);
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
        // One that hangs up without an answer has done nothing.
        (&[], vec![HangUp], silent.into(), false),
    ];
    for (options, steps, reason, stays) in rows {
        let (ended, seen) = against(options, &address, then(steps));
        is_fatal(&ended, 1, &format!("unable to store fd for id it: {reason}"));
        assert_eq!(path.exists(), stays, "{reason}");
        assert!(seen.windows(3).any(|bytes| bytes == b"\x02it"));
    }
    // It was not held after all: the next one replaces it.
    drop(fs::remove_file(&path));
    drop(UnixListener::bind(&path).unwrap());
    let daemon = Daemon::start(Generation::Ours);
    succeeded(&run(tool("fdholder-listen").arg(&daemon.path).args(["it", &address])));
    is_served(&daemon, "it", &path);
}

#[test]
fn nothing_is_made_for_a_daemon_that_breaks_the_protocol() {
    let dir = TempDir::new().unwrap();
    let address = format!("unix:{}", dir.child("s").display());
    let rows: [(Vec<Step>, &str); 7] = [
        (vec![Send(frame(&[0], 0), vec![])], "Protocol error"),
        (vec![Send(frame(&[0], 2), vec![memfd(), memfd()])], "Protocol error"),
        (vec![Send(frame(&[NOENT], 1), vec![memfd()])], "Protocol error"),
        (vec![Send(frame(&[0, 0], 1), vec![memfd()])], "Protocol error"),
        (vec![Send(vec![0xff; 7], vec![])], "Protocol error"),
        (vec![says(5)], "Input/output error"),
        (vec![Send(vec![0], vec![]), HangUp], "connection closed"),
    ];
    for (steps, reason) in rows {
        let (ended, _) = against(&[], &address, [Receive].into_iter().chain(steps).collect());
        is_fatal(&ended, 1, &format!("unable to retrieve fd for id it: {reason}"));
        assert!(!dir.child("s").exists());
    }
    let ended = run(tool("fdholder-listen").args(["/nowhere/s", "it", &address]));
    let line = "unable to connect to a fd-holder daemon at /nowhere/s: No such file or directory";
    is_fatal(&ended, 111, line);
    assert!(!dir.child("s").exists());
}

#[test]
fn the_time_that_the_daemon_has_is_kept_to() {
    let dir = TempDir::new().unwrap();
    let address = format!("unix:{}", dir.child("s").display());
    let limit = Duration::from_millis(300);
    let (ended, _) = against(&["-t300"], &address, vec![Receive]);
    is_fatal(&ended, 1, "unable to retrieve fd for id it: Connection timed out");
    assert!((limit..limit + Duration::from_secs(2)).contains(&ended.wall), "{ended:?}");
    // What it takes to get the lock of the directory is not the daemon's time, and bounded.
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
fn an_expiry_is_kept_by_the_daemon() {
    let daemon = Daemon::start(Generation::Ours);
    let rows: [(&[&str], Option<u64>); 3] =
        [(&[], None), (&["-T0"], None), (&["--expire=60500"], Some(60_500))];
    for (number, (options, span)) in rows.into_iter().enumerate() {
        let id = number.to_string();
        let address = format!("tcp:127.0.0.1:{}", free_port());
        let due = |ms| wire::expiry_in(Duration::from_millis(ms));
        let before = span.map(due);
        succeeded(&run(tool("fdholder-listen")
            .args(options)
            .arg(&daemon.path)
            .args([&id, &address])));
        let all = wire::get_dump(&daemon.path).unwrap();
        let Held { expiry, .. } = all.iter().find(|held| held.id == id.as_bytes()).unwrap();
        match (before, span.map(due)) {
            (Some(before), Some(after)) => assert!((before..=after).contains(expiry)),
            _ => assert!(*expiry > wire::expiry_in(Duration::from_secs(1 << 60))),
        }
    }
}

#[test]
fn closed_standard_descriptors_are_no_obstacle_and_never_taken() {
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
        is_served(&daemon, closed, &path);
        succeeded(&again());
        // Nothing of what cannot be said reaches a client or the daemon.
        fs::remove_file(&path).unwrap();
        let ended = again();
        assert_eq!((ended.code, ended.err.is_empty()), (1, closed.contains("2>")), "{ended:?}");
    }
    let said = daemon.log();
    assert_eq!(said, "");
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
            is_served(&daemon, &limit.to_string(), &path);
            done += 1;
        } else {
            let right = ended.err.ends_with(": Too many open files\n") && ended.code == 111;
            assert!(right && ended.err.lines().count() == 1, "{limit}: {ended:?}");
            failed += 1;
        }
    }
    assert!(failed > 0 && done > 0, "{failed} {done}");
    // A soft limit is raised.
    let mut shell = Command::new("sh");
    let script = "ulimit -Sn 3 && exec \"$0\" listen \"$@\"";
    shell.args(["-c", script]).arg(program()).arg(&daemon.path);
    let address = format!("tcp:127.0.0.1:{}", free_port());
    succeeded(&run(shell.args(["soft", &address])));
    drop(held(&daemon, "soft"));
}
