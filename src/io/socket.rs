//! A connection to a daemon: sends and receives bytes and descriptors within a deadline.

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

/// Opens an unconnected socket of a family and a type.
///
/// The kernel uses the lowest free number. If standard input, output or error is closed, an unconnected
/// socket takes its number for good. Otherwise a message could go into a connection, or into a
/// descriptor received later.
pub fn open(family: u16, kind: u32, open_files: &OpenFiles) -> Result<Fd, Errno> {
    loop {
        match socket::socket(family, kind) {
            Ok(Some(fd)) => return Ok(fd),
            Ok(None) => {}
            Err(Errno::MFILE) if open_files.raise() => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// A connection to a daemon. It may not have been made yet.
pub struct Stream<'a> {
    fd: Option<Fd>,
    /// True if the daemon has sent anything.
    has_received: bool,
    deadline: Deadline,
    open_files: &'a OpenFiles,
    /// The number of bytes that the last call of [`Stream::receive`] returned.
    pub length: usize,
}

impl<'a> Stream<'a> {
    /// A stream that is not connected.
    pub fn new(deadline: Deadline, open_files: &'a OpenFiles) -> Stream<'a> {
        Stream { fd: None, has_received: false, deadline, open_files, length: 0 }
    }

    /// Connects to the daemon at `path`, unless it is connected. `EAGAIN` if the daemon's backlog is
    /// full.
    pub fn try_connect(&mut self, path: &CStr) -> Result<(), Errno> {
        if self.fd.is_none() {
            let fd = open(socket::UNIX, socket::STREAM, self.open_files)?;
            socket::connect(fd.borrow(), path)?;
            self.fd = Some(fd);
        }
        Ok(())
    }

    /// Connects to the daemon at `path`. While the daemon's backlog is full it tries again and again:
    /// the kernel does not report when there is room.
    pub fn connect(&mut self, path: &CStr) -> Result<(), Errno> {
        while let Err(errno) = self.try_connect(path) {
            if errno != Errno::AGAIN {
                return Err(errno);
            }
            self.deadline.pause()?;
        }
        // If nothing ends a wait the calls may block, which saves a `ppoll` for each.
        if self.deadline.is_never() {
            self.fd().set_nonblocking(false);
        }
        Ok(())
    }

    /// Moves the connection to a descriptor number that is not below `least`: what is received then gets
    /// the free numbers below. [`Error::LimitTooLow`] if the limit on open files allows no such number.
    pub fn move_up(&mut self, least: u32) -> Result<(), Error> {
        self.fd = Some(self.open_files.copy_from(self.fd(), least)?);
        Ok(())
    }

    /// From now on a wait for the daemon also ends when this descriptor is readable. The error is
    /// `EINTR`.
    pub fn set_interrupt(&mut self, by: Option<BorrowedFd>) {
        self.deadline.set_interrupt(by);
    }

    /// True if it is connected.
    pub fn is_connected(&self) -> bool {
        self.fd.is_some()
    }

    /// True if the daemon has sent anything.
    pub fn has_received(&self) -> bool {
        self.has_received
    }

    /// Begins the daemon's turn: its deadline runs. See [`Deadline`].
    pub fn begin_turn(&mut self) -> Result<(), Error> {
        self.deadline.begin().map_err(Error::NoClock)
    }

    /// Ends the daemon's turn: the process waits for something else. [`Error::TimedOut`] if no time is
    /// left.
    pub fn end_turn(&mut self) -> Result<(), Error> {
        Ok(self.deadline.end()?)
    }

    /// Disconnects. The deadline keeps the time that is left.
    pub fn hang_up(&mut self) {
        (self.fd, self.has_received) = (None, false);
    }

    /// The limit on open files that applies.
    pub fn open_files(&self) -> &'a OpenFiles {
        self.open_files
    }

    /// The descriptor of the connection.
    fn fd(&self) -> BorrowedFd<'_> {
        open_fd(&self.fd)
    }

    /// `EMFILE` if the process has no room for one more descriptor.
    pub fn has_room(&self) -> Result<(), Errno> {
        self.fd().duplicate().map(drop)
    }

    /// Makes sure that the process has room for one more descriptor. Raises the limit if necessary.
    pub fn reserve(&self) -> Result<(), Errno> {
        self.open_files.reserve(self.fd())
    }

    /// Sends all of `bytes`, and `fds` with the first of them. It is no error that the daemon has
    /// disconnected: it may have sent a reason, and [`Stream::receive`] reports either.
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

    /// Receives at least one byte, and the descriptors that come with it. The number of bytes is in
    /// `length`. [`Error::Closed`] if the daemon has disconnected.
    pub fn receive(&mut self, bytes: &mut [u8], fds: &mut Received) -> Result<(), Error> {
        loop {
            self.deadline.count()?;
            let fd = open_fd(&self.fd);
            match fds.receive(fd, bytes) {
                Ok(0) => return Err(Error::Closed),
                Ok(length) => {
                    (self.length, self.has_received) = (length, true);
                    return Ok(());
                }
                Err(errno) => self.recover(errno, Event::Readable)?,
            }
        }
    }

    /// Handles the error of a call that moves bytes. If it succeeds, the caller repeats the call.
    fn recover(&mut self, errno: Errno, event: Event) -> Result<(), Error> {
        match errno {
            Errno::AGAIN => {
                let fd = open_fd(&self.fd);
                Ok(self.deadline.wait(fd, event)?)
            }
            // The kernel limits a user's descriptors in flight to the soft limit on open files.
            Errno::TOOMANYREFS if self.open_files.raise() => Ok(()),
            Errno::PIPE | Errno::CONNRESET => Err(Error::Closed),
            errno => Err(errno.into()),
        }
    }
}

/// The descriptor of a connection. A stream that is not connected is a bug in the program.
fn open_fd(fd: &Option<Fd>) -> BorrowedFd<'_> {
    match fd {
        Some(fd) => fd.borrow(),
        None => bug(),
    }
}
