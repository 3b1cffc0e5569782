//! Unix stream sockets: bytes and descriptors in and out, within a deadline.

use crate::deadline::Deadline;
use crate::exit::Exit;
use crate::exit::Part::{self, Number, Reason, Text};
use crate::fd::{Fd, make_room};
use crate::message::Invalid;
use crate::pool::Inbox;
use crate::sys::{self, Control, Errno, Poll};

/// Why talking to a daemon failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// There was no connecting to it.
    Unreachable(Errno),
    /// A system call failed here.
    Local(Errno),
    /// The daemon answered with this error.
    Denied(Errno),
    /// The daemon hung up on the first request: it has no rule that allows this user to connect,
    /// or other reasons.
    Refused,
    /// The daemon hung up later.
    Closed,
    /// The daemon sent what the protocol does not allow.
    Invalid,
    /// The deadline has passed.
    Timeout,
    /// Descriptors were lost on their way, because the open-file limit left no room for them.
    Truncated,
    /// The same, and what the limit is, and what it would have to be.
    Limit {
        /// The limit in force, which is the hard one.
        limit: usize,
        /// The lowest that would do.
        needed: usize,
    },
}

impl Error {
    /// The exit code and the words for a message: `: ` and the reason. What the daemon is to
    /// blame for exits with `blame`; a denial for lack of permission names the `right`, an
    /// environment variable in the daemon's rules, that this user lacks.
    pub fn explain(self, blame: Exit, right: &'static str) -> (Exit, [Part<'static>; 5]) {
        let text = |text| [Text(": "), Text(text), Text(""), Text(""), Text("")];
        let reason = |errno| [Text(": "), Reason(errno), Text(""), Text(""), Text("")];
        match self {
            Error::Unreachable(errno) | Error::Local(errno) => (Exit::SYSTEM, reason(errno)),
            Error::Denied(Errno::PERM) => {
                let missing = [Text(" (the right "), Text(right), Text(" is missing)")];
                let [a, b, c] = missing;
                (blame, [Text(": "), Reason(Errno::PERM), a, b, c])
            }
            Error::Denied(errno) => (blame, reason(errno)),
            Error::Refused => (
                blame,
                text("connection closed without an answer: is this user allowed to connect?"),
            ),
            Error::Closed => (blame, text("connection closed")),
            Error::Invalid => (blame, reason(Errno::PROTO)),
            Error::Timeout => (blame, reason(Errno::TIMEDOUT)),
            Error::Truncated => (Exit::SYSTEM, reason(Errno::MFILE)),
            Error::Limit { limit, needed } => {
                let [a, b] = [Text(": the open-file limit is "), Number(limit)];
                let [c, d] = [Text(", but has to be "), Number(needed)];
                (Exit::SYSTEM, [a, b, c, d, Text(" at least")])
            }
        }
    }
}

impl From<Invalid> for Error {
    fn from(_: Invalid) -> Error {
        Error::Invalid
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Error {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Error::Closed,
            Errno::TIMEDOUT => Error::Timeout,
            other => Error::Local(other),
        }
    }
}

/// A connection to a daemon.
pub struct Stream<'d> {
    fd: Fd,
    deadline: &'d mut Deadline,
}

/// A socket that is not standard input, output or error. The lowest free number is always the
/// one taken: where one of those is closed, an unconnected socket stays there for good, so that
/// no message is written into a connection or into a descriptor received later.
fn socket(wait: bool) -> Result<Fd, Errno> {
    let mut raised = false;
    loop {
        match sys::socket(wait) {
            Ok(0..=2) => {}
            Ok(number) => return Fd::own(number).ok_or(Errno::BADF),
            Err(Errno::MFILE) if !raised => {
                make_room(1);
                raised = true;
            }
            Err(errno) => return Err(errno),
        }
    }
}

/// Connects to the daemon at `path` if that can be had without waiting.
pub fn connect_at_once(path: &[u8]) -> Option<Fd> {
    let fd = socket(false).ok()?;
    sys::connect(fd.number(), path).ok()?;
    Some(fd)
}

impl<'d> Stream<'d> {
    /// Connects to the daemon at `path`, waiting for a place in its backlog.
    pub fn connect(path: &[u8], deadline: &'d mut Deadline) -> Result<Stream<'d>, Errno> {
        let fd = socket(true)?;
        deadline.connect(&fd, path)?;
        Ok(Stream { fd, deadline })
    }

    /// Goes on with the connection that [`connect_at_once`] made.
    pub fn adopt(fd: Fd, deadline: &'d mut Deadline) -> Result<Stream<'d>, Errno> {
        if deadline.is_never() {
            sys::set_blocking(fd.number())?;
        }
        Ok(Stream { fd, deadline })
    }

    /// Does a call that would rather not wait until it need not, or lets it wait if there is no
    /// deadline.
    fn when_ready<T>(
        &mut self,
        events: i16,
        mut call: impl FnMut(i32, bool) -> Result<T, Errno>,
    ) -> Result<T, Error> {
        loop {
            match call(self.fd.number(), self.deadline.is_never()) {
                Err(Errno::AGAIN) => self.deadline.wait(&self.fd, events)?,
                done => return Ok(done?),
            }
        }
    }

    /// Sends all of `bytes`, and with the first of them the descriptors in `control`.
    pub fn send(&mut self, mut bytes: &[u8], control: Option<&Control>) -> Result<(), Error> {
        let mut control = control;
        while !bytes.is_empty() {
            let sent =
                self.when_ready(Poll::OUT, |fd, wait| sys::send(fd, bytes, control, wait))?;
            bytes = bytes.get(sent..).unwrap_or_default();
            control = None;
        }
        Ok(())
    }

    /// Receives one or more bytes and what comes with them, and says how many bytes.
    pub fn receive(&mut self, inbox: Inbox<'_>) -> Result<usize, Error> {
        let Inbox { bytes, control, descriptors } = inbox;
        let received = self
            .when_ready(Poll::IN, |fd, wait| sys::receive(fd, bytes, Some(&mut *control), wait))?;
        let mut kept = true;
        for number in control.take() {
            kept &= Fd::own(*number).is_some_and(|fd| descriptors.push(fd));
        }
        match received.bytes {
            _ if received.truncated => Err(Error::Truncated),
            _ if !kept => Err(Error::Invalid),
            0 => Err(Error::Closed),
            n => Ok(n),
        }
    }

    /// Receives exactly `bytes`, with which no descriptors are due.
    pub fn receive_exactly(&mut self, mut bytes: &mut [u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let received =
                self.when_ready(Poll::IN, |fd, wait| sys::receive(fd, bytes, None, wait))?;
            match received.bytes {
                _ if received.truncated => return Err(Error::Invalid),
                0 => return Err(Error::Closed),
                n => bytes = bytes.get_mut(n..).unwrap_or_default(),
            }
        }
        Ok(())
    }
}
