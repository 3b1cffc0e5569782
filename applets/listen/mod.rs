//! `fdholder-listen`: makes a socket at an address and stores it, unless the daemon holds it already.

use crate::applets::options::listen::Opt;
use crate::cli::exit::Exit;
use crate::cli::getopt::{Stop, number};
use crate::cli::output::Writer;
use crate::client::Connection;
use crate::client::failure::Wording;
use crate::io::deadline::Deadline;
use crate::io::error::Error;
use crate::io::listener::{self, BACKLOG, Listener};
use crate::io::open_files::OpenFiles;
use crate::io::turn::Turn;
use crate::process::Process;
use crate::protocol::address::Address;
use crate::protocol::frame::Frame;
use crate::sys::fd::BorrowedFd;
use crate::sys::{Errno, diag, file, process, socket, strings, time};
use core::ffi::CStr;

const LOOK: Wording = Wording {
    advice: " (the right S6_FDHOLDER_RETRIEVE_REGEX is missing)",
    ..Wording::only("retrieve fd for id ", "")
};
const STORE: Wording = Wording {
    advice: " (the right S6_FDHOLDER_STORE_REGEX is missing)",
    ..Wording::only("store fd for id ", "; it may have been done")
};

/// How often the tool tries again after a conflict, and the milliseconds between two attempts. A process that
/// does not take turns may just have stored the same socket. A socket at the address may not be closed yet:
/// a daemon closes what has been deleted a few milliseconds later.
const RETRIES: u32 = 5;
const PAUSE: u32 = 40;

/// The socket to be held.
struct Wanted<'a> {
    identifier: &'a [u8],
    address: Address,
    /// The path in the address, if there is one.
    path: Option<&'a CStr>,
    backlog: u32,
    expire: u32,
    /// Milliseconds to wait; 0 is no limit.
    timeout: u32,
    /// The address of the socket that the daemon holds under the identifier, if there is one.
    other: Option<Address>,
}

/// What failed.
enum Failure {
    Daemon(&'static Wording, Error),
    Socket(listener::Failure),
    /// The daemon holds something else: a socket at [`Wanted::other`], or no socket with an address.
    Elsewhere,
    /// The daemon holds a socket at the right address that does not listen.
    Deaf,
    /// The daemon holds a socket whose path no longer leads to it.
    Lost(&'static str),
}

impl Failure {
    /// True if another attempt may help.
    fn is_conflict(&self) -> bool {
        let errno = match self {
            Failure::Daemon(_, Error::Denied(errno)) => *errno,
            Failure::Socket(failure) => failure.errno,
            _ => return false,
        };
        [Errno::BUSY, Errno::ADDRINUSE].contains(&errno)
    }
}

pub fn run(process: &mut Process) -> Result<Exit, Stop> {
    let (mut backlog, mut timeout, mut expire) = (BACKLOG, 0, 0);
    while let Some(option) = Opt::next(&mut process.arguments)? {
        match option {
            Opt::Backlog(value) => backlog = number(value)?,
            // The kernel gives the file of a socket mode 0777 without the bits of the mask. So the file
            // has this mode from the start.
            Opt::Mode(value) => process::set_umask(0o777 - mode(value.to_bytes()).ok_or(Stop)?),
            Opt::Timeout(value) => timeout = number(value)?,
            Opt::Expire(value) => expire = number(value)?,
        }
    }
    let (path, identifier) = (process.arguments.operand()?, process.arguments.operand()?);
    let text = process.arguments.operand()?;
    process.arguments.end()?;
    let address = match Address::parse(text.to_bytes()) {
        Ok(address) => address,
        Err(reason) => return Ok(process.errors.wrong("address", text, reason)),
    };
    let mut daemon = Connection::new(path, timeout, &process.open_files);
    let path = address.is_path().then(|| strings::tail(text, address.kind().prefix().len()));
    let identifier = identifier.to_bytes();
    let mut wanted = Wanted { identifier, address, path, backlog, expire, timeout, other: None };
    let done = wanted.ensure(&mut daemon, process.frame, &process.open_files);
    Ok(done.map_or_else(
        |failure| wanted.say(failure, &daemon, &mut process.errors),
        |()| Exit::SUCCESS,
    ))
}

/// The mode of a file, in octal.
fn mode(text: &[u8]) -> Option<u32> {
    let digit = |mode, digit: &u8| match digit {
        b'0'..=b'7' if mode < 0o100 => Some(mode << 3 | u32::from(digit - b'0')),
        _ => None,
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, digit) }
}

/// Why clients that connect to the path do not reach the socket, which is bound to that path. `None` if
/// they do, or if the kernel does not tell.
fn obstacle(path: &CStr, socket: BorrowedFd, open_files: &OpenFiles) -> Option<&'static str> {
    if file::exists(path) == Ok(false) {
        return Some("its file is gone");
    }
    let diag = open_files.open(diag::open).ok()?;
    let bound = diag::bound_inode(socket, &diag)?;
    // The device is no help: on overlayfs and btrfs the kernel tells two different ones.
    if file::inode(path).ok()? == bound { None } else { Some("its file has been replaced") }
}

impl Wanted<'_> {
    /// Makes sure that the daemon holds it.
    fn ensure(
        &mut self,
        daemon: &mut Connection,
        frame: &mut Frame,
        open_files: &OpenFiles,
    ) -> Result<(), Failure> {
        if self.is_held(daemon, frame, open_files)? {
            return Ok(());
        }
        // Another process may be about to store it. Afterwards the daemon holds it, if all went well.
        let mut deadline = Deadline::from_milliseconds(self.timeout);
        let turn = Turn::wait(&self.address, &mut deadline, open_files);
        let (_turn, has_waited) = turn.map_err(|errno| {
            let doing = "wait for another fdholder-listen at ";
            Failure::Socket(listener::Failure { doing, errno })
        })?;
        if has_waited && self.is_held(daemon, frame, open_files)? {
            return Ok(());
        }
        for _ in 0..RETRIES {
            match self.store(daemon, frame, open_files) {
                Err(failure) if failure.is_conflict() => {}
                done => return done,
            }
            if self.is_held(daemon, frame, open_files)? {
                return Ok(());
            }
            let _ = time::poll(&mut [], Some(PAUSE));
        }
        self.store(daemon, frame, open_files)
    }

    /// True if the daemon holds it. An error if it holds something else under the identifier.
    fn is_held(
        &mut self,
        daemon: &mut Connection,
        frame: &mut Frame,
        open_files: &OpenFiles,
    ) -> Result<bool, Failure> {
        let fd = match daemon.retrieve(frame, self.identifier, false) {
            Ok(fd) => fd,
            Err(Error::Denied(Errno::NOENT)) => {
                // Making the socket is not the daemon's time.
                daemon.pause().map_err(|error| Failure::Daemon(&LOOK, error))?;
                return Ok(false);
            }
            Err(error) => return Err(Failure::Daemon(&LOOK, error)),
        };
        self.compare(fd.borrow(), open_files)?;
        Ok(true)
    }

    /// Checks that a descriptor is the socket wanted.
    fn compare(&mut self, fd: BorrowedFd, open_files: &OpenFiles) -> Result<(), Failure> {
        let socket = socket::describe(fd).map_err(|_| Failure::Elsewhere)?;
        self.other = Address::of(&socket);
        // The path @x is ./@x too.
        if self.other.as_ref().map(Address::text) != Some(self.address.text()) {
            return Err(Failure::Elsewhere);
        }
        if self.address.kind().listens() && socket.listens == Some(false) {
            return Err(Failure::Deaf);
        }
        match self.path.and_then(|path| obstacle(path, fd, open_files)) {
            Some(obstacle) => Err(Failure::Lost(obstacle)),
            None => Ok(()),
        }
    }

    /// Makes the socket and stores it.
    fn store(
        &self,
        daemon: &mut Connection,
        frame: &mut Frame,
        open_files: &OpenFiles,
    ) -> Result<(), Failure> {
        let listener = Listener::open(&self.address, self.path, self.backlog, open_files);
        let listener = listener.map_err(Failure::Socket)?;
        let stored = daemon.store(frame, listener.fd(), self.identifier, self.expire);
        stored.map_err(|error| {
            // If the daemon may hold the socket, its file stays. If it does not, the next run replaces the
            // file.
            if !daemon.may_have_done_it(error) {
                listener.remove(open_files);
            }
            Failure::Daemon(&STORE, error)
        })
    }

    /// Prints what failed.
    fn say(&self, failure: Failure, daemon: &Connection, errors: &mut Writer) -> Exit {
        let wanted = self.address.text();
        match failure {
            Failure::Daemon(wording, error) => daemon.fail(errors, wording, self.identifier, error),
            Failure::Socket(listener::Failure { doing, errno }) => {
                let line = errors.fatal().text("unable to ").text(doing).quoted(wanted.bytes());
                line.reason(errno).end(Exit::SYSTEM)
            }
            Failure::Elsewhere => {
                let line = errors.fatal().quoted(self.identifier).text(" is held");
                match &self.other {
                    Some(other) => line.text(" at ").quoted(other.text().bytes()).text(", not at "),
                    None => line.text(", but is no socket at "),
                };
                line.quoted(wanted.bytes()).end(Exit::DENIED)
            }
            Failure::Deaf => {
                let line = errors.fatal().quoted(self.identifier).text(" is held at ");
                line.quoted(wanted.bytes()).text(", but does not listen").end(Exit::DENIED)
            }
            Failure::Lost(obstacle) => {
                let line = errors.fatal().quoted(self.identifier).text(" is held at ");
                line.quoted(wanted.bytes()).text(", but ").text(obstacle);
                line.text(": no client can reach it any more; delete it with s6-fdholder-delete")
                    .end(Exit::DENIED)
            }
        }
    }
}
