//! A connection to a daemon, on the client's side: requests and replies.

pub mod dump;
pub mod failure;
pub mod several;

use crate::io::deadline::Deadline;
use crate::io::error::Error;
use crate::io::open_files::OpenFiles;
use crate::io::socket::Stream;
use crate::protocol::entry::IDENTIFIER_MAX;
use crate::protocol::frame::{Frame, HEADER, Header};
use crate::protocol::reply::{self, Expected, Head, STATUS};
use crate::protocol::request::LIST;
use crate::protocol::tai;
use crate::slice::{part, part_mut};
use crate::sys::Errno;
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::message::Received;
use crate::sys::time;
use core::ffi::CStr;

/// What a daemon announces in front of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announced {
    /// The number of identifiers.
    pub number: usize,
    /// Their bytes, with a NUL behind each.
    pub bytes: usize,
}

/// A connection to a daemon. It may not have been made yet.
///
/// No daemon holds anything under an identifier that is not valid. A request with one is not sent: it fails
/// with [`Error::Denied`], so that the exit code is that of a denial, as in C.
pub struct Connection<'a> {
    stream: Stream<'a>,
    path: &'static CStr,
    /// True if a change has been requested and its reply has not come.
    is_in_doubt: bool,
    /// The start of the last reply.
    head: Head,
    /// The descriptor that came with the last reply.
    descriptor: Option<Fd>,
}

impl<'a> Connection<'a> {
    /// A connection to the daemon at `path`. All waits for it together take at most `milliseconds`; 0
    /// is no limit.
    #[inline(never)]
    pub fn new(path: &'static CStr, milliseconds: u32, open_files: &'a OpenFiles) -> Self {
        let stream = Stream::new(Deadline::from_milliseconds(milliseconds), open_files);
        Connection { stream, path, is_in_doubt: false, head: Head::default(), descriptor: None }
    }

    /// The path of the daemon's socket.
    pub fn path(&self) -> &'static CStr {
        self.path
    }

    /// Connects. Waits while the daemon's backlog is full.
    fn connect(&mut self) -> Result<(), Error> {
        self.stream.begin_turn()?;
        self.stream.connect(self.path).map_err(Error::Unreachable)
    }

    /// Connects, with a descriptor number that is not below `least`.
    pub fn connect_from(&mut self, least: u32) -> Result<(), Error> {
        self.connect()?;
        self.stream.move_up(least)
    }

    /// From now on a wait for the daemon also ends when this descriptor is readable. The error is
    /// `EINTR`.
    pub fn set_interrupt(&mut self, by: Option<BorrowedFd>) {
        self.stream.set_interrupt(by);
    }

    /// Disconnects, and ends the daemon's turn. The next request connects again.
    pub fn pause(&mut self) -> Result<(), Error> {
        self.stream.hang_up();
        self.stream.end_turn()
    }

    /// Stores a descriptor under an identifier that is not in use. It expires after that many
    /// milliseconds; 0 is never.
    pub fn store(
        &mut self,
        frame: &mut Frame,
        fd: BorrowedFd,
        identifier: &[u8],
        expire: u32,
    ) -> Result<(), Error> {
        // The label for "never" depends on the current time too.
        let expiry = tai::after(expire, time::now().map_err(Error::NoClock)?);
        let request = frame.request(b'S').entry(&expiry, identifier);
        self.change(request.map_err(Error::Denied)?.finish(1), &[fd])
    }

    /// Sends a request for a change, whose reply is a status alone.
    pub fn change(&mut self, request: &[u8], fds: &[BorrowedFd]) -> Result<(), Error> {
        self.connect()?;
        self.stream.send(request, fds)?;
        self.is_in_doubt = true;
        self.reply(Expected::STATUS, 0)
    }

    /// Deletes the descriptor of an identifier.
    pub fn delete(&mut self, frame: &mut Frame, identifier: &[u8]) -> Result<(), Error> {
        let request = frame.delete(identifier).map_err(Error::Denied)?;
        self.change(request, &[])
    }

    /// Retrieves the descriptor of an identifier. First makes sure that the process has room for it. If
    /// the request also `deletes` it, the connection is in doubt from the moment of sending until the
    /// reply.
    pub fn retrieve(
        &mut self,
        frame: &mut Frame,
        identifier: &[u8],
        deletes: bool,
    ) -> Result<Fd, Error> {
        let request = frame.retrieve(identifier, deletes).map_err(Error::Denied)?;
        self.connect()?;
        self.stream.reserve()?;
        self.stream.send(request, &[])?;
        self.is_in_doubt = deletes;
        self.reply(Expected::DESCRIPTOR, 0)?;
        self.descriptor.take().ok_or(Error::Protocol)
    }

    /// Takes the descriptor out of a received message, if one is `due`. More descriptors than that
    /// break the protocol.
    fn take_descriptor(&mut self, received: &mut Received, due: usize) -> Result<(), Error> {
        let count = received.descriptors();
        if count > due || received.is_truncated && count == due {
            return Err(Error::Protocol);
        }
        if received.is_truncated {
            return Err(self.loss());
        }
        if count > 0 {
            self.descriptor = received.next();
        }
        Ok(())
    }

    /// Why descriptors of the last message were lost: [`Error::Truncated`] if the process has no room
    /// for another one, [`Error::Withheld`] if it has.
    fn loss(&self) -> Error {
        match self.stream.has_room() {
            Ok(()) => Error::Withheld,
            Err(Errno::MFILE) => Error::Truncated,
            Err(errno) => Error::System(errno),
        }
    }

    /// Reads a reply. [`Error::Denied`] if its status is another one than `status`.
    fn reply(&mut self, expected: Expected, status: u8) -> Result<(), Error> {
        self.head = Head::default();
        let (mut have, mut received) = (0, Received::NOTHING);
        loop {
            let whole = reply::length(&self.head, have, expected).ok_or(Error::Protocol)?;
            if have == whole {
                break;
            }
            // Descriptors come with the first byte.
            let due = if have == 0 { expected.descriptors.into() } else { 0 };
            self.stream.receive(part_mut(&mut self.head, have..whole), &mut received)?;
            have += self.stream.length;
            self.take_descriptor(&mut received, due)?;
        }
        let said = self.head[HEADER];
        // The header must give the true number of descriptors.
        let is_due = expected.descriptors > 0 && said == status;
        // The frames of a set dump are answered with `EAGAIN`, the last one with 0. Either at the wrong
        // time is no refusal: the daemon has counted wrong.
        let errno = Errno::new(said.into());
        let is_out_of_turn = said == 0 || expected.extra == 0 && errno == Errno::AGAIN;
        if self.descriptor.is_some() != is_due || said != status && is_out_of_turn {
            return Err(Error::Protocol);
        }
        self.is_in_doubt = false;
        if said == status { Ok(()) } else { Err(Error::Denied(errno)) }
    }

    /// Requests the identifiers of all held descriptors. They follow: see [`Connection::list`].
    pub fn request_list(&mut self) -> Result<Announced, Error> {
        self.connect()?;
        self.stream.send(&LIST, &[])?;
        self.reply(Expected::LIST, 0)?;
        let number = reply::number(&self.head, 0) as usize;
        let Header { length, .. } = Header::parse(&self.head).ok_or(Error::Protocol)?;
        // The status and the number belong to the payload.
        let bytes = length.saturating_sub(STATUS - HEADER + size_of::<u32>());
        // A length that cannot be right fails at once.
        let longest = number.saturating_mul(IDENTIFIER_MAX + 1);
        if bytes > longest || bytes < number.saturating_mul(2) {
            return Err(Error::Protocol);
        }
        Ok(Announced { number, bytes })
    }

    /// Passes the announced identifiers to `put` in pieces as they come, each identifier with its NUL. The
    /// daemon's deadline does not run during `put`.
    pub fn list(
        &mut self,
        Announced { number, bytes: mut missing }: Announced,
        put: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (mut complete, mut length) = (0, 0);
        let (mut buffer, mut received) = ([0; 1024], Received::NOTHING);
        while missing > 0 {
            let room = buffer.len().min(missing);
            self.stream.receive(part_mut(&mut buffer, ..room), &mut received)?;
            self.take_descriptor(&mut received, 0)?;
            let piece = part(&buffer, ..self.stream.length);
            missing -= piece.len();
            for byte in piece {
                if *byte != 0 {
                    length += 1;
                } else if length == 0 || length > IDENTIFIER_MAX {
                    return Err(Error::Protocol);
                } else {
                    length = 0;
                    complete += 1;
                }
            }
            self.stream.end_turn()?;
            put(piece)?;
            self.stream.begin_turn()?;
        }
        if complete == number && length == 0 { Ok(()) } else { Err(Error::Protocol) }
    }
}
