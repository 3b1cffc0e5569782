//! Calls that differ by register width, on 64-bit processors.

use crate::sys::errno::Errno;
use crate::sys::{call3, call5};
#[cfg(feature = "fdholderd")]
pub use libc::{SYS_getegid, SYS_getgroups, SYS_setgid, SYS_setgroups, SYS_setuid};
pub use libc::{SYS_geteuid, SYS_newfstatat as SYS_fstatat};

/// Reads a clock.
///
/// # Safety
/// There must be room for a [`Time`](crate::sys::time::Time) at `place`.
pub unsafe fn clock_gettime(clock: usize, place: usize) -> Result<usize, Errno> {
    // SAFETY: a time is the kernel's `struct timespec`; the caller vouches for the pointer.
    unsafe { call3(libc::SYS_clock_gettime, clock, place, 0) }
}

/// Waits.
///
/// # Safety
/// There must be `length` [`Poll`](crate::sys::time::Poll) at `place`, and a
/// [`Time`](crate::sys::time::Time) at `left` unless that is 0.
pub unsafe fn ppoll(place: usize, length: usize, left: usize) -> Result<usize, Errno> {
    // SAFETY: a time is the kernel's `struct timespec`; the caller vouches for the pointers.
    unsafe { call5(libc::SYS_ppoll, place, length, left, 0, 0) }
}
