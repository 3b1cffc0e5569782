//! Unix stream sockets: bytes and descriptors in and out, within a deadline.

use crate::deadline::Deadline;
use crate::exit::{Exit, Output};
use crate::fd::{self, Fd};
use crate::sys::text::Text;
use crate::sys::{self, Errno, Message, Poll};
use crate::text::text;
use core::num::NonZeroUsize;

/// Why talking to a daemon failed: an error number, and whose. In one word, so that a result that
/// carries it travels in registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error(NonZeroUsize);

impl Error {
    /// Beyond the numbers that a daemon can answer with.
    const HUNG_UP: usize = 256;
    const WITHHELD: usize = 257;
    /// Added where there was no connecting to the daemon.
    const UNREACHABLE: usize = 1 << 10;
    /// Added where the daemon is to blame.
    const FAILED: usize = 1 << 11;

    /// The daemon did not follow the protocol.
    pub const INVALID: Error = Error::failed(Errno::PROTO);
    /// The daemon hung up. If it has said nothing before, it has no rule that allows this user to
    /// connect, or other reasons.
    pub const CLOSED: Error = Error::new(Error::FAILED + Error::HUNG_UP);
    /// The daemon took longer than the deadline.
    pub const LATE: Error = Error::failed(Errno::TIMEDOUT);
    /// Descriptors were lost: there was no room for them.
    pub const CROWDED: Error = Error::local(Errno::MFILE);
    /// Descriptors were lost although there was room.
    pub const DROPPED: Error = Error::new(Error::WITHHELD);

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

    /// Adds the reason to a message.
    pub fn explain(self, line: Output) {
        if self == Error::CLOSED {
            line.text(text!(": connection closed"));
        } else if self == Error::DROPPED {
            line.text(text!(": descriptors were withheld: does a security module forbid it?"));
        } else {
            line.reason(self.0.get());
        }
    }

    /// The exit code: `blame` if it is the daemon that failed.
    pub fn exit(self, blame: Exit) -> Exit {
        if self.0.get() & Error::FAILED == 0 { Exit::SYSTEM } else { blame }
    }
}

/// A socket that is not connected.
///
/// The lowest free number is always the one taken: where standard input, output or error is closed,
/// an unconnected socket stays there for good, so that no message is written into a connection or
/// into a descriptor received later.
pub fn open() -> Result<Fd, Errno> {
    loop {
        match sys::socket().map(Fd::own) {
            Ok(Some(fd)) => return Ok(fd),
            Ok(None) => {}
            Err(Errno::MFILE) if fd::raise_limit() => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// A connection to a daemon, to be made or made.
pub struct Stream {
    fd: Option<Fd>,
    heard: bool,
    deadline: Deadline,
}

impl Stream {
    /// Not connected yet.
    pub fn new(deadline: Deadline) -> Stream {
        Stream { fd: None, heard: false, deadline }
    }

    /// Connects to the daemon at `path`, unless that is done already; `EAGAIN` if it would have to
    /// wait.
    pub fn try_connect(&mut self, path: Text) -> Result<(), Errno> {
        if self.fd.is_some() {
            return Ok(());
        }
        let fd = open()?;
        sys::connect(fd.number(), path)?;
        self.fd = Some(fd);
        Ok(())
    }

    /// Connects to the daemon at `path`, waiting for a place in its backlog. Nothing tells when
    /// there is one, only trying again does.
    pub fn connect(&mut self, path: Text) -> Result<(), Errno> {
        self.deadline.begin()?;
        while let Err(errno) = self.try_connect(path) {
            if errno != Errno::AGAIN {
                return Err(errno);
            }
            self.deadline.pause()?;
        }
        // With no deadline to keep, the calls may do the waiting: that spares a `ppoll` each time.
        if self.deadline.is_never() {
            sys::set_blocking(self.number());
        }
        Ok(())
    }

    /// Whether it is connected: that needs no further descriptor.
    pub fn is_connected(&self) -> bool {
        self.fd.is_some()
    }

    /// Whether the daemon has said anything.
    pub fn has_heard(&self) -> bool {
        self.heard
    }

    /// It is the daemon's turn from now on, if it was not: only then is its time used up. An error if
    /// there is a deadline and no clock.
    pub fn begin_turn(&mut self) -> Result<(), Errno> {
        self.deadline.begin()
    }

    /// From now on there is something else to wait for.
    pub fn end_turn(&mut self) -> Result<(), Error> {
        self.deadline.end().map_err(late)
    }

    /// Hangs up. The deadline keeps what is left of it.
    pub fn hang_up(&mut self) {
        (self.fd, self.heard) = (None, false);
    }

    /// The number of its descriptor.
    pub fn number(&self) -> i32 {
        self.fd.as_ref().map_or(0, Fd::number)
    }

    /// Sends all of `bytes`, and with the first of them the control message, if there is one. That
    /// the daemon has hung up is no error here: it may have said why, so it is for
    /// [`Stream::receive`] to tell.
    pub fn send(&mut self, bytes: &[u8], control: &[i32]) -> Result<(), Error> {
        let mut message = Message::outgoing(bytes, control);
        while message.remaining() > 0 {
            match self.exchange(&mut message, Poll::OUT) {
                Err(Error::CLOSED) => break,
                sent => sent?,
            };
        }
        Ok(())
    }

    /// Receives one or more bytes, at most as many as `bytes` holds, and says how many. The control
    /// message that comes with them is in `control` afterwards, even if the result is an error;
    /// without one it is not touched.
    pub fn receive(&mut self, bytes: &mut [u8], control: &mut [i32]) -> Result<usize, Error> {
        let received = self.exchange(&mut Message::incoming(bytes, control), Poll::IN);
        self.heard |= received.is_ok();
        received
    }

    /// Sends or receives some bytes, one at the least.
    fn exchange(&mut self, message: &mut Message, events: i16) -> Result<usize, Error> {
        loop {
            match self.attempt(message, events) {
                Err(Errno::AGAIN) => {}
                Ok(0) | Err(Errno::PIPE | Errno::CONNRESET) => return Err(Error::CLOSED),
                // The kernel bounds the descriptors that a user has in flight by the soft limit.
                Err(Errno::TOOMANYREFS) if fd::raise_limit() => {}
                done => return done.map_err(late),
            }
        }
    }

    /// Sends or receives some bytes, or waits until that can be done: `EAGAIN`.
    fn attempt(&mut self, message: &mut Message, events: i16) -> Result<usize, Errno> {
        self.deadline.count()?;
        let done = message.exchange(self.number());
        if done == Err(Errno::AGAIN) {
            self.deadline.wait(self.number(), events)?;
        }
        done
    }
}

/// No system call on such a socket takes too long, so that is what the deadline says.
fn late(errno: Errno) -> Error {
    if errno == Errno::TIMEDOUT { Error::LATE } else { Error::local(errno) }
}
