//! Options and operands of an applet, as bytes, driven by the table that `build.rs` makes out of
//! the applet's argh struct.
//!
//! The rules are getopt's in its POSIX order: flags can be bundled (`-1U`), a value is attached
//! (`-t500`) or the next argument (`-t 500`), the last of several wins, `--` ends the options and
//! so does the first operand. Long options are `--name`, `--name value` and `--name=value`.

use crate::exit::{Exit, Outcome, Part, complain};
use crate::sys::vector::Vector;

/// One line of the applet table.
pub struct Applet {
    /// What it is called, with the `s6-` in front.
    pub name: &'static str,
    /// Its options. Their places are their numbers.
    pub options: &'static [Opt],
    /// How many operands it cannot do without.
    pub operands: usize,
    /// What `--help` prints: the first line is the usage line.
    pub help: &'static str,
    /// What it does.
    pub run: fn(&mut Arguments) -> Outcome,
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

/// The largest number of options an applet may have; `build.rs` checks it.
pub const OPTIONS_MAX: usize = 16;

/// A command line that fits the applet's table.
pub struct Arguments {
    applet: &'static Applet,
    values: Values,
    operands: Vector,
    /// The environment of the process.
    pub environment: Vector,
}

/// Why a command line cannot be run.
#[derive(PartialEq, Eq, Debug)]
pub enum Stop {
    /// It asks for help.
    Help,
    /// It is wrong.
    Usage,
}

impl Arguments {
    /// Sorts what follows the name on the command line.
    pub fn parse(
        applet: &'static Applet,
        mut rest: Vector,
        environment: Vector,
    ) -> Result<Arguments, Stop> {
        let mut values = [None; OPTIONS_MAX];
        while let Some(argument) = rest.first() {
            let [b'-', option @ ..] = argument.to_bytes() else { break };
            if option.is_empty() {
                break;
            }
            rest = rest.rest();
            if option == b"-" {
                break;
            }
            if let [b'-', word @ ..] = option {
                long(applet, word, &mut rest, &mut values)?;
            } else {
                short(applet, option, &mut rest, &mut values)?;
            }
        }
        if rest.count() < applet.operands {
            return Err(Stop::Usage);
        }
        Ok(Arguments { applet, values, operands: rest, environment })
    }

    /// The value of an option, of a flag an empty one, if it was given.
    pub fn value(&self, option: usize) -> Option<&'static [u8]> {
        self.values.get(option).copied().flatten()
    }

    /// The value of an option as a number that fits 32 bits; `absent` if it was not given. Wrong
    /// usage if it is anything else.
    pub fn number(&self, option: usize, absent: u32) -> Result<u32, Exit> {
        match self.value(option) {
            None => Ok(absent),
            Some(digits) => decimal(digits).ok_or_else(|| self.usage()),
        }
    }

    /// The next operand. As many as the table demands are there.
    pub fn operand(&mut self) -> &'static [u8] {
        let first = self.operands.first();
        self.operands = self.operands.rest();
        first.unwrap_or_default().to_bytes()
    }

    /// The operands that were not asked for yet.
    pub fn operands(&self) -> Vector {
        self.operands
    }

    /// Says how the applet is to be used.
    pub fn usage(&self) -> Exit {
        self.applet.usage()
    }

    /// Says that the applet failed, and why, in one line; the result is `exit`.
    pub fn fatal(&self, exit: Exit, parts: &[&[Part<'_>]]) -> Exit {
        complain(self.applet.name, ": fatal: ", parts);
        exit
    }
}

impl Applet {
    /// Says how the applet is to be used.
    pub fn usage(&self) -> Exit {
        let line = self.help.split('\n').next().unwrap_or_default();
        complain(self.name, ": ", &[&[Part::Text(line)]]);
        Exit::USAGE
    }
}

type Values = [Option<&'static [u8]>; OPTIONS_MAX];

/// Takes a bundle of letters, the last of which may have a value.
fn short(
    applet: &'static Applet,
    mut letters: &'static [u8],
    rest: &mut Vector,
    values: &mut Values,
) -> Result<(), Stop> {
    while let Some((letter, behind)) = letters.split_first() {
        let at = applet.options.iter().position(|o| o.letter == *letter).ok_or(Stop::Usage)?;
        letters = behind;
        let attached = if behind.is_empty() { None } else { Some(behind) };
        if set(applet, at, attached, rest, values)? {
            break;
        }
    }
    Ok(())
}

/// Takes a word, perhaps with `=` and a value behind it.
fn long(
    applet: &'static Applet,
    word: &'static [u8],
    rest: &mut Vector,
    values: &mut Values,
) -> Result<(), Stop> {
    if word == b"help" {
        return Err(Stop::Help);
    }
    let mut parts = word.splitn(2, |byte| *byte == b'=');
    let word = parts.next().unwrap_or_default();
    let attached = parts.next();
    let at = applet.options.iter().position(|o| o.word.as_bytes() == word).ok_or(Stop::Usage)?;
    let took = set(applet, at, attached, rest, values)?;
    if attached.is_some() && !took { Err(Stop::Usage) } else { Ok(()) }
}

/// Notes an option, with the value attached to it or the next argument if it has one; whether it
/// does is the result.
fn set(
    applet: &'static Applet,
    at: usize,
    attached: Option<&'static [u8]>,
    rest: &mut Vector,
    values: &mut Values,
) -> Result<bool, Stop> {
    let has_value = applet.options.get(at).is_some_and(|o| o.has_value);
    let value = match attached {
        _ if !has_value => b"",
        Some(value) => value,
        None => rest.next().ok_or(Stop::Usage)?.to_bytes(),
    };
    if let Some(slot) = values.get_mut(at) {
        *slot = Some(value);
    }
    Ok(has_value)
}

/// A decimal number below 2^32, digits only.
pub fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 { None } else { number.checked_mul(10)?.checked_add(digit.into()) }
    })
}
