//! What the daemon says on standard error: a line for each event, never more than it may, and never
//! in the way of its work.

use crate::kit::daemon::Generation::{Ours, S6_2_15};
use crate::kit::daemon::STORE;
use crate::kit::memfd;
use crate::kit::server::{Place, Server, answer, connect, hangs_up, status, through};
use crate::kit::strace::strace_aside;
use crate::kit::tool::PATIENCE;
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

/// Who the clients here are, as the daemon says it.
fn who() -> String {
    format!("uid {} gid {}", getuid().as_raw(), getgid().as_raw())
}

/// A line about a client.
fn info(text: &str) -> String {
    format!("s6-fdholderd: info: {}: {text}", who())
}

/// A warning about a client.
fn warning(text: &str) -> String {
    format!("s6-fdholderd: warning: {}: {text}", who())
}

/// What a client does with a daemon that holds two things at most, one after the other, and what
/// is said about it. Nothing is said when it has no name, since it is preparation.
type Event = (fn(&UnixStream), &'static str);

fn put(client: &UnixStream, id: &[u8]) -> i32 {
    status(client, &store_request(id, wire::never()), &[memfd().as_fd()])
}

/// All that happens to a client whom everything is allowed.
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

/// How the last identifier but one is written.
const QUOTED: &str = "store  ~a\\\\\\n\\a\\0x7f\\0x80\\0xff";

/// Lets all these happen, and compares the lines.
fn says(options: &[&str], place: Place, events: &[Event], expected: &[String]) {
    let mut command = place.fdholderd(Ours, options);
    let server = Server::start(place, &mut command);
    let client = server.connect();
    for (happen, _) in events {
        happen(&client);
    }
    drop(client);
    // It is not told to end before it has said what is due: that the client has gone, too.
    let all: Vec<_> = expected.iter().map(|_| server.line()).collect();
    assert_eq!(all, expected, "{options:?}");
    assert_eq!(server.stop(), [""; 0], "{options:?}");
}

#[test]
fn each_event_is_a_line() {
    let mut expected = vec![info("connect")];
    expected.extend(EVENTS.map(|(_, text)| info(if text == "QUOTED" { QUOTED } else { text })));
    expected.push(info("disconnect"));
    says(&["-v2", "-n2"], Place::open(), &EVENTS, &expected);
    // A higher one is no other.
    says(&["-v4294967295", "-n2"], Place::open(), &EVENTS, &expected);
}

#[test]
fn what_went_as_it_should_is_only_said_when_asked_for() {
    for options in [&["-n2"][..], &["-v1", "-n2"], &["-v", "0", "-n2"], &["-v2", "-v1", "-n2"]] {
        says(options, Place::open(), &EVENTS, &[]);
    }
}

#[test]
fn what_is_refused_has_its_reason() {
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
    let place = Place::new();
    place.allow("uid/default", &[]);
    says(&["-v2"], place, &refused, &expected);
}

#[test]
fn a_client_who_may_not_connect_is_an_event_too() {
    for refuse in [false, true] {
        for (option, expected) in
            [("-v2", &[info("connect: Operation not permitted")][..]), ("-v1", &[]), ("-v0", &[])]
        {
            let place = Place::new();
            if refuse {
                place.refuse("uid/default");
            }
            let mut command = place.fdholderd(Ours, &[option]);
            let server = Server::start(place, &mut command);
            hangs_up(&server.connect());
            assert_eq!(server.stop(), expected, "{option}");
        }
    }
}

#[test]
fn a_retrieval_that_deletes_is_one_line() {
    let events: [Event; 2] = [
        (|client| assert_eq!(put(client, b"a"), 0), "store a"),
        (|client| assert_eq!(status(client, &retrieve_request(b"a", 1), &[]), 0), "retrieve a"),
    ];
    let expected = ["connect", "store a", "retrieve a", "disconnect"].map(info);
    says(&["-v2"], Place::open(), &events, &expected);
}

#[test]
fn what_expires_is_an_event() {
    for (option, is_said) in [("-v2", true), ("-v1", false), ("-v0", false)] {
        let server = Server::open(Ours, &[option]);
        let client = server.connect();
        let soon = wire::expiry_in(Duration::from_millis(200));
        assert_eq!(status(&client, &store_request(b"a\n", soon), &[memfd().as_fd()]), 0);
        if is_said {
            assert_eq!([server.line(), server.line()], [info("connect"), info("store a\\n")]);
            // Without anybody asking.
            assert_eq!(server.line(), "s6-fdholderd: info: expire a\\n");
        }
        let begun = Instant::now();
        while !wire::list(&client).unwrap().is_empty() {
            assert!(begun.elapsed() < PATIENCE);
            thread::sleep(Duration::from_millis(1));
        }
        let all = server.stop();
        assert!(!all.iter().any(|line| line.contains("expire")), "once is enough: {all:?}");
        assert_eq!(all.is_empty(), !is_said);
    }
}

#[test]
fn a_client_that_breaks_the_protocol_is_a_warning() {
    let broken: [fn(&UnixStream); 4] = [
        |client| wire::send(client, &[255; 6], &[]).unwrap(),
        |client| wire::send(client, &[0, 0, 0, 1, 255, 255], &[]).unwrap(),
        // A descriptor is announced, but does not come.
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
            hangs_up(&client);
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
fn a_client_that_is_silent_in_the_middle_of_something_is_a_warning() {
    let begin: [fn(&UnixStream); 2] = [
        |client| wire::send(client, &[0], &[]).unwrap(),
        |client| assert_eq!(status(client, b"!\0\0\0\x01", &[]), 0),
    ];
    for (at, begin) in begin.iter().enumerate() {
        for option in ["-v2", "-v1", "-v0"] {
            let server = Server::open(Ours, &[option, "-t100"]);
            let client = server.connect();
            begin(&client);
            hangs_up(&client);
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
fn messages_of_the_daemon_that_binds_begin_with_the_other_name() {
    let place = Place::open();
    let mut command = place.daemon(&["-v2"]);
    let server = Server::start(place, &mut command);
    let client = server.connect();
    assert_eq!(server.line(), info("connect"));
    drop(client);
    assert_eq!(server.line(), info("disconnect"));
}

#[test]
fn the_events_of_several_clients_do_not_mix() {
    let server = Server::open(Ours, &["-v2"]);
    let path = server.place.socket();
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
    // It may be told to end before it sees that the last one has left: what there is to be said
    // comes first.
    let mut all: Vec<String> = expected.iter().map(|_| server.line()).collect();
    assert_eq!(server.stop(), [""; 0]);
    all.sort();
    expected.sort();
    assert_eq!(all, expected);
}

/// A daemon with something else as standard error. It is killed when this is dropped.
struct Deaf(Child, Place);

impl Deaf {
    fn start(stderr: impl Into<Stdio>) -> Deaf {
        Deaf::start_behind(&[], stderr)
    }

    fn start_behind(first: &[&str], stderr: impl Into<Stdio>) -> Deaf {
        Deaf::start_at(Place::open(), &["-v2"], first, stderr)
    }

    fn start_at(place: Place, options: &[&str], first: &[&str], stderr: impl Into<Stdio>) -> Deaf {
        let inner = place.daemon(options);
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
        Deaf(child, place)
    }

    /// Has so many events happen, of which each would be a line.
    fn work(&mut self, rounds: usize) {
        let client = connect(&self.1.socket());
        for _ in 0..rounds {
            assert_eq!(status(&client, &delete_request(&[b'x'; 255]), &[]), 2);
        }
        assert!(self.0.try_wait().unwrap().is_none());
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_logger_that_does_not_read_keeps_nobody_waiting() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut deaf = Deaf::start(writer);
    // Many times what a pipe takes.
    deaf.work(5000);
    // What has come is whole lines, and once there is room again, so are those that follow.
    let mut log = BufReader::new(File::from(reader));
    let expected = info(&format!("delete {}: No such file or directory", "x".repeat(255)));
    for at in 0..100 {
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let line = line.trim_end();
        assert_eq!(line, if at == 0 { info("connect") } else { expected.clone() });
    }
    // The rest of it, and then a new one.
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
        let client = connect(&deaf.1.socket());
        let _ = answer(&client, &delete_request(b"new"), &[]).unwrap();
        assert!(begun.elapsed() < PATIENCE);
    }
    drain.join().unwrap();
}

#[test]
fn a_pipe_that_was_full_before_keeps_nobody_waiting() {
    for leave in [0, 1, 100, 4096, 5000] {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut writer = File::from(writer);
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        while writer.write(&[b'.'; 4096]).is_ok() {}
        while writer.write(b".").is_ok() {}
        let mut reader = File::from(reader);
        reader.read_exact(&mut vec![0; leave]).unwrap();
        // Whoever writes now waits, unless it takes care.
        fcntl_setfl(&writer, OFlags::empty()).unwrap();
        let mut deaf = Deaf::start(writer);
        deaf.work(100);
    }
}

#[test]
fn a_logger_that_is_gone_does_not_end_it() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    drop(reader);
    Deaf::start(writer).work(10);
    // Rust ignores SIGPIPE, and what it starts does not; but there are others.
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut deaf = Deaf::start(writer);
    deaf.work(10);
    drop(reader);
    deaf.work(10);
    deaf.work(10);
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    Deaf::start(std::os::fd::OwnedFd::from(writer)).work(10);
}

#[test]
fn a_full_or_unwritable_file_does_not_end_it() {
    Deaf::start(fs::OpenOptions::new().write(true).open("/dev/full").unwrap()).work(10);
    Deaf::start(File::open("/dev/null").unwrap()).work(10);
    let (_other, socket) = UnixStream::pair().unwrap();
    Deaf::start(std::os::fd::OwnedFd::from(socket)).work(5000);
    // Writing beyond a limit on the size of files is a signal as well.
    let dir = TempDir::new().unwrap();
    let file = File::create(dir.child("log")).unwrap();
    Deaf::start_behind(&["sh", "-c", "ulimit -f 1 && exec \"$0\" \"$@\""], file).work(10);
    let length = fs::metadata(dir.child("log")).unwrap().len();
    assert!(length > 0 && length % 512 == 0, "{length} bytes: it is full");
}

#[test]
fn the_default_is_to_warn_and_rights_alone_are_no_reason_to() {
    let place = Place::new();
    place.allow("uid/default", &[(STORE, "(x")]);
    let mut command = place.fdholderd(Ours, &[]);
    let server = Server::start(place, &mut command);
    hangs_up(&server.connect());
    let line = server.line();
    assert!(line.starts_with("s6-fdholderd: warning: "), "{line}");
    // Which client that was is said, and once is enough.
    assert!(line.contains(&who()), "{line}");
    assert_eq!(server.stop(), [""; 0]);
    // Those who may do nothing may connect.
    let place = Place::new();
    place.allow("uid/default", &[]);
    let mut command = place.fdholderd(Ours, &[]);
    let server = Server::start(place, &mut command);
    drop(server.connect());
    assert_eq!(server.stop(), [""; 0]);
}

/// A terminal: what is written to the second appears in the first. Nobody else inherits them.
fn terminal() -> (File, File) {
    let master = File::options().read(true).write(true).open("/dev/ptmx").unwrap();
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the kernel reads a number.
    let unlocked = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &0) };
    assert_eq!(unlocked, 0);
    // SAFETY: touches no memory.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    assert!(slave >= 0);
    // SAFETY: it is open, and nobody else has it.
    (master, unsafe { File::from_raw_fd(slave) })
}

#[test]
fn a_terminal_that_is_stopped_keeps_nobody_waiting() {
    let (mut master, slave) = terminal();
    // Control-S.
    master.write_all(&[0x13]).unwrap();
    let mut deaf = Deaf::start(slave);
    deaf.work(1000);
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
fn a_terminal_that_nobody_reads_keeps_nobody_waiting() {
    let (_master, slave) = terminal();
    Deaf::start(slave).work(1000);
}

/// A pipe that has room for a page, and none for more.
fn room_for_a_page() -> (File, OwnedFd) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut full = File::from(writer.try_clone().unwrap());
    fcntl_setfl(&full, OFlags::NONBLOCK).unwrap();
    while full.write(&[b'.'; 4096]).is_ok() {}
    let mut reader = File::from(reader);
    reader.read_exact(&mut [0; 4096]).unwrap();
    fcntl_setfl(&full, OFlags::empty()).unwrap();
    (reader, writer)
}

/// Ends a daemon, and takes all that it has written into such a pipe: a line, and not more than a page.
fn one_line(deaf: Deaf, mut reader: File) -> String {
    drop(deaf);
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
    let place = Place::new();
    let expression = format!("({}", "\u{1}".repeat(1990));
    place.allow("uid/default", &[(STORE, &expression)]);
    let (reader, writer) = room_for_a_page();
    let mut deaf = Deaf::start_at(place, &[], &[], writer);
    hangs_up(&connect(&deaf.1.socket()));
    // It does not stand still.
    hangs_up(&connect(&deaf.1.socket()));
    assert!(deaf.0.try_wait().unwrap().is_none());
    let line = one_line(deaf, reader);
    assert!(line.starts_with("s6-fdholderd: warning: uid "), "{line}");
    assert!(line.ends_with("\\0x01...: Invalid argument\n"), "{line}");
}

#[test]
fn rules_with_a_long_name_that_are_gone_keep_nobody_waiting() {
    let place = Place::open();
    let mut file = place.child("file");
    for _ in 0..5 {
        file.push("\u{e9}".repeat(120));
    }
    fs::create_dir_all(&file).unwrap();
    file.push("rules");
    place.compile(S6_2_15, &place.child("compiled"));
    fs::rename(place.child("compiled"), &file).unwrap();
    let (reader, writer) = room_for_a_page();
    let mut deaf = Deaf::start_at(place, &["-x", file.to_str().unwrap()], &[], writer);
    fs::remove_file(&file).unwrap();
    kill_process(Pid::from_child(&deaf.0), Signal::HUP).unwrap();
    deaf.work(1);
    // What came before is done by now.
    deaf.work(1);
    let line = one_line(deaf, reader);
    let begin = "s6-fdholderd: warning: the old rules stay: unable to read rules from /";
    assert!(line.starts_with(begin), "{line}");
    assert!(line.ends_with("...: No such file or directory\n"), "{line}");
}

#[test]
fn what_repeats_is_counted() {
    are_counted(&Server::open(Ours, &[]));
}

#[test]
fn what_repeats_is_counted_however_long_a_turn_takes() {
    let place = Place::open();
    let slow = ["recvmsg:delay_exit=5000".into()];
    let mut command = strace_aside(&place.child("trace"), &slow);
    command.args(["s6-fdholder-daemon", "-1", "-i"]).arg(place.rules()).arg(place.socket());
    are_counted(&Server::start(place, command.stdin(Stdio::null())));
}

/// Has the same thing go wrong many times, and reads what is said of it.
fn are_counted(server: &Server) {
    let begun = Instant::now();
    for _ in 0..50 {
        let client = server.connect();
        wire::send(&client, &[255; 6], &[]).unwrap();
        hangs_up(&client);
    }
    let line = warning("disconnect: Protocol error");
    assert_eq!(server.line(), line);
    let (mut count, mut lines) = (1, 1);
    while count < 50 {
        let next = server.line();
        let more = next.strip_prefix(&format!("{line} (and "));
        let more = more.and_then(|rest| rest.strip_suffix(" more)"));
        // If it took longer than a second there may be a new one.
        assert!(more.is_some() || next == line, "{next}");
        count += more.map_or(1, |number| number.parse::<u64>().unwrap());
        lines += 1;
    }
    assert_eq!(count, 50);
    assert!(lines <= 3 + begun.elapsed().as_secs(), "{lines} lines");
}
