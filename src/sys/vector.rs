//! Vectors of C strings as the kernel hands them to a program and takes them from it: `argv`,
//! `envp`.

use core::ffi::{CStr, c_char};

/// A NULL-terminated vector of C strings that live as long as the process.
#[derive(Clone, Copy)]
pub struct Vector(*const *const c_char);

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

    /// A vector out of memory that the caller has built.
    ///
    /// # Safety
    /// The slice must end with NULL, hold pointers to C strings before it, and live, with them,
    /// as long as the process.
    pub unsafe fn from_slice(pointers: &'static [*const c_char]) -> Vector {
        Vector(pointers.as_ptr())
    }

    /// The first string, if there is one.
    pub fn first_c(self) -> Option<&'static CStr> {
        // SAFETY: there always is a first element, NULL or a string that lives for ever.
        unsafe {
            let string = *self.0;
            if string.is_null() { None } else { Some(CStr::from_ptr(string)) }
        }
    }

    /// The bytes of the first string, if there is one.
    pub fn first(self) -> Option<&'static [u8]> {
        self.first_c().map(CStr::to_bytes)
    }

    /// Leaves the first string out, if there is one.
    pub fn advance(&mut self) {
        // SAFETY: there always is a first element; unless it is NULL there is another one.
        unsafe {
            if !(*self.0).is_null() {
                self.0 = self.0.add(1);
            }
        }
    }

    /// How many strings it holds.
    pub fn count(self) -> usize {
        self.fold(0, |n, _| n + 1)
    }

    /// For the system calls that take such a vector.
    pub fn as_ptr(self) -> *const *const c_char {
        self.0
    }
}

impl Iterator for Vector {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        let first = self.first();
        self.advance();
        first
    }
}
