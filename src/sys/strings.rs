//! Vectors of C strings as the kernel hands them to a program and takes them from it: `argv`,
//! `envp`.

use super::bug;
use super::errno::Errno;
use super::memory::{Mapping, Zeros};
use core::ffi::{CStr, c_char};
use core::mem::{forget, replace};
use core::ptr;

/// A NULL-terminated vector of C strings that live as long as the process. As an iterator it gives
/// them one by one; what is left is a vector again.
#[derive(Clone, Copy)]
pub struct Strings(*const *const c_char);

impl Strings {
    /// The arguments and the environment on the initial stack.
    ///
    /// # Safety
    /// `stack` must be the stack pointer that the kernel started the process with.
    pub unsafe fn from_stack(stack: *const usize) -> (Strings, Strings) {
        // SAFETY: the first word is argc, and argv and envp lie behind it, each ended by NULL.
        unsafe {
            let argv = stack.add(1);
            let envp = argv.add(*stack + 1);
            (Strings(argv.cast()), Strings(envp.cast()))
        }
    }

    /// The vector at a place.
    ///
    /// # Safety
    /// There must be pointers to C strings, then NULL, and all must stay as long as the process.
    pub unsafe fn from_ptr(place: *const *const c_char) -> Strings {
        Strings(place)
    }

    /// The first string, if there is one.
    pub fn first(self) -> Option<&'static CStr> {
        // SAFETY: there always is a first element, NULL or a string that lives for ever.
        unsafe {
            let string = *self.0;
            if string.is_null() { None } else { Some(CStr::from_ptr(string)) }
        }
    }

    /// The value of a variable: what lies behind `NAME=` in the first string that begins with that.
    pub fn value(mut self, name_and_equals: &[u8]) -> Option<&'static [u8]> {
        self.find_map(|string| string.to_bytes().strip_prefix(name_and_equals))
    }

    /// For the system calls that take such a vector.
    pub(super) fn as_ptr(self) -> *const *const c_char {
        self.0
    }
}

impl Iterator for Strings {
    type Item = &'static CStr;

    /// Takes the first string off.
    fn next(&mut self) -> Option<&'static CStr> {
        let first = self.first();
        if first.is_some() {
            // SAFETY: behind an element that is not NULL there is another one.
            self.0 = unsafe { self.0.add(1) };
        }
        first
    }
}

/// The auxiliary vector, in which the kernel tells a process more: pairs of a number and a value behind
/// the environment, up to number 0.
#[derive(Clone, Copy)]
pub struct Auxiliary(Option<Strings>);

impl Auxiliary {
    /// Without a pair.
    pub const NONE: Auxiliary = Auxiliary(None);

    /// The vector behind an environment.
    ///
    /// # Safety
    /// It must be that of the stack that the kernel started the process with.
    pub unsafe fn behind(environment: Strings) -> Auxiliary {
        Auxiliary(Some(environment))
    }

    /// The random bytes that the kernel gives each process, as numbers. Kernels before 2.6.29 have none.
    pub fn random(self) -> Option<[u64; 2]> {
        const AT_RANDOM: usize = 25;
        let mut end = self.0?;
        for _ in end.by_ref() {}
        // SAFETY: the pairs lie behind the NULL.
        let mut pair: *const [usize; 2] = unsafe { end.0.add(1) }.cast();
        loop {
            // SAFETY: up to that of number 0 there is a pair behind every other.
            match unsafe { pair.read() } {
                [0, _] => return None,
                [AT_RANDOM, place] => {
                    let bytes = place as *const [u64; 2];
                    // SAFETY: the value is the address of 16 bytes.
                    return Some(unsafe { bytes.read_unaligned() });
                }
                // SAFETY: as above.
                _ => pair = unsafe { pair.add(1) },
            }
        }
    }
}

/// What lies behind the first `count` bytes of a string that has as many.
pub fn tail(string: &CStr, count: usize) -> &CStr {
    match string.to_bytes_with_nul().get(count..) {
        // SAFETY: the end of a C string, the NUL included, is one.
        Some(rest @ [_, ..]) => unsafe { CStr::from_bytes_with_nul_unchecked(rest) },
        _ => bug(),
    }
}

/// Bytes as a C string, if NUL ends them; where an earlier NUL is, the kernel takes that for the end.
pub fn c_string(bytes: &[u8]) -> Option<&CStr> {
    match bytes {
        // SAFETY: there is a NUL.
        [.., 0] => Some(unsafe { CStr::from_ptr(bytes.as_ptr().cast()) }),
        _ => None,
    }
}

/// A pointer to a C string that lives as long as the process, or to none: what a vector consists of.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Pointer(*const c_char);

// SAFETY: NULL is no string.
unsafe impl Zeros for Pointer {}

impl Pointer {
    /// To a string.
    pub fn new(string: &'static CStr) -> Pointer {
        Pointer(string.as_ptr())
    }

    /// The string, if there is one.
    pub fn get(self) -> Option<&'static CStr> {
        // SAFETY: it was made of a string that lives for ever.
        if self.0.is_null() { None } else { Some(unsafe { CStr::from_ptr(self.0) }) }
    }
}

/// The most bytes that the kernel takes for the arguments and the environment of a program,
/// pointers included: three quarters of 8 MB.
const KERNEL_MAX: usize = 6 << 20;
/// Bytes of a piece of memory for strings that are made.
const CHUNK: usize = 1 << 16;
/// No string that is made is longer, in bytes.
const STRING_MAX: usize = 512;

/// An environment in the making. Its memory is mapped as it is needed and stays for ever, since a
/// vector points to it.
pub struct Builder {
    pointers: Mapping<Pointer>,
    count: usize,
    /// Where strings are made now, and where the current one begins and ends.
    chunk: Mapping<u8>,
    start: usize,
    end: usize,
    /// What there was no memory for.
    is_full: bool,
}

impl Builder {
    /// Room for that many strings, or for as many as the kernel takes; nothing if there is no memory.
    pub fn new(strings: usize) -> Option<Builder> {
        // NULL stands behind the last one.
        let room = strings.min(KERNEL_MAX / size_of::<Pointer>()) + 1;
        let (pointers, chunk) = (Mapping::new(room)?, Mapping::new(CHUNK)?);
        Some(Builder { pointers, count: 0, chunk, start: 0, end: 0, is_full: false })
    }

    /// Adds a string that is there already.
    pub fn add(&mut self, string: &'static CStr) {
        self.set(Pointer::new(string));
    }

    /// Makes the next pointer. NULL stays behind it.
    fn set(&mut self, pointer: Pointer) {
        let last = self.pointers.len() - 1;
        match self.pointers.get_mut(..last).and_then(|pointers| pointers.get_mut(self.count)) {
            Some(place) => {
                *place = pointer;
                self.count += 1;
            }
            None => self.is_full = true,
        }
    }

    /// Begins to make a string.
    pub fn begin(&mut self) -> &mut Builder {
        if CHUNK - self.end < STRING_MAX {
            match Mapping::new(CHUNK) {
                // The strings in the old one stay where they are.
                Some(chunk) => forget(replace(&mut self.chunk, chunk)),
                None => self.is_full = true,
            }
            self.end = 0;
        }
        self.start = self.end;
        self
    }

    /// Adds bytes without NUL to the string that is being made.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Builder {
        let end = self.end + bytes.len();
        match self.chunk.get_mut(self.end..end) {
            Some(place) if end - self.start < STRING_MAX => {
                place.copy_from_slice(bytes);
                self.end = end;
            }
            _ => self.is_full = true,
        }
        self
    }

    /// Adds a number in decimal to it.
    pub fn number(&mut self, number: u32) -> &mut Builder {
        if number >= 10 {
            self.number(number / 10);
        }
        self.bytes(&[b'0' + (number % 10) as u8])
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.bytes(&[0]);
        let string = self.chunk.get(self.start..).map_or(ptr::null(), |string| string.as_ptr());
        self.set(Pointer(string.cast()));
    }

    /// The vector; `E2BIG` if there was no room for all of it.
    pub fn finish(self) -> Result<Strings, Errno> {
        if self.is_full {
            return Err(Errno::TOOBIG);
        }
        let place = self.pointers.as_ptr();
        forget(self.pointers);
        forget(self.chunk);
        Ok(Strings(place.cast()))
    }
}
