//! What is special about 32-bit processors: the form of control messages, times of 32 bits where
//! the kernel is old, and the calls that, but for mips, once had user and group numbers of 16 bits.

use super::{Errno, Time, call3, call5};
use core::ptr;
#[cfg(all(feature = "fdholderd", target_arch = "mips"))]
pub use libc::{SYS_getegid, SYS_geteuid, SYS_getgroups, SYS_setgid, SYS_setgroups, SYS_setuid};
#[cfg(all(feature = "fdholderd", not(target_arch = "mips")))]
pub use libc::{
    SYS_getegid32 as SYS_getegid, SYS_geteuid32 as SYS_geteuid, SYS_getgroups32 as SYS_getgroups,
    SYS_setgid32 as SYS_setgid, SYS_setgroups32 as SYS_setgroups, SYS_setuid32 as SYS_setuid,
};

/// Words of a control message in front of its descriptors: its length in bytes, level and kind.
/// Nothing but descriptors is ever received, since no other kind was asked for with a socket
/// option; so what was received can be sent on as it is.
pub const CONTROL_HEADER: usize = 3;

/// Which of these words is the length. A 0 there says that there is no message.
pub const CONTROL_LENGTH_AT: usize = 0;

/// What stands in front of that many descriptors in a control message.
pub fn control_header(descriptors: usize) -> [i32; CONTROL_HEADER] {
    let length = (CONTROL_HEADER + descriptors) * size_of::<i32>();
    [length as i32, libc::SOL_SOCKET, libc::SCM_RIGHTS]
}

/// `clock_gettime64` and `ppoll_time64`, which the libc crate lacks. Since Linux 5.1 a new call has
/// the same number on all processors (`scripts/syscall.tbl`), counted from where those of the
/// processor begin: `pidfd_open` is 434.
const CLOCK_GETTIME: libc::c_long = libc::SYS_pidfd_open - 434 + 403;
const PPOLL: libc::c_long = libc::SYS_pidfd_open - 434 + 414;

/// A time as older kernels have it: seconds and nanoseconds.
type Old = [i32; 2];

/// Reads a clock. A kernel older than 5.1 tells the time up to 2038.
///
/// # Safety
/// There must be room for a [`Time`] at `place`.
pub unsafe fn clock_gettime(clock: usize, place: usize) -> Result<usize, Errno> {
    // SAFETY: a time is the kernel's `struct __kernel_timespec`; the caller vouches for the place.
    let mut result = unsafe { call3(clock, place, 0, CLOCK_GETTIME) };
    if result == Err(Errno::NOSYS) {
        let mut old: Old = [0; 2];
        let time = place as *mut Time;
        // SAFETY: the kernel writes two numbers; the caller vouches for the place.
        unsafe {
            result = call3(clock, ptr::from_mut(&mut old) as usize, 0, libc::SYS_clock_gettime);
            time.write(widen(old));
        }
    }
    result
}

/// Waits.
///
/// # Safety
/// There must be so many [`super::Poll`] at `place`, and a [`Time`] at `left` unless that is 0.
pub unsafe fn ppoll(place: usize, length: usize, left: usize) -> Result<usize, Errno> {
    // SAFETY: a time is the kernel's `struct __kernel_timespec`; the caller vouches for the places.
    let mut result = unsafe { call5(place, length, left, 0, 0, PPOLL) };
    if result == Err(Errno::NOSYS) {
        // SAFETY: the caller vouches for the place.
        let time = unsafe { (left as *mut Time).as_mut() };
        // No wait is longer than 2^32 milliseconds.
        let mut old = time.as_ref().map(|time| [time.seconds as i32, time.nanoseconds as i32]);
        let left = old.as_mut().map_or(0, |old: &mut Old| ptr::from_mut(old) as usize);
        // SAFETY: the same, and the kernel reads and writes the two numbers.
        result = unsafe { call5(place, length, left, 0, 0, libc::SYS_ppoll) };
        if let (Some(time), Some(old)) = (time, old) {
            *time = widen(old);
        }
    }
    result
}

/// Reads a file from a position on. `pread64` would want the position in two registers, which two
/// is up to the processor.
///
/// # Safety
/// There must be room for `length` bytes at `place`.
#[cfg(feature = "fdholderd")]
pub unsafe fn read_at(
    fd: usize,
    place: usize,
    length: usize,
    position: usize,
) -> Result<usize, Errno> {
    // SAFETY: the first call touches no memory; the caller vouches for the place.
    unsafe {
        call3(fd, position, libc::SEEK_SET as usize, libc::SYS_lseek)?;
        call3(fd, place, length, libc::SYS_read)
    }
}

fn widen([seconds, nanoseconds]: Old) -> Time {
    Time { seconds: seconds.into(), nanoseconds: nanoseconds.into() }
}
