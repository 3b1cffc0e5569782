//! The descriptors that the program gets: their identifiers, in the order of their numbers, and their
//! names.

use crate::cli::getopt::Stop;
use crate::client::Connection;
use crate::io::error::Error;
use crate::protocol::activation::split_suffix;
use crate::slice::{part, part_mut};
use crate::sys::Errno;
use crate::sys::memory::{List, Mapping, at};
use crate::sys::strings::Strings;
use core::ffi::CStr;

/// The identifiers on the command line.
pub struct Named {
    /// The number of identifiers.
    pub count: usize,
    /// The identifiers, and what follows them on the command line.
    strings: Strings,
    /// Their names, with a `:` between them.
    names: Option<&'static CStr>,
}

impl Named {
    /// Parses the identifiers before `--`, and the program after it. [`Stop`] if `--` or the program is
    /// missing, or if there are not as many names as identifiers.
    pub fn parse(
        operands: Strings,
        names: Option<&'static CStr>,
    ) -> Result<(Named, Strings), Stop> {
        let mut program = operands;
        let count = program.by_ref().take_while(|operand| *operand != c"--").count();
        program.first().ok_or(Stop)?;
        let is_named = names.is_none_or(|names| split(names).count() == count);
        if is_named { Ok((Named { count, strings: operands, names }, program)) } else { Err(Stop) }
    }

    /// The identifiers.
    fn ids(&self) -> impl Iterator<Item = &[u8]> {
        self.strings.take(self.count).map(|id| id.to_bytes())
    }
}

/// The names in a value of `-n`.
fn split(names: &CStr) -> impl Iterator<Item = &[u8]> {
    names.to_bytes().split(|byte| *byte == b':')
}

/// The identifiers of a daemon that begin with a prefix.
pub struct Listed {
    /// The prefix. Without one, there are no identifiers.
    prefix: &'static [u8],
    /// The identifiers, with a NUL behind each.
    bytes: Mapping<u8>,
    /// The number of these bytes; others may follow.
    length: usize,
}

impl Listed {
    /// Requests the identifiers of all that a daemon holds, if a prefix is given. It keeps those that begin
    /// with it. The others take no memory: each is overwritten by the next one.
    pub fn request(
        daemon: &mut Connection,
        prefix: Option<&'static CStr>,
    ) -> Result<Listed, Error> {
        let Some(prefix) = prefix.map(CStr::to_bytes) else {
            return Ok(Listed { prefix: &[], bytes: Mapping::EMPTY, length: 0 });
        };
        let announced = daemon.request_list()?;
        let mut bytes = Mapping::new_or_empty(announced.bytes);
        if bytes.len() < announced.bytes {
            return Err(Errno::NOMEM.into());
        }
        let (mut start, mut end) = (0, 0);
        daemon.list(announced, &mut |piece| {
            for byte in piece {
                *at(&mut bytes, end) = *byte;
                end += 1;
                if *byte == 0 {
                    if part(&bytes, start..end).starts_with(prefix) {
                        start = end;
                    }
                    end = start;
                }
            }
            Ok(())
        })?;
        Ok(Listed { prefix, bytes, length: start })
    }

    /// The identifiers.
    fn ids(&self) -> impl Iterator<Item = &[u8]> {
        part(&self.bytes, ..self.length).split(|byte| *byte == 0).filter(|id| !id.is_empty())
    }
}

/// What the program gets, in the order of the numbers. It takes little memory, since the tool may wait with
/// it for a long time.
pub struct Wanted<'a> {
    /// The identifiers.
    pub identifiers: List<&'a [u8]>,
    /// Their names.
    pub names: List<&'a [u8]>,
}

impl<'a> Wanted<'a> {
    /// The identifiers on the command line, and after them the listed ones that are not there. `ENOMEM` if
    /// there is no memory for them.
    pub fn new(named: &'a Named, listed: &'a Listed) -> Result<Wanted<'a>, Errno> {
        let most = named.count + listed.ids().count();
        let (mut identifiers, mut names) = (List::new(most), List::new(most));
        if identifiers.capacity().min(names.capacity()) < most {
            return Err(Errno::NOMEM);
        }
        identifiers.extend(named.ids());
        identifiers.extend(listed.ids().filter(|id| !named.ids().any(|named| named == *id)));
        let others = part_mut(&mut identifiers, named.count..);
        let skipped = listed.prefix.len();
        sort(others, skipped);
        match named.names {
            Some(given) => names.extend(split(given)),
            None => names.extend(named.ids()),
        }
        names.extend(others.iter().map(|id| split_suffix(part(id, skipped..)).0));
        Ok(Wanted { identifiers, names })
    }
}

/// Sorts identifiers by the names after the prefix, and equal names by their numbers. This is Shell's
/// algorithm: short, and fast enough for more identifiers than a process can have descriptors.
fn sort(all: &mut [&[u8]], skipped: usize) {
    let is_sorted = |before: &[u8], this: &[u8]| {
        let [(before, number), (this, other)] =
            [before, this].map(|id| split_suffix(part(id, skipped..)));
        // Without zeros in front a longer number is greater.
        (before, number.len(), number) <= (this, other.len(), other)
    };
    let mut gap = all.len() / 2;
    while gap > 0 {
        for start in gap..all.len() {
            let mut at = start;
            while let Some([before, .., this]) = at.checked_sub(gap).and_then(|to| all.get(to..=at))
            {
                if is_sorted(before, this) {
                    break;
                }
                all.swap(at - gap, at);
                at -= gap;
            }
        }
        gap /= 2;
    }
}
