//! What the program can say, packed when it is compiled.
//!
//! A message goes by its number, which takes less code than its address: [`crate::text!`] makes one
//! out of the text, and `build.rs` has collected all of them.

use crate::pack::{self, FIRST};
use crate::sys::errno;
use crate::sys::text::{Text, Texts};

// The pairs, the messages, and the lines that help texts share.
include!(concat!(env!("OUT_DIR"), "/texts.rs"));

/// The pair that a byte of a text stands for, if it is a code.
pub fn pair(code: u8) -> Option<[u8; 2]> {
    PAIRS.get(usize::from(code.wrapping_sub(FIRST))).copied()
}

/// The line of several help texts that a byte of a text stands for, packed, if it does.
pub fn line(code: u8) -> Option<Text> {
    if code < LINES { find(code) } else { None }
}

/// One of the messages.
#[derive(Clone, Copy)]
pub struct Message(u8);

/// Added to the numbers of errors, to tell them from messages.
const ERROR: u8 = 128;

impl Message {
    /// The message of that text.
    pub const fn new(text: &str) -> Message {
        let mut i = 0;
        while MESSAGES[i].0 < LINES || !is_same(MESSAGES[i].1.as_bytes(), text.as_bytes()) {
            i += 1;
        }
        Message(MESSAGES[i].0)
    }

    /// The text, packed.
    pub fn text(self) -> Text {
        find(self.0).unwrap_or(Text::EMPTY)
    }
}

/// A [`Message`] out of a string literal.
#[macro_export]
macro_rules! text {
    ($text:literal) => {
        const { $crate::text::Message::new($text) }
    };
}
pub use text;

/// What the C library says of the error of that number, packed; nothing for one that these tools
/// cannot meet.
pub fn of_error(errno: usize) -> Option<Text> {
    let number = u8::try_from(errno).ok().filter(|number| *number < ERROR)?;
    find(number | ERROR)
}

/// The text of that number in [`TEXTS`].
#[inline(never)]
fn find(number: u8) -> Option<Text> {
    const { Texts::new(&TEXTS) }
        .find_map(|mut text| if text.pop() == number { Some(text) } else { None })
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// All texts: the number, the packed text, a NUL, for each, and a NUL behind them. A table of
/// pointers and lengths would be larger than the texts.
static TEXTS: [u8; Table::<0>::new().1] = Table::new().0;

/// Such a table while it is made, and how long it is so far. One without room only measures.
struct Table<const N: usize>([u8; N], usize);

impl<const N: usize> Table<N> {
    const fn new() -> Table<N> {
        let mut table = Table([0; N], 0);
        let mut i = 0;
        while i < MESSAGES.len() {
            table.add(MESSAGES[i].0, MESSAGES[i].2, MESSAGES[i].2.len());
            i += 1;
        }
        i = 0;
        while i < errno::LIST.len() {
            let (number, text) = errno::LIST[i];
            let mut packed = [0; 64];
            let mut j = 0;
            while j < text.len() {
                packed[j] = text.as_bytes()[j];
                j += 1;
            }
            let length = pack::pack(&mut packed, text.len(), &PAIRS);
            table.add(number | ERROR, &packed, length);
            i += 1;
        }
        table.put(0);
        table
    }

    const fn add(&mut self, number: u8, text: &[u8], length: usize) {
        self.put(number);
        let mut i = 0;
        while i < length {
            self.put(text[i]);
            i += 1;
        }
        self.put(0);
    }

    /// Adds a byte; without room for it, it is only counted.
    const fn put(&mut self, byte: u8) {
        if self.1 < N {
            self.0[self.1] = byte;
        }
        self.1 += 1;
    }
}
