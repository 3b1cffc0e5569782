//! Memory of a size that is known only at the start, and files read into memory.

use super::text::Text;
use super::{CONTROL_MAX, Errno, call3, map_bytes, server, word};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::slice;

/// No kernel has larger pages.
const PAGE_MAX: usize = 1 << 16;

/// Where what comes from a client is received: whole pages, so that they can be given back.
#[repr(C)]
pub struct Space {
    /// The control message.
    pub control: [i32; CONTROL_MAX],
    /// The bytes.
    pub bytes: [u8; 2 * PAGE_MAX - size_of::<[i32; CONTROL_MAX]>()],
}

impl Space {
    /// Gives the memory back. It is open whether what is in it becomes zeros.
    pub fn give_back(&mut self) {
        let (place, advice) = (self as *mut Space as usize, libc::MADV_DONTNEED as usize);
        // SAFETY: all of it, which consists of numbers, can become zeros; if it does not begin with
        // a page the kernel does nothing.
        let _ = unsafe { call3(place, size_of::<Space>(), advice, libc::SYS_madvise) };
    }
}

/// One mapping that is handed out piece by piece and stays until the process ends. It is all zeros,
/// and costs nothing until it is used.
pub struct Memory {
    next: NonNull<u8>,
    left: usize,
}

/// What every piece is aligned to. A mapping begins with a page.
const ALIGN: usize = 8;

/// What consists of numbers: zeros are a value of these.
///
/// # Safety
/// All bytes zero must be a valid value, and there must be nothing to drop.
pub unsafe trait Number {}
// SAFETY: an integer.
unsafe impl Number for u32 {}
// SAFETY: integers.
unsafe impl Number for Space {}
// SAFETY: zeros are numbers.
unsafe impl<N: Number, const COUNT: usize> Number for [N; COUNT] {}

impl Memory {
    /// So many bytes; nothing if they cannot be had.
    pub fn map(size: usize) -> Option<Memory> {
        Some(Memory { next: map_bytes(size)?, left: size })
    }

    /// A place for that many bytes. What there is no room for is a mistake in the program, which
    /// ends it.
    fn take(&mut self, size: usize) -> NonNull<u8> {
        let size = size.next_multiple_of(ALIGN);
        let Some(left) = self.left.checked_sub(size) else { super::exit(111) };
        self.left = left;
        let place = self.next;
        // SAFETY: both ends lie in what was left of the mapping.
        self.next = unsafe { place.add(size) };
        place
    }

    /// A place for that many values.
    fn place<T>(&mut self, count: usize) -> NonNull<T> {
        const { assert!(align_of::<T>() <= ALIGN) };
        self.take(count.saturating_mul(size_of::<T>())).cast()
    }

    /// That many zeros.
    pub fn zeros<N: Number>(&mut self, count: usize) -> &'static mut [N] {
        let place = self.place(count);
        // SAFETY: the mapping has never been written to, and nobody else has this part of it.
        unsafe { slice::from_raw_parts_mut(place.as_ptr(), count) }
    }

    /// Room for that many values, none there yet.
    pub fn list<T>(&mut self, capacity: usize) -> List<T> {
        List { place: self.place(capacity), length: 0, capacity }
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

    /// Takes the value at that place out, and puts the last one there.
    pub fn remove(&mut self, index: usize) -> T {
        let last = self.length.wrapping_sub(1);
        at(self, index);
        at(self, last);
        self.swap(index, last);
        self.length = last;
        // SAFETY: there is a value at that place, and nobody reaches it any more.
        unsafe { self.place.add(last).read() }
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
    /// That of no file.
    pub const EMPTY: Content = Content { place: NonNull::dangling(), length: 0 };

    /// Reads the whole file; `EINVAL` for an empty one.
    pub fn read(path: Text) -> Result<Content, Errno> {
        let fd = server::open(path.as_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK)?;
        let content = Content::read_from(fd);
        super::close(fd as i32);
        content
    }

    fn read_from(fd: usize) -> Result<Content, Errno> {
        // SAFETY: touches no memory.
        let length = unsafe { call3(fd, 0, libc::SEEK_END as usize, libc::SYS_lseek)? };
        // A directory says something absurd.
        if length == 0 || length > i32::MAX as usize {
            return Err(Errno::INVAL);
        }
        let content = Content { place: map_bytes(length).ok_or(Errno::NOMEM)?, length };
        let mut have = 0;
        while have < length {
            let (place, left) = (content.place.as_ptr() as usize + have, length - have);
            // SAFETY: so many bytes are left of the mapping.
            match unsafe { word::read_at(fd, place, left, have)? } {
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
