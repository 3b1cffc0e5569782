//! How long a connection may take: what is to be waited for, and when it is to be hung up on.

use super::Connection;
use crate::daemon::{MOMENT, SILENCE};
use crate::protocol::frame::HEADER;
use crate::sys::Errno;
use crate::sys::time::{Event, Poll};

impl Connection {
    /// For how many milliseconds it has sent and taken nothing.
    pub fn silence(&self, now: u32) -> u32 {
        now.wrapping_sub(self.last_active)
    }

    /// After how many milliseconds of silence it is to be hung up on: in the middle of an operation
    /// after the `timeout`, if that is not 0; by a daemon that `is_ending` after [`SILENCE`], or at once
    /// if it has asked for something and all of that is done.
    fn patience(&self, timeout: u32, is_ending: bool) -> Option<u32> {
        let is_busy = self.is_busy();
        let timeout = Some(timeout).filter(|timeout| is_busy && *timeout > 0);
        if !is_ending {
            return timeout;
        }
        let silence = if is_busy || !self.has_asked { SILENCE } else { 0 };
        Some(timeout.map_or(silence, |timeout| timeout.min(silence)))
    }

    /// What is to be waited for, and for how many milliseconds. A client that has been silent for too
    /// long is to be hung up on. `header` is that of the request whose beginning is kept.
    pub fn prepare(
        &mut self,
        bytes: &[u8],
        now: u32,
        timeout: u32,
        is_ending: bool,
    ) -> (Poll, u32) {
        if self.is_waiting {
            return (Poll::NOTHING, u32::MAX);
        }
        let mut left = u32::MAX;
        if let Some(patience) = self.patience(timeout, is_ending) {
            left = patience.saturating_sub(self.silence(now));
            if left == 0 {
                self.doom = Some(if self.is_busy() { Errno::TIMEDOUT } else { Errno::PIPE });
            }
        }
        // There may be a whole request, or what can never become one.
        if self.doom.is_some() || !self.is_answered() && self.have >= self.whole(bytes) {
            return (Poll::NOTHING, 0);
        }
        if self.has_to_retry {
            return (Poll::NOTHING, left.min(MOMENT));
        }
        let event = if self.is_answered() { Event::Writable } else { Event::Readable };
        let poll = self.fd().map_or(Poll::NOTHING, |fd| Poll::on(fd, event));
        (poll, left)
    }

    /// Whether descriptors that are kept for it have to make way for those of others: it has not even
    /// sent a header and a letter with them, or it is silent.
    pub fn has_to_make_way(&self, now: u32) -> bool {
        self.parked() > 0 && (self.have <= HEADER || self.silence(now) >= SILENCE)
    }
}
