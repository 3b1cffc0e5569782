//! The limit on open files.

use super::call5;
use core::ptr;

/// The limits on the numbers of descriptors.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OpenFileLimit {
    /// Descriptor numbers are below this.
    pub soft: u64,
    /// What `soft` can be raised to.
    pub hard: u64,
}

impl OpenFileLimit {
    /// Reads the limit. A kernel older than 2.6.36 does not tell it, nor does one whose sandbox
    /// forbids the call: then it is what every process starts with.
    pub fn get() -> OpenFileLimit {
        let mut limit = OpenFileLimit { soft: 1024, hard: 1024 };
        prlimit(0, ptr::from_mut(&mut limit) as usize);
        limit
    }

    /// Sets the limit. Raising the soft one to the hard one cannot fail.
    pub fn set(self) {
        prlimit(ptr::from_ref(&self) as usize, 0);
    }
}

/// `prlimit64` of the process itself on the number of open files.
fn prlimit(new: usize, old: usize) {
    let resource = libc::RLIMIT_NOFILE as usize;
    // SAFETY: each is 0 or the address of the two 64-bit numbers that the kernel reads or writes.
    let _ = unsafe { call5(libc::SYS_prlimit64, 0, resource, new, old, 0) };
}
