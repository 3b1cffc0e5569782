//! Memory of a size that is known only when the program runs: anonymous mappings, which are all
//! zeros and cost nothing until they are used.

use super::fd::FdQueue;
use super::{arch, bug, call3};
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::{self, NonNull};
use core::slice;

/// What all bytes zero are a valid value of.
///
/// # Safety
/// All bytes zero must be a valid value, and the type must not have to be aligned to more than a page.
pub unsafe trait Zeros {}
// SAFETY: integers.
unsafe impl Zeros for u8 {}
// SAFETY: integers.
unsafe impl Zeros for u32 {}
// SAFETY: zeros are values, one behind the other.
unsafe impl<Z: Zeros, const COUNT: usize> Zeros for [Z; COUNT] {}
// SAFETY: an empty queue: `None` in each slot, since a descriptor is never number 0.
unsafe impl<const COUNT: usize> Zeros for FdQueue<COUNT> {}

/// No kernel has larger pages, in bytes.
pub const PAGE_MAX: usize = 1 << 16;

/// What every type is aligned to that lies in pages.
#[repr(align(4096))]
struct Page;

/// Pages of memory that nobody else has, with room for some values. They are given back when this is
/// dropped.
struct Pages {
    place: NonNull<u8>,
    /// How many values there is room for.
    count: usize,
    /// How many bytes these are.
    size: usize,
}

impl Pages {
    /// None at all.
    const NONE: Pages = Pages { place: NonNull::<Page>::dangling().cast(), count: 0, size: 0 };

    /// Room for that many values of `value_size` bytes, all zeros; none if it cannot be had.
    #[inline(never)]
    fn new(count: usize, value_size: usize) -> Pages {
        let Some(size) = count.checked_mul(value_size) else { return Pages::NONE };
        let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
        // SAFETY: takes no memory that is in use already.
        let place = unsafe { arch::mmap([0, size, protection, flags, usize::MAX, 0]) };
        match NonNull::new(place as *mut u8) {
            // The kernel answers -1 to -4095 for an error.
            Some(place) if place.addr().get() <= -4096isize as usize => {
                Pages { place, count, size }
            }
            _ => Pages::NONE,
        }
    }
}

impl Drop for Pages {
    #[inline(never)]
    fn drop(&mut self) {
        if self.size > 0 {
            let place = self.place.as_ptr() as usize;
            // SAFETY: nobody else has the pages, and borrows of them have ended.
            let _ = unsafe { call3(libc::SYS_munmap, place, self.size, 0) };
        }
    }
}

/// A mapping of values, which are all zeros at first. It is given back when it is dropped, and the
/// values are not dropped.
pub struct Mapping<Z: Zeros> {
    pages: Pages,
    values: PhantomData<Z>,
}

impl<Z: Zeros> Mapping<Z> {
    /// Without any value.
    pub const EMPTY: Mapping<Z> = Mapping { pages: Pages::NONE, values: PhantomData };

    /// `length` values, all zeros; nothing if they cannot be had.
    pub fn new(length: usize) -> Option<Mapping<Z>> {
        let mapping = Mapping::new_or_empty(length);
        if mapping.is_empty() { None } else { Some(mapping) }
    }

    /// `length` values, all zeros; none of them if they cannot be had.
    pub fn new_or_empty(length: usize) -> Mapping<Z> {
        Mapping { pages: Pages::new(length, size_of::<Z>()), values: PhantomData }
    }
}

impl Mapping<u8> {
    /// Gives memory of whole pages back; what is in it afterwards is open.
    pub fn give_back(pages: &mut [u8]) {
        let (place, advice) = (pages.as_ptr() as usize, libc::MADV_DONTNEED as usize);
        // SAFETY: bytes can become zeros; where they do not begin with a page the kernel does nothing.
        let _ = unsafe { call3(libc::SYS_madvise, place, pages.len(), advice) };
    }
}

impl<Z: Zeros> Deref for Mapping<Z> {
    type Target = [Z];

    fn deref(&self) -> &[Z] {
        // SAFETY: the mapping is this long, and zeros or what has been written are values.
        unsafe { slice::from_raw_parts(self.pages.place.cast().as_ptr(), self.pages.count) }
    }
}

impl<Z: Zeros> DerefMut for Mapping<Z> {
    fn deref_mut(&mut self) -> &mut [Z] {
        // SAFETY: the mapping is this long, and nobody else has it.
        unsafe { slice::from_raw_parts_mut(self.pages.place.cast().as_ptr(), self.pages.count) }
    }
}

/// Values one behind the other, up to a number that is known at the start.
pub struct List<T> {
    pages: Pages,
    length: usize,
    values: PhantomData<T>,
}

impl<T> List<T> {
    /// Room for that many values; for none if it cannot be had.
    pub fn new(capacity: usize) -> List<T> {
        let pages = Pages::new(capacity, size_of::<T>());
        List { pages, length: 0, values: PhantomData }
    }

    /// Where the values are.
    fn place(&self) -> NonNull<T> {
        self.pages.place.cast()
    }

    /// Adds a value and says where it is. That there is no room left is a mistake in the program.
    pub fn push(&mut self, value: T) -> usize {
        let index = self.length;
        if index == self.capacity() {
            bug();
        }
        // SAFETY: below the capacity there is room for a value.
        unsafe { self.place().add(index).write(value) };
        self.length += 1;
        index
    }

    /// How many values there can be.
    pub fn capacity(&self) -> usize {
        self.pages.count
    }

    /// The value at that place.
    #[inline(never)]
    pub fn at(&mut self, index: usize) -> &mut T {
        at(self, index)
    }

    /// Takes the value at that place out, and puts the last one there.
    pub fn remove(&mut self, index: usize) -> T {
        let last = self.length.wrapping_sub(1);
        at(self, index);
        at(self, last);
        self.swap(index, last);
        self.length = last;
        // SAFETY: there is a value at that place, and nobody reaches it any more.
        unsafe { self.place().add(last).read() }
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: that many values have been written, and this owns them.
        unsafe { slice::from_raw_parts(self.place().as_ptr(), self.length) }
    }
}

impl<T> DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: that many values have been written, and this owns them.
        unsafe { slice::from_raw_parts_mut(self.place().as_ptr(), self.length) }
    }
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        // SAFETY: this owns the values, and nobody reaches them any more.
        unsafe { ptr::drop_in_place::<[T]>(&mut **self) };
    }
}

/// The value at that place of a slice. That there is none is a mistake in the program: this is for
/// places that the program itself has worked out.
pub fn at<T>(slice: &mut [T], index: usize) -> &mut T {
    match slice.get_mut(index) {
        Some(value) => value,
        None => bug(),
    }
}
