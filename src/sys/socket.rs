//! Unix stream sockets.

use super::call3;
#[cfg(feature = "fdholderd")]
use super::call5;
use super::errno::Errno;
use super::fd::{BorrowedFd, Fd};
use core::ffi::CStr;
use core::ptr;

/// The longest path of a Unix socket in bytes: `sun_path` without the final NUL.
pub const PATH_MAX: usize = 107;

/// Makes an unconnected Unix stream socket, non-blocking and close-on-exec. `None` if standard input,
/// output or error was closed and the socket got that number. It then stays open there.
pub fn socket() -> Result<Option<Fd>, Errno> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: touches no memory.
    let number = unsafe { call3(libc::SYS_socket, libc::AF_UNIX as usize, kind as usize, 0)? };
    // SAFETY: the kernel has just opened it.
    Ok(unsafe { Fd::own(number) })
}

/// Connects a socket to the one that is bound to `path`. An empty path is `ENOENT` (to the kernel it is
/// an abstract address), one longer than [`PATH_MAX`] `ENAMETOOLONG`.
///
/// A non-blocking socket gets `EAGAIN` while the listener's backlog is full.
pub fn connect(socket: BorrowedFd, path: &CStr) -> Result<(), Errno> {
    with_address(libc::SYS_connect, socket, path)
}

/// The kernel's `struct sockaddr_un`.
#[repr(C)]
struct Address {
    family: u16,
    path: [u8; PATH_MAX + 1],
}

/// A call that takes a socket and an address.
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

/// Binds a socket to a path. `EADDRINUSE` if the path exists; a wrong path fails as in [`connect`].
#[cfg(feature = "fdholderd")]
pub fn bind(socket: BorrowedFd, path: &CStr) -> Result<(), Errno> {
    with_address(libc::SYS_bind, socket, path)
}

/// Makes a socket listen. `backlog` connections may wait to be accepted, or as many as the kernel
/// allows.
#[cfg(feature = "fdholderd")]
pub fn listen(socket: BorrowedFd, backlog: u32) -> Result<(), Errno> {
    let backlog = backlog.min(i32::MAX as u32) as usize;
    // SAFETY: touches no memory.
    unsafe { call3(libc::SYS_listen, socket.number(), backlog, 0) }.map(drop)
}

/// Accepts a connection, non-blocking and close-on-exec. `EAGAIN` if none is waiting. `None` if
/// standard input, output or error was closed and the connection got that number. It then stays open
/// there.
///
/// `O_NONBLOCK` belongs to the open file, and other processes that share the listener can clear it: it
/// is set before each call. The caller also polls first. So the call blocks only if another process
/// takes the connection first and clears the flag between these two calls.
#[cfg(feature = "fdholderd")]
pub fn accept(listener: BorrowedFd) -> Result<Option<Fd>, Errno> {
    listener.set_nonblocking(true);
    let flags = (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as usize;
    // SAFETY: touches no memory.
    let number = unsafe { call5(libc::SYS_accept4, listener.number(), 0, 0, flags, 0)? };
    // SAFETY: the kernel has just opened it.
    Ok(unsafe { Fd::own(number) })
}

/// Reads a socket option of up to three numbers. Numbers that the option lacks are 0.
#[cfg(feature = "fdholderd")]
fn option(socket: BorrowedFd, name: i32) -> Result<[u32; 3], Errno> {
    let mut numbers = [0; 3];
    let mut length = size_of_val(&numbers) as u32;
    let place = ptr::from_mut(&mut numbers) as usize;
    let length = ptr::from_mut(&mut length) as usize;
    let (level, call) = (libc::SOL_SOCKET as usize, libc::SYS_getsockopt);
    // SAFETY: the kernel writes at most `length` bytes.
    unsafe { call5(call, socket.number(), level, name as usize, place, length)? };
    Ok(numbers)
}

/// Sets a socket option to a number. Errors are ignored: an older kernel does not know the option.
#[cfg(feature = "fdholderd")]
fn set_option(socket: BorrowedFd, name: i32, value: u32) {
    let (level, place) = (libc::SOL_SOCKET as usize, ptr::from_ref(&value) as usize);
    let (length, call) = (size_of::<u32>(), libc::SYS_setsockopt);
    // SAFETY: the kernel reads the number.
    let _ = unsafe { call5(call, socket.number(), level, name as usize, place, length) };
}

/// The process at the other end of a connection. Seen from a client it is the process that called
/// `listen`.
#[cfg(feature = "fdholderd")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its process id; 0 if it has none in this namespace.
    pub process: u32,
    /// Its effective user when it connected or called `listen`.
    pub uid: u32,
    /// Its effective group at that time.
    pub gid: u32,
}

/// The process at the other end (`SO_PEERCRED`).
#[cfg(feature = "fdholderd")]
pub fn peer(socket: BorrowedFd) -> Result<Peer, Errno> {
    let [process, uid, gid] = option(socket, libc::SO_PEERCRED)?;
    Ok(Peer { process, uid, gid })
}

/// Checks that a descriptor is a Unix stream socket: `EBADF`, `ENOTSOCK`, `EAFNOSUPPORT` or
/// `EPROTOTYPE` if not. True if it listens. False if it does not, or if the kernel does not tell, as in
/// some sandboxes; then `accept` shows it.
#[cfg(feature = "fdholderd")]
pub fn listens(socket: BorrowedFd) -> Result<bool, Errno> {
    // The address begins with the family, two bytes. The kernel cuts the rest to the length given.
    let (mut address, mut length) = ([0_u16; 2], 4_u32);
    let (place, room) = (address.as_mut_ptr() as usize, ptr::from_mut(&mut length) as usize);
    // SAFETY: the kernel writes at most `length` bytes, and the length.
    unsafe { call3(libc::SYS_getsockname, socket.number(), place, room)? };
    if address[0] != libc::AF_UNIX as u16 {
        return Err(Errno::AFNOSUPPORT);
    }
    if option(socket, libc::SO_TYPE)?[0] != libc::SOCK_STREAM as u32 {
        return Err(Errno::PROTOTYPE);
    }
    Ok(option(socket, libc::SO_ACCEPTCONN).is_ok_and(|[listens, ..]| listens == 1))
}

/// True if the listener accepts no descriptors: `SO_PASSRIGHTS` is off. The option came with Linux
/// 6.16, and 83 is its number on all processors supported here (`asm-generic/socket.h`). Older kernels
/// always pass descriptors.
#[cfg(feature = "fdholderd")]
pub fn refuses_descriptors(listener: BorrowedFd) -> bool {
    const SO_PASSRIGHTS: i32 = 83;
    option(listener, SO_PASSRIGHTS).is_ok_and(|[passes, ..]| passes == 0)
}

/// Switches off credentials, security labels and pidfds in the messages of a connection. If they are on
/// for the listener, the connection inherits them: depending on the kernel, at the time of the
/// connection or of `accept`.
#[cfg(feature = "fdholderd")]
pub fn refuse_credentials(connection: BorrowedFd) {
    for name in [libc::SO_PASSCRED, libc::SO_PASSSEC, libc::SO_PASSPIDFD] {
        set_option(connection, name, 0);
    }
}

/// Receives urgent bytes in line with the others. Otherwise the kernel would close the descriptors that
/// came with an urgent byte, and the process would wait for that.
#[cfg(feature = "fdholderd")]
pub fn receive_in_line(connection: BorrowedFd) {
    set_option(connection, libc::SO_OOBINLINE, 1);
}

/// Shuts down the receiving direction of a connection. True if received bytes are left unread, or if
/// the kernel does not tell.
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
