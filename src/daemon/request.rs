//! What requests mean: a payload and its descriptors in, a changed table and an answer out. Never
//! touches a socket.

use super::closing::Closing;
use super::gate::{Access, Gate};
use super::log::Log;
use super::rules::{Identity, Right};
use super::table::Table;
use crate::fd::Fd;
use crate::message::{self, ENTRIES_MAX, EXPIRY};
use crate::pool::Composer;
use crate::sys::Errno;
use crate::sys::memory::Space;
use crate::text::text;

/// The descriptors that came with a request; what nobody takes, [`Descriptors::close`] closes. Nobody writes to the numbers:
/// they are borrowed for writing so that nobody else can take them.
pub struct Descriptors<'a>(pub core::slice::IterMut<'a, i32>);

impl Descriptors<'_> {
    /// Takes the first one.
    pub fn take(&mut self) -> Option<Fd> {
        self.0.next().and_then(|number| Fd::own(*number as usize))
    }

    /// Closes those that nobody has taken.
    pub fn close(mut self, closing: &mut Closing) {
        while let Some(fd) = self.take() {
            closing.close(fd);
        }
    }
}

/// Who asks, and what has been agreed on so far.
#[repr(C)]
pub struct Session {
    /// The user.
    pub who: Identity,
    /// How many entries are still to come in the set dump that is open; 0 if none is.
    pub missing: usize,
    /// What it may do.
    pub access: Access,
}

impl Session {
    /// Nobody's.
    pub const NOBODY: Session =
        Session { who: Identity { uid: 0, gid: 0 }, missing: 0, access: Access::NOTHING };
}

/// What kind of an answer it is, in an order that tells which have slots: from
/// [`Kind::Descriptor`] on one, from [`Kind::List`] on all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// None.
    Nothing,
    /// A status alone: 0 or an error.
    Status,
    /// So many frames of a set dump are expected.
    Expect,
    /// The descriptor in a slot.
    Descriptor,
    /// The same, and when it has been handed over, it is not held any more.
    LastDescriptor,
    /// The identifiers of all that is held.
    List,
    /// All that is held.
    Dump,
}

/// What is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What it is.
    pub kind: Kind,
    /// A status, a number of frames, the number of a slot, or nothing that matters.
    pub number: u32,
}

impl Answer {
    /// It has been done, and that is all.
    pub const DONE: Answer = Answer { kind: Kind::Status, number: 0 };
}

/// How many frames it takes for so many entries.
pub fn frames(entries: usize) -> u32 {
    entries.div_ceil(ENTRIES_MAX) as u32
}

/// What the daemon has to do its work with. What is large stands last: the rest is reached with
/// shorter instructions.
#[repr(C)]
pub struct Service {
    /// Milliseconds of uptime.
    pub now: u32,
    /// Where requests are received. It changes places with those of clients, which may have none.
    pub space: Option<&'static mut Space>,
    /// Pieces of answers.
    pub out: &'static mut Composer,
    /// What is said.
    pub log: Log,
    /// What is held.
    pub table: Table,
    /// Who may do what.
    pub gate: Gate,
}

/// A request that is being looked at.
#[repr(C)]
pub struct Request<'a> {
    /// What has not been looked at yet.
    pub payload: &'a [u8],
    /// What it is about, as soon as that is known; empty where it is about no one thing.
    pub identifier: &'a [u8],
    /// What it is done with, and to.
    pub service: &'a mut Service,
    /// Whose it is.
    pub session: &'a mut Session,
    /// What came with it.
    pub descriptors: Descriptors<'a>,
    /// What is answered if it is done.
    pub answer: Answer,
}

impl Request<'_> {
    /// Does what it asks for, if that may be done. Where there are descriptors, the table must have
    /// a free slot for each of them, or for as many as may be held.
    #[inline(never)]
    pub fn handle(mut self) -> Answer {
        let letter = self.byte();
        let (what, done) = match letter {
            b'S' => (text!("store"), self.store()),
            b'D' => (text!("delete"), self.delete()),
            b'R' => (text!("retrieve"), self.retrieve()),
            b'L' => (text!("list"), self.all(Right::List, Kind::List)),
            b'?' => (text!("get dump"), self.all(Right::GetDump, Kind::Dump)),
            b'!' => (text!("set dump"), self.open()),
            b'.' => (text!("set dump"), self.entries()),
            _ => (text!("request"), Err(Errno::PROTO)),
        };
        let mut errno = 0;
        if let Err(error) = done {
            errno = error.number();
            self.answer = Answer { kind: Kind::Status, number: errno as u32 };
            self.session.missing = 0;
        }
        // Of the frames of a set dump it is enough to say so if one is refused.
        if errno > 0 || letter != b'.' {
            self.service.log.event(self.session.who, what, self.identifier, errno);
        }
        self.descriptors.close(&mut self.service.table.closing);
        self.answer
    }

    /// Takes a byte off the payload, 0 if there is none.
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.payload.split_first() else { return 0 };
        self.payload = rest;
        *byte
    }

    /// The payload must have come to its end, and with it so many descriptors.
    fn end(&self, descriptors: usize) -> Result<(), Errno> {
        let is_right = self.payload.is_empty() && self.descriptors.0.len() == descriptors;
        if is_right { Ok(()) } else { Err(Errno::PROTO) }
    }

    /// A request that says no more than its letter: it needs a right, and an answer about all that
    /// is held.
    fn all(&mut self, right: Right, kind: Kind) -> Result<(), Errno> {
        self.answer.kind = kind;
        self.end(0)?;
        self.check(right)
    }

    /// Opens a set dump.
    fn open(&mut self) -> Result<(), Errno> {
        let Ok(number) = self.payload.try_into() else { return Err(Errno::PROTO) };
        self.payload = &[];
        let missing = u32::from_be_bytes(number) as usize;
        self.answer.number = frames(missing);
        self.all(Right::SetDump, Kind::Expect)?;
        if missing > self.service.table.most() {
            return Err(Errno::NFILE);
        }
        self.session.missing = missing;
        Ok(())
    }

    /// Takes the rest of a payload as length, identifier, NUL.
    #[inline(never)]
    #[allow(
        clippy::manual_contains,
        reason = "`contains` takes 150 bytes more: it is made for speed"
    )]
    fn identify(&mut self) -> Result<(), Errno> {
        let [length, identifier @ .., 0] = self.payload else { return Err(Errno::PROTO) };
        let has_nul = identifier.iter().any(|byte| *byte == 0);
        if identifier.is_empty() || has_nul || identifier.len() != usize::from(*length) {
            return Err(Errno::PROTO);
        }
        (self.identifier, self.payload) = (identifier, &[]);
        self.end(0)
    }

    /// Checks a right.
    fn check(&self, right: Right) -> Result<(), Errno> {
        let access = &self.session.access;
        let is_allowed = self.service.gate.allows(access, right, self.identifier);
        if is_allowed { Ok(()) } else { Err(Errno::PERM) }
    }

    /// The number of the slot of what it is about: as wide as an error number, so that either
    /// travels in two registers.
    fn find(&mut self) -> Result<usize, Errno> {
        let slot = self.service.table.find(self.identifier).ok_or(Errno::NOENT)?;
        Ok(slot as usize)
    }

    fn store(&mut self) -> Result<(), Errno> {
        self.check_entries(1)?;
        self.identifier = next_identifier(&mut &*self.payload);
        self.check(Right::Store)?;
        if self.find().is_ok() {
            return Err(Errno::BUSY);
        }
        if self.service.table.room() == 0 {
            return Err(Errno::NFILE);
        }
        self.hold();
        Ok(())
    }

    /// The payload must be so many entries, and with it must have come so many descriptors.
    fn check_entries(&self, count: usize) -> Result<(), Errno> {
        let is_right = message::count_entries(self.payload) == count && count > 0;
        if is_right && self.descriptors.0.len() == count { Ok(()) } else { Err(Errno::PROTO) }
    }

    /// Holds descriptors under the valid entries that the payload consists of, in place of what had
    /// those identifiers.
    fn hold(&mut self) {
        let table = &mut self.service.table;
        loop {
            let entry = self.payload;
            let identifier = next_identifier(&mut self.payload);
            if identifier.is_empty() {
                return;
            }
            if let Some(slot) = table.find(identifier) {
                table.forget(slot);
            }
            if let Some(fd) = self.descriptors.take() {
                table.insert(entry, fd);
            }
        }
    }

    fn delete(&mut self) -> Result<(), Errno> {
        self.identify()?;
        self.check(Right::Store)?;
        let slot = self.find()?;
        self.service.table.forget(slot as u32);
        Ok(())
    }

    fn retrieve(&mut self) -> Result<(), Errno> {
        let flag = self.byte();
        self.identify()?;
        self.check(Right::Retrieve)?;
        if flag > 0 {
            self.check(Right::Store)?;
        }
        let kind = match flag {
            0 => Kind::Descriptor,
            1 => Kind::LastDescriptor,
            _ => return Err(Errno::PROTO),
        };
        self.answer = Answer { kind, number: self.find()? as u32 };
        Ok(())
    }

    /// Holds what a frame of a set dump has in it, but nothing of a frame that is not right from one
    /// end to the other.
    fn entries(&mut self) -> Result<(), Errno> {
        let count = self.descriptors.0.len();
        self.check_entries(count)?;
        if count > self.session.missing {
            return Err(Errno::PROTO);
        }
        let room = self.service.table.room();
        if count > room && self.count_new() > room {
            return Err(Errno::NFILE);
        }
        self.hold();
        self.session.missing -= count;
        if self.session.missing > 0 {
            self.answer.number = libc::EAGAIN as u32;
        }
        Ok(())
    }

    /// How many of the identifiers in a valid frame of a set dump are not held, equal ones counted
    /// once: the first of them.
    fn count_new(&mut self) -> usize {
        let mut new = 0;
        let mut rest = self.payload;
        loop {
            let identifier = next_identifier(&mut rest);
            if identifier.is_empty() {
                return new;
            }
            if self.service.table.find(identifier).is_none() {
                let mut first = self.payload;
                while next_identifier(&mut first) != identifier {}
                new += usize::from(first.len() == rest.len());
            }
        }
    }
}

/// Takes the first of some valid entries off, and says its identifier; if there is none, an empty
/// one.
fn next_identifier<'a>(entries: &mut &'a [u8]) -> &'a [u8] {
    let [length, behind @ ..] = entries.get(EXPIRY..).unwrap_or_default() else {
        return &[];
    };
    let (identifier, rest) = behind.split_at_checked((*length).into()).unwrap_or_default();
    *entries = rest.get(1..).unwrap_or_default();
    identifier
}
