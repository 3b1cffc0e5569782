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
