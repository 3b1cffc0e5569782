//! The parts of a program: steps, anchors and sets of bytes, and the integers that encode them.

use crate::sys::bug;
use core::ops::RangeInclusive;

/// The most steps of a program.
pub const STEPS: usize = 512;
/// The most different sets of bytes in a program.
const SETS: usize = 32;

/// A compiled expression.
///
/// It consists of integers, because programs are in memory that is all zeros at the start. The first
/// `STEP_ROWS` rows are the steps, encoded by `Step::encode`. Each of the other rows is a
/// `ByteSet`.
pub type Program = [Row; STEP_ROWS + SETS];
/// The words of a set of bytes.
pub type Row = [u32; ROW];
const ROW: usize = 256 / u32::BITS as usize;
const STEP_ROWS: usize = STEPS / ROW;

/// The program of the empty expression, which matches everywhere: its first step is `Step::Match`.
pub const EMPTY: Program = [[0; ROW]; STEP_ROWS + SETS];

/// The encoded steps and the sets of a program.
pub fn parts(program: &Program) -> (&[u32], &[Row]) {
    let (steps, sets) = program.split_at(STEP_ROWS);
    (steps.as_flattened(), sets)
}

/// The encoded steps and the sets of a program, mutable.
pub fn parts_mut(program: &mut Program) -> (&mut [u32], &mut [Row]) {
    let (steps, sets) = program.split_at_mut(STEP_ROWS);
    (steps.as_flattened_mut(), sets)
}

/// The step at a place. A compiled program refers only to places that exist.
pub fn step(steps: &[u32], place: usize) -> Step {
    match steps.get(place) {
        Some(word) => Step::decode(*word),
        None => bug(),
    }
}

/// A step of a program.
///
/// Distances are relative to the step, so that steps can be moved and copied together.
#[derive(Clone, Copy)]
pub enum Step {
    /// The expression matches.
    Match,
    /// Takes this byte from the text.
    Byte(u8),
    /// Takes a byte of the set with this number from the text.
    Set(u8),
    /// Continues if the anchor holds here.
    Anchor(Anchor),
    /// Continues at this distance.
    Jump(i16),
    /// Continues both at the next step and at this distance.
    Split(i16),
}

/// The encoding of the kinds of steps.
mod kind {
    /// Zero, since a program of zeros is the empty one.
    pub const MATCH: u8 = 0;
    pub const BYTE: u8 = 1;
    pub const SET: u8 = 2;
    pub const ANCHOR: u8 = 3;
    pub const JUMP: u8 = 4;
    pub const SPLIT: u8 = 5;
}

impl Step {
    /// Encodes the step. From the lowest byte on the integer consists of the kind, a number of one
    /// byte, and a distance of two bytes.
    pub fn encode(self) -> u32 {
        let (kind, number, distance) = match self {
            Step::Match => (kind::MATCH, 0, 0),
            Step::Byte(byte) => (kind::BYTE, byte, 0),
            Step::Set(number) => (kind::SET, number, 0),
            Step::Anchor(anchor) => (kind::ANCHOR, anchor as u8, 0),
            Step::Jump(distance) => (kind::JUMP, 0, distance),
            Step::Split(distance) => (kind::SPLIT, 0, distance),
        };
        let [low, high] = distance.to_le_bytes();
        u32::from_le_bytes([kind, number, low, high])
    }

    /// Decodes an integer that [`Step::encode`] returned.
    fn decode(word: u32) -> Step {
        let [kind, number, low, high] = word.to_le_bytes();
        let distance = i16::from_le_bytes([low, high]);
        match kind {
            kind::MATCH => Step::Match,
            kind::BYTE => Step::Byte(number),
            kind::SET => Step::Set(number),
            kind::ANCHOR => Step::Anchor(Anchor::decode(number)),
            kind::JUMP => Step::Jump(distance),
            kind::SPLIT => Step::Split(distance),
            _ => bug(),
        }
    }
}

/// A condition on the bytes before and after a position in the text. The outside of the text counts as
/// not in a word.
#[derive(Clone, Copy)]
pub enum Anchor {
    TextStart,
    TextEnd,
    WordStart,
    WordEnd,
    WordEdge,
    NoWordEdge,
}

impl Anchor {
    const ALL: [Anchor; 6] = [
        Anchor::TextStart,
        Anchor::TextEnd,
        Anchor::WordStart,
        Anchor::WordEnd,
        Anchor::WordEdge,
        Anchor::NoWordEdge,
    ];

    fn decode(number: u8) -> Anchor {
        match Anchor::ALL.into_iter().find(|anchor| *anchor as u8 == number) {
            Some(anchor) => anchor,
            None => bug(),
        }
    }

    /// True if the anchor holds between these two bytes. `None` is an end of the text.
    pub fn holds(self, before: Option<&u8>, behind: Option<&u8>) -> bool {
        let word_before = before.is_some_and(is_in_word);
        let word_behind = behind.is_some_and(is_in_word);
        match self {
            Anchor::TextStart => before.is_none(),
            Anchor::TextEnd => behind.is_none(),
            Anchor::WordStart => !word_before && word_behind,
            Anchor::WordEnd => word_before && !word_behind,
            Anchor::WordEdge => word_before != word_behind,
            Anchor::NoWordEdge => word_before == word_behind,
        }
    }
}

fn is_in_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_'
}

/// A set of bytes, one bit for each.
#[derive(Clone, Copy, PartialEq)]
pub struct ByteSet(pub Row);

impl ByteSet {
    pub const EMPTY: ByteSet = ByteSet([0; ROW]);

    pub fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte / 32)] |= 1 << (byte % 32);
    }

    pub fn insert_ranges(&mut self, ranges: &[RangeInclusive<u8>]) {
        for range in ranges {
            for byte in range.clone() {
                self.insert(byte);
            }
        }
    }

    pub fn complement(&mut self) {
        self.0 = self.0.map(|word| !word);
    }

    pub fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte / 32)] & 1 << (byte % 32) != 0
    }
}
