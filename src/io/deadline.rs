//! Deadlines: how long the process may still wait for a peer.

use crate::sys::Errno;
use crate::sys::fd::BorrowedFd;
use crate::sys::time::{self, Event, Poll};

/// Milliseconds between two attempts at something whose success the kernel does not announce.
const RETRY: u32 = 5;

/// The most exchanges between two readings of the clock. An exchange is a system call that moves bytes
/// without waiting; it takes at most a millisecond.
const UNWATCHED_MAX: u8 = 16;

/// How many descriptors can end a wait early: one, if the tool is built in that uses it.
const INTERRUPTS: usize = cfg!(feature = "activate") as usize;

/// The time that a user allows for one peer, or no limit.
///
/// The clock charges it during the peer's *turn* only: while this process waits for nothing else. So a
/// transfer charges each of its two peers for its own delays. The clock is read after each wait. It is
/// also read after `UNWATCHED_MAX` exchanges without a wait: a peer that never stops sending causes
/// none.
pub struct Deadline {
    /// Milliseconds that were left when the clock was last read; `None` for no limit.
    left: Option<u32>,
    /// When that was, in milliseconds of uptime; `None` if it is not the peer's turn.
    since: Option<u32>,
    /// The number of exchanges since then.
    unwatched: u8,
    /// Each ends every wait when it happens.
    interrupts: [Poll; INTERRUPTS],
}

impl Deadline {
    /// A deadline of `ms` milliseconds; 0 is no limit, as on the command lines.
    pub fn from_milliseconds(ms: u32) -> Deadline {
        // The clock rounds down to milliseconds. One more prevents an early end.
        let left = if ms == 0 { None } else { Some(ms.saturating_add(1)) };
        Deadline { left, since: None, unwatched: 0, interrupts: [Poll::NOTHING; INTERRUPTS] }
    }

    /// From now on a wait also ends when this descriptor is readable, with `EINTR`. For `None` nothing
    /// interrupts a wait.
    pub fn set_interrupt(&mut self, by: Option<BorrowedFd>) {
        let interrupt = by.map_or(Poll::NOTHING, |fd| Poll::on(fd, Event::Readable));
        self.interrupts = [interrupt; INTERRUPTS];
    }

    /// True if nothing ends a wait. A system call may then block.
    pub fn is_never(&self) -> bool {
        self.left.is_none() && !self.interrupts.iter().any(Poll::is_set)
    }

    /// Begins the peer's turn, unless it has begun. An error if there is a limit and the clock cannot
    /// be read.
    pub fn begin(&mut self) -> Result<(), Errno> {
        if self.left.is_some() && self.since.is_none() {
            self.since = Some(time::uptime()?);
        }
        Ok(())
    }

    /// Ends the peer's turn. `ETIMEDOUT` if no time is left.
    pub fn end(&mut self) -> Result<(), Errno> {
        let looked = self.look();
        self.since = None;
        looked
    }

    /// Reads the clock. `ETIMEDOUT` if no time is left.
    fn look(&mut self) -> Result<(), Errno> {
        let (Some(left), Some(since)) = (self.left, self.since) else { return Ok(()) };
        let now = time::uptime()?;
        let left = left.saturating_sub(now.wrapping_sub(since));
        (self.left, self.since, self.unwatched) = (Some(left), Some(now), 0);
        if left == 0 { Err(Errno::TIMEDOUT) } else { Ok(()) }
    }

    /// Counts an exchange. The caller is about to make it. `ETIMEDOUT` if no time is left.
    pub fn count(&mut self) -> Result<(), Errno> {
        self.unwatched = self.unwatched.wrapping_add(1);
        if self.unwatched < UNWATCHED_MAX { Ok(()) } else { self.look() }
    }

    /// Waits for an event on a descriptor, or for the peer to disconnect. `ETIMEDOUT` if no time is
    /// left, `EINTR` if the wait is interrupted.
    pub fn wait(&mut self, fd: BorrowedFd, event: Event) -> Result<(), Errno> {
        let ready = self.poll(&mut [Poll::on(fd, event)], self.left)?;
        self.look()?;
        if ready == 0 { Err(Errno::TIMEDOUT) } else { Ok(()) }
    }

    /// Waits for `RETRY`. `ETIMEDOUT` if no time is left, `EINTR` if the wait is interrupted.
    pub fn pause(&mut self) -> Result<(), Errno> {
        let pause = self.left.map_or(RETRY, |left| left.min(RETRY));
        self.poll(&mut [], Some(pause))?;
        self.look()
    }

    /// Waits for one event or none, at most `milliseconds`. Returns the number of events.
    #[inline(always)]
    fn poll(&self, event: &mut [Poll], milliseconds: Option<u32>) -> Result<usize, Errno> {
        let Some(interrupt) = self.interrupts.first() else {
            return time::poll(event, milliseconds);
        };
        let mut both = [event.first().copied().unwrap_or(Poll::NOTHING), *interrupt];
        let ready = time::poll(&mut both, milliseconds)?;
        if both[1].has_happened() { Err(Errno::INTR) } else { Ok(ready) }
    }
}
