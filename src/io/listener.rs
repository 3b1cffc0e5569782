//! Sockets at an address: made, and removed again.

use super::open_files::OpenFiles;
use super::path::PathBuffer;
use super::socket;
use crate::protocol::address::{Address, Kind};
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::file::{self, Identity};
use crate::sys::socket::{self as call, INET6};
use crate::sys::{Errno, time};
use core::ffi::CStr;

/// Connections that may wait unless a user says it. The kernel cuts it to its own limit.
pub const BACKLOG: u32 = 4096;

/// Why there is no socket: what failed.
pub struct Failure {
    /// The words in front of the address.
    pub doing: &'static str,
    /// The reason.
    pub errno: Errno,
}

/// A socket that has been made.
pub struct Listener<'p> {
    fd: Fd,
    /// Its file, if it has one, as that was when it was made.
    file: Option<(&'p CStr, Result<Identity, Errno>)>,
}

impl<'p> Listener<'p> {
    /// Makes a socket at an address, and has it listen if it is of a kind that does. `path` is the path in
    /// the address, if there is one; a socket that is there already and on which nobody listens is
    /// replaced.
    ///
    /// Between the call that binds and the one that listens it looks like one on which nobody listens. So
    /// the directory is locked: of several who do this at a time one comes after the other.
    pub fn open(
        address: &Address,
        path: Option<&'p CStr>,
        backlog: u32,
        open_files: &OpenFiles,
    ) -> Result<Listener<'p>, Failure> {
        let failed = |doing| move |errno| Failure { doing, errno };
        let fd = prepare(address, open_files).map_err(failed("make a socket for "))?;
        let _lock = path.and_then(|path| lock_directory(path, open_files));
        let bound = match path {
            Some(path) => bind_at(fd.borrow(), path, true, open_files).map_err(|taken| taken.errno),
            None => call::bind(fd.borrow(), address.name()),
        };
        bound.map_err(failed("bind to "))?;
        let listener = Listener { fd, file: path.map(|path| (path, file::identity(path))) };
        if address.kind().listens() {
            call::listen(listener.fd(), backlog).map_err(|errno| {
                listener.unlink();
                failed("listen at ")(errno)
            })?;
        }
        // Who takes it over expects a socket as the kernel makes them.
        listener.fd().set_nonblocking(false);
        Ok(listener)
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.borrow()
    }

    /// Removes it, and its file unless somebody has replaced that.
    pub fn remove(self, open_files: &OpenFiles) {
        let _lock = self.file.and_then(|(path, _)| lock_directory(path, open_files));
        self.unlink();
    }

    /// Removes its file. Until the socket is closed no other file gets the same identity.
    fn unlink(&self) {
        match self.file {
            Some((path, identity)) if file::identity(path) == identity => {
                let _ = file::remove(path);
            }
            _ => {}
        }
    }
}

/// Makes a socket for an address, not bound yet.
fn prepare(address: &Address, open_files: &OpenFiles) -> Result<Fd, Errno> {
    let fd = socket::open(address.family(), address.kind().socket_type(), open_files)?;
    if address.family() == INET6 {
        call::take_ipv6_only(fd.borrow())?;
    }
    // With UDP it would let any other socket that has it too take the datagrams.
    if address.kind() == Kind::Tcp {
        call::reuse_address(fd.borrow())?;
    }
    Ok(fd)
}

/// Why a socket cannot be bound to a path.
pub struct Taken {
    /// `EADDRINUSE`: there is something at the path. `EEXIST`: it is no socket.
    pub errno: Errno,
    /// Whether it is a socket that somebody serves. Where its backlog has room, the other one is connected
    /// to it now.
    pub is_served: bool,
}

impl From<Errno> for Taken {
    fn from(errno: Errno) -> Taken {
        Taken { errno, is_served: false }
    }
}

/// Binds a Unix socket, a non-blocking one, to a path. A socket that is there already and on which nobody
/// listens is replaced, if `replaces`; anything else in the way stays.
pub fn bind_at(
    fd: BorrowedFd,
    path: &CStr,
    replaces: bool,
    open_files: &OpenFiles,
) -> Result<(), Taken> {
    let mut bound = call::bind_path(fd, path);
    if bound == Err(Errno::ADDRINUSE) {
        match call::connect(fd, path) {
            Err(Errno::CONNREFUSED) if replaces => {
                // What is no socket refuses connections as well.
                if !open_files.open(|| file::is_socket(path))? {
                    return Err(Errno::EXIST.into());
                }
                file::remove(path)?;
                bound = call::bind_path(fd, path);
            }
            // The second is said where no place in the backlog is free.
            Ok(()) | Err(Errno::AGAIN) => {
                return Err(Taken { errno: Errno::ADDRINUSE, is_served: true });
            }
            Err(_) => {}
        }
    }
    Ok(bound?)
}

/// Locks the directory of a path, which lasts until this is dropped. Whoever else has locked it holds that
/// up for half a second at most: the lock is a courtesy among these tools, which need it for less.
fn lock_directory(path: &CStr, open_files: &OpenFiles) -> Option<Fd> {
    /// Tries, and milliseconds between them.
    const TRIES: [u32; 2] = [100, 5];
    let path = path.to_bytes();
    let slash = path.iter().rposition(|byte| *byte == b'/');
    let mut directory = PathBuffer::EMPTY;
    directory.push(slash.and_then(|slash| path.get(..=slash)).unwrap_or(b"."));
    let directory = directory.path().ok()?;
    let fd = open_files.open(|| file::open(directory)).ok()?;
    let [tries, pause] = TRIES;
    for _ in 0..tries {
        if file::try_lock(fd.borrow()) != Err(Errno::AGAIN) {
            break;
        }
        let _ = time::poll(&mut [], Some(pause));
    }
    Some(fd)
}
