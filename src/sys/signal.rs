//! Signals that are read from a descriptor.

use super::errno::Errno;
use super::fd::{BorrowedFd, Fd};
use super::{call5, file};
use core::ptr;

/// A signalfd.
pub struct Signals {
    fd: Fd,
    /// What was blocked before.
    before: Set,
}

/// A signal that is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// `SIGTERM`.
    Terminate,
    /// `SIGHUP`.
    HangUp,
}

/// The kernel's set of signals: a bit each, the lowest of the first word for the first one.
type Set = [usize; SIGNALS / usize::BITS as usize];

/// The kernel's number of signals.
const SIGNALS: usize = if cfg!(target_arch = "mips") { 128 } else { 64 };

/// The bit of a signal.
const fn bit(signal: i32) -> usize {
    1 << (signal - 1)
}

impl Signals {
    /// Blocks SIGTERM and SIGHUP, which arrive on the descriptor from now on. Also blocks SIGPIPE and
    /// SIGXFSZ, which writing to a log can raise; [`Signals::next`] skips them.
    pub fn of_a_daemon() -> Result<Signals, Errno> {
        let log = bit(libc::SIGPIPE) | bit(libc::SIGXFSZ);
        Signals::new(bit(libc::SIGTERM) | bit(libc::SIGHUP) | log)
    }

    /// Blocks SIGTERM, which arrives on the descriptor from now on.
    pub fn of_termination() -> Result<Signals, Errno> {
        Signals::new(bit(libc::SIGTERM))
    }

    /// Blocks the signals whose bits are set.
    fn new(bits: usize) -> Result<Signals, Errno> {
        let mut set = Set::default();
        set[0] = bits;
        let mut before = Set::default();
        let (place, length) = (ptr::from_ref(&set) as usize, size_of::<Set>());
        let (how, old) = (libc::SIG_BLOCK as usize, ptr::from_mut(&mut before) as usize);
        // SAFETY: the kernel reads one set and writes the other. It cannot fail.
        let _ = unsafe { call5(libc::SYS_rt_sigprocmask, how, place, old, length, 0) };
        let flags = (libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) as usize;
        let new = usize::MAX;
        loop {
            // SAFETY: the kernel reads the set.
            let number = unsafe { call5(libc::SYS_signalfd4, new, place, length, flags, 0)? };
            // SAFETY: the kernel has just opened it.
            if let Some(fd) = unsafe { Fd::own(number) } {
                return Ok(Signals { fd, before });
            }
            // Standard input, output or error was closed. The descriptor stays open there.
        }
    }

    /// Blocks again what was blocked before, and nothing else. A signal that has come and has not been
    /// read is delivered.
    pub fn restore(self) {
        let (how, place) = (libc::SIG_SETMASK as usize, ptr::from_ref(&self.before) as usize);
        let length = size_of::<Set>();
        // SAFETY: the kernel reads the set. It cannot fail.
        let _ = unsafe { call5(libc::SYS_rt_sigprocmask, how, place, 0, length, 0) };
    }

    /// Moves the descriptor to another number: `place` makes a copy of it.
    pub fn move_to<E>(&mut self, place: impl FnOnce(BorrowedFd) -> Result<Fd, E>) -> Result<(), E> {
        self.fd = place(self.fd.borrow())?;
        Ok(())
    }

    /// The descriptor. It is open as long as `self` exists.
    pub fn descriptor(&self) -> BorrowedFd<'static> {
        BorrowedFd::named(self.fd.borrow().number() as u32)
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
