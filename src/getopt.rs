//! Options and operands of an applet, as bytes, driven by the table that `build.rs` makes out of
//! the applet's argh struct.
//!
//! The rules are getopt's in its POSIX order: flags can be bundled (`-1U`), a value is attached
//! (`-t500`) or the next argument (`-t 500`), `--` ends the options and so does the first operand.
//! Long options are `--name`, `--name value` and `--name=value`. An applet is handed one after the
//! other, so the last of several wins.

use crate::exit::{self, Exit};
use crate::sys::text::{Text, Texts};
use crate::sys::vector::{Auxiliary, Vector};
use crate::text::Phrase;

/// One line of the applet table, without the gaps that alignment would leave in it.
#[repr(Rust, packed)]
pub struct Applet {
    /// What it is called, with the `s6-` in front.
    pub name: Text,
    /// Its options, each as [`Opt::read`] takes it.
    pub options: Texts,
    /// How it is to be used, in one line; what `--help` prints below that is the text behind it.
    pub usage: Phrase,
    /// What it does, up to the end of the process.
    pub run: fn(&mut Arguments) -> !,
}

/// An option.
pub struct Opt {
    /// The letter behind `-`.
    pub letter: u8,
    /// Whether a value belongs to it.
    pub has_value: bool,
    /// The word behind `--`.
    pub word: Text,
}

impl Opt {
    /// Reads an option of the table: the letter, whose highest bit says whether a value belongs to
    /// it, and the word.
    pub fn read(mut text: Text) -> Opt {
        let letter = text.pop();
        Opt { letter: letter & 127, has_value: letter > 127, word: text }
    }
}

/// What has not been looked at yet of a command line.
pub struct Arguments {
    /// Whose it is.
    pub applet: &'static Applet,
    /// The value of the option that was found last.
    pub value: Text,
    /// The letters of a bundle behind the one that was found last.
    letters: Text,
    /// The arguments behind that.
    rest: Vector,
    /// The environment of the process.
    pub environment: Vector,
    /// What the kernel left behind that.
    pub auxiliary: Auxiliary,
}

impl Applet {
    /// Says how it is to be used, and ends the process.
    pub fn wrong_usage(&self) -> ! {
        exit::message().text(self.usage).end(Exit::USAGE)
    }
}

impl Arguments {
    /// What follows the name on the command line.
    pub fn new(
        applet: &'static Applet,
        rest: Vector,
        environment: Vector,
        auxiliary: Auxiliary,
    ) -> Arguments {
        let (value, letters) = (Text::EMPTY, Text::EMPTY);
        Arguments { applet, value, letters, rest, environment, auxiliary }
    }

    /// The letter of the next option; its value, if it has one, is in `value`.
    ///
    /// What is no option of the applet's is wrong usage, and `--help` is answered here: both end
    /// the process.
    pub fn option(&mut self) -> Option<u8> {
        let mut is_word = false;
        let mut given = core::mem::replace(&mut self.letters, Text::EMPTY);
        if given.is_empty() {
            given = self.rest.first()?;
            // A dash alone is an operand.
            if given.pop() != b'-' || given.is_empty() {
                return None;
            }
            self.rest.next();
            if given.first() == b'-' {
                given.pop();
                is_word = true;
                if given.is_empty() {
                    return None;
                }
            }
        }
        for option in self.applet.options.map(Opt::read) {
            let mut behind = given;
            if is_word {
                let Some(end) = given.behind(option.word) else { continue };
                behind = end;
                match behind.pop() {
                    b'=' if option.has_value => {
                        self.value = behind;
                        return Some(option.letter);
                    }
                    0 => {}
                    _ => continue,
                }
            } else if behind.pop() != option.letter {
                continue;
            }
            if option.has_value {
                self.value = if behind.is_empty() { self.operand() } else { behind };
            } else {
                self.letters = behind;
            }
            return Some(option.letter);
        }
        if is_word && given == Text::new(c"help") {
            exit::answer()
                .text(self.applet.usage)
                .text(self.applet.usage.next())
                .close(Exit::SUCCESS);
        }
        self.applet.wrong_usage()
    }

    /// The value of the option that was found last, a number below 2^32. Anything else is wrong
    /// usage.
    pub fn number(&self) -> u32 {
        self.value.number().unwrap_or_else(|| self.applet.wrong_usage())
    }

    /// All options of an applet that has none but `-t`: the milliseconds, 0 if it is not given.
    pub fn timeout(&mut self) -> u32 {
        let mut milliseconds = 0;
        while self.option().is_some() {
            milliseconds = self.number();
        }
        milliseconds
    }

    /// What is left, a program and its arguments; wrong usage if that is nothing.
    pub fn program(&self) -> Vector {
        if self.rest.first().is_none() {
            self.applet.wrong_usage();
        }
        self.rest
    }

    /// The next operand; wrong usage, which ends the process, if there is none.
    pub fn operand(&mut self) -> Text {
        self.rest.next().unwrap_or_else(|| self.applet.wrong_usage())
    }
}
