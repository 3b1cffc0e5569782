//! Memory of a size that is known only at the start, and files read into memory.

use super::text::Text;
use super::{AT, Errno, call3, call5, map_bytes};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::slice;

/// What [`Memory::zeros`] aligns to: no kernel has larger pages.
pub const PAGE_MAX: usize = 1 << 16;

/// One mapping that is handed out piece by piece and stays until the process ends. It is all zeros,
/// and costs nothing until it is used.
pub struct Memory {
    next: NonNull<u8>,
    left: usize,
}

/// Numbers: zeros are a value of these.
///
/// # Safety
/// All bytes zero must be a valid value, and there must be nothing to drop.
pub unsafe trait Number: Copy {}
// SAFETY: an integer.
unsafe impl Number for u8 {}
// SAFETY: an integer.
unsafe impl Number for u32 {}
// SAFETY: an integer.
unsafe impl Number for i32 {}

impl Memory {
    /// So many bytes; nothing if they cannot be had.
    pub fn map(size: usize) -> Option<Memory> {
        Some(Memory { next: map_bytes(size)?, left: size })
    }

    /// The first so many bytes, to be handed out by themselves.
    pub fn part(&mut self, size: usize) -> Memory {
        Memory { next: self.take::<u8>(size, 1), left: size }
    }

    /// A place for that many values. What there is no room for is a mistake in the program, which
    /// ends it.
    fn take<T>(&mut self, count: usize, align: usize) -> NonNull<T> {
        let padding = (self.next.as_ptr() as usize).wrapping_neg() & (align - 1);
        let size = count.saturating_mul(size_of::<T>()).saturating_add(padding);
        let Some(left) = self.left.checked_sub(size) else { super::exit(111) };
        self.left = left;
        // SAFETY: both ends lie in what is left of the mapping.
        unsafe {
            let place = self.next.add(padding).cast();
            self.next = self.next.add(size);
            place
        }
    }

    /// That many zeros.
    pub fn zeros<N: Number>(&mut self, count: usize) -> &'static mut [N] {
        let place = self.take(count, align_of::<N>());
        // SAFETY: the mapping has never been written to, and nobody else has this part of it.
        unsafe { slice::from_raw_parts_mut(place.as_ptr(), count) }
    }

    /// That many zeros, which have their pages for themselves if the count in bytes is a multiple
    /// of [`PAGE_MAX`], and so was whatever has been taken before.
    pub fn pages<N: Number>(&mut self, count: usize) -> Pages<N> {
        Pages(self.zeros(count))
    }

    /// Room for that many values, none there yet.
    pub fn list<T>(&mut self, capacity: usize) -> List<T> {
        List { place: self.take(capacity, align_of::<T>()), length: 0, capacity }
    }
}

/// Numbers that can be given back.
pub struct Pages<N: 'static>(&'static mut [N]);

impl<N: Number> Pages<N> {
    /// Gives the memory back; the numbers are undefined from now on, until they are written again.
    pub fn give_back(&mut self) {
        let size = size_of_val(self.0) / PAGE_MAX * PAGE_MAX;
        let place = self.0.as_mut_ptr() as usize;
        // SAFETY: what is no multiple of a page in length is left out, so these numbers alone can
        // become zeros; where they do not begin with a page the kernel does nothing.
        let _ = unsafe { call3(place, size, libc::MADV_DONTNEED as usize, libc::SYS_madvise) };
    }
}

impl<N> Deref for Pages<N> {
    type Target = [N];

    fn deref(&self) -> &[N] {
        self.0
    }
}

impl<N> DerefMut for Pages<N> {
    fn deref_mut(&mut self) -> &mut [N] {
        self.0
    }
}

/// Values one behind the other, up to a number that is known at the start. They are never dropped.
pub struct List<T: 'static> {
    place: NonNull<T>,
    length: usize,
    capacity: usize,
}

impl<T> List<T> {
    /// Adds a value and says where it is. That there is no room left is a mistake in the program.
    pub fn push(&mut self, value: T) -> usize {
        let index = self.length;
        if index == self.capacity {
            super::exit(111);
        }
        // SAFETY: below the capacity there is room for a value.
        unsafe { self.place.add(index).write(value) };
        self.length += 1;
        index
    }

    /// The value at that place.
    pub fn at(&mut self, index: usize) -> &mut T {
        at(self, index)
    }

    /// Whether there is no room left.
    pub fn is_full(&self) -> bool {
        self.length == self.capacity
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: so many values have been written, and this owns them.
        unsafe { slice::from_raw_parts(self.place.as_ptr(), self.length) }
    }
}

impl<T> DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: so many values have been written, and this owns them.
        unsafe { slice::from_raw_parts_mut(self.place.as_ptr(), self.length) }
    }
}

/// The value at that place of a slice. That there is none is a mistake in the program, which ends
/// it: this is for places that the program itself has worked out.
pub fn at<T>(slice: &mut [T], index: usize) -> &mut T {
    match slice.get_mut(index) {
        Some(value) => value,
        None => super::exit(111),
    }
}

/// What a file had in it when it was read: whatever happens to the file later, that stays.
pub struct Content {
    place: NonNull<u8>,
    length: usize,
}

impl Content {
    /// Reads the whole file.
    pub fn read(path: Text) -> Result<Content, Errno> {
        let flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK) as usize;
        // SAFETY: the kernel reads a C string.
        let fd = unsafe { call5(AT, path.as_ptr() as usize, flags, 0, 0, libc::SYS_openat)? };
        let content = Content::read_from(fd);
        super::close(fd as i32);
        content
    }

    fn read_from(fd: usize) -> Result<Content, Errno> {
        // SAFETY: touches no memory.
        let length = unsafe { call3(fd, 0, libc::SEEK_END as usize, libc::SYS_lseek)? };
        // A directory says something absurd.
        if length > i32::MAX as usize {
            return Err(Errno::INVAL);
        }
        let content = Content { place: map_bytes(length.max(1)).ok_or(Errno::NOMEM)?, length };
        let mut have = 0;
        while have < length {
            let (place, left) = (content.place.as_ptr() as usize + have, length - have);
            // SAFETY: so many bytes are left of the mapping.
            match unsafe { call5(fd, place, left, have, 0, libc::SYS_pread64)? } {
                0 => return Err(Errno::IO),
                read => have += read,
            }
        }
        Ok(content)
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is this long.
        unsafe { slice::from_raw_parts(self.place.as_ptr(), self.length) }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        // SAFETY: nobody else has the mapping, and borrows of it have ended.
        let _ = unsafe { call3(self.place.as_ptr() as usize, self.length, 0, libc::SYS_munmap) };
    }
}
