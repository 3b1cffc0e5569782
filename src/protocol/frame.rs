//! Frames: parsing and writing headers, and building a frame.

use super::entry::ENTRY_MAX;
use super::tai::Label;
use crate::slice::{append, part};
use crate::sys::Errno;
use crate::sys::message::DESCRIPTORS_MAX;

/// Bytes of a header.
pub const HEADER: usize = 6;

/// The most entries in a frame: the descriptors of one message. s6 2.11 allows itself 255, which the
/// kernel refuses to send.
pub const ENTRIES_MAX: usize = DESCRIPTORS_MAX;

/// Bytes of the largest frame of entries in a dump, header included. In a set dump it has one byte
/// more, `.`.
pub const FRAME_MAX: usize = HEADER + ENTRIES_MAX * ENTRY_MAX;

/// The longest payload that the C programs and these tools accept, in bytes.
pub const PAYLOAD_MAX: usize = 1 << 28;

/// The header of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Bytes of the payload.
    pub length: usize,
    /// The number of descriptors that travel with the first byte.
    pub descriptors: usize,
}

impl Header {
    /// Parses the header at the start of `bytes`. `None` if it is not complete.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (descriptors, _) = rest.split_first_chunk()?;
        let length = u32::from_be_bytes(*length) as usize;
        Some(Header { length, descriptors: u16::from_be_bytes(*descriptors).into() })
    }

    /// Writes the header to the start of `bytes`. `None` if there is no room.
    pub fn write(self, bytes: &mut [u8]) -> Option<()> {
        let (length, rest) = bytes.split_first_chunk_mut()?;
        let (descriptors, _) = rest.split_first_chunk_mut()?;
        *length = (self.length as u32).to_be_bytes();
        *descriptors = (self.descriptors as u16).to_be_bytes();
        Some(())
    }

    /// True if this can be the header of a frame of entries: it has 1 to `most` descriptors, and at
    /// most as many bytes as that many entries can have. `most` is the number of entries left in the
    /// dump, or [`ENTRIES_MAX`] if that is less.
    pub fn is_entries(self, most: usize) -> bool {
        self.descriptors <= most && (1..=self.descriptors * ENTRY_MAX).contains(&self.length)
    }
}

/// A frame in the making: a request, or a part of a reply. All bytes zero are an unused frame.
///
/// Bytes that do not fit are left out. All frames of these tools fit; the largest is one of a set dump.
pub struct Frame {
    length: usize,
    bytes: [u8; FRAME_MAX + 1],
}

impl Frame {
    /// An unused frame.
    pub const EMPTY: Frame = Frame { length: 0, bytes: [0; FRAME_MAX + 1] };

    /// Begins a frame. Its header is written by [`Frame::finish`].
    pub fn begin(&mut self) -> &mut Frame {
        self.length = HEADER;
        self
    }

    /// The number of bytes that still fit.
    pub fn room(&self) -> usize {
        self.bytes.len() - self.length
    }

    /// Appends bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Frame {
        append(&mut self.bytes, &mut self.length, bytes);
        self
    }

    /// Appends a byte.
    pub fn byte(&mut self, byte: u8) -> &mut Frame {
        self.bytes(&[byte])
    }

    /// Appends a u32.
    pub fn number(&mut self, number: u32) -> &mut Frame {
        self.bytes(&number.to_be_bytes())
    }

    /// Appends the length of an identifier, the identifier and NUL. `EINVAL` if it is empty,
    /// `ENAMETOOLONG` if it is longer than 255 bytes.
    pub fn identifier(&mut self, identifier: &[u8]) -> Result<&mut Frame, Errno> {
        match u8::try_from(identifier.len()) {
            Ok(0) => Err(Errno::INVAL),
            Ok(length) => Ok(self.byte(length).bytes(identifier).byte(0)),
            Err(_) => Err(Errno::NAMETOOLONG),
        }
    }

    /// Appends an entry. The errors are those of [`Frame::identifier`].
    pub fn entry(&mut self, expiry: &Label, identifier: &[u8]) -> Result<&mut Frame, Errno> {
        self.bytes(expiry).identifier(identifier)
    }

    /// Writes the header of a frame with this number of descriptors, and returns the whole frame.
    pub fn finish(&mut self, descriptors: usize) -> &[u8] {
        let header = Header { length: self.length - HEADER, descriptors };
        let _ = header.write(&mut self.bytes);
        part(&self.bytes, ..self.length)
    }

    /// The bytes after the header: a part of a frame whose header has been sent.
    pub fn payload(&self) -> &[u8] {
        part(&self.bytes, HEADER..self.length)
    }
}
