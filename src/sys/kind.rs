//! What a descriptor refers to, as far as closing it depends on that.

use super::call5;
use super::errno::Errno;
use super::fd::BorrowedFd;
use core::ptr;

/// How long closing a descriptor can take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseTime {
    /// No time: it is a pipe, a file in memory or on a local disk, or not open.
    None,
    /// As long as the peer likes: it is a socket. The kernel does not wait if the process is killed or
    /// ends.
    Interruptible,
    /// As long as a server or a device likes, even if the process is killed.
    Unbounded,
}

/// How long closing a descriptor can take. The call asks no server about the file: the answer could
/// take long as well. If the kernel does not answer, as before Linux 4.11, it is [`CloseTime::Unbounded`].
pub fn close_time(fd: BorrowedFd) -> CloseTime {
    /// The fields of the kernel's `struct statx` that matter, and its size.
    #[repr(C)]
    struct Status {
        before: [u32; 7],
        mode: u16,
        spare: u16,
        inode_and_size: [u64; 2],
        blocks: u64,
        attributes_mask: u64,
        times: [u64; 8],
        rdev_and_dev: [u32; 4],
        rest: [u64; 14],
    }
    const { assert!(size_of::<Status>() == 256) };
    /// 64 MiB in blocks of 512 bytes. Closing the last descriptor of a larger file that has been
    /// unlinked takes time.
    const LARGE: u64 = (64 << 20) / 512;
    const IMMUTABLE: u64 = libc::STATX_ATTR_IMMUTABLE as u64;
    let mut status = Status {
        before: [0; 7],
        mode: 0,
        spare: 0,
        inode_and_size: [0; 2],
        blocks: 0,
        attributes_mask: 0,
        times: [0; 8],
        rdev_and_dev: [0; 4],
        rest: [0; 14],
    };
    let flags = (libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC) as usize;
    let (path, wanted) = (c"".as_ptr() as usize, (libc::STATX_TYPE | libc::STATX_BLOCKS) as usize);
    let place = ptr::from_mut(&mut status) as usize;
    // SAFETY: the kernel reads a C string and writes a status.
    let done = unsafe { call5(libc::SYS_statx, fd.number(), path, flags, wanted, place) };
    if done == Err(Errno::BADF) {
        return CloseTime::None;
    }
    let [special_class, _, device_class, _] = status.rdev_and_dev;
    match u32::from(status.mode) & libc::S_IFMT {
        libc::S_IFIFO => CloseTime::None,
        // Major number 1: /dev/null, /dev/zero and the like.
        libc::S_IFCHR if special_class == 1 => CloseTime::None,
        libc::S_IFSOCK => CloseTime::Interruptible,
        libc::S_IFREG | libc::S_IFDIR if status.blocks < LARGE => {
            // Major number 0 means no block device: the file is in memory if it has seals, else it may be
            // on a server. With a block device it may be as well (fuseblk). A file system that knows the
            // attribute `immutable` is in the kernel.
            let is_on_disk = device_class != 0 && status.attributes_mask & IMMUTABLE != 0;
            if is_on_disk || fd.has_seals() { CloseTime::None } else { CloseTime::Unbounded }
        }
        _ => CloseTime::Unbounded,
    }
}
