//! Owned descriptors, and how many there can be.

use crate::sys::{self, OpenFileLimit};
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
}

impl Drop for Fd {
    fn drop(&mut self) {
        sys::close(self.number());
    }
}

/// Received descriptors, in the order of their arrival, up to `N`: it owns them by their numbers
/// and closes them all at once.
pub struct Batch<const N: usize> {
    numbers: [i32; N],
    length: usize,
}

impl<const N: usize> Batch<N> {
    /// An empty batch, all zeros.
    pub const EMPTY: Batch<N> = Batch { numbers: [0; N], length: 0 };

    /// Takes descriptors over; false if some had no room and were closed.
    pub fn take_over(&mut self, numbers: &[i32]) -> bool {
        let mut room = true;
        for number in numbers {
            match self.numbers.get_mut(self.length) {
                Some(slot) => {
                    *slot = *number;
                    self.length += 1;
                }
                None => {
                    sys::close(*number);
                    room = false;
                }
            }
        }
        room
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The numbers of `count` of them from a place on, as far as they exist.
    pub fn numbers(&self, from: usize, count: usize) -> &[i32] {
        &self.numbers[from..from + count]
    }

    /// Closes all.
    pub fn clear(&mut self) {
        for number in self.numbers.iter().take(core::mem::take(&mut self.length)) {
            sys::close(*number);
        }
    }
}

impl<const N: usize> Drop for Batch<N> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Raises the soft limit on open files to the hard one; false if it is there already.
pub fn raise_limit() -> bool {
    let OpenFileLimit { soft, hard } = sys::open_file_limit();
    if soft < hard {
        sys::set_open_file_limit(OpenFileLimit { soft: hard, hard });
    }
    soft < hard
}

/// How many more descriptors can be opened, counted up to `wanted`. It takes a system call for
/// each number.
pub fn room(wanted: usize) -> usize {
    let mut free = 0;
    for number in 0..sys::open_file_limit().soft as usize {
        if free < wanted && !sys::is_open(number) {
            free += 1;
        }
    }
    free
}
