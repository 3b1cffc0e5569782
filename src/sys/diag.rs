//! What the kernel tells about a Unix socket beyond the calls on sockets: `NETLINK_SOCK_DIAG`.

use super::errno::Errno;
use super::fd::{BorrowedFd, Fd};
use super::{call3, file};
use core::ptr;

/// The request for one Unix socket: the kernel's `struct nlmsghdr` and `struct unix_diag_req`.
#[repr(C)]
struct Request {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
    family: u8,
    protocol: u8,
    pad: u16,
    states: u32,
    inode: u32,
    show: u32,
    cookie: [u32; 2],
}

/// The kernel's `SOCK_DIAG_BY_FAMILY`: the kind of a request and of its reply.
const BY_FAMILY: u16 = 20;

/// Bytes of a reply before its attributes: a `struct nlmsghdr` and a `struct unix_diag_msg`.
const HEAD: usize = 32;

/// The attribute with the inode of the file, and the bit of `show` that asks for it.
const VFS: u16 = 1;
const SHOW_VFS: u32 = 2;

/// The low 32 bits of the inode number of the file that a Unix socket is bound to, also if the file has
/// been removed or replaced. `None` if the kernel does not tell: it was built without `CONFIG_UNIX_DIAG`
/// or is older than 3.3, or the socket belongs to another network namespace, or has no file.
pub fn bound_inode(socket: BorrowedFd, diag: &Fd) -> Option<u32> {
    let request = Request {
        length: size_of::<Request>() as u32,
        kind: BY_FAMILY,
        flags: libc::NLM_F_REQUEST as u16,
        sequence: 0,
        port: 0,
        family: libc::AF_UNIX as u8,
        protocol: 0,
        pad: 0,
        states: u32::MAX,
        inode: file::inode_of(socket).ok()?,
        show: SHOW_VFS,
        // No cookie: the inode number of the socket is enough.
        cookie: [u32::MAX; 2],
    };
    let (place, length) = (ptr::from_ref(&request) as usize, size_of::<Request>());
    // SAFETY: the kernel reads the request.
    unsafe { call3(libc::SYS_write, diag.borrow().number(), place, length).ok()? };
    // The kernel has answered before the call returns.
    let mut reply = [0; 256];
    let length = file::read(diag.borrow(), &mut reply).ok()?;
    let reply = reply.get(..length)?;
    if !reply.get(4..)?.starts_with(&BY_FAMILY.to_ne_bytes()) {
        return None;
    }
    let mut attributes = reply.get(HEAD..)?;
    loop {
        let (length, rest) = attributes.split_first_chunk::<2>()?;
        let (kind, rest) = rest.split_first_chunk::<2>()?;
        if u16::from_ne_bytes(*kind) == VFS {
            return rest.first_chunk().map(|inode| u32::from_ne_bytes(*inode));
        }
        // Attributes begin at multiples of four bytes. One has at least its own header.
        let length = usize::from(u16::from_ne_bytes(*length)).next_multiple_of(4);
        attributes = attributes.get(length.max(4)..)?;
    }
}

/// Opens a socket for [`bound_inode`]. `EPROTONOSUPPORT` and others if the kernel has none.
pub fn open() -> Result<Fd, Errno> {
    let kind = (libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as usize;
    let (family, protocol) = (libc::AF_NETLINK as usize, libc::NETLINK_SOCK_DIAG as usize);
    // SAFETY: touches no memory.
    let number = unsafe { call3(libc::SYS_socket, family, kind, protocol)? };
    // SAFETY: the kernel has just opened it.
    unsafe { Fd::own(number) }.ok_or(Errno::BADF)
}
