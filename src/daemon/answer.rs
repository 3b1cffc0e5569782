//! Answers: what is still to be sent to a client, and composing the next piece of it.
//!
//! The rest of a long answer is stored not as bytes but as a range of slots of the [`Table`]. Each
//! piece is composed when it can be sent, from what was held when the client asked.

use super::table::{Need, Slot, Table};
use crate::protocol::entry::ENTRY_MAX;
use crate::protocol::frame::{ENTRIES_MAX, Frame, HEADER, Header};
use crate::sys::Errno;
use crate::sys::fd::{BorrowedFd, STDIN};

/// The part of an answer that has not been sent.
#[derive(Debug)]
pub enum Answer {
    /// No answer.
    Nothing,
    /// A status alone: 0 or an error number.
    Status(u8),
    /// A set dump is accepted. The client should send this number of frames.
    Frames(u32),
    /// The descriptor in a slot. If it `deletes`, the descriptor is no longer held once the client has
    /// it.
    Descriptor {
        /// The number of the slot.
        slot: u32,
        /// True if the descriptor is no longer held afterwards.
        deletes: bool,
    },
    /// A list: one frame with all identifiers. The number is the length of its payload in bytes.
    List(u32, Rest),
    /// A dump: a frame with the numbers of frames and entries, then frames of entries.
    Dump(Rest),
}

/// The slots that have not been sent.
#[derive(Debug)]
pub struct Rest {
    /// What the answer needs of the slots.
    need: Need,
    /// True if the first piece has been sent.
    is_begun: bool,
    /// The number of the slot at which the rest begins.
    next: u32,
    /// The number of slots in the rest. Slots that were not held at the moment do not count.
    left: usize,
    /// The moment of the request, by the table's clock.
    moment: u64,
}

/// A composed piece of an answer.
pub struct Piece<'a> {
    /// The bytes of the piece.
    pub bytes: &'a [u8],
    /// The number of slots in the piece.
    pub count: usize,
    descriptors: [BorrowedFd<'a>; ENTRIES_MAX],
    descriptor_count: usize,
}

impl Piece<'_> {
    /// An empty piece.
    pub fn empty() -> Self {
        // The value of unused elements does not matter.
        let descriptors = [STDIN; ENTRIES_MAX];
        Piece { bytes: &[], count: 0, descriptors, descriptor_count: 0 }
    }

    /// The descriptors that travel with the first byte.
    pub fn descriptors(&self) -> &[BorrowedFd<'_>] {
        self.descriptors.get(..self.descriptor_count).unwrap_or_default()
    }
}

/// The number of frames for this number of entries.
pub fn frames(entries: usize) -> u32 {
    entries.div_ceil(ENTRIES_MAX) as u32
}

impl Rest {
    /// All that is held now, which the table keeps for the answer, and the total length of the
    /// identifiers with their NULs.
    fn all(table: &mut Table, need: Need) -> (Rest, usize) {
        let moment = table.record();
        let mut rest = Rest { need, is_begun: false, next: 0, left: 0, moment };
        let (mut at, mut names) = (0, 0);
        while let Some(slot) = table.after(&mut at, moment) {
            slot.need(need);
            names += slot.name().len();
            rest.left += 1;
        }
        (rest, names)
    }

    /// Moves on by `count` slots and releases them.
    fn advance(&mut self, count: usize, table: &mut Table) {
        self.is_begun = true;
        for _ in 0..count {
            let _ = table.after(&mut self.next, self.moment);
            table.release(self.next - 1, self.need);
            self.left -= 1;
        }
    }
}

impl Answer {
    /// The request has been carried out.
    pub const DONE: Answer = Answer::Status(0);

    /// The request is refused with this error.
    pub fn refusal(errno: Errno) -> Answer {
        Answer::Status(errno.number() as u8)
    }

    /// The descriptor in a slot. If it `deletes`, the descriptor is no longer held once the client has
    /// it.
    pub fn descriptor(slot: u32, deletes: bool, table: &mut Table) -> Answer {
        table.at(slot).need(Need::Descriptor);
        Answer::Descriptor { slot, deletes }
    }

    /// The identifiers of all that is held now.
    pub fn list(table: &mut Table) -> Answer {
        let (rest, names) = Rest::all(table, Need::Identifier);
        // The status and the number of identifiers precede them.
        let length = 1 + size_of::<u32>() + names;
        Answer::List(length as u32, rest)
    }

    /// All that is held now.
    pub fn dump(table: &mut Table) -> Answer {
        Answer::Dump(Rest::all(table, Need::Descriptor).0)
    }

    /// True if there is an answer to send.
    pub fn is_pending(&self) -> bool {
        !matches!(self, Answer::Nothing)
    }

    /// True if the table keeps slots for the answer.
    pub fn needs_slots(&self) -> bool {
        match self {
            Answer::Nothing | Answer::Status(_) | Answer::Frames(_) => false,
            Answer::Descriptor { .. } => true,
            Answer::List(_, rest) | Answer::Dump(rest) => rest.left > 0,
        }
    }

    /// Composes the next piece. Until that has been sent whole, every call composes the same piece.
    pub fn compose<'a>(&self, piece: &mut Piece<'a>, frame: &'a mut Frame, table: &'a Table) {
        frame.begin();
        match self {
            Answer::Nothing => return,
            Answer::Status(status) => {
                frame.byte(*status);
            }
            Answer::Frames(frames) => {
                frame.byte(0).number(*frames);
            }
            Answer::Descriptor { slot, .. } => {
                frame.byte(0);
                piece.add_descriptor(table.get(*slot));
                piece.count = 1;
            }
            Answer::Dump(rest) if rest.is_begun => piece.add(rest, frame, table),
            Answer::Dump(rest) => {
                frame.byte(0).number(frames(rest.left)).number(rest.left as u32);
            }
            Answer::List(length, rest) => {
                // The list is one frame in several pieces. Its header is in the first one.
                if !rest.is_begun {
                    let mut header = [0; HEADER];
                    let _ = Header { length: *length as usize, descriptors: 0 }.write(&mut header);
                    frame.bytes(&header).byte(0).number(rest.left as u32);
                }
                piece.add(rest, frame, table);
                piece.bytes = frame.payload();
                return;
            }
        }
        piece.bytes = frame.finish(piece.descriptor_count);
    }

    /// Moves on after a piece with `count` slots has been sent.
    pub fn advance(&mut self, count: usize, table: &mut Table) {
        match self {
            Answer::Descriptor { slot, deletes: true } => table.remove(*slot),
            Answer::List(_, rest) | Answer::Dump(rest) => {
                rest.advance(count, table);
                if rest.left > 0 {
                    return;
                }
            }
            _ => {}
        }
        self.cancel(table);
    }

    /// Discards the rest and releases its slots.
    pub fn cancel(&mut self, table: &mut Table) {
        match self {
            Answer::Nothing | Answer::Status(_) | Answer::Frames(_) => {}
            Answer::Descriptor { slot, .. } => table.release(*slot, Need::Descriptor),
            Answer::List(_, rest) | Answer::Dump(rest) => rest.advance(rest.left, table),
        }
        *self = Answer::Nothing;
    }
}

impl<'a> Piece<'a> {
    /// Appends the descriptor of a slot.
    fn add_descriptor(&mut self, slot: Option<&'a Slot>) {
        let descriptor = slot.and_then(Slot::descriptor);
        let place = self.descriptors.get_mut(self.descriptor_count);
        if let (Some(place), Some(descriptor)) = (place, descriptor) {
            *place = descriptor;
            self.descriptor_count += 1;
        }
    }

    /// Appends what the answer needs of the next slots, as many as fit.
    fn add(&mut self, rest: &Rest, frame: &mut Frame, table: &'a Table) {
        for slot in table.held_at(rest.moment, rest.next) {
            let is_full = frame.room() < ENTRY_MAX || self.descriptor_count == ENTRIES_MAX;
            if self.count == rest.left || is_full {
                return;
            }
            match rest.need {
                Need::Identifier => frame.bytes(slot.name()),
                Need::Descriptor => {
                    self.add_descriptor(Some(slot));
                    frame.bytes(slot.entry())
                }
            };
            self.count += 1;
        }
    }
}
