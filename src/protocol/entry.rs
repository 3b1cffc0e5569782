//! Entries: the expiry and the identifier of a held descriptor.

use super::tai::{self, Label};

/// The longest identifier, in bytes.
pub const IDENTIFIER_MAX: usize = 255;
/// Bytes of an expiry.
pub const EXPIRY: usize = size_of::<Label>();
/// The largest entry in bytes: expiry, length, identifier, NUL.
pub const ENTRY_MAX: usize = EXPIRY + 1 + IDENTIFIER_MAX + 1;

/// An entry: 12 bytes of expiry, one byte with the length of the identifier, the identifier, NUL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// The expiry, a valid TAI64N label.
    pub expiry: &'a Label,
    /// The identifier: 1 to 255 bytes without NUL.
    pub identifier: &'a [u8],
    /// The whole entry as on the wire.
    pub bytes: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Parses the entry at the start of `bytes`. The second value is the rest of `bytes`.
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

/// Parses a length, an identifier and NUL at the start of `bytes`. The second value is the rest.
pub fn take_identifier(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (identifier, behind) = rest.split_at_checked((*length).into())?;
    let (end, behind) = behind.split_first()?;
    let is_valid = *end == 0 && !identifier.is_empty() && identifier.iter().all(|byte| *byte != 0);
    if is_valid { Some((identifier, behind)) } else { None }
}

/// A sequence of valid entries, and the iterator over them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Entries<'a> {
    rest: &'a [u8],
    count: usize,
}

impl<'a> Entries<'a> {
    /// Parses a payload of entries. `None` if an entry is not valid, or bytes follow the last one.
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

/// [`Entries::parse`] has counted them.
impl ExactSizeIterator for Entries<'_> {
    fn len(&self) -> usize {
        self.count
    }
}
