//! Memory whose size is known only at run time: anonymous mappings. They are all zeros and take no
//! memory until they are used.

use super::fd::FdQueue;
use super::{arch, bug, call3};
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::{self, NonNull};
use core::slice;

/// Types for which all bytes zero are a valid value.
///
/// # Safety
/// All bytes zero must be a valid value, and the alignment must be at most a page.
pub unsafe trait Zeros {}
// SAFETY: 0 is a valid integer.
unsafe impl Zeros for u8 {}
// SAFETY: 0 is a valid integer.
unsafe impl Zeros for u32 {}
// SAFETY: an array of zeros consists of valid values.
unsafe impl<Z: Zeros, const COUNT: usize> Zeros for [Z; COUNT] {}
// SAFETY: zeros are an empty queue, with `None` in each slot: no descriptor in it has number 0.
unsafe impl<const COUNT: usize> Zeros for FdQueue<COUNT> {}

/// The largest page size of any kernel, in bytes.
pub const PAGE_MAX: usize = 1 << 16;

/// Has the alignment of every mapping.
#[repr(align(4096))]
struct Page;

/// An anonymous mapping with room for `count` values, unmapped when dropped.
struct Pages {
    /// The address.
    place: NonNull<u8>,
    /// The number of values that fit.
    count: usize,
    /// The size in bytes.
    size: usize,
}

impl Pages {
    /// No mapping.
    const NONE: Pages = Pages { place: NonNull::<Page>::dangling().cast(), count: 0, size: 0 };

    /// Maps zeroed memory for `count` values of `value_size` bytes. [`Pages::NONE`] if the kernel
    /// refuses.
    #[inline(never)]
    fn new(count: usize, value_size: usize) -> Pages {
        let Some(size) = count.checked_mul(value_size) else { return Pages::NONE };
        let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
        // SAFETY: the kernel picks an address that is not in use.
        let place = unsafe { arch::mmap([0, size, protection, flags, usize::MAX, 0]) };
        match NonNull::new(place as *mut u8) {
            // The kernel returns -1 to -4095 for an error.
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
            // SAFETY: only this value refers to the pages, and borrows of them have ended.
            let _ = unsafe { call3(libc::SYS_munmap, place, self.size, 0) };
        }
    }
}

/// A slice of values in a mapping of its own, all zeros at first. The mapping ends when this is
/// dropped; the values are not dropped.
pub struct Mapping<Z: Zeros> {
    pages: Pages,
    values: PhantomData<Z>,
}

impl<Z: Zeros> Mapping<Z> {
    /// A slice of length 0.
    pub const EMPTY: Mapping<Z> = Mapping { pages: Pages::NONE, values: PhantomData };

    /// Maps `length` zeroed values. `None` if the kernel refuses.
    pub fn new(length: usize) -> Option<Mapping<Z>> {
        let mapping = Mapping::new_or_empty(length);
        if mapping.is_empty() { None } else { Some(mapping) }
    }

    /// Maps `length` zeroed values. The slice is empty if the kernel refuses.
    pub fn new_or_empty(length: usize) -> Mapping<Z> {
        Mapping { pages: Pages::new(length, size_of::<Z>()), values: PhantomData }
    }
}

impl Mapping<u8> {
    /// Returns whole pages to the kernel. Their content is unspecified afterwards.
    pub fn give_back(pages: &mut [u8]) {
        let (place, advice) = (pages.as_ptr() as usize, libc::MADV_DONTNEED as usize);
        // SAFETY: any byte is valid; the kernel does nothing if the address is not that of a page.
        let _ = unsafe { call3(libc::SYS_madvise, place, pages.len(), advice) };
    }
}

impl<Z: Zeros> Deref for Mapping<Z> {
    type Target = [Z];

    fn deref(&self) -> &[Z] {
        // SAFETY: the mapping has this length, and its content is zeros or has been written as values.
        unsafe { slice::from_raw_parts(self.pages.place.cast().as_ptr(), self.pages.count) }
    }
}

impl<Z: Zeros> DerefMut for Mapping<Z> {
    fn deref_mut(&mut self) -> &mut [Z] {
        // SAFETY: as above, and the mapping is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.pages.place.cast().as_ptr(), self.pages.count) }
    }
}

/// A vector of fixed capacity, in a mapping of its own.
pub struct List<T> {
    pages: Pages,
    length: usize,
    values: PhantomData<T>,
}

impl<T> List<T> {
    /// Maps memory for `capacity` values. The capacity is 0 if the kernel refuses.
    pub fn new(capacity: usize) -> List<T> {
        let pages = Pages::new(capacity, size_of::<T>());
        List { pages, length: 0, values: PhantomData }
    }

    /// The address of the first value.
    fn place(&self) -> NonNull<T> {
        self.pages.place.cast()
    }

    /// Appends a value and returns its index. A full list is a bug in the program and ends the process.
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

    /// Appends several values. All of them must fit.
    pub fn extend(&mut self, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.push(value);
        }
    }

    /// The number of values that fit; 0 if there was no memory.
    pub fn capacity(&self) -> usize {
        self.pages.count
    }

    /// The value at an index. An index out of range is a bug in the program and ends the process.
    #[inline(never)]
    pub fn at(&mut self, index: usize) -> &mut T {
        at(self, index)
    }

    /// Removes the value at an index, and moves the last value there. An index out of range is a bug.
    pub fn remove(&mut self, index: usize) -> T {
        let last = self.length.wrapping_sub(1);
        at(self, index);
        at(self, last);
        self.swap(index, last);
        self.length = last;
        // SAFETY: the value at this index is valid, and the list no longer contains it.
        unsafe { self.place().add(last).read() }
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the list owns this many values, which have been written.
        unsafe { slice::from_raw_parts(self.place().as_ptr(), self.length) }
    }
}

impl<T> DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: the list owns this many values, which have been written.
        unsafe { slice::from_raw_parts_mut(self.place().as_ptr(), self.length) }
    }
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        // SAFETY: the list owns the values, and nothing reaches them afterwards.
        unsafe { ptr::drop_in_place::<[T]>(&mut **self) };
    }
}

/// The element at an index that the program itself has computed. An index out of range is a bug in the
/// program and ends the process.
pub fn at<T>(slice: &mut [T], index: usize) -> &mut T {
    match slice.get_mut(index) {
        Some(value) => value,
        None => bug(),
    }
}
