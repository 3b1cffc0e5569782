//! What requests mean: a payload and its descriptors in, a changed table and an answer out. Never
//! touches a socket.

use super::access::{Access, Gate, Identity, Right};
use super::answer::{Answer, frames};
use super::log::{Cause, Log};
use super::table::Table;
use crate::protocol::entry::{ENTRY_MAX, EXPIRY, Entries, Entry, IDENTIFIER_MAX};
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
        self.tell(letter, identifier, cause, log);
    }

    /// Says what has become of a request of that letter.
    fn tell(&self, letter: u8, identifier: &[u8], cause: Cause, log: &mut Log) {
        log.event(Some(&self.who), name(letter), identifier, cause);
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
    let request = Request::parse(payload);
    let request = request.as_ref().filter(|request| request.descriptors() == count);
    // A refusal names what it is about, if that can be read.
    let identifier = request.map_or(&[][..], Request::identifier);
    let header = Header { length: payload.len(), descriptors: count };
    let done = match session.vet(letter, header) {
        Ok(()) => perform(request, descriptors, session, service),
        Err(errno) => Err(Obstacle::Refusal(errno)),
    };
    match done {
        Ok(answer) => {
            // Of the frames of a set dump it is enough to say so if one is refused.
            if letter != b'.' {
                session.tell(letter, identifier, Cause::Nothing, &mut service.log);
            }
            Outcome::Answered(answer)
        }
        Err(Obstacle::NeedsSlots) => Outcome::NeedsSlots(count),
        Err(Obstacle::Refusal(errno)) => {
            session.refuse(letter, identifier, Cause::Theirs(errno), &mut service.log);
            service.table.closing.close_first(descriptors, count);
            Outcome::Answered(Answer::refusal(errno))
        }
    }
}

/// Why a request is not done.
enum Obstacle {
    /// It is refused.
    Refusal(Errno),
    /// The table needs a free slot for each of its descriptors. Nothing else could refuse it.
    NeedsSlots,
}

impl From<Errno> for Obstacle {
    fn from(errno: Errno) -> Obstacle {
        Obstacle::Refusal(errno)
    }
}

/// Does what a request asks for, if it is one, and that may be done and can be.
fn perform(
    request: Option<&Request>,
    descriptors: &mut Descriptors,
    session: &mut Session,
    service: &mut Service,
) -> Result<Answer, Obstacle> {
    let request = request.ok_or(Errno::PROTO)?;
    let rights: &[Right] = match request {
        Request::Store(_) | Request::Delete(_) => &[Right::Store],
        Request::Retrieve(_) => &[Right::Retrieve],
        Request::RetrieveAndDelete(_) => &[Right::Retrieve, Right::Store],
        // For these it does not matter what is held.
        _ => &[],
    };
    let Service { table, gate, .. } = service;
    let identifier = request.identifier();
    if !rights.iter().all(|right| gate.allows(&session.access, *right, identifier)) {
        return Err(Errno::PERM.into());
    }
    let found = table.find(identifier).ok_or(Errno::NOENT);
    match *request {
        Request::Store(_) if found.is_ok() => return Err(Errno::BUSY.into()),
        Request::Store(_) if table.room() == 0 => return Err(Errno::NFILE.into()),
        Request::Store(_) if !table.has_slots(1) => return Err(Obstacle::NeedsSlots),
        Request::Store(entry) => store(entry, descriptors, table),
        Request::Delete(_) => table.forget(found?),
        Request::Retrieve(_) => return Ok(Answer::descriptor(found?, false, table)),
        Request::RetrieveAndDelete(_) => return Ok(Answer::descriptor(found?, true, table)),
        Request::List => return Ok(Answer::list(table)),
        Request::GetDump => return Ok(Answer::dump(table)),
        Request::OpenSetDump(missing) => {
            if missing as usize > table.most() {
                return Err(Errno::NFILE.into());
            }
            session.missing = missing as usize;
            return Ok(Answer::Frames(frames(session.missing)));
        }
        Request::Entries(entries) => return store_all(entries, descriptors, session, table),
    }
    Ok(Answer::DONE)
}

/// Holds descriptors under the entries of a frame of a set dump, if there is room for them.
fn store_all(
    entries: Entries,
    descriptors: &mut Descriptors,
    session: &mut Session,
    table: &mut Table,
) -> Result<Answer, Obstacle> {
    let (count, room) = (entries.len(), table.room());
    if count > room && count_new(entries, table) > room {
        return Err(Errno::NFILE.into());
    }
    if !table.has_slots(count) {
        return Err(Obstacle::NeedsSlots);
    }
    session.missing -= count;
    for entry in entries {
        // It takes the place of what had the identifier.
        if let Some(slot) = table.find(entry.identifier) {
            table.forget(slot);
        }
        store(entry, descriptors, table);
    }
    Ok(if session.missing > 0 { Answer::refusal(Errno::AGAIN) } else { Answer::DONE })
}

/// Holds the first of the descriptors under an entry.
fn store(entry: Entry, descriptors: &mut Descriptors, table: &mut Table) {
    if let Some(fd) = descriptors.pop() {
        table.insert(entry, fd);
    }
}

/// How many of the identifiers in a frame of a set dump are not held, equal ones counted once: the first
/// of them.
fn count_new(entries: Entries, table: &Table) -> usize {
    let mut new = 0;
    for (number, Entry { identifier, .. }) in entries.enumerate() {
        // To find it in the table is quicker.
        if table.find(identifier).is_none() {
            let first = { entries }.position(|entry| entry.identifier == identifier);
            new += usize::from(first == Some(number));
        }
    }
    new
}
