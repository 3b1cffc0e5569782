//! Options and operands of a tool, as bytes. `build.rs` generates the tables of options from the
//! applets' argh structs.
//!
//! The rules are those of getopt in POSIX order. Flags can be bundled (`-1U`). A value is attached
//! (`-t500`) or the next argument (`-t 500`). `--` ends the options, and so does the first operand.
//! Long options are `--name`, `--name value` and `--name=value`. A tool gets the options one by one, so
//! the last of several wins.

use super::number;
use crate::sys::strings::{Strings, tail};
use core::ffi::CStr;
use core::mem::replace;
use core::slice::from_ref;

/// An option: a row of a table.
pub struct Spec {
    /// The letter after `-`; NUL if the option has none.
    pub letter: u8,
    /// The word after `--`.
    pub word: &'static str,
    /// True if the option takes a value.
    pub has_value: bool,
}

/// The command line is wrong, or asks for help: the tool does not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stop;

/// The part of a command line that has not been parsed.
pub struct Arguments {
    /// The rest of a bundle of flags: the letters after the last one returned.
    letters: &'static CStr,
    /// The arguments that follow.
    rest: Strings,
    /// The value of the last option returned, if it takes one.
    value: &'static CStr,
    /// True if the last option was `--help`.
    asks_for_help: bool,
}

impl Arguments {
    /// A whole command line, beginning with the name.
    pub fn new(strings: Strings) -> Arguments {
        Arguments { letters: c"", rest: strings, value: c"", asks_for_help: false }
    }

    /// Returns the index of the next option in `table`; `None` if the next argument is an operand, or
    /// there is none. [`Stop`] if the option is not in the table or lacks its value.
    pub fn option(&mut self, table: &[Spec]) -> Result<Option<usize>, Stop> {
        let (mut text, mut is_word) = (replace(&mut self.letters, c""), false);
        if text.is_empty() {
            let Some(argument) = self.rest.first() else { return Ok(None) };
            // `-` alone is an operand.
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

    /// The value of the last option returned, if it takes one.
    pub fn value(&self) -> &'static CStr {
        self.value
    }

    /// True if `--help` stopped the parser.
    pub fn asks_for_help(&self) -> bool {
        self.asks_for_help
    }

    /// Takes the next operand. [`Stop`] if there is none.
    pub fn operand(&mut self) -> Result<&'static CStr, Stop> {
        self.rest.next().ok_or(Stop)
    }

    /// The remaining arguments; there may be none.
    pub fn rest(&self) -> Strings {
        self.rest
    }

    /// Checks that no argument remains. [`Stop`] if one does.
    pub fn end(&self) -> Result<(), Stop> {
        if self.rest.first().is_none() { Ok(()) } else { Err(Stop) }
    }

    /// The remaining arguments: a program and its arguments. [`Stop`] if there are none.
    pub fn program(&self) -> Result<Strings, Stop> {
        self.rest.first().map(|_| self.rest).ok_or(Stop)
    }
}

/// Parses the value of an option as a decimal number below 2^32. [`Stop`] if it is anything else.
pub fn number(value: &CStr) -> Result<u32, Stop> {
    number::whole(value.to_bytes()).ok_or(Stop)
}
