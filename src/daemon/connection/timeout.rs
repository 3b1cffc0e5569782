//! Timeouts of a connection: what to wait for, how long, and when to disconnect.

use super::Connection;
use crate::daemon::{RETRY, SILENCE};
use crate::protocol::frame::HEADER;
use crate::sys::Errno;
use crate::sys::time::{Event, Poll};

impl Connection {
    /// Milliseconds since the client last sent or took anything.
    pub fn silence(&self, now: u32) -> u32 {
        now.wrapping_sub(self.last_active)
    }

    /// Milliseconds of silence after which the client is disconnected; `None` for no limit. In the
    /// middle of an operation it is `timeout`, unless that is 0. A daemon that `is_ending` allows
    /// `SILENCE` at most, and disconnects a client at once when all its requests have been answered.
    fn silence_limit(&self, timeout: u32, is_ending: bool) -> Option<u32> {
        let is_busy = self.is_busy();
        let timeout = Some(timeout).filter(|timeout| is_busy && *timeout > 0);
        if !is_ending {
            return timeout;
        }
        let silence = if is_busy || !self.has_sent { SILENCE } else { 0 };
        Some(timeout.map_or(silence, |timeout| timeout.min(silence)))
    }

    /// What to wait for, and for how many milliseconds at most. Marks a client that has been silent for
    /// too long to be disconnected. `bytes` is the connection's own buffer.
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
        if let Some(limit) = self.silence_limit(timeout, is_ending) {
            left = limit.saturating_sub(self.silence(now));
            if left == 0 {
                self.disconnect_reason =
                    Some(if self.is_busy() { Errno::TIMEDOUT } else { Errno::PIPE });
            }
        }
        // A whole request may be here, or one that is too long.
        if self.disconnect_reason.is_some()
            || !self.is_answering() && self.buffered >= self.whole(bytes)
        {
            return (Poll::NOTHING, 0);
        }
        if self.has_to_retry {
            return (Poll::NOTHING, left.min(RETRY));
        }
        let event = if self.is_answering() { Event::Writable } else { Event::Readable };
        let poll = self.fd().map_or(Poll::NOTHING, |fd| Poll::on(fd, event));
        (poll, left)
    }

    /// True if the descriptors of its requests may be closed to make room for those of others: the
    /// client has sent no more than a header with them, or is silent.
    pub fn may_lose_descriptors(&self, now: u32) -> bool {
        self.pending_descriptors() > 0 && (self.buffered <= HEADER || self.silence(now) >= SILENCE)
    }
}
