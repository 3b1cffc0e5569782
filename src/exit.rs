//! Exit codes, and all that the program says: answers on standard output, messages on standard
//! error.

use crate::sys::text::{Shared, Text};
use crate::sys::{self, Errno};
use crate::text::{self, Phrase, text};
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicUsize, Ordering::Relaxed};

/// How a tool ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit(pub u8);

impl Exit {
    /// Done.
    pub const SUCCESS: Exit = Exit(0);
    /// The daemon denied it; of two, the source did.
    pub const DENIED: Exit = Exit(1);
    /// The destination denied it.
    pub const DESTINATION: Exit = Exit(2);
    /// Wrong usage.
    pub const USAGE: Exit = Exit(100);
    /// A system call failed here.
    pub const SYSTEM: Exit = Exit(111);
    /// A program cannot be executed.
    pub const NOT_EXECUTABLE: Exit = Exit(126);
    /// A program does not exist.
    pub const ABSENT: Exit = Exit(127);
}

/// Ends the process: all is done. The kernel closes what it holds.
pub fn success() -> ! {
    sys::exit(Exit::SUCCESS.0)
}

/// Text on its way to a descriptor, in few writes: one for a message of ordinary length. A process
/// has one of it, so there is nothing to hand around. Its parts are atomic for the compiler's sake:
/// there is one thread.
#[derive(Clone, Copy)]
pub struct Output(());

/// Bytes of the buffer: the smallest page there is, which a pipe takes at once.
const SIZE: usize = 4096;

/// The longest line with its end.
#[cfg(feature = "fdholderd")]
pub const LINE_MAX: usize = SIZE;

/// How much of that what is quoted may fill. The rest of a line is shorter than what is left.
const QUOTED_MAX: usize = SIZE - 512;

static FD: AtomicI32 = AtomicI32::new(0);
static LENGTH: AtomicUsize = AtomicUsize::new(0);
static BUFFER: [AtomicU8; SIZE] = [const { AtomicU8::new(0) }; SIZE];

/// The tool that speaks.
static WHO: Shared = Shared::nothing();

/// The number of what else is to be said if the process fails; 0, which is no remark, for nothing.
static REMARK: AtomicU8 = AtomicU8::new(0);

/// From now on a message that ends the process goes on with that, or with nothing.
pub fn remark(remark: Option<Phrase>) {
    REMARK.store(remark.map_or(0, |phrase| phrase.0), Relaxed);
}

/// Says who speaks from now on.
pub fn speak_as(who: Text) {
    WHO.set(who);
}

/// Begins anew, for a descriptor. What has not been written of an answer is dropped: the tool has
/// failed by then.
#[inline(never)]
fn begin(fd: i32) -> Output {
    FD.store(fd, Relaxed);
    LENGTH.store(0, Relaxed);
    Output(())
}

/// Begins a text on standard output.
pub fn answer() -> Output {
    begin(1)
}

/// Ends the process if there is no standard output. What is opened next would have its number, and
/// what is meant for whoever reads it would get lost there.
pub fn require_output() {
    sys::is_open(1).unwrap_or_else(|errno| no_output(errno));
}

/// Says that standard output cannot be written to, and ends the process.
fn no_output(errno: Errno) -> ! {
    let line = fatal().text(text!("unable to write to standard output"));
    line.reason(errno.number()).end(Exit::SYSTEM)
}

/// Begins a line on standard error, with who speaks.
pub fn message() -> Output {
    let line = begin(2);
    if let Some(who) = WHO.get() {
        line.name(who).text(text!(": "));
    }
    line
}

/// Begins a line on standard error that says why a tool fails.
pub fn fatal() -> Output {
    message().text(text!("fatal: "))
}

impl Output {
    /// Adds a byte as it is.
    pub fn byte(self, byte: u8) {
        let mut length = LENGTH.load(Relaxed);
        if length == SIZE {
            self.flush();
            length = 0;
        }
        // It is less than that; saying so leaves no panic in the code.
        BUFFER[length % SIZE].store(byte, Relaxed);
        LENGTH.store(length + 1, Relaxed);
    }

    /// Adds a name that the program itself has given, as it is.
    pub fn name(self, text: Text) -> Output {
        text.for_each(|byte| self.byte(byte));
        self
    }

    /// Adds a phrase.
    #[inline(never)]
    pub fn text(self, phrase: Phrase) -> Output {
        phrase.for_each(|byte| self.byte(byte));
        self
    }

    /// Adds a number in decimal.
    pub fn number(self, number: u32) -> Output {
        if number >= 10 {
            self.number(number / 10);
        }
        self.byte(b'0' + (number % 10) as u8);
        self
    }

    /// Adds a text from outside, quoted.
    pub fn quoted(self, text: Text) -> Output {
        self.quoted_bytes(text)
    }

    /// Adds bytes from outside, quoted. What would make a line longer than a page is left out.
    pub fn quoted_bytes(self, bytes: impl Iterator<Item = u8>) -> Output {
        for byte in bytes {
            if LENGTH.load(Relaxed) > QUOTED_MAX {
                return self.text(text!("..."));
            }
            self.quoted_byte(byte);
        }
        self
    }

    /// Adds a byte from outside: if it is not printable ASCII, or is the backslash, quoted as
    /// `s6-fdholder-list` does it.
    pub fn quoted_byte(self, mut byte: u8) {
        // What stands behind a backslash for the bytes from 7, BEL, to 13, CR.
        const LETTERS: &[u8; 7] = b"abtnvfr";
        if !(b' '..=b'~').contains(&byte) || byte == b'\\' {
            self.byte(b'\\');
            if let Some(letter) = LETTERS.get(usize::from(byte.wrapping_sub(7))) {
                byte = *letter;
            } else if byte != b'\\' {
                self.text(text!("0x")).byte(hexadecimal(byte >> 4));
                byte = hexadecimal(byte & 15);
            }
        }
        self.byte(byte);
    }

    /// Adds `: ` and what the C library says of the error of that number. Whatever is above its
    /// lowest byte says whose it is, which is for others.
    pub fn reason(self, errno: usize) -> Output {
        self.text(text!(": "));
        match text::of_error(errno as u8) {
            Some(text) => self.text(text),
            None => self.text(text!("error ")).number((errno as u8).into()),
        }
    }

    /// Writes what has been added. That a message cannot be written there is nobody to tell; an
    /// answer that cannot be is fatal.
    fn flush(self) {
        let (fd, length) = (FD.load(Relaxed), LENGTH.load(Relaxed));
        match sys::write_all(fd, &BUFFER[..length.min(SIZE)]) {
            Err(errno) if fd != 2 => no_output(errno),
            _ => {}
        }
        LENGTH.store(0, Relaxed);
    }

    /// Ends a message that is not the last one: a line of its own.
    pub fn say(self) {
        self.byte(b'\n');
        self.flush();
    }

    /// The same of one that somebody else writes: puts it there if there is room for
    /// it. The result is how many bytes it has, or 0.
    #[cfg(feature = "fdholderd")]
    pub fn take(self, room: &mut [u8]) -> usize {
        self.byte(b'\n');
        let length = LENGTH.swap(0, Relaxed);
        let Some(room) = room.get_mut(..length) else { return 0 };
        for (to, from) in room.iter_mut().zip(&BUFFER) {
            *to = from.load(Relaxed);
        }
        length
    }

    /// Ends a message: a line of its own, and the end of the process.
    pub fn end(self, exit: Exit) -> ! {
        let remark = REMARK.load(Relaxed);
        if remark > 0 {
            self.text(Phrase(remark));
        }
        self.byte(b'\n');
        self.close(exit)
    }

    /// Writes what is left and ends the process: the kernel closes what it holds.
    pub fn close(self, exit: Exit) -> ! {
        self.flush();
        sys::exit(exit.0)
    }
}

/// The digit of a number below 16.
#[inline(never)]
pub fn hexadecimal(number: u8) -> u8 {
    if number < 10 { b'0' + number } else { b'a' - 10 + number }
}
