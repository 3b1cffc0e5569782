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

/// The signals that writing can raise: SIGPIPE in a pipe that nobody reads, SIGXFSZ in a file that may not
/// become longer.
const WRITING: usize = bit(libc::SIGPIPE) | bit(libc::SIGXFSZ);

/// The set of the signals whose bits are set.
fn set_of(bits: usize) -> Set {
    let mut set = Set::default();
    set[0] = bits;
    set
}

/// Changes what is blocked, and returns what was blocked before.
fn mask(how: i32, set: &Set) -> Set {
    let mut before = Set::default();
    let (place, old) = (ptr::from_ref(set) as usize, ptr::from_mut(&mut before) as usize);
    let length = size_of::<Set>();
    // SAFETY: the kernel reads one set and writes the other. It cannot fail.
    let _ = unsafe { call5(libc::SYS_rt_sigprocmask, how as usize, place, old, length, 0) };
    before
}

/// Does something in which a write that fails raises no signal.
pub fn without_those_of_writing<T>(something: impl FnOnce() -> T) -> T {
    let set = set_of(WRITING);
    let before = mask(libc::SIG_BLOCK, &set);
    let done = something();
    let (place, length) = (ptr::from_ref(&set) as usize, size_of::<Set>());
    // The kernel's `struct timespec`, of 128 bits or less.
    let no_time = [0_u64; 2];
    let time = ptr::from_ref(&no_time) as usize;
    // Takes those that have come.
    // SAFETY: the kernel reads a set and a duration.
    let take = || unsafe { call5(libc::SYS_rt_sigtimedwait, place, 0, time, length, 0) };
    while take().is_ok_and(|signal| signal > 0) {}
    mask(libc::SIG_SETMASK, &before);
    done
}

impl Signals {
    /// Blocks SIGTERM and SIGHUP, which arrive on the descriptor from now on. Also blocks those
    /// that writing to a log can raise; [`Signals::next`] skips them.
    pub fn of_a_daemon() -> Result<Signals, Errno> {
        Signals::new(bit(libc::SIGTERM) | bit(libc::SIGHUP) | WRITING)
    }

    /// Blocks SIGTERM, which arrives on the descriptor from now on.
    pub fn of_termination() -> Result<Signals, Errno> {
        Signals::new(bit(libc::SIGTERM))
    }

    /// Blocks the signals whose bits are set.
    fn new(bits: usize) -> Result<Signals, Errno> {
        let set = set_of(bits);
        let before = mask(libc::SIG_BLOCK, &set);
        let (place, length) = (ptr::from_ref(&set) as usize, size_of::<Set>());
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
        mask(libc::SIG_SETMASK, &self.before);
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
