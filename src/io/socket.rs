//! A connection to a daemon: bytes and descriptors in and out, within a deadline.

use super::deadline::Deadline;
use super::error::Error;
use super::open_files::OpenFiles;
use crate::slice::part;
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::message::{self, Received};
use crate::sys::socket;
use crate::sys::time::Event;
use crate::sys::{Errno, bug};
use core::ffi::CStr;

/// A socket that is not connected.
///
/// The kernel always takes the lowest free number. Where standard input, output or error is closed,
/// an unconnected socket stays in its place for good, so that no message is written into a
/// connection or into a descriptor received later.
pub fn open(open_files: &OpenFiles) -> Result<Fd, Errno> {
    loop {
        match socket::socket() {
            Ok(Some(fd)) => return Ok(fd),
            Ok(None) => {}
            Err(Errno::MFILE) if open_files.raise() => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// A connection to a daemon, to be made or made.
pub struct Stream<'a> {
    fd: Option<Fd>,
    has_heard: bool,
    deadline: Deadline,
    open_files: &'a OpenFiles,
    /// How many bytes came last.
    pub length: usize,
}

impl<'a> Stream<'a> {
    /// Not connected yet.
    pub fn new(deadline: Deadline, open_files: &'a OpenFiles) -> Stream<'a> {
        Stream { fd: None, has_heard: false, deadline, open_files, length: 0 }
    }

    /// Connects to the daemon at `path`, unless that is done already; `EAGAIN` if it would have to
    /// wait.
    pub fn try_connect(&mut self, path: &CStr) -> Result<(), Errno> {
        if self.fd.is_none() {
            let fd = open(self.open_files)?;
            socket::connect(fd.borrow(), path)?;
            self.fd = Some(fd);
        }
        Ok(())
    }

    /// Connects to the daemon at `path`, waiting for a place in its backlog. Nothing tells when
    /// there is one, only trying again does.
    pub fn connect(&mut self, path: &CStr) -> Result<(), Errno> {
        while let Err(errno) = self.try_connect(path) {
            if errno != Errno::AGAIN {
                return Err(errno);
            }
            self.deadline.pause()?;
        }
        // With no deadline to keep, the calls may do the waiting: that spares a `ppoll` each time.
        if self.deadline.is_never() {
            self.fd().set_nonblocking(false);
        }
        Ok(())
    }

    /// Whether it is connected: that needs no further descriptor.
    pub fn is_connected(&self) -> bool {
        self.fd.is_some()
    }

    /// Whether the daemon has said anything.
    pub fn has_heard(&self) -> bool {
        self.has_heard
    }

    /// It is the daemon's turn from now on, if it was not: only then is its time used up.
    pub fn begin_turn(&mut self) -> Result<(), Error> {
        self.deadline.begin().map_err(Error::NoClock)
    }

    /// From now on there is something else to wait for.
    pub fn end_turn(&mut self) -> Result<(), Error> {
        Ok(self.deadline.end()?)
    }

    /// Hangs up. The deadline keeps what is left of it.
    pub fn hang_up(&mut self) {
        (self.fd, self.has_heard) = (None, false);
    }

    /// The limit on open files that it keeps to.
    pub fn open_files(&self) -> &'a OpenFiles {
        self.open_files
    }

    /// Its descriptor.
    fn fd(&self) -> BorrowedFd<'_> {
        open_fd(&self.fd)
    }

    /// Whether there is room for one more descriptor now: `EMFILE` if not.
    pub fn has_room(&self) -> Result<(), Errno> {
        self.fd().duplicate().map(drop)
    }

    /// Makes sure that there is room for one more descriptor.
    pub fn reserve(&self) -> Result<(), Errno> {
        self.open_files.reserve(self.fd())
    }

    /// Sends all of `bytes`, and the descriptors with the first of them. That the daemon has hung up
    /// is no error here: it may have said why, so it is for [`Stream::receive`] to tell.
    pub fn send(&mut self, mut bytes: &[u8], mut fds: &[BorrowedFd]) -> Result<(), Error> {
        while !bytes.is_empty() {
            self.deadline.count()?;
            match message::send(self.fd(), bytes, fds) {
                Ok(sent) => (bytes, fds) = (part(bytes, sent..), &[]),
                Err(errno) => match self.recover(errno, Event::Writable) {
                    Err(Error::Closed) => break,
                    recovered => recovered?,
                },
            }
        }
        Ok(())
    }

    /// Receives one or more bytes, at most as many as there is room for, and what descriptors come
    /// with them: `length` and `fds` say what came.
    pub fn receive(&mut self, bytes: &mut [u8], fds: &mut Received) -> Result<(), Error> {
        loop {
            self.deadline.count()?;
            let fd = open_fd(&self.fd);
            match fds.receive(fd, bytes) {
                Ok(0) => return Err(Error::Closed),
                Ok(length) => {
                    (self.length, self.has_heard) = (length, true);
                    return Ok(());
                }
                Err(errno) => self.recover(errno, Event::Readable)?,
            }
        }
    }

    /// Does what can be done about an error of a call that moves bytes: if the result is none, the
    /// call is to be made again.
    fn recover(&mut self, errno: Errno, event: Event) -> Result<(), Error> {
        match errno {
            Errno::AGAIN => {
                let fd = open_fd(&self.fd);
                Ok(self.deadline.wait(fd, event)?)
            }
            // The kernel bounds the descriptors that a user has in flight by the soft limit.
            Errno::TOOMANYREFS if self.open_files.raise() => Ok(()),
            Errno::PIPE | Errno::CONNRESET => Err(Error::Closed),
            errno => Err(errno.into()),
        }
    }
}

/// The descriptor of what is connected: only that is asked for it.
fn open_fd(fd: &Option<Fd>) -> BorrowedFd<'_> {
    match fd {
        Some(fd) => fd.borrow(),
        None => bug(),
    }
}
