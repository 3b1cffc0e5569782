//! Signals that are read from a descriptor.

use super::errno::Errno;
use super::fd::{BorrowedFd, Fd};
use super::{call5, file};
use core::ptr;

/// A signalfd.
pub struct Signals(Fd);

/// A signal that the daemon reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// `SIGTERM`.
    Terminate,
    /// `SIGHUP`.
    HangUp,
}

impl Signals {
    /// Blocks SIGTERM and SIGHUP, which arrive on the descriptor from now on. Also blocks SIGPIPE and
    /// SIGXFSZ, which writing to a log can raise; [`Signals::next`] skips them.
    pub fn new() -> Result<Signals, Errno> {
        /// The number of signals that the kernel has.
        const SIGNALS: usize = if cfg!(target_arch = "mips") { 128 } else { 64 };
        /// The bit of a signal in the first word of a set.
        const fn bit(signal: i32) -> usize {
            1 << (signal - 1)
        }
        let mut set = [0; SIGNALS / usize::BITS as usize];
        set[0] = bit(libc::SIGTERM) | bit(libc::SIGHUP) | bit(libc::SIGPIPE) | bit(libc::SIGXFSZ);
        let (place, length) = (ptr::from_ref(&set) as usize, size_of_val(&set));
        let how = libc::SIG_BLOCK as usize;
        // SAFETY: the kernel reads the set. It cannot fail.
        let _ = unsafe { call5(libc::SYS_rt_sigprocmask, how, place, 0, length, 0) };
        let flags = (libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) as usize;
        // SAFETY: the kernel reads the set.
        let number = unsafe { call5(libc::SYS_signalfd4, usize::MAX, place, length, flags, 0)? };
        // SAFETY: the kernel has just opened it.
        let fd = unsafe { Fd::own(number) };
        fd.map(Signals).ok_or(Errno::BADF)
    }

    /// The descriptor. It is open as long as `self` exists.
    pub fn descriptor(&self) -> BorrowedFd<'static> {
        BorrowedFd::named(self.0.borrow().number() as u32)
    }

    /// Reads the next signal; `None` if none is pending.
    pub fn next(&self) -> Option<Signal> {
        /// Bytes of the kernel's `struct signalfd_siginfo`. Its first field is the signal number.
        const SIZE: usize = 128;
        let mut information = [0; SIZE];
        while file::read(self.descriptor(), &mut information) == Ok(SIZE) {
            let [a, b, c, d, ..] = information;
            match i32::from_ne_bytes([a, b, c, d]) {
                libc::SIGTERM => return Some(Signal::Terminate),
                libc::SIGHUP => return Some(Signal::HangUp),
                _ => {}
            }
        }
        None
    }
}
