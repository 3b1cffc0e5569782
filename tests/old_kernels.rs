//! Kernels that lack what newer ones have: a filter has the kernel answer that it does not know a
//! call. What the program can do without it does without, all else it says in one line.

use crate::kit::daemon::Generation::Ours;
use crate::kit::process::until;
use crate::kit::server::{Place, Server};
use crate::kit::tool::{Ended, run, tool};
use crate::kit::wire::{self, Held};
use crate::kit::{memfd, program};
use libc::c_long;
use std::io::{Error, Result};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use temp_dir::TempDir;

/// Calls that the program can do without: `prlimit64`, which came with Linux 2.6.36, here and on
/// i686, and there `clock_gettime64` and `ppoll_time64`, which came with 5.1. The program may be one
/// of i686; what has its numbers here is nothing that matters.
const NEWER: [c_long; 4] = [libc::SYS_prlimit64, 340, 403, 414];

/// Has a command run where the kernel does not know some calls.
fn without<'a>(command: &'a mut Command, calls: &[c_long]) -> &'a mut Command {
    // Load the number of the call; for each that is not known go where that is said; else allow.
    let step = |code, jump, k| libc::sock_filter { code, jt: jump, jf: 0, k };
    let (load, compare) =
        (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ);
    let mut steps = vec![step(load as u16, 0, 0)];
    let jumps = (1..=calls.len() as u8).rev();
    steps.extend(
        calls.iter().zip(jumps).map(|(call, jump)| step(compare as u16, jump, *call as u32)),
    );
    let unknown = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    steps.extend([libc::SECCOMP_RET_ALLOW, unknown].map(|k| step(libc::BPF_RET as u16, 0, k)));
    let install = move || -> Result<()> {
        let filter =
            libc::sock_fprog { len: steps.len() as u16, filter: steps.as_ptr().cast_mut() };
        // SAFETY: the kernel reads the filter, which is there.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) == 0
        };
        if done { Ok(()) } else { Err(Error::last_os_error()) }
    };
    // SAFETY: it makes two system calls and nothing else.
    unsafe { command.pre_exec(install) }
}

/// Runs a tool on daemons where the kernel does not know some calls.
fn tool_without(calls: &[c_long], name: &str, options: &[&str], operands: &[&Path]) -> Ended {
    let mut command = tool(&format!("s6-fdholder-{name}"));
    let command = command.stdin(Stdio::null()).args(options).args(operands);
    run(without(command, calls))
}

/// A daemon where the kernel does not know some calls.
fn daemon_without(calls: &[c_long], options: &[&str]) -> Server {
    let place = Place::open();
    let mut command = place.daemon(options);
    Server::start(place, without(&mut command, calls))
}

#[test]
fn an_old_kernel_will_do_for_all_tools() {
    let (source, destination) = (daemon_without(&NEWER, &[]), daemon_without(&NEWER, &[]));
    let (from, to) = (source.place.socket(), destination.place.socket());
    let (from, to) = (&from as &Path, &to as &Path);
    for options in [&[][..], &["-t", "5000"]] {
        let succeeds = |name, operands: &[&Path], out: &str| {
            let ended = tool_without(&NEWER, name, options, operands);
            assert_eq!((ended.code, &ended.err[..]), (0, ""), "{name} {options:?}");
            assert_eq!(String::from_utf8_lossy(&ended.out), out, "{name} {options:?}");
        };
        let (id, prog) = (Path::new("it"), [Path::new("echo"), Path::new("done")]);
        succeeds("store", &[from, id], "");
        succeeds("list", &[from], "it\n");
        succeeds("transferdump", &[from, to], "");
        let identities = |path| wire::identities(&wire::get_dump(path).unwrap());
        assert!(identities(from) == identities(to));
        succeeds("getdump", &[&[to][..], &prog].concat(), "done\n");
        let setdump = [Path::new("env"), program(), Path::new("setdump")];
        succeeds("getdump", &[&[from][..], &setdump, &[to]].concat(), "");
        succeeds("retrieve", &[&[to, id][..], &prog].concat(), "done\n");
        succeeds("delete", &[from, id], "");
        succeeds("list", &[from], "");
    }
}

#[test]
fn an_old_kernel_will_do_for_deadlines_and_expiry() {
    let dir = TempDir::new().unwrap();
    let silent = dir.child("s");
    let _listener = UnixListener::bind(&silent).unwrap();
    let ended = tool_without(&NEWER, "list", &["-t", "200"], &[&silent]);
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.ends_with(": Connection timed out\n"), "{}", ended.err);
    assert!(ended.wall >= Duration::from_millis(200), "{ended:?}");

    let server = daemon_without(&NEWER, &[]);
    let path = server.place.socket();
    let ended = tool_without(&NEWER, "store", &["-T", "3600000"], &[&path, Path::new("long")]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let ended = tool_without(&NEWER, "store", &["-T", "200"], &[&path, Path::new("short")]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let client = server.connect();
    let only_long = || wire::list(&client).unwrap() == [b"long"];
    until(|| String::from("one expires, and the other stays"), only_long);
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_limit_that_the_kernel_does_not_say_is_taken_for_1024() {
    let server = daemon_without(&NEWER, &["-n", "2000"]);
    let warning = server.line();
    let due = "s6-fdholderd: warning: the open-file limit is 1024: it leaves room for ";
    assert!(warning.starts_with(due), "{warning}");
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn what_cannot_be_done_without_a_call_is_said_in_one_line() {
    let server = Server::open(Ours, &[]);
    let path = server.place.socket();
    let socket = [libc::SYS_socket, 359];
    let dup3 = [libc::SYS_dup3, 330];
    let signalfd4 = [libc::SYS_signalfd4, 327];
    wire::store(&server.connect(), &Held::new("it", wire::never(), memfd())).unwrap();
    let place = Place::open();
    let mut daemon = place.daemon(&[]);
    let ended = [
        tool_without(&socket, "list", &[], &[&path]),
        tool_without(&socket, "transferdump", &[], &[&path, &path]),
        tool_without(&dup3, "retrieve", &[], &[&path, Path::new("it"), Path::new("true")]),
        run(without(&mut daemon, &signalfd4)),
    ];
    for ended in ended {
        assert_eq!(ended.code, 111, "{}", ended.err);
        assert!(ended.err.ends_with(": Function not implemented\n"), "{}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    }
}
