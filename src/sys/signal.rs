//! Signals that arrive on a descriptor.

use super::errno::Errno;
use super::fd::{BorrowedFd, Fd};
use super::{call5, file};
use core::ptr;

/// A descriptor on which signals arrive from now on instead of interrupting.
pub struct Signals(Fd);

/// A signal that a daemon waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// `SIGTERM`.
    Terminate,
    /// `SIGHUP`.
    HangUp,
}

impl Signals {
    /// Asks for SIGTERM and SIGHUP. SIGPIPE and SIGXFSZ, which come of writing to a log that takes no
    /// more, mean nothing from now on.
    pub fn new() -> Result<Signals, Errno> {
        /// The kernel's number of signals.
        const SIGNALS: usize = if cfg!(target_arch = "mips") { 128 } else { 64 };
        /// The bit of a signal, the lowest of the first word for the first one.
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
        // SAFETY: the same.
        let number = unsafe { call5(libc::SYS_signalfd4, usize::MAX, place, length, flags, 0)? };
        // SAFETY: the kernel has just made it.
        let fd = unsafe { Fd::own(number) };
        fd.map(Signals).ok_or(Errno::BADF)
    }

    /// The descriptor, open for as long as this is there.
    pub fn descriptor(&self) -> BorrowedFd<'static> {
        BorrowedFd::named(self.0.borrow().number() as u32)
    }

    /// The next one that has come.
    pub fn next(&self) -> Option<Signal> {
        /// Bytes of the kernel's `struct signalfd_siginfo`, which begins with the number.
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
