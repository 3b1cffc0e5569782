//! What the program can say, packed when it is compiled and unpacked when something is said.
//!
//! A text goes by its number, which takes less code than its address: [`crate::text!`] makes one
//! out of the text, and `build.rs` has collected all of them.

use crate::pack;
use crate::sys::errno;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

// The phrases, and all texts, packed.
include!(concat!(env!("OUT_DIR"), "/texts.rs"));

/// One of the texts, by its number: a part of what is said, or all of it.
#[derive(Clone, Copy)]
pub struct Phrase(pub u8);

impl Phrase {
    /// The phrase of that text. One that `build.rs` has not found does not compile.
    pub const fn new(text: &str) -> Phrase {
        let mut number = 0;
        while !is_same(PHRASES[number], text) {
            number += 1;
        }
        Phrase(number as u8)
    }

    /// The one of the next number.
    pub fn next(self) -> Phrase {
        Phrase(self.0 + 1)
    }

    /// Calls `put` with each of its bytes.
    pub fn for_each(self, put: impl Fn(u8)) {
        /// All texts, each with a NUL behind it. The first is not empty: once it is there, all are.
        static TEXTS: [AtomicU8; LENGTH] = [const { AtomicU8::new(0) }; LENGTH];
        if TEXTS[0].load(Relaxed) == 0 {
            pack::unpack(&PACKED, &TEXTS);
        }
        let mut before = self.0;
        for byte in &TEXTS {
            let byte = byte.load(Relaxed);
            if byte == 0 {
                let Some(less) = before.checked_sub(1) else { break };
                before = less;
            } else if before == 0 {
                put(byte);
            }
        }
    }
}

/// A [`Phrase`] out of a string literal. `build.rs` looks for the literal behind `text!(`, up to the
/// next quotation mark, and knows no escape but `\n`.
#[macro_export]
macro_rules! text {
    ($text:literal) => {
        const { $crate::text::Phrase::new($text) }
    };
}
pub use text;

/// What the C library says of the error of that number; nothing for one that these tools cannot
/// meet.
pub fn of_error(errno: u8) -> Option<Phrase> {
    /// The numbers of the errors whose texts lie behind the other phrases, in that order.
    static ERRORS: [u8; errno::LIST.len()] = {
        let mut numbers = [0; errno::LIST.len()];
        let mut i = 0;
        while i < numbers.len() {
            numbers[i] = errno::LIST[i].0;
            assert!(is_same(PHRASES[FIRST_ERROR + i], errno::LIST[i].1));
            i += 1;
        }
        numbers
    };
    let index = ERRORS.iter().position(|number| *number == errno)?;
    Some(Phrase((FIRST_ERROR + index) as u8))
}

const fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}
