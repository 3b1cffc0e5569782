//! Packing of texts by byte pairs, for `build.rs` and for constants.
//!
//! Texts are ASCII below [`FIRST`]. A byte from that on is a code: it stands for the pair of bytes
//! of that number, each of which may be a code again. `build.rs` chooses the pairs, those that occur
//! most often in all texts. Lines that several help texts have are stored once, as messages: in the
//! help texts a byte that is not printable stands for each. [`crate::exit::Output`] unpacks while
//! it prints.

/// The first code.
pub const FIRST: u8 = b'}';
/// The most pairs that there can be.
pub const COUNT: usize = 256 - FIRST as usize;
/// The pairs that the codes stand for, in the order in which they are put in.
pub type Pairs = [[u8; 2]];

/// Packs the first `length` bytes of `text` in place and says how many are left.
pub const fn pack(text: &mut [u8], mut length: usize, pairs: &Pairs) -> usize {
    let mut number = 0;
    while number < pairs.len() {
        length = replace(text, length, pairs[number], FIRST + number as u8);
        number += 1;
    }
    length
}

/// Puts a code wherever a pair occurs in the first `length` bytes, and says how many are left.
pub const fn replace(text: &mut [u8], length: usize, pair: [u8; 2], code: u8) -> usize {
    let (mut from, mut to) = (0, 0);
    while from < length {
        if from + 1 < length && text[from] == pair[0] && text[from + 1] == pair[1] {
            text[to] = code;
            from += 2;
        } else {
            text[to] = text[from];
            from += 1;
        }
        to += 1;
    }
    to
}
