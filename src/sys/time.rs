//! Clocks and `poll`.

use super::arch::word;
use super::errno::Errno;
use super::fd::BorrowedFd;
use core::ptr;

/// A point in time or a duration: the kernel's 64-bit `struct timespec`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Time {
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds, below 10^9 in every valid time.
    pub nanoseconds: i64,
}

impl Time {
    /// A duration of zero.
    pub const ZERO: Time = Time { seconds: 0, nanoseconds: 0 };

    /// A duration in milliseconds.
    pub fn from_milliseconds(ms: u32) -> Time {
        Time { seconds: (ms / 1000).into(), nanoseconds: (ms % 1000 * 1_000_000).into() }
    }

    /// The time `span` later.
    pub fn plus(self, span: Time) -> Time {
        let mut sum = Time {
            seconds: self.seconds.wrapping_add(span.seconds),
            nanoseconds: self.nanoseconds + span.nanoseconds,
        };
        if sum.nanoseconds >= 1_000_000_000 {
            sum.nanoseconds -= 1_000_000_000;
            sum.seconds = sum.seconds.wrapping_add(1);
        }
        sum
    }
}

/// Unix time, by the clock that users can set.
pub fn now() -> Result<Time, Errno> {
    clock(libc::CLOCK_REALTIME)
}

/// Milliseconds since the machine was started, modulo 2^32, by a clock that never jumps.
pub fn uptime() -> Result<u32, Errno> {
    let Time { seconds, nanoseconds } = clock(libc::CLOCK_MONOTONIC)?;
    Ok((seconds as u32).wrapping_mul(1000).wrapping_add(nanoseconds as u32 / 1_000_000))
}

/// Reads a clock. A sandbox can refuse the call: C programs read clocks without a system call, so a
/// list of allowed calls that was made for them may lack it.
fn clock(clock: i32) -> Result<Time, Errno> {
    let mut time = Time::ZERO;
    let place = ptr::from_mut(&mut time) as usize;
    // SAFETY: the kernel writes the time.
    unsafe { word::clock_gettime(clock as usize, place)? };
    Ok(time)
}

/// A descriptor with the events to wait for and those that occurred: the kernel's `struct pollfd`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Poll {
    /// The kernel skips a negative one.
    fd: i32,
    events: i16,
    happened: i16,
}

/// An event on a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i16)]
pub enum Event {
    /// There is something to read.
    Readable = libc::POLLIN,
    /// There is room to write.
    Writable = libc::POLLOUT,
}

impl Poll {
    /// Waits for nothing.
    pub const NOTHING: Poll = Poll { fd: -1, events: 0, happened: 0 };

    /// Waits for one event on a descriptor.
    pub fn on(fd: BorrowedFd, event: Event) -> Poll {
        Poll { fd: fd.number() as i32, events: event as i16, happened: 0 }
    }

    /// True if this waits for a descriptor.
    pub fn is_set(&self) -> bool {
        self.fd >= 0
    }

    /// Waits for a connection on a listener, or for its shutdown.
    pub fn on_listener(fd: BorrowedFd) -> Poll {
        let events = libc::POLLIN | libc::POLLRDHUP;
        Poll { fd: fd.number() as i32, events, happened: 0 }
    }

    /// Asks whether a number is an open descriptor: see [`Poll::is_closed`].
    pub fn on_number(number: u32) -> Poll {
        Poll { fd: number as i32, events: 0, happened: libc::POLLNVAL }
    }

    /// True if the number is no open descriptor. For [`Poll::on_number`] it is also true if [`poll`]
    /// failed.
    pub fn is_closed(&self) -> bool {
        self.happened & libc::POLLNVAL != 0
    }

    /// True if an event other than readability occurred.
    pub fn has_ended(&self) -> bool {
        self.happened & !libc::POLLIN != 0
    }

    /// Marks an event as occurred, so that the caller tries the operation.
    pub fn mark_ready(&mut self) {
        self.happened = libc::POLLIN;
    }

    /// True if the event occurred, the peer disconnected, or an error is pending.
    pub fn has_happened(&self) -> bool {
        self.happened != 0
    }
}

/// Waits for an event on one of the descriptors, at most `milliseconds`, or without a limit for `None`.
/// Returns the number of descriptors with an event; 0 if the time is over.
///
/// The kernel may write the remaining time back. It is ignored: some kernels do not write it, and with
/// the personality `STICKY_TIMEOUTS` none does.
pub fn poll(fds: &mut [Poll], milliseconds: Option<u32>) -> Result<usize, Errno> {
    let mut limit = milliseconds.map(Time::from_milliseconds);
    let limit = limit.as_mut().map_or(0, |time| ptr::from_mut(time) as usize);
    let (place, length) = (fds.as_mut_ptr() as usize, fds.len());
    // SAFETY: the kernel reads and writes the slice and the time.
    unsafe { word::ppoll(place, length, limit) }
}
