//! Vectors of C strings as the kernel hands them to a program and takes them from it: `argv`,
//! `envp`.

use super::Errno;
use super::text::Text;

/// A NULL-terminated vector of C strings that live as long as the process.
#[derive(Clone, Copy)]
pub struct Vector(*const *const u8);

impl Vector {
    /// The arguments and the environment on the initial stack.
    ///
    /// # Safety
    /// `stack` must be the stack pointer that the kernel started the process with.
    pub unsafe fn from_stack(stack: *const usize) -> (Vector, Vector) {
        // SAFETY: the first word is argc, and argv and envp lie behind it, each ended by NULL.
        unsafe {
            let argv = stack.add(1);
            let envp = argv.add(*stack + 1);
            (Vector(argv.cast()), Vector(envp.cast()))
        }
    }

    /// The first string, if there is one.
    pub fn first(self) -> Option<Text> {
        // SAFETY: there always is a first element, NULL or a string that lives for ever.
        unsafe { Text::from_ptr(*self.0) }
    }

    /// For the system calls that take such a vector.
    pub fn as_ptr(self) -> *const *const u8 {
        self.0
    }
}

impl Iterator for Vector {
    type Item = Text;

    /// Takes the first string off.
    fn next(&mut self) -> Option<Text> {
        let first = self.first();
        if first.is_some() {
            // SAFETY: behind an element that is not NULL there is another one.
            self.0 = unsafe { self.0.add(1) };
        }
        first
    }
}

/// A vector in the making, in memory of its own.
pub struct Builder {
    pointers: &'static mut [*const u8],
    count: usize,
    bytes: &'static mut [u8],
    /// Where the string begins that is being made, and where it ends so far.
    start: usize,
    end: usize,
}

impl Builder {
    /// Room for so many strings, of which those that are made here have so many bytes in all, NULs
    /// included; `ENOMEM` if that cannot be had.
    pub fn new(strings: usize, bytes: usize) -> Result<Builder, Errno> {
        let words = strings.checked_add(1).ok_or(Errno::NOMEM)?;
        let size = words.checked_mul(size_of::<*const u8>()).and_then(|n| n.checked_add(bytes));
        let place = super::map(size.ok_or(Errno::NOMEM)?)?;
        // SAFETY: nobody else has the memory, which is large enough for both, aligned to a page,
        // and all zeros: NULL.
        let (pointers, bytes) = unsafe {
            let behind = place.add(words * size_of::<*const u8>());
            let pointers = core::slice::from_raw_parts_mut(place.cast(), words);
            (pointers, core::slice::from_raw_parts_mut(behind, bytes))
        };
        Ok(Builder { pointers, count: 0, bytes, start: 0, end: 0 })
    }

    /// Adds a string that is there already.
    pub fn add(&mut self, string: Text) {
        self.set(string.as_ptr());
    }

    /// Makes the next pointer. NULL stays behind it.
    fn set(&mut self, pointer: *const u8) {
        let [room @ .., _] = &mut *self.pointers else { return };
        room[self.count] = pointer;
        self.count += 1;
    }

    /// Adds bytes to the string that is being made.
    pub fn push(&mut self, bytes: impl IntoIterator<Item = u8>) -> &mut Builder {
        for byte in bytes {
            self.bytes[self.end] = byte;
            self.end += 1;
        }
        self
    }

    /// Adds a number in decimal to it.
    pub fn number(&mut self, number: usize) -> &mut Builder {
        if number >= 10 {
            self.number(number / 10);
        }
        self.push([b'0' + (number % 10) as u8])
    }

    /// The string is complete.
    pub fn end(&mut self) {
        self.push([0]);
        let string = self.bytes[self.start..].as_ptr();
        self.set(string);
        self.start = self.end;
    }

    /// The vector.
    pub fn finish(self) -> Vector {
        Vector(self.pointers.as_ptr())
    }
}
