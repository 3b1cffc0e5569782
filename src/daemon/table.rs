//! What the daemon holds: descriptors by identifier and by moment.
//!
//! A held descriptor has a slot. Identifiers are found by hashing them, with a number that nobody
//! knows beforehand, into buckets of slots. What has expired is looked for when something can have:
//! at the *alarm*, before which nothing expires. All of this is sized once, for as many as may be
//! held.
//!
//! A reply that has to wait for a slow reader is about what was held when it was asked for: each
//! slot knows from when until when that is so, by a clock that every such reply moves on. What is
//! forgotten meanwhile keeps its descriptor and its identifier until no reply needs them; there are
//! as many slots for such *ghosts* as for what is held.

use crate::fd::Fd;
use crate::message::{ENTRY_MAX, EXPIRY};
use crate::sys::memory::{List, Memory, at};
use crate::tai::Label;

/// Bytes of memory for each descriptor that may be held: a slot for it, one for a ghost, and a bucket.
pub const BYTES_EACH: usize = 2 * size_of::<Slot>() + size_of::<u32>();

/// A moment, by [`Table::clock`], that never comes.
const NEVER: u64 = u64::MAX;

/// Stands for the present in [`Table::after`]: later than all that is over, before `NEVER`.
pub const NOW: u64 = NEVER - 1;

/// What a reply needs of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// The identifier.
    Identifier,
    /// The descriptor as well.
    Descriptor,
}

/// What is held, or was. What is large stands last: the rest is reached with shorter instructions.
#[repr(C)]
pub struct Slot {
    /// The number of the next in the same bucket, or of the next free one, and one more; 0 for
    /// none.
    next: u32,
    fd: Option<Fd>,
    /// How many replies need it, by [`Need`]; a client has one at a time.
    needed: [u16; 2],
    /// When it was put in, by [`Table::clock`].
    since: u64,
    /// When it was forgotten; [`NEVER`] while it is held.
    until: u64,
    /// As it is on the wire: expiry, length, identifier, NUL.
    entry: [u8; ENTRY_MAX],
}

/// Where in an entry the identifier begins.
const IDENTIFIER_AT: usize = EXPIRY + 1;

impl Slot {
    const EMPTY: Slot =
        Slot { next: 0, fd: None, needed: [0; 2], since: 0, until: 0, entry: [0; ENTRY_MAX] };

    /// A part of the entry, up to so many bytes behind the identifier.
    fn part(&self, from: usize, behind: usize) -> &[u8] {
        let end = IDENTIFIER_AT + usize::from(self.entry[EXPIRY]) + behind;
        self.entry.get(from..end).unwrap_or_default()
    }

    /// The identifier.
    pub fn identifier(&self) -> &[u8] {
        self.part(IDENTIFIER_AT, 0)
    }

    /// The identifier with NUL behind it; if it is to be `whole`, the expiry and the length as well, in
    /// front: an entry.
    pub fn wire(&self, whole: bool) -> &[u8] {
        self.part(if whole { 0 } else { IDENTIFIER_AT }, 1)
    }

    /// When it expires.
    pub fn expiry(&self) -> &Label {
        self.entry.first_chunk().unwrap_or(&[0; EXPIRY])
    }

    /// The number of the descriptor; 0 if it is closed.
    pub fn descriptor(&self) -> u32 {
        self.fd.as_ref().map_or(0, Fd::number) as u32
    }

    /// A reply needs it from now on.
    pub fn need(&mut self, need: Need) {
        self.needed[need as usize] += 1;
    }
}

/// The table.
#[repr(C)]
pub struct Table {
    slots: List<Slot>,
    /// The number of the first slot of each bucket and one more, 0 for none.
    buckets: &'static mut [u32],
    /// How many slots are held.
    held: usize,
    /// How many slots are in use: held, or ghosts.
    used: usize,
    /// What identifiers are multiplied with to find their bucket.
    factor: u64,
    /// The present: how many moments have been recorded before it.
    clock: u64,
    /// The number of a free one of the slots that have been used, and one more; 0 for none.
    free: u32,
    /// Nothing that is held expires before this date.
    pub alarm: Label,
    /// How many descriptors there is room for under the limit on open files, for what is in slots and
    /// for what comes with requests.
    pub open_most: usize,
}

/// Later than all dates.
pub const NO_ALARM: Label = [u8::MAX; EXPIRY];

impl Table {
    /// An empty one for so many descriptors; `seed` should not be known to others.
    pub fn new(memory: &mut Memory, most: usize, seed: u64) -> Table {
        Table {
            slots: memory.list(2 * most),
            buckets: memory.zeros(most),
            held: 0,
            used: 0,
            factor: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            clock: 0,
            free: 0,
            alarm: NO_ALARM,
            open_most: usize::MAX,
        }
    }

    /// How many slots are in use: as many descriptors are open, or fewer.
    pub fn used(&self) -> usize {
        self.used
    }

    /// How many may be held.
    pub fn most(&self) -> usize {
        self.buckets.len()
    }

    /// How many more may be held.
    pub fn room(&self) -> usize {
        self.most() - self.held
    }

    /// How many more slots there are, for what is to be held or for ghosts.
    pub fn free_slots(&self) -> usize {
        2 * self.most() - self.used
    }

    /// Ends the present, and gives the moment that it is then for [`Table::after`]: what is held now is
    /// what was held at it.
    pub fn record(&mut self) -> u64 {
        self.clock += 1;
        self.clock - 1
    }

    /// The next slot, from the number `at` on, of what was held at a moment; `at` goes behind it.
    pub fn after(&mut self, at: &mut u32, moment: u64) -> Option<&mut Slot> {
        let slots = self.slots.get_mut(*at as usize..).unwrap_or_default();
        slots.iter_mut().find(|slot| {
            *at += 1;
            slot.since <= moment && moment < slot.until
        })
    }

    /// The number of the slot of what is held under an identifier.
    pub fn find(&mut self, identifier: &[u8]) -> Option<u32> {
        let mut next = *bucket(self.buckets, self.factor, identifier);
        while next > 0 {
            let slot = slot(&mut self.slots, next - 1);
            if slot.identifier() == identifier {
                return Some(next - 1);
            }
            next = slot.next;
        }
        None
    }

    /// Holds a descriptor under a valid entry. Its identifier must not be in use, and there has to be a
    /// free slot.
    pub fn insert(&mut self, entry: &[u8], fd: Fd) {
        let mut number = self.free.wrapping_sub(1);
        if self.free == 0 {
            number = self.slots.push(Slot::EMPTY) as u32;
        }
        let slot = slot(&mut self.slots, number);
        self.free = slot.next;
        slot.fd = Some(fd);
        (slot.since, slot.until) = (self.clock, NEVER);
        for (to, from) in slot.entry.iter_mut().zip(entry) {
            *to = *from;
        }
        let bucket = bucket(self.buckets, self.factor, slot.identifier());
        slot.next = core::mem::replace(bucket, number + 1);
        self.used += 1;
        self.held += 1;
        if let Some(expiry) = entry.first_chunk() {
            self.set_alarm(expiry);
        }
    }

    /// Makes a date the alarm, if it is earlier.
    pub fn set_alarm(&mut self, date: &Label) {
        if *date < self.alarm {
            self.alarm = *date;
        }
    }

    /// Stops holding what is in a slot, if it is held. It is closed as soon as no reply needs it.
    pub fn forget(&mut self, number: u32) {
        let forgotten = slot(&mut self.slots, number);
        if forgotten.until != NEVER {
            return;
        }
        forgotten.until = self.clock;
        self.held -= 1;
        // Out of its bucket: whatever leads to it leads to the next one.
        let next = forgotten.next;
        let mut link = bucket(self.buckets, self.factor, forgotten.identifier());
        while *link != number + 1 {
            let before = *link - 1;
            link = &mut slot(&mut self.slots, before).next;
        }
        *link = next;
        self.clean(number);
    }

    /// A reply does not need a slot any more.
    #[inline(never)]
    pub fn release(&mut self, number: u32, need: Need) {
        slot(&mut self.slots, number).needed[need as usize] -= 1;
        self.clean(number);
    }

    /// Closes and frees what is not held any more, as far as no reply needs it.
    fn clean(&mut self, number: u32) {
        let slot = slot(&mut self.slots, number);
        let [identifier, descriptor] = slot.needed;
        if slot.until == NEVER || descriptor > 0 {
            return;
        }
        slot.fd = None;
        if identifier == 0 {
            slot.next = self.free;
            self.free = number + 1;
            self.used -= 1;
        }
    }
}

/// The slot of that number.
fn slot(slots: &mut List<Slot>, number: u32) -> &mut Slot {
    slots.at(number as usize)
}

/// The bucket that an identifier belongs to.
fn bucket<'a>(buckets: &'a mut [u32], factor: u64, identifier: &[u8]) -> &'a mut u32 {
    let mut hash = factor;
    for byte in identifier {
        hash = hash.wrapping_add(1 + u64::from(*byte)).wrapping_mul(factor);
    }
    // Of the upper half, which depends on all bytes, the part that the buckets are of 2^32.
    let number = ((hash >> 32) * buckets.len() as u64) >> 32;
    at(buckets, number as usize)
}
