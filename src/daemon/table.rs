//! What the daemon holds: descriptors by identifier and by moment.
//!
//! A held descriptor has a slot. Identifiers are found by hashing them, with a key that nobody else
//! knows, into buckets of slots. What has expired is looked for when something can have: at the *alarm*,
//! before which nothing expires. All of this is sized once, for as many as may be held.
//!
//! An answer that has to wait for a slow reader is about what was held when it was asked for: each slot
//! knows from when until when that is so, by a clock that every such answer moves on. What is forgotten
//! meanwhile keeps its descriptor and its identifier until no answer needs them; there are as many slots
//! for such *ghosts* as for what is held.

use super::closing::Closing;
use super::hash::{self, Key};
use crate::protocol::entry::{ENTRY_MAX, EXPIRY, Entry};
use crate::protocol::tai::Label;
use crate::sys::bug;
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::kind::{self, Closes};
use crate::sys::memory::{List, Mapping, at};

/// A moment, by [`Table::record`], that never comes.
const NEVER: u64 = u64::MAX;

/// Stands for the present in [`Table::after`]: later than all that is over, before `NEVER`.
pub const NOW: u64 = NEVER - 1;

/// What an answer needs of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// The identifier.
    Identifier,
    /// The descriptor as well.
    Descriptor,
}

/// What is held, or was.
pub struct Slot {
    /// The number of the next slot in the same bucket, or of the next free one.
    next: Link,
    fd: Option<Fd>,
    /// How many answers need it, by [`Need`]; a client has one at a time.
    needed_identifier: u16,
    needed_descriptor: u16,
    /// When it was put in, by the clock of the table.
    since: u64,
    /// When it was forgotten; [`NEVER`] while it is held.
    until: u64,
    /// As it is on the wire: expiry, length, identifier, NUL.
    entry: [u8; ENTRY_MAX],
}

/// The number of a slot, or none.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Link(u32);

impl Link {
    /// None. All zeros, since buckets lie in memory that is.
    const NONE: Link = Link(0);

    fn to(slot: u32) -> Link {
        Link(slot + 1)
    }

    fn get(self) -> Option<u32> {
        self.0.checked_sub(1)
    }
}

/// Where in an entry the identifier begins.
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

    /// A part of the entry, up to that many bytes behind the identifier.
    fn part(&self, from: usize, behind: usize) -> &[u8] {
        let end = IDENTIFIER_AT + usize::from(self.entry[EXPIRY]) + behind;
        self.entry.get(from..end).unwrap_or_default()
    }

    /// The identifier.
    pub fn identifier(&self) -> &[u8] {
        self.part(IDENTIFIER_AT, 0)
    }

    /// The identifier with NUL behind it, as in a list.
    pub fn name(&self) -> &[u8] {
        self.part(IDENTIFIER_AT, 1)
    }

    /// All of the entry, as in a dump.
    pub fn entry(&self) -> &[u8] {
        self.part(0, 1)
    }

    /// When it expires.
    pub fn expiry(&self) -> &Label {
        self.entry.first_chunk().unwrap_or(&[0; EXPIRY])
    }

    /// The descriptor, unless it is closed.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(Fd::borrow)
    }

    /// How many answers need it.
    fn needed(&mut self, need: Need) -> &mut u16 {
        match need {
            Need::Identifier => &mut self.needed_identifier,
            Need::Descriptor => &mut self.needed_descriptor,
        }
    }

    /// An answer needs it from now on.
    pub fn need(&mut self, need: Need) {
        *self.needed(need) += 1;
    }

    /// Whether it was held at a moment.
    fn was_held(&self, moment: u64) -> bool {
        self.since <= moment && moment < self.until
    }
}

/// The table.
pub struct Table {
    slots: List<Slot>,
    /// The first slot of each bucket, a [`Link`] as a number.
    buckets: Mapping<u32>,
    /// How many slots are held.
    held: usize,
    /// How many slots are in use: held, or ghosts.
    used: usize,
    /// What identifiers are hashed with to find their bucket.
    key: Key,
    /// The present: how many moments have been recorded before it.
    clock: u64,
    /// A free one of the slots that have been used.
    free: Link,
    /// Nothing that is held expires before this date.
    pub alarm: Label,
    /// Closes what is let go.
    pub closing: Closing,
}

/// Later than all dates.
pub const NO_ALARM: Label = [u8::MAX; EXPIRY];

impl Table {
    /// An empty one for that many descriptors; `key` should not be known to others.
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

    /// Whether there has been memory for it.
    pub fn has_memory(&self) -> bool {
        self.slots.capacity() > 0 && !self.buckets.is_empty() && self.closing.has_memory()
    }

    /// How many may be held.
    pub fn most(&self) -> usize {
        self.buckets.len()
    }

    /// How many more may be held.
    pub fn room(&self) -> usize {
        self.most() - self.held
    }

    /// How many slots are in use, for what is held or for ghosts.
    pub fn used(&self) -> usize {
        self.used
    }

    /// How many more slots there are.
    pub fn free_slots(&self) -> usize {
        self.slots.capacity() - self.used
    }

    /// Whether there is a free slot for each of that many descriptors, or for as many as may be held.
    pub fn has_slots(&self, descriptors: usize) -> bool {
        self.free_slots() >= descriptors.min(self.most())
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
            slot.was_held(moment)
        })
    }

    /// The slots of what was held at a moment, from that number on.
    pub fn held_at(&self, moment: u64, from: u32) -> impl Iterator<Item = &Slot> {
        let slots = self.slots.get(from as usize..).unwrap_or_default();
        slots.iter().filter(move |slot| slot.was_held(moment))
    }

    /// The slot of that number.
    pub fn get(&self, number: u32) -> Option<&Slot> {
        self.slots.get(number as usize)
    }

    /// The slot of that number.
    pub fn at(&mut self, number: u32) -> &mut Slot {
        self.slots.at(number as usize)
    }

    /// The number of the bucket that an identifier belongs to.
    fn bucket(&self, identifier: &[u8]) -> usize {
        let hash = hash::hash(&self.key, identifier) as u32;
        // The part that the buckets are of 2^32.
        ((u64::from(hash) * self.buckets.len() as u64) >> 32) as usize
    }

    /// The number of the slot of what is held under an identifier.
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

    /// Holds a descriptor under an entry. Its identifier must not be in use, and there has to be a free
    /// slot.
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

    /// Makes a date the alarm, if it is earlier.
    pub fn set_alarm(&mut self, date: &Label) {
        if *date < self.alarm {
            self.alarm = *date;
        }
    }

    /// Stops holding what is in a slot, if it is held. It is closed as soon as no answer needs it.
    pub fn forget(&mut self, number: u32) {
        let clock = self.clock;
        let forgotten = self.at(number);
        if forgotten.until != NEVER {
            return;
        }
        forgotten.until = clock;
        self.held -= 1;
        self.unlink(number);
        self.clean(number);
    }

    /// Takes a slot out of its bucket: whatever leads to it leads to the next one.
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

    /// An answer does not need a slot any more.
    pub fn release(&mut self, number: u32, need: Need) {
        *self.at(number).needed(need) -= 1;
        self.clean(number);
    }

    /// Closes and frees what is not held any more, as far as no answer needs it.
    fn clean(&mut self, number: u32) {
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

    /// Lets go of all. What takes long to close even when the process ends is closed elsewhere. A socket
    /// is left to the end of the process: then the kernel does not wait for its peer.
    pub fn end(&mut self) {
        for slot in self.slots.iter_mut() {
            let Some(fd) = slot.fd.take() else { continue };
            match kind::closes(fd.borrow()) {
                Closes::Promptly => drop(fd),
                Closes::Interruptibly => core::mem::forget(fd),
                Closes::Late => self.closing.close(fd),
            }
        }
    }
}
