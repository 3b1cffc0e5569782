//! Memory of a size that is known only when the program runs: anonymous mappings, which are all
//! zeros and cost nothing until they are used.

use super::{arch, bug, call3};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::slice;

/// What consists of numbers: all bytes zero are a valid value.
///
/// # Safety
/// All bytes zero must be a valid value, and there must be nothing to drop.
pub unsafe trait Zeros {}
// SAFETY: integers.
unsafe impl Zeros for u8 {}
// SAFETY: integers.
unsafe impl Zeros for u32 {}
// SAFETY: NULL is a pointer.
unsafe impl<T> Zeros for *const T {}
// SAFETY: `None` is all zeros for a reference to a sized type, and for nothing else is this used.
unsafe impl<Z: Zeros, const COUNT: usize> Zeros for [Z; COUNT] {}

/// A mapping of so many values, which is given back when it is dropped.
pub struct Mapping<Z: Zeros> {
    place: NonNull<Z>,
    length: usize,
}

impl<Z: Zeros> Mapping<Z> {
    /// Without any value.
    pub const EMPTY: Mapping<Z> = Mapping { place: NonNull::dangling(), length: 0 };

    /// `length` values, all zeros; nothing if they cannot be had.
    pub fn new(length: usize) -> Option<Mapping<Z>> {
        let size = length.checked_mul(size_of::<Z>())?;
        Some(Mapping { place: map(size)?.cast(), length })
    }
}

impl<Z: Zeros> Deref for Mapping<Z> {
    type Target = [Z];

    fn deref(&self) -> &[Z] {
        // SAFETY: the mapping is this long, and zeros or what has been written are values.
        unsafe { slice::from_raw_parts(self.place.as_ptr(), self.length) }
    }
}

impl<Z: Zeros> DerefMut for Mapping<Z> {
    fn deref_mut(&mut self) -> &mut [Z] {
        // SAFETY: the mapping is this long, and nobody else has it.
        unsafe { slice::from_raw_parts_mut(self.place.as_ptr(), self.length) }
    }
}

impl<Z: Zeros> Drop for Mapping<Z> {
    fn drop(&mut self) {
        let (place, size) = (self.place.as_ptr() as usize, self.length * size_of::<Z>());
        // SAFETY: nobody else has the mapping, and borrows of it have ended. Of none the kernel says
        // that it is not valid, and does nothing.
        let _ = unsafe { call3(libc::SYS_munmap, place, size, 0) };
    }
}

/// Asks the kernel for memory; nothing if it cannot be had.
fn map(size: usize) -> Option<NonNull<u8>> {
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
    // SAFETY: takes no memory that is in use already.
    let place = unsafe { arch::mmap([0, size, protection, flags, usize::MAX, 0]) };
    // The kernel answers -1 to -4095 for an error.
    if place as usize > -4096isize as usize { None } else { NonNull::new(place as *mut u8) }
}

/// The value at that place of a slice. That there is none is a mistake in the program: this is for
/// places that the program itself has worked out.
pub fn at<T>(slice: &mut [T], index: usize) -> &mut T {
    match slice.get_mut(index) {
        Some(value) => value,
        None => bug(),
    }
}
