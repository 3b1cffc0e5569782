//! POSIX extended regular expressions of the access rules.
//!
//! The daemon trusts the author of a rule little, and the author of an identifier not at all. So a
//! compiled expression has a fixed size: one that does not fit is refused. The time of a search is at
//! most proportional to the length of the text times that of the program: the search follows all places
//! of the program that a match can have reached, visits each once per byte of the text, and never goes
//! back in the text.
//!
//! `compiler` compiles an expression into a program. `program` defines the steps of a program. The
//! search is in this file.
//!
//! Syntax and meaning are those of glibc's `regcomp` with `REG_EXTENDED | REG_NOSUB` and `regexec` in
//! the C locale, with three exceptions. Back-references are refused: no known algorithm keeps the bound
//! with them. Expressions that do not fit are refused. And glibc mishandles some anchors: those next to
//! newlines and those in repeated groups. `tests/fuzz/checks/regex.rs` and
//! `tests/daemon/regex_conformance.rs` have examples.
//!
//! Where POSIX leaves a choice, the behaviour is that of glibc:
//!
//! - An empty expression, group or alternative matches the empty string: `()`, `a|`, `(|a)`.
//! - A repetition with nothing to repeat is an error: at the start, behind `(` or `|`, and behind
//!   an anchor. So `^*` is an error. Repetitions of repetitions are allowed: `a**`, `a{2}{3}`.
//! - A `{` that begins no bound is an error. A `}` alone is an ordinary character, and so is a `)`
//!   outside all groups. `{,n}` means `{0,n}`. Numbers go up to 32,767.
//! - `^` and `$` are anchors everywhere. Newlines are ordinary characters.
//! - `\w`, `\W`, `\s` and `\S` are sets of characters: those of words, white space, and all others.
//!   `\<`, `\>`, `\b`, `\B`, `` \` `` and `\'` are anchors: start and end of a word, either,
//!   neither, start and end of the text. `\1` to `\9` are back-references. A backslash makes any
//!   other character ordinary.
//! - In brackets a backslash is ordinary. There `-` is ordinary only as the first character, as the
//!   last one, or as an end of a range. A collating symbol is named by its character: `[.-.]` is
//!   valid, `[.hyphen.]` is not.
//! - `.` does not match NUL, while `[^a]` does.

mod compiler;
mod program;

pub use compiler::{Invalid, compile};
pub use program::{EMPTY, Program};

use crate::sys::bug;
use core::mem;
use program::{ByteSet, STEPS, Step};

/// The places of a program that a match can have reached at one position in the text.
struct Places {
    /// For each place, true if it has been reached.
    is_reached: [bool; STEPS],
    /// The places that have been reached and not visited.
    pending: [u16; STEPS],
    pending_count: usize,
}

impl Places {
    const NONE: Places =
        Places { is_reached: [false; STEPS], pending: [0; STEPS], pending_count: 0 };

    /// Adds a place, unless it has been added before.
    fn add(&mut self, place: usize) {
        let Some(is_reached) = self.is_reached.get_mut(place) else { bug() };
        if mem::replace(is_reached, true) {
            return;
        }
        let Some(pending) = self.pending.get_mut(self.pending_count) else { bug() };
        *pending = place as u16;
        self.pending_count += 1;
    }

    /// Adds the place at a distance from another one.
    fn add_distant(&mut self, place: usize, distance: i16) {
        self.add(place.wrapping_add_signed(distance.into()));
    }

    /// Takes a place that has not been visited.
    fn next(&mut self) -> Option<usize> {
        self.pending_count = self.pending_count.checked_sub(1)?;
        self.pending.get(self.pending_count).copied().map(usize::from)
    }
}

/// True if the expression matches anywhere in the text.
pub fn matches(program: &Program, text: &[u8]) -> bool {
    let (steps, sets) = program::parts(program);
    let (mut places, mut others) = (Places::NONE, Places::NONE);
    // The places at the current position in the text, and at the next one.
    let (mut here, mut next) = (&mut places, &mut others);
    let mut before = None;
    let mut rest = text.iter();
    loop {
        let behind = rest.next();
        // A match can begin at every position.
        here.add(0);
        while let Some(place) = here.next() {
            match program::step(steps, place) {
                Step::Match => return true,
                Step::Byte(byte) => {
                    if behind == Some(&byte) {
                        next.add(place + 1);
                    }
                }
                Step::Set(number) => {
                    let Some(set) = sets.get(usize::from(number)) else { bug() };
                    if behind.is_some_and(|byte| ByteSet(*set).contains(*byte)) {
                        next.add(place + 1);
                    }
                }
                Step::Anchor(anchor) => {
                    if anchor.holds(before, behind) {
                        here.add(place + 1);
                    }
                }
                Step::Jump(distance) => here.add_distant(place, distance),
                Step::Split(distance) => {
                    here.add(place + 1);
                    here.add_distant(place, distance);
                }
            }
        }
        if behind.is_none() {
            return false;
        }
        before = behind;
        *here = Places::NONE;
        mem::swap(&mut here, &mut next);
    }
}
