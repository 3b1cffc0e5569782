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

    /// What lies behind a name, `=` included, in the first string that begins with it.
    #[inline(never)]
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

/// A vector in the making. What it has no room for the kernel would not take either.
#[repr(C)]
pub struct Builder {
    /// How many strings there are, and how many bytes of those that were made here.
    count: usize,
    length: usize,
    pointers: [*const u8; SIZE_MAX / size_of::<*const u8>()],
    bytes: [u8; SIZE_MAX],
}

impl Builder {
    /// No strings yet; nothing if there is no memory for them.
    pub fn new() -> Option<&'static mut Builder> {
        // SAFETY: zeros are numbers, bytes, and NULL.
        unsafe { super::map() }
    }

    /// Adds a string that is there already.
    pub fn add(&mut self, string: Text) {
        self.set(string.as_ptr());
    }

    /// Makes the next pointer. NULL stays behind it.
    #[inline(never)]
    fn set(&mut self, pointer: *const u8) {
        if let Some(place) = self.pointers.get_mut(self.count) {
            *place = pointer;
            self.count += 1;
        }
    }

    /// Begins to make a string that starts with `name`.
    pub fn begin(&mut self, name: Text) -> &mut Builder {
        // The zero at the end of the string before.
        self.length += 1;
        self.set(self.bytes.as_ptr().wrapping_add(self.length));
        for byte in name {
            self.byte(byte);
        }
        self
    }

    /// Adds a byte to the string that is being made. A zero stays behind it.
    #[inline(never)]
    pub fn byte(&mut self, byte: u8) -> &mut Builder {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
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
    pub fn finish(&self) -> Result<Vector, Errno> {
        if self.length < SIZE_MAX && self.count + 1 < self.pointers.len() {
            Ok(Vector(self.pointers.as_ptr()))
        } else {
            Err(Errno::TOOBIG)
        }
    }
}
