//! What requests mean: a payload and its descriptors in, a changed table and an answer out. Never
//! touches a socket.

use super::access::{Access, Gate, Identity, Right};
use super::answer::{Answer, frames};
use super::log::{Cause, Log};
use super::table::Table;
use crate::protocol::entry::{ENTRY_MAX, EXPIRY, Entries, IDENTIFIER_MAX};
use crate::protocol::frame::{ENTRIES_MAX, Frame, Header};
use crate::protocol::request::Request;
use crate::sys::Errno;
use crate::sys::fd::FdQueue;
use crate::sys::message::Received;

/// The descriptors that came with requests of one client.
pub type Descriptors = FdQueue<ENTRIES_MAX>;

/// Who asks, and what has been agreed on so far.
#[derive(Clone, Copy)]
pub struct Session {
    /// The user.
    pub who: Identity,
    /// How many entries are still to come in the set dump that is open; 0 if none is.
    pub missing: usize,
    /// What it may do.
    pub access: Access,
}

/// What the daemon has to do its work with.
pub struct Service<'p> {
    /// Milliseconds of uptime.
    pub now: u32,
    /// Where pieces of answers are made.
    pub frame: &'p mut Frame,
    /// Where descriptors are received.
    pub received: Received,
    /// What is held.
    pub table: Table,
    /// Who may do what.
    pub gate: Gate,
    /// What is said.
    pub log: Log<'p>,
}

/// What becomes of a request.
pub enum Outcome {
    /// It is answered.
    Answered(Answer),
    /// Nothing has been done yet: the table needs that many free slots, or as many as may be held.
    NeedsSlots(usize),
}

/// What a request is called by its letter.
fn name(letter: u8) -> &'static str {
    match letter {
        b'S' => "store",
        b'D' => "delete",
        b'R' => "retrieve",
        b'L' => "list",
        b'?' => "get dump",
        b'!' | b'.' => "set dump",
        _ => "request",
    }
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
        const ENTRY_MIN: usize = EXPIRY + NAME_MIN;
        /// Bytes of an identifier with its length and its NUL: the fewest and the most.
        const NAME_MIN: usize = 3;
        const NAME_MAX: usize = 2 + IDENTIFIER_MAX;
        let Header { length, descriptors: count } = header;
        let (least, most, due, right) = match letter {
            b'S' => (ENTRY_MIN, ENTRY_MAX, 1, Right::Store),
            b'D' => (NAME_MIN, NAME_MAX, 0, Right::Store),
            b'R' => (1 + NAME_MIN, 1 + NAME_MAX, 0, Right::Retrieve),
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

    /// A request of that letter is refused: says so, and closes the set dump that is open, if one is.
    pub fn refuse(&mut self, letter: u8, identifier: &[u8], cause: Cause, log: &mut Log) {
        self.missing = 0;
        log.event(Some(self.who), name(letter), identifier, cause);
    }
}

/// Does what a payload asks for, if that may be done. It must have come with `descriptors`, of which it
/// takes the first `count`.
pub fn handle(
    payload: &[u8],
    count: usize,
    descriptors: &mut Descriptors,
    session: &mut Session,
    service: &mut Service,
) -> Outcome {
    let letter = payload.first().copied().unwrap_or(0);
    let header = Header { length: payload.len(), descriptors: count };
    let request = Request::parse(payload).filter(|request| request.descriptors() == count);
    // A refusal names what it is about, if that can be read.
    let identifier = request.as_ref().map_or(&[][..], |request| request.identifier());
    let done = session
        .vet(letter, header)
        .and_then(|()| request.ok_or(Errno::PROTO))
        .and_then(|request| check(&request, session, service).map(|()| request));
    let request = match done {
        Ok(request) => request,
        Err(errno) => {
            session.refuse(letter, identifier, Cause::Theirs(errno), &mut service.log);
            service.table.closing.close_first(descriptors, count);
            return Outcome::Answered(Answer::refusal(errno));
        }
    };
    // All that could refuse it has been looked at.
    let table = &mut service.table;
    if table.free_slots() < count.min(table.most()) {
        return Outcome::NeedsSlots(count);
    }
    let answer = perform(request, descriptors, session, table);
    // Of the frames of a set dump it is enough to say so if one is refused.
    if letter != b'.' {
        service.log.event(Some(session.who), name(letter), identifier, Cause::Nothing);
    }
    Outcome::Answered(answer)
}

/// Checks whether a request may be done, and can be.
fn check(request: &Request, session: &Session, service: &Service) -> Result<(), Errno> {
    let table = &service.table;
    let allow = |right, identifier| match service.gate.allows(&session.access, right, identifier) {
        true => Ok(()),
        false => Err(Errno::PERM),
    };
    match request {
        Request::Store(entry) => {
            allow(Right::Store, entry.identifier)?;
            match table.find(entry.identifier) {
                Some(_) => Err(Errno::BUSY),
                None if table.room() == 0 => Err(Errno::NFILE),
                None => Ok(()),
            }
        }
        Request::Delete(identifier) => {
            allow(Right::Store, identifier)?;
            table.find(identifier).map(|_| ()).ok_or(Errno::NOENT)
        }
        Request::Retrieve(identifier) => {
            allow(Right::Retrieve, identifier)?;
            table.find(identifier).map(|_| ()).ok_or(Errno::NOENT)
        }
        Request::RetrieveAndDelete(identifier) => {
            allow(Right::Retrieve, identifier)?;
            allow(Right::Store, identifier)?;
            table.find(identifier).map(|_| ()).ok_or(Errno::NOENT)
        }
        // The right is all that these need.
        Request::List | Request::GetDump => Ok(()),
        Request::OpenSetDump(missing) if *missing as usize > table.most() => Err(Errno::NFILE),
        Request::OpenSetDump(_) => Ok(()),
        Request::Entries(entries) => {
            let room = table.room();
            let fits = entries.len() <= room || count_new(*entries, table) <= room;
            if fits { Ok(()) } else { Err(Errno::NFILE) }
        }
    }
}

/// Does what a request asks for, which has been checked.
fn perform(
    request: Request,
    descriptors: &mut Descriptors,
    session: &mut Session,
    table: &mut Table,
) -> Answer {
    match request {
        Request::Store(entry) => {
            if let Some(fd) = descriptors.pop() {
                table.insert(entry, fd);
            }
            Answer::DONE
        }
        Request::Delete(identifier) => {
            if let Some(slot) = table.find(identifier) {
                table.forget(slot);
            }
            Answer::DONE
        }
        Request::Retrieve(identifier) | Request::RetrieveAndDelete(identifier) => {
            let deletes = matches!(request, Request::RetrieveAndDelete(_));
            match table.find(identifier) {
                Some(slot) => Answer::descriptor(slot, deletes, table),
                None => Answer::refusal(Errno::NOENT),
            }
        }
        Request::List => Answer::list(table),
        Request::GetDump => Answer::dump(table),
        Request::OpenSetDump(missing) => {
            session.missing = missing as usize;
            Answer::Frames(frames(session.missing))
        }
        Request::Entries(entries) => {
            session.missing -= entries.len();
            for entry in entries {
                // It takes the place of what had the identifier.
                if let Some(slot) = table.find(entry.identifier) {
                    table.forget(slot);
                }
                if let Some(fd) = descriptors.pop() {
                    table.insert(entry, fd);
                }
            }
            if session.missing > 0 { Answer::refusal(Errno::AGAIN) } else { Answer::DONE }
        }
    }
}

/// How many of the identifiers in a frame of a set dump are not held, equal ones counted once: the first
/// of them.
fn count_new(entries: Entries, table: &Table) -> usize {
    let is_new = |(number, identifier): (usize, &[u8])| {
        let mut before = entries.take(number);
        table.find(identifier).is_none() && !before.any(|entry| entry.identifier == identifier)
    };
    let identifiers = entries.map(|entry| entry.identifier).enumerate();
    identifiers.filter(|one| is_new(*one)).count()
}
