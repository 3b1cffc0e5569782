//! Frames and entries of the fd-holding protocol, out of bytes and into them. Never touches a socket.
//! What the protocol does not allow is `None`, or no entries.
//!
//! The protocol is that of the s6 supervision suite (`s6-fdholderd`, versions 2.11 to 2.15), found
//! by reading and by running it. Every number is in network byte order.
//!
//! A connection is a Unix stream socket that carries frames both ways. A frame is a [`Header`] of
//! six bytes and a payload; its descriptors travel with its first byte, in one control message.
//!
//! | operation | request payload | descriptors | reply payload | descriptors |
//! |---|---|---|---|---|
//! | store | `S` entry | 1 | errno | 0 |
//! | delete | `D` idlen id NUL | 0 | errno | 0 |
//! | retrieve | `R` flag idlen id NUL; flag 1 = delete as well | 0 | errno | 1 when it is 0 |
//! | list | `L` | 0 | errno alone, or 0, u32 n, n NUL-terminated identifiers | 0 |
//! | get dump | `?` | 0 | errno alone, or 0, u32 frames, u32 entries; then the frames of entries | one per entry |
//! | set dump | `!` u32 entries | 0 | errno alone, or 0, u32 frames | 0 |
//! | its frames | `.` entries | one per entry | `EAGAIN` = more to come, 0 = complete, else errno | 0 |

use crate::sys::DESCRIPTORS_PER_MESSAGE;
use crate::tai::{self, Label};

/// Bytes of a frame before its payload.
pub const HEADER: usize = 6;
/// Bytes of a reply that says no more than yes or no.
pub const STATUS: usize = HEADER + 1;
/// The longest identifier, in bytes.
pub const IDENTIFIER_MAX: usize = 255;
/// Bytes of an entry besides its identifier: expiry, length, final NUL.
pub const ENTRY_EXTRA: usize = EXPIRY + 2;
/// The largest entry.
pub const ENTRY_MAX: usize = ENTRY_EXTRA + IDENTIFIER_MAX;
/// Bytes of an expiry.
pub const EXPIRY: usize = size_of::<Label>();
/// The largest number of entries in a frame: one message of the kernel's. s6 2.11 allows itself
/// 255, which the kernel refuses to send.
pub const ENTRIES_MAX: usize = DESCRIPTORS_PER_MESSAGE;
/// The largest frame of entries in a dump, header included. In a set dump it has a byte more, `.`.
pub const FRAME_MAX: usize = HEADER + ENTRIES_MAX * ENTRY_MAX;

/// The most bytes of payload in a frame, whatever it is for.
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
    /// come, [`ENTRIES_MAX`] if not fewer: as many entries as descriptors, one at the least, and no
    /// more bytes than they can have.
    pub fn is_entries(self, most: usize) -> bool {
        (1..=self.descriptors * ENTRY_MAX).contains(&self.length) && self.descriptors <= most
    }
}

/// What a daemon holds besides the descriptor itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// When it is to be forgotten, a TAI64N label.
    pub expiry: &'a Label,
    /// Its name: 1 to 255 bytes, none of them NUL.
    pub identifier: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads the entry at the start of `bytes`; the second value is what lies behind it.
    pub fn parse(bytes: &'a [u8]) -> Option<(Entry<'a>, &'a [u8])> {
        let (expiry, rest) = bytes.split_first_chunk()?;
        let (length, behind) = rest.split_first()?;
        // Where the first NUL is the identifier has to end.
        let end = behind.iter().position(|byte| *byte == 0)?;
        if !tai::is_valid(expiry) || end != usize::from(*length) || end == 0 {
            return None;
        }
        Some((Entry { expiry, identifier: behind.get(..end)? }, behind.get(end + 1..)?))
    }
}

/// Counts the entries that `payload` consists of; none if one of them is not valid, or anything
/// lies behind them.
pub fn count_entries(mut payload: &[u8]) -> usize {
    let mut n = 0;
    while !payload.is_empty() {
        let Some((_, rest)) = Entry::parse(payload) else { return 0 };
        payload = rest;
        n += 1;
    }
    n
}

/// The request for a dump, a whole frame.
pub const GET_DUMP: [u8; HEADER + 1] = [0, 0, 0, 1, 0, 0, b'?'];

/// The request for a list, a whole frame.
pub const LIST: [u8; HEADER + 1] = [0, 0, 0, 1, 0, 0, b'L'];

/// The request that opens a set dump of that many entries, a whole frame.
pub fn set_dump(entries: u32) -> [u8; HEADER + 5] {
    let [a, b, c, d] = entries.to_be_bytes();
    [0, 0, 0, 5, 0, 0, b'!', a, b, c, d]
}

/// The most bytes that follow a favourable status and are read along with it.
pub const EXTRA_MAX: usize = 8;

/// What a favourable reply has to be.
#[derive(Clone, Copy)]
pub struct Expected {
    /// Bytes behind the status, at most [`EXTRA_MAX`].
    pub extra: usize,
    /// Whether more may follow.
    pub more: bool,
    /// Descriptors that come with it.
    pub descriptors: usize,
}

/// How many bytes are to be read of the reply of which `have` have come, zeros behind them: header,
/// status, and behind a favourable status, 0, what is expected. Nothing if it is not valid.
pub fn reply_length(
    bytes: &[u8; STATUS + EXTRA_MAX],
    have: usize,
    expected: Expected,
) -> Option<usize> {
    let whole = STATUS + expected.extra;
    if have < HEADER {
        return Some(whole);
    }
    let Header { length, descriptors } = Header::parse(bytes)?;
    // From here on no sum with it exceeds a word.
    if length > PAYLOAD_MAX {
        return None;
    }
    let status = bytes[HEADER];
    // A status that has not come yet can be anything.
    let is_favourable = status == 0 && (have > HEADER || length > 1);
    let whole = if is_favourable { whole } else { STATUS };
    let is_long_enough = if expected.more && is_favourable {
        HEADER + length >= whole
    } else {
        HEADER + length == whole
    };
    // Descriptors come with a favourable status only, and that may still be to come.
    let has_descriptors = if expected.descriptors == 0 || !is_favourable && have > HEADER {
        descriptors == 0
    } else if is_favourable {
        descriptors == expected.descriptors
    } else {
        descriptors <= expected.descriptors
    };
    if is_long_enough && has_descriptors && have <= whole { Some(whole) } else { None }
}

/// The number that lies at a place in a reply.
pub fn number(bytes: &[u8; STATUS + EXTRA_MAX], at: usize) -> usize {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes) as usize)
}
