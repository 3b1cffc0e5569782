//! The messages of the daemon on standard error: a line for each event, limited in length and number, and
//! without delay for its work.

use crate::kit::daemon::Generation::{Ours, S6_2_15};
use crate::kit::daemon::STORE;
use crate::kit::memfd;
use crate::kit::server::{DaemonDir, Server, answer, assert_disconnects, connect, status, through};
use crate::kit::strace::strace_detached;
use crate::kit::tool::TIMEOUT;
use crate::kit::wire::{self, delete_request, retrieve_request, store_request};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, getgid, getuid, kill_process};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use temp_dir::TempDir;

/// The clients of this test as the daemon names them.
fn who() -> String {
    format!("uid {} gid {}", getuid().as_raw(), getgid().as_raw())
}

/// An information about a client.
fn info(text: &str) -> String {
    format!("s6-fdholderd: info: {}: {text}", who())
}

/// A warning about a client.
fn warning(text: &str) -> String {
    format!("s6-fdholderd: warning: {}: {text}", who())
}

/// What a client does with a daemon that holds at most two entries, and the text of the line about it.
type Event = (fn(&UnixStream), &'static str);

fn put(client: &UnixStream, id: &[u8]) -> i32 {
    status(client, &store_request(id, wire::never()), &[memfd().as_fd()])
}

/// All events of a client that has all rights, in order.
const EVENTS: [Event; 17] = [
    (|client| assert_eq!(put(client, b"a"), 0), "store a"),
    (|client| assert_eq!(put(client, b"a"), 16), "store a: Device or resource busy"),
    (|client| assert_eq!(put(client, b"b"), 0), "store b"),
    (|client| assert_eq!(put(client, b"c"), 23), "store c: Too many open files in system"),
    (|client| assert_eq!(status(client, &retrieve_request(b"a", 0), &[]), 0), "retrieve a"),
    (
        |client| assert_eq!(status(client, &retrieve_request(b"x", 0), &[]), 2),
        "retrieve x: No such file or directory",
    ),
    (
        |client| assert_eq!(status(client, &retrieve_request(b"y", 1), &[]), 2),
        "retrieve y: No such file or directory",
    ),
    (|client| assert_eq!(status(client, &delete_request(b"a"), &[]), 0), "delete a"),
    (
        |client| assert_eq!(status(client, &delete_request(b"a"), &[]), 2),
        "delete a: No such file or directory",
    ),
    (|client| assert_eq!(status(client, b"L", &[]), 0), "list"),
    (
        |client| {
            assert_eq!(status(client, b"?", &[]), 0);
            wire::receive_frame(client).unwrap();
        },
        "get dump",
    ),
    (|client| assert_eq!(status(client, b"!\0\0\0\0", &[]), 0), "set dump"),
    (
        |client| assert_eq!(status(client, b"!\0\0\0\x03", &[]), 23),
        "set dump: Too many open files in system",
    ),
    (|client| assert_eq!(status(client, b"!\0\0\0\x01", &[]), 0), "set dump"),
    (|client| assert_eq!(status(client, &delete_request(b"b"), &[]), 0), "delete b"),
    (|client| assert_eq!(put(client, b" ~a\\\n\x07\x7f\x80\xff"), 0), "QUOTED"),
    (
        |client| assert_eq!(status(client, &delete_request(b"-"), &[]), 2),
        "delete -: No such file or directory",
    ),
];

/// The text of the event with an identifier of special bytes.
const QUOTED: &str = "store  ~a\\\\\\n\\a\\0x7f\\0x80\\0xff";

/// Lets a client do all these events, and compares the lines.
fn assert_logs(options: &[&str], daemon_dir: DaemonDir, events: &[Event], expected: &[String]) {
    let mut command = daemon_dir.fdholderd(Ours, options);
    let server = Server::start(daemon_dir, &mut command);
    let client = server.connect();
    for (act, _) in events {
        act(&client);
    }
    drop(client);
    // The daemon is stopped only after all expected lines, since it must see the disconnect first.
    let all: Vec<_> = expected.iter().map(|_| server.line()).collect();
    assert_eq!(all, expected, "{options:?}");
    assert_eq!(server.stop(), [""; 0], "{options:?}");
}

#[test]
fn each_event_is_a_line() {
    let mut expected = vec![info("connect")];
    expected.extend(EVENTS.map(|(_, text)| info(if text == "QUOTED" { QUOTED } else { text })));
    expected.push(info("disconnect"));
    assert_logs(&["-v2", "-n2"], DaemonDir::open(), &EVENTS, &expected);
    // Higher levels are the same as level 2.
    assert_logs(&["-v4294967295", "-n2"], DaemonDir::open(), &EVENTS, &expected);
}

#[test]
fn below_verbosity_2_events_are_not_logged() {
    for options in [&["-n2"][..], &["-v1", "-n2"], &["-v", "0", "-n2"], &["-v2", "-v1", "-n2"]] {
        assert_logs(options, DaemonDir::open(), &EVENTS, &[]);
    }
}

#[test]
fn a_refused_request_is_logged_with_the_reason() {
    let refused: [Event; 6] = [
        (|client| assert_eq!(put(client, b"a"), 1), "store a"),
        (|client| assert_eq!(status(client, &delete_request(b"a"), &[]), 1), "delete a"),
        (|client| assert_eq!(status(client, &retrieve_request(b"a", 0), &[]), 1), "retrieve a"),
        (|client| assert_eq!(status(client, b"L", &[]), 1), "list"),
        (|client| assert_eq!(status(client, b"?", &[]), 1), "get dump"),
        (|client| assert_eq!(status(client, b"!\0\0\0\0", &[]), 1), "set dump"),
    ];
    let mut expected = vec![info("connect")];
    expected.extend(refused.map(|(_, text)| info(&format!("{text}: Operation not permitted"))));
    expected.push(info("disconnect"));
    let daemon_dir = DaemonDir::new();
    daemon_dir.allow("uid/default", &[]);
    assert_logs(&["-v2"], daemon_dir, &refused, &expected);
}

#[test]
fn a_client_that_may_not_connect_is_logged_at_verbosity_2() {
    for refuse in [false, true] {
        for (option, expected) in
            [("-v2", &[info("connect: Operation not permitted")][..]), ("-v1", &[]), ("-v0", &[])]
        {
            let daemon_dir = DaemonDir::new();
            if refuse {
                daemon_dir.refuse("uid/default");
            }
            let mut command = daemon_dir.fdholderd(Ours, &[option]);
            let server = Server::start(daemon_dir, &mut command);
            assert_disconnects(&server.connect());
            assert_eq!(server.stop(), expected, "{option}");
        }
    }
}

#[test]
fn a_retrieve_that_deletes_is_one_line() {
    let events: [Event; 2] = [
        (|client| assert_eq!(put(client, b"a"), 0), "store a"),
        (|client| assert_eq!(status(client, &retrieve_request(b"a", 1), &[]), 0), "retrieve a"),
    ];
    let expected = ["connect", "store a", "retrieve a", "disconnect"].map(info);
    assert_logs(&["-v2"], DaemonDir::open(), &events, &expected);
}

#[test]
fn an_expiry_is_logged_once_at_verbosity_2() {
    for (option, is_logged) in [("-v2", true), ("-v1", false), ("-v0", false)] {
        let server = Server::open(Ours, &[option]);
        let client = server.connect();
        let soon = wire::expiry_in(Duration::from_millis(200));
        assert_eq!(status(&client, &store_request(b"a\n", soon), &[memfd().as_fd()]), 0);
        if is_logged {
            assert_eq!([server.line(), server.line()], [info("connect"), info("store a\\n")]);
            // The daemon logs the expiry without a request.
            assert_eq!(server.line(), "s6-fdholderd: info: expire a\\n");
        }
        let begun = Instant::now();
        while !wire::list(&client).unwrap().is_empty() {
            assert!(begun.elapsed() < TIMEOUT);
            thread::sleep(Duration::from_millis(1));
        }
        let all = server.stop();
        assert!(!all.iter().any(|line| line.contains("expire")), "logged twice: {all:?}");
        assert_eq!(all.is_empty(), !is_logged);
    }
}

#[test]
fn a_client_that_breaks_the_protocol_is_a_warning() {
    let broken: [fn(&UnixStream); 4] = [
        |client| wire::send(client, &[255; 6], &[]).unwrap(),
        |client| wire::send(client, &[0, 0, 0, 1, 255, 255], &[]).unwrap(),
        // A descriptor is announced, but not sent.
        |client| {
            wire::send(client, &wire::frame(&store_request(b"a", wire::never()), 1), &[]).unwrap()
        },
        |client| wire::send(client, &wire::frame(b"L", 0), &[memfd().as_fd()]).unwrap(),
    ];
    for (at, broken) in broken.iter().enumerate() {
        for option in ["-v2", "-v1", "-v0"] {
            let server = Server::open(Ours, &[option]);
            let client = server.connect();
            broken(&client);
            assert_disconnects(&client);
            let line = warning("disconnect: Protocol error");
            let expected = match option {
                "-v2" => vec![info("connect"), line],
                "-v1" => vec![line],
                _ => vec![],
            };
            assert_eq!(server.stop(), expected, "{at} {option}");
        }
    }
}

#[test]
fn a_client_that_is_silent_in_the_middle_of_a_request_is_a_warning() {
    let begin: [fn(&UnixStream); 2] = [
        |client| wire::send(client, &[0], &[]).unwrap(),
        |client| assert_eq!(status(client, b"!\0\0\0\x01", &[]), 0),
    ];
    for (at, begin) in begin.iter().enumerate() {
        for option in ["-v2", "-v1", "-v0"] {
            let server = Server::open(Ours, &[option, "-t100"]);
            let client = server.connect();
            begin(&client);
            assert_disconnects(&client);
            let line = warning("disconnect: Connection timed out");
            let mut expected = match option {
                "-v2" => vec![info("connect"), line],
                "-v1" => vec![line],
                _ => vec![],
            };
            if at == 1 && option == "-v2" {
                expected.insert(1, info("set dump"));
            }
            assert_eq!(server.stop(), expected, "{at} {option}");
        }
    }
}

#[test]
fn the_longest_identifiers_make_one_line() {
    for byte in [b'x', 1, b'\n', b'\\', 255] {
        let server = Server::open(Ours, &["-v2"]);
        let client = server.connect();
        let id = [byte; 255];
        assert_eq!(put(&client, &id), 0);
        assert_eq!(put(&client, &id), 16);
        let quoted = match byte {
            b'x' => "x",
            1 => "\\0x01",
            b'\n' => "\\n",
            b'\\' => "\\\\",
            _ => "\\0xff",
        };
        let quoted = quoted.repeat(255);
        assert_eq!(server.line(), info("connect"));
        assert_eq!(server.line(), info(&format!("store {quoted}")));
        assert_eq!(server.line(), info(&format!("store {quoted}: Device or resource busy")));
    }
}

#[test]
fn messages_of_fdholder_daemon_begin_with_fdholderd() {
    let daemon_dir = DaemonDir::open();
    let mut command = daemon_dir.daemon(&["-v2"]);
    let server = Server::start(daemon_dir, &mut command);
    let client = server.connect();
    assert_eq!(server.line(), info("connect"));
    drop(client);
    assert_eq!(server.line(), info("disconnect"));
}

#[test]
fn lines_about_several_clients_do_not_mix() {
    let server = Server::open(Ours, &["-v2"]);
    let path = server.daemon_dir.socket();
    let workers = (0..8).map(|worker| {
        let path = path.clone();
        thread::spawn(move || {
            for round in 0..50 {
                let client = connect(&path);
                let id = format!("{worker}-{round}");
                assert_eq!(put(&client, id.as_bytes()), 0);
            }
        })
    });
    workers.collect::<Vec<_>>().into_iter().for_each(|worker| worker.join().unwrap());
    let mut expected = Vec::new();
    for worker in 0..8 {
        for round in 0..50 {
            expected.push(info("connect"));
            expected.push(info(&format!("store {worker}-{round}")));
            expected.push(info("disconnect"));
        }
    }
    // The daemon is stopped only after all expected lines, since it must see the last disconnect first.
    let mut all: Vec<String> = expected.iter().map(|_| server.line()).collect();
    assert_eq!(server.stop(), [""; 0]);
    all.sort();
    expected.sort();
    assert_eq!(all, expected);
}

/// A daemon that logs to a given descriptor. It is killed when this is dropped.
struct Logging(Child, DaemonDir);

impl Logging {
    fn start(stderr: impl Into<Stdio>) -> Logging {
        Logging::start_behind(&[], stderr)
    }

    fn start_behind(first: &[&str], stderr: impl Into<Stdio>) -> Logging {
        Logging::start_at(DaemonDir::open(), &["-v2"], first, stderr)
    }

    fn start_at(
        daemon_dir: DaemonDir,
        options: &[&str],
        first: &[&str],
        stderr: impl Into<Stdio>,
    ) -> Logging {
        let inner = daemon_dir.daemon(options);
        let mut command = match first {
            [] => through(Ours, "s6-fdholder-daemon", "", ""),
            [program, rest @ ..] => {
                let mut command = Command::new(program);
                command.args(rest).args(inner.get_args().skip(2).take(2));
                command
            }
        };
        command.args(inner.get_args().skip(4));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        let mut ready = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut ready).unwrap();
        assert_eq!(ready, b"\n");
        Logging(child, daemon_dir)
    }

    /// Makes `count` requests, each of which the daemon logs as a line. It must answer all of them.
    fn make_requests(&mut self, count: usize) {
        let client = connect(&self.1.socket());
        for _ in 0..count {
            assert_eq!(status(&client, &delete_request(&[b'x'; 255]), &[]), 2);
        }
        assert!(self.0.try_wait().unwrap().is_none());
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_logger_that_does_not_read_delays_no_client() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut daemon = Logging::start(writer);
    // The lines are many times more than a pipe takes.
    daemon.make_requests(5000);
    // The pipe contains whole lines. When there is room again, the lines that follow are whole too.
    let mut log = BufReader::new(File::from(reader));
    let expected = info(&format!("delete {}: No such file or directory", "x".repeat(255)));
    for at in 0..100 {
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let line = line.trim_end();
        assert_eq!(line, if at == 0 { info("connect") } else { expected.clone() });
    }
    // Read the other lines, until one about a new request comes.
    let drain = thread::spawn(move || {
        for line in log.lines() {
            let line = line.unwrap();
            if line.contains("delete new") {
                return;
            }
            assert!(line == expected || line.contains("connect"), "{line}");
        }
        panic!("nothing new");
    });
    let begun = Instant::now();
    while !drain.is_finished() {
        let client = connect(&daemon.1.socket());
        let _ = answer(&client, &delete_request(b"new"), &[]).unwrap();
        assert!(begun.elapsed() < TIMEOUT);
    }
    drain.join().unwrap();
}

#[test]
fn a_pipe_that_is_full_at_the_start_delays_no_client() {
    for leave in [0, 1, 100, 4096, 5000] {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut writer = File::from(writer);
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        while writer.write(&[b'.'; 4096]).is_ok() {}
        while writer.write(b".").is_ok() {}
        let mut reader = File::from(reader);
        reader.read_exact(&mut vec![0; leave]).unwrap();
        // A plain write blocks now.
        fcntl_setfl(&writer, OFlags::empty()).unwrap();
        let mut daemon = Logging::start(writer);
        daemon.make_requests(100);
    }
}

#[test]
fn the_daemon_goes_on_after_its_logger_has_ended() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    drop(reader);
    Logging::start(writer).make_requests(10);
    // The same, where the logger ends while the daemon runs.
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut daemon = Logging::start(writer);
    daemon.make_requests(10);
    drop(reader);
    daemon.make_requests(10);
    daemon.make_requests(10);
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    Logging::start(std::os::fd::OwnedFd::from(writer)).make_requests(10);
}

#[test]
fn the_daemon_goes_on_if_its_log_file_is_full_or_not_writable() {
    Logging::start(fs::OpenOptions::new().write(true).open("/dev/full").unwrap()).make_requests(10);
    Logging::start(File::open("/dev/null").unwrap()).make_requests(10);
    let (_other, socket) = UnixStream::pair().unwrap();
    Logging::start(std::os::fd::OwnedFd::from(socket)).make_requests(5000);
    // A write beyond the limit on the size of files sends a signal.
    let dir = TempDir::new().unwrap();
    let file = File::create(dir.child("log")).unwrap();
    Logging::start_behind(&["sh", "-c", "ulimit -f 1 && exec \"$0\" \"$@\""], file)
        .make_requests(10);
    let length = fs::metadata(dir.child("log")).unwrap().len();
    assert!(length > 0 && length % 512 == 0, "{length} bytes: the file is not full");
}

#[test]
fn by_default_only_warnings_are_logged() {
    let daemon_dir = DaemonDir::new();
    daemon_dir.allow("uid/default", &[(STORE, "(x")]);
    let mut command = daemon_dir.fdholderd(Ours, &[]);
    let server = Server::start(daemon_dir, &mut command);
    assert_disconnects(&server.connect());
    let line = server.line();
    assert!(line.starts_with("s6-fdholderd: warning: "), "{line}");
    // The line names the client, and is logged once.
    assert!(line.contains(&who()), "{line}");
    assert_eq!(server.stop(), [""; 0]);
    // A client without rights may connect.
    let daemon_dir = DaemonDir::new();
    daemon_dir.allow("uid/default", &[]);
    let mut command = daemon_dir.fdholderd(Ours, &[]);
    let server = Server::start(daemon_dir, &mut command);
    drop(server.connect());
    assert_eq!(server.stop(), [""; 0]);
}

/// A terminal: the master, from which a test reads what is written to the slave. Programs do not inherit
/// them.
fn terminal() -> (File, File) {
    let master = File::options().read(true).write(true).open("/dev/ptmx").unwrap();
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the call reads one number.
    let unlocked = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &0) };
    assert_eq!(unlocked, 0);
    // SAFETY: the call touches no memory.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    assert!(slave >= 0);
    // SAFETY: the descriptor is open, and nothing else owns it.
    (master, unsafe { File::from_raw_fd(slave) })
}

#[test]
fn a_stopped_terminal_delays_no_client() {
    let (mut master, slave) = terminal();
    // Control-S.
    master.write_all(&[0x13]).unwrap();
    let mut daemon = Logging::start(slave);
    daemon.make_requests(1000);
    // Control-Q.
    master.write_all(&[0x11]).unwrap();
    let mut log = BufReader::new(master);
    let mut line = String::new();
    while !line.contains("connect") {
        line.clear();
        log.read_line(&mut line).unwrap();
    }
    assert_eq!(line.trim_end(), info("connect"));
    let next = log.lines().next().unwrap().unwrap();
    let expected = info(&format!("delete {}: No such file or directory", "x".repeat(255)));
    assert_eq!(next.trim_end(), expected);
}

#[test]
fn a_terminal_whose_output_is_not_read_delays_no_client() {
    let (_master, slave) = terminal();
    Logging::start(slave).make_requests(1000);
}

/// A pipe that has room for one page only.
fn pipe_with_room_for_a_page() -> (File, OwnedFd) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut full = File::from(writer.try_clone().unwrap());
    fcntl_setfl(&full, OFlags::NONBLOCK).unwrap();
    while full.write(&[b'.'; 4096]).is_ok() {}
    let mut reader = File::from(reader);
    reader.read_exact(&mut [0; 4096]).unwrap();
    fcntl_setfl(&full, OFlags::empty()).unwrap();
    (reader, writer)
}

/// Ends a daemon, and returns the line that it has written into such a pipe. It must be one line, of at most
/// a page.
fn one_line(daemon: Logging, mut reader: File) -> String {
    drop(daemon);
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    let all = String::from_utf8_lossy(&all);
    let line = all[all.find("s6-fdholderd").unwrap()..].to_string();
    assert!(line.ends_with('\n') && line.lines().count() == 1, "{line}");
    assert!(line.len() <= 4096, "{}", line.len());
    line
}

#[test]
fn no_line_is_longer_than_a_page() {
    let daemon_dir = DaemonDir::new();
    let expression = format!("({}", "\u{1}".repeat(1990));
    daemon_dir.allow("uid/default", &[(STORE, &expression)]);
    let (reader, writer) = pipe_with_room_for_a_page();
    let mut daemon = Logging::start_at(daemon_dir, &[], &[], writer);
    assert_disconnects(&connect(&daemon.1.socket()));
    // The daemon goes on.
    assert_disconnects(&connect(&daemon.1.socket()));
    assert!(daemon.0.try_wait().unwrap().is_none());
    let line = one_line(daemon, reader);
    assert!(line.starts_with("s6-fdholderd: warning: uid "), "{line}");
    assert!(line.ends_with("\\0x01...: Invalid argument\n"), "{line}");
}

#[test]
fn a_missing_rules_file_with_a_long_path_delays_no_client() {
    let daemon_dir = DaemonDir::open();
    let mut file = daemon_dir.child("file");
    for _ in 0..5 {
        file.push("\u{e9}".repeat(120));
    }
    fs::create_dir_all(&file).unwrap();
    file.push("rules");
    daemon_dir.compile(S6_2_15, &daemon_dir.child("compiled"));
    fs::rename(daemon_dir.child("compiled"), &file).unwrap();
    let (reader, writer) = pipe_with_room_for_a_page();
    let mut daemon = Logging::start_at(daemon_dir, &["-x", file.to_str().unwrap()], &[], writer);
    fs::remove_file(&file).unwrap();
    kill_process(Pid::from_child(&daemon.0), Signal::HUP).unwrap();
    daemon.make_requests(1);
    // By now the daemon has handled the signal.
    daemon.make_requests(1);
    let line = one_line(daemon, reader);
    let begin = "s6-fdholderd: warning: the old rules stay: unable to read rules from /";
    assert!(line.starts_with(begin), "{line}");
    assert!(line.ends_with("...: No such file or directory\n"), "{line}");
}

#[test]
fn equal_warnings_are_limited_and_counted() {
    assert_warnings_are_counted(&Server::open(Ours, &[]));
}

#[test]
fn equal_warnings_are_limited_and_counted_if_each_turn_takes_long() {
    let daemon_dir = DaemonDir::open();
    let slow = ["recvmsg:delay_exit=5000".into()];
    let mut command = strace_detached(&daemon_dir.child("trace"), &slow);
    command
        .args(["s6-fdholder-daemon", "-1", "-i"])
        .arg(daemon_dir.rules())
        .arg(daemon_dir.socket());
    assert_warnings_are_counted(&Server::start(daemon_dir, command.stdin(Stdio::null())));
}

/// Breaks the protocol on 50 connections, and counts the warnings.
fn assert_warnings_are_counted(server: &Server) {
    let begun = Instant::now();
    for _ in 0..50 {
        let client = server.connect();
        wire::send(&client, &[255; 6], &[]).unwrap();
        assert_disconnects(&client);
    }
    let line = warning("disconnect: Protocol error");
    assert_eq!(server.line(), line);
    let (mut count, mut lines) = (1, 1);
    while count < 50 {
        let next = server.line();
        let more = next.strip_prefix(&format!("{line} (and "));
        let more = more.and_then(|rest| rest.strip_suffix(" more)"));
        // After a second, the daemon may log the full line again.
        assert!(more.is_some() || next == line, "{next}");
        count += more.map_or(1, |number| number.parse::<u64>().unwrap());
        lines += 1;
    }
    assert_eq!(count, 50);
    assert!(lines <= 3 + begun.elapsed().as_secs(), "{lines} lines");
}
