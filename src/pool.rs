//! The static buffers: one window on a dump, in memory that costs nothing until it is used.
//!
//! Frames lie one behind the other as they were received. The first byte stays free, so that each
//! frame can be sent on from where it lies: a frame of a set dump has one byte more in front of
//! its entries than one of a get dump, and its header moves down onto the last byte of the frame
//! before it, which has been sent by then.

use crate::fd::Batch;
use crate::message::{ENTRIES_MAX, FRAME_MAX, HEADER, Header};
use crate::sys::{Control, hand_out::HandOut};

/// Full frames that a window has room for.
pub const FRAMES: usize = 5;
/// Descriptors that a window has room for: more than the default limit of the C daemon, 1000.
pub const DESCRIPTORS: usize = FRAMES * ENTRIES_MAX;
/// Bytes of a window. Behind the free byte there is room for the reply in front of the frames.
const BYTES: usize = 1 + 32 + FRAMES * FRAME_MAX;

/// A window on a dump: frames and their descriptors.
///
/// Bytes and descriptors come in at the end, are checked frame by frame, and leave at the start.
pub struct Window {
    bytes: [u8; BYTES],
    /// Where the first frame that is still here begins. This and the next two count from the
    /// byte behind the free one.
    start: usize,
    /// Where the bytes end that have been checked.
    checked: usize,
    /// Where the bytes end that have been received.
    end: usize,
    descriptors: Batch<DESCRIPTORS>,
    /// How many descriptors belonged to frames that have left.
    left: usize,
    /// How many belong to frames that have left or been checked.
    claimed: usize,
    control: Control,
}

static POOL: HandOut<Window> = HandOut::new(Window {
    bytes: [0; BYTES],
    start: 0,
    checked: 0,
    end: 0,
    descriptors: Batch::EMPTY,
    left: 0,
    claimed: 0,
    control: Control::EMPTY,
});

/// The window, for the first who asks: a process makes one transfer.
pub fn take() -> Option<&'static mut Window> {
    POOL.take()
}

/// Where bytes and descriptors can be received.
pub struct Inbox<'a> {
    /// Takes the bytes.
    pub bytes: &'a mut [u8],
    /// Takes the numbers of the descriptors.
    pub control: &'a mut Control,
    /// Takes the descriptors themselves.
    pub descriptors: &'a mut Batch<DESCRIPTORS>,
}

/// A frame of a set dump, ready to be sent.
pub struct Outgoing<'a> {
    /// Header and payload.
    pub bytes: &'a [u8],
    /// The descriptors.
    pub control: &'a Control,
    /// How many entries it has.
    pub entries: usize,
}

impl Window {
    fn range(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from + 1..to + 1).unwrap_or_default()
    }

    /// Received and not yet checked.
    pub fn unchecked(&self) -> &[u8] {
        self.range(self.checked, self.end)
    }

    /// Descriptors that came with bytes that are not yet checked.
    pub fn unclaimed(&self) -> usize {
        self.descriptors.len() - self.claimed
    }

    /// How many descriptors the window holds.
    pub fn descriptors(&self) -> usize {
        self.descriptors.len()
    }

    /// Whether there are checked frames in it.
    pub fn has_frames(&self) -> bool {
        self.start < self.checked
    }

    /// Free bytes behind what was received.
    pub fn space(&self) -> usize {
        BYTES - 1 - self.end
    }

    /// The place for up to `limit` more bytes and what comes with them.
    pub fn inbox(&mut self, limit: usize) -> Inbox<'_> {
        let free = self.bytes.get_mut(self.end + 1..).unwrap_or_default();
        let length = free.len().min(limit);
        Inbox {
            bytes: free.get_mut(..length).unwrap_or_default(),
            control: &mut self.control,
            descriptors: &mut self.descriptors,
        }
    }

    /// That many bytes were put into the inbox.
    pub fn received(&mut self, bytes: usize) {
        self.end += bytes;
    }

    /// The first `bytes` that were not checked are no frame of the dump, and done with.
    pub fn pass(&mut self, bytes: usize) {
        self.checked += bytes;
        self.start = self.checked;
    }

    /// The first `bytes` that were not checked are a valid frame, with that many descriptors.
    pub fn claim(&mut self, bytes: usize, descriptors: usize) {
        self.checked += bytes;
        self.claimed += descriptors;
    }

    /// The next checked frame, which leaves, as a frame of a set dump.
    pub fn outgoing(&mut self) -> Option<Outgoing<'_>> {
        let frame = self.range(self.start, self.checked);
        let Header { length, descriptors } = Header::parse(frame)?;
        let head = Header { length: length + 1, descriptors };
        let bytes = self.bytes.get_mut(self.start..self.start + HEADER + 1 + length)?;
        bytes.first_chunk_mut::<HEADER>()?.copy_from_slice(&head.bytes());
        *bytes.get_mut(HEADER)? = b'.';
        self.start += HEADER + length;
        self.control.set(self.descriptors.numbers(self.left, descriptors));
        self.left += descriptors;
        Some(Outgoing { bytes, control: &self.control, entries: descriptors })
    }

    /// Closes all descriptors and forgets all bytes.
    pub fn clear(&mut self) {
        (self.start, self.checked, self.end) = (0, 0, 0);
        (self.left, self.claimed) = (self.descriptors.len(), self.descriptors.len());
        self.recycle();
    }

    /// Closes the descriptors of the frames that have left and moves what remains to the start.
    pub fn recycle(&mut self) {
        self.descriptors.drop_first(self.left);
        self.claimed -= self.left;
        self.left = 0;
        let from = self.start;
        self.bytes.copy_within(from + 1..self.end + 1, 1);
        self.end -= from;
        self.checked -= from;
        self.start = 0;
    }
}
