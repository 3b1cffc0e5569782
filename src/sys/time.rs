//! Clocks, and waiting.

use super::arch::word;
use super::errno::Errno;
use super::fd::BorrowedFd;
use core::ptr;

/// A time or a span of time: the kernel's 64-bit `struct timespec`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Time {
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds beyond them, below 10^9 in all valid times.
    pub nanoseconds: i64,
}

impl Time {
    /// None at all.
    pub const ZERO: Time = Time { seconds: 0, nanoseconds: 0 };

    /// A span in milliseconds.
    pub fn from_milliseconds(ms: u32) -> Time {
        Time { seconds: (ms / 1000).into(), nanoseconds: (ms % 1000 * 1_000_000).into() }
    }

    /// That much later.
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

/// The clock that people read.
pub fn now() -> Result<Time, Errno> {
    clock(libc::CLOCK_REALTIME)
}

/// The clock that never jumps: milliseconds since the machine was started, modulo 2^32.
pub fn uptime() -> Result<u32, Errno> {
    let Time { seconds, nanoseconds } = clock(libc::CLOCK_MONOTONIC)?;
    Ok((seconds as u32).wrapping_mul(1000).wrapping_add(nanoseconds as u32 / 1_000_000))
}

/// Reads a clock. A sandbox may refuse that: C programs read clocks without a system call, so a list
/// of calls that was written for those can lack it.
fn clock(clock: i32) -> Result<Time, Errno> {
    let mut time = Time::ZERO;
    let place = ptr::from_mut(&mut time) as usize;
    // SAFETY: the kernel writes the time.
    unsafe { word::clock_gettime(clock as usize, place)? };
    Ok(time)
}

/// What to wait for on a descriptor, and what came: the kernel's `struct pollfd`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Poll {
    /// A negative one is passed over.
    fd: i32,
    events: i16,
    happened: i16,
}

/// What can happen on a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i16)]
pub enum Event {
    /// There is something to read.
    Readable = libc::POLLIN,
    /// There is room to write.
    Writable = libc::POLLOUT,
}

impl Poll {
    /// Nothing to wait for.
    pub const NOTHING: Poll = Poll { fd: -1, events: 0, happened: 0 };

    /// An event on a descriptor.
    pub fn on(fd: BorrowedFd, event: Event) -> Poll {
        Poll { fd: fd.number() as i32, events: event as i16, happened: 0 }
    }

    /// Whether there is a descriptor to wait for.
    pub fn is_something(&self) -> bool {
        self.fd >= 0
    }

    /// The same for a listener, on which it also counts that it has been shut down.
    pub fn on_listener(fd: BorrowedFd) -> Poll {
        let events = libc::POLLIN | libc::POLLRDHUP;
        Poll { fd: fd.number() as i32, events, happened: 0 }
    }

    /// A number that may be no descriptor at all: see [`Poll::is_closed`].
    pub fn on_number(number: u32) -> Poll {
        Poll { fd: number as i32, events: 0, happened: libc::POLLNVAL }
    }

    /// Whether there is no such descriptor; so it is if nobody has looked.
    pub fn is_closed(&self) -> bool {
        self.happened & libc::POLLNVAL != 0
    }

    /// Whether anything has happened but that there is something to read.
    pub fn has_ended(&self) -> bool {
        self.happened & !libc::POLLIN != 0
    }

    /// As if everything had happened: what was waited for is to be tried.
    pub fn pretend(&mut self) {
        self.happened = libc::POLLIN;
    }

    /// Whether the event has come, or the peer has hung up, or there is an error to be read.
    pub fn has_happened(&self) -> bool {
        self.happened != 0
    }
}

/// Waits until something happens on one of the descriptors, for that many milliseconds at most if
/// there is a limit. The result is the number of descriptors on which something happened.
///
/// What the kernel writes back of the time is of no use: not every kernel does, nor for every process
/// (`STICKY_TIMEOUTS`).
pub fn poll(fds: &mut [Poll], milliseconds: Option<u32>) -> Result<usize, Errno> {
    let mut limit = milliseconds.map(Time::from_milliseconds);
    let limit = limit.as_mut().map_or(0, |time| ptr::from_mut(time) as usize);
    let (place, length) = (fds.as_mut_ptr() as usize, fds.len());
    // SAFETY: the kernel reads and writes the slice and the time.
    unsafe { word::ppoll(place, length, limit) }
}
