//! An empty container: a root directory with the program, its links and the rules of a daemon.
//! There is no /dev, /proc or /etc, no C library, no shell.

use crate::kit::process::until;
use crate::kit::program;
use crate::kit::server::{Killed, Place};
use crate::kit::tool::{Ended, PATIENCE, run};
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

/// How a container is entered: the words in front of its root directory.
type Way = &'static [&'static str];

/// By root alone.
const CHROOT: Way = &["chroot"];

/// By everybody, if the kernel allows it: what runs there is root and process 1 for itself.
const NAMESPACES: Way = &[
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "chroot",
];

/// Says, to those who do not see what a test that passes prints as well, what has not been tested.
fn left_out(what: &str) {
    let _ = writeln!(stderr(), "an empty container: {what}");
}

#[test]
fn every_tool_works_where_root_changed_the_root_directory() {
    if !geteuid().is_root() {
        return left_out("only root can enter by chroot, so that is left to the tests as root");
    }
    works(CHROOT);
}

#[test]
fn every_tool_works_in_namespaces_of_its_own() {
    // The kernel may allow some of it and not the rest.
    let ended = run(Command::new(NAMESPACES[0]).args(&NAMESPACES[1..]).args(["/", "true"]));
    if ended.code != 0 {
        let reason = ended.err.trim_end();
        return left_out(&format!("this user gets no namespaces, so none are tested: {reason}"));
    }
    works(NAMESPACES);
}

/// A command that enters the root directory and executes a program there.
fn enter(way: Way, root: &Place, words: &[&str]) -> Command {
    let mut command = Command::new(way[0]);
    command.args(&way[1..]).arg(root.path()).args(words);
    command
}

fn works(way: Way) {
    let root = Place::open();
    fs::copy(program(), root.child("fdholder")).unwrap();
    installs(way, &root);
    let rows: [(&[&str], Answer); 14] = [
        (&["/s6-fdholder-store", "/s", "a pipe"], says("")),
        (&["/s6-fdholder-list", "/s"], says("a pipe\n")),
        (&["/s6-fdholder-retrieve", "/s", "a pipe", "/fdholder", "store", "/s", "2"], says("")),
        (&["/s6-fdholder-list", "/s"], says("2\na pipe\n")),
        (&["/s6-fdholder-getdump", "/s", "/s6-fdholder-setdump", "/t"], says("")),
        (&["/s6-fdholder-list", "/t"], says("2\na pipe\n")),
        (&["/s6-fdholder-delete", "/t", "2"], says("")),
        (&["/s6-fdholder-delete", "/t", "a pipe"], says("")),
        (&["/s6-fdholder-list", "/t"], says("")),
        (&["/s6-fdholder-transferdump", "/s", "/t"], says("")),
        (&["/s6-fdholder-list", "/t"], says("2\na pipe\n")),
        // What is missing is named.
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
    let (source, destination) = (start(way, &root, "/s"), start(way, &root, "/t"));
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    File::from(writer).write_all(b"something to read").unwrap();
    for (words, answer) in rows {
        let mut command = enter(way, &root, words);
        // Only the first has a use for it.
        command.stdin(reader.try_clone().unwrap());
        is(words, &run(&mut command), answer);
    }
    drop(reader);
    for link in LINKS {
        let ended = run(&mut enter(way, &root, &[&format!("/{link}"), "--help"]));
        assert!(ended.out.starts_with(format!("usage: {link} [").as_bytes()), "{ended:?}");
        assert_eq!((ended.code, &ended.err[..]), (0, ""), "{link}");
    }

    // It takes the signal as process 1 too, which the kernel spares those that have no handler.
    ends_by_signal(way, source);
    let all = wire::get_dump(&root.child("t")).unwrap();
    let Some(Held { id, fd, .. }) = all.into_iter().find(|held| held.id == b"a pipe") else {
        panic!("it has gone");
    };
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    assert_eq!((&id[..], &text[..]), (&b"a pipe"[..], "something to read"));
    ends_by_signal(way, destination);
}

/// Exit code, standard output, standard error.
type Answer = (i32, &'static str, &'static str);

const fn says(out: &'static str) -> Answer {
    (0, out, "")
}

fn is(words: &[&str], ended: &Ended, answer: Answer) {
    // A list has no order.
    let mut lines: Vec<_> = ended.out.split_inclusive(|byte| *byte == b'\n').collect();
    lines.sort();
    let out = String::from_utf8(lines.concat()).unwrap();
    assert_eq!((ended.code, &out[..], &ended.err[..]), answer, "{words:?}");
}

/// Makes the links. Called by an absolute name the program needs no /proc for it; by another one it
/// says that it does, and makes none.
fn installs(way: Way, root: &Place) {
    let call = |name| run(enter(way, root, &[name, "--install", "/"]).env("PATH", PATH));
    let err = "fdholder: fatal: unable to make links in /: /proc/self/exe: \
               No such file or directory\n";
    is(&["fdholder"], &call("fdholder"), (111, "", err));
    assert!(!root.child(LINKS[0]).exists());
    is(&["/fdholder"], &call("/fdholder"), says(""));
    for link in LINKS {
        assert_eq!(fs::read_link(root.child(link)).unwrap().to_str(), Some("/fdholder"));
    }
    let list = run(&mut enter(way, root, &["/fdholder", "--list"]));
    let mut names: Vec<_> = std::str::from_utf8(&list.out).unwrap().lines().collect();
    names.sort();
    assert_eq!(names, LINKS);
    let mut names: Vec<_> =
        fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    let mut due = [&["fdholder", "rules"], &LINKS[..]].concat();
    due.sort();
    assert_eq!(names, due, "is it empty otherwise?");
}

/// Finds the program in the root of the container, and what enters it outside.
const PATH: &str = "/:/usr/bin:/bin:/usr/sbin:/sbin";

/// Starts a daemon and waits until it says that it is ready. Its standard output does not end, as it
/// would for others: who made the namespaces has that as well.
fn start(way: Way, root: &Place, socket: &str) -> Killed {
    let mut command = enter(way, root, &["/s6-fdholder-daemon", "-1", "-i", "/rules", socket]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut daemon = Killed(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")));
    let out = daemon.0.stdout.as_mut().unwrap();
    let mut polls = [PollFd::new(out, PollFlags::IN)];
    poll(&mut polls, Some(&PATIENCE.try_into().unwrap())).unwrap();
    assert!(!polls[0].revents().is_empty(), "{command:?} is not ready");
    let mut said = [0; 2];
    assert_eq!((out.read(&mut said).unwrap(), said[0]), (1, b'\n'), "{command:?}");
    daemon
}

/// Ends a daemon with SIGTERM.
fn ends_by_signal(way: Way, mut daemon: Killed) {
    let mut process = Pid::from_child(&daemon.0);
    if way == NAMESPACES {
        let pid = process.as_raw_pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        process = children.trim().parse().ok().and_then(Pid::from_raw).expect("one process");
    }
    kill_process(process, Signal::TERM).unwrap();
    until(|| String::from("its end"), || daemon.0.try_wait().unwrap().is_some());
    let mut said = String::new();
    daemon.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((daemon.0.wait().unwrap().code(), &said[..]), (Some(0), ""));
}
