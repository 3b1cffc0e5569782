//! The static buffers: a window on a received dump, one frame for requests and replies, and two buffers
//! for output. They take no memory until they are used.

use super::error::Error;
use super::socket::Stream;
use crate::cli::output::Buffer;
use crate::protocol::entry::{ENTRY_MAX, Entry};
use crate::protocol::frame::{ENTRIES_MAX, Frame, HEADER, Header};
use crate::slice::{part, part_mut};
use crate::sys::fd::{BorrowedFd, Fd, FdQueue};
use crate::sys::message::Received;

/// The most descriptors in a window: more than the default limit of the C daemon, 1000.
pub const DESCRIPTORS: usize = 5 * ENTRIES_MAX;
/// Bytes of a window: enough even if each entry has the largest size and a frame of its own.
const BYTES: usize = 1 + DESCRIPTORS * (HEADER + ENTRY_MAX);

/// The buffers of a process. They are all zeros at first, so they take no space in the program file.
pub struct Pool {
    /// A window on a dump.
    pub window: Window,
    /// A frame in the making.
    pub frame: Frame,
    /// The buffer for standard output.
    pub answers: Buffer,
    /// The buffer for standard error.
    pub messages: Buffer,
}

impl Pool {
    /// Unused buffers.
    pub const EMPTY: Pool = Pool {
        window: Window::EMPTY,
        frame: Frame::EMPTY,
        answers: [0; size_of::<Buffer>()],
        messages: [0; size_of::<Buffer>()],
    };
}

/// A window on a dump: frames as they were received, one after the other, and their descriptors.
///
/// [`Window::receive`] and [`Window::advance`] go through the frames as they come in and are checked.
/// Then [`Window::rewind`] goes back to the first, and [`Window::take`] goes through them again to send
/// them.
///
/// The first byte stays free, so that each frame can be sent without a copy. A frame of a set dump has
/// one byte more before its entries than a frame of a get dump. So its header moves down by one byte,
/// onto the last byte of the frame before it, which has been sent by then.
pub struct Window {
    /// Where the next frame begins, which is to be checked or sent.
    next: usize,
    /// Where the received bytes end.
    end: usize,
    /// The number of descriptors of each received message that had any.
    messages: [u8; DESCRIPTORS],
    /// The index in `messages` for the next frame.
    next_message: usize,
    /// The number of messages in `messages`.
    message_count: usize,
    descriptors: FdQueue<DESCRIPTORS>,
    received: Received,
    bytes: [u8; BYTES],
}

impl Window {
    /// An unused window. [`Window::clear`] prepares it.
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

    /// Closes all descriptors and discards all bytes.
    pub fn clear(&mut self) {
        self.descriptors.clear();
        self.rewind();
        (self.end, self.message_count) = (self.next, 0);
    }

    /// Goes back to the first frame.
    pub fn rewind(&mut self) {
        (self.next, self.next_message) = (1, 0);
    }

    /// The received bytes from the next frame on.
    pub fn rest(&self) -> &[u8] {
        part(&self.bytes, self.next..self.end)
    }

    /// The number of descriptors that came with the next frame.
    pub fn next_descriptors(&self) -> usize {
        let messages = part(&self.messages, ..self.message_count);
        messages.get(self.next_message).map_or(0, |count| (*count).into())
    }

    /// The number of descriptors in the window that have not been taken or lent.
    pub fn descriptors(&self) -> usize {
        self.descriptors.len()
    }

    /// Receives at least one byte, and the descriptors that come with it. The next frame then has at
    /// most `length` bytes; with `all` the window takes every byte that has come. [`Error::Truncated`]
    /// if descriptors were lost; the window keeps the others.
    pub fn receive(&mut self, stream: &mut Stream, length: usize, all: bool) -> Result<(), Error> {
        let end = if all { BYTES } else { self.next + length };
        let received = &mut self.received;
        stream.receive(part_mut(&mut self.bytes, self.end..end), received)?;
        self.end += stream.length;
        let count = received.descriptors();
        if count > 0 {
            *self.messages.get_mut(self.message_count).ok_or(Error::Protocol)? = count as u8;
            self.message_count += 1;
            received.for_each(|fd| self.descriptors.push(fd));
        }
        if received.is_truncated { Err(Error::Truncated) } else { Ok(()) }
    }

    /// Goes to the frame after the next one, which has `bytes` bytes.
    pub fn advance(&mut self, bytes: usize) {
        self.next += bytes;
        self.next_message += 1;
    }

    /// Turns the next frame into a frame of a set dump, in place, and returns it with its descriptors.
    /// Each frame can be taken once.
    pub fn take(&mut self) -> Option<(&[u8], &[BorrowedFd<'_>])> {
        let Header { length, descriptors } = Header::parse(self.rest())?;
        let start = self.next - 1;
        self.advance(HEADER + length);
        let frame = part_mut(&mut self.bytes, start..self.next);
        Header { length: length + 1, descriptors }.write(frame)?;
        *frame.get_mut(HEADER)? = b'.';
        Some((frame, self.descriptors.lend(descriptors)))
    }

    /// Removes all entries from the window, one by one, each with its descriptor.
    pub fn drain(&mut self) -> impl Iterator<Item = (Fd, Entry<'_>)> {
        let Window { next, end, bytes, descriptors, .. } = self;
        let mut frames = part(bytes, *next..*end);
        *next = *end;
        let mut entries: &[u8] = &[];
        core::iter::from_fn(move || {
            if entries.is_empty() {
                // The frame has been checked: its payload consists of entries.
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
