//! Unix stream sockets.

use super::errno::Errno;
use super::fd::{BorrowedFd, Fd};
use super::{call3, call5};
use core::ffi::CStr;
use core::ptr;

/// The longest path of a Unix socket, in bytes: `sun_path` less its final NUL.
pub const PATH_MAX: usize = 107;

/// Makes an unconnected Unix stream socket, non-blocking and closed on exec. `None` if it got the
/// number of standard input, output or error: that was closed, and the socket stays in its place.
pub fn socket() -> Result<Option<Fd>, Errno> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: touches no memory.
    let number = unsafe { call3(libc::SYS_socket, libc::AF_UNIX as usize, kind as usize, 0)? };
    // SAFETY: the kernel has just made it.
    Ok(unsafe { Fd::own(number) })
}

/// Connects a socket to the one that is bound to `path`. An empty path would be an abstract
/// address: it is no file, so `ENOENT`; one longer than [`PATH_MAX`] is `ENAMETOOLONG`.
///
/// While the listener's backlog is full a non-blocking socket gets `EAGAIN`.
pub fn connect(socket: BorrowedFd, path: &CStr) -> Result<(), Errno> {
    with_address(libc::SYS_connect, socket, path)
}

/// The kernel's `struct sockaddr_un`.
#[repr(C)]
struct Address {
    family: u16,
    path: [u8; PATH_MAX + 1],
}

/// A call on a socket that takes the address of another, or its own.
fn with_address(call: libc::c_long, socket: BorrowedFd, path: &CStr) -> Result<(), Errno> {
    let mut address = Address { family: libc::AF_UNIX as u16, path: [0; PATH_MAX + 1] };
    let bytes = path.to_bytes_with_nul();
    if bytes.len() == 1 {
        return Err(Errno::NOENT);
    }
    address.path.get_mut(..bytes.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(bytes);
    let length = size_of::<u16>() + bytes.len();
    // SAFETY: the kernel reads `length` bytes of the address.
    unsafe { call3(call, socket.number(), ptr::from_ref(&address) as usize, length) }.map(drop)
}

/// Binds a socket to a path. The errors are those of [`connect`] for a wrong path, and `EADDRINUSE`.
#[cfg(feature = "fdholderd")]
pub fn bind(socket: BorrowedFd, path: &CStr) -> Result<(), Errno> {
    with_address(libc::SYS_bind, socket, path)
}

/// Has a socket listen, with room for `backlog` connections that have not been accepted.
#[cfg(feature = "fdholderd")]
pub fn listen(socket: BorrowedFd, backlog: u32) -> Result<(), Errno> {
    let backlog = backlog.min(i32::MAX as u32) as usize;
    // SAFETY: touches no memory.
    unsafe { call3(libc::SYS_listen, socket.number(), backlog, 0) }.map(drop)
}

/// Accepts a connection, non-blocking and closed on exec.
#[cfg(feature = "fdholderd")]
pub fn accept(listener: BorrowedFd) -> Result<Option<Fd>, Errno> {
    let flags = (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as usize;
    // SAFETY: touches no memory.
    let number = unsafe { call5(libc::SYS_accept4, listener.number(), 0, 0, flags, 0)? };
    // SAFETY: the kernel has just made it.
    Ok(unsafe { Fd::own(number) })
}

/// Reads a socket option that consists of `N` numbers.
#[cfg(feature = "fdholderd")]
fn option<const N: usize>(socket: BorrowedFd, name: i32) -> Result<[u32; N], Errno> {
    let mut numbers = [0; N];
    let mut length = size_of_val(&numbers) as u32;
    let place = ptr::from_mut(&mut numbers) as usize;
    let length = ptr::from_mut(&mut length) as usize;
    let level = libc::SOL_SOCKET as usize;
    let call = libc::SYS_getsockopt;
    // SAFETY: the kernel writes no more bytes than `length` says.
    unsafe { call5(call, socket.number(), level, name as usize, place, length)? };
    Ok(numbers)
}

/// User and group of the process at the other end.
#[cfg(feature = "fdholderd")]
pub fn peer(socket: BorrowedFd) -> Result<(u32, u32), Errno> {
    let [_process, uid, gid] = option(socket, libc::SO_PEERCRED)?;
    Ok((uid, gid))
}
