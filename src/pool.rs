//! The static buffers, in memory that costs nothing until it is used: a window on a dump that is
//! received, and the composer of a frame that is made here.
//!
//! In the window frames lie one behind the other as they were received. The first byte stays free,
//! so that each frame can be sent on from where it lies: a frame of a set dump has one byte more in
//! front of its entries than one of a get dump, and its header moves down onto the last byte of the
//! frame before it, which has been sent by then.

use crate::message::{ENTRIES_MAX, ENTRY_MAX, FRAME_MAX, HEADER, Header, IDENTIFIER_MAX};
use crate::socket::{Error, Stream};
use crate::sys::text::Text;
use crate::sys::{self, CONTROL_HEADER, CONTROL_LENGTH_AT, CONTROL_MAX, Errno, hand_out::HandOut};
use crate::tai::Label;

/// Descriptors that a window has room for: more than the default limit of the C daemon, 1000.
pub const DESCRIPTORS: usize = 5 * ENTRIES_MAX;
/// Bytes of a window: enough for the largest entries, and were each in a frame of its own.
const BYTES: usize = 1 + DESCRIPTORS * (HEADER + ENTRY_MAX);
/// Words for control messages, were each descriptor in one of its own; behind these the room that the
/// kernel is offered for one more, and a length of zero.
const WORDS: usize = DESCRIPTORS * (CONTROL_HEADER + 1) + CONTROL_MAX + CONTROL_LENGTH_AT + 1;

/// A window on a dump: frames, and their descriptors in the control messages that they came in.
///
/// Both come in at the end and are checked frame by frame; when all that are here have been
/// checked, the window is wound back and they are sent frame by frame.
///
/// It is to be cleared before it is used. The small parts come first: what lies far from the
/// beginning takes longer instructions.
#[repr(C)]
pub struct Window {
    /// Where the next frame to be checked or sent begins.
    next: usize,
    /// Where what has been received ends.
    end: usize,
    /// The same for the control messages, behind which there is a length of zero.
    next_control: usize,
    end_control: usize,
    /// How many descriptors there are.
    descriptors: usize,
    control: [i32; WORDS],
    bytes: [u8; BYTES],
}

static POOL: HandOut<Window> = HandOut::new(Window {
    next: 0,
    end: 0,
    next_control: 0,
    end_control: 0,
    descriptors: 0,
    control: [0; WORDS],
    bytes: [0; BYTES],
});

/// The window, for the first who asks: a process makes one transfer.
pub fn window() -> &'static mut Window {
    // Through a register its parts are reached with shorter instructions.
    core::hint::black_box(POOL.take())
}

impl Window {
    /// Closes all descriptors and forgets all bytes.
    pub fn clear(&mut self) {
        self.rewind();
        while self.next_descriptors() > 0 {
            let end = self.next_control + CONTROL_HEADER + self.next_descriptors();
            for place in self.next_control + CONTROL_HEADER..end {
                if let Some(descriptor) = self.control.get(place) {
                    sys::close(*descriptor);
                }
            }
            self.next_control = end;
        }
        self.rewind();
        (self.end, self.end_control, self.descriptors) = (self.next, 0, 0);
        self.control[CONTROL_LENGTH_AT] = 0;
    }

    /// Forgets all, and leaves the descriptors open: somebody has taken them over.
    pub fn forget(&mut self) {
        // As if there were no control messages, nothing is found to be closed.
        self.control[CONTROL_LENGTH_AT] = 0;
        self.clear();
    }

    /// Begins again with the first frame.
    pub fn rewind(&mut self) {
        (self.next, self.next_control) = (1, 0);
    }

    /// What has been received from the next frame on.
    pub fn rest(&self) -> &[u8] {
        self.bytes.get(self.next..self.end).unwrap_or_default()
    }

    /// How many descriptors came with the next frame.
    #[inline(never)]
    pub fn next_descriptors(&self) -> usize {
        let control = self.control.get(self.next_control..).unwrap_or_default();
        sys::control_length(control).saturating_sub(CONTROL_HEADER)
    }

    /// How many descriptors the window holds.
    pub fn descriptors(&self) -> usize {
        self.descriptors
    }

    /// Receives one or more bytes, and the descriptors that come with them: until `length` bytes are
    /// there from the next frame on and none beyond, or, with `all`, whatever has come. If descriptors
    /// were lost the error is [`Error::CROWDED`], and the window has the others.
    pub fn receive(&mut self, stream: &mut Stream, length: usize, all: bool) -> Result<(), Error> {
        let end = if all { BYTES } else { self.next + length };
        let bytes = self.bytes.get_mut(self.end..end).ok_or(Error::INVALID)?;
        let end = self.end_control + CONTROL_MAX + CONTROL_LENGTH_AT + 1;
        let control = self.control.get_mut(self.end_control..end).ok_or(Error::INVALID)?;
        let received = stream.receive(bytes, &mut control[..CONTROL_MAX]);
        let words = sys::control_length(control);
        *control.get_mut(words + CONTROL_LENGTH_AT).ok_or(Error::INVALID)? = 0;
        self.end_control += words;
        self.descriptors += words.saturating_sub(CONTROL_HEADER);
        self.end += received?;
        Ok(())
    }

    /// Goes on to the frame behind the next one, which has that many bytes and descriptors.
    pub fn advance(&mut self, bytes: usize, descriptors: usize) {
        self.next += bytes;
        self.next_control += CONTROL_HEADER + descriptors;
    }

    /// The next frame, made a frame of a set dump where it lies, with its control message and how
    /// many entries it has. So it can be taken once.
    pub fn take(&mut self) -> Option<(&[u8], &[i32], usize)> {
        let Header { length, descriptors } = Header::parse(self.rest())?;
        let (at, control) = (self.next, self.next_control);
        self.advance(HEADER + length, descriptors);
        let control = self.control.get(control..self.next_control)?;
        let frame = self.bytes.get_mut(at - 1..self.next)?;
        Header { length: length + 1, descriptors }.write(frame)?;
        *frame.get_mut(HEADER)? = b'.';
        Some((frame, control, descriptors))
    }
}

/// A frame in the making, a request about an identifier or one of a set dump. What is large stands
/// last: the rest is reached with shorter instructions.
#[repr(C)]
pub struct Composer {
    length: usize,
    control_length: usize,
    control: [i32; CONTROL_MAX],
    bytes: [u8; FRAME_MAX + 1],
}

static COMPOSER: HandOut<Composer> = HandOut::new(Composer {
    length: 0,
    control_length: 0,
    control: [0; CONTROL_MAX],
    bytes: [0; FRAME_MAX + 1],
});

/// The composer, for the first who asks.
pub fn composer() -> &'static mut Composer {
    core::hint::black_box(COMPOSER.take())
}

impl Composer {
    /// Begins a frame, with the letter that says what it is for.
    pub fn begin(&mut self, letter: u8) {
        self.clear();
        self.byte(letter);
    }

    /// Begins a frame without such a letter.
    pub fn clear(&mut self) {
        (self.length, self.control_length) = (HEADER, CONTROL_HEADER);
    }

    /// Adds bytes, all of them or, if there is no room, none.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            for (to, from) in place.iter_mut().zip(bytes) {
                *to = *from;
            }
            self.length = end;
        }
    }

    /// Adds a number.
    pub fn number(&mut self, number: u32) {
        self.bytes(&number.to_be_bytes());
    }

    /// How many more bytes there is room for.
    pub fn room(&self) -> usize {
        self.bytes.len() - self.length
    }

    /// Adds a byte. No frame that these tools send is larger than the largest of a set dump.
    #[inline(never)]
    pub fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// Adds an expiry.
    pub fn expiry(&mut self, expiry: &Label) {
        for byte in expiry {
            self.byte(*byte);
        }
    }

    /// Adds an identifier, its length in front and NUL behind it. An empty one is `EINVAL`, one
    /// longer than [`IDENTIFIER_MAX`] is `ENAMETOOLONG`.
    pub fn identifier(&mut self, identifier: Text) -> Result<(), Errno> {
        let length = identifier.count();
        if length == 0 {
            return Err(Errno::INVAL);
        }
        if length > IDENTIFIER_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        self.byte(length as u8);
        for byte in identifier {
            self.byte(byte);
        }
        self.byte(0);
        Ok(())
    }

    /// Adds a descriptor, of which no frame takes more than [`ENTRIES_MAX`].
    pub fn descriptor(&mut self, fd: u32) {
        if let Some(place) = self.control.get_mut(self.control_length) {
            *place = fd as i32;
            self.control_length += 1;
        }
    }

    /// How many descriptors it has.
    pub fn descriptors(&self) -> usize {
        self.control_length - CONTROL_HEADER
    }

    /// The frame and its control message, which is empty if there are no descriptors.
    pub fn frame(&mut self) -> (&[u8], &[i32]) {
        let descriptors = self.descriptors();
        let header = Header { length: self.length - HEADER, descriptors };
        let _ = header.write(&mut self.bytes);
        if let Some(place) = self.control.first_chunk_mut() {
            *place = sys::control_header(descriptors);
        }
        let words = if descriptors == 0 { 0 } else { self.control_length };
        let control = self.control.get(..words).unwrap_or_default();
        (self.bytes.get(..self.length).unwrap_or_default(), control)
    }
}
