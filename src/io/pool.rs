//! The static buffers, in memory that costs nothing until it is used: a window on a dump that is
//! received, and the frame that is made here.

use super::error::Error;
use super::socket::Stream;
use crate::cli::output::Buffer;
use crate::protocol::entry::{ENTRY_MAX, Entry};
use crate::protocol::frame::{ENTRIES_MAX, Frame, HEADER, Header};
use crate::slice::{part, part_mut};
use crate::sys::fd::{BorrowedFd, Fd, FdQueue};
use crate::sys::message::Received;

/// Descriptors that a window has room for: more than the default limit of the C daemon, 1000.
pub const DESCRIPTORS: usize = 5 * ENTRIES_MAX;
/// Bytes of a window: enough for the largest entries, and were each in a frame of its own.
const BYTES: usize = 1 + DESCRIPTORS * (HEADER + ENTRY_MAX);

/// The buffers of a process. They are all zeros at first, so they take no room in the file.
pub struct Pool {
    /// A window on a dump.
    pub window: Window,
    /// A frame in the making.
    pub frame: Frame,
    /// Text for standard output.
    pub answers: Buffer,
    /// Text for standard error.
    pub messages: Buffer,
}

impl Pool {
    /// Buffers that have never been used.
    pub const EMPTY: Pool = Pool {
        window: Window::EMPTY,
        frame: Frame::EMPTY,
        answers: [0; size_of::<Buffer>()],
        messages: [0; size_of::<Buffer>()],
    };
}

/// A window on a dump: frames one behind the other as they were received, and their descriptors.
///
/// They are checked frame by frame as they come in. When all that are here have been checked, the
/// window is wound back, and they are sent frame by frame.
///
/// The first byte stays free, so that each frame can be sent on from where it lies: a frame of a set
/// dump has one byte more in front of its entries than one of a get dump, and its header moves down
/// onto the last byte of the frame before it, which has been sent by then.
pub struct Window {
    /// Where the next frame to be checked or sent begins, and where what has been received ends.
    next: usize,
    end: usize,
    /// How many descriptors came with each message that brought any, and which message is the next.
    messages: [u8; DESCRIPTORS],
    next_message: usize,
    message_count: usize,
    descriptors: FdQueue<DESCRIPTORS>,
    received: Received,
    bytes: [u8; BYTES],
}

impl Window {
    /// A window to be cleared before it is used.
    const EMPTY: Window = Window {
        next: 0,
        end: 0,
        messages: [0; DESCRIPTORS],
        next_message: 0,
        message_count: 0,
        descriptors: FdQueue::EMPTY,
        received: Received::NOTHING,
        bytes: [0; BYTES],
    };

    /// Closes all descriptors and forgets all bytes.
    pub fn clear(&mut self) {
        self.descriptors.clear();
        self.rewind();
        (self.end, self.message_count) = (self.next, 0);
    }

    /// Begins again with the first frame.
    pub fn rewind(&mut self) {
        (self.next, self.next_message) = (1, 0);
    }

    /// What has been received from the next frame on.
    pub fn rest(&self) -> &[u8] {
        part(&self.bytes, self.next..self.end)
    }

    /// How many descriptors came with the next message.
    pub fn next_descriptors(&self) -> usize {
        let messages = part(&self.messages, ..self.message_count);
        messages.get(self.next_message).map_or(0, |count| (*count).into())
    }

    /// How many descriptors the window holds.
    pub fn descriptors(&self) -> usize {
        self.descriptors.len()
    }

    /// Receives one or more bytes, and the descriptors that come with them: until `length` bytes are
    /// there from the next frame on and none beyond, or, with `all`, whatever has come. If
    /// descriptors were lost the error is [`Error::Truncated`], and the window has the others.
    pub fn receive(&mut self, stream: &mut Stream, length: usize, all: bool) -> Result<(), Error> {
        let end = if all { BYTES } else { self.next + length };
        let received = &mut self.received;
        stream.receive(part_mut(&mut self.bytes, self.end..end), received)?;
        self.end += stream.length;
        let count = received.descriptors();
        if count > 0 {
            *self.messages.get_mut(self.message_count).ok_or(Error::Invalid)? = count as u8;
            self.message_count += 1;
            received.for_each(|fd| self.descriptors.push(fd));
        }
        if received.is_truncated { Err(Error::Truncated) } else { Ok(()) }
    }

    /// Goes on to the frame behind the next one, which has that many bytes.
    pub fn advance(&mut self, bytes: usize) {
        self.next += bytes;
        self.next_message += 1;
    }

    /// The next frame, made a frame of a set dump where it lies, and its descriptors. So it can be
    /// taken once.
    pub fn take(&mut self) -> Option<(&[u8], &[BorrowedFd<'_>])> {
        let Header { length, descriptors } = Header::parse(self.rest())?;
        let start = self.next - 1;
        self.advance(HEADER + length);
        let frame = part_mut(&mut self.bytes, start..self.next);
        Header { length: length + 1, descriptors }.write(frame)?;
        *frame.get_mut(HEADER)? = b'.';
        Some((frame, self.descriptors.lend(descriptors)))
    }

    /// Takes everything out, entry by entry, each with its descriptor.
    pub fn drain(&mut self) -> impl Iterator<Item = (Fd, Entry<'_>)> {
        let Window { next, end, bytes, descriptors, .. } = self;
        let mut frames = part(bytes, *next..*end);
        *next = *end;
        let mut entries: &[u8] = &[];
        core::iter::from_fn(move || {
            if entries.is_empty() {
                // Each frame has been checked: its payload consists of entries.
                let whole = HEADER + Header::parse(frames)?.length;
                entries = part(frames, HEADER..whole);
                frames = part(frames, whole..);
            }
            let (entry, rest) = Entry::parse(entries)?;
            entries = rest;
            descriptors.pop().map(|fd| (fd, entry))
        })
    }
}
