//! Unix stream sockets.

use super::errno::Errno;
use super::fd::{BorrowedFd, Fd};
use super::{call3, call5};
use crate::slice::append;
use core::ffi::CStr;
use core::ptr;

/// The longest path of a Unix socket in bytes: `sun_path` without the final NUL.
pub const PATH_MAX: usize = 107;

/// Makes a socket of a family and a type, non-blocking and close-on-exec. `None` if standard input,
/// output or error was closed and the socket got that number. It then stays open there.
pub fn socket(family: u16, kind: u32) -> Result<Option<Fd>, Errno> {
    let kind = kind as usize | (libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as usize;
    // SAFETY: touches no memory.
    let number = unsafe { call3(libc::SYS_socket, family.into(), kind, 0)? };
    // SAFETY: the kernel has just opened it.
    Ok(unsafe { Fd::own(number) })
}

/// Connects a socket to the one that is bound to `path`. An empty path is `ENOENT` (to the kernel it is
/// an abstract address), one longer than [`PATH_MAX`] `ENAMETOOLONG`.
///
/// A non-blocking socket gets `EAGAIN` while the listener's backlog is full.
pub fn connect(socket: BorrowedFd, path: &CStr) -> Result<(), Errno> {
    with_path(libc::SYS_connect, socket, path)
}

/// Binds a socket to a path. `EADDRINUSE` if the path exists; a wrong path fails as in [`connect`].
pub fn bind_path(socket: BorrowedFd, path: &CStr) -> Result<(), Errno> {
    with_path(libc::SYS_bind, socket, path)
}

/// Binds a socket to an address. `EADDRINUSE` if another socket has it.
pub fn bind(socket: BorrowedFd, name: &Name) -> Result<(), Errno> {
    with_name(libc::SYS_bind, socket, name)
}

/// Connects a socket to the one that has an address.
pub fn connect_to(socket: BorrowedFd, name: &Name) -> Result<(), Errno> {
    with_name(libc::SYS_connect, socket, name)
}

/// The address family of Unix sockets.
pub const UNIX: u16 = libc::AF_UNIX as u16;
/// The address family of IPv4.
pub const INET: u16 = libc::AF_INET as u16;
/// The address family of IPv6.
pub const INET6: u16 = libc::AF_INET6 as u16;

/// The type of stream sockets.
pub const STREAM: u32 = libc::SOCK_STREAM as u32;
/// The type of datagram sockets.
pub const DATAGRAM: u32 = libc::SOCK_DGRAM as u32;
/// The type of seqpacket sockets.
pub const SEQPACKET: u32 = libc::SOCK_SEQPACKET as u32;

/// The longest address in bytes: family, path, and the NUL that the kernel adds to a path of 108 bytes.
const NAME_MAX: usize = 2 + PATH_MAX + 1 + 1;

/// The kernel's form of an address, a `struct sockaddr`: the family in two bytes, then bytes that depend
/// on the family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    length: usize,
    /// Zeros behind the length.
    bytes: [u8; NAME_MAX],
}

impl Name {
    /// The family alone.
    pub fn new(family: u16) -> Name {
        let mut bytes = [0; NAME_MAX];
        [bytes[0], bytes[1]] = family.to_ne_bytes();
        Name { length: size_of::<u16>(), bytes }
    }

    /// Adds bytes. Every address fits; bytes that do not fit are left out.
    pub fn push(&mut self, bytes: &[u8]) -> &mut Name {
        append(&mut self.bytes, &mut self.length, bytes);
        self
    }

    /// The family. 0 if the kernel has not written one.
    pub fn family(&self) -> u16 {
        let [first, second, ..] = self.bytes;
        u16::from_ne_bytes([first, second])
    }

    /// The bytes behind the family.
    pub fn rest(&self) -> &[u8] {
        self.bytes.get(size_of::<u16>()..self.length).unwrap_or_default()
    }
}

/// A call that takes a socket and a path.
fn with_path(call: libc::c_long, socket: BorrowedFd, path: &CStr) -> Result<(), Errno> {
    let path = path.to_bytes_with_nul();
    if path.len() == 1 {
        return Err(Errno::NOENT);
    }
    if path.len() > PATH_MAX + 1 {
        return Err(Errno::NAMETOOLONG);
    }
    with_name(call, socket, Name::new(UNIX).push(path))
}

/// A call that takes a socket and an address.
fn with_name(call: libc::c_long, socket: BorrowedFd, name: &Name) -> Result<(), Errno> {
    let (place, length) = (name.bytes.as_ptr() as usize, name.length);
    // SAFETY: the kernel reads `length` bytes of the name.
    unsafe { call3(call, socket.number(), place, length) }.map(drop)
}

/// The properties of a socket.
pub struct Socket {
    /// Its address.
    pub name: Name,
    /// Its type.
    pub kind: u32,
    /// Its protocol. 0 if the kernel does not tell, or if it is a Unix socket.
    pub protocol: u32,
    /// True if it listens. `None` if the kernel does not tell, as in some sandboxes.
    pub listens: Option<bool>,
}

/// Reads the properties of a socket. `EBADF` or `ENOTSOCK` if the descriptor is none.
pub fn describe(socket: BorrowedFd) -> Result<Socket, Errno> {
    let (mut name, mut length) = (Name::new(0), NAME_MAX as u32);
    let (place, room) = (name.bytes.as_mut_ptr() as usize, ptr::from_mut(&mut length) as usize);
    // SAFETY: the kernel writes at most `length` bytes, and the length.
    unsafe { call3(libc::SYS_getsockname, socket.number(), place, room)? };
    name.length = NAME_MAX.min(length as usize);
    let number = |name| option(socket, name).map(|[number, ..]| number);
    let kind = number(libc::SO_TYPE)?;
    let listens = is_listening(socket);
    let protocol = number(libc::SO_PROTOCOL).unwrap_or(0);
    Ok(Socket { name, kind, protocol, listens })
}

/// True if a socket listens. `None` if the kernel does not tell, as in some sandboxes.
pub fn is_listening(socket: BorrowedFd) -> Option<bool> {
    option(socket, libc::SO_ACCEPTCONN).ok().map(|[listens, ..]| listens == 1)
}

/// Makes a socket listen. `backlog` connections may wait to be accepted, or as many as the kernel
/// allows.
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

/// True if a socket has a peer.
pub fn is_connected(socket: BorrowedFd) -> bool {
    let (mut family, mut length) = (0_u16, size_of::<u16>() as u32);
    let (place, room) = (ptr::from_mut(&mut family) as usize, ptr::from_mut(&mut length) as usize);
    // SAFETY: the kernel writes at most `length` bytes, and the length.
    unsafe { call3(libc::SYS_getpeername, socket.number(), place, room) }.is_ok()
}

/// Reads a socket option of up to three numbers. Numbers that the option lacks are 0.
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

/// Sets a socket option to a number.
fn set_option(socket: BorrowedFd, level: i32, name: i32, value: u32) -> Result<(), Errno> {
    let (call, number, place) = (libc::SYS_setsockopt, socket.number(), ptr::from_ref(&value));
    let (length, place) = (size_of::<u32>(), place as usize);
    // SAFETY: the kernel reads the number.
    unsafe { call5(call, number, level as usize, name as usize, place, length) }.map(drop)
}

/// Lets a TCP socket be bound while connections of an earlier socket at the same address remain.
pub fn reuse_address(socket: BorrowedFd) -> Result<(), Errno> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)
}

/// Makes an IPv6 socket leave IPv4 to other sockets.
pub fn take_ipv6_only(socket: BorrowedFd) -> Result<(), Errno> {
    set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)
}

/// The process at the other end of a connection. Seen from a client it is the process that called
/// `listen`.
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
pub fn peer(socket: BorrowedFd) -> Result<Peer, Errno> {
    let [process, uid, gid] = option(socket, libc::SO_PEERCRED)?;
    Ok(Peer { process, uid, gid })
}

/// Checks that a descriptor is a Unix stream socket: `EBADF`, `ENOTSOCK`, `EAFNOSUPPORT` or
/// `EPROTOTYPE` if not. True if it listens. False if it does not, or if the kernel does not tell, as in
/// some sandboxes; then `accept` shows it.
#[cfg(feature = "fdholderd")]
pub fn listens(socket: BorrowedFd) -> Result<bool, Errno> {
    let Socket { name, kind, listens, .. } = describe(socket)?;
    if name.family() != UNIX {
        return Err(Errno::AFNOSUPPORT);
    }
    if kind != STREAM {
        return Err(Errno::PROTOTYPE);
    }
    Ok(listens == Some(true))
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
        // An older kernel does not know the option.
        let _ = set_option(connection, libc::SOL_SOCKET, name, 0);
    }
}

/// Receives urgent bytes in line with the others. Otherwise the kernel would close the descriptors that
/// came with an urgent byte, and the process would wait for that.
#[cfg(feature = "fdholderd")]
pub fn receive_in_line(connection: BorrowedFd) {
    let _ = set_option(connection, libc::SOL_SOCKET, libc::SO_OOBINLINE, 1);
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
