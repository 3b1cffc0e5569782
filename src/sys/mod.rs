//! System calls, one file for each subject. This is the only folder with unsafe code.
//!
//! A function makes one system call, with Rust types, and returns a [`Result`] with an [`Errno`]. A
//! call that a signal interrupted is repeated. A descriptor is an [`fd::Fd`], which owns it, or an
//! [`fd::BorrowedFd`]. Its number does not leave this folder.

pub mod arch;
#[cfg(feature = "fdholderd")]
pub mod child;
pub mod diag;
pub mod errno;
pub mod fd;
pub mod file;
#[cfg(feature = "fdholderd")]
pub mod kind;
pub mod limit;
pub mod memory;
pub mod message;
pub mod pidfd;
pub mod process;
#[cfg(any(feature = "fdholderd", feature = "activate"))]
pub mod signal;
pub mod socket;
pub mod stack;
pub mod strings;
pub mod take_once;
pub mod time;

use arch::syscall5;
pub use errno::Errno;

/// Ends the process with exit code 111, after a bug in this program. It prints nothing: the text would
/// take space in every image, and no user could act on it.
pub fn bug() -> ! {
    process::exit(111)
}

/// A system call of up to three arguments. It is repeated if a signal interrupts it. The kernel returns
/// -1 to -4095 for an error; anything else is a result.
///
/// # Safety
/// The arguments must be what the call numbered `number` expects.
unsafe fn call3(number: libc::c_long, a: usize, b: usize, c: usize) -> Result<usize, Errno> {
    // SAFETY: the caller vouches for the arguments.
    unsafe { call5(number, a, b, c, 0, 0) }
}

/// The same, with up to five arguments.
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
