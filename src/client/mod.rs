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
}

/// An answer of the status that was expected.
struct Reply {
    head: Head,
    descriptor: Option<Fd>,
}

impl<'a> Connection<'a> {
    /// The daemon at `path`, to be waited for `milliseconds` at most in all; 0 is no limit.
    pub fn new(path: &'static CStr, milliseconds: u32, open_files: &'a OpenFiles) -> Self {
        let stream = Stream::new(Deadline::from_milliseconds(milliseconds), open_files);
        Connection { stream, path, is_in_doubt: false }
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
        self.reply(Expected::STATUS, 0)?;
        Ok(())
    }

    /// Asks for a descriptor. The daemon is not asked before it is certain that there is room for it.
    /// If the request `deletes` it there, any failure from then on leaves it in doubt.
    pub fn retrieve(&mut self, request: &[u8], deletes: bool) -> Result<Fd, Error> {
        self.connect()?;
        self.stream.reserve()?;
        self.stream.send(request, &[])?;
        self.is_in_doubt = deletes;
        self.reply(Expected::DESCRIPTOR, 0)?.descriptor.ok_or(Error::Invalid)
    }

    /// Receives some bytes of a reply, and at most one descriptor if one is due.
    fn receive(&mut self, bytes: &mut [u8], due: usize) -> Result<(usize, Option<Fd>), Error> {
        let mut fds = Received::NOTHING;
        let length = self.stream.receive(bytes, &mut fds)?;
        // That there are more than are due is a mistake of the daemon's.
        if fds.descriptors() > due || fds.is_truncated && fds.descriptors() == due {
            return Err(Error::Invalid);
        }
        if fds.is_truncated {
            return Err(self.loss());
        }
        Ok((length, fds.next()))
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
    fn reply(&mut self, expected: Expected, status: u8) -> Result<Reply, Error> {
        let mut answer = Reply { head: Head::default(), descriptor: None };
        let mut have = 0;
        loop {
            let whole = reply::length(&answer.head, have, expected).ok_or(Error::Invalid)?;
            let Some(rest @ [_, ..]) = answer.head.get_mut(have..whole) else { break };
            // They come with the first byte.
            let due = if have == 0 { expected.descriptors } else { 0 };
            let (length, descriptor) = self.receive(rest, due)?;
            have += length;
            if descriptor.is_some() {
                answer.descriptor = descriptor;
            }
        }
        let said = answer.head[HEADER];
        // What the header says of descriptors must be true.
        let is_due = expected.descriptors > 0 && said == status;
        if answer.descriptor.is_some() != is_due {
            return Err(Error::Invalid);
        }
        if said == status {
            self.is_in_doubt = false;
            return Ok(answer);
        }
        // The frames of a set dump are answered with `EAGAIN`, the last one with 0. Either at the
        // wrong time is no refusal: the daemon has not counted right.
        let errno = Errno::new(said.into());
        if said == 0 || expected.extra == 0 && errno == Errno::AGAIN {
            return Err(Error::Invalid);
        }
        self.is_in_doubt = false;
        Err(Error::Denied(errno))
    }

    /// Asks for the identifiers of all that the daemon holds, and hands them out in pieces as they
    /// come, each identifier with its final NUL. The time that `put` takes is not the daemon's.
    pub fn list(&mut self, mut put: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.connect()?;
        self.stream.send(&LIST, &[])?;
        let head = self.reply(Expected::LIST, 0)?.head;
        let number = reply::number(&head, 0) as usize;
        let Header { length, .. } = Header::parse(&head).ok_or(Error::Invalid)?;
        // The status and the number belong to the payload.
        let mut missing = length.saturating_sub(STATUS - HEADER + size_of::<u32>());
        // No waiting for what cannot be right.
        let longest = number.saturating_mul(IDENTIFIER_MAX + 1);
        if missing > longest || missing < number.saturating_mul(2) {
            return Err(Error::Invalid);
        }
        let (mut complete, mut length) = (0, 0);
        let mut buffer = [0; 1024];
        while missing > 0 {
            let room = buffer.len().min(missing);
            let (received, _) = self.receive(buffer.get_mut(..room).unwrap_or_default(), 0)?;
            missing -= received;
            let piece = buffer.get(..received).unwrap_or_default();
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
