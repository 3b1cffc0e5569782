//! Making a socket at an address, and removing it.

use super::open_files::OpenFiles;
use super::path::PathBuffer;
use super::socket;
use crate::protocol::address::{Address, Kind};
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::file::{self, Identity};
use crate::sys::socket::{self as call, INET6};
use crate::sys::{Errno, time};
use core::ffi::CStr;

/// The default of -b. The kernel may lower it to its own limit.
pub const BACKLOG: u32 = 4096;

/// Why a socket could not be made.
pub struct Failure {
    /// What failed, up to the address.
    pub doing: &'static str,
    /// The reason.
    pub errno: Errno,
}

/// A socket that has been made.
pub struct Listener<'p> {
    fd: Fd,
    /// The path of its file and the identity that the file had at first, if it has one.
    file: Option<(&'p CStr, Result<Identity, Errno>)>,
}

impl<'p> Listener<'p> {
    /// Makes a socket at an address, and makes it listen if its kind does. `path` is the path in the
    /// address, if it has one. A socket at the path is replaced if nobody listens on it.
    ///
    /// Between `bind` and `listen` nobody listens on the new socket either, and another process would
    /// replace it. So this locks the directory: processes that call it take turns.
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
            Some(path) => bind_at(fd.borrow(), path, true).map_err(|taken| taken.errno),
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
        // A program that retrieves it expects the default of the kernel.
        listener.fd().set_nonblocking(false);
        Ok(listener)
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.borrow()
    }

    /// Closes it and removes its file, unless another process has replaced the file.
    pub fn remove(self, open_files: &OpenFiles) {
        let _lock = self.file.and_then(|(path, _)| lock_directory(path, open_files));
        self.unlink();
    }

    /// Removes its file. While the socket is open, no other file gets the same identity.
    fn unlink(&self) {
        match self.file {
            Some((path, identity)) if file::identity(path) == identity => {
                let _ = file::remove(path);
            }
            _ => {}
        }
    }
}

/// Makes a socket for an address and does not bind it.
fn prepare(address: &Address, open_files: &OpenFiles) -> Result<Fd, Errno> {
    let fd = socket::open(address.family(), address.kind().socket_type(), open_files)?;
    if address.family() == INET6 {
        call::take_ipv6_only(fd.borrow())?;
    }
    // On UDP this option would let any other socket with the option take the datagrams.
    if address.kind() == Kind::Tcp {
        call::reuse_address(fd.borrow())?;
    }
    Ok(fd)
}

/// Why a socket cannot be bound to a path.
pub struct Taken {
    /// `EADDRINUSE`: there is something at the path. `EEXIST`: it is no socket.
    pub errno: Errno,
    /// True if a process listens there. Then the socket is connected to it, if the backlog had room.
    pub is_served: bool,
}

impl From<Errno> for Taken {
    fn from(errno: Errno) -> Taken {
        Taken { errno, is_served: false }
    }
}

/// Binds a non-blocking Unix socket to a path. If `replaces`, a socket on which nobody listens is
/// replaced. Any other file at the path stays.
pub fn bind_at(fd: BorrowedFd, path: &CStr, replaces: bool) -> Result<(), Taken> {
    let mut bound = call::bind_path(fd, path);
    if bound == Err(Errno::ADDRINUSE) {
        match call::connect(fd, path) {
            Err(Errno::CONNREFUSED) if replaces => {
                // A file that is no socket refuses connections too.
                if !file::is_socket(path)? {
                    return Err(Errno::EXIST.into());
                }
                file::remove(path)?;
                bound = call::bind_path(fd, path);
            }
            // EAGAIN: the backlog is full.
            Ok(()) | Err(Errno::AGAIN) => {
                return Err(Taken { errno: Errno::ADDRINUSE, is_served: true });
            }
            Err(_) => {}
        }
    }
    Ok(bound?)
}

/// Locks the directory of a path until the result is dropped. If another process keeps the directory
/// locked, this gives up after half a second: the tools need the lock for less. Without the lock, two of
/// them at a time may replace the same socket.
fn lock_directory(path: &CStr, open_files: &OpenFiles) -> Option<Fd> {
    /// The number of attempts, and the milliseconds between two of them.
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
