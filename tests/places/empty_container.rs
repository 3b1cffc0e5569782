//! An empty container: a root directory with only the program, its links and the rules of a daemon. There is
//! no /dev, /proc or /etc, no C library, and no shell.

use crate::kit::process::wait_until;
use crate::kit::program;
use crate::kit::server::{DaemonDir, Killed};
use crate::kit::tool::{Ended, TIMEOUT, run};
use crate::kit::wire::{self, Held};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::fs::{self, File};
use std::io::{Read, Write, stderr};
use std::process::{Command, Stdio};

/// The tools, as links in the root of the container.
const LINKS: [&str; 13] = [
    "fdholder-activate",
    "fdholder-adopt",
    "fdholder-import",
    "fdholder-listen",
    "s6-fdholder-daemon",
    "s6-fdholder-delete",
    "s6-fdholder-getdump",
    "s6-fdholder-list",
    "s6-fdholder-retrieve",
    "s6-fdholder-setdump",
    "s6-fdholder-store",
    "s6-fdholder-transferdump",
    "s6-fdholderd",
];

/// The command that enters a container: the words in front of the root directory.
type Enter = &'static [&'static str];

/// Only root can use this.
const CHROOT: Enter = &["chroot"];

/// All users can use this if the kernel allows it. The program runs as root and process 1 of its namespaces.
const NAMESPACES: Enter = &[
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "chroot",
];

/// Reports what is not tested. It writes directly to standard error, because the test runner hides the output
/// of tests that pass.
fn report_skipped(what: &str) {
    let _ = writeln!(stderr(), "an empty container: {what}");
}

#[test]
fn every_tool_works_in_a_chroot() {
    if !geteuid().is_root() {
        return report_skipped("skipped chroot, which only root can use");
    }
    check_all_tools(CHROOT);
}

#[test]
fn every_tool_works_in_namespaces_of_its_own() {
    // The kernel may allow only some of the namespaces.
    let ended = run(Command::new(NAMESPACES[0]).args(&NAMESPACES[1..]).args(["/", "true"]));
    if ended.code != 0 {
        let reason = ended.err.trim_end();
        return report_skipped(&format!(
            "skipped namespaces, which this user cannot make: {reason}"
        ));
    }
    check_all_tools(NAMESPACES);
}

/// A command that enters the root directory and executes a program there.
fn enter(enter_by: Enter, root: &DaemonDir, words: &[&str]) -> Command {
    let mut command = Command::new(enter_by[0]);
    command.args(&enter_by[1..]).arg(root.path()).args(words);
    command
}

fn check_all_tools(enter_by: Enter) {
    let root = DaemonDir::open();
    fs::copy(program(), root.child("fdholder")).unwrap();
    install_links(enter_by, &root);
    let rows: [(&[&str], Answer); 14] = [
        (&["/s6-fdholder-store", "/s", "a pipe"], success("")),
        (&["/s6-fdholder-list", "/s"], success("a pipe\n")),
        (&["/s6-fdholder-retrieve", "/s", "a pipe", "/fdholder", "store", "/s", "2"], success("")),
        (&["/s6-fdholder-list", "/s"], success("2\na pipe\n")),
        (&["/s6-fdholder-getdump", "/s", "/s6-fdholder-setdump", "/t"], success("")),
        (&["/s6-fdholder-list", "/t"], success("2\na pipe\n")),
        (&["/s6-fdholder-delete", "/t", "2"], success("")),
        (&["/s6-fdholder-delete", "/t", "a pipe"], success("")),
        (&["/s6-fdholder-list", "/t"], success("")),
        (&["/s6-fdholder-transferdump", "/s", "/t"], success("")),
        (&["/s6-fdholder-list", "/t"], success("2\na pipe\n")),
        // Messages name what is missing.
        (
            &["/s6-fdholder-retrieve", "/s", "2", "cat"],
            (
                127,
                "",
                "s6-fdholder-retrieve: fatal: unable to exec cat: No such file or directory\n",
            ),
        ),
        (
            &["/s6-fdholder-list", "/run/s"],
            (
                111,
                "",
                "s6-fdholder-list: fatal: unable to connect to a fd-holder daemon at /run/s: \
                 No such file or directory\n",
            ),
        ),
        (
            &["/s6-fdholder-daemon", "-i", "/rules", "/run/s"],
            (
                111,
                "",
                "s6-fdholder-daemon: fatal: unable to bind to /run/s: No such file or directory\n",
            ),
        ),
    ];
    let (source, destination) = (start(enter_by, &root, "/s"), start(enter_by, &root, "/t"));
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    File::from(writer).write_all(b"something to read").unwrap();
    for (words, answer) in rows {
        let mut command = enter(enter_by, &root, words);
        // Only the first command stores its standard input.
        command.stdin(reader.try_clone().unwrap());
        assert_ended(words, &run(&mut command), answer);
    }
    drop(reader);
    for link in LINKS {
        let ended = run(&mut enter(enter_by, &root, &[&format!("/{link}"), "--help"]));
        assert!(ended.out.starts_with(format!("usage: {link} [").as_bytes()), "{ended:?}");
        assert_eq!((ended.code, &ended.err[..]), (0, ""), "{link}");
    }

    // The kernel sends process 1 no signal without a handler, so the daemon must handle it.
    assert_ends_by_signal(enter_by, source);
    let all = wire::get_dump(&root.child("t")).unwrap();
    let Some(Held { id, fd, .. }) = all.into_iter().find(|held| held.id == b"a pipe") else {
        panic!("the entry is not held");
    };
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    assert_eq!((&id[..], &text[..]), (&b"a pipe"[..], "something to read"));
    assert_ends_by_signal(enter_by, destination);
}

/// Exit code, standard output, standard error.
type Answer = (i32, &'static str, &'static str);

const fn success(out: &'static str) -> Answer {
    (0, out, "")
}

fn assert_ended(words: &[&str], ended: &Ended, answer: Answer) {
    // The order of a list is not defined.
    let mut lines: Vec<_> = ended.out.split_inclusive(|byte| *byte == b'\n').collect();
    lines.sort();
    let out = String::from_utf8(lines.concat()).unwrap();
    assert_eq!((ended.code, &out[..], &ended.err[..]), answer, "{words:?}");
}

/// Makes the links. If the program is called by an absolute path, it does not need /proc for that. Otherwise
/// it needs /proc, and reports that it is missing.
fn install_links(enter_by: Enter, root: &DaemonDir) {
    let call = |name| run(enter(enter_by, root, &[name, "--install", "/"]).env("PATH", PATH));
    let err = "fdholder: fatal: unable to make links in /: /proc/self/exe: \
               No such file or directory\n";
    assert_ended(&["fdholder"], &call("fdholder"), (111, "", err));
    assert!(!root.child(LINKS[0]).exists());
    assert_ended(&["/fdholder"], &call("/fdholder"), success(""));
    for link in LINKS {
        assert_eq!(fs::read_link(root.child(link)).unwrap().to_str(), Some("/fdholder"));
    }
    let list = run(&mut enter(enter_by, root, &["/fdholder", "--list"]));
    let mut names: Vec<_> = std::str::from_utf8(&list.out).unwrap().lines().collect();
    names.sort();
    assert_eq!(names, LINKS);
    let mut names: Vec<_> =
        fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    let mut expected = [&["fdholder", "rules"], &LINKS[..]].concat();
    expected.sort();
    assert_eq!(names, expected, "the container has other files");
}

/// The search path for the program in the root of the container, and for the command that enters it.
const PATH: &str = "/:/usr/bin:/bin:/usr/sbin:/sbin";

/// Starts a daemon and waits until it is ready. Its standard output does not end, because the process that
/// made the namespaces has a copy.
fn start(enter_by: Enter, root: &DaemonDir, socket: &str) -> Killed {
    let mut command = enter(enter_by, root, &["/s6-fdholder-daemon", "-1", "-i", "/rules", socket]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut daemon = Killed(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")));
    let out = daemon.0.stdout.as_mut().unwrap();
    let mut polls = [PollFd::new(out, PollFlags::IN)];
    poll(&mut polls, Some(&TIMEOUT.try_into().unwrap())).unwrap();
    assert!(!polls[0].revents().is_empty(), "{command:?} is not ready");
    let mut written = [0; 2];
    assert_eq!((out.read(&mut written).unwrap(), written[0]), (1, b'\n'), "{command:?}");
    daemon
}

/// Ends a daemon with SIGTERM.
fn assert_ends_by_signal(enter_by: Enter, mut daemon: Killed) {
    let mut process = Pid::from_child(&daemon.0);
    if enter_by == NAMESPACES {
        let pid = process.as_raw_pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        process = children.trim().parse().ok().and_then(Pid::from_raw).expect("one process");
    }
    kill_process(process, Signal::TERM).unwrap();
    wait_until(
        || String::from("the daemon does not end"),
        || daemon.0.try_wait().unwrap().is_some(),
    );
    let mut messages = String::new();
    daemon.0.stderr.take().unwrap().read_to_string(&mut messages).unwrap();
    assert_eq!((daemon.0.wait().unwrap().code(), &messages[..]), (Some(0), ""));
}
