//! How long may still be waited for a peer, and the waiting.

use crate::fd::Fd;
use crate::sys::{self, Errno, Poll, Time};

/// What is left of the time that a user allows for one peer, or no limit.
///
/// It is used up by waiting for that peer alone: the kernel takes the length of each wait off it
/// (`ppoll`), so a transfer that waits for two peers charges each for its own delays, and no
/// clock has to be read.
#[derive(Clone, Copy)]
pub struct Deadline(Option<Time>);

impl Deadline {
    /// Waits for ever.
    pub const NEVER: Deadline = Deadline(None);

    /// A number of milliseconds; 0 is no limit, as on the command lines.
    pub fn from_milliseconds(ms: u32) -> Deadline {
        Deadline(if ms == 0 { None } else { Some(Time::from_milliseconds(ms)) })
    }

    /// Whether there is no limit: then a system call may as well block.
    pub fn is_never(&self) -> bool {
        self.0.is_none()
    }

    /// Waits until one of `events` is there, or the peer has hung up. `ETIMEDOUT` once nothing
    /// is left.
    pub fn wait(&mut self, fd: &Fd, events: i16) -> Result<(), Errno> {
        loop {
            let mut one = [Poll { fd: fd.number(), events, happened: 0 }];
            match sys::poll(&mut one, self.0.as_mut()) {
                Ok(0) => return Err(Errno::TIMEDOUT),
                Err(Errno::INTR) => {}
                done => return done.map(drop),
            }
        }
    }

    /// Connects, waiting for a place in a full backlog. No call but the connecting one itself
    /// can wait for that, so here the clock is read.
    pub fn connect(&mut self, fd: &Fd, path: &[u8]) -> Result<(), Errno> {
        let Some(left) = self.0 else { return sys::connect(fd.number(), path) };
        let before = sys::now(sys::MONOTONIC);
        sys::set_send_timeout(fd.number(), left)?;
        let done = sys::connect(fd.number(), path);
        let waited = sys::now(sys::MONOTONIC) - before;
        self.0 = Some(if waited < left { left - waited } else { Time::ZERO });
        if done == Err(Errno::AGAIN) { Err(Errno::TIMEDOUT) } else { done }
    }
}
