//! Starts daemons with any command line, limits and rules, and reads their messages line by line. Tests
//! that need none of that start a daemon with `daemon`, which is shorter.

use super::daemon::{GETDUMP, Generation, LIST, RETRIEVE, SETDUMP, STORE};
use super::process::allow_inspection;
use super::tool::TIMEOUT;
use super::{program, raise_open_file_limit, wire};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Result};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};
use temp_dir::TempDir;

/// A folder for the socket and the rules of a daemon. Other users can read it.
#[derive(Clone)]
pub struct DaemonDir(Arc<TempDir>);

impl DaemonDir {
    /// A folder with an empty rules directory.
    pub fn new() -> DaemonDir {
        let dir = TempDir::new().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.child("rules")).unwrap();
        DaemonDir(Arc::new(dir))
    }

    /// A folder with rules that give all rights to all users.
    pub fn open() -> DaemonDir {
        let daemon_dir = DaemonDir::new();
        daemon_dir
            .allow("uid/default", &[GETDUMP, SETDUMP, LIST, STORE, RETRIEVE].map(|r| (r, "\n")));
        daemon_dir
    }

    /// The path of the file with this name in the folder.
    pub fn child(&self, name: impl AsRef<str>) -> PathBuf {
        self.0.child(name)
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of the socket.
    pub fn socket(&self) -> PathBuf {
        self.child("s")
    }

    /// The rules directory.
    pub fn rules(&self) -> PathBuf {
        self.child("rules")
    }

    /// Makes a rule that allows: names of variables, and the contents of their files.
    pub fn allow(&self, key: &str, rights: &[(&str, &str)]) {
        let env = self.rules().join(key).join("env");
        fs::create_dir_all(&env).unwrap();
        for (name, contents) in rights {
            fs::write(env.join(name), contents).unwrap();
        }
        fs::write(env.with_file_name("allow"), "").unwrap();
    }

    /// Makes a rule that refuses.
    pub fn refuse(&self, key: &str) {
        let folder = self.rules().join(key);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("deny"), "").unwrap();
    }

    /// Runs the C tool that compiles the rules directory to a rules file, which replaces the one at `to`.
    pub fn compile(&self, generation: Generation, to: &Path) {
        for folder in ["uid", "gid"] {
            fs::create_dir_all(self.rules().join(folder)).unwrap();
        }
        let mut tool = generation.command("s6-accessrules-cdb-from-fs");
        let output = tool.arg(to).arg(self.rules()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// A command that starts `s6-fdholderd` with a listening socket and these options.
    pub fn fdholderd(&self, generation: Generation, options: &[&str]) -> Command {
        self.fdholderd_through(generation, "", "", options)
    }

    /// The same, started by a shell that first runs `first`, with redirections.
    pub fn fdholderd_through(
        &self,
        generation: Generation,
        first: &str,
        redirections: &str,
        options: &[&str],
    ) -> Command {
        let listener = UnixListener::bind(self.socket()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut command = through(generation, "s6-fdholderd", first, redirections);
        self.options(command.stdin(OwnedFd::from(listener)), options);
        command
    }

    /// A command that starts our `s6-fdholder-daemon` at the socket's path, with these options.
    pub fn daemon(&self, options: &[&str]) -> Command {
        self.daemon_through("", "", options)
    }

    /// The same, started by a shell that first runs `first`, with redirections.
    pub fn daemon_through(&self, first: &str, redirections: &str, options: &[&str]) -> Command {
        let mut command = through(Generation::Ours, "s6-fdholder-daemon", first, redirections);
        self.options(command.stdin(Stdio::null()), options).arg(self.socket());
        command
    }

    /// Adds `-1`, these options, and the rules directory if they name no rules.
    fn options<'a>(&self, command: &'a mut Command, options: &[&str]) -> &'a mut Command {
        command.arg("-1").args(options);
        if !options.iter().any(|option| ["-x", "-i"].contains(option)) {
            command.arg("-i").arg(self.rules());
        }
        command
    }
}

/// A command that runs a shell, which runs `first` and then executes a program.
pub fn through(generation: Generation, name: &str, first: &str, redirections: &str) -> Command {
    // Not every shell can redirect numbers above 9.
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!("{first} exec \"$0\" \"$@\" {redirections}"));
    if generation == Generation::Ours {
        command.arg(program()).arg(name);
    } else {
        command.arg(generation.command(name).get_program());
        command.env("LD_LIBRARY_PATH", generation.libraries());
    }
    command
}

/// A running daemon. It is killed when this is dropped.
pub struct Server {
    /// The folder of its socket and rules.
    pub daemon_dir: DaemonDir,
    child: Child,
    lines: Receiver<String>,
}

impl Server {
    /// Starts `command`, which must run a daemon in that folder, and waits until it is ready: it writes a
    /// newline and closes its standard output.
    pub fn start(daemon_dir: DaemonDir, command: &mut Command) -> Server {
        let (server, mut out) = Server::launch(daemon_dir, command);
        let (done, ready) = channel();
        thread::spawn(move || {
            let mut all = Vec::new();
            out.read_to_end(&mut all).unwrap();
            let _ = done.send(all);
        });
        let written = ready.recv_timeout(TIMEOUT).expect("not ready");
        assert_eq!(
            written,
            b"\n",
            "{command:?}: {:?}",
            server.lines.try_iter().collect::<Vec<_>>()
        );
        server
    }

    /// The same for a daemon that may fail: waits until it has written to standard output or has closed
    /// it.
    pub fn attempt(daemon_dir: DaemonDir, command: &mut Command) -> Server {
        let (server, out) = Server::launch(daemon_dir, command);
        let time = Timespec::try_from(TIMEOUT).unwrap();
        let ready = retry_on_intr(|| poll(&mut [PollFd::new(&out, PollFlags::IN)], Some(&time)));
        assert_eq!(ready.unwrap(), 1, "neither ready nor ended");
        server
    }

    /// The same without waiting. Returns its standard output too.
    fn launch(daemon_dir: DaemonDir, command: &mut Command) -> (Server, ChildStdout) {
        raise_open_file_limit();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        allow_inspection(command);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        // From now on only the daemon holds the listening socket.
        command.stdin(Stdio::null());
        let (sender, lines) = channel();
        let stderr = child.stderr.take().unwrap();
        thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n') {
                let line = String::from_utf8(line.unwrap()).expect("messages are ASCII");
                // The receiver may be dropped already.
                let _ = sender.send(line);
            }
        });
        let out = child.stdout.take().unwrap();
        (Server { daemon_dir, child, lines }, out)
    }

    /// Starts `s6-fdholderd` with these options, and with rules that give all rights to all users.
    pub fn open(generation: Generation, options: &[&str]) -> Server {
        let daemon_dir = DaemonDir::open();
        let mut command = daemon_dir.fdholderd(generation, options);
        Server::start(daemon_dir, &mut command)
    }

    /// A new client, which waits for an answer for at most [`TIMEOUT`].
    pub fn connect(&self) -> UnixStream {
        connect(&self.daemon_dir.socket())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The next line that it writes to standard error.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(TIMEOUT).expect("a line on standard error")
    }

    /// Checks that it has not ended, and answers a request.
    pub fn assert_serves(&mut self) {
        let client = self.connect();
        assert_eq!(answer(&client, b"L", &[]).unwrap().0[0], 0);
        assert!(self.child.try_wait().unwrap().is_none());
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end. Returns the exit code (1000 and the number of the signal if a signal ended it)
    /// and the lines that were not read yet.
    pub fn end(mut self) -> (i32, Vec<String>) {
        let code = self.wait();
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(TIMEOUT) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("another process holds its standard error")
                }
            }
        }
        (code, rest)
    }

    /// Waits for its end. Returns the exit code, or 1000 and the number of the signal that ended it.
    pub fn wait(&mut self) -> i32 {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < TIMEOUT, "it does not end");
            thread::sleep(Duration::from_millis(1));
        };
        status.code().unwrap_or_else(|| 1000 + status.signal().unwrap())
    }

    /// Ends it with SIGTERM, and returns the lines that were not read yet, except the one that announces
    /// the lame duck mode.
    pub fn stop(self) -> Vec<String> {
        self.signal(Signal::TERM);
        let (code, mut lines) = self.end();
        assert_eq!(code, 0, "{lines:?}");
        if lines.last().is_some_and(|line| line == "s6-fdholderd: info: lame duck") {
            lines.pop();
        }
        lines
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
        for line in self.lines.try_iter() {
            eprintln!("the daemon wrote: {line}");
        }
    }
}

/// A process that is killed when this is dropped.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // The process may have been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connects to a socket. A read or write fails after [`TIMEOUT`].
pub fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Sends a request and receives the reply.
pub fn answer(
    stream: &UnixStream,
    request: &[u8],
    fds: &[BorrowedFd],
) -> Result<(Vec<u8>, Vec<OwnedFd>)> {
    wire::send_frame(stream, request, fds)?;
    wire::receive_frame(stream)
}

/// Sends a request and receives the first byte of the reply: 0 or the number of an error.
pub fn status(stream: &UnixStream, request: &[u8], fds: &[BorrowedFd]) -> i32 {
    answer(stream, request, fds).expect("a reply").0[0].into()
}

/// Waits until the daemon disconnects. The test fails if it sends anything before.
pub fn assert_disconnects(stream: &UnixStream) {
    match wire::receive(stream, &mut [0]) {
        Ok((0, _)) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
}
