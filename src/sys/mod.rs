//! The system call layer, the only unsafe code, in a file for each subject.
//!
//! A function is one system call with Rust types. Its result is a [`Result`] with an [`Errno`]. A call
//! that a signal interrupts is made again. A descriptor is an [`fd::Fd`], which owns, or an
//! [`fd::BorrowedFd`], which only looks: its number stays in this folder.

pub mod arch;
#[cfg(feature = "fdholderd")]
pub mod child;
pub mod errno;
pub mod fd;
pub mod file;
pub mod hand_out;
#[cfg(feature = "fdholderd")]
pub mod kind;
pub mod limit;
pub mod memory;
pub mod message;
pub mod process;
#[cfg(feature = "fdholderd")]
pub mod signal;
pub mod socket;
pub mod stack;
pub mod strings;
pub mod time;

use arch::syscall5;
pub use errno::Errno;

/// Ends the process for what cannot happen: a mistake in this program. A message would need room
/// in every image, and nobody could act on it.
pub fn bug() -> ! {
    process::exit(111)
}

/// A system call of up to three arguments, made again when a signal interrupts it. The kernel
/// answers -1 to -4095 for an error; anything else is a result.
///
/// # Safety
/// The arguments must be what the call numbered `number` expects.
unsafe fn call3(number: libc::c_long, a: usize, b: usize, c: usize) -> Result<usize, Errno> {
    // SAFETY: the caller vouches for the arguments.
    unsafe { call5(number, a, b, c, 0, 0) }
}

/// The same of up to five arguments.
///
/// # Safety
/// As for [`call3`].
unsafe fn call5(
    number: libc::c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
) -> Result<usize, Errno> {
    loop {
        // SAFETY: the caller vouches for the arguments.
        let answer = unsafe { syscall5(number as usize, a, b, c, d, e) };
        if answer as usize <= -4096isize as usize {
            return Ok(answer as usize);
        }
        let errno = Errno::new(answer.wrapping_neg() as usize);
        if errno != Errno::INTR {
            return Err(errno);
        }
    }
}
