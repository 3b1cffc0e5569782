//! Unix stream sockets: bytes and descriptors in and out, within a deadline.

use crate::deadline::Deadline;
use crate::exit::{Exit, Output};
use crate::fd::{self, Fd};
use crate::sys::{self, Control, Errno, Message, Poll};
use core::num::NonZeroUsize;

/// Why talking to a daemon failed: an error number, and whose. In one word, so that a result that
/// carries it travels in registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error(NonZeroUsize);

impl Error {
    /// Beyond the numbers that a daemon can answer with.
    const HUNG_UP: usize = 256;
    /// Added where there was no connecting to the daemon.
    const UNREACHABLE: usize = 1 << 10;
    /// Added where the daemon is to blame.
    const FAILED: usize = 1 << 11;

    /// The daemon did not follow the protocol.
    pub const INVALID: Error = Error::failed(Errno::PROTO);
    /// The daemon hung up before it said anything: it has no rule that allows this user to
    /// connect, or other reasons.
    pub const REFUSED: Error = Error::new(Error::FAILED + Error::HUNG_UP);
    /// The daemon hung up later.
    pub const CLOSED: Error = Error::new(Error::FAILED + Error::HUNG_UP + 1);
    /// Descriptors were lost: there was no room for them.
    pub const CROWDED: Error = Error::local(Errno::MFILE);

    const fn new(number: usize) -> Error {
        match NonZeroUsize::new(number) {
            Some(number) => Error(number),
            None => Error(NonZeroUsize::MAX),
        }
    }

    /// A system call failed here.
    pub const fn local(errno: Errno) -> Error {
        Error::new(errno.number())
    }

    /// There was no connecting to the daemon.
    pub const fn unreachable(errno: Errno) -> Error {
        Error::new(errno.number() | Error::UNREACHABLE)
    }

    /// The daemon is to blame: it answered with this error, or did not follow the protocol
    /// (`EPROTO`), or took longer than the deadline (`ETIMEDOUT`).
    pub const fn failed(errno: Errno) -> Error {
        Error::new(errno.number() | Error::FAILED)
    }

    /// Whether there was no connecting to the daemon.
    pub fn is_unreachable(self) -> bool {
        self.0.get() & Error::UNREACHABLE != 0
    }

    /// Adds the reason to a message. To a denial for lack of permission belongs the `right`, an
    /// environment variable in the daemon's rules, that this user lacks. The result is the exit
    /// code, `blame` if it is the daemon that failed.
    pub fn explain(self, line: &mut Output, right: &str, blame: Exit) -> Exit {
        match self {
            Error::REFUSED => {
                line.text(": connection closed without an answer: is this user allowed to connect?")
            }
            Error::CLOSED => line.text(": connection closed"),
            _ => line.reason(Errno::new(self.0.get() & 255)),
        };
        if self == Error::failed(Errno::PERM) {
            line.text(" (the right ").text(right).text(" is missing)");
        }
        if self.0.get() & Error::FAILED == 0 { Exit::SYSTEM } else { blame }
    }
}

/// A socket that is not standard input, output or error. The lowest free number is always the
/// one taken: where one of those is closed, an unconnected socket stays there for good, so that
/// no message is written into a connection or into a descriptor received later.
fn socket(wait: bool) -> Result<Fd, Errno> {
    loop {
        match sys::socket(wait) {
            Ok(0..=2) => {}
            Err(Errno::MFILE) if fd::raise_limit() => {}
            number => return number.and_then(|number| Fd::own(number as i32).ok_or(Errno::BADF)),
        }
    }
}

/// A connection to a daemon, to be made or made.
pub struct Stream {
    fd: Option<Fd>,
    deadline: Deadline,
    connected: bool,
    /// Whether the daemon has said anything.
    heard: bool,
}

impl Stream {
    /// Not connected yet.
    pub fn new(deadline: Deadline) -> Stream {
        Stream { fd: None, deadline, connected: false, heard: false }
    }

    /// Connects to the daemon at `path`, if that has not been tried and can be had without
    /// waiting. What comes of it counts only when [`Stream::connect`] is called; how many
    /// descriptors that will need is the result.
    pub fn try_connect(&mut self, path: &[u8]) -> usize {
        if self.fd.is_none() {
            self.fd = socket(false).ok();
            self.connected = sys::connect(self.number(), path).is_ok();
        }
        self.fd.is_none().into()
    }

    /// Connects to the daemon at `path`, waiting for a place in its backlog.
    pub fn connect(&mut self, path: &[u8]) -> Result<(), Error> {
        self.connect_socket(path).map_err(Error::unreachable)
    }

    fn connect_socket(&mut self, path: &[u8]) -> Result<(), Errno> {
        let wait = self.deadline.is_never();
        if self.fd.is_none() {
            self.fd = Some(socket(wait)?);
        } else if wait {
            sys::set_blocking(self.number())?;
        }
        while !self.connected {
            match sys::connect(self.number(), path) {
                // Nothing tells when there is a place in the backlog, only trying again does.
                Err(Errno::AGAIN) => self.deadline.pause()?,
                Err(errno) => return Err(errno),
                Ok(()) => self.connected = true,
            }
        }
        Ok(())
    }

    /// Hangs up. The deadline keeps what is left of it.
    pub fn hang_up(&mut self) {
        *self = Stream::new(self.deadline);
    }

    fn number(&self) -> i32 {
        self.fd.as_ref().map_or(-1, Fd::number)
    }

    /// Sends all of `bytes`, and with the first of them the descriptors in `control`.
    pub fn send(&mut self, bytes: &[u8], control: Option<&Control>) -> Result<(), Error> {
        let mut message = Message::outgoing(bytes, control);
        while message.remaining() > 0 {
            self.exchange(&mut message, Poll::OUT)?;
        }
        Ok(())
    }

    /// Receives one or more bytes, at most as many as `bytes` holds, and says how many.
    /// Descriptors that come with them are in `control` afterwards, even if the result is an
    /// error.
    pub fn receive(
        &mut self,
        bytes: &mut [u8],
        control: Option<&mut Control>,
    ) -> Result<usize, Error> {
        let received = self.exchange(&mut Message::incoming(bytes, control), Poll::IN)?;
        self.heard = true;
        Ok(received)
    }

    /// Sends or receives some bytes, one at the least.
    fn exchange(&mut self, message: &mut Message, events: i16) -> Result<usize, Error> {
        let hung_up = if self.heard { Error::CLOSED } else { Error::REFUSED };
        loop {
            match message.exchange(self.number(), self.deadline.is_never()) {
                Ok(0) | Err(Errno::PIPE | Errno::CONNRESET) => return Err(hung_up),
                Err(Errno::AGAIN) => {
                    self.deadline.wait(self.number(), events).map_err(Error::failed)?;
                }
                done => return done.map_err(Error::local),
            }
        }
    }
}
