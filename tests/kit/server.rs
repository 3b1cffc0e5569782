//! Daemons started as a test wants it: any command line, limits and rules, and what they say is
//! read line by line. Where that does not matter, `daemon` has a shorter way to start one.

use super::daemon::{GETDUMP, Generation, LIST, RETRIEVE, SETDUMP, STORE};
use super::process::can_be_looked_into;
use super::tool::PATIENCE;
use super::{make_room, program, wire};
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

/// A folder for the socket and the rules of a daemon. Other users may look into it.
#[derive(Clone)]
pub struct Place(Arc<TempDir>);

impl Place {
    /// One with a rules directory in which there is no rule.
    pub fn new() -> Place {
        let dir = TempDir::new().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.child("rules")).unwrap();
        Place(Arc::new(dir))
    }

    /// One where everybody may do everything.
    pub fn open() -> Place {
        let place = Place::new();
        place.allow("uid/default", &[GETDUMP, SETDUMP, LIST, STORE, RETRIEVE].map(|r| (r, "\n")));
        place
    }

    /// What has this name in it.
    pub fn child(&self, name: impl AsRef<str>) -> PathBuf {
        self.0.child(name)
    }

    /// The folder.
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

    /// Makes a rule that allows something: names of variables, and what is in their files.
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

    /// Has a C tool make a file of the rules directory, in place of the one at `to`.
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

    /// The same, after a shell has done something, and with redirections.
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

    /// The same, after a shell has done something, and with redirections.
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

/// A command that has a shell do something and then replace itself by a program.
pub fn through(generation: Generation, name: &str, first: &str, redirections: &str) -> Command {
    // Not every shell can close a number above 9.
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

/// A daemon that is ready. It is killed when this is dropped.
pub struct Server {
    /// Where it is.
    pub place: Place,
    child: Child,
    lines: Receiver<String>,
}

impl Server {
    /// Starts `command`, which has to be about a daemon in that place, and waits until it says
    /// that it is ready: a newline and the end of its standard output.
    pub fn start(place: Place, command: &mut Command) -> Server {
        let (server, mut out) = Server::launch(place, command);
        let (done, ready) = channel();
        thread::spawn(move || {
            let mut all = Vec::new();
            out.read_to_end(&mut all).unwrap();
            let _ = done.send(all);
        });
        let said = ready.recv_timeout(PATIENCE).expect("not ready");
        assert_eq!(said, b"\n", "{command:?}: {:?}", server.lines.try_iter().collect::<Vec<_>>());
        server
    }

    /// The same of one that need not come so far: waits until it has said something on standard
    /// output, or nobody has that any more.
    pub fn attempt(place: Place, command: &mut Command) -> Server {
        let (server, out) = Server::launch(place, command);
        let time = Timespec::try_from(PATIENCE).unwrap();
        let ready = retry_on_intr(|| poll(&mut [PollFd::new(&out, PollFlags::IN)], Some(&time)));
        assert_eq!(ready.unwrap(), 1, "neither ready nor at its end");
        server
    }

    /// The same without waiting; with it comes its standard output.
    fn launch(place: Place, command: &mut Command) -> (Server, ChildStdout) {
        make_room();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        can_be_looked_into(command);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        // Only the daemon has the listening socket from now on.
        command.stdin(Stdio::null());
        let (told, lines) = channel();
        let said = child.stderr.take().unwrap();
        thread::spawn(move || {
            for line in BufReader::new(said).split(b'\n') {
                let line = String::from_utf8(line.unwrap()).expect("messages are ASCII");
                // Nobody may want to know any more.
                let _ = told.send(line);
            }
        });
        let out = child.stdout.take().unwrap();
        (Server { place, child, lines }, out)
    }

    /// One of `s6-fdholderd` that allows everything, with these options.
    pub fn open(generation: Generation, options: &[&str]) -> Server {
        let place = Place::open();
        let mut command = place.fdholderd(generation, options);
        Server::start(place, &mut command)
    }

    /// A new client, who does not wait for ever for an answer.
    pub fn connect(&self) -> UnixStream {
        connect(&self.place.socket())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The next line that it says.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line on standard error")
    }

    /// Checks that it is still there, and serves.
    pub fn serves(&mut self) {
        let client = self.connect();
        assert_eq!(answer(&client, b"L", &[]).unwrap().0[0], 0);
        assert!(self.child.try_wait().unwrap().is_none());
    }

    /// Checks that it is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end: the exit code, with 1000 and the number of a signal that ended it, and
    /// the lines that were not read yet.
    pub fn end(mut self) -> (i32, Vec<String>) {
        let code = self.wait();
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("somebody has its standard error"),
            }
        }
        (code, rest)
    }

    /// Waits for its end: the exit code, with 1000 and the number of a signal that ended it.
    pub fn wait(&mut self) -> i32 {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(1));
        };
        status.code().unwrap_or_else(|| 1000 + status.signal().unwrap())
    }

    /// Ends it as an administrator would, and returns what it had still said, but that it ends.
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
            eprintln!("it said: {line}");
        }
    }
}

/// A process that is killed when this is dropped.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended, and have been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connects to a socket. Nothing is waited for longer than for [`PATIENCE`].
pub fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
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

/// Checks that the daemon has hung up, or waits until it does.
pub fn hangs_up(stream: &UnixStream) {
    match wire::receive(stream, &mut [0]) {
        Ok((0, _)) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
}
