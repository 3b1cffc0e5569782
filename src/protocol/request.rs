//! Requests: payloads into values and back.

use super::entry::{Entries, Entry, take_identifier};
use super::frame::{Frame, HEADER};
use crate::sys::Errno;

/// The request for a list, a whole frame.
pub const LIST: [u8; HEADER + 1] = [0, 0, 0, 1, 0, 0, b'L'];

/// The request for a dump, a whole frame.
pub const GET_DUMP: [u8; HEADER + 1] = [0, 0, 0, 1, 0, 0, b'?'];

/// What a client asks a daemon for. The comment names the descriptors that come with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// Hold a descriptor under an identifier that is not in use: 1 descriptor.
    Store(Entry<'a>),
    /// Hold nothing under the identifier any more.
    Delete(&'a [u8]),
    /// Give the descriptor of the identifier.
    Retrieve(&'a [u8]),
    /// The same, and hold it no more.
    RetrieveAndDelete(&'a [u8]),
    /// Name all identifiers.
    List,
    /// Give everything.
    GetDump,
    /// Expect that many entries.
    OpenSetDump(u32),
    /// Hold these, in place of what has their identifiers: 1 descriptor for each.
    Entries(Entries<'a>),
}

impl<'a> Request<'a> {
    /// Reads a payload: nothing if the protocol does not allow it.
    pub fn parse(payload: &'a [u8]) -> Option<Request<'a>> {
        let (letter, rest) = payload.split_first()?;
        Some(match (letter, rest) {
            (b'S', entry) => match Entry::parse(entry)? {
                (entry, []) => Request::Store(entry),
                _ => return None,
            },
            (b'D', rest) => Request::Delete(identifier(rest)?),
            (b'R', [0, rest @ ..]) => Request::Retrieve(identifier(rest)?),
            (b'R', [1, rest @ ..]) => Request::RetrieveAndDelete(identifier(rest)?),
            (b'L', []) => Request::List,
            (b'?', []) => Request::GetDump,
            (b'!', number) => Request::OpenSetDump(u32::from_be_bytes(number.try_into().ok()?)),
            (b'.', [_, ..]) => Request::Entries(Entries::parse(rest)?),
            _ => return None,
        })
    }

    /// The identifier that it is about; empty where it is about no one thing.
    pub fn identifier(&self) -> &'a [u8] {
        match self {
            Request::Store(entry) => entry.identifier,
            Request::Delete(identifier)
            | Request::Retrieve(identifier)
            | Request::RetrieveAndDelete(identifier) => identifier,
            _ => &[],
        }
    }

    /// How many descriptors come with it.
    pub fn descriptors(&self) -> usize {
        match self {
            Request::Store(_) => 1,
            Request::Entries(entries) => entries.len(),
            _ => 0,
        }
    }
}

/// An identifier and nothing behind it.
fn identifier(bytes: &[u8]) -> Option<&[u8]> {
    match take_identifier(bytes)? {
        (identifier, []) => Some(identifier),
        _ => None,
    }
}

impl Frame {
    /// Begins a request of that letter.
    pub fn request(&mut self, letter: u8) -> &mut Frame {
        self.begin().byte(letter)
    }

    /// Makes a request to delete what is held under an identifier.
    pub fn delete(&mut self, identifier: &[u8]) -> Result<&[u8], Errno> {
        Ok(self.request(b'D').identifier(identifier)?.finish(0))
    }

    /// Makes a request for the descriptor of an identifier, and to hold it no more if it `deletes`.
    pub fn retrieve(&mut self, identifier: &[u8], deletes: bool) -> Result<&[u8], Errno> {
        Ok(self.request(b'R').byte(deletes.into()).identifier(identifier)?.finish(0))
    }
}

/// A request to expect that many entries, a whole frame.
pub fn open_set_dump(entries: u32) -> [u8; HEADER + 5] {
    let [a, b, c, d] = entries.to_be_bytes();
    [0, 0, 0, 5, 0, 0, b'!', a, b, c, d]
}
