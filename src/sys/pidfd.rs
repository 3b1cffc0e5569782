//! Another process, and copies of its descriptors.

use super::errno::Errno;
use super::fd::Fd;
use super::{bug, call3};

/// A process. Its number may be reused; this still refers to the same process.
pub struct Process(Fd);

impl Process {
    /// The process of that number: `ESRCH`, `EINVAL`, or `ENOSYS` before Linux 5.3.
    pub fn open(number: u32) -> Result<Process, Errno> {
        loop {
            // SAFETY: touches no memory.
            let fd = unsafe { call3(libc::SYS_pidfd_open, number as usize, 0, 0)? };
            // SAFETY: the kernel has just opened it.
            if let Some(fd) = unsafe { Fd::own(fd) } {
                return Ok(Process(fd));
            }
            // Standard input, output or error was closed. The descriptor stays open there.
        }
    }

    /// The number that the process alone has as long as the system runs: the inode of its pidfd. Before
    /// Linux 6.9 there is none, since all pidfds share an inode. A kernel of 32 bits tells half of it,
    /// which is of no use.
    #[cfg(target_pointer_width = "64")]
    pub fn unique_id(&self) -> Option<usize> {
        /// The kernel's `PID_FS_MAGIC`: the file system whose inodes these are.
        const PIDFS: u32 = 0x5049_4446;
        let fd = self.0.borrow().number();
        // The kernel's `struct statfs` and `struct stat` are smaller.
        let mut status = [0_usize; 32];
        let place = status.as_mut_ptr() as usize;
        // SAFETY: the kernel writes a status, for which there is room.
        unsafe { call3(libc::SYS_fstatfs, fd, place, 0) }.ok()?;
        // It begins with the kind of file system: 32 bits on s390x; elsewhere 64, the lower half first.
        let [a, b, c, d, ..] = status[0].to_ne_bytes();
        if u32::from_ne_bytes([a, b, c, d]) != PIDFS {
            return None;
        }
        // SAFETY: the same.
        unsafe { call3(libc::SYS_fstat, fd, place, 0) }.ok()?;
        // Device, then inode, as wide as a register.
        Some(status[1])
    }

    /// The same for a kernel that may be one of 32 bits.
    #[cfg(target_pointer_width = "32")]
    pub fn unique_id(&self) -> Option<usize> {
        None
    }

    /// A close-on-exec copy of the descriptor that the process has under a number: `EBADF` if it has none,
    /// `EPERM` without the right to trace it, `ENOSYS` before Linux 5.6.
    pub fn take(&self, number: u32) -> Result<Fd, Errno> {
        let process = self.0.borrow().number();
        // SAFETY: touches no memory.
        let fd = unsafe { call3(libc::SYS_pidfd_getfd, process, number as usize, 0)? };
        // SAFETY: the kernel has just opened it.
        match unsafe { Fd::own(fd) } {
            Some(fd) => Ok(fd),
            // The first three numbers have been in use since the process was opened.
            None => bug(),
        }
    }
}
