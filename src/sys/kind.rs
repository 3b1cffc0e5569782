//! What kind of file a descriptor is of, as far as it matters for closing it.

use super::call5;
use super::errno::Errno;
use super::fd::BorrowedFd;
use core::ptr;

/// How long it can take to close a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closes {
    /// No time: a pipe, a file in memory or on a disk, or no open descriptor at all.
    Promptly,
    /// It is a socket: as long as its peer likes, but not for a process that is killed or ends.
    Interruptibly,
    /// As long as somebody else likes.
    Late,
}

/// How long it can take to close a descriptor. Nothing is asked of what is behind it, since that can
/// take long as well.
pub fn closes(fd: BorrowedFd) -> Closes {
    /// The kernel's `struct statx`, as far as it matters, and its size.
    #[repr(C)]
    struct Status {
        before: [u32; 7],
        mode: u16,
        spare: u16,
        inode_and_size: [u64; 2],
        blocks: u64,
        behind_blocks: [u64; 9],
        rdev_and_dev: [u32; 4],
        rest: [u64; 14],
    }
    const { assert!(size_of::<Status>() == 256) };
    /// Blocks of 512 bytes of a file that may be gone after it is closed, and takes time to remove.
    const LARGE: u64 = (64 << 20) / 512;
    let mut status = Status {
        before: [0; 7],
        mode: 0,
        spare: 0,
        inode_and_size: [0; 2],
        blocks: 0,
        behind_blocks: [0; 9],
        rdev_and_dev: [0; 4],
        rest: [0; 14],
    };
    let flags = (libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC) as usize;
    let (path, wanted) = (c"".as_ptr() as usize, (libc::STATX_TYPE | libc::STATX_BLOCKS) as usize);
    let place = ptr::from_mut(&mut status) as usize;
    // SAFETY: the kernel reads a C string and writes a status.
    let done = unsafe { call5(libc::SYS_statx, fd.number(), path, flags, wanted, place) };
    if done == Err(Errno::BADF) {
        return Closes::Promptly;
    }
    let [special_class, _, device_class, _] = status.rdev_and_dev;
    match u32::from(status.mode) & libc::S_IFMT {
        libc::S_IFIFO => Closes::Promptly,
        // That of /dev/null and its like.
        libc::S_IFCHR if special_class == 1 => Closes::Promptly,
        libc::S_IFSOCK => Closes::Interruptibly,
        libc::S_IFREG | libc::S_IFDIR if status.blocks < LARGE => {
            // What lies on no device lies in memory if it can be sealed, or else anywhere.
            if device_class != 0 || fd.has_seals() { Closes::Promptly } else { Closes::Late }
        }
        _ => Closes::Late,
    }
}
