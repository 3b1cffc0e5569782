//! How long may still be waited for a peer, and the waiting.

use crate::sys::{self, Errno, Poll};

/// Milliseconds of a pause before something is tried again.
const MOMENT: u32 = 5;

/// How many exchanges there may be between two looks at the clock. One takes a millisecond at most:
/// it does not wait.
const UNWATCHED_MAX: u8 = 16;

/// What is left of the time that a user allows for one peer, or no limit.
///
/// It is used up by the clock, while it is the peer's *turn*: while this process has nothing else to
/// wait for. So a transfer that waits for two peers charges each for its own delays. The clock is
/// looked at after each wait, and after some exchanges without one, since a peer that never stops
/// sending is not waited for.
pub struct Deadline {
    /// Milliseconds that were left at the last look at the clock; nothing if there is no limit.
    left: Option<u32>,
    /// When that was, in milliseconds of uptime; nothing if it is not the peer's turn.
    since: Option<u32>,
    /// Exchanges since then.
    unwatched: u8,
}

impl Deadline {
    /// A number of milliseconds; 0 is no limit, as on the command lines.
    pub fn from_milliseconds(ms: u32) -> Deadline {
        // The clock cuts parts of milliseconds off: one more makes sure that it is never too early.
        let left = if ms == 0 { None } else { Some(ms.saturating_add(1)) };
        Deadline { left, since: None, unwatched: 0 }
    }

    /// Whether there is no limit: then a system call may as well block.
    pub fn is_never(&self) -> bool {
        self.left.is_none()
    }

    /// Begins the peer's turn, unless it has begun. An error if there is a limit and no clock.
    pub fn begin(&mut self) -> Result<(), Errno> {
        if self.left.is_some() && self.since.is_none() {
            self.since = Some(sys::uptime()?);
        }
        Ok(())
    }

    /// Ends the peer's turn; `ETIMEDOUT` if nothing is left.
    pub fn end(&mut self) -> Result<(), Errno> {
        let looked = self.look();
        self.since = None;
        looked
    }

    /// Looks at the clock; `ETIMEDOUT` if nothing is left.
    #[inline(never)]
    fn look(&mut self) -> Result<(), Errno> {
        let (Some(left), Some(since)) = (self.left, self.since) else { return Ok(()) };
        let now = sys::uptime()?;
        let left = left.saturating_sub(now.wrapping_sub(since));
        (self.left, self.since, self.unwatched) = (Some(left), Some(now), 0);
        if left == 0 { Err(Errno::TIMEDOUT) } else { Ok(()) }
    }

    /// Counts an exchange that is about to be made; `ETIMEDOUT` if nothing is left.
    pub fn count(&mut self) -> Result<(), Errno> {
        self.unwatched = self.unwatched.wrapping_add(1);
        if self.unwatched < UNWATCHED_MAX { Ok(()) } else { self.look() }
    }

    /// Waits until one of `events` is there, or the peer has hung up; `ETIMEDOUT` once nothing is
    /// left.
    pub fn wait(&mut self, fd: i32, events: i16) -> Result<(), Errno> {
        let ready = sys::poll(&mut [Poll { fd, events, happened: 0 }], self.left)?;
        self.look()?;
        if ready == 0 { Err(Errno::TIMEDOUT) } else { Ok(()) }
    }

    /// Waits for a moment; `ETIMEDOUT` once nothing is left.
    #[inline(never)]
    pub fn pause(&mut self) -> Result<(), Errno> {
        let moment = self.left.map_or(MOMENT, |left| left.min(MOMENT));
        sys::poll(&mut [], Some(moment))?;
        self.look()
    }
}
