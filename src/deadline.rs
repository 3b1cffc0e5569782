//! How long may still be waited for a peer, and the waiting.

use crate::sys::{self, Errno, Poll, Time};

/// What is left of the time that a user allows for one peer, or no limit.
///
/// It is used up by waiting for that peer alone: the kernel takes the length of each wait off it
/// (`ppoll`), so a transfer that waits for two peers charges each for its own delays, and no
/// clock has to be read.
#[derive(Clone, Copy)]
pub struct Deadline(Option<Time>);

impl Deadline {
    /// A number of milliseconds; 0 is no limit, as on the command lines.
    pub fn from_milliseconds(ms: u32) -> Deadline {
        Deadline(if ms == 0 { None } else { Some(Time::from_milliseconds(ms)) })
    }

    /// Whether there is no limit: then a system call may as well block.
    pub fn is_never(&self) -> bool {
        self.0.is_none()
    }

    /// Waits until one of `events` is there, or the peer has hung up; 0 once nothing is left.
    pub fn wait(&mut self, fd: i32, events: i16) -> Result<usize, Errno> {
        let mut one = [Poll { fd, events, happened: 0 }];
        sys::poll(&mut one, self.0.as_mut())
    }

    /// Waits for a moment; `ETIMEDOUT` if less than that is left.
    #[inline(never)]
    pub fn pause(&mut self) -> Result<(), Errno> {
        /// 5 ms, in nanoseconds.
        const MOMENT: i64 = 5_000_000;
        if let Some(left) = &mut self.0 {
            left.nanoseconds -= MOMENT;
            if left.nanoseconds < 0 {
                left.nanoseconds += 1_000_000_000;
                left.seconds -= 1;
                if left.seconds < 0 {
                    return Err(Errno::TIMEDOUT);
                }
            }
        }
        let _ = sys::poll(&mut [], Some(&mut Time { seconds: 0, nanoseconds: MOMENT }));
        Ok(())
    }
}
