//! Strings as C has them. A pointer to one is half as wide as a slice, and a string out of `argv`
//! can be handed back to the kernel as it is.

use core::ffi::CStr;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// Bytes that a NUL ends and that live as long as the process. It is an iterator over them.
#[derive(Clone, Copy, Debug)]
pub struct Text(NonNull<u8>);

// SAFETY: nobody writes to the bytes.
unsafe impl Sync for Text {}

impl Text {
    /// No bytes.
    pub const EMPTY: Text = Text::new(c"");

    /// The bytes of a C string.
    pub const fn new(string: &'static CStr) -> Text {
        // SAFETY: a reference is not null.
        Text(unsafe { NonNull::new_unchecked(string.as_ptr().cast_mut().cast()) })
    }

    /// What the kernel left in a vector: NULL is none.
    ///
    /// # Safety
    /// Anything but NULL must point to a C string that lives as long as the process.
    pub(super) unsafe fn from_ptr(string: *const u8) -> Option<Text> {
        NonNull::new(string.cast_mut()).map(Text)
    }

    /// For system calls that take a path.
    pub fn as_ptr(self) -> *const u8 {
        self.0.as_ptr()
    }

    /// The first byte; 0 if there is none.
    pub fn first(self) -> u8 {
        // SAFETY: there always is a byte, the NUL at the end if no other.
        unsafe { *self.0.as_ref() }
    }

    /// Whether there are no bytes.
    pub fn is_empty(self) -> bool {
        self.first() == 0
    }

    /// Takes the first byte off; 0, and nothing taken, if there is none.
    pub fn pop(&mut self) -> u8 {
        let first = self.first();
        if first != 0 {
            // SAFETY: behind a byte that is not NUL there is another one.
            self.0 = unsafe { self.0.add(1) };
        }
        first
    }

    /// What lies behind `head`, if it begins with that.
    pub fn behind(mut self, head: Text) -> Option<Text> {
        for byte in head {
            if self.pop() != byte {
                return None;
            }
        }
        Some(self)
    }

    /// The decimal number below 2^32 that it begins with, 0 if there is no digit, and what lies
    /// behind it; that begins with a digit if the number would be larger.
    pub fn decimal(mut self) -> (u32, Text) {
        let mut number = 0;
        loop {
            let digit = self.first().wrapping_sub(b'0');
            let longer = u64::from(number) * 10 + u64::from(digit);
            if digit > 9 || longer > u32::MAX.into() {
                return (number, self);
            }
            number = longer as u32;
            self.pop();
        }
    }

    /// The decimal number below 2^32 that it is, if it is nothing else.
    pub fn number(self) -> Option<u32> {
        let (number, rest) = self.decimal();
        if rest.is_empty() && !self.is_empty() { Some(number) } else { None }
    }
}

impl Iterator for Text {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let first = self.pop();
        if first == 0 { None } else { Some(first) }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.behind(*other).is_some_and(Text::is_empty)
    }
}

/// Texts that lie one behind the other, up to an empty one.
#[derive(Clone, Copy)]
pub struct Texts(Text);

impl Texts {
    /// The texts in `bytes`. They must end with an empty one: two NULs, or just one for no texts.
    pub const fn new(bytes: &'static [u8]) -> Texts {
        assert!(matches!(bytes, [.., 0, 0] | [0]));
        // SAFETY: a reference is not null, and there is a NUL.
        Texts(Text(unsafe { NonNull::new_unchecked(bytes.as_ptr().cast_mut()) }))
    }
}

impl Iterator for Texts {
    type Item = Text;

    fn next(&mut self) -> Option<Text> {
        let text = self.0;
        if text.is_empty() {
            return None;
        }
        while self.0.pop() != 0 {}
        // SAFETY: behind a text that is not empty there is another one.
        self.0.0 = unsafe { self.0.0.add(1) };
        Some(text)
    }
}

/// A text in a static: others can be put in its place.
pub struct Shared(AtomicPtr<u8>);

impl Shared {
    /// No text yet.
    pub const fn nothing() -> Shared {
        Shared(AtomicPtr::new(ptr::null_mut()))
    }

    /// Puts a text there.
    pub fn set(&self, text: Text) {
        self.0.store(text.0.as_ptr(), Relaxed);
    }

    /// The text that is there, if one has been put.
    pub fn get(&self) -> Option<Text> {
        NonNull::new(self.0.load(Relaxed)).map(Text)
    }
}
