//! Another process, and descriptors that are taken out of it.

use super::errno::Errno;
use super::fd::Fd;
use super::{bug, call3};

/// A process, which stays the one that it is even if its number gets another one.
pub struct Process(Fd);

impl Process {
    /// The process of that number: `ESRCH`, `EINVAL`, or `ENOSYS` before Linux 5.3.
    pub fn open(number: u32) -> Result<Process, Errno> {
        loop {
            // SAFETY: touches no memory.
            let fd = unsafe { call3(libc::SYS_pidfd_open, number as usize, 0, 0)? };
            // SAFETY: the kernel has just made it.
            if let Some(fd) = unsafe { Fd::own(fd) } {
                return Ok(Process(fd));
            }
            // Standard input, output or error was closed. It stays open in that place.
        }
    }

    /// Another descriptor, closed on exec, of what the process has under that number: `EBADF` if that is
    /// nothing, `EPERM` without the rights of a debugger, `ENOSYS` before Linux 5.6.
    pub fn take(&self, number: u32) -> Result<Fd, Errno> {
        let process = self.0.borrow().number();
        // SAFETY: touches no memory.
        let fd = unsafe { call3(libc::SYS_pidfd_getfd, process, number as usize, 0)? };
        // SAFETY: the kernel has just made it.
        match unsafe { Fd::own(fd) } {
            Some(fd) => Ok(fd),
            // The first three are not free since the process was opened.
            None => bug(),
        }
    }
}
