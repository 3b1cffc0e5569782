//! Requests: a payload and its descriptors in, a changed table and an answer out. This code touches no
//! socket.

use super::access::{Access, Gate, Identity, Right};
use super::answer::{Answer, frames};
use super::log::{Cause, Log};
use super::table::Table;
use crate::protocol::entry::{ENTRY_MAX, EXPIRY, Entries, Entry, IDENTIFIER_MAX};
use crate::protocol::frame::{ENTRIES_MAX, Frame, Header};
use crate::protocol::request::Request;
use crate::protocol::tai::Label;
use crate::sys::Errno;
use crate::sys::fd::FdQueue;
use crate::sys::message::Received;

/// The descriptors that came with requests of one client.
pub type Descriptors = FdQueue<ENTRIES_MAX>;

/// The state of a client that requests depend on.
#[derive(Clone, Copy)]
pub struct Session {
    /// The user and the group of the client.
    pub who: Identity,
    /// The number of entries that are missing from the open set dump; 0 if none is open.
    pub missing: usize,
    /// The rights of the client.
    pub access: Access,
}

/// The state of the daemon that requests depend on.
pub struct Service<'p> {
    /// Milliseconds of uptime.
    pub now: u32,
    /// The date, if the clock has been read since the last wait.
    pub date: Option<Label>,
    /// The buffer for composing answers.
    pub frame: &'p mut Frame,
    /// The receiver of descriptors.
    pub received: Received,
    /// What is held.
    pub table: Table,
    /// The access rules.
    pub gate: Gate,
    /// The log.
    pub log: Log<'p>,
}

/// The result of a request.
pub enum Outcome {
    /// The answer.
    Answered(Answer),
    /// Nothing has been done: first the table needs this number of free slots, or as many as it may
    /// hold.
    NeedsSlots(usize),
}

/// The name of a request in the log.
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
    /// No client.
    pub const NONE: Session =
        Session { who: Identity { uid: 0, gid: 0 }, missing: 0, access: Access::NOTHING };

    /// True if the client has a right to a request that comes with descriptors.
    pub fn may_send_descriptors(&self) -> bool {
        self.access.has(Right::Store) || self.access.has(Right::SetDump)
    }

    /// Checks a request by its header and its letter, the first byte of the payload. A request that
    /// cannot be valid or allowed is refused before its content is kept. [`handle`] checks the content.
    pub fn check_header(&self, letter: u8, header: Header) -> Result<(), Errno> {
        /// Bytes of the smallest entry.
        const ENTRY_MIN: usize = EXPIRY + NAME_MIN;
        /// Bytes of an identifier with its length and its NUL, at least and at most.
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

    /// Logs that a request is refused, and closes the open set dump, if there is one.
    pub fn refuse(&mut self, letter: u8, identifier: &[u8], cause: Cause, log: &mut Log) {
        self.missing = 0;
        self.log(letter, identifier, cause, log);
    }

    /// Logs what became of a request.
    fn log(&self, letter: u8, identifier: &[u8], cause: Cause, log: &mut Log) {
        log.event(Some(&self.who), name(letter), identifier, cause);
    }
}

/// Carries out the request in a payload, if it is allowed. The first `count` of `descriptors` came with
/// it.
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
    // A refusal names the identifier, if the request is valid.
    let identifier = request.map_or(&[][..], Request::identifier);
    let header = Header { length: payload.len(), descriptors: count };
    let done = match session.check_header(letter, header) {
        Ok(()) => perform(request, descriptors, session, service),
        Err(errno) => Err(Obstacle::Refusal(errno)),
    };
    match done {
        Ok(answer) => {
            // Of the frames of a set dump only a refused one is logged.
            if letter != b'.' {
                session.log(letter, identifier, Cause::Nothing, &mut service.log);
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

/// Why a request is not carried out.
enum Obstacle {
    /// It is refused.
    Refusal(Errno),
    /// The table needs a free slot for each of its descriptors. All other conditions are met.
    NeedsSlots,
}

impl From<Errno> for Obstacle {
    fn from(errno: Errno) -> Obstacle {
        Obstacle::Refusal(errno)
    }
}

/// Carries out a request, if it is valid, allowed and possible.
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
        // `Session::check_header` has checked their rights, which do not depend on an identifier.
        Request::List | Request::GetDump | Request::OpenSetDump(_) | Request::Entries(_) => &[],
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
        Request::Delete(_) => table.remove(found?),
        Request::Retrieve(_) => return Ok(Answer::descriptor(found?, false, table)),
        Request::RetrieveAndDelete(_) => return Ok(Answer::descriptor(found?, true, table)),
        Request::List => return Ok(Answer::list(table)),
        Request::GetDump => return Ok(Answer::dump(table)),
        Request::OpenSetDump(missing) => {
            if missing as usize > table.capacity() {
                return Err(Errno::NFILE.into());
            }
            session.missing = missing as usize;
            return Ok(Answer::Frames(frames(session.missing)));
        }
        Request::Entries(entries) => return store_all(entries, descriptors, session, table),
    }
    Ok(Answer::DONE)
}

/// Holds the descriptors of a frame of a set dump, if there is room for them.
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
        // The entry replaces the one with the same identifier.
        if let Some(slot) = table.find(entry.identifier) {
            table.remove(slot);
        }
        store(entry, descriptors, table);
    }
    Ok(if session.missing > 0 { Answer::refusal(Errno::AGAIN) } else { Answer::DONE })
}

/// Holds the first of `descriptors` under an entry.
fn store(entry: Entry, descriptors: &mut Descriptors, table: &mut Table) {
    if let Some(fd) = descriptors.pop() {
        table.insert(entry, fd);
    }
}

/// The number of different identifiers in a frame of a set dump that are not held.
fn count_new(entries: Entries, table: &Table) -> usize {
    let mut new = 0;
    for (number, Entry { identifier, .. }) in entries.enumerate() {
        // Looking it up in the table first is faster.
        if table.find(identifier).is_none() {
            let first = { entries }.position(|entry| entry.identifier == identifier);
            new += usize::from(first == Some(number));
        }
    }
    new
}
