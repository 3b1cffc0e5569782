//! Options and operands of an applet, as bytes, driven by the table that `build.rs` makes out of
//! the applet's argh struct.
//!
//! The rules are getopt's in its POSIX order: flags can be bundled (`-1U`), a value is attached
//! (`-t500`) or the next argument (`-t 500`), `--` ends the options and so does the first operand.
//! Long options are `--name`, `--name value` and `--name=value`. An applet is handed one after the
//! other, so the last of several wins.

use crate::exit::{Exit, Output};
use crate::sys::vector::Vector;
use core::ffi::CStr;

/// One line of the applet table.
pub struct Applet {
    /// What it is called, with the `s6-` in front.
    pub link: &'static CStr,
    /// Its options.
    pub options: &'static [Opt],
    /// How many operands it cannot do without.
    pub operands: usize,
    /// What `--help` prints.
    pub help: &'static str,
    /// How long its first line is, the usage line.
    pub usage: usize,
    /// What it does.
    pub run: fn(&mut Arguments) -> Exit,
}

/// An option.
pub struct Opt {
    /// The letter behind `-`.
    pub letter: u8,
    /// Whether a value belongs to it.
    pub has_value: bool,
    /// The word behind `--`.
    pub word: &'static str,
}

/// A command line, as far as it has not been looked at.
pub struct Arguments {
    /// Whose it is.
    pub applet: &'static Applet,
    rest: Vector,
    /// The environment of the process.
    pub environment: Vector,
}

impl Applet {
    /// What it is called, with the `s6-` in front.
    pub fn name(&self) -> &'static [u8] {
        self.link.to_bytes()
    }

    /// Says how it is to be used, and ends the process.
    pub fn usage(&self) -> ! {
        let line = &self.help.as_bytes()[..self.usage];
        Output::message(self.name()).put(line).end(Exit::USAGE)
    }
}

impl Arguments {
    /// What follows the name on the command line.
    pub fn new(applet: &'static Applet, rest: Vector, environment: Vector) -> Arguments {
        Arguments { applet, rest, environment }
    }

    /// Hands out the options, each by its letter and with its value, empty if it has none; behind
    /// them there are as many operands as the table demands.
    ///
    /// What is no option of the applet's is wrong usage, and `--help` is answered here: both end
    /// the process.
    pub fn options(&mut self, mut set: impl FnMut(u8, &'static [u8])) {
        while let Some([b'-', letters @ ..]) = self.rest.first() {
            // A dash alone is an operand.
            let Some((first, word)) = letters.split_first() else { break };
            self.rest.advance();
            if *first == b'-' {
                if word.is_empty() {
                    break;
                }
                if word == b"help" {
                    Output::new(1, self.applet.name()).text(self.applet.help).close(Exit::SUCCESS);
                }
                let equals = word.iter().position(|byte| *byte == b'=');
                let (word, behind) = word.split_at(equals.unwrap_or(word.len()));
                let option = self.find(0, word);
                if option.has_value {
                    set(option.letter, self.value_at(behind, 1));
                } else if behind.is_empty() {
                    set(option.letter, b"");
                } else {
                    self.applet.usage();
                }
                continue;
            }
            let mut letters = letters;
            while let Some((letter, behind)) = letters.split_first() {
                letters = behind;
                let mut value: &[u8] = b"";
                if self.find(*letter, b"").has_value {
                    value = self.value_at(behind, 0);
                    letters = b"";
                }
                set(*letter, value);
            }
        }
        if self.rest.count() < self.applet.operands {
            self.applet.usage();
        }
    }

    /// The option of a letter or of a word.
    fn find(&self, letter: u8, word: &[u8]) -> &'static Opt {
        for option in self.applet.options {
            if option.letter == letter || option.word.as_bytes() == word {
                return option;
            }
        }
        self.applet.usage()
    }

    /// A value: what is attached, less its first `skip` bytes, or the next argument.
    fn value_at(&mut self, attached: &'static [u8], skip: usize) -> &'static [u8] {
        if attached.is_empty() {
            return self.rest.next().unwrap_or_else(|| self.applet.usage());
        }
        &attached[skip..]
    }

    /// The next operand. As many as the table demands are there.
    pub fn operand(&mut self) -> &'static [u8] {
        self.rest.next().unwrap_or_default()
    }

    /// The operands that were not asked for yet.
    pub fn operands(&self) -> Vector {
        self.rest
    }
}

/// A decimal number below 2^32, digits only.
pub fn decimal(digits: &[u8]) -> Option<u32> {
    let mut number: u32 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(digit.into())?;
    }
    if digits.is_empty() { None } else { Some(number) }
}
