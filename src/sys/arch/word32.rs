//! Calls that differ by register width, on 32-bit processors. Old kernels have only calls with times of
//! 32 bits. All processors but MIPS once had calls with user and group numbers of 16 bits; the calls
//! used here have 32.

use crate::sys::errno::Errno;
use crate::sys::time::Time;
use crate::sys::{call3, call5};
use core::ptr;
#[cfg(target_arch = "mips")]
pub use libc::SYS_geteuid;
#[cfg(not(target_arch = "mips"))]
pub use libc::{SYS_fstatat64 as SYS_fstatat, SYS_geteuid32 as SYS_geteuid};
#[cfg(all(feature = "fdholderd", target_arch = "mips"))]
pub use libc::{SYS_getegid, SYS_getgroups, SYS_setgid, SYS_setgroups, SYS_setuid};
#[cfg(all(feature = "fdholderd", not(target_arch = "mips")))]
pub use libc::{
    SYS_getegid32 as SYS_getegid, SYS_getgroups32 as SYS_getgroups, SYS_setgid32 as SYS_setgid,
    SYS_setgroups32 as SYS_setgroups, SYS_setuid32 as SYS_setuid,
};

/// `clock_gettime64` and `ppoll_time64`, which the libc crate lacks. A call new in Linux 5.1 or later has
/// the same number on all processors (`scripts/syscall.tbl`), apart from an offset of the processor's
/// own: `pidfd_open` is 434, these are 403 and 414.
const CLOCK_GETTIME: libc::c_long = libc::SYS_pidfd_open - 434 + 403;
const PPOLL: libc::c_long = libc::SYS_pidfd_open - 434 + 414;

/// `fstatat64`, which the libc crate lacks on MIPS: 293, where `statx` is 366.
#[cfg(target_arch = "mips")]
#[allow(non_upper_case_globals, reason = "the libc crate names the others like this")]
pub const SYS_fstatat: libc::c_long = libc::SYS_statx - 366 + 293;

/// A time of the older calls: seconds and nanoseconds.
type Old = [i32; 2];

/// Reads a clock. If the call fails for any reason, the older call is made, which works up to 2038:
/// kernels before 5.1 lack the newer call, and a sandbox that does not know it may answer with any
/// error.
///
/// # Safety
/// There must be room for a [`Time`] at `place`.
pub unsafe fn clock_gettime(clock: usize, place: usize) -> Result<usize, Errno> {
    // SAFETY: a time is the kernel's `struct __kernel_timespec`; the caller vouches for the pointer.
    let mut result = unsafe { call3(CLOCK_GETTIME, clock, place, 0) };
    if result.is_err() {
        let mut old: Old = [0; 2];
        let time = place as *mut Time;
        // SAFETY: the kernel writes two numbers; the caller vouches for the pointer.
        unsafe {
            result = call3(libc::SYS_clock_gettime, clock, ptr::from_mut(&mut old) as usize, 0);
            time.write(widen(old));
        }
    }
    result
}

/// Waits. If the call fails, the older call is made, as for [`clock_gettime`]. An error with another
/// cause than a sandbox or an old kernel comes back from it again.
///
/// # Safety
/// There must be `length` [`Poll`](crate::sys::time::Poll) at `place`, and a [`Time`] at `left`
/// unless that is 0.
pub unsafe fn ppoll(place: usize, length: usize, left: usize) -> Result<usize, Errno> {
    // SAFETY: a time is the kernel's `struct __kernel_timespec`; the caller vouches for the pointers.
    let mut result = unsafe { call5(PPOLL, place, length, left, 0, 0) };
    if result.is_err() {
        // SAFETY: the caller vouches for the pointer.
        let time = unsafe { (left as *const Time).as_ref() };
        // No wait is longer than 2^32 milliseconds.
        let mut old = time.map(|time| [time.seconds as i32, time.nanoseconds as i32]);
        let left = old.as_mut().map_or(0, |old: &mut Old| ptr::from_mut(old) as usize);
        // SAFETY: as above, and the kernel reads and writes the two numbers.
        result = unsafe { call5(libc::SYS_ppoll, place, length, left, 0, 0) };
    }
    result
}

fn widen([seconds, nanoseconds]: Old) -> Time {
    Time { seconds: seconds.into(), nanoseconds: nanoseconds.into() }
}
