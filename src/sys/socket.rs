//! Unix stream sockets.

use super::call3;
#[cfg(feature = "fdholderd")]
use super::call5;
use super::errno::Errno;
use super::fd::{BorrowedFd, Fd};
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

/// Accepts a connection, non-blocking and closed on exec; `EAGAIN` if there is none. `None` if it got the
/// number of standard input, output or error: that was closed, and the connection stays in its place.
///
/// Whether that waits is up to a flag that all share who have the listener: it is set again each time. A
/// process that also looks first whether there is a connection waits only if somebody else takes that
/// and clears the flag, both in this very moment.
#[cfg(feature = "fdholderd")]
pub fn accept(listener: BorrowedFd) -> Result<Option<Fd>, Errno> {
    listener.set_nonblocking(true);
    let flags = (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as usize;
    // SAFETY: touches no memory.
    let number = unsafe { call5(libc::SYS_accept4, listener.number(), 0, 0, flags, 0)? };
    // SAFETY: the kernel has just made it.
    Ok(unsafe { Fd::own(number) })
}

/// Reads a socket option that consists of up to three numbers; those that it lacks are 0.
#[cfg(feature = "fdholderd")]
fn option(socket: BorrowedFd, name: i32) -> Result<[u32; 3], Errno> {
    let mut numbers = [0; 3];
    let mut length = size_of_val(&numbers) as u32;
    let place = ptr::from_mut(&mut numbers) as usize;
    let length = ptr::from_mut(&mut length) as usize;
    let (level, call) = (libc::SOL_SOCKET as usize, libc::SYS_getsockopt);
    // SAFETY: the kernel writes no more bytes than `length` says.
    unsafe { call5(call, socket.number(), level, name as usize, place, length)? };
    Ok(numbers)
}

/// Sets a socket option that is a number. What the kernel does not know it does not do.
#[cfg(feature = "fdholderd")]
fn set_option(socket: BorrowedFd, name: i32, value: u32) {
    let (level, place) = (libc::SOL_SOCKET as usize, ptr::from_ref(&value) as usize);
    let (length, call) = (size_of::<u32>(), libc::SYS_setsockopt);
    // SAFETY: the kernel reads the number.
    let _ = unsafe { call5(call, socket.number(), level, name as usize, place, length) };
}

/// The process at the other end of a connection, or the one that has the socket listen which a client is
/// connected to.
#[cfg(feature = "fdholderd")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its number; 0 if it has none here.
    pub process: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// The process at the other end.
#[cfg(feature = "fdholderd")]
pub fn peer(socket: BorrowedFd) -> Result<Peer, Errno> {
    let [process, uid, gid] = option(socket, libc::SO_PEERCRED)?;
    Ok(Peer { process, uid, gid })
}

/// Makes sure that a descriptor is a Unix stream socket: `EBADF`, `ENOTSOCK`, `EAFNOSUPPORT` or
/// `EPROTOTYPE` if it is not. True if it listens; false if it does not, or the kernel does not say so, as
/// that of a sandbox may: to accept a connection tells.
#[cfg(feature = "fdholderd")]
pub fn listens(socket: BorrowedFd) -> Result<bool, Errno> {
    // It begins with the family in two bytes. Of the rest no more than there is room for is written.
    let (mut address, mut length) = ([0_u16; 2], 4_u32);
    let (place, room) = (address.as_mut_ptr() as usize, ptr::from_mut(&mut length) as usize);
    // SAFETY: the kernel writes no more bytes than `length` says, and that.
    unsafe { call3(libc::SYS_getsockname, socket.number(), place, room)? };
    if address[0] != libc::AF_UNIX as u16 {
        return Err(Errno::AFNOSUPPORT);
    }
    if option(socket, libc::SO_TYPE)?[0] != libc::SOCK_STREAM as u32 {
        return Err(Errno::PROTOTYPE);
    }
    Ok(option(socket, libc::SO_ACCEPTCONN).is_ok_and(|[listens, ..]| listens == 1))
}

/// Whether a listener is told to let no descriptors through. `SO_PASSRIGHTS` came with Linux 6.16; its
/// number in `asm-generic/socket.h` is that of all processors known here. Before, they always pass.
#[cfg(feature = "fdholderd")]
pub fn refuses_descriptors(listener: BorrowedFd) -> bool {
    const SO_PASSRIGHTS: i32 = 83;
    option(listener, SO_PASSRIGHTS).is_ok_and(|[passes, ..]| passes == 0)
}

/// Has the kernel add nothing to the messages of a connection. It would if somebody had asked for that
/// on the listener, before the client connected or up to now, which depends on the kernel.
#[cfg(feature = "fdholderd")]
pub fn refuse_credentials(connection: BorrowedFd) {
    for name in [libc::SO_PASSCRED, libc::SO_PASSSEC, libc::SO_PASSPIDFD] {
        set_option(connection, name, 0);
    }
}

/// Has all bytes of a connection received in their order, the urgent ones as well: the kernel would close
/// the descriptors that come with these, and wait for it.
#[cfg(feature = "fdholderd")]
pub fn receive_in_line(connection: BorrowedFd) {
    set_option(connection, libc::SO_OOBINLINE, 1);
}

/// Takes nothing more from the peer of a connection, and says whether there is something left of what has
/// come.
#[cfg(feature = "fdholderd")]
pub fn is_unread(connection: BorrowedFd) -> bool {
    let mut bytes = 0_u32;
    let (fd, place) = (connection.number(), ptr::from_mut(&mut bytes) as usize);
    // SAFETY: touches no memory.
    let shut = unsafe { call3(libc::SYS_shutdown, fd, libc::SHUT_RD as usize, 0) };
    // SAFETY: the kernel writes a number.
    let asked = unsafe { call3(libc::SYS_ioctl, fd, libc::FIONREAD as usize, place) };
    shut.and(asked).is_err() || bytes > 0
}
