//! Kernels that lack what newer ones have: strace answers in the kernel's place that a call is not
//! known. What the program can do without it does without, all else it says in one line.

use crate::kit::daemon::Generation::Ours;
use crate::kit::process::until;
use crate::kit::server::{Place, Server};
use crate::kit::strace::{strace, strace_aside};
use crate::kit::target::Target;
use crate::kit::tool::{Ended, run};
use crate::kit::wire::{self, Held};
use crate::kit::{memfd, program};
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use temp_dir::TempDir;

/// Calls that the program can do without: `prlimit64`, which came with Linux 2.6.36, `statx`, which
/// came with 4.11, `close_range`, which came with 5.9, and on 32-bit processors `clock_gettime64` and
/// `ppoll_time64`, which came with 5.1. fdholder-adopt alone is of no use without those that it needs.
const NEWER: [&str; 5] = ["prlimit64", "statx", "close_range", "clock_gettime64", "ppoll_time64"];

/// The answers of a kernel that does not know a call, and of sandboxes that do not, or were told only
/// of those calls that C libraries make.
const UNKNOWN: [&str; 3] = ["ENOSYS", "EPERM", "EACCES"];

/// This answer to these calls. No processor has all of them.
fn unknown(answer: &str, calls: &[&str]) -> Vec<String> {
    calls.iter().map(|call| format!("?{call}:error={answer}")).collect()
}

/// Runs a tool on daemons where some calls get that answer.
fn tool_without(
    (answer, calls): (&str, &[&str]),
    name: &str,
    options: &[&str],
    operands: &[&Path],
) -> Ended {
    let dir = TempDir::new().unwrap();
    let mut command = strace(&dir.child("trace"), &unknown(answer, calls));
    run(command.arg(name).stdin(Stdio::null()).args(options).args(operands))
}

/// A command that starts a daemon where some calls get that answer.
fn daemon_without((answer, calls): (&str, &[&str]), options: &[&str], place: &Place) -> Command {
    let mut command = strace_aside(&place.child("trace"), &unknown(answer, calls));
    command.args(["daemon", "-1"]).args(options).arg("-i").arg(place.rules()).arg(place.socket());
    command.stdin(Stdio::null());
    command
}

/// Such a daemon, where the kernel lacks all that is newer.
fn old_daemon(answer: &str, options: &[&str]) -> Server {
    let place = Place::open();
    let mut command = daemon_without((answer, &NEWER), options, &place);
    Server::start(place, &mut command)
}

#[test]
fn an_old_kernel_will_do_for_all_tools() {
    UNKNOWN.iter().for_each(|answer| all_tools_work(answer));
}

fn all_tools_work(answer: &str) {
    let (source, destination) = (old_daemon(answer, &[]), old_daemon(answer, &[]));
    let (from, to) = (source.place.socket(), destination.place.socket());
    let (from, to) = (&from as &Path, &to as &Path);
    for options in [&[][..], &["-t", "5000"]] {
        let succeeds = |name, operands: &[&Path], out: &str| {
            let ended = tool_without((answer, &NEWER), name, options, operands);
            assert_eq!((ended.code, &ended.err[..]), (0, ""), "{name} {options:?}");
            assert_eq!(String::from_utf8_lossy(&ended.out), out, "{name} {options:?}");
        };
        let (id, prog) = (Path::new("it"), [Path::new("echo"), Path::new("done")]);
        succeeds("store", &[from, id], "");
        succeeds("list", &[from], "it\n");
        succeeds("store", &[from, Path::new("other")], "");
        succeeds("transferdump", &[from, to], "");
        let identities = |path| wire::identities(&wire::get_dump(path).unwrap());
        assert!(identities(from) == identities(to));
        succeeds("getdump", &[&[to][..], &prog].concat(), "done\n");
        let setdump = [Path::new("env"), program(), Path::new("setdump")];
        succeeds("getdump", &[&[from][..], &setdump, &[to]].concat(), "");
        succeeds("retrieve", &[&[to, id][..], &prog].concat(), "done\n");
        succeeds("delete", &[from, id], "");
        succeeds("delete", &[from, Path::new("other")], "");
        succeeds("list", &[from], "");
    }
}

#[test]
fn an_old_kernel_will_do_for_deadlines_and_expiry() {
    UNKNOWN.iter().for_each(|answer| deadlines_and_expiry_work(answer));
}

fn deadlines_and_expiry_work(answer: &str) {
    let dir = TempDir::new().unwrap();
    let silent = dir.child("s");
    let _listener = UnixListener::bind(&silent).unwrap();
    let ended = tool_without((answer, &NEWER), "list", &["-t", "200"], &[&silent]);
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.ends_with(": Connection timed out\n"), "{}", ended.err);
    assert!(ended.wall >= Duration::from_millis(200), "{ended:?}");

    let server = old_daemon(answer, &[]);
    let path = server.place.socket();
    let ended =
        tool_without((answer, &NEWER), "store", &["-T", "3600000"], &[&path, Path::new("long")]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let ended =
        tool_without((answer, &NEWER), "store", &["-T", "200"], &[&path, Path::new("short")]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let client = server.connect();
    let only_long = || wire::list(&client).unwrap() == [b"long"];
    until(|| String::from("one expires, and the other stays"), only_long);
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn sockets_are_made_and_removed_again_on_an_old_kernel() {
    for answer in UNKNOWN {
        let (server, place) = (old_daemon(answer, &[]), Place::open());
        let (path, socket) = (server.place.socket(), place.socket());
        let address = format!("unix:{}", socket.display());
        let listen = |id: &str| {
            let operands = [&path, Path::new(id), Path::new(&address)];
            tool_without((answer, &NEWER), "listen", &[], &operands)
        };
        // One that is to be replaced; and a second time it is held.
        drop(UnixListener::bind(&socket).unwrap());
        for _ in 0..2 {
            let ended = listen("it");
            assert_eq!((ended.code, &ended.err[..]), (0, ""), "{answer}");
        }
        UnixStream::connect(&socket).unwrap();
        wire::delete(&server.connect(), b"it").unwrap();
        // The daemon takes nothing any more.
        let env = server.place.rules().join("uid/default/env");
        fs::remove_file(env.join("S6_FDHOLDER_STORE_REGEX")).unwrap();
        let ended = listen("it");
        assert_eq!(ended.code, 1, "{answer}: {ended:?}");
        assert!(!socket.exists(), "{answer}");
    }
}

#[test]
fn what_a_process_has_cannot_be_taken_on_a_kernel_that_is_too_old() {
    let target = Target::start(&[]);
    let pid = target.pid().to_string();
    for (call, answer, needed) in [
        ("pidfd_open", "ENOSYS", "Function not implemented (this needs Linux 5.6)"),
        ("pidfd_getfd", "ENOSYS", "Function not implemented (this needs Linux 5.6)"),
        ("pidfd_getfd", "EPERM", "Operation not permitted (this needs CAP_SYS_PTRACE in "),
    ] {
        let operands = [Path::new("/nowhere/s"), Path::new(&pid)];
        let ended = tool_without((answer, &[call]), "adopt", &[], &operands);
        let unable =
            format!("fdholder-adopt: fatal: unable to take descriptors out of process {pid}: ");
        assert_eq!(ended.code, 111, "{}", ended.err);
        let reason = ended.err.strip_prefix(&unable).unwrap();
        assert!(reason.starts_with(needed) && ended.err.lines().count() == 1, "{}", ended.err);
    }
}

#[test]
fn a_limit_that_the_kernel_does_not_say_is_taken_for_1024() {
    let server = old_daemon("ENOSYS", &["-n", "2000"]);
    let warning = server.line();
    let due = "s6-fdholderd: warning: the open-file limit is 1024: it leaves room for ";
    assert!(warning.starts_with(due), "{warning}");
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn what_cannot_be_done_without_a_call_is_said_in_one_line() {
    let server = Server::open(Ours, &[]);
    let path = server.place.socket();
    wire::store(&server.connect(), &Held::new("it", wire::never(), memfd())).unwrap();
    let (place, prog) = (Place::open(), Path::new("true"));
    const NONE: &str = "ENOSYS";
    let ended = [
        tool_without((NONE, &["socket"]), "list", &[], &[&path]),
        tool_without((NONE, &["socket"]), "transferdump", &[], &[&path, &path]),
        tool_without((NONE, &["dup3"]), "retrieve", &[], &[&path, Path::new("it"), prog]),
        run(&mut daemon_without((NONE, &["signalfd4"]), &[], &place)),
    ];
    for ended in ended {
        assert_eq!(ended.code, 111, "{}", ended.err);
        assert!(ended.err.ends_with(": Function not implemented\n"), "{}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    }
}
