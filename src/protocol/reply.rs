//! Replies: how many bytes to read, and what they say.

use super::frame::{HEADER, Header, PAYLOAD_MAX};

/// Bytes of a reply that consists of a status alone.
pub const STATUS: usize = HEADER + 1;

/// The most bytes after a status of 0 that are read together with it.
pub const EXTRA_MAX: usize = 8;

/// The start of a reply. Bytes that have not come yet are zeros.
pub type Head = [u8; STATUS + EXTRA_MAX];

/// The form of a favourable reply: one of status 0. Any other reply consists of a status alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Bytes after the status, at most [`EXTRA_MAX`].
    pub extra: u8,
    /// True if more bytes may follow in the same frame.
    pub more: bool,
    /// The number of descriptors.
    pub descriptors: u8,
}

impl Expected {
    /// A status alone.
    pub const STATUS: Expected = Expected { extra: 0, more: false, descriptors: 0 };
    /// A status with one descriptor.
    pub const DESCRIPTOR: Expected = Expected { descriptors: 1, ..Expected::STATUS };
    /// The number of frames that the daemon expects in a set dump.
    pub const FRAMES: Expected = Expected { extra: 4, ..Expected::STATUS };
    /// The numbers of frames and of entries in a dump.
    pub const DUMP: Expected = Expected { extra: 8, ..Expected::STATUS };
    /// The number of identifiers, and the identifiers.
    pub const LIST: Expected = Expected { extra: 4, more: true, descriptors: 0 };
}

/// The number of bytes of the reply to read, of which `have` have come. `None` if these are not valid.
pub fn length(head: &Head, have: usize, expected: Expected) -> Option<usize> {
    let Expected { extra, more, descriptors } = expected;
    let favourable = STATUS + usize::from(extra);
    if have < HEADER {
        return Some(favourable);
    }
    let header = Header::parse(head)?;
    let whole = HEADER + header.length;
    let has_length =
        whole == favourable || more && whole > favourable && header.length <= PAYLOAD_MAX;
    let can_be_favourable = has_length && header.descriptors == descriptors.into();
    let can_be_unfavourable = header == Header { length: 1, descriptors: 0 };
    // The status has not come yet: either form is possible.
    let is_unfavourable = head[HEADER] != 0 || have == HEADER && can_be_unfavourable;
    let (is_valid, whole) = if is_unfavourable {
        (can_be_unfavourable, STATUS)
    } else {
        (can_be_favourable, favourable)
    };
    if is_valid && have <= whole { Some(whole) } else { None }
}

/// The u32 that stands `before` bytes after the status.
pub fn number(head: &Head, before: usize) -> u32 {
    let bytes = head.get(STATUS + before..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
