//! Which descriptors the program is to get, and by which names.

use crate::cli::getopt::Stop;
use crate::client::Connection;
use crate::io::error::Error;
use crate::protocol::activation::without_suffix;
use crate::slice::{part, part_mut};
use crate::sys::Errno;
use crate::sys::memory::{List, Mapping};
use crate::sys::strings::Strings;
use core::ffi::CStr;

/// The identifiers on the command line.
pub struct Named {
    /// How many there are.
    pub count: usize,
    /// Theirs are the first of these.
    strings: Strings,
    /// Names for them, a `:` between them.
    names: Option<&'static CStr>,
}

impl Named {
    /// The identifiers in front of `--`, and the program behind it. It is wrong usage if there is no
    /// such thing, or not as many names as identifiers.
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

/// The names in a value.
fn split(names: &CStr) -> impl Iterator<Item = &[u8]> {
    names.to_bytes().split(|byte| *byte == b':')
}

/// What a daemon holds: identifiers, each with NUL behind it.
pub type Listed = Mapping<u8>;

/// Asks for what a daemon holds, if a prefix is given.
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
    daemon.list(announced, |piece| {
        let start = end;
        end += piece.len();
        part_mut(&mut listed, start..end).copy_from_slice(piece);
        Ok(())
    })?;
    Ok(listed)
}

/// What the program is to get.
pub struct Wanted<'a> {
    /// The identifiers, in the order of the numbers.
    pub identifiers: List<&'a [u8]>,
    /// The name of each.
    pub names: List<&'a [u8]>,
}

impl<'a> Wanted<'a> {
    /// Those on the command line, and behind them the listed ones that begin with a prefix. `ENOMEM` if
    /// there is no memory for them.
    pub fn new(
        named: &'a Named,
        prefix: Option<&CStr>,
        listed: &'a Listed,
    ) -> Result<Wanted<'a>, Errno> {
        let prefix = prefix.map(CStr::to_bytes);
        let listed = || listed.split(|byte| *byte == 0);
        let is_wanted = |id: &&[u8]| {
            let begins = prefix.is_some_and(|prefix| id.starts_with(prefix));
            begins && !id.is_empty() && !named.ids().any(|named| named == *id)
        };
        let count = named.count + listed().filter(is_wanted).count();
        let mut identifiers = List::new(count);
        let mut names = List::new(count);
        if identifiers.capacity().min(names.capacity()) < count {
            return Err(Errno::NOMEM);
        }
        identifiers.extend(named.ids());
        identifiers.extend(listed().filter(is_wanted));
        sort(part_mut(&mut identifiers, named.count..));
        match named.names {
            Some(given) => names.extend(split(given)),
            None => names.extend(named.ids()),
        }
        let skipped = prefix.map_or(0, <[u8]>::len);
        for id in part(&identifiers, named.count..) {
            names.push(without_suffix(part(id, skipped..)));
        }
        Ok(Wanted { identifiers, names })
    }
}

impl Named {
    /// The identifiers.
    fn ids(&self) -> impl Iterator<Item = &[u8]> {
        self.strings.take(self.count).map(|id| id.to_bytes())
    }
}

/// Sorts by the bytes, as Shell does it: short, and fast enough for more than a process can have open.
fn sort(all: &mut [&[u8]]) {
    let mut gap = all.len() / 2;
    while gap > 0 {
        for start in gap..all.len() {
            let mut at = start;
            while let Some([before, .., this]) = at.checked_sub(gap).and_then(|to| all.get(to..=at))
            {
                if before <= this {
                    break;
                }
                all.swap(at - gap, at);
                at -= gap;
            }
        }
        gap /= 2;
    }
}
