//! What is special about 64-bit processors: nothing, but for the form of control messages.

use super::{Errno, call3, call5};
#[cfg(feature = "fdholderd")]
pub use libc::{SYS_getegid, SYS_geteuid, SYS_getgroups, SYS_setgid, SYS_setgroups, SYS_setuid};

/// Words of a control message in front of its descriptors: its length in bytes, as 64 bits, level
/// and kind. Nothing but descriptors is ever received, since no other kind was asked for with a
/// socket option; so what was received can be sent on as it is.
pub const CONTROL_HEADER: usize = 4;

/// Which of these words is the lower half of the length; the other one is always 0. A 0 there says
/// that there is no message.
pub const CONTROL_LENGTH_AT: usize = if cfg!(target_endian = "big") { 1 } else { 0 };

/// What stands in front of that many descriptors in a control message.
pub fn control_header(descriptors: usize) -> [i32; CONTROL_HEADER] {
    let length = (CONTROL_HEADER + descriptors) * size_of::<i32>();
    let mut header = [0, 0, libc::SOL_SOCKET, libc::SCM_RIGHTS];
    header[CONTROL_LENGTH_AT] = length as i32;
    header
}

/// Reads a clock.
///
/// # Safety
/// There must be room for a [`super::Time`] at `place`.
#[inline(always)]
pub unsafe fn clock_gettime(clock: usize, place: usize) -> Result<usize, Errno> {
    // SAFETY: a time is the kernel's `struct timespec`; the caller vouches for the place.
    unsafe { call3(clock, place, 0, libc::SYS_clock_gettime) }
}

/// Waits.
///
/// # Safety
/// There must be so many [`super::Poll`] at `place`, and a [`super::Time`] at `left` unless that
/// is 0.
#[inline(always)]
pub unsafe fn ppoll(place: usize, length: usize, left: usize) -> Result<usize, Errno> {
    // SAFETY: a time is the kernel's `struct timespec`; the caller vouches for the places.
    unsafe { call5(place, length, left, 0, 0, libc::SYS_ppoll) }
}

/// Reads a file from a position on.
///
/// # Safety
/// There must be room for `length` bytes at `place`.
#[cfg(feature = "fdholderd")]
#[inline(always)]
pub unsafe fn read_at(
    fd: usize,
    place: usize,
    length: usize,
    position: usize,
) -> Result<usize, Errno> {
    // SAFETY: the caller vouches for the place.
    unsafe { call5(fd, place, length, position, 0, libc::SYS_pread64) }
}
