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

/// An option, as a row of a table.
pub struct Spec {
    /// The letter behind `-`; NUL if there is none.
    pub letter: u8,
    /// The word behind `--`.
    pub word: &'static str,
    /// Whether a value belongs to it.
    pub has_value: bool,
}

/// Why a command line is not acted upon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It is wrong.
    Usage,
    /// `--help`.
    Help,
}

/// What has not been looked at yet of a command line.
pub struct Arguments {
    /// The letters of a bundle behind the one that was found last.
    letters: &'static CStr,
    /// The arguments behind that.
    rest: Strings,
}

impl Arguments {
    /// A whole command line, the name in front.
    pub fn new(strings: Strings) -> Arguments {
        Arguments { letters: c"", rest: strings }
    }

    /// The place in the table of the next option, and its value, which is empty if it has none;
    /// nothing when operands begin. What is not in the table stops.
    pub fn option(&mut self, table: &[Spec]) -> Result<Option<(usize, &'static CStr)>, Stop> {
        let mut letters = core::mem::replace(&mut self.letters, c"");
        if letters.is_empty() {
            let Some(argument) = self.rest.first() else { return Ok(None) };
            match argument.to_bytes() {
                b"--" => {
                    self.rest.next();
                    return Ok(None);
                }
                [b'-', b'-', word @ ..] => {
                    self.rest.next();
                    return self.word(table, argument, word).map(Some);
                }
                [b'-', _, ..] => letters = tail(argument, 1),
                // A dash alone is an operand.
                _ => return Ok(None),
            }
            self.rest.next();
        }
        let letter = letters.to_bytes().first();
        let found =
            table.iter().position(|spec| letter == Some(&spec.letter)).ok_or(Stop::Usage)?;
        let behind = tail(letters, 1);
        let value = match table.get(found) {
            Some(Spec { has_value: true, .. }) if behind.is_empty() => self.operand()?,
            Some(Spec { has_value: true, .. }) => behind,
            _ => {
                self.letters = behind;
                c""
            }
        };
        Ok(Some((found, value)))
    }

    /// The option that a word means, which is `argument` less two dashes.
    fn word(
        &mut self,
        table: &[Spec],
        argument: &'static CStr,
        word: &[u8],
    ) -> Result<(usize, &'static CStr), Stop> {
        for (place, spec) in table.iter().enumerate() {
            match word.strip_prefix(spec.word.as_bytes()) {
                Some([]) if spec.has_value => return Ok((place, self.operand()?)),
                Some([]) => return Ok((place, c"")),
                Some([b'=', ..]) if spec.has_value => {
                    return Ok((place, tail(argument, 2 + spec.word.len() + 1)));
                }
                _ => {}
            }
        }
        Err(if word == b"help" { Stop::Help } else { Stop::Usage })
    }

    /// The next argument, if there is one.
    pub fn argument(&mut self) -> Option<&'static CStr> {
        self.rest.next()
    }

    /// The next operand; without one it is wrong usage.
    pub fn operand(&mut self) -> Result<&'static CStr, Stop> {
        self.argument().ok_or(Stop::Usage)
    }

    /// What is left, a program and its arguments; without one it is wrong usage.
    pub fn program(&self) -> Result<Strings, Stop> {
        self.rest.first().map(|_| self.rest).ok_or(Stop::Usage)
    }
}

/// The value of an option that is a number below 2^32. Anything else is wrong usage.
pub fn number(value: &CStr) -> Result<u32, Stop> {
    number::whole(value.to_bytes()).ok_or(Stop::Usage)
}
