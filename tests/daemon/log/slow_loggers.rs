//! Loggers and terminals that do not read, and files that cannot be written, delay no client.

use super::info;
use super::who;
use crate::kit::daemon::Generation::{Ours, S6_2_15};
use crate::kit::daemon::STORE;
use crate::kit::server::{DaemonDir, Server, answer, assert_disconnects, connect, status, through};
use crate::kit::tool::TIMEOUT;
use crate::kit::wire::delete_request;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;
use temp_dir::TempDir;

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
