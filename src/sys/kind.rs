//! What a descriptor refers to, as far as closing it depends on that.

use super::errno::Errno;
use super::fd::BorrowedFd;
use super::file;

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
    /// 64 MiB in blocks of 512 bytes. Closing the last descriptor of a larger file that has been
    /// unlinked takes time.
    const LARGE: u64 = (64 << 20) / 512;
    const IMMUTABLE: u64 = libc::STATX_ATTR_IMMUTABLE as u64;
    let (flags, wanted) =
        (libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC, libc::STATX_TYPE | libc::STATX_BLOCKS);
    let status = match file::status(fd.number(), c"", flags, wanted) {
        Err(Errno::BADF) => return CloseTime::None,
        status => status.unwrap_or_default(),
    };
    match u32::from(status.mode) & libc::S_IFMT {
        libc::S_IFIFO => CloseTime::None,
        // Major number 1: /dev/null, /dev/zero and the like.
        libc::S_IFCHR if status.special[0] == 1 => CloseTime::None,
        libc::S_IFSOCK => CloseTime::Interruptible,
        libc::S_IFREG | libc::S_IFDIR if status.blocks < LARGE => {
            // Major number 0 means no block device: the file is in memory if it has seals, else it may be
            // on a server. With a block device it may be as well (fuseblk). A file system that knows the
            // attribute `immutable` is in the kernel.
            let is_on_disk = status.device[0] != 0 && status.attributes_mask & IMMUTABLE != 0;
            if is_on_disk || fd.has_seals() { CloseTime::None } else { CloseTime::Unbounded }
        }
        _ => CloseTime::Unbounded,
    }
}
