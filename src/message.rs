//! Frames and entries of the fd-holding protocol: bytes in, messages out, both directions. Never
//! touches a socket. What the protocol does not allow is `EPROTO`.
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
/// Bytes of a reply that says no more than yes or no.
pub const STATUS: usize = HEADER + 1;
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

/// The head of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Bytes of payload.
    pub length: usize,
    /// Descriptors that came with the first byte.
    pub descriptors: usize,
}

impl Header {
    /// Reads a header.
    pub fn new([a, b, c, d, e, f]: [u8; HEADER]) -> Header {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        Header { length, descriptors: u16::from_be_bytes([e, f]).into() }
    }

    /// Reads the header at the start of `bytes`, if it is there whole.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        bytes.first_chunk().map(|header| Header::new(*header))
    }

    /// The header on the wire.
    pub fn bytes(self) -> [u8; HEADER] {
        let [a, b, c, d] = (self.length as u32).to_be_bytes();
        let [e, f] = (self.descriptors as u16).to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// Whether this can be the head of a frame of entries in a dump, of which `most` are due: as
    /// many entries as descriptors, one at the least, and no more bytes than they can have.
    pub fn is_entries(self, most: usize) -> bool {
        (1..=self.descriptors * ENTRY_MAX).contains(&self.length)
            && self.descriptors <= most
            && self.descriptors <= ENTRIES_MAX
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
    pub fn parse(bytes: &'a [u8]) -> Option<(Entry<'a>, &'a [u8])> {
        let (entry, rest) = bytes.split_at(entry_length(bytes)?);
        let (expiry, rest_of_entry) = entry.split_first_chunk()?;
        let (_, identifier) = rest_of_entry.split_first()?;
        let (_, identifier) = identifier.split_last()?;
        Some((Entry { expiry, identifier }, rest))
    }
}

/// The length of the entry at the start of `bytes`, if it is valid and whole.
pub fn entry_length(bytes: &[u8]) -> Option<usize> {
    let (head, rest) = bytes.split_first_chunk::<{ EXPIRY + 1 }>()?;
    let [first, .., a, b, c, d, length] = *head;
    // Where the first NUL is the identifier has to end.
    let end = rest.iter().position(|byte| *byte == 0)?;
    let valid = first < 0x80
        && u32::from_be_bytes([a, b, c, d]) < 1_000_000_000
        && end == usize::from(length)
        && end > 0;
    if valid { Some(ENTRY_EXTRA + end) } else { None }
}

/// Counts the entries that `payload` consists of; none if one of them is not valid, or anything
/// lies behind them.
pub fn count_entries(mut payload: &[u8]) -> usize {
    let mut n = 0;
    while !payload.is_empty() {
        let Some(length) = entry_length(payload) else { return 0 };
        payload = &payload[length..];
        n += 1;
    }
    n
}

/// The request for a dump, a whole frame.
pub const GET_DUMP: [u8; HEADER + 1] = [0, 0, 0, 1, 0, 0, b'?'];

/// The request that opens a set dump of that many entries, a whole frame.
pub fn set_dump(entries: u32) -> [u8; HEADER + 5] {
    let [a, b, c, d] = entries.to_be_bytes();
    [0, 0, 0, 5, 0, 0, b'!', a, b, c, d]
}

/// The most bytes that follow a favourable status.
pub const EXTRA_MAX: usize = 8;

/// Checks the `have` bytes of a reply that have come, zeros behind them: header, status, and behind a favourable
/// status `extra` bytes. The result is how many bytes it has in all; of an unfavourable one it is
/// the daemon's error.
pub fn reply(bytes: &[u8; STATUS + EXTRA_MAX], have: usize, extra: usize) -> Result<usize, Errno> {
    let whole = STATUS + extra;
    if have < HEADER {
        return Ok(whole);
    }
    let [header @ .., status, _, _, _, _, _, _, _, _] = *bytes;
    let Header { length, descriptors } = Header::new(header);
    let length = HEADER + length;
    // A status that has not come yet can be anything.
    let unfavourable = length == STATUS && (status != 0 || have == HEADER);
    let favourable = length == whole && status == 0;
    if descriptors != 0 || have > length || !favourable && !unfavourable {
        return Err(Errno::PROTO);
    }
    if status == 0 { Ok(whole) } else { Err(Errno::new(status.into())) }
}
