//! What requests mean: a payload and its descriptors in, a changed table and an answer out. Never
//! touches a socket.

use super::gate::{Access, Gate};
use super::log::Log;
use super::rules::Identity;
use super::table::Table;
use crate::fd::Fd;
use crate::message::{self, ENTRIES_MAX, EXPIRY, Entry};
use crate::sys::Errno;
use crate::text::text;

/// The descriptors that came with a request; what nobody takes is closed.
pub struct Descriptors<'a>(pub core::slice::IterMut<'a, i32>);

impl Descriptors<'_> {
    /// Takes the first one.
    #[inline(never)]
    pub fn take(&mut self) -> Option<Fd> {
        self.0.next().and_then(|number| Fd::own(*number as usize))
    }
}

impl Drop for Descriptors<'_> {
    fn drop(&mut self) {
        while self.take().is_some() {}
    }
}

/// Who asks, and what has been agreed on so far.
pub struct Session {
    /// The user.
    pub who: Identity,
    /// What it may do.
    pub access: Access,
    /// How many entries are still to come in the set dump that is open; 0 if none is.
    pub missing: usize,
}

/// What is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A status alone: 0 or an error.
    Status(u32),
    /// So many frames of a set dump are expected.
    Expect(u32),
    /// The descriptor in a slot.
    Descriptor(u32),
    /// The same, and when it has been handed over, it is not held any more.
    LastDescriptor(u32),
    /// The identifiers of all that is held.
    List,
    /// All that is held.
    Dump,
}

/// How many frames it takes for so many entries.
pub fn frames(entries: usize) -> u32 {
    entries.div_ceil(ENTRIES_MAX) as u32
}

/// What the daemon has to do its work with.
pub struct Service {
    /// What is held.
    pub table: Table,
    /// Who may do what.
    pub gate: Gate,
    /// What is said of it.
    pub log: Log,
}

/// A request that is being looked at.
pub struct Request<'a> {
    /// What it is about.
    pub service: &'a mut Service,
    /// Whose it is.
    pub session: &'a mut Session,
    /// What has not been looked at yet.
    pub payload: &'a [u8],
    /// What came with it.
    pub descriptors: Descriptors<'a>,
    /// What it is about, as soon as that is known.
    pub identifier: &'a [u8],
    /// What is answered if it is done.
    pub answer: Answer,
}

impl Request<'_> {
    /// Does what it asks for, if that may be done. Where there are descriptors, the table must have
    /// a free slot for each of them, or for as many as may be held.
    pub fn handle(mut self) -> Answer {
        let letter = self.byte();
        let what = match letter {
            b'S' => text!("store"),
            b'D' => text!("delete"),
            b'R' => text!("retrieve"),
            b'L' => text!("list"),
            b'?' => text!("get dump"),
            b'!' | b'.' => text!("set dump"),
            _ => text!("request"),
        };
        let mut errno = 0;
        if let Err(error) = self.run(letter) {
            errno = error.number();
            self.answer = Answer::Status(errno as u32);
            self.session.missing = 0;
        }
        // Of the frames of a set dump it is enough to say so if one is refused.
        if errno > 0 || letter != b'.' {
            self.service.log.event(self.session.who, what, self.identifier, errno);
        }
        self.answer
    }

    fn run(&mut self, letter: u8) -> Result<(), Errno> {
        let descriptors = self.descriptors.0.len();
        let expected = match letter {
            b'S' => 1,
            b'.' => descriptors,
            _ => 0,
        };
        let access = self.session.access;
        let mut rights = access.set_dump;
        if descriptors != expected {
            return Err(Errno::PROTO);
        }
        match letter {
            b'S' => return self.store(),
            b'D' => {
                self.identify()?;
                self.check(access.store)?;
                let slot = self.find()?;
                self.service.table.forget(slot);
                return Ok(());
            }
            b'R' => return self.retrieve(),
            b'.' => return self.entries(),
            b'L' => (self.answer, rights) = (Answer::List, access.list),
            b'?' => (self.answer, rights) = (Answer::Dump, access.get_dump),
            b'!' => {
                let (number, rest) = self.payload.split_first_chunk().ok_or(Errno::PROTO)?;
                self.payload = rest;
                self.session.missing = u32::from_be_bytes(*number) as usize;
                self.answer = Answer::Expect(frames(self.session.missing));
            }
            _ => return Err(Errno::PROTO),
        }
        self.end()?;
        if !rights {
            return Err(Errno::PERM);
        }
        if self.session.missing > self.service.table.most() {
            return Err(Errno::NFILE);
        }
        Ok(())
    }

    /// Takes a byte off the payload, 0 if there is none.
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.payload.split_first() else { return 0 };
        self.payload = rest;
        *byte
    }

    /// The payload must have come to its end.
    fn end(&self) -> Result<(), Errno> {
        if self.payload.is_empty() { Ok(()) } else { Err(Errno::PROTO) }
    }

    /// Takes the rest of a payload as length, identifier, NUL.
    #[inline(never)]
    fn identify(&mut self) -> Result<(), Errno> {
        let (identifier, rest) = message::identifier(self.payload).ok_or(Errno::PROTO)?;
        (self.identifier, self.payload) = (identifier, rest);
        self.end()
    }

    /// Checks the right that an expression gives.
    #[inline(never)]
    fn check(&self, expression: Option<usize>) -> Result<(), Errno> {
        let is_allowed = self.service.gate.allows(expression, self.identifier);
        if is_allowed { Ok(()) } else { Err(Errno::PERM) }
    }

    /// The slot of what it is about.
    fn find(&mut self) -> Result<u32, Errno> {
        self.service.table.find(self.identifier).ok_or(Errno::NOENT)
    }

    fn store(&mut self) -> Result<(), Errno> {
        let (entry, rest) = Entry::parse(self.payload).ok_or(Errno::PROTO)?;
        (self.identifier, self.payload) = (entry.identifier, rest);
        self.end()?;
        self.check(self.session.access.store)?;
        if self.find().is_ok() {
            return Err(Errno::BUSY);
        }
        if self.service.table.room() == 0 {
            return Err(Errno::NFILE);
        }
        if let Some(fd) = self.descriptors.take() {
            self.service.table.insert(&entry, fd);
        }
        Ok(())
    }

    fn retrieve(&mut self) -> Result<(), Errno> {
        let flag = self.byte();
        self.identify()?;
        self.check(self.session.access.retrieve)?;
        if flag > 0 {
            self.check(self.session.access.store)?;
        }
        let slot = self.find()?;
        self.answer = match flag {
            0 => Answer::Descriptor(slot),
            1 => Answer::LastDescriptor(slot),
            _ => return Err(Errno::PROTO),
        };
        Ok(())
    }

    /// Holds what a frame of a set dump has in it, in place of what had those identifiers; but
    /// nothing of a frame that is not right from one end to the other.
    fn entries(&mut self) -> Result<(), Errno> {
        let count = self.descriptors.0.len();
        if count == 0
            || count > self.session.missing
            || message::count_entries(self.payload) != count
        {
            return Err(Errno::PROTO);
        }
        let room = self.service.table.room();
        if count > room && self.count_new() > room {
            return Err(Errno::NFILE);
        }
        let mut rest = self.payload;
        while let (Some((entry, behind)), Some(fd)) = (Entry::parse(rest), self.descriptors.take())
        {
            if let Some(slot) = self.service.table.find(entry.identifier) {
                self.service.table.forget(slot);
            }
            self.service.table.insert(&entry, fd);
            rest = behind;
        }
        self.session.missing -= count;
        if self.session.missing > 0 {
            self.answer = Answer::Status(libc::EAGAIN as u32);
        }
        Ok(())
    }

    /// How many of the identifiers in a valid frame of a set dump are not held, equal ones counted
    /// once: the first of them.
    fn count_new(&mut self) -> usize {
        let mut new = 0;
        let mut rest = self.payload;
        while let Some((identifier, behind)) = next_identifier(rest) {
            if self.service.table.find(identifier).is_none() {
                let mut before = self.payload;
                while let Some((other, behind)) = next_identifier(before) {
                    if other == identifier {
                        new += usize::from(before.len() == rest.len());
                        break;
                    }
                    before = behind;
                }
            }
            rest = behind;
        }
        new
    }
}

/// The identifier of the first of some valid entries, and those behind it.
fn next_identifier(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, behind) = entries.get(EXPIRY..)?.split_first()?;
    let (identifier, behind) = behind.split_at_checked((*length).into())?;
    Some((identifier, behind.get(1..)?))
}
