//! Replies: how far one has to be read, and what it says.

use super::frame::{HEADER, Header, PAYLOAD_MAX};

/// Bytes of a reply that says no more than yes or no.
pub const STATUS: usize = HEADER + 1;

/// The most bytes that follow a favourable status and are read along with it.
pub const EXTRA_MAX: usize = 8;

/// The beginning of a reply, zeros where nothing has come yet.
pub type Head = [u8; STATUS + EXTRA_MAX];

/// What a favourable reply, one of status 0, has to be. An unfavourable one is its status alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Bytes behind the status, at most [`EXTRA_MAX`].
    pub extra: u8,
    /// Whether more may follow in the same frame.
    pub more: bool,
    /// Descriptors that come with it.
    pub descriptors: u8,
}

impl Expected {
    /// No more than the status.
    pub const STATUS: Expected = Expected { extra: 0, more: false, descriptors: 0 };
    /// One descriptor.
    pub const DESCRIPTOR: Expected = Expected { descriptors: 1, ..Expected::STATUS };
    /// How many frames of a set dump are expected.
    pub const FRAMES: Expected = Expected { extra: 4, ..Expected::STATUS };
    /// How many frames and entries a dump has.
    pub const DUMP: Expected = Expected { extra: 8, ..Expected::STATUS };
    /// How many identifiers there are, and the identifiers.
    pub const LIST: Expected = Expected { extra: 4, more: true, descriptors: 0 };
}

/// How many bytes of the reply are to be read, of which `have` have come. Nothing if it is not valid.
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
    // A status that has not come yet can be anything.
    let is_unfavourable = head[HEADER] != 0 || have == HEADER && can_be_unfavourable;
    let (is_valid, whole) = if is_unfavourable {
        (can_be_unfavourable, STATUS)
    } else {
        (can_be_favourable, favourable)
    };
    if is_valid && have <= whole { Some(whole) } else { None }
}

/// The number behind the status that has `before` bytes between them.
pub fn number(head: &Head, before: usize) -> u32 {
    let bytes = head.get(STATUS + before..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
