//! Answers: what is still to be sent, and making the next piece of it.
//!
//! What is left of a long answer is no bytes but which slots of the [`Table`] it is about. Each piece
//! is made when it can be sent, out of what was held when it was asked for.

use super::table::{Need, Slot, Table};
use crate::protocol::entry::ENTRY_MAX;
use crate::protocol::frame::{ENTRIES_MAX, Frame, HEADER, Header};
use crate::sys::Errno;
use crate::sys::fd::{BorrowedFd, STDIN};

/// An answer, as far as it has not been sent.
#[derive(Debug)]
pub enum Answer {
    /// None.
    Nothing,
    /// A status alone: 0, or an error.
    Status(u8),
    /// A set dump is accepted, in that many frames.
    Frames(u32),
    /// The descriptor in a slot. When it has been handed over, it is not held any more if it `deletes`.
    Descriptor {
        /// The number of the slot.
        slot: u32,
        /// Whether it is the last that is heard of it.
        deletes: bool,
    },
    /// A list: one frame of that many bytes of payload, and all identifiers in it.
    List(u32, Rest),
    /// A dump: a frame that says how much there is, and frames of entries.
    Dump(Rest),
}

/// The slots that an answer is still about.
#[derive(Debug)]
pub struct Rest {
    /// What it needs of them.
    need: Need,
    /// Whether the beginning of the answer has been sent.
    is_begun: bool,
    /// Where they begin.
    next: u32,
    /// How many they are, the others aside that were not held at the moment.
    left: usize,
    /// When it was asked for, by the table.
    moment: u64,
}

/// A piece of an answer that has been made.
pub struct Piece<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// How many slots it is about.
    pub count: usize,
    descriptors: [BorrowedFd<'a>; ENTRIES_MAX],
    descriptor_count: usize,
}

impl Piece<'_> {
    /// Nothing yet.
    pub fn empty() -> Self {
        // Any will do in the places that are not used.
        let descriptors = [STDIN; ENTRIES_MAX];
        Piece { bytes: &[], count: 0, descriptors, descriptor_count: 0 }
    }

    /// The descriptors that go with its first byte.
    pub fn descriptors(&self) -> &[BorrowedFd<'_>] {
        self.descriptors.get(..self.descriptor_count).unwrap_or_default()
    }
}

/// How many frames it takes for that many entries.
pub fn frames(entries: usize) -> u32 {
    entries.div_ceil(ENTRIES_MAX) as u32
}

impl Rest {
    /// All that is held now, which the table keeps; and how many bytes all identifiers are in a list.
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

    /// Goes on behind `count` slots.
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
    /// It has been done, and that is all.
    pub const DONE: Answer = Answer::Status(0);

    /// It is refused for that reason.
    pub fn refusal(errno: Errno) -> Answer {
        Answer::Status(errno.number() as u8)
    }

    /// The descriptor in a slot, which is not held any more afterwards if it `deletes`.
    pub fn descriptor(slot: u32, deletes: bool, table: &mut Table) -> Answer {
        table.at(slot).need(Need::Descriptor);
        Answer::Descriptor { slot, deletes }
    }

    /// The identifiers of all that is held.
    pub fn list(table: &mut Table) -> Answer {
        let (rest, names) = Rest::all(table, Need::Identifier);
        // The status and the number of identifiers come first.
        let length = 1 + size_of::<u32>() + names;
        Answer::List(length as u32, rest)
    }

    /// All that is held.
    pub fn dump(table: &mut Table) -> Answer {
        Answer::Dump(Rest::all(table, Need::Descriptor).0)
    }

    /// Whether anything is to be sent.
    pub fn is_something(&self) -> bool {
        !matches!(self, Answer::Nothing)
    }

    /// Whether slots of the table are kept for it.
    pub fn needs_slots(&self) -> bool {
        match self {
            Answer::Nothing | Answer::Status(_) | Answer::Frames(_) => false,
            Answer::Descriptor { .. } => true,
            Answer::List(_, rest) | Answer::Dump(rest) => rest.left > 0,
        }
    }

    /// Makes the next piece. As long as that is not sent whole, it is made anew each time, and comes out
    /// the same.
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
                // It is one frame in many pieces, so its header is made here.
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

    /// Goes on behind a piece that is about `count` slots.
    pub fn advance(&mut self, count: usize, table: &mut Table) {
        match self {
            Answer::Descriptor { slot, deletes: true } => table.forget(*slot),
            Answer::List(_, rest) | Answer::Dump(rest) => {
                rest.advance(count, table);
                if rest.left > 0 {
                    return;
                }
            }
            _ => {}
        }
        self.give_up(table);
    }

    /// Gives the rest up: nobody waits for it any more.
    pub fn give_up(&mut self, table: &mut Table) {
        match self {
            Answer::Nothing | Answer::Status(_) | Answer::Frames(_) => {}
            Answer::Descriptor { slot, .. } => table.release(*slot, Need::Descriptor),
            Answer::List(_, rest) | Answer::Dump(rest) => rest.advance(rest.left, table),
        }
        *self = Answer::Nothing;
    }
}

impl<'a> Piece<'a> {
    /// Adds the descriptor of a slot.
    fn add_descriptor(&mut self, slot: Option<&'a Slot>) {
        let descriptor = slot.and_then(Slot::descriptor);
        let place = self.descriptors.get_mut(self.descriptor_count);
        if let (Some(place), Some(descriptor)) = (place, descriptor) {
            *place = descriptor;
            self.descriptor_count += 1;
        }
    }

    /// Adds what is needed of each of the next slots: of as many as there is room for.
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
