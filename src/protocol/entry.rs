//! Entries: what a daemon holds besides the descriptor itself.

use super::tai::{self, Label};

/// The longest identifier, in bytes.
pub const IDENTIFIER_MAX: usize = 255;
/// Bytes of an expiry.
pub const EXPIRY: usize = size_of::<Label>();
/// The largest entry, in bytes: expiry, length, identifier, final NUL.
pub const ENTRY_MAX: usize = EXPIRY + 1 + IDENTIFIER_MAX + 1;

/// An entry: 12 bytes of expiry, the length of the identifier in one byte, the identifier, NUL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// When it expires, a valid TAI64N label.
    pub expiry: &'a Label,
    /// Its name: 1 to 255 bytes, none of them NUL.
    pub identifier: &'a [u8],
    /// All of it, as on the wire.
    pub bytes: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads the entry at the start of `bytes`; the second value is what lies behind it.
    pub fn parse(bytes: &'a [u8]) -> Option<(Entry<'a>, &'a [u8])> {
        let (expiry, rest) = bytes.split_first_chunk()?;
        let (identifier, behind) = take_identifier(rest)?;
        if !tai::is_valid(expiry) {
            return None;
        }
        let whole = bytes.get(..bytes.len() - behind.len())?;
        Some((Entry { expiry, identifier, bytes: whole }, behind))
    }
}

/// Takes a length, an identifier and NUL from the start of `bytes`; the second value is what lies
/// behind them.
pub fn take_identifier(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (identifier, behind) = rest.split_at_checked((*length).into())?;
    let (end, behind) = behind.split_first()?;
    let is_valid = *end == 0 && !identifier.is_empty() && identifier.iter().all(|byte| *byte != 0);
    if is_valid { Some((identifier, behind)) } else { None }
}

/// Entries one behind the other that have been checked: an iterator over them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Entries<'a> {
    rest: &'a [u8],
    count: usize,
}

impl<'a> Entries<'a> {
    /// The entries that a payload consists of; nothing if one of them is not valid, or anything lies
    /// behind the last one.
    pub fn parse(payload: &'a [u8]) -> Option<Entries<'a>> {
        let (mut rest, mut count) = (payload, 0);
        while !rest.is_empty() {
            (_, rest) = Entry::parse(rest)?;
            count += 1;
        }
        Some(Entries { rest: payload, count })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (entry, rest) = Entry::parse(self.rest)?;
        self.rest = rest;
        self.count -= 1;
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

/// They have been counted when they were checked.
impl ExactSizeIterator for Entries<'_> {
    fn len(&self) -> usize {
        self.count
    }
}
