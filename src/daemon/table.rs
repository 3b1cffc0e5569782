//! What the daemon holds: descriptors by identifier.
//!
//! A held descriptor has a slot. A keyed hash of the identifier selects a bucket, which is a linked
//! list of slots. Nothing expires before the *alarm*, so expired entries are searched for at that time
//! only. All memory is allocated once, for the most descriptors that may be held.
//!
//! An answer to a slow reader contains what was held at the moment of the request. The table's clock
//! counts these moments, and each slot knows from which moment until which it was held. A slot that is
//! no longer held is a *ghost* as long as an answer needs its descriptor or its identifier. There are
//! as many slots for ghosts as for held descriptors.

use super::closing::Closing;
use super::hash::{self, Key};
use crate::protocol::entry::{ENTRY_MAX, EXPIRY, Entry};
use crate::protocol::tai::Label;
use crate::sys::bug;
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::kind::{self, CloseTime};
use crate::sys::memory::{List, Mapping, at};

/// A moment that never comes.
const NEVER: u64 = u64::MAX;

/// The present, for [`Table::after`]: later than every recorded moment, and earlier than `NEVER`.
pub const NOW: u64 = NEVER - 1;

/// What an answer needs of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// The identifier alone.
    Identifier,
    /// The entry and the descriptor.
    Descriptor,
}

/// A slot for a held descriptor, or for a ghost.
pub struct Slot {
    /// The next slot in the same bucket, or the next free slot.
    next: Link,
    fd: Option<Fd>,
    /// The number of answers that need the slot, by [`Need`]. A client has one answer at a time.
    needed_identifier: u16,
    needed_descriptor: u16,
    /// When the entry was inserted, by the table's clock.
    since: u64,
    /// When it was removed; [`NEVER`] while it is held.
    until: u64,
    /// The entry as on the wire: expiry, length, identifier, NUL.
    entry: [u8; ENTRY_MAX],
}

/// The number of a slot, or none.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Link(u32);

impl Link {
    /// No slot. It is zero, since buckets are in memory that is all zeros at the start.
    const NONE: Link = Link(0);

    fn to(slot: u32) -> Link {
        Link(slot + 1)
    }

    fn get(self) -> Option<u32> {
        self.0.checked_sub(1)
    }
}

/// The position of the identifier in an entry.
const IDENTIFIER_AT: usize = EXPIRY + 1;

impl Slot {
    const EMPTY: Slot = Slot {
        next: Link::NONE,
        fd: None,
        needed_identifier: 0,
        needed_descriptor: 0,
        since: 0,
        until: 0,
        entry: [0; ENTRY_MAX],
    };

    /// The entry from byte `from` to `behind` bytes after the identifier.
    fn part(&self, from: usize, behind: usize) -> &[u8] {
        let end = IDENTIFIER_AT + usize::from(self.entry[EXPIRY]) + behind;
        self.entry.get(from..end).unwrap_or_default()
    }

    /// The identifier.
    pub fn identifier(&self) -> &[u8] {
        self.part(IDENTIFIER_AT, 0)
    }

    /// The identifier and its NUL, as in a list.
    pub fn name(&self) -> &[u8] {
        self.part(IDENTIFIER_AT, 1)
    }

    /// The whole entry, as in a dump.
    pub fn entry(&self) -> &[u8] {
        self.part(0, 1)
    }

    /// The expiry.
    pub fn expiry(&self) -> &Label {
        self.entry.first_chunk().unwrap_or(&[0; EXPIRY])
    }

    /// The descriptor; `None` once it has been closed.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(Fd::borrow)
    }

    /// The number of answers that need the slot in this way.
    fn needed(&mut self, need: Need) -> &mut u16 {
        match need {
            Need::Identifier => &mut self.needed_identifier,
            Need::Descriptor => &mut self.needed_descriptor,
        }
    }

    /// Counts an answer that needs the slot.
    pub fn need(&mut self, need: Need) {
        *self.needed(need) += 1;
    }

    /// True if it was held at this moment.
    fn was_held(&self, moment: u64) -> bool {
        self.since <= moment && moment < self.until
    }
}

/// The table of held descriptors.
pub struct Table {
    slots: List<Slot>,
    /// The first slot of each bucket, as the number in [`Link`].
    buckets: Mapping<u32>,
    /// The number of held descriptors.
    held: usize,
    /// The number of slots in use, for held descriptors and ghosts.
    used: usize,
    /// The key for hashing identifiers.
    key: Key,
    /// The present: the number of moments that have been recorded.
    clock: u64,
    /// The first slot that was in use and is free.
    free: Link,
    /// Nothing that is held expires before this date.
    pub alarm: Label,
    /// Closes removed descriptors.
    pub closing: Closing,
}

/// Later than all dates.
pub const NO_ALARM: Label = [u8::MAX; EXPIRY];

impl Table {
    /// An empty table for at most `most` descriptors. `key` should be secret.
    pub fn new(most: usize, key: Key, closing: Closing) -> Table {
        Table {
            slots: List::new(most.saturating_mul(2)),
            buckets: Mapping::new_or_empty(most),
            held: 0,
            used: 0,
            key,
            clock: 0,
            free: Link::NONE,
            alarm: NO_ALARM,
            closing,
        }
    }

    /// False if there was no memory.
    pub fn has_memory(&self) -> bool {
        self.slots.capacity() > 0 && !self.buckets.is_empty() && self.closing.has_memory()
    }

    /// The most descriptors that may be held.
    pub fn capacity(&self) -> usize {
        self.buckets.len()
    }

    /// The number of descriptors that may be held in addition.
    pub fn room(&self) -> usize {
        self.capacity() - self.held
    }

    /// The number of slots in use, for held descriptors and ghosts.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The number of free slots.
    pub fn free_slots(&self) -> usize {
        self.slots.capacity() - self.used
    }

    /// True if there is a free slot for each of `descriptors`, or for as many as may be held.
    pub fn has_slots(&self, descriptors: usize) -> bool {
        self.free_slots() >= descriptors.min(self.capacity())
    }

    /// Records the present as a moment, and returns it. [`Table::after`] then finds what is held now at
    /// that moment.
    pub fn record(&mut self) -> u64 {
        self.clock += 1;
        self.clock - 1
    }

    /// The next slot that was held at a moment, from number `at` on. `at` becomes the number after it.
    pub fn after(&mut self, at: &mut u32, moment: u64) -> Option<&mut Slot> {
        let slots = self.slots.get_mut(*at as usize..).unwrap_or_default();
        slots.iter_mut().find(|slot| {
            *at += 1;
            slot.was_held(moment)
        })
    }

    /// The slots that were held at a moment, from number `from` on.
    pub fn held_at(&self, moment: u64, from: u32) -> impl Iterator<Item = &Slot> {
        let slots = self.slots.get(from as usize..).unwrap_or_default();
        slots.iter().filter(move |slot| slot.was_held(moment))
    }

    /// The slot of this number.
    pub fn get(&self, number: u32) -> Option<&Slot> {
        self.slots.get(number as usize)
    }

    /// The slot of this number, mutable.
    pub fn at(&mut self, number: u32) -> &mut Slot {
        self.slots.at(number as usize)
    }

    /// The bucket of an identifier.
    fn bucket(&self, identifier: &[u8]) -> usize {
        let hash = hash::hash(&self.key, identifier) as u32;
        // Scales the hash from 2^32 to the number of buckets.
        ((u64::from(hash) * self.buckets.len() as u64) >> 32) as usize
    }

    /// The number of the slot that holds this identifier.
    pub fn find(&self, identifier: &[u8]) -> Option<u32> {
        let mut next = Link(*self.buckets.get(self.bucket(identifier))?);
        while let Some(number) = next.get() {
            let slot = self.get(number)?;
            if slot.identifier() == identifier {
                return Some(number);
            }
            next = slot.next;
        }
        None
    }

    /// Holds a descriptor under an entry. The identifier must not be held, and a slot must be free.
    pub fn insert(&mut self, entry: Entry, fd: Fd) {
        let number = match self.free.get() {
            Some(number) => {
                self.free = self.at(number).next;
                number
            }
            None => self.slots.push(Slot::EMPTY) as u32,
        };
        let since = self.clock;
        let bucket = self.bucket(entry.identifier);
        let next = Link(core::mem::replace(at(&mut self.buckets, bucket), Link::to(number).0));
        let slot = self.at(number);
        (slot.next, slot.fd, slot.since, slot.until) = (next, Some(fd), since, NEVER);
        let Some(place) = slot.entry.get_mut(..entry.bytes.len()) else { bug() };
        place.copy_from_slice(entry.bytes);
        self.used += 1;
        self.held += 1;
        self.set_alarm(entry.expiry);
    }

    /// Makes a date the alarm if it is earlier.
    pub fn set_alarm(&mut self, date: &Label) {
        if *date < self.alarm {
            self.alarm = *date;
        }
    }

    /// Stops holding the entry in a slot, if it is held. The descriptor is closed as soon as no answer
    /// needs it.
    pub fn remove(&mut self, number: u32) {
        let clock = self.clock;
        let removed = self.at(number);
        if removed.until != NEVER {
            return;
        }
        removed.until = clock;
        self.held -= 1;
        self.unlink(number);
        self.reclaim(number);
    }

    /// Removes a slot from its bucket.
    fn unlink(&mut self, number: u32) {
        let Some(slot) = self.get(number) else { bug() };
        let (next, bucket) = (slot.next, self.bucket(slot.identifier()));
        let first = at(&mut self.buckets, bucket);
        if Link(*first) == Link::to(number) {
            *first = next.0;
            return;
        }
        let mut before = Link(*first);
        while let Some(other) = before.get() {
            let slot = self.slots.at(other as usize);
            before = slot.next;
            if before == Link::to(number) {
                slot.next = next;
                return;
            }
        }
    }

    /// An answer no longer needs the slot.
    pub fn release(&mut self, number: u32, need: Need) {
        *self.at(number).needed(need) -= 1;
        self.reclaim(number);
    }

    /// Closes the descriptor and frees the slot, if it is not held and no answer needs them.
    fn reclaim(&mut self, number: u32) {
        let slot = self.slots.at(number as usize);
        if slot.until == NEVER || slot.needed_descriptor > 0 {
            return;
        }
        if let Some(fd) = slot.fd.take() {
            self.closing.close(fd);
        }
        if slot.needed_identifier == 0 {
            slot.next = self.free;
            self.free = Link::to(number);
            self.used -= 1;
        }
    }

    /// Releases all descriptors when the daemon ends. Closers close what blocks even in a process that
    /// ends. Sockets stay open until the process ends: then the kernel does not wait for their peers.
    pub fn end(&mut self) {
        for slot in self.slots.iter_mut() {
            let Some(fd) = slot.fd.take() else { continue };
            match kind::close_time(fd.borrow()) {
                CloseTime::None => drop(fd),
                CloseTime::Interruptible => core::mem::forget(fd),
                CloseTime::Unbounded => self.closing.close(fd),
            }
        }
    }
}
