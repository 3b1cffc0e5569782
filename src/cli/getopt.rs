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
        let mut letters = self.letters;
        if letters.is_empty() {
            let Some(argument) = self.rest.first() else { return Ok(None) };
            match argument.to_bytes() {
                [b'-', _, ..] => letters = tail(argument, 1),
                // A dash alone is an operand.
                _ => return Ok(None),
            }
            self.rest.next();
            match letters.to_bytes() {
                b"-" => return Ok(None),
                [b'-', ..] => return self.word(table, tail(letters, 1)).map(Some),
                _ => {}
            }
        }
        let letter = letters.to_bytes().first();
        self.letters = tail(letters, 1);
        for (place, spec) in table.iter().enumerate() {
            if letter == Some(&spec.letter) {
                if spec.has_value {
                    self.value = replace(&mut self.letters, c"");
                    if self.value.is_empty() {
                        self.value = self.operand()?;
                    }
                }
                return Ok(Some(place));
            }
        }
        Err(Stop)
    }

    /// The place in the table of the option that a word, its value perhaps behind it, means.
    fn word(&mut self, table: &[Spec], word: &'static CStr) -> Result<usize, Stop> {
        for (place, spec) in table.iter().enumerate() {
            match word.to_bytes().strip_prefix(spec.word.as_bytes()) {
                Some([]) if spec.has_value => self.value = self.operand()?,
                Some([]) => {}
                Some([b'=', ..]) if spec.has_value => {
                    self.value = tail(word, spec.word.len() + 1);
                }
                _ => continue,
            }
            return Ok(place);
        }
        self.asks_for_help = word == c"help";
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

    /// The next argument, if there is one.
    pub fn argument(&mut self) -> Option<&'static CStr> {
        self.rest.next()
    }

    /// The next operand; without one it is wrong usage.
    pub fn operand(&mut self) -> Result<&'static CStr, Stop> {
        self.argument().ok_or(Stop)
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
