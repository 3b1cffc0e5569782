//! Old kernels that lack system calls: strace answers in the kernel's place that a call is unknown. The
//! program works without the call, or ends with one line that says what is missing.

use crate::kit::daemon::Generation::Ours;
use crate::kit::process::wait_until;
use crate::kit::server::{DaemonDir, Server};
use crate::kit::strace::{strace, strace_detached};
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

/// Calls that the program can do without: `prlimit64` (new in Linux 2.6.36), `statx` (4.11), `close_range`
/// (5.9), and on 32-bit processors `clock_gettime64` and `ppoll_time64` (5.1). Only fdholder-adopt needs other
/// new calls.
const NEWER: [&str; 5] = ["prlimit64", "statx", "close_range", "clock_gettime64", "ppoll_time64"];

/// The answers of a kernel that does not know a call, and of sandboxes that forbid it.
const UNKNOWN: [&str; 3] = ["ENOSYS", "EPERM", "EACCES"];

/// Injections that give this answer to these calls. The `?` allows calls that this processor does not have.
fn unknown(answer: &str, calls: &[&str]) -> Vec<String> {
    calls.iter().map(|call| format!("?{call}:error={answer}")).collect()
}

/// Runs a tool for which some calls get this answer.
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

/// A command that starts a daemon for which some calls get this answer.
fn daemon_without(
    (answer, calls): (&str, &[&str]),
    options: &[&str],
    daemon_dir: &DaemonDir,
) -> Command {
    let mut command = strace_detached(&daemon_dir.child("trace"), &unknown(answer, calls));
    command
        .args(["daemon", "-1"])
        .args(options)
        .arg("-i")
        .arg(daemon_dir.rules())
        .arg(daemon_dir.socket());
    command.stdin(Stdio::null());
    command
}

/// A daemon for which all newer calls get this answer.
fn old_daemon(answer: &str, options: &[&str]) -> Server {
    let daemon_dir = DaemonDir::open();
    let mut command = daemon_without((answer, &NEWER), options, &daemon_dir);
    Server::start(daemon_dir, &mut command)
}

#[test]
fn all_tools_work_on_an_old_kernel() {
    UNKNOWN.iter().for_each(|answer| check_all_tools(answer));
}

fn check_all_tools(answer: &str) {
    let (source, destination) = (old_daemon(answer, &[]), old_daemon(answer, &[]));
    let (from, to) = (source.daemon_dir.socket(), destination.daemon_dir.socket());
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
fn deadlines_and_expiry_work_on_an_old_kernel() {
    UNKNOWN.iter().for_each(|answer| check_deadlines_and_expiry(answer));
}

fn check_deadlines_and_expiry(answer: &str) {
    let dir = TempDir::new().unwrap();
    let silent = dir.child("s");
    let _listener = UnixListener::bind(&silent).unwrap();
    let ended = tool_without((answer, &NEWER), "list", &["-t", "200"], &[&silent]);
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.ends_with(": Connection timed out\n"), "{}", ended.err);
    assert!(ended.wall >= Duration::from_millis(200), "{ended:?}");

    let server = old_daemon(answer, &[]);
    let path = server.daemon_dir.socket();
    let ended =
        tool_without((answer, &NEWER), "store", &["-T", "3600000"], &[&path, Path::new("long")]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let ended =
        tool_without((answer, &NEWER), "store", &["-T", "200"], &[&path, Path::new("short")]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let client = server.connect();
    let only_long = || wire::list(&client).unwrap() == [b"long"];
    wait_until(|| String::from("the short entry does not expire"), only_long);
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn listen_makes_and_removes_sockets_on_an_old_kernel() {
    for answer in UNKNOWN {
        let (server, daemon_dir) = (old_daemon(answer, &[]), DaemonDir::open());
        let (path, socket) = (server.daemon_dir.socket(), daemon_dir.socket());
        let address = format!("unix:{}", socket.display());
        let listen = |id: &str| {
            let operands = [&path, Path::new(id), Path::new(&address)];
            tool_without((answer, &NEWER), "listen", &[], &operands)
        };
        // The first call replaces a stale socket. In the second call the identifier is held already.
        drop(UnixListener::bind(&socket).unwrap());
        for _ in 0..2 {
            let ended = listen("it");
            assert_eq!((ended.code, &ended.err[..]), (0, ""), "{answer}");
        }
        UnixStream::connect(&socket).unwrap();
        wire::delete(&server.connect(), b"it").unwrap();
        // Now the daemon refuses to store, so the tool must remove its socket.
        let env = server.daemon_dir.rules().join("uid/default/env");
        fs::remove_file(env.join("S6_FDHOLDER_STORE_REGEX")).unwrap();
        let ended = listen("it");
        assert_eq!(ended.code, 1, "{answer}: {ended:?}");
        assert!(!socket.exists(), "{answer}");
    }
}

#[test]
fn adopt_names_what_it_needs_if_the_kernel_is_too_old() {
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
fn an_unknown_open_file_limit_counts_as_1024() {
    let server = old_daemon("ENOSYS", &["-n", "2000"]);
    let warning = server.line();
    let expected = "s6-fdholderd: warning: the open-file limit is 1024: it leaves room for ";
    assert!(warning.starts_with(expected), "{warning}");
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_missing_call_that_is_needed_is_reported_in_one_line() {
    let server = Server::open(Ours, &[]);
    let path = server.daemon_dir.socket();
    wire::store(&server.connect(), &Held::new("it", wire::never(), memfd())).unwrap();
    let (daemon_dir, prog) = (DaemonDir::open(), Path::new("true"));
    const MISSING: &str = "ENOSYS";
    let ended = [
        tool_without((MISSING, &["socket"]), "list", &[], &[&path]),
        tool_without((MISSING, &["socket"]), "transferdump", &[], &[&path, &path]),
        tool_without((MISSING, &["dup3"]), "retrieve", &[], &[&path, Path::new("it"), prog]),
        run(&mut daemon_without((MISSING, &["signalfd4"]), &[], &daemon_dir)),
    ];
    for ended in ended {
        assert_eq!(ended.code, 111, "{}", ended.err);
        assert!(ended.err.ends_with(": Function not implemented\n"), "{}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    }
}
