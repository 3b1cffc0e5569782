//! Vectors of C strings, `argv` and `envp`: as a program gets them from the kernel, and as `execve`
//! takes them.

use super::bug;
use super::errno::Errno;
use super::memory::{Mapping, Zeros};
use core::ffi::{CStr, c_char};
use core::mem::{forget, replace};
use core::ptr;

/// A NULL-terminated vector of C strings that live as long as the process. It is also an iterator: what
/// it has not returned yet is a vector again.
#[derive(Clone, Copy)]
pub struct Strings(*const *const c_char);

impl Strings {
    /// The arguments and the environment on the initial stack.
    ///
    /// # Safety
    /// `stack` must be the stack pointer that the kernel started the process with.
    pub unsafe fn from_stack(stack: *const usize) -> (Strings, Strings) {
        // SAFETY: the first word is argc. argv and envp follow, each with a NULL at its end.
        unsafe {
            let argv = stack.add(1);
            let envp = argv.add(*stack + 1);
            (Strings(argv.cast()), Strings(envp.cast()))
        }
    }

    /// The vector at an address.
    ///
    /// # Safety
    /// `place` must point to pointers to C strings, then NULL, all valid as long as the process lives.
    pub unsafe fn from_ptr(place: *const *const c_char) -> Strings {
        Strings(place)
    }

    /// The first string, if there is one.
    pub fn first(self) -> Option<&'static CStr> {
        // SAFETY: the first element always exists: NULL, or a string that lives as long as the process.
        unsafe {
            let string = *self.0;
            if string.is_null() { None } else { Some(CStr::from_ptr(string)) }
        }
    }

    /// The value of a variable: what follows `NAME=` in the first string that begins with it.
    pub fn value(mut self, name_and_equals: &[u8]) -> Option<&'static [u8]> {
        self.find_map(|string| string.to_bytes().strip_prefix(name_and_equals))
    }

    /// The address, for system calls.
    pub(super) fn as_ptr(self) -> *const *const c_char {
        self.0
    }
}

impl Iterator for Strings {
    type Item = &'static CStr;

    /// Removes the first string and returns it.
    fn next(&mut self) -> Option<&'static CStr> {
        let first = self.first();
        if first.is_some() {
            // SAFETY: an element follows each one that is not NULL.
            self.0 = unsafe { self.0.add(1) };
        }
        first
    }
}

/// The auxiliary vector, with more information from the kernel. It consists of pairs of a type and a
/// value, and follows the environment. A pair of type 0 ends it.
#[derive(Clone, Copy)]
pub struct Auxiliary(Option<Strings>);

impl Auxiliary {
    /// An empty vector.
    pub const NONE: Auxiliary = Auxiliary(None);

    /// The vector that follows an environment.
    ///
    /// # Safety
    /// The environment must be the one on the stack that the kernel started the process with.
    pub unsafe fn behind(environment: Strings) -> Auxiliary {
        Auxiliary(Some(environment))
    }

    /// The 16 random bytes of `AT_RANDOM`, as two numbers. `None` before Linux 2.6.29.
    pub fn random(self) -> Option<[u64; 2]> {
        const AT_RANDOM: usize = 25;
        let mut end = self.0?;
        for _ in end.by_ref() {}
        // SAFETY: the pairs follow the NULL.
        let mut pair: *const [usize; 2] = unsafe { end.0.add(1) }.cast();
        loop {
            // SAFETY: a pair follows each one that is not of type 0.
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

/// The string without its first `count` bytes. A shorter string is a bug in the program and ends the
/// process.
pub fn tail(string: &CStr, count: usize) -> &CStr {
    match string.to_bytes_with_nul().get(count..) {
        // SAFETY: the end of a C string, NUL included, is a C string.
        Some(rest @ [_, ..]) => unsafe { CStr::from_bytes_with_nul_unchecked(rest) },
        _ => bug(),
    }
}

/// The bytes as a C string, up to the first NUL. `None` if the last byte is not NUL.
pub fn c_string(bytes: &[u8]) -> Option<&CStr> {
    match bytes {
        // SAFETY: the last byte is NUL.
        [.., 0] => Some(unsafe { CStr::from_ptr(bytes.as_ptr().cast()) }),
        _ => None,
    }
}

/// An element of a vector: a pointer to a C string that lives as long as the process, or NULL.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Pointer(*const c_char);

// SAFETY: zeros are NULL, which is an element.
unsafe impl Zeros for Pointer {}

impl Pointer {
    /// A pointer to this string.
    pub fn new(string: &'static CStr) -> Pointer {
        Pointer(string.as_ptr())
    }

    /// The string; `None` for NULL.
    pub fn get(self) -> Option<&'static CStr> {
        // SAFETY: it points to a string that lives as long as the process.
        if self.0.is_null() { None } else { Some(unsafe { CStr::from_ptr(self.0) }) }
    }
}

/// The most bytes of arguments and environment that the kernel accepts, pointers included: three
/// quarters of 8 MiB.
const KERNEL_MAX: usize = 6 << 20;
/// Bytes of a chunk of memory for new strings.
const CHUNK: usize = 1 << 16;
/// Bytes of the longest string that every kernel takes, NUL included: `MAX_ARG_STRLEN` where pages have
/// 4096 bytes.
const KERNEL_STRING_MAX: usize = 32 * 4096;
/// The longest new string, in bytes, NUL included, unless [`Builder::begin_long`] asks for more.
const STRING_MAX: usize = 512;

/// Builds an environment. Its memory is mapped as needed and never unmapped, since the finished vector
/// points to it.
pub struct Builder {
    pointers: Mapping<Pointer>,
    count: usize,
    /// The chunk for new strings.
    chunk: Mapping<u8>,
    /// Where the current string begins in the chunk.
    start: usize,
    /// Where the next byte goes.
    end: usize,
    /// The bytes that the new string may have.
    size: usize,
    /// True if something did not fit, or memory was refused.
    is_full: bool,
}

impl Builder {
    /// A builder for at most `strings` strings, or fewer if the kernel accepts no more. `None` if there
    /// is no memory.
    pub fn new(strings: usize) -> Option<Builder> {
        // One more for the final NULL.
        let room = strings.min(KERNEL_MAX / size_of::<Pointer>()) + 1;
        let (pointers, chunk) = (Mapping::new(room)?, Mapping::new(CHUNK)?);
        Some(Builder { pointers, count: 0, chunk, start: 0, end: 0, size: 0, is_full: false })
    }

    /// Appends a string that exists already.
    pub fn add(&mut self, string: &'static CStr) {
        self.set(Pointer::new(string));
    }

    /// Appends a pointer. The last element stays NULL.
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

    /// Begins a new string.
    pub fn begin(&mut self) -> &mut Builder {
        self.begin_long(STRING_MAX)
    }

    /// The same, with room for `size` bytes, NUL included.
    pub fn begin_long(&mut self, size: usize) -> &mut Builder {
        if self.chunk.len() - self.end < size {
            match Mapping::new(size.max(CHUNK)) {
                // The strings in the old chunk stay valid.
                Some(chunk) => forget(replace(&mut self.chunk, chunk)),
                None => self.is_full = true,
            }
            self.end = 0;
        }
        self.start = self.end;
        self.size = size;
        self
    }

    /// Appends bytes to the new string. They must not contain NUL.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Builder {
        let end = self.end + bytes.len();
        match self.chunk.get_mut(self.end..end) {
            Some(place) if end - self.start <= self.size => {
                place.copy_from_slice(bytes);
                self.end = end;
            }
            _ => self.is_full = true,
        }
        self
    }

    /// Appends a number in decimal to the new string.
    pub fn number(&mut self, number: usize) -> &mut Builder {
        if number >= 10 {
            self.number(number / 10);
        }
        self.bytes(&[b'0' + (number % 10) as u8])
    }

    /// Ends the new string and appends it to the vector.
    pub fn end(&mut self) {
        self.bytes(&[0]);
        self.is_full |= self.end - self.start > KERNEL_STRING_MAX;
        let string = self.chunk.get(self.start..).map_or(ptr::null(), |string| string.as_ptr());
        self.set(Pointer(string.cast()));
    }

    /// `E2BIG` if not everything fitted.
    pub fn check(&self) -> Result<(), Errno> {
        if self.is_full { Err(Errno::TOOBIG) } else { Ok(()) }
    }

    /// The vector. `E2BIG` if not everything fitted.
    pub fn finish(self) -> Result<Strings, Errno> {
        self.check()?;
        let place = self.pointers.as_ptr();
        forget(self.pointers);
        forget(self.chunk);
        Ok(Strings(place.cast()))
    }
}
