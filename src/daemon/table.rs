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
use crate::sys::memory::{List, Memory, at};
use crate::tai::{self, Label};

/// Bytes of memory for each descriptor that may be held.
pub const BYTES_EACH: usize = 2 * size_of::<Slot>() + 2 * size_of::<u32>();

/// No slot, or no place, where one could be.
const NONE: u32 = u32::MAX;

/// What a reply needs of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// The identifier.
    Identifier,
    /// The descriptor as well.
    Descriptor,
}

/// What is held, or was.
pub struct Slot {
    /// Where in the heap it is; [`NONE`] if it is not held any more.
    place: u32,
    /// The next in the same bucket and one more, 0 for none; of a free one, the next free one.
    next: u32,
    fd: Option<Fd>,
    /// How many replies need it, by [`Need`].
    needed: [u16; 2],
    /// When it expires.
    pub expiry: Label,
    length: u8,
    identifier: [u8; IDENTIFIER_MAX],
}

impl Slot {
    const EMPTY: Slot = Slot {
        place: 0,
        next: 0,
        fd: None,
        needed: [0; 2],
        expiry: [0; 12],
        length: 0,
        identifier: [0; IDENTIFIER_MAX],
    };

    /// The identifier.
    pub fn identifier(&self) -> &[u8] {
        self.identifier.get(..self.length.into()).unwrap_or_default()
    }

    /// The number of the descriptor.
    pub fn descriptor(&self) -> i32 {
        self.fd.as_ref().map_or(-1, Fd::number)
    }
}

/// The table.
pub struct Table {
    slots: List<Slot>,
    /// The first slot of each bucket and one more, 0 for none.
    buckets: &'static mut [u32],
    /// The slots of all that is held; none expires before the one above it, at half its place.
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

    /// How many more may be held.
    pub fn room(&self) -> usize {
        self.most() - self.held
    }

    /// The slots of all that is held, first what expires first.
    pub fn held(&self) -> &[u32] {
        self.heap.get(..self.held).unwrap_or_default()
    }

    /// How many more slots there are, for what is to be held or for ghosts.
    pub fn free_slots(&self) -> usize {
        2 * self.most() - self.used
    }

    /// The slot of that number.
    #[inline(never)]
    pub fn slot(&mut self, number: u32) -> &mut Slot {
        self.slots.at(number as usize)
    }

    /// The number of the slot of what is held under an identifier.
    #[inline(never)]
    pub fn find(&mut self, identifier: &[u8]) -> Option<u32> {
        let bucket = self.bucket(identifier);
        let mut next = *at(self.buckets, bucket);
        while next > 0 {
            let slot = self.slot(next - 1);
            if slot.identifier() == identifier {
                return Some(next - 1);
            }
            next = slot.next;
        }
        None
    }

    /// Holds a descriptor. The identifier must not be in use, and there has to be a slot.
    #[inline(never)]
    pub fn insert(&mut self, entry: &Entry, fd: Fd) {
        let mut number = self.free;
        if number == NONE {
            number = self.slots.push(Slot::EMPTY) as u32;
        } else {
            self.free = self.slot(number).next;
        }
        let bucket = self.bucket(entry.identifier);
        let next = core::mem::replace(at(self.buckets, bucket), number + 1);
        let slot = self.slot(number);
        slot.next = next;
        slot.fd = Some(fd);
        slot.expiry = *entry.expiry;
        slot.length = entry.identifier.len() as u8;
        for (to, from) in slot.identifier.iter_mut().zip(entry.identifier) {
            *to = *from;
        }
        self.used += 1;
        self.held += 1;
        self.settle(self.held - 1, number);
    }

    /// Holds what is in a slot no longer. It is closed as soon as no reply needs it.
    #[inline(never)]
    pub fn forget(&mut self, number: u32) {
        let slot = self.slot(number);
        let place = core::mem::replace(&mut slot.place, NONE);
        if place == NONE {
            return;
        }
        // Out of its bucket: whatever leads to it leads to the next one.
        let next = slot.next;
        let bucket = self.bucket(self.slots.get(number as usize).map_or(&[], Slot::identifier));
        let mut link = at(self.buckets, bucket);
        while *link != number + 1 {
            let before = *link - 1;
            link = &mut self.slots.at(before as usize).next;
        }
        *link = next;
        // Out of the heap: the last one takes its place.
        self.held -= 1;
        if place as usize != self.held {
            let last = self.heap.get(self.held).map_or(0, |last| *last);
            self.settle(place as usize, last);
        }
        self.clean(number);
    }

    /// A reply needs a slot from now on.
    pub fn need(&mut self, number: u32, need: Need) {
        self.slot(number).needed[need as usize] += 1;
    }

    /// It does not any more.
    pub fn release(&mut self, number: u32, need: Need) {
        self.slot(number).needed[need as usize] -= 1;
        self.clean(number);
    }

    /// Closes and frees what is not held any more, as far as no reply needs it.
    fn clean(&mut self, number: u32) {
        let free = self.free;
        let slot = self.slot(number);
        if slot.place != NONE || slot.needed[Need::Descriptor as usize] > 0 {
            return;
        }
        slot.fd = None;
        if slot.needed[Need::Identifier as usize] == 0 {
            slot.next = free;
            self.free = number;
            self.used -= 1;
        }
    }

    /// The number of the bucket that an identifier belongs to.
    fn bucket(&self, identifier: &[u8]) -> usize {
        let mut hash = self.factor;
        for byte in identifier {
            hash = hash.wrapping_add(1 + u64::from(*byte)).wrapping_mul(self.factor);
        }
        // Of the upper half, which depends on all bytes, the part that the buckets are of 2^32.
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    /// Puts a slot into the heap: at a place, or as far above it or below it as it has to be.
    fn settle(&mut self, mut place: usize, number: u32) {
        let expiry = tai::order(&self.slot(number).expiry);
        let mut other;
        // Up, past whatever expires later.
        while place > 0 {
            other = (place - 1) / 2;
            if self.expiry_at(other) <= expiry {
                break;
            }
            self.shift(other, place);
            place = other;
        }
        // Down, past whatever expires earlier.
        loop {
            other = 2 * place + 1;
            if other + 1 < self.held && self.expiry_at(other + 1) < self.expiry_at(other) {
                other += 1;
            }
            if other >= self.held || self.expiry_at(other) >= expiry {
                break;
            }
            self.shift(other, place);
            place = other;
        }
        self.put(place, number);
    }

    /// The expiry at a place of the heap.
    #[inline(never)]
    fn expiry_at(&mut self, place: usize) -> (u64, u32) {
        let number = *at(self.heap, place);
        tai::order(&self.slot(number).expiry)
    }

    /// Moves what is at one place of the heap to another.
    fn shift(&mut self, from: usize, to: usize) {
        let number = *at(self.heap, from);
        self.put(to, number);
    }

    /// Puts a slot at a place of the heap.
    fn put(&mut self, place: usize, number: u32) {
        *at(self.heap, place) = number;
        self.slot(number).place = place as u32;
    }
}
