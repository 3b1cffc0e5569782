//! The tools in unusual surroundings: a sandbox that refuses the clock, a kernel that does not report the
//! time that remains of a wait, little memory, non-blocking output, descriptors that a security module
//! withholds, and a sandbox that checks the flags of calls.

use crate::kit::clients::describe;
use crate::kit::daemon::{Daemon, Generation};
use crate::kit::fake::{
    Fake,
    Step::{self, AcceptDump, Flood, Receive, Send, SendSlowly},
    files_to_hold, frames, granted, opened, source, status,
};
use crate::kit::process::wait_until;
use crate::kit::server::{DaemonDir, Server, connect};
use crate::kit::strace::{Call, calls, strace, strace_detached};
use crate::kit::tool::{Ended, Running, TIMEOUT, run, tool};
use crate::kit::wire::{self, Held, identities};
use crate::kit::{memfd, program, raise_open_file_limit};
use crate::limits::tool_faults::{Fixture, RUNS};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use temp_dir::TempDir;

/// How long a tool may run after its deadline, on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

/// The calls that read a clock. 32-bit processors have both. strace ignores a name with `?` that it does
/// not know.
const CLOCKS: [&str; 2] = ["?clock_gettime64", "clock_gettime"];

/// The faults to inject into these calls, as a sandbox answers them. `when` is strace's choice of calls.
fn no_clock(errno: &str, when: &str) -> Vec<String> {
    CLOCKS.iter().map(|call| format!("{call}:error={errno}{when}")).collect()
}

#[test]
fn a_tool_that_cannot_read_the_clock_sends_no_request() {
    let cases: [(&str, &[&str], &[&str]); 8] = [
        ("store", &[], &["PATH", "it"]),
        ("store", &["-T", "3600000"], &["PATH", "it"]),
        ("getdump", &[], &["PATH", "true"]),
        ("setdump", &[], &["PATH"]),
        ("list", &["-t", "5000"], &["PATH"]),
        ("delete", &["-t", "5000"], &["PATH", "it"]),
        ("retrieve", &["-D", "-t", "5000"], &["PATH", "it", "true"]),
        ("transferdump", &["-t", "5000"], &["PATH", "PATH"]),
    ];
    for errno in ["EPERM", "ENOSYS", "EINVAL"] {
        for (name, options, operands) in cases {
            let fake = Fake::start(vec![]);
            let dir = TempDir::new().unwrap();
            let mut command = strace(&dir.child("trace"), &no_clock(errno, ""));
            command.arg(name).args(options).stdin(Stdio::null());
            command.args(operands.iter().map(|word| match *word {
                "PATH" => fake.path.as_os_str(),
                word => word.as_ref(),
            }));
            describe(&mut command);
            let ended = run(&mut command);
            let line = format!("s6-fdholder-{name}: fatal: unable to read the clock: ");
            let right = ended.code == 111 && ended.err.starts_with(&line);
            assert!(right && ended.err.lines().count() == 1, "{name} {options:?}: {ended:?}");
            assert!(fake.seen().bytes.is_empty(), "{name} {options:?}: has asked");
        }
    }
}

#[test]
fn tools_without_a_timeout_work_if_the_clock_is_refused() {
    let daemon = Daemon::start(Generation::Ours);
    let client = connect(&daemon.path);
    wire::store(&client, &Held::new("it", wire::never(), memfd())).unwrap();
    let other = Daemon::start(Generation::Ours);
    let dir = TempDir::new().unwrap();
    let tool = |words: &[&str], last: &[&Path]| {
        let mut command = strace(&dir.child("trace"), &no_clock("EPERM", ""));
        let ended = run(command.args(words).args(last));
        assert_eq!((ended.code, &ended.err[..]), (0, ""), "{words:?}");
    };
    tool(&["transferdump"], &[&daemon.path, &other.path]);
    tool(&["list"], &[&daemon.path]);
    tool(&["delete"], &[&daemon.path, Path::new("it")]);
    assert!(wire::list(&client).unwrap().is_empty());
}

#[test]
fn a_daemon_that_cannot_read_the_clock_does_not_start() {
    // The daemon reads two clocks at its start. In the second case it can read the first one.
    for when in ["", ":when=2+"] {
        let daemon_dir = DaemonDir::open();
        let mut command = strace_detached(&daemon_dir.child("trace"), &no_clock("EPERM", when));
        command.args(["daemon", "-1", "-i"]).arg(daemon_dir.rules()).arg(daemon_dir.socket());
        let ended = run(&mut command);
        let line = "s6-fdholderd: fatal: unable to read the clock: Operation not permitted\n";
        assert_eq!((ended.code, &ended.err[..]), (111, line));
        assert_eq!(ended.out, b"", "it says that it is ready");
    }
}

#[test]
fn a_daemon_that_can_no_longer_read_the_clock_keeps_its_entries_and_does_not_poll() {
    let daemon_dir = DaemonDir::open();
    // At the ninth reading the daemon has started and waits for clients.
    let answers = no_clock("EPERM", ":when=9+");
    let mut command = strace_detached(&daemon_dir.child("trace"), &answers);
    command
        .args(["daemon", "-1", "-t", "5000", "-i"])
        .arg(daemon_dir.rules())
        .arg(daemon_dir.socket());
    let server = Server::start(daemon_dir, command.stdin(Stdio::null()));
    let client = server.connect();
    for (id, seconds) in [("one", 3600), ("two", 7200)] {
        let expiry = wire::expiry_in(Duration::from_secs(seconds));
        wire::store(&client, &Held::new(id, expiry, memfd())).unwrap();
    }
    for _ in 0..10 {
        assert_eq!(wire::list(&client).unwrap().len(), 2);
    }
    let trace = server.daemon_dir.child("trace");
    let waits = || calls(&trace).iter().filter(|call| call.name == "ppoll").count();
    let (begun, before) = (Instant::now(), waits());
    wait_until(|| String::from("it waits twice more"), || waits() >= before + 2);
    let (seconds, waits) = (begun.elapsed().as_secs() as usize, waits() - before);
    assert!(waits <= 4 + 2 * seconds, "{waits} waits in {seconds} s");
    assert_eq!(wire::list(&client).unwrap().len(), 2);
    drop(client);
    assert_eq!(server.stop(), [""; 0]);
}

/// The tool with this name, on a kernel that does not write the remaining time of a wait back.
fn sticky(name: &str) -> Command {
    let mut command = Command::new("setarch");
    command.arg("--sticky-timeouts").arg(program()).arg(name);
    command
}

/// The start of the reply to a request for a list: the length of its payload, and the number of identifiers.
fn list_reply(length: u32, count: u32) -> Vec<u8> {
    [&length.to_be_bytes()[..], &[0, 0, 0], &count.to_be_bytes()].concat()
}

/// Checks that the tool has ended because of its deadline, at the deadline or soon after it.
fn assert_timed_out(ended: &Ended, code: i32, doing: &str, least: Duration) {
    let right = ended.err.contains(doing) && ended.err.contains(": Connection timed out");
    assert!(ended.code == code && right, "{ended:?}");
    assert!((least..least + SLACK).contains(&ended.wall), "{ended:?}");
}

#[test]
fn the_deadline_ends_a_slow_transfer_even_if_the_kernel_does_not_report_the_remaining_time() {
    let limit = Duration::from_millis(300);
    let slow = |bytes: Vec<u8>| SendSlowly(bytes, vec![], Duration::from_millis(40));
    let many = || vec![b'x'; 250];

    let fake = Fake::start(vec![Receive, Send(list_reply(5 + 255, 1), vec![]), slow(many())]);
    let ended = run(sticky("list").args(["-t", "300"]).arg(&fake.path));
    assert_timed_out(&ended, 1, "unable to get fd list", limit);

    let all = files_to_hold(3, 255);
    let mut script = source(&all);
    let Some(Send(bytes, fds)) = script.pop() else { panic!("a frame") };
    script.push(SendSlowly(bytes, fds, Duration::from_millis(40)));
    let (from, to) = (Fake::start(script), Fake::start(vec![AcceptDump]));
    let mut command = sticky("transferdump");
    let ended = run(command.args(["-t", "300:5000"]).arg(&from.path).arg(&to.path));
    assert_timed_out(&ended, 1, "unable to get dump from the source", limit);

    // There are many answers, and each of them is within the limit.
    let all = files_to_hold(100, 9);
    let mut script = vec![Receive, Send(granted(100, 100), vec![])];
    script.extend(frames(&all, 1).into_iter().map(|(bytes, fds)| Send(bytes, fds)));
    let answers = (0..99).flat_map(|_| [Receive, slow(status(11))]);
    let accepting = [Receive, Send(opened(100), vec![])].into_iter().chain(answers).collect();
    let (from, to) = (Fake::start(script), Fake::start(accepting));
    let mut command = sticky("transferdump");
    let ended = run(command.args(["-t", "5000:300"]).arg(&from.path).arg(&to.path));
    assert_timed_out(&ended, 2, "unable to set dump in the destination", limit);
}

#[test]
fn the_deadline_ends_a_reply_without_end() {
    // The longest reply that a tool accepts.
    let reply = list_reply(1 << 28, 1 << 20);
    let identifiers = vec![[&[b'x'; 255][..], b"\0"].concat(); 256].concat();
    let fake = Fake::start(vec![Receive, Send(reply, vec![]), Flood(identifiers, vec![])]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" list -t 300 \"$1\" >/dev/null"]).arg(program()).arg(&fake.path);
    let ended = run(&mut shell);
    assert_timed_out(&ended, 1, "unable to get fd list", Duration::from_millis(300));

    raise_open_file_limit();
    let (bytes, fds) = frames(&files_to_hold(1, 9), 1).pop().unwrap();
    let endless = vec![Receive, Send(granted(1, u32::MAX as usize), vec![]), Flood(bytes, fds)];
    let (from, to) = (Fake::start(endless), Fake::start(vec![AcceptDump]));
    let mut command = tool("s6-fdholder-transferdump");
    let ended = run(command.args(["-t", "300:0"]).arg(&from.path).arg(&to.path));
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains(": Connection timed out; "), "{ended:?}");
    assert!(ended.wall >= Duration::from_millis(300), "{ended:?}");
}

#[test]
fn the_time_of_a_slow_reader_of_the_list_does_not_count_against_the_daemon() {
    let daemon = Daemon::start(Generation::Ours);
    wire::set_dump(&daemon.path, &files_to_hold(40, 200)).unwrap();
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let mut command = tool("s6-fdholder-list");
    let mut child = command.args(["-t", "200"]).arg(&daemon.path).stdout(writer).spawn().unwrap();
    drop(command);
    wait_until_asleep(&mut child);
    // Longer than the tool waits for the daemon.
    thread::sleep(Duration::from_millis(400));
    let mut all = Vec::new();
    File::from(reader).read_to_end(&mut all).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(all.len(), 40 * 201);
}

/// Waits until a process sleeps each time that it is looked at, so that it waits for an event.
fn wait_until_asleep(child: &mut Child) {
    let pid = child.id();
    let mut times = 0;
    wait_until(
        || String::from("it sleeps"),
        || {
            let status = child.try_wait().unwrap();
            assert!(status.is_none(), "it has ended: {status:?}");
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            times = if stat.contains(") S ") { times + 1 } else { 0 };
            times > 100
        },
    );
}

/// A full pipe. Its end for writing is in non-blocking mode.
fn full_pipe() -> (File, OwnedFd) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    let mut writer = File::from(writer);
    let error = loop {
        if let Err(error) = writer.write(&[b'#'; 4096]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::empty()).unwrap();
    (File::from(reader), writer.into())
}

/// Reads a pipe of [`full_pipe`] to its end. Returns what followed the bytes that filled it.
fn rest(mut reader: File) -> String {
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    String::from_utf8(all).unwrap().trim_start_matches('#').into()
}

#[test]
fn a_tool_waits_if_its_non_blocking_output_is_full() {
    let daemon = Daemon::start(Generation::Ours);
    wire::set_dump(&daemon.path, &files_to_hold(900, 200)).unwrap();
    let path = daemon.path.to_str().unwrap();
    // The list is longer than a pipe, the help is shorter.
    let all: String = (0..900).map(|n| format!("{n:0>200}\n")).collect();
    let help = String::from_utf8(run(tool("fdholder").arg("--help")).out).unwrap();
    let cases: [(&[&str], &str); 3] =
        [(&["list", path], &all), (&["list", "-t", "20000", path], &all), (&["--help"], &help)];
    for (words, expected) in cases {
        let (reader, writer) = full_pipe();
        let mut command = Command::new(program());
        let mut child = command.args(words).stdout(writer).spawn().unwrap();
        drop(command);
        wait_until_asleep(&mut child);
        assert!(rest(reader) == expected, "{words:?}");
        assert_eq!(child.wait().unwrap().code(), Some(0), "{words:?}");
    }
}

#[test]
fn a_message_is_lost_only_if_standard_error_stays_full() {
    let (reader, writer) = full_pipe();
    let mut command = tool("s6-fdholder-list");
    let mut child = command.arg("/nowhere/s").stderr(writer).spawn().unwrap();
    drop(command);
    wait_until_asleep(&mut child);
    let line = "s6-fdholder-list: fatal: unable to connect to a fd-holder daemon at /nowhere/s: \
        No such file or directory\n";
    assert_eq!(rest(reader), line);
    assert_eq!(child.wait().unwrap().code(), Some(111));
    // Nothing reads this pipe, so the message is lost, and the tool ends.
    let (_reader, writer) = full_pipe();
    let mut command = tool("s6-fdholder-list");
    let mut child = command.arg("/nowhere/s").stderr(writer).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(111));
}

/// The calls that have flags. The second column has the allowed ends of the arguments as strace prints
/// them. `*` stands for any text.
const FLAGS: &[(&str, &[&str])] = &[
    ("accept4", &["NULL, NULL, SOCK_CLOEXEC|SOCK_NONBLOCK"]),
    ("close_range", &["*, 0"]),
    ("dup3", &["*, 0", "*, O_CLOEXEC"]),
    ("faccessat", &["*, F_OK", "*, X_OK"]),
    (
        "fcntl",
        &[
            "F_GETFD",
            "F_GET_SEALS",
            "F_SETFD, 0",
            "F_DUPFD_CLOEXEC, *",
            "F_SETFL, O_RDONLY",
            "F_SETFL, O_RDONLY|O_NONBLOCK",
        ],
    ),
    ("flock", &["LOCK_EX|LOCK_NB"]),
    ("madvise", &["*, MADV_DONTNEED"]),
    ("mmap", &["*, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0"]),
    ("fstatat64", &["*, AT_SYMLINK_NOFOLLOW"]),
    ("newfstatat", &["*, AT_SYMLINK_NOFOLLOW"]),
    ("openat", &["*, O_RDONLY|O_NOCTTY|O_NONBLOCK|O_CLOEXEC"]),
    ("ppoll", &["*, NULL, 0"]),
    ("ppoll_time64", &["*, NULL, 0"]),
    ("recvmsg", &["*, MSG_CMSG_CLOEXEC"]),
    (
        "rt_sigprocmask",
        &[
            "[HUP PIPE TERM XFSZ], [], 8",
            "[TERM], [], 8",
            "[PIPE XFSZ], [], 8",
            "[], NULL, 8",
            "[], [*",
        ],
    ),
    ("rt_sigtimedwait", &["NULL, {tv_sec=0, tv_nsec=0}, 8"]),
    ("sendmsg", &["*, msg_flags=0}, MSG_NOSIGNAL"]),
    ("signalfd4", &["*, SFD_CLOEXEC|SFD_NONBLOCK"]),
    ("pidfd_getfd", &["*, 0"]),
    ("pidfd_open", &["0"]),
    ("setsockopt", &["SOL_SOCKET, *", "SOL_IPV6, IPV6_V6ONLY, [1], 4"]),
    (
        "statx",
        &[
            "\"\", AT_STATX_DONT_SYNC|AT_EMPTY_PATH, STATX_TYPE|STATX_BLOCKS, {*",
            "\"\", AT_STATX_SYNC_AS_STAT|AT_EMPTY_PATH, STATX_INO, {*",
            "*, AT_STATX_SYNC_AS_STAT|AT_SYMLINK_NOFOLLOW, STATX_INO, {*",
            "*, AT_STATX_SYNC_AS_STAT, STATX_INO, {*",
            "*, AT_STATX_SYNC_AS_STAT, STATX_TYPE, {*",
        ],
    ),
    (
        "socket",
        &[
            "SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0",
            "SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, IPPROTO_IP",
            "SOCK_DGRAM|SOCK_CLOEXEC|SOCK_NONBLOCK, IPPROTO_IP",
            "SOCK_SEQPACKET|SOCK_CLOEXEC|SOCK_NONBLOCK, 0",
            "SOCK_RAW|SOCK_CLOEXEC|SOCK_NONBLOCK, NETLINK_SOCK_DIAG",
        ],
    ),
    ("unlinkat", &["*, 0"]),
];

/// Calls of [`FLAGS`] that some processors lack.
const OTHERS: [&str; 4] = ["ppoll", "ppoll_time64", "newfstatat", "fstatat64"];

/// The calls that have no flags.
const PLAIN: &[&str] = &[
    "bind",
    "chdir",
    "clock_gettime",
    "clock_gettime64",
    "close",
    "connect",
    "execve",
    "exit_group",
    "fstat",
    "fstatfs",
    "getegid",
    "geteuid",
    "getpid",
    "getppid",
    "getsockname",
    "getsockopt",
    "listen",
    "lseek",
    "munmap",
    "prctl",
    "prlimit64",
    "read",
    "readlinkat",
    "symlinkat",
    "umask",
    "write",
];

/// What is wrong with the flags of a call.
fn wrong_flags(call: &Call) -> Option<String> {
    let Some((_, allowed)) = FLAGS.iter().find(|(name, _)| *name == call.name) else {
        let is_known = PLAIN.contains(&&call.name[..]);
        return (!is_known).then(|| format!("{} is not in the table", call.line));
    };
    let (arguments, _) = call.line.rsplit_once(" = ").expect("a result");
    let arguments = arguments.trim_end().trim_end_matches(')');
    let (_, behind) = arguments.split_once(", ").expect("arguments");
    let right = allowed.iter().any(|expected| {
        match (expected.strip_prefix('*'), expected.strip_suffix('*')) {
            (Some(middle), Some(_)) => arguments.contains(middle.trim_end_matches('*')),
            (Some(end), _) => arguments.ends_with(end),
            (_, Some(start)) => behind.starts_with(start),
            _ => behind == *expected,
        }
    });
    (!right).then(|| call.line.clone())
}

#[test]
fn each_call_has_only_flags_of_its_manual_page() {
    let mut all = Vec::new();
    let mut fixture = Fixture::new(Generation::Ours, 300);
    for run in RUNS {
        all.extend(fixture.run(run, &[]).calls);
        fixture.restore();
    }
    for kind in ["-x", "-i"] {
        let daemon_dir = DaemonDir::open();
        let file = if kind == "-x" {
            daemon_dir.compile(Generation::S6_2_15, &daemon_dir.child("file"));
            daemon_dir.child("file")
        } else {
            daemon_dir.rules()
        };
        drop(UnixListener::bind(daemon_dir.socket()).unwrap());
        let mut command = strace_detached(&daemon_dir.child("trace"), &[]);
        command.args(["daemon", "-v2", "-1", kind]).arg(file).arg(daemon_dir.socket());
        let server = Server::start(daemon_dir, command.stdin(Stdio::null()));
        let path = server.daemon_dir.socket();
        wire::set_dump(&path, &files_to_hold(300, 200)).unwrap();
        let client = server.connect();
        wire::retrieve(&client, format!("{:0>200}", 1).as_bytes()).unwrap();
        wire::take(&client, format!("{:0>200}", 2).as_bytes()).unwrap();
        wire::send(&client, b"\0\0", &[]).unwrap();
        assert_eq!(wire::get_dump(&path).unwrap().len(), 299);
        server.signal(Signal::HUP);
        assert_eq!(wire::list(&server.connect()).unwrap().len(), 299);
        drop(client);
        server.signal(Signal::TERM);
        let daemon_dir = server.daemon_dir.clone();
        assert_eq!(server.end().0, 0);
        all.extend(calls(&daemon_dir.child("trace")));
    }
    let wrong: Vec<_> = all.iter().filter_map(wrong_flags).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (name, _) in FLAGS {
        let is_called = all.iter().any(|call| call.name == *name) || OTHERS.contains(name);
        assert!(is_called, "{name} is not called");
    }
}

/// A command that runs our program with this limit, an option of `prlimit`, and with a small environment.
fn limited(limit: &str, words: &[&str]) -> Command {
    let mut command = Command::new("prlimit");
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command.arg(limit).arg(program()).args(words);
    command
}

#[test]
fn four_megabytes_are_enough_for_all_tools() {
    // The C daemon works with identifiers up to this length.
    let held = files_to_hold(900, 79);
    for limit in ["--data=4000000", "--as=4000000"] {
        let source = Daemon::start(Generation::S6_2_15);
        wire::set_dump(&source.path, &held).unwrap();
        let from = source.path.to_str().unwrap();
        let [a, b] = [(); 2].map(|()| Daemon::start(Generation::Ours));
        let [to, other] = [&a, &b].map(|daemon| daemon.path.to_str().unwrap());
        let program = program().to_str().unwrap();
        let cases: [&[&str]; 5] = [
            &["getdump", from, program, "setdump", to],
            &["transferdump", from, other],
            &["list", from],
            &["store", from, "new"],
            &["retrieve", "-D", from, "new", program, "--list"],
        ];
        for words in cases {
            let ended = run(limited(limit, words).stdin(Stdio::null()));
            assert_eq!((ended.code, &ended.err[..]), (0, ""), "{limit} {words:?}");
        }
        for daemon in [&a, &b] {
            let found = identities(&wire::get_dump(&daemon.path).unwrap());
            assert!(found == identities(&held), "{limit}");
        }
    }
}

#[test]
fn a_stack_of_16_kilobytes_is_enough_for_all_tools() {
    let held = files_to_hold(10, 100);
    // An expression with 64 nested groups makes the deepest calls.
    let expression = format!("{}0|[[:digit:]]{{2}}{}\n", "(".repeat(64), ")".repeat(64));
    for stack in [16, 20] {
        let limit = format!("--stack={}", stack * 1024);
        let daemon_dir = DaemonDir::open();
        for right in ["STORE_REGEX", "RETRIEVE_REGEX"] {
            let file = format!("uid/default/env/S6_FDHOLDER_{right}");
            fs::write(daemon_dir.rules().join(file), &expression).unwrap();
        }
        let (rules, socket) = (daemon_dir.rules(), daemon_dir.socket());
        let words = ["daemon", "-1", "-v2", "-i"];
        let mut command = limited(&limit, &words);
        command.arg(rules).arg(&socket).stdin(Stdio::null());
        let server = Server::start(daemon_dir, &mut command);
        wire::set_dump(&socket, &held).unwrap();
        let other = Daemon::start(Generation::Ours);
        let (from, to) = (socket.to_str().unwrap(), other.path.to_str().unwrap());
        let program = program().to_str().unwrap();
        // The words of the command line are on the same stack.
        let large = "x".repeat(5_000);
        let cases: [&[&str]; 8] = [
            &["store", from, "10"],
            &["retrieve", from, "10", program, "--list"],
            &["delete", from, "10"],
            &["getdump", from, program, "setdump", to],
            &["transferdump", "-t", "5000:5000", from, to],
            &["list", from],
            &["transferdump", "--help"],
            &["list", from, &large],
        ];
        for words in cases {
            let ended = run(limited(&limit, words).stdin(Stdio::null()));
            let is_right = (ended.code, &ended.err[..]) == (0, "");
            assert!(is_right, "{limit} {}: {} {}", words[0], ended.code, ended.err);
        }
        let found = identities(&wire::get_dump(&other.path).unwrap());
        assert!(found == identities(&held), "{limit}");
        server.signal(Signal::TERM);
        assert_eq!(server.end().0, 0, "{limit}");
    }
}

/// How long strace delays a call, so that the test can change the limit before it. In microseconds.
const DELAY: &str = "3000000";

/// Runs a tool that loses the descriptors of one message, although its limit on open files is high enough.
/// The limit is low only during the `recvmsg` call with the number `receipt`. It is high again at the
/// `fcntl` call with the number `look`, by which the tool looks for free descriptor numbers.
fn run_without_descriptors(
    name: &str,
    words: &[&str],
    script: Vec<Step>,
    receipt: usize,
    look: usize,
) -> Ended {
    let fake = Fake::start(script);
    let destination = Fake::start(vec![AcceptDump]);
    let dir = TempDir::new().unwrap();
    let trace = dir.child("trace");
    let mut command = strace_detached(
        &trace,
        &[
            String::from("prlimit64:error=EPERM"),
            format!("recvmsg:delay_enter={DELAY}:when={receipt}"),
            format!("fcntl:delay_enter={DELAY}:when={look}"),
        ],
    );
    command.arg(name).args(words.iter().map(|word| match *word {
        "PATH" => fake.path.as_os_str(),
        "DESTINATION" => destination.path.as_os_str(),
        word => word.as_ref(),
    }));
    command.stdin(Stdio::null());
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let begun = Instant::now();
    let mut child = command.stderr(writer).spawn().unwrap();
    drop(command);
    let pid = Pid::from_child(&child);
    let limit = getrlimit(Resource::Nofile);
    let set = |current: Option<u64>| {
        prlimit(Some(pid), Resource::Nofile, Rlimit { current, ..limit }).unwrap()
    };
    let count = |call: &str| {
        let trace = fs::read_to_string(&trace).unwrap_or_default();
        let is_over = |line: &&str| line.starts_with(&format!("{call}(")) && line.contains(") = ");
        trace.lines().filter(is_over).count()
    };
    // The call before it has returned, so strace delays this one now.
    wait_until(
        || String::from("it receives"),
        || count("sendmsg") == 1 && count("recvmsg") + 1 == receipt,
    );
    set(Some(3));
    wait_until(|| String::from("it has received"), || count("recvmsg") == receipt);
    set(limit.current);
    let code = child.wait().unwrap().code().unwrap();
    let mut err = String::new();
    File::from(reader).read_to_string(&mut err).unwrap();
    drop((fake.seen(), destination.seen()));
    Ended { code, out: vec![], err, wall: begun.elapsed() }
}

#[test]
fn a_message_about_withheld_descriptors_does_not_blame_the_limit() {
    const WHY: &str = "descriptors were withheld: does a security module forbid it?";
    raise_open_file_limit();
    let all = files_to_hold(3, 9);
    let dump = || source(&all);
    let one = || {
        let fd = vec![memfd()];
        vec![Receive, Send(wire::frame(&[0], 1), fd)]
    };
    thread::scope(|scope| {
        let cases = [
            ("getdump", &["PATH", "true"][..], dump(), 2, 2, "get dump: ", ""),
            (
                "transferdump",
                &["PATH", "DESTINATION"],
                dump(),
                2,
                2,
                "get dump from the source fd-holder daemon at ",
                "",
            ),
            ("retrieve", &["PATH", "it", "true"], one(), 1, 3, "retrieve fd for id it: ", ""),
            (
                "retrieve",
                &["-D", "PATH", "it", "true"],
                one(),
                1,
                3,
                "retrieve fd for id it: ",
                "; the daemon may no longer hold it",
            ),
        ];
        for (name, words, script, receipt, look, what, end) in cases {
            scope.spawn(move || {
                let ended = run_without_descriptors(name, words, script, receipt, look);
                let line = format!("s6-fdholder-{name}: fatal: unable to {what}");
                assert!(ended.err.starts_with(&line), "{name}: {ended:?}");
                assert!(ended.err.ends_with(&format!("{WHY}{end}\n")), "{name}: {ended:?}");
                assert_eq!(ended.code, 111, "{name}: {ended:?}");
            });
        }
    });
}

#[test]
fn a_list_longer_than_2_to_the_28_bytes_is_refused() {
    let most = 1_u32 << 28;
    for length in [most + 1, 1 << 29, u32::MAX - 6, u32::MAX - 5, u32::MAX] {
        for count in [most >> 8, 1 << 24, u32::MAX >> 1] {
            let begin = Send(list_reply(length, count), vec![]);
            let fake = Fake::start(vec![Receive, begin, Flood(b"x\0".repeat(1 << 14), vec![])]);
            let running = Running::start(tool("s6-fdholder-list").arg(&fake.path));
            let ended = running.wait();
            let line = "s6-fdholder-list: fatal: unable to get fd list: Protocol error\n";
            assert_eq!((ended.code, &ended.err[..], ended.out.len()), (1, line, 0));
            assert!(ended.wall < TIMEOUT);
        }
    }
}
