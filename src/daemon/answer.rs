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
    /// The descriptor in a slot.
    Descriptor(u32),
    /// The same, and when it has been handed over, it is not held any more.
    LastDescriptor(u32),
    /// The beginning of a list: its header, for that many bytes of payload, and all identifiers.
    List(u32, Rest),
    /// The identifiers of a list that are left.
    Identifiers(Rest),
    /// The beginning of a dump: how much there is.
    Dump(Rest),
    /// The entries of a dump that are left.
    Entries(Rest),
}

/// The slots that an answer is still about.
#[derive(Debug)]
pub struct Rest {
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
    /// All that is held now. The table keeps the slots. `look` is called with each.
    fn all(table: &mut Table, need: Need, mut look: impl FnMut(&Slot)) -> Rest {
        let mut rest = Rest { next: 0, left: 0, moment: table.record() };
        let mut at = 0;
        while let Some(slot) = table.after(&mut at, rest.moment) {
            slot.need(need);
            look(slot);
            rest.left += 1;
        }
        rest
    }

    /// Goes on behind `count` slots.
    fn advance(&mut self, count: usize, need: Need, table: &mut Table) {
        for _ in 0..count {
            let _ = table.after(&mut self.next, self.moment);
            table.release(self.next - 1, need);
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
        if deletes { Answer::LastDescriptor(slot) } else { Answer::Descriptor(slot) }
    }

    /// The identifiers of all that is held.
    pub fn list(table: &mut Table) -> Answer {
        // The status and the number of identifiers come first.
        let mut length = 1 + size_of::<u32>();
        let rest = Rest::all(table, Need::Identifier, |slot| length += slot.name().len());
        Answer::List(length as u32, rest)
    }

    /// All that is held.
    pub fn dump(table: &mut Table) -> Answer {
        Answer::Dump(Rest::all(table, Need::Descriptor, |_| {}))
    }

    /// Whether anything is to be sent.
    pub fn is_something(&self) -> bool {
        !matches!(self, Answer::Nothing)
    }

    /// Whether slots of the table are kept for it.
    pub fn needs_slots(&self) -> bool {
        match self {
            Answer::Nothing | Answer::Status(_) | Answer::Frames(_) => false,
            Answer::Descriptor(_) | Answer::LastDescriptor(_) => true,
            Answer::List(_, rest) | Answer::Identifiers(rest) => rest.left > 0,
            Answer::Dump(rest) | Answer::Entries(rest) => rest.left > 0,
        }
    }

    /// Makes the next piece. As long as that is not sent whole, it is made anew each time, and comes out
    /// the same.
    pub fn compose<'a>(&self, frame: &'a mut Frame, table: &'a Table) -> Piece<'a> {
        let mut piece = Piece {
            bytes: &[],
            count: 0,
            // Any will do in the places that are not used.
            descriptors: [STDIN; ENTRIES_MAX],
            descriptor_count: 0,
        };
        frame.begin();
        match self {
            Answer::Nothing => return piece,
            Answer::Status(status) => {
                frame.byte(*status);
            }
            Answer::Frames(frames) => {
                frame.byte(0).number(*frames);
            }
            Answer::Descriptor(slot) | Answer::LastDescriptor(slot) => {
                frame.byte(0);
                piece.add_descriptor(table.get(*slot));
                piece.count = 1;
            }
            Answer::Dump(rest) => {
                frame.byte(0).number(frames(rest.left)).number(rest.left as u32);
            }
            Answer::Entries(rest) => {
                let most = rest.left.min(ENTRIES_MAX);
                piece.count = add(frame, rest, most, table, |frame, slot| {
                    piece.add_descriptor(Some(slot));
                    frame.bytes(slot.entry());
                });
            }
            // A list is one frame in many pieces, so its header is made here.
            Answer::List(length, rest) => {
                let mut header = [0; HEADER];
                let _ = Header { length: *length as usize, descriptors: 0 }.write(&mut header);
                frame.bytes(&header).byte(0).number(rest.left as u32);
                piece.count = add_names(frame, rest, table);
                piece.bytes = frame.payload();
                return piece;
            }
            Answer::Identifiers(rest) => {
                piece.count = add_names(frame, rest, table);
                piece.bytes = frame.payload();
                return piece;
            }
        }
        piece.bytes = frame.finish(piece.descriptor_count);
        piece
    }

    /// Goes on behind a piece that is about `count` slots.
    pub fn advance(&mut self, count: usize, table: &mut Table) {
        *self = match core::mem::replace(self, Answer::Nothing) {
            Answer::Nothing | Answer::Status(_) | Answer::Frames(_) => return,
            Answer::Descriptor(slot) => return table.release(slot, Need::Descriptor),
            Answer::LastDescriptor(slot) => {
                table.forget(slot);
                return table.release(slot, Need::Descriptor);
            }
            Answer::List(_, mut rest) | Answer::Identifiers(mut rest) => {
                rest.advance(count, Need::Identifier, table);
                if rest.left == 0 {
                    return;
                }
                Answer::Identifiers(rest)
            }
            Answer::Dump(mut rest) | Answer::Entries(mut rest) => {
                rest.advance(count, Need::Descriptor, table);
                if rest.left == 0 {
                    return;
                }
                Answer::Entries(rest)
            }
        };
    }

    /// Gives the rest up: nobody waits for it any more.
    pub fn give_up(&mut self, table: &mut Table) {
        match core::mem::replace(self, Answer::Nothing) {
            Answer::Nothing | Answer::Status(_) | Answer::Frames(_) => {}
            Answer::Descriptor(slot) | Answer::LastDescriptor(slot) => {
                table.release(slot, Need::Descriptor);
            }
            Answer::List(_, mut rest) | Answer::Identifiers(mut rest) => {
                rest.advance(rest.left, Need::Identifier, table);
            }
            Answer::Dump(mut rest) | Answer::Entries(mut rest) => {
                rest.advance(rest.left, Need::Descriptor, table);
            }
        }
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
}

/// Adds identifiers to a list, as many as there is room for, and says how many.
fn add_names(frame: &mut Frame, rest: &Rest, table: &Table) -> usize {
    add(frame, rest, rest.left, table, |frame, slot| {
        frame.bytes(slot.name());
    })
}

/// Adds something of each of the next slots, at most `most` and as many as there is room for, and says
/// of how many.
fn add<'a>(
    frame: &mut Frame,
    rest: &Rest,
    most: usize,
    table: &'a Table,
    mut put: impl FnMut(&mut Frame, &'a Slot),
) -> usize {
    let mut count = 0;
    for slot in table.held_at(rest.moment, rest.next) {
        if count == most || frame.room() < ENTRY_MAX {
            break;
        }
        put(frame, slot);
        count += 1;
    }
    count
}
