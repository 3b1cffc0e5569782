//! What requests mean: a payload and its descriptors in, a changed table and an answer out. Never
//! touches a socket.

use super::gate::{Access, Gate};
use super::log::{Level, Log};
use super::rules::Identity;
use super::table::Table;
use crate::fd::Fd;
use crate::message::{self, ENTRIES_MAX, Entry};
use crate::sys::Errno;
use crate::text::text;

/// The descriptors that came with a request; what nobody takes is closed.
pub struct Descriptors<'a>(&'a mut [i32]);

impl<'a> Descriptors<'a> {
    /// Those of these numbers, which nobody else owns.
    pub fn own(numbers: &'a mut [i32]) -> Descriptors<'a> {
        Descriptors(numbers)
    }

    /// The last so many of them.
    pub fn split_off(&mut self, count: usize) -> Descriptors<'a> {
        let all = core::mem::take(&mut self.0);
        let (kept, taken) = all.split_at_mut(all.len().saturating_sub(count));
        self.0 = kept;
        Descriptors(taken)
    }

    /// The numbers, for somebody else to own.
    pub fn leave(mut self) -> &'a mut [i32] {
        core::mem::take(&mut self.0)
    }

    /// How many there are.
    pub fn number(&self) -> usize {
        self.0.len()
    }

    /// Takes the first one.
    pub fn take(&mut self) -> Option<Fd> {
        let (first, rest) = core::mem::take(&mut self.0).split_first_mut()?;
        self.0 = rest;
        Fd::own(*first as usize)
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
    Status(u8),
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

/// Does what a request asks for, if it may be done. Where there are descriptors, the table must
/// have a free slot for each of them or for as many as may be held.
pub fn handle(
    table: &mut Table,
    gate: &Gate,
    session: &mut Session,
    payload: &[u8],
    descriptors: Descriptors,
    log: Log,
) -> Answer {
    let mut request = Request { table, gate, session, descriptors, identifier: &[] };
    let (letter, rest) = payload.split_first().unwrap_or((&0, &[]));
    let (what, answer) = match letter {
        b'S' => (text!("store"), request.store(rest)),
        b'D' => (text!("delete"), request.delete(rest)),
        b'R' => (text!("retrieve"), request.retrieve(rest)),
        b'L' => (text!("list"), request.all(rest, request.session.access.list, Answer::List)),
        b'?' => {
            (text!("get dump"), request.all(rest, request.session.access.get_dump, Answer::Dump))
        }
        b'!' => (text!("set dump"), request.open(rest)),
        b'.' => (text!("set dump"), request.entries(rest)),
        _ => (text!("request"), Err(Errno::PROTO)),
    };
    let identifier = request.identifier;
    drop(request);
    let errno = match &answer {
        // Of the frames of a set dump it is enough to say so if one is refused.
        Ok(_) if *letter == b'.' => return answer.unwrap_or(Answer::Status(0)),
        Ok(_) => 0,
        Err(errno) => {
            session.missing = 0;
            errno.number()
        }
    };
    let level = if errno == Errno::PROTO.number() { Level::Warning } else { Level::Info };
    log.event(level, Some(session.who), what, identifier, errno);
    answer.unwrap_or(Answer::Status(errno as u8))
}

/// A request that is being looked at.
struct Request<'a, 'b> {
    table: &'a mut Table,
    gate: &'a Gate,
    session: &'a mut Session,
    descriptors: Descriptors<'a>,
    /// What it is about, as soon as that is known.
    identifier: &'b [u8],
}

impl<'b> Request<'_, 'b> {
    /// Checks how many descriptors came.
    fn expect(&self, descriptors: usize) -> Result<(), Errno> {
        if self.descriptors.number() == descriptors { Ok(()) } else { Err(Errno::PROTO) }
    }

    /// Takes the rest of a payload as length, identifier, NUL.
    fn identify(&mut self, rest: &'b [u8]) -> Result<(), Errno> {
        let (length, identifier) = rest.split_first().ok_or(Errno::PROTO)?;
        let (nul, identifier) = identifier.split_last().ok_or(Errno::PROTO)?;
        let is_right = identifier.len() == usize::from(*length)
            && !identifier.is_empty()
            && *nul == 0
            && !identifier.contains(&0);
        if !is_right {
            return Err(Errno::PROTO);
        }
        self.identifier = identifier;
        Ok(())
    }

    /// Checks the right that an expression gives.
    fn check(&self, expression: Option<usize>) -> Result<(), Errno> {
        if self.gate.allows(expression, self.identifier) { Ok(()) } else { Err(Errno::PERM) }
    }

    /// The slot of what it is about.
    fn find(&self) -> Result<u32, Errno> {
        self.table.find(self.identifier).ok_or(Errno::NOENT)
    }

    fn store(&mut self, rest: &'b [u8]) -> Result<Answer, Errno> {
        self.expect(1)?;
        let (entry, behind) = Entry::parse(rest).ok_or(Errno::PROTO)?;
        if !behind.is_empty() {
            return Err(Errno::PROTO);
        }
        self.identifier = entry.identifier;
        self.check(self.session.access.store)?;
        if self.find().is_ok() {
            return Err(Errno::BUSY);
        }
        if self.table.held().len() >= self.table.most() {
            return Err(Errno::NFILE);
        }
        self.table.insert(entry, self.descriptors.take().ok_or(Errno::PROTO)?);
        Ok(Answer::Status(0))
    }

    fn delete(&mut self, rest: &'b [u8]) -> Result<Answer, Errno> {
        self.expect(0)?;
        self.identify(rest)?;
        self.check(self.session.access.store)?;
        self.table.forget(self.find()?);
        Ok(Answer::Status(0))
    }

    fn retrieve(&mut self, rest: &'b [u8]) -> Result<Answer, Errno> {
        self.expect(0)?;
        let (flag, rest) = rest.split_first().ok_or(Errno::PROTO)?;
        self.identify(rest)?;
        self.check(self.session.access.retrieve)?;
        match flag {
            0 => Ok(Answer::Descriptor(self.find()?)),
            1 => {
                self.check(self.session.access.store)?;
                Ok(Answer::LastDescriptor(self.find()?))
            }
            _ => Err(Errno::PROTO),
        }
    }

    /// What is about everything that is held.
    fn all(&self, rest: &[u8], is_allowed: bool, answer: Answer) -> Result<Answer, Errno> {
        self.expect(0)?;
        match (rest, is_allowed) {
            ([], true) => Ok(answer),
            ([], false) => Err(Errno::PERM),
            _ => Err(Errno::PROTO),
        }
    }

    /// Opens a set dump.
    fn open(&mut self, rest: &[u8]) -> Result<Answer, Errno> {
        self.expect(0)?;
        let Ok(number) = rest.try_into() else { return Err(Errno::PROTO) };
        let entries = u32::from_be_bytes(number) as usize;
        if !self.session.access.set_dump {
            return Err(Errno::PERM);
        }
        if entries > self.table.most() {
            return Err(Errno::NFILE);
        }
        self.session.missing = entries;
        Ok(Answer::Expect(frames(entries)))
    }

    /// Holds what a frame of a set dump has in it, in place of what had those identifiers; but
    /// nothing of a frame that is not right from one end to the other.
    fn entries(&mut self, frame: &[u8]) -> Result<Answer, Errno> {
        let count = self.descriptors.number();
        if count == 0 || count > self.session.missing || message::count_entries(frame) != count {
            return Err(Errno::PROTO);
        }
        let free = self.table.most() - self.table.held().len();
        if count > free && self.count_new(frame) > free {
            return Err(Errno::NFILE);
        }
        let mut rest = frame;
        while let Some((entry, behind)) = Entry::parse(rest) {
            let Some(fd) = self.descriptors.take() else { break };
            if let Some(slot) = self.table.find(entry.identifier) {
                self.table.forget(slot);
            }
            self.table.insert(entry, fd);
            rest = behind;
        }
        self.session.missing -= count;
        let status = if self.session.missing > 0 { Errno::AGAIN.number() } else { 0 };
        Ok(Answer::Status(status as u8))
    }

    /// How many of the identifiers in a frame of a set dump are not held, equal ones counted once.
    fn count_new(&self, frame: &[u8]) -> usize {
        let mut new = 0;
        let mut rest = frame;
        while let Some((entry, behind)) = Entry::parse(rest) {
            let mut others = behind;
            let mut is_last = true;
            while let Some((other, behind)) = Entry::parse(others) {
                is_last &= other.identifier != entry.identifier;
                others = behind;
            }
            if is_last && self.table.find(entry.identifier).is_none() {
                new += 1;
            }
            rest = behind;
        }
        new
    }
}
