//! The static buffers: one window on a dump, in memory that costs nothing until it is used.
//!
//! Frames lie one behind the other as they were received. The first byte stays free, so that each
//! frame can be sent on from where it lies: a frame of a set dump has one byte more in front of
//! its entries than one of a get dump, and its header moves down onto the last byte of the frame
//! before it, which has been sent by then.

use crate::fd::Batch;
use crate::message::{ENTRIES_MAX, ENTRY_MAX, HEADER};
use crate::socket::{Error, Stream};
use crate::sys::{Control, hand_out::HandOut};

/// Descriptors that a window has room for: more than the default limit of the C daemon, 1000.
pub const DESCRIPTORS: usize = 5 * ENTRIES_MAX;
/// Bytes of a window: enough for the largest entries, and were each in a frame of its own.
const BYTES: usize = 1 + DESCRIPTORS * (HEADER + ENTRY_MAX);

/// A window on a dump: frames and their descriptors.
///
/// Bytes and descriptors come in at the end and are checked frame by frame; when all that are here
/// have been checked they are sent frame by frame.
///
/// The positions count from the byte behind the free one: where the next frame to be sent begins,
/// where what has been checked ends, and where what has been received ends.
pub struct Window {
    bytes: [u8; BYTES],
    sent: usize,
    checked: usize,
    end: usize,
    descriptors: Batch<DESCRIPTORS>,
    /// How many descriptors belong to frames that have been sent.
    sent_descriptors: usize,
    /// How many belong to frames that have been checked.
    checked_descriptors: usize,
    control: Control,
}

static POOL: HandOut<Window> = HandOut::new(Window {
    bytes: [0; BYTES],
    sent: 0,
    checked: 0,
    end: 0,
    descriptors: Batch::EMPTY,
    sent_descriptors: 0,
    checked_descriptors: 0,
    control: Control::EMPTY,
});

/// The window, for the first who asks: a process makes one transfer.
pub fn take() -> &'static mut Window {
    POOL.take()
}

impl Window {
    /// Closes all descriptors and forgets all bytes.
    pub fn clear(&mut self) {
        (self.sent, self.checked, self.end) = (0, 0, 0);
        (self.sent_descriptors, self.checked_descriptors) = (0, 0);
        self.descriptors.clear();
    }

    /// Received and not yet checked.
    pub fn unchecked(&self) -> &[u8] {
        &self.bytes[1 + self.checked..1 + self.end]
    }

    /// Descriptors that came with bytes that are not yet checked.
    pub fn unchecked_descriptors(&self) -> usize {
        self.descriptors.len() - self.checked_descriptors
    }

    /// How many descriptors the window holds.
    pub fn descriptors(&self) -> usize {
        self.descriptors.len()
    }

    /// Receives one or more bytes, `limit` at the most, and the descriptors that come with them.
    pub fn receive(&mut self, stream: &mut Stream, limit: usize) -> Result<(), Error> {
        let free = &mut self.bytes[1 + self.end..];
        let length = free.len().min(limit);
        let place = &mut free[..length];
        let received = stream.receive(place, Some(&mut self.control));
        let room = self.descriptors.take_over(self.control.take());
        self.end += received?;
        if room { Ok(()) } else { Err(Error::INVALID) }
    }

    /// The first `bytes` that were not checked are a valid frame, with that many descriptors.
    pub fn claim(&mut self, bytes: usize, descriptors: usize) {
        self.checked += bytes;
        self.checked_descriptors += descriptors;
    }

    /// The next checked frame, as a frame of a set dump, with its descriptors and how many
    /// entries it has.
    pub fn next(&mut self) -> Option<(&[u8], &Control, usize)> {
        let place = &mut self.bytes[self.sent..1 + self.checked];
        let [_, a, b, c, d, e, f] = *place.first_chunk()?;
        let length = u32::from_be_bytes([a, b, c, d]) + 1;
        let descriptors = usize::from(u16::from_be_bytes([e, f]));
        *place.first_chunk_mut()? = length.to_be_bytes();
        place[4..HEADER + 1].copy_from_slice(&[e, f, b'.']);
        let length = length as usize;
        self.control.set(self.descriptors.numbers(self.sent_descriptors, descriptors));
        self.sent_descriptors += descriptors;
        self.sent += HEADER + length - 1;
        Some((&place[..HEADER + length], &self.control, descriptors))
    }
}
