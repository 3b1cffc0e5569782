//! What requests mean: a payload and its descriptors in, a changed table and an answer out. Never
//! touches a socket.

use super::gate::{Access, Gate};
use super::log;
use super::rules::{Identity, Right};
use super::table::Table;
use crate::fd::Fd;
use crate::message::{self, ENTRIES_MAX, ENTRY_EXTRA, ENTRY_MAX, EXPIRY, Header, IDENTIFIER_MAX};
use crate::pool::Composer;
use crate::sys::Errno;
use crate::sys::memory::Space;
use crate::text::{Phrase, text};

/// The descriptors that came with a request; what nobody takes is closed. Nobody writes to the numbers:
/// they are borrowed for writing so that nobody else can take them.
pub struct Descriptors<'a>(pub core::slice::IterMut<'a, i32>);

impl Descriptors<'_> {
    /// Takes the first one.
    pub fn take(&mut self) -> Option<Fd> {
        self.0.next().and_then(|number| Fd::own(*number as usize))
    }

    /// Leaves them where they are, open, for the next look at the same request.
    pub fn leave(&mut self) {
        self.0 = Default::default();
    }
}

impl Drop for Descriptors<'_> {
    fn drop(&mut self) {
        while self.take().is_some() {}
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

    /// Whether the client has a right that a request with descriptors needs.
    pub fn may_send_descriptors(&self) -> bool {
        self.access.has(Right::Store) || self.access.has(Right::SetDump)
    }

    /// Checks what is known of a request as soon as its first byte of payload, the letter, is there: a
    /// request that cannot be right is refused before anything of it is kept. What its content decides
    /// is checked later.
    pub fn vet(&self, letter: u8, header: Header) -> Result<(), Errno> {
        /// Bytes of the smallest entry.
        const ENTRY_MIN: usize = ENTRY_EXTRA + 1;
        /// Bytes of an identifier with its length and its NUL: the fewest and the most.
        const NAME: (usize, usize) = (3, 2 + IDENTIFIER_MAX);
        let Header { length, descriptors: count } = header;
        let (least, most, due, right) = match letter {
            b'S' => (ENTRY_MIN, ENTRY_MAX, 1, Right::Store),
            b'D' => (NAME.0, NAME.1, 0, Right::Store),
            b'R' => (1 + NAME.0, 1 + NAME.1, 0, Right::Retrieve),
            b'L' => (0, 0, 0, Right::List),
            b'?' => (0, 0, 0, Right::GetDump),
            b'!' => (size_of::<u32>(), size_of::<u32>(), 0, Right::SetDump),
            b'.' if count > 0 && count <= self.missing => {
                (count * ENTRY_MIN, count * ENTRY_MAX, count, Right::SetDump)
            }
            _ => return Err(Errno::PROTO),
        };
        // The letter is a byte of the payload.
        if count != due || !(1 + least..=1 + most).contains(&length) {
            return Err(Errno::PROTO);
        }
        if self.access.has(right) { Ok(()) } else { Err(Errno::PERM) }
    }

    /// A request of that letter is refused: says so, with an error as [`log::event`] takes it, and
    /// closes the set dump that is open, if one is.
    pub fn refuse(&mut self, letter: u8, identifier: &[u8], errno: usize) {
        self.missing = 0;
        log::event(self.who, name(letter), identifier, errno);
    }
}

/// What a request of that letter is called.
fn name(letter: u8) -> Phrase {
    match letter {
        b'S' => text!("store"),
        b'D' => text!("delete"),
        b'R' => text!("retrieve"),
        b'L' => text!("list"),
        b'?' => text!("get dump"),
        b'!' | b'.' => text!("set dump"),
        _ => text!("request"),
    }
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

/// The table has no free slot for each descriptor of a request that is to be done. Nothing has been
/// done yet, and the descriptors are still there.
#[derive(Debug)]
pub struct NoSlots;

impl<'a> Request<'a> {
    /// Does what it asks for, if that may be done. Of what is to be held, as many need a free slot as
    /// may be held.
    #[inline(never)]
    pub fn handle(&mut self) -> Result<Answer, NoSlots> {
        let count = self.descriptors.0.len();
        let header = Header { length: self.payload.len(), descriptors: count };
        let letter = self.byte();
        // A refusal names what it is about, if that can be read.
        let content = self.read(letter);
        let vetted = self.session.vet(letter, header);
        let done = vetted.and(content).and_then(|()| match letter {
            b'S' => self.store(),
            b'D' => self.delete(),
            b'R' => self.retrieve(),
            b'L' => self.all(Kind::List),
            b'?' => self.all(Kind::Dump),
            b'!' => self.open(),
            _ => self.entries(),
        });
        if let Err(errno) = done {
            let errno = errno.number();
            self.session.refuse(letter, self.identifier, errno);
            return Ok(Answer { kind: Kind::Status, number: errno as u32 });
        }
        // Only requests that have something held come with descriptors, and all that could refuse
        // them has been looked at.
        if count > 0 {
            let table = &self.service.table;
            if table.free_slots() < count.min(table.most()) {
                self.descriptors.leave();
                return Err(NoSlots);
            }
            self.hold();
        }
        if letter == b'.' {
            self.session.missing -= count;
            if self.session.missing > 0 {
                self.answer.number = libc::EAGAIN as u32;
            }
        } else {
            // Of the frames of a set dump it is enough to say so if one is refused.
            log::event(self.session.who, name(letter), self.identifier, 0);
        }
        Ok(self.answer)
    }

    /// Takes a byte off the payload, 0 if there is none.
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.payload.split_first() else { return 0 };
        self.payload = rest;
        *byte
    }

    /// Reads what stands behind the letter, if that is entries, one for each descriptor, or an identifier.
    fn read(&mut self, letter: u8) -> Result<(), Errno> {
        match letter {
            b'S' | b'.' => {
                if message::count_entries(self.payload) != self.descriptors.0.len() {
                    return Err(Errno::PROTO);
                }
                if letter == b'S' {
                    self.identifier = next_identifier(&mut &*self.payload);
                }
                Ok(())
            }
            b'D' => self.identify(self.payload),
            // In front is a flag.
            b'R' => self.identify(self.payload.get(1..).unwrap_or_default()),
            _ => Ok(()),
        }
    }

    /// A request that says no more than its letter: its answer is about all that is held.
    fn all(&mut self, kind: Kind) -> Result<(), Errno> {
        self.answer.kind = kind;
        Ok(())
    }

    /// Opens a set dump.
    fn open(&mut self) -> Result<(), Errno> {
        let Ok(number) = self.payload.try_into() else { return Err(Errno::PROTO) };
        let missing = u32::from_be_bytes(number) as usize;
        if missing > self.service.table.most() {
            return Err(Errno::NFILE);
        }
        self.answer = Answer { kind: Kind::Expect, number: frames(missing) };
        self.session.missing = missing;
        Ok(())
    }

    /// Takes bytes as length, identifier, NUL.
    #[inline(never)]
    #[allow(
        clippy::manual_contains,
        reason = "`contains` takes 150 bytes more: it is made for speed"
    )]
    fn identify(&mut self, bytes: &'a [u8]) -> Result<(), Errno> {
        let [length, identifier @ .., 0] = bytes else { return Err(Errno::PROTO) };
        let has_nul = identifier.iter().any(|byte| *byte == 0);
        if identifier.is_empty() || has_nul || identifier.len() != usize::from(*length) {
            return Err(Errno::PROTO);
        }
        self.identifier = identifier;
        Ok(())
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
        self.check(Right::Store)?;
        if self.find().is_ok() {
            return Err(Errno::BUSY);
        }
        if self.service.table.room() == 0 {
            return Err(Errno::NFILE);
        }
        Ok(())
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
        self.check(Right::Store)?;
        let slot = self.find()?;
        self.service.table.forget(slot as u32);
        Ok(())
    }

    fn retrieve(&mut self) -> Result<(), Errno> {
        let flag = self.byte();
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

    /// Checks whether there is room for what a frame of a set dump has in it.
    fn entries(&mut self) -> Result<(), Errno> {
        let (count, room) = (self.descriptors.0.len(), self.service.table.room());
        if count > room && self.count_new() > room {
            return Err(Errno::NFILE);
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
