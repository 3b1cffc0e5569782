//! Frames: their headers, and a frame in the making.

use super::entry::ENTRY_MAX;
use super::tai::Label;
use crate::slice::part;
use crate::sys::Errno;
use crate::sys::message::DESCRIPTORS_MAX;

/// Bytes of a frame before its payload.
pub const HEADER: usize = 6;

/// The largest number of entries in a frame: one message of the kernel's. s6 2.11 allows itself 255,
/// which the kernel refuses to send.
pub const ENTRIES_MAX: usize = DESCRIPTORS_MAX;

/// The largest frame of entries in a dump, header included, in bytes. In a set dump it has a byte
/// more, `.`.
pub const FRAME_MAX: usize = HEADER + ENTRIES_MAX * ENTRY_MAX;

/// The longest payload that either side accepts, in bytes: the limit of the C programs.
pub const PAYLOAD_MAX: usize = 1 << 28;

/// The head of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Bytes of payload.
    pub length: usize,
    /// Descriptors that came with the first byte.
    pub descriptors: usize,
}

impl Header {
    /// Reads the header at the start of `bytes`, if it is there whole.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (descriptors, _) = rest.split_first_chunk()?;
        let length = u32::from_be_bytes(*length) as usize;
        Some(Header { length, descriptors: u16::from_be_bytes(*descriptors).into() })
    }

    /// Writes the header to the start of `bytes`, if there is room for it.
    pub fn write(self, bytes: &mut [u8]) -> Option<()> {
        let (length, rest) = bytes.split_first_chunk_mut()?;
        let (descriptors, _) = rest.split_first_chunk_mut()?;
        *length = (self.length as u32).to_be_bytes();
        *descriptors = (self.descriptors as u16).to_be_bytes();
        Some(())
    }

    /// Whether this can be the head of a frame of entries in a dump, of which `most` are still to
    /// come, [`ENTRIES_MAX`] if not fewer: as many entries as descriptors, at least one, and no more
    /// bytes than they can have.
    pub fn is_entries(self, most: usize) -> bool {
        self.descriptors <= most && (1..=self.descriptors * ENTRY_MAX).contains(&self.length)
    }
}

/// A frame in the making: a request, or a piece of a reply. All zeros are a frame to be begun.
///
/// What does not fit is left out whole. No frame that these tools make is larger than there is room
/// for: the largest is one of a set dump.
pub struct Frame {
    length: usize,
    bytes: [u8; FRAME_MAX + 1],
}

impl Frame {
    /// A frame to be begun.
    pub const EMPTY: Frame = Frame { length: 0, bytes: [0; FRAME_MAX + 1] };

    /// Begins a frame, with room for its header in front.
    pub fn begin(&mut self) -> &mut Frame {
        self.length = HEADER;
        self
    }

    /// How many more bytes there is room for.
    pub fn room(&self) -> usize {
        self.bytes.len() - self.length
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Frame {
        let place = self.bytes.get_mut(self.length..).and_then(|rest| rest.get_mut(..bytes.len()));
        if let Some(place) = place {
            place.copy_from_slice(bytes);
            self.length += bytes.len();
        }
        self
    }

    /// Adds a byte.
    pub fn byte(&mut self, byte: u8) -> &mut Frame {
        self.bytes(&[byte])
    }

    /// Adds a number.
    pub fn number(&mut self, number: u32) -> &mut Frame {
        self.bytes(&number.to_be_bytes())
    }

    /// Adds an identifier with its length in front and NUL behind it. An empty one is `EINVAL`, one
    /// longer than 255 bytes `ENAMETOOLONG`.
    pub fn identifier(&mut self, identifier: &[u8]) -> Result<&mut Frame, Errno> {
        match u8::try_from(identifier.len()) {
            Ok(0) => Err(Errno::INVAL),
            Ok(length) => Ok(self.byte(length).bytes(identifier).byte(0)),
            Err(_) => Err(Errno::NAMETOOLONG),
        }
    }

    /// Adds an entry. The errors are those of [`Frame::identifier`].
    pub fn entry(&mut self, expiry: &Label, identifier: &[u8]) -> Result<&mut Frame, Errno> {
        self.bytes(expiry).identifier(identifier)
    }

    /// Ends the frame, which so many descriptors go with, and gives it whole.
    pub fn finish(&mut self, descriptors: usize) -> &[u8] {
        let header = Header { length: self.length - HEADER, descriptors };
        let _ = header.write(&mut self.bytes);
        part(&self.bytes, ..self.length)
    }

    /// What has been added behind the header: a piece of a frame whose header was sent before.
    pub fn payload(&self) -> &[u8] {
        part(&self.bytes, HEADER..self.length)
    }
}
