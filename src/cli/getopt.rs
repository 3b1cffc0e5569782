//! Options and operands of a tool, as bytes, driven by the tables that `build.rs` makes out of the
//! applets' argh structs.
//!
//! The rules are getopt's in its POSIX order: flags can be bundled (`-1U`), a value is attached
//! (`-t500`) or the next argument (`-t 500`), `--` ends the options and so does the first operand.
//! Long options are `--name`, `--name value` and `--name=value`. A tool gets one after the other, so
//! the last of several wins.

use super::number;
use crate::sys::strings::{Strings, tail};
use core::ffi::CStr;
use core::mem::replace;
use core::slice::from_ref;

/// An option, as a row of a table.
pub struct Spec {
    /// The letter behind `-`; NUL if there is none.
    pub letter: u8,
    /// The word behind `--`.
    pub word: &'static str,
    /// Whether a value belongs to it.
    pub has_value: bool,
}

/// That a command line is not acted upon: it is wrong, or asks for help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stop;

/// What has not been looked at yet of a command line.
pub struct Arguments {
    /// The letters of a bundle behind the one that was found last.
    letters: &'static CStr,
    /// The arguments behind that.
    rest: Strings,
    /// The value of the option that was found last, if it takes one.
    value: &'static CStr,
    /// Whether it has asked for help.
    asks_for_help: bool,
}

impl Arguments {
    /// A whole command line, the name in front.
    pub fn new(strings: Strings) -> Arguments {
        Arguments { letters: c"", rest: strings, value: c"", asks_for_help: false }
    }

    /// The place in the table of the next option; nothing when operands begin. What is not in the table
    /// stops.
    pub fn option(&mut self, table: &[Spec]) -> Result<Option<usize>, Stop> {
        let (mut text, mut is_word) = (replace(&mut self.letters, c""), false);
        if text.is_empty() {
            let Some(argument) = self.rest.first() else { return Ok(None) };
            // A dash alone is an operand.
            let [b'-', second, ..] = argument.to_bytes() else { return Ok(None) };
            self.rest.next();
            is_word = *second == b'-';
            text = tail(argument, if is_word { 2 } else { 1 });
            if text.is_empty() {
                return Ok(None);
            }
        }
        for (place, spec) in table.iter().enumerate() {
            let name = if is_word { spec.word.as_bytes() } else { from_ref(&spec.letter) };
            if !text.to_bytes().starts_with(name) {
                continue;
            }
            let behind = tail(text, name.len());
            match (behind.to_bytes(), is_word) {
                ([], _) if spec.has_value => self.value = self.operand()?,
                ([b'=', ..], true) if spec.has_value => self.value = tail(behind, 1),
                (_, false) if spec.has_value => self.value = behind,
                (_, false) => self.letters = behind,
                ([], true) => {}
                _ => continue,
            }
            return Ok(Some(place));
        }
        self.asks_for_help = is_word && text == c"help";
        Err(Stop)
    }

    /// The value of the option that was found last, if it takes one.
    pub fn value(&self) -> &'static CStr {
        self.value
    }

    /// Whether it was stopped because it asks for help.
    pub fn asks_for_help(&self) -> bool {
        self.asks_for_help
    }

    /// The next operand; without one it is wrong usage.
    pub fn operand(&mut self) -> Result<&'static CStr, Stop> {
        self.rest.next().ok_or(Stop)
    }

    /// What is left, a program and its arguments; without one it is wrong usage.
    pub fn program(&self) -> Result<Strings, Stop> {
        self.rest.first().map(|_| self.rest).ok_or(Stop)
    }
}

/// The value of an option that is a number below 2^32. Anything else is wrong usage.
pub fn number(value: &CStr) -> Result<u32, Stop> {
    number::whole(value.to_bytes()).ok_or(Stop)
}
