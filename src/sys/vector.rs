//! Vectors of C strings as the kernel hands them to a program and takes them from it: `argv`,
//! `envp`.

use super::Errno;
use super::text::Text;
use core::cell::Cell;

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

    /// The value of a variable: what lies behind `name`, of which the `=` is a part, in the first string
    /// that begins with it.
    pub fn value(mut self, name: Text) -> Option<Text> {
        self.find_map(|string| string.behind(name))
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

/// The most bytes that the kernel takes for the arguments and the environment of a program,
/// pointers included: three quarters of 8 MB.
const SIZE_MAX: usize = 6 << 20;

/// A vector in the making. Its memory is mapped as it is asked for: what the kernel would not take is
/// `E2BIG`, what cannot be had `ENOMEM`.
pub struct Builder {
    pointers: &'static mut [*const u8],
    /// How many strings there are.
    count: usize,
    /// Where strings are made. The strings that are finished are shared with those who look at them.
    bytes: &'static [Cell<u8>],
    /// How many bytes of it are used.
    length: usize,
    /// How many bytes have been mapped.
    mapped: usize,
    /// Whether something has been added for which no room was asked.
    is_full: bool,
}

impl Builder {
    /// No strings yet, and room for so many of them.
    pub fn new(strings: usize) -> Result<Builder, Errno> {
        // NULL stays behind the last one.
        let pointers = strings.saturating_add(1);
        let mapped = pointers.saturating_mul(size_of::<*const u8>());
        if mapped > SIZE_MAX {
            return Err(Errno::TOOBIG);
        }
        // SAFETY: zeros are NULL.
        let pointers = unsafe { super::map(pointers) }.ok_or(Errno::NOMEM)?;
        Ok(Builder { pointers, count: 0, bytes: &[], length: 0, mapped, is_full: false })
    }

    /// Makes room for strings that are made from now on, of so many bytes with the zero behind each.
    pub fn make_room(&mut self, bytes: usize) -> Result<(), Errno> {
        // The first string begins behind a zero, as all others do.
        let bytes = bytes.saturating_add(1);
        self.mapped = self.mapped.saturating_add(bytes);
        if self.mapped > SIZE_MAX {
            return Err(Errno::TOOBIG);
        }
        // SAFETY: zeros are bytes.
        self.bytes = unsafe { super::map(bytes) }.ok_or(Errno::NOMEM)?;
        self.length = 0;
        Ok(())
    }

    /// Adds a string that is there already.
    pub fn add(&mut self, string: Text) {
        self.set(string.as_ptr());
    }

    /// Makes the next pointer.
    #[inline(never)]
    fn set(&mut self, pointer: *const u8) {
        match self.pointers {
            // The last one stays NULL.
            [places @ .., _] if self.count < places.len() => {
                places[self.count] = pointer;
                self.count += 1;
            }
            _ => self.is_full = true,
        }
    }

    /// Begins to make a string that starts with `name`.
    pub fn begin(&mut self, name: Text) -> &mut Builder {
        // The zero at the end of the string before.
        self.length += 1;
        self.set(self.bytes.as_ptr().cast::<u8>().wrapping_add(self.length));
        for byte in name {
            self.byte(byte);
        }
        self
    }

    /// Adds a byte to the string that is being made. A zero stays behind it.
    #[inline(never)]
    pub fn byte(&mut self, byte: u8) -> &mut Builder {
        match self.bytes {
            [places @ .., _] if self.length < places.len() => {
                places[self.length].set(byte);
                self.length += 1;
            }
            _ => self.is_full = true,
        }
        self
    }

    /// Adds a number in decimal to it.
    pub fn number(&mut self, number: usize) -> &mut Builder {
        if number >= 10 {
            self.number(number / 10);
        }
        self.byte(b'0' + (number % 10) as u8)
    }

    /// The vector; `E2BIG` if there was no room for it.
    pub fn finish(self) -> Result<Vector, Errno> {
        if self.is_full { Err(Errno::TOOBIG) } else { Ok(Vector(self.pointers.as_ptr())) }
    }
}
