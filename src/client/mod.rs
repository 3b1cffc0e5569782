//! A connection to a daemon, from the client's side: requests and their answers.

pub mod dump;
pub mod failure;

use crate::io::deadline::Deadline;
use crate::io::error::Error;
use crate::io::open_files::OpenFiles;
use crate::io::socket::Stream;
use crate::protocol::entry::IDENTIFIER_MAX;
use crate::protocol::frame::{HEADER, Header};
use crate::protocol::reply::{self, Expected, Head, STATUS};
use crate::protocol::request::LIST;
use crate::slice::{part, part_mut};
use crate::sys::Errno;
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::message::Received;
use core::ffi::CStr;

/// A connection to a daemon, to be made or made.
pub struct Connection<'a> {
    stream: Stream<'a>,
    path: &'static CStr,
    /// Whether it has been asked for a change, and the answer has not come.
    is_in_doubt: bool,
    /// What it answered last, and the descriptor that came with that.
    head: Head,
    descriptor: Option<Fd>,
}

impl<'a> Connection<'a> {
    /// The daemon at `path`, to be waited for `milliseconds` at most in all; 0 is no limit.
    #[inline(never)]
    pub fn new(path: &'static CStr, milliseconds: u32, open_files: &'a OpenFiles) -> Self {
        let stream = Stream::new(Deadline::from_milliseconds(milliseconds), open_files);
        Connection { stream, path, is_in_doubt: false, head: Head::default(), descriptor: None }
    }

    /// The path of the daemon's socket.
    pub fn path(&self) -> &'static CStr {
        self.path
    }

    /// Connects, waiting for a place in the daemon's backlog.
    fn connect(&mut self) -> Result<(), Error> {
        self.stream.begin_turn()?;
        self.stream.connect(self.path).map_err(Error::Unreachable)
    }

    /// Asks for a change that is answered with yes or no.
    pub fn settle(&mut self, request: &[u8], fds: &[BorrowedFd]) -> Result<(), Error> {
        self.connect()?;
        self.stream.send(request, fds)?;
        self.is_in_doubt = true;
        self.reply(Expected::STATUS, 0)
    }

    /// Asks for a descriptor. The daemon is not asked before it is certain that there is room for it.
    /// If the request `deletes` it there, any failure from then on leaves it in doubt.
    pub fn retrieve(&mut self, request: &[u8], deletes: bool) -> Result<Fd, Error> {
        self.connect()?;
        self.stream.reserve()?;
        self.stream.send(request, &[])?;
        self.is_in_doubt = deletes;
        self.reply(Expected::DESCRIPTOR, 0)?;
        self.descriptor.take().ok_or(Error::Invalid)
    }

    /// Takes the descriptor out of what has just been received, if one is `due`. That there are more is
    /// a mistake of the daemon's.
    fn take_descriptor(&mut self, received: &mut Received, due: usize) -> Result<(), Error> {
        let count = received.descriptors();
        if count > due || received.is_truncated && count == due {
            return Err(Error::Invalid);
        }
        if received.is_truncated {
            return Err(self.loss());
        }
        if count > 0 {
            self.descriptor = received.next();
        }
        Ok(())
    }

    /// Why descriptors are lost that have just been received: there is no room for another one now, or
    /// there is, and they have been withheld.
    fn loss(&self) -> Error {
        match self.stream.has_room() {
            Ok(()) => Error::Withheld,
            Err(Errno::MFILE) => Error::Truncated,
            Err(errno) => Error::System(errno),
        }
    }

    /// Reads a reply that has to have this status. Another one is [`Error::Denied`].
    fn reply(&mut self, expected: Expected, status: u8) -> Result<(), Error> {
        self.head = Head::default();
        let (mut have, mut received) = (0, Received::NOTHING);
        loop {
            let whole = reply::length(&self.head, have, expected).ok_or(Error::Invalid)?;
            if have == whole {
                break;
            }
            // They come with the first byte.
            let due = if have == 0 { expected.descriptors.into() } else { 0 };
            self.stream.receive(part_mut(&mut self.head, have..whole), &mut received)?;
            have += self.stream.length;
            self.take_descriptor(&mut received, due)?;
        }
        let said = self.head[HEADER];
        // What the header says of descriptors must be true.
        let is_due = expected.descriptors > 0 && said == status;
        // The frames of a set dump are answered with `EAGAIN`, the last one with 0. Either at the
        // wrong time is no refusal: the daemon has not counted right.
        let errno = Errno::new(said.into());
        let is_out_of_turn = said == 0 || expected.extra == 0 && errno == Errno::AGAIN;
        if self.descriptor.is_some() != is_due || said != status && is_out_of_turn {
            return Err(Error::Invalid);
        }
        self.is_in_doubt = false;
        if said == status { Ok(()) } else { Err(Error::Denied(errno)) }
    }

    /// Asks for the identifiers of all that the daemon holds, and hands them out in pieces as they
    /// come, each identifier with its final NUL. The time that `put` takes is not the daemon's.
    pub fn list(&mut self, mut put: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.connect()?;
        self.stream.send(&LIST, &[])?;
        self.reply(Expected::LIST, 0)?;
        let number = reply::number(&self.head, 0) as usize;
        let Header { length, .. } = Header::parse(&self.head).ok_or(Error::Invalid)?;
        // The status and the number belong to the payload.
        let mut missing = length.saturating_sub(STATUS - HEADER + size_of::<u32>());
        // No waiting for what cannot be right.
        let longest = number.saturating_mul(IDENTIFIER_MAX + 1);
        if missing > longest || missing < number.saturating_mul(2) {
            return Err(Error::Invalid);
        }
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
                    return Err(Error::Invalid);
                } else {
                    length = 0;
                    complete += 1;
                }
            }
            self.stream.end_turn()?;
            put(piece)?;
            self.stream.begin_turn()?;
        }
        if complete == number && length == 0 { Ok(()) } else { Err(Error::Invalid) }
    }
}
