//! The errors of fdholder-adopt.

use super::adopt::{Sockets, adopt, assert_fatal};
use super::listen::{held, ids};
use crate::kit::daemon::{Daemon, GETDUMP, Generation, LIST, RETRIEVE, STORE, Setup};
use crate::kit::fake::{
    Fake,
    Step::{self, HangUp, Next, Receive, Send},
    status,
};
use crate::kit::target::{Target, with_high_number};
use crate::kit::tool::{run, tool};
use crate::kit::wire::{self, Held, frame, inode};
use crate::kit::{memfd, program};
use rustix::process::geteuid;
use std::fs;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use temp_dir::TempDir;

/// An answer of only a status.
fn answers(number: u8) -> Step {
    Send(status(number), vec![])
}

#[test]
fn a_missing_socket_or_process_is_reported_without_a_connection_to_the_daemon() {
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
        // A connection has an address, but is not adopted.
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
    assert_fatal(&ended, 1, &format!("process {} has no listening socket", empty.pid()));
    let gone = Target::start(&[]);
    let pid = gone.pid().to_string();
    gone.kill();
    let unable = "unable to take descriptors out of process";
    for (pid, code, line) in [
        (&pid[..], 111, format!("{unable} {pid}: No such process")),
        ("2147483647", 111, format!("{unable} 2147483647: No such process")),
    ] {
        let ended = run(tool("fdholder-adopt").arg(&fake.path).arg(pid));
        assert_fatal(&ended, code, &line);
    }
    assert!(!fake.seen().connected);
}

#[test]
fn if_an_identifier_is_held_by_another_socket_nothing_is_stored() {
    let sockets = Sockets::new();
    let target = sockets.target();
    for generation in Generation::DAEMONS {
        let (daemon, id) = (Daemon::start(generation), &sockets.listening[5].0);
        let stream = UnixStream::connect(&daemon.path).unwrap();
        // It is one of the sockets to adopt, but has another identifier.
        let other = &sockets.all[0];
        wire::store(&stream, &Held::new(id, wire::never(), other)).unwrap();
        let ended = adopt(&[], &daemon.path, &target, &[]);
        assert_fatal(&ended, 1, &format!("{id} is held, but is another socket"));
        assert_eq!(ids(&daemon), [&id[..]]);
    }
    // The held Unix socket has the same path, but its file has been replaced.
    let dir = TempDir::new().unwrap();
    let old = UnixListener::bind(dir.child("s")).unwrap();
    fs::remove_file(dir.child("s")).unwrap();
    let new = with_high_number(UnixListener::bind(dir.child("s")).unwrap());
    let (daemon, id) =
        (Daemon::start(Generation::Ours), format!("unix:{}", dir.child("s").display()));
    let stream = UnixStream::connect(&daemon.path).unwrap();
    wire::store(&stream, &Held::new(&id, wire::never(), &old)).unwrap();
    let ended = adopt(&[], &daemon.path, &Target::start(&[(3, new.as_fd())]), &[]);
    assert_fatal(&ended, 1, &format!("{id} is held, but is another socket"));
    assert_eq!(inode(held(&daemon, &id)), inode(&old));
    let long = "x".repeat(256 - sockets.listening[0].0.len());
    let fake = Fake::start(vec![]);
    let ended = adopt(&["-p", &long], &fake.path, &target, &[]);
    let id = format!("{long}{}", sockets.listening[0].0);
    assert_fatal(&ended, 1, &format!("unable to store fd for id {id}: File name too long"));
    // With -n the tool stores nothing, so its message differs.
    let ended = adopt(&["-n", "-p", &long], &fake.path, &target, &[]);
    assert_fatal(&ended, 1, &format!("unable to use id {id}: File name too long"));
    // The identifier is longer than the buffer of the tool, so the message shows its beginning.
    let longer = "x".repeat(3000);
    let ended = adopt(&["-p", &longer], &fake.path, &target, &[]);
    let start = &longer[..2047];
    assert_fatal(&ended, 1, &format!("unable to store fd for id {start}: File name too long"));
    assert!(!fake.seen().connected);
}

#[test]
fn if_one_socket_cannot_be_stored_the_ones_before_it_are_deleted_again() {
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
        assert_fatal(&ended, 1, &format!("unable to store fd for id {id}: {reason}"));
        assert_eq!(ids(&daemon), ["mine"]);
        for (right, what) in [(STORE, "store"), (RETRIEVE, "retrieve")] {
            fs::remove_file(daemon.rules().join("uid/default/env").join(right)).unwrap();
            let ended = adopt(&[], &daemon.path, &target, &[]);
            let id = &sockets.listening[0].0;
            let reason = format!("Operation not permitted (the right {right} is missing)");
            assert_fatal(&ended, 1, &format!("unable to {what} fd for id {id}: {reason}"));
        }
        assert_eq!(ids(&daemon), ["mine"]);
    }
}

#[test]
fn errors_of_the_daemon_are_reported_with_the_entries_that_may_remain() {
    let [one, two] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let names = [&one, &two].map(|it| format!("tcp:{}", it.local_addr().unwrap()));
    let [one, two] = [one, two].map(with_high_number);
    let target = Target::start(&[(3, one.as_fd()), (4, two.as_fd())]);
    let run_with_script = |options: &[&str], steps: Vec<Step>| {
        let fake = Fake::start(steps);
        let ended = adopt(options, &fake.path, &target, &[]);
        drop(fake.seen());
        ended
    };
    let (noent, perm) = (2, 1);
    let store = |number: usize| format!("unable to store fd for id {}", names[number]);
    let advice = " (the right S6_FDHOLDER_STORE_REGEX is missing)";
    // Two requests for each socket, since it may be held under the next number.
    let neither = || (0..4).flat_map(|_| [Receive, answers(noent)]);
    let then = |steps: Vec<Step>| neither().chain(steps).collect::<Vec<_>>();
    // The daemon holds a file that is no socket.
    let ended = run_with_script(&[], vec![Receive, Send(frame(&[0], 1), vec![memfd()])]);
    assert_fatal(&ended, 1, &format!("{} is held, but is another socket", names[0]));
    // The daemon refuses the second socket, and deletes the first one or refuses that.
    let refuses =
        |last: u8| then(vec![Receive, answers(0), Receive, answers(perm), Receive, answers(last)]);
    let line = format!("{}: Operation not permitted{advice}", store(1));
    assert_fatal(&run_with_script(&[], refuses(0)), 1, &line);
    assert_fatal(&run_with_script(&[], refuses(noent)), 1, &line);
    let line = format!("{line}; of those before it 1 may still be held");
    assert_fatal(&run_with_script(&[], refuses(perm)), 1, &line);
    // The daemon disconnects and cannot be reached again. It may hold both.
    let gone = then(vec![Receive, answers(0), Receive, Send(vec![0], vec![]), HangUp]);
    let doubt = "; it may have been done; of those before it 1 may still be held";
    let ended = run_with_script(&["-t2000"], gone);
    assert_fatal(&ended, 1, &format!("{}: connection closed{doubt}", store(1)));
    // The daemon can be reached again. The tool asks whether it holds the second socket, and deletes both.
    let half =
        || then(vec![Receive, answers(0), Receive, Send(vec![0], vec![]), HangUp, Next, Receive]);
    let gives = |fd: &OwnedFd| Send(frame(&[0], 1), vec![fd.try_clone().unwrap()]);
    let line = format!("{}: connection closed", store(1));
    let held = |answers: [Step; 2]| {
        let [second, first] = answers;
        half().into_iter().chain([gives(&two), Receive, second, Receive, first]).collect()
    };
    assert_fatal(&run_with_script(&["-t20000"], held([answers(0), answers(0)])), 1, &line);
    assert_fatal(&run_with_script(&["-t20000"], held([answers(noent), answers(0)])), 1, &line);
    let doubtful = format!("{line}; it may have been done");
    assert_fatal(&run_with_script(&["-t20000"], held([answers(perm), answers(0)])), 1, &doubtful);
    // The identifier belongs to another socket, which stays.
    let other = half().into_iter().chain([gives(&one), Receive, answers(0)]).collect();
    assert_fatal(&run_with_script(&["-t20000"], other), 1, &line);
    // The daemon may still receive the request.
    let other = half().into_iter().chain([answers(noent), Receive, answers(0)]).collect();
    assert_fatal(&run_with_script(&["-t20000"], other), 1, &doubtful);
    let late = then(vec![Receive, answers(0), Receive]);
    let ended = run_with_script(&["-t1500"], late);
    assert_fatal(&ended, 1, &format!("{}: Connection timed out{doubt}", store(1)));
    assert!(ended.wall >= Duration::from_millis(1500));
}

#[test]
fn the_number_of_a_thread_is_refused_with_a_hint() {
    let (sender, receiver) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        sender.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
        let _ = stopped.recv();
    });
    let id = receiver.recv().unwrap().to_string();
    let ended = run(tool("fdholder-adopt").args(["-n", "/nowhere/s", &id]));
    let start = format!("fdholder-adopt: fatal: unable to take descriptors out of process {id}: ");
    let end = " (this needs the number of a process, and that may be the number of a thread)\n";
    assert!(ended.err.starts_with(&start) && ended.err.ends_with(end), "{ended:?}");
    assert_eq!((ended.code, ended.err.lines().count()), (111, 1));
    drop(stop);
    thread.join().unwrap();
}

#[test]
fn a_missing_privilege_is_named() {
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
    assert_fatal(&ended, 111, &line);
}
