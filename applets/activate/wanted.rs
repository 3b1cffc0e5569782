//! The descriptors that the program gets: their identifiers, in the order of their numbers, and their
//! names.

use crate::cli::getopt::Stop;
use crate::client::Connection;
use crate::io::error::Error;
use crate::protocol::activation::split_suffix;
use crate::slice::{part, part_mut};
use crate::sys::Errno;
use crate::sys::memory::{List, Mapping};
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
}

/// The names in a value of `-n`.
fn split(names: &CStr) -> impl Iterator<Item = &[u8]> {
    names.to_bytes().split(|byte| *byte == b':')
}

/// Identifiers, each with NUL behind it.
pub type Listed = Mapping<u8>;

/// Requests the identifiers of all that a daemon holds, if a prefix is given.
pub fn list(daemon: &mut Connection, prefix: Option<&CStr>) -> Result<Listed, Error> {
    if prefix.is_none() {
        return Ok(Mapping::EMPTY);
    }
    let announced = daemon.request_list()?;
    let mut listed = Mapping::new_or_empty(announced.bytes);
    if listed.len() < announced.bytes {
        return Err(Errno::NOMEM.into());
    }
    let mut end = 0;
    daemon.list(announced, &mut |piece| {
        let start = end;
        end += piece.len();
        part_mut(&mut listed, start..end).copy_from_slice(piece);
        Ok(())
    })?;
    Ok(listed)
}

/// What the program gets. It takes little memory, since the tool may wait with it for a long time: apart
/// from the command line it consists of the identifiers that begin with the prefix.
pub struct Wanted<'a> {
    named: &'a Named,
    /// The identifiers that begin with the prefix and are not on the command line, in their order.
    listed: Listed,
    /// The length of the prefix.
    skipped: usize,
    /// The number of all identifiers.
    pub count: usize,
}

impl<'a> Wanted<'a> {
    /// The identifiers on the command line, and after them the listed ones that begin with the prefix.
    /// `ENOMEM` if there is no memory for them.
    pub fn new(
        named: &'a Named,
        prefix: Option<&CStr>,
        listed: &Listed,
    ) -> Result<Wanted<'a>, Errno> {
        let prefix = prefix.map(CStr::to_bytes);
        let is_wanted = |id: &&[u8]| {
            let begins = prefix.is_some_and(|prefix| id.starts_with(prefix));
            begins && !named.ids().any(|named| named == *id)
        };
        let found = || entries(listed).filter(is_wanted);
        let (mut count, mut bytes) = (0, 0);
        for id in found() {
            count += 1;
            bytes += id.len() + 1;
        }
        let skipped = prefix.map_or(0, <[u8]>::len);
        if count == 0 {
            return Ok(Wanted { named, listed: Mapping::EMPTY, skipped, count: named.count });
        }
        let (mut sorted, mut kept) = (List::new(count), Mapping::new_or_empty(bytes));
        if sorted.capacity() < count || kept.len() < bytes {
            return Err(Errno::NOMEM);
        }
        sorted.extend(found());
        sort(&mut sorted, skipped);
        let mut start = 0;
        for id in sorted.iter() {
            let end = start + id.len();
            part_mut(&mut kept, start..end).copy_from_slice(id);
            start = end + 1;
        }
        Ok(Wanted { named, listed: kept, skipped, count: named.count + count })
    }

    /// The identifiers, in the order of the numbers.
    pub fn identifiers(&self) -> impl Iterator<Item = &[u8]> {
        self.named.ids().chain(entries(&self.listed))
    }

    /// True if the command line has the identifier at this index earlier as well.
    pub fn is_repeated(&self, index: usize) -> bool {
        let mut before = self.named.ids().take(index);
        let this = self.named.ids().nth(index);
        this.is_some_and(|this| before.any(|other| other == this))
    }

    /// The names, in the order of the numbers. `ENOMEM` if there is no memory for them.
    pub fn names(&self) -> Result<List<&[u8]>, Errno> {
        let mut names = List::new(self.count);
        if names.capacity() < self.count {
            return Err(Errno::NOMEM);
        }
        match self.named.names {
            Some(given) => names.extend(split(given)),
            None => names.extend(self.named.ids()),
        }
        names.extend(entries(&self.listed).map(|id| split_suffix(part(id, self.skipped..)).0));
        Ok(names)
    }
}

impl Named {
    /// The identifiers.
    fn ids(&self) -> impl Iterator<Item = &[u8]> {
        self.strings.take(self.count).map(|id| id.to_bytes())
    }
}

/// The identifiers in a list.
fn entries(listed: &Listed) -> impl Iterator<Item = &[u8]> {
    listed.split(|byte| *byte == 0).filter(|id| !id.is_empty())
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
