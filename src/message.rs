//! Frames and entries of the fd-holding protocol: bytes in, messages out, both directions. Never
//! touches a socket.
//!
//! The protocol is that of the s6 supervision suite (`s6-fdholderd`, versions 2.11 to 2.15), found
//! by reading and by running it. Every number is in network byte order.
//!
//! A connection is a Unix stream socket that carries frames both ways. A frame is a [`Header`] of
//! six bytes and a payload; its descriptors travel with its first byte.
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

use crate::sys::{DESCRIPTORS_PER_MESSAGE, Errno};

/// Bytes of a frame before its payload.
pub const HEADER: usize = 6;
/// The longest identifier, in bytes.
pub const IDENTIFIER_MAX: usize = 255;
/// Bytes of an entry besides its identifier: expiry, length, final NUL.
pub const ENTRY_EXTRA: usize = EXPIRY + 2;
/// The largest entry.
pub const ENTRY_MAX: usize = ENTRY_EXTRA + IDENTIFIER_MAX;
/// Bytes of an expiry.
pub const EXPIRY: usize = 12;
/// The largest number of entries in a frame: one message of the kernel's. s6 2.11 allows itself
/// 255, which the kernel refuses to send.
pub const ENTRIES_MAX: usize = DESCRIPTORS_PER_MESSAGE;
/// The largest frame of entries in a dump, header included.
pub const FRAME_MAX: usize = HEADER + ENTRIES_MAX * ENTRY_MAX;

/// What came is not what the protocol allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalid;

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
        let &[a, b, c, d, e, f] = bytes.first_chunk()?;
        Some(Header {
            length: u32::from_be_bytes([a, b, c, d]) as usize,
            descriptors: u16::from_be_bytes([e, f]).into(),
        })
    }

    /// The header on the wire.
    pub fn bytes(self) -> [u8; HEADER] {
        let [a, b, c, d] = (self.length as u32).to_be_bytes();
        let [e, f] = (self.descriptors as u16).to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// Whether this can be the head of a frame of entries in a dump: as many entries as
    /// descriptors, one at the least, and a length that so many entries can have.
    pub fn is_entries(self) -> bool {
        let n = self.descriptors;
        (1..=ENTRIES_MAX).contains(&n)
            && (n * (ENTRY_EXTRA + 1)..=n * ENTRY_MAX).contains(&self.length)
    }
}

/// What a daemon holds besides the descriptor itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// When it is to be forgotten, a TAI64N label.
    pub expiry: &'a [u8; EXPIRY],
    /// Its name: 1 to 255 bytes, none of them NUL.
    pub identifier: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads the entry at the start of `bytes`; the second value is what lies behind it.
    pub fn parse(bytes: &'a [u8]) -> Result<(Entry<'a>, &'a [u8]), Invalid> {
        let (expiry, rest) = bytes.split_first_chunk::<EXPIRY>().ok_or(Invalid)?;
        let nanoseconds = u32::from_be_bytes([expiry[8], expiry[9], expiry[10], expiry[11]]);
        if expiry[0] >= 0x80 || nanoseconds >= 1_000_000_000 {
            return Err(Invalid);
        }
        let (identifier, rest) = identifier(rest)?;
        Ok((Entry { expiry, identifier }, rest))
    }
}

/// Reads `idlen id NUL` at the start of `bytes`; the second value is what lies behind it.
pub fn identifier(bytes: &[u8]) -> Result<(&[u8], &[u8]), Invalid> {
    let (length, rest) = bytes.split_first().ok_or(Invalid)?;
    let (identifier, rest) = rest.split_at_checked(usize::from(*length)).ok_or(Invalid)?;
    let (nul, rest) = rest.split_first().ok_or(Invalid)?;
    if *nul != 0 || identifier.is_empty() || identifier.contains(&0) {
        return Err(Invalid);
    }
    Ok((identifier, rest))
}

/// Counts the entries that `payload` consists of, all of them valid and nothing behind them.
pub fn count_entries(mut payload: &[u8]) -> Result<usize, Invalid> {
    let mut n = 0;
    while !payload.is_empty() {
        (_, payload) = Entry::parse(payload)?;
        n += 1;
    }
    Ok(n)
}

/// A daemon's word on a request: the first byte of a reply. After 0, yes, comes what was asked
/// for; an error number stands alone.
pub fn status(payload: &[u8]) -> Result<Result<&[u8], Errno>, Invalid> {
    match payload {
        [0, rest @ ..] => Ok(Ok(rest)),
        [number] => Ok(Err(Errno::new((*number).into()))),
        _ => Err(Invalid),
    }
}

/// A number at the start of `bytes`; the second value is what lies behind it.
pub fn number(bytes: &[u8]) -> Result<(u32, &[u8]), Invalid> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Invalid)?;
    Ok((u32::from_be_bytes(*number), rest))
}
