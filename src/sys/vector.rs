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

/// What the kernel leaves behind the environment: pairs of a number and a value, up to number 0.
#[derive(Clone, Copy)]
pub struct Auxiliary(*const [usize; 2]);

impl Auxiliary {
    /// None.
    pub const EMPTY: Auxiliary = Auxiliary(&[0; 2]);

    /// That of a process.
    ///
    /// # Safety
    /// `environment` must be that of the stack that the kernel started the process with.
    pub unsafe fn behind(environment: Vector) -> Auxiliary {
        let mut end = environment;
        for _ in end.by_ref() {}
        // SAFETY: the pairs lie behind the NULL.
        Auxiliary(unsafe { end.0.add(1) }.cast())
    }

    /// The random bytes that each process gets, as numbers; kernels before 2.6.29 have none.
    pub fn random(self) -> Option<[u64; 2]> {
        const AT_RANDOM: usize = 25;
        let mut next = self.0;
        loop {
            // SAFETY: up to that of number 0 there is a pair behind every other.
            let (pair, behind) = unsafe { (next.read(), next.add(1)) };
            match pair {
                [0, _] => return None,
                [AT_RANDOM, place] => {
                    // SAFETY: the value is the address of 16 bytes.
                    return Some(unsafe { (place as *const [u64; 2]).read_unaligned() });
                }
                _ => next = behind,
            }
        }
    }
}

/// The most bytes that the kernel takes for the arguments and the environment of a program,
/// pointers included: three quarters of 8 MB. Miri looks at each of them at every step.
const SIZE_MAX: usize = if cfg!(miri) { 1 << 10 } else { 6 << 20 };

/// A vector in the making. What it has no room for the kernel would not take either.
///
/// It is shared by those who add to it: with exclusive references the pointers into it that it
/// hands out would not be allowed.
#[repr(C)]
pub struct Builder {
    /// How many strings there are, and how many bytes of those that were made here.
    count: Cell<usize>,
    length: Cell<usize>,
    pointers: [Cell<*const u8>; SIZE_MAX / size_of::<*const u8>()],
    bytes: [Cell<u8>; SIZE_MAX],
}

impl Builder {
    /// No strings yet; nothing if there is no memory for them.
    pub fn new() -> Option<&'static Builder> {
        // SAFETY: zeros are numbers, bytes, and NULL.
        unsafe { super::map() }.map(|builder| &*builder)
    }

    /// Adds a string that is there already.
    pub fn add(&self, string: Text) {
        self.set(string.as_ptr());
    }

    /// Makes the next pointer. NULL stays behind it.
    #[inline(never)]
    fn set(&self, pointer: *const u8) {
        put(&self.pointers, &self.count, pointer);
    }

    /// Begins to make a string that starts with `name`.
    pub fn begin(&self, name: Text) -> &Builder {
        // The zero at the end of the string before.
        let start = self.length.get() + 1;
        self.length.set(start);
        self.set(self.bytes.as_ptr().cast::<u8>().wrapping_add(start));
        for byte in name {
            self.byte(byte);
        }
        self
    }

    /// Adds a byte to the string that is being made. A zero stays behind it.
    #[inline(never)]
    pub fn byte(&self, byte: u8) -> &Builder {
        put(&self.bytes, &self.length, byte);
        self
    }

    /// Adds a number in decimal to it.
    pub fn number(&self, number: usize) -> &Builder {
        if number >= 10 {
            self.number(number / 10);
        }
        self.byte(b'0' + (number % 10) as u8)
    }

    /// The vector; `E2BIG` if there was no room for it.
    pub fn finish(&self) -> Result<Vector, Errno> {
        if self.length.get() < SIZE_MAX && self.count.get() + 1 < self.pointers.len() {
            Ok(Vector(self.pointers.as_ptr().cast()))
        } else {
            Err(Errno::TOOBIG)
        }
    }
}

/// Puts a value behind the last one, if there is room for it.
fn put<T>(places: &[Cell<T>], end: &Cell<usize>, value: T) {
    if let Some(place) = places.get(end.get()) {
        place.set(value);
        end.set(end.get() + 1);
    }
}
