//! Owned descriptors.

use crate::sys::{self, OpenFileLimit, Poll, Time};
use core::num::NonZeroI32;

/// An open descriptor that closes when it is dropped.
///
/// It is kept as the complement of its number, which is never 0: so `Option<Fd>` is as small as
/// the number, and a static table of `None` is all zeros and takes no room in the file.
#[derive(PartialEq, Eq, Debug)]
pub struct Fd(NonZeroI32);

impl Fd {
    /// Takes over the descriptor of that number, which nobody else must own. A negative number
    /// is none.
    pub fn own(number: i32) -> Option<Fd> {
        if number < 0 { None } else { NonZeroI32::new(!number).map(Fd) }
    }

    /// Its number, for as long as it is open.
    pub fn number(&self) -> i32 {
        !self.0.get()
    }

    /// Gives up the ownership: the descriptor stays open.
    pub fn leave(self) -> i32 {
        let number = self.number();
        core::mem::forget(self);
        number
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        sys::close(self.number());
    }
}

/// Received descriptors, in the order of their arrival, up to `N`.
pub struct Batch<const N: usize> {
    slots: [Option<Fd>; N],
    length: usize,
}

impl<const N: usize> Batch<N> {
    /// An empty batch, all zeros.
    pub const EMPTY: Batch<N> = Batch { slots: [const { None }; N], length: 0 };

    /// Takes one over; a full batch closes it and answers false.
    pub fn push(&mut self, fd: Fd) -> bool {
        let slot = self.slots.get_mut(self.length);
        if let Some(slot) = slot {
            *slot = Some(fd);
            self.length += 1;
            return true;
        }
        false
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The numbers of those in a range, as far as they exist.
    pub fn numbers(&self, from: usize, count: usize) -> impl Iterator<Item = i32> {
        self.slots.iter().take(self.length).skip(from).take(count).flatten().map(Fd::number)
    }

    /// Takes one out. The others keep their places.
    pub fn take(&mut self, at: usize) -> Option<Fd> {
        self.slots.get_mut(at)?.take()
    }

    /// Closes the first `count`; those behind them move up.
    pub fn drop_first(&mut self, count: usize) {
        let length = self.length;
        self.length = length.saturating_sub(count);
        for to in 0..length {
            let next = self.slots.get_mut(to + count).and_then(Option::take);
            if let Some(slot) = self.slots.get_mut(to) {
                *slot = next;
            }
        }
    }
}

/// Raises the soft limit on open files to the hard one, and counts the descriptors that can
/// still be opened, up to `wanted`. The second number is the limit.
pub fn make_room(wanted: usize) -> (usize, usize) {
    let limit = sys::open_file_limit();
    if limit.soft < limit.hard {
        sys::set_open_file_limit(OpenFileLimit { soft: limit.hard, ..limit });
    }
    let mut numbers = 0..limit.hard;
    let mut free = 0;
    while free < wanted && !numbers.is_empty() {
        // A poll of numbers that are no open descriptors says so of each.
        let mut chunk = [const { Poll { fd: -1, events: 0, happened: 0 } }; 128];
        let mut length = 0;
        for (slot, number) in chunk.iter_mut().zip(&mut numbers) {
            slot.fd = number as i32;
            length += 1;
        }
        let Some(chunk) = chunk.get_mut(..length) else { break };
        if sys::poll(chunk, Some(&mut Time::ZERO.clone())).is_err() {
            break;
        }
        free += chunk.iter().filter(|slot| slot.happened == Poll::INVALID).count();
    }
    (free.min(wanted), limit.hard as usize)
}
