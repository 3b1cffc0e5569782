//! Requests: payloads into values and back.

use super::entry::{Entries, Entry, take_identifier};
use super::frame::{Frame, HEADER};
use crate::sys::Errno;

/// A request for the list of identifiers, as a whole frame.
pub const LIST: [u8; HEADER + 1] = [0, 0, 0, 1, 0, 0, b'L'];

/// A request for a dump, as a whole frame.
pub const GET_DUMP: [u8; HEADER + 1] = [0, 0, 0, 1, 0, 0, b'?'];

/// A request of a client. It comes without descriptors unless the comment names some.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// Hold a descriptor under an identifier that is not in use. One descriptor.
    Store(Entry<'a>),
    /// Stop holding the descriptor of this identifier.
    Delete(&'a [u8]),
    /// Send the descriptor of this identifier.
    Retrieve(&'a [u8]),
    /// Send the descriptor of this identifier, and stop holding it.
    RetrieveAndDelete(&'a [u8]),
    /// Send all identifiers.
    List,
    /// Send all entries and descriptors.
    GetDump,
    /// Open a set dump of this number of entries.
    OpenSetDump(u32),
    /// Hold these entries, in place of those with the same identifiers. One descriptor per entry.
    Entries(Entries<'a>),
}

impl<'a> Request<'a> {
    /// Parses a payload. `None` if it is not valid.
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

    /// The identifier that the request is about; empty if it is about several or none.
    pub fn identifier(&self) -> &'a [u8] {
        match self {
            Request::Store(entry) => entry.identifier,
            Request::Delete(identifier)
            | Request::Retrieve(identifier)
            | Request::RetrieveAndDelete(identifier) => identifier,
            Request::List | Request::GetDump | Request::OpenSetDump(_) | Request::Entries(_) => &[],
        }
    }

    /// The number of descriptors that come with the request.
    pub fn descriptors(&self) -> usize {
        match self {
            Request::Store(_) => 1,
            Request::Entries(entries) => entries.len(),
            Request::Delete(_) | Request::Retrieve(_) | Request::RetrieveAndDelete(_) => 0,
            Request::List | Request::GetDump | Request::OpenSetDump(_) => 0,
        }
    }
}

/// Parses an identifier that nothing follows.
fn identifier(bytes: &[u8]) -> Option<&[u8]> {
    match take_identifier(bytes)? {
        (identifier, []) => Some(identifier),
        _ => None,
    }
}

impl Frame {
    /// Begins a request with this letter.
    pub fn request(&mut self, letter: u8) -> &mut Frame {
        self.begin().byte(letter)
    }

    /// Builds a request to delete an identifier.
    pub fn delete(&mut self, identifier: &[u8]) -> Result<&[u8], Errno> {
        Ok(self.request(b'D').identifier(identifier)?.finish(0))
    }

    /// Builds a request to retrieve an identifier and, if `deletes`, to delete it.
    pub fn retrieve(&mut self, identifier: &[u8], deletes: bool) -> Result<&[u8], Errno> {
        Ok(self.request(b'R').byte(deletes.into()).identifier(identifier)?.finish(0))
    }
}

/// A request to open a set dump of this number of entries, as a whole frame.
pub fn open_set_dump(entries: u32) -> [u8; HEADER + 5] {
    let [a, b, c, d] = entries.to_be_bytes();
    [0, 0, 0, 5, 0, 0, b'!', a, b, c, d]
}
