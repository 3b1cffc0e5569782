//! What the daemon holds: descriptors by identifier and by expiry.
//!
//! A held descriptor has a slot. Identifiers are found by hashing them, with a number that nobody
//! knows beforehand, into buckets of slots; what expires first stands on top of a heap. Dates may
//! repeat. All of this is sized once, for as many as may be held.
//!
//! A reply that has to wait for a slow reader refers to slots. One that is forgotten meanwhile is
//! not held any more, but keeps its descriptor and its identifier until no reply needs them; there
//! are as many slots for such *ghosts* as for what is held.

use crate::fd::Fd;
use crate::message::{Entry, IDENTIFIER_MAX};
use crate::sys::memory::{List, Memory};
use crate::tai::Label;

/// Bytes of memory for each descriptor that may be held.
pub const BYTES_EACH: usize = 2 * size_of::<Slot>() + 2 * size_of::<u32>();

/// No slot, where one could be.
const NONE: u32 = u32::MAX;

/// What a reply needs of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// The identifier.
    Identifier,
    /// The descriptor as well.
    Descriptor,
}

struct Slot {
    fd: Option<Fd>,
    /// The next in the same bucket and one more, 0 for none; of a free one, the next free one.
    next: u32,
    /// Where in the heap it is; [`NONE`] if it is not held any more.
    place: u32,
    /// How many replies need it, by [`Need`].
    needed: [u16; 2],
    expiry: Label,
    length: u8,
    identifier: [u8; IDENTIFIER_MAX],
}

/// The table.
pub struct Table {
    slots: List<Slot>,
    /// The first slot of each bucket and one more, 0 for none.
    buckets: &'static mut [u32],
    /// The slots of all that is held; none expires before the one at half its place.
    heap: &'static mut [u32],
    /// How many are held.
    held: usize,
    /// The first free one of the slots that have been used.
    free: u32,
    /// How many slots are in use.
    used: usize,
    /// What identifiers are multiplied with to find their bucket.
    factor: u64,
}

impl Table {
    /// An empty one for so many descriptors; `seed` should not be known to others.
    pub fn new(memory: &mut Memory, most: usize, seed: u64) -> Table {
        Table {
            buckets: memory.zeros(most),
            heap: memory.zeros(most),
            slots: memory.list(2 * most),
            held: 0,
            free: NONE,
            used: 0,
            factor: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// How many may be held.
    pub fn most(&self) -> usize {
        self.heap.len()
    }

    /// The slots of all that is held.
    pub fn held(&self) -> &[u32] {
        self.heap.get(..self.held).unwrap_or_default()
    }

    /// How many more slots there are, for what is to be held or for ghosts.
    pub fn free_slots(&self) -> usize {
        2 * self.most() - self.used
    }

    /// The slot of what is held under an identifier.
    pub fn find(&self, identifier: &[u8]) -> Option<u32> {
        let mut slot = self.buckets.get(self.bucket(identifier)).map_or(0, |first| *first);
        while slot != 0 {
            slot -= 1;
            if self.identifier(slot) == identifier {
                return Some(slot);
            }
            slot = self.slot(slot).map_or(0, |slot| slot.next);
        }
        None
    }

    /// The identifier of a slot.
    pub fn identifier(&self, slot: u32) -> &[u8] {
        self.slot(slot).map_or(&[], |slot| slot.identifier.get(..slot.length.into()).unwrap_or(&[]))
    }

    /// The expiry of a slot.
    pub fn expiry(&self, slot: u32) -> &Label {
        self.slot(slot).map_or(&[0; 12], |slot| &slot.expiry)
    }

    /// The number of the descriptor in a slot; -1 if it is not there any more.
    pub fn descriptor(&self, slot: u32) -> i32 {
        self.slot(slot).and_then(|slot| slot.fd.as_ref()).map_or(-1, Fd::number)
    }

    /// Holds a descriptor. The identifier must not be in use, and there has to be a slot; else it
    /// is closed.
    pub fn insert(&mut self, entry: Entry, fd: Fd) {
        if self.held == self.most() || self.free_slots() == 0 {
            return;
        }
        let bucket = self.bucket(entry.identifier);
        let Some(first) = self.buckets.get_mut(bucket) else { return };
        let mut identifier = [0; IDENTIFIER_MAX];
        for (to, from) in identifier.iter_mut().zip(entry.identifier) {
            *to = *from;
        }
        let slot = Slot {
            fd: Some(fd),
            next: *first,
            place: self.held as u32,
            needed: [0; 2],
            expiry: *entry.expiry,
            length: entry.identifier.len() as u8,
            identifier,
        };
        let number = match self.slots.get_mut(self.free as usize) {
            Some(place) => {
                let number = self.free;
                self.free = place.next;
                *place = slot;
                number
            }
            None => self.slots.push(slot).map_or(NONE, |number| number as u32),
        };
        *first = number + 1;
        self.used += 1;
        self.held += 1;
        self.rise(self.held - 1, number);
    }

    /// Holds what is in a slot no longer. It is closed as soon as no reply needs it.
    pub fn forget(&mut self, slot: u32) {
        let Some(&Slot { place, next, .. }) = self.slot(slot) else { return };
        if place == NONE {
            return;
        }
        // Out of its bucket: whatever led to it leads to the next one.
        let bucket = self.bucket(self.identifier(slot));
        let mut link = self.buckets.get_mut(bucket);
        while let Some(number) = link {
            if *number == slot + 1 {
                *number = next;
                break;
            }
            let number = (*number).wrapping_sub(1);
            link = self.slots.get_mut(number as usize).map(|slot| &mut slot.next);
        }
        // Out of the heap: the last one takes its place.
        self.held -= 1;
        let last = self.heap.get(self.held).map_or(NONE, |last| *last);
        if last != slot {
            self.rise(place as usize, last);
            self.sink(self.place(last));
        }
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            slot.place = NONE;
        }
        self.clean(slot);
    }

    /// A reply needs a slot from now on.
    pub fn need(&mut self, slot: u32, need: Need) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            slot.needed[need as usize] += 1;
        }
    }

    /// It does not any more.
    pub fn release(&mut self, slot: u32, need: Need) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            slot.needed[need as usize] -= 1;
        }
        self.clean(slot);
    }

    /// What expires next, if anything is held: its slot.
    pub fn next(&self) -> Option<u32> {
        self.held().first().copied()
    }

    /// Closes and frees what is not held any more, as far as no reply needs it.
    fn clean(&mut self, number: u32) {
        let Some(slot) = self.slots.get_mut(number as usize) else { return };
        if slot.place != NONE || slot.needed[Need::Descriptor as usize] > 0 {
            return;
        }
        slot.fd = None;
        if slot.needed[Need::Identifier as usize] == 0 {
            slot.next = self.free;
            self.free = number;
            self.used -= 1;
        }
    }

    fn slot(&self, number: u32) -> Option<&Slot> {
        self.slots.get(number as usize)
    }

    /// Where in the heap a slot is.
    fn place(&self, slot: u32) -> usize {
        self.slot(slot).map_or(0, |slot| slot.place as usize)
    }

    /// The bucket that an identifier belongs to.
    fn bucket(&self, identifier: &[u8]) -> usize {
        let mut hash = self.factor;
        for byte in identifier {
            hash = hash.wrapping_add(1 + u64::from(*byte)).wrapping_mul(self.factor);
        }
        // Of the upper half, which depends on all bytes, the part that the buckets are of 2^32.
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    /// Puts a slot at a place in the heap.
    fn put(&mut self, place: usize, slot: u32) {
        if let (Some(at), Some(slot_of)) =
            (self.heap.get_mut(place), self.slots.get_mut(slot as usize))
        {
            *at = slot;
            slot_of.place = place as u32;
        }
    }

    /// Puts a slot at a place, or as far above as it expires earlier than what is there.
    fn rise(&mut self, mut place: usize, slot: u32) {
        while place > 0 {
            let above = (place - 1) / 2;
            let Some(&other) = self.heap.get(above) else { break };
            if self.expiry(other) <= self.expiry(slot) {
                break;
            }
            self.put(place, other);
            place = above;
        }
        self.put(place, slot);
    }

    /// Moves the slot at a place down as far as it expires later than what is there.
    fn sink(&mut self, mut place: usize) {
        let Some(&slot) = self.held().get(place) else { return };
        loop {
            let below = 2 * place + 1;
            let Some(&left) = self.held().get(below) else { break };
            let (mut next, mut child) = (below, left);
            if let Some(&right) = self.held().get(below + 1) {
                if self.expiry(right) < self.expiry(left) {
                    (next, child) = (below + 1, right);
                }
            }
            if self.expiry(slot) <= self.expiry(child) {
                break;
            }
            self.put(place, child);
            place = next;
        }
        self.put(place, slot);
    }
}
