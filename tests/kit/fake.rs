//! Scripted peers: a thread accepts connections on a socket, follows a script, and records what it
//! receives.

use super::wire::{self, Held};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, listen, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use temp_dir::TempDir;

/// How long the peer waits for an event. Then it gives up, so that no test hangs.
const TIMEOUT: Duration = Duration::from_secs(20);

/// `EAGAIN`, the answer to a frame of a set dump when more frames are expected.
const AGAIN: u8 = 11;

/// A step of a script. After the last step the peer reads until the other side disconnects.
pub enum Step {
    /// Receives a whole frame.
    Receive,
    /// Sends bytes, and descriptors with the first of them.
    Send(Vec<u8>, Vec<OwnedFd>),
    /// Sends one byte at a time, the descriptors with the first, and pauses after each byte.
    SendSlowly(Vec<u8>, Vec<OwnedFd>, Duration),
    /// Sends the same bytes and descriptors repeatedly, until the other side disconnects.
    Flood(Vec<u8>, Vec<OwnedFd>),
    /// Pauses, unless the other side disconnects.
    Pause(Duration),
    /// Receives a set dump and answers like a daemon.
    AcceptDump,
    /// Reads until the other side disconnects. The next steps are for the next connection.
    Next,
    /// Calls a function.
    Do(Box<dyn FnOnce() + std::marker::Send>),
    /// Disconnects.
    HangUp,
    /// Disconnects when bytes have arrived, without reading them.
    Reset,
    /// Stops reading, and waits until the other side disconnects.
    StopReading,
}

/// What a peer has received.
#[derive(Default)]
pub struct Seen {
    /// Whether a client has connected.
    pub connected: bool,
    /// All bytes that arrived.
    pub bytes: Vec<u8>,
    /// Device and inode of each descriptor that arrived.
    pub files: Vec<(u64, u64)>,
}

/// A running peer. It serves one connection, and one more for each [`Step::Next`] of its script.
pub struct Fake {
    /// The path of its socket.
    pub path: PathBuf,
    /// When this is closed, the peer waits for no further client.
    stop: OwnedFd,
    thread: JoinHandle<Seen>,
    _dir: Option<TempDir>,
}

impl Fake {
    /// Starts a peer that follows this script.
    pub fn start(script: Vec<Step>) -> Fake {
        let dir = TempDir::new().unwrap();
        let fake = Fake::start_at(dir.child("s"), script);
        Fake { _dir: Some(dir), ..fake }
    }

    /// The same, with its socket at this path.
    pub fn start_at(path: PathBuf, script: Vec<Step>) -> Fake {
        let listener = UnixListener::bind(&path).unwrap();
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let thread = thread::spawn(move || serve(&listener, &stopped, script));
        Fake { path, stop, thread, _dir: None }
    }

    /// Starts a peer whose backlog is full. After `time` it empties the backlog and follows the script,
    /// unless [`Fake::seen`] was called before.
    pub fn with_full_backlog(time: Duration, script: Vec<Step>) -> Fake {
        let dir = TempDir::new().unwrap();
        let path = dir.child("s");
        let listener = UnixListener::bind(&path).unwrap();
        listen(&listener, 0).unwrap();
        let clients = fill_backlog(&path, usize::MAX);
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let thread = thread::spawn(move || {
            if wait(&mut [PollFd::new(&stopped, PollFlags::IN)], time) {
                return Seen::default();
            }
            for client in clients {
                drop((listener.accept().unwrap(), client));
            }
            serve(&listener, &stopped, script)
        });
        Fake { path, stop, thread, _dir: Some(dir) }
    }

    /// Waits for the end of the script and returns what the peer has received. The other side must have
    /// ended.
    pub fn seen(self) -> Seen {
        drop(self.stop);
        self.thread.join().expect("a scripted peer")
    }
}

/// Connects until the backlog is full or has `most` clients, and returns these clients.
pub fn fill_backlog(path: &Path, most: usize) -> Vec<OwnedFd> {
    let mut clients = Vec::new();
    while clients.len() < most {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let client = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        match connect(&client, &SocketAddrUnix::new(path).unwrap()) {
            Ok(()) => clients.push(client),
            Err(error) => {
                assert_eq!(error, Errno::AGAIN);
                break;
            }
        }
    }
    clients
}

/// Follows the script with the clients that connect, until `stopped` reports the end.
fn serve(listener: &UnixListener, stopped: &OwnedFd, script: Vec<Step>) -> Seen {
    let (mut scripts, mut seen) = (vec![Vec::new()], Seen::default());
    for step in script {
        match step {
            Step::Next => scripts.push(Vec::new()),
            step => scripts.last_mut().unwrap().push(step),
        }
    }
    for script in scripts {
        let both = [listener.as_fd(), stopped.as_fd()];
        wait(&mut both.each_ref().map(|fd| PollFd::new(fd, PollFlags::IN)), TIMEOUT);
        // A client that connected before the end counts, even if it has disconnected since.
        listener.set_nonblocking(true).unwrap();
        let Ok((stream, _)) = listener.accept() else { break };
        let mut connection = Connection { stream, seen: Seen { connected: true, ..seen } };
        if let Err(error) = connection.follow(script) {
            let gone = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
            assert!(gone.contains(&error.kind()), "the script cannot go on: {error}");
        }
        seen = connection.seen;
    }
    seen
}

/// Waits for an event. Returns whether one came in time.
fn wait(on: &mut [PollFd], time: Duration) -> bool {
    let time = Timespec::try_from(time).unwrap();
    retry_on_intr(|| poll(on, Some(&time))).unwrap() > 0
}

struct Connection {
    stream: UnixStream,
    seen: Seen,
}

impl Connection {
    /// Does all steps. If the other side has disconnected, the error is like that of a broken pipe.
    fn follow(&mut self, script: Vec<Step>) -> Result<()> {
        for step in script {
            match step {
                Step::Receive => drop(self.frame()?),
                Step::Send(bytes, fds) => self.send(&bytes, &fds)?,
                Step::SendSlowly(bytes, fds, pause) => {
                    for (at, byte) in bytes.iter().enumerate() {
                        self.send(&[*byte], if at == 0 { &fds } else { &[] })?;
                        self.pause(pause)?;
                    }
                }
                Step::Flood(bytes, fds) => loop {
                    self.send(&bytes, &fds)?;
                },
                Step::Pause(time) => self.pause(time)?,
                Step::AcceptDump => self.take_dump()?,
                Step::Do(what) => what(),
                Step::Next => unreachable!("another connection has a script of its own"),
                Step::HangUp => return Ok(()),
                Step::Reset => {
                    wait(&mut [PollFd::new(&self.stream, PollFlags::IN)], TIMEOUT);
                    return Ok(());
                }
                Step::StopReading => self.pause(TIMEOUT)?,
            }
        }
        loop {
            self.read(1)?;
        }
    }

    /// Waits for this time, unless the other side disconnects.
    fn pause(&self, time: Duration) -> Result<()> {
        let hung_up = wait(&mut [PollFd::new(&self.stream, PollFlags::empty())], time);
        if hung_up { Err(ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// Sends all bytes. If a tool does not read them, the test kills it in the end, and this call returns.
    fn send(&self, bytes: &[u8], fds: &[OwnedFd]) -> Result<()> {
        wire::send(&self.stream, bytes, &fds.iter().map(AsFd::as_fd).collect::<Vec<_>>())
    }

    /// Receives exactly `length` bytes and records them. Returns them and the number of descriptors that
    /// came with them.
    fn read(&mut self, length: usize) -> Result<(Vec<u8>, usize)> {
        let (mut bytes, mut have, mut count) = (vec![0; length], 0, 0);
        while have < length {
            if !wait(&mut [PollFd::new(&self.stream, PollFlags::IN)], TIMEOUT) {
                return Err(ErrorKind::TimedOut.into());
            }
            let (n, fds) = wire::receive(&self.stream, &mut bytes[have..])?;
            if n == 0 {
                return Err(Error::from(ErrorKind::BrokenPipe));
            }
            self.seen.bytes.extend(&bytes[have..have + n]);
            self.seen.files.extend(fds.iter().map(wire::inode));
            have += n;
            count += fds.len();
        }
        Ok((bytes, count))
    }

    /// Receives a frame. Returns its payload and the number of its descriptors.
    fn frame(&mut self) -> Result<(Vec<u8>, usize)> {
        let (header, early) = self.read(6)?;
        let length = u32::from_be_bytes(header[..4].try_into().unwrap());
        let (payload, late) = self.read(length as usize)?;
        Ok((payload, early + late))
    }

    fn take_dump(&mut self) -> Result<()> {
        let (opening, _) = self.frame()?;
        let mut missing = u32::from_be_bytes(opening[1..5].try_into().unwrap()) as usize;
        self.send(&opened(1), &[])?;
        while missing > 0 {
            missing = missing.saturating_sub(self.frame()?.1);
            self.send(&status(if missing == 0 { 0 } else { AGAIN }), &[])?;
        }
        Ok(())
    }
}

/// Bytes without descriptors, as a step.
pub fn bytes(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(bytes.as_ref().to_vec(), Vec::new())
}

/// A frame that announces `announced` descriptors and carries `sent`, as a step.
pub fn frame_with(payload: &[u8], announced: u16, sent: usize) -> Step {
    let fds = (0..sent).map(|_| super::memfd()).collect();
    Step::Send(wire::frame(payload, announced), fds)
}

/// A script that receives the request and then does these steps.
pub fn after_request(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    [Step::Receive].into_iter().chain(steps).collect()
}

/// A reply of only a status byte.
pub fn status(number: u8) -> Vec<u8> {
    wire::frame(&[number], 0)
}

/// The reply that accepts the opening of a set dump.
pub fn opened(frames: u32) -> Vec<u8> {
    wire::frame(&[&[0], &frames.to_be_bytes()[..]].concat(), 0)
}

/// The reply that announces a dump.
pub fn granted(frames: u32, total: usize) -> Vec<u8> {
    let total = (total as u32).to_be_bytes();
    wire::frame(&[&[0], &frames.to_be_bytes()[..], &total[..]].concat(), 0)
}

/// The frames in which a source sends these entries, `each` entries in a frame.
pub fn frames(all: &[Held], each: usize) -> Vec<(Vec<u8>, Vec<OwnedFd>)> {
    let frame = |held: &[Held]| {
        let payload: Vec<_> = held.iter().flat_map(|h| wire::entry(&h.id, h.expiry)).collect();
        let fds = held.iter().map(|h| h.fd.try_clone().unwrap()).collect();
        (wire::frame(&payload, held.len() as u16), fds)
    };
    all.chunks(each).map(frame).collect()
}

/// The script of a source that holds these entries and follows the protocol.
pub fn source(all: &[Held]) -> Vec<Step> {
    let frames = frames(all, wire::FRAME_ENTRIES);
    let reply = granted(frames.len() as u32, all.len());
    let mut script = vec![Step::Receive, Step::Send(reply, Vec::new())];
    script.extend(frames.into_iter().map(|(bytes, fds)| Step::Send(bytes, fds)));
    script
}

/// `count` entries to hold, each with a file and an expiry of its own and an identifier of `length`
/// bytes.
pub fn files_to_hold(count: usize, length: usize) -> Vec<Held> {
    let entry = |number| {
        let expiry = wire::expiry_in(Duration::from_secs(3600 + number as u64));
        Held::new(format!("{number:0>length$}"), expiry, super::memfd())
    };
    (0..count).map(entry).collect()
}

/// A transfer between two sockets, with these options.
pub fn transfer(options: &[&str], from: &Path, to: &Path) -> super::tool::Ended {
    let mut command = super::tool::tool("s6-fdholder-transferdump");
    super::tool::run(command.args(options).arg(from).arg(to))
}
