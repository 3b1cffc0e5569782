//! The limit on open files.

use super::call5;
use core::ptr;

/// The limit on open files.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OpenFileLimit {
    /// The soft limit: descriptor numbers are below it.
    pub soft: u64,
    /// The hard limit: the most that `soft` can be raised to.
    pub hard: u64,
}

impl OpenFileLimit {
    /// Reads the limit. If the kernel is older than 2.6.36, or a sandbox forbids the call, it is 1024,
    /// which processes start with by default.
    pub fn get() -> OpenFileLimit {
        OpenFileLimit::of(0)
    }

    /// Reads the limit of a process; 0 is this one. If this process may not read it, it is 1024 too.
    pub fn of(process: u32) -> OpenFileLimit {
        let mut limit = OpenFileLimit { soft: 1024, hard: 1024 };
        prlimit(process, 0, ptr::from_mut(&mut limit) as usize);
        limit
    }

    /// Sets the limit. Raising `soft` to `hard` needs no privilege. Errors are ignored.
    pub fn set(self) {
        prlimit(0, ptr::from_ref(&self) as usize, 0);
    }
}

/// `prlimit64` of a process on the number of open files.
fn prlimit(process: u32, new: usize, old: usize) {
    let resource = libc::RLIMIT_NOFILE as usize;
    // SAFETY: each is 0 or the address of two 64-bit numbers that the kernel reads or writes.
    let _ = unsafe { call5(libc::SYS_prlimit64, process as usize, resource, new, old, 0) };
}
