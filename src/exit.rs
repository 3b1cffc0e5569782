//! Exit codes, and the one way to say that something failed.

use crate::sys::{self, Errno};

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
}

/// Text on its way to a descriptor, in few writes: one for a message of ordinary length.
pub struct Output {
    fd: i32,
    /// The tool that speaks.
    who: &'static [u8],
    buffer: [u8; 1024],
    length: usize,
}

impl Output {
    /// Nothing yet, to be written to standard output (1) or standard error (2).
    pub fn new(fd: i32, who: &'static [u8]) -> Output {
        Output { fd, who, buffer: [0; 1024], length: 0 }
    }

    /// A line on standard error, begun with who speaks.
    pub fn message(who: &'static [u8]) -> Output {
        let mut line = Output::new(2, who);
        line.put(who).text(": ");
        line
    }

    /// A line on standard error that says why a tool fails.
    pub fn fatal(who: &'static [u8]) -> Output {
        let mut line = Output::message(who);
        line.text("fatal: ");
        line
    }

    /// Adds a byte as it is.
    fn byte(&mut self, byte: u8) {
        if self.length == self.buffer.len() {
            self.flush();
        }
        self.buffer[self.length] = byte;
        self.length += 1;
    }

    /// Adds bytes as they are.
    pub fn put(&mut self, bytes: &[u8]) -> &mut Output {
        for byte in bytes {
            self.byte(*byte);
        }
        self
    }

    /// Adds text.
    pub fn text(&mut self, text: &str) -> &mut Output {
        self.put(text.as_bytes())
    }

    /// Adds a number in decimal.
    pub fn number(&mut self, mut number: u32) -> &mut Output {
        let mut digits = [0; 10];
        let mut begin = digits.len();
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            begin -= 1;
            if number == 0 {
                break;
            }
        }
        self.put(&digits[begin..])
    }

    /// Adds bytes from outside: what is not printable ASCII, and the backslash, quoted as
    /// `s6-fdholder-list` does it.
    pub fn quoted(&mut self, bytes: &[u8]) -> &mut Output {
        // What stands behind a backslash for the bytes from 7, BEL, to 13, CR.
        const LETTERS: &[u8; 7] = b"abtnvfr";
        for byte in bytes {
            let printable = (b' '..=b'~').contains(byte);
            if !printable || *byte == b'\\' {
                self.byte(b'\\');
            }
            if printable {
                self.byte(*byte);
            } else if let Some(letter) = LETTERS.get(usize::from(byte.wrapping_sub(7))) {
                self.byte(*letter);
            } else {
                self.text("0x");
                self.byte(hexadecimal(byte >> 4));
                self.byte(hexadecimal(byte & 15));
            }
        }
        self
    }

    /// Adds `: ` and what the C library says of an error.
    pub fn reason(&mut self, errno: Errno) -> &mut Output {
        self.text(": ");
        let before = self.length;
        errno.text(|byte| self.byte(byte));
        if self.length == before {
            self.text("error ").number(errno.number() as u32);
        }
        self
    }

    /// Writes what has been put. A message that cannot be written has nobody else to be told to;
    /// any other output that cannot be written is fatal.
    fn flush(&mut self) {
        let mut rest = &self.buffer[..self.length];
        while !rest.is_empty() {
            match sys::write(self.fd, rest) {
                Ok(n) => rest = &rest[n..],
                Err(_) if self.fd == 2 => break,
                Err(errno) => {
                    let mut line = Output::fatal(self.who);
                    line.text("unable to write to standard output").reason(errno).end(Exit::SYSTEM);
                }
            }
        }
        self.length = 0;
    }

    /// Ends a message: a line of its own, and the end of the process.
    pub fn end(&mut self, exit: Exit) -> ! {
        self.text("\n").close(exit)
    }

    /// Writes what is left and ends the process: the kernel closes what it holds.
    pub fn close(&mut self, exit: Exit) -> ! {
        self.flush();
        sys::exit(exit.0)
    }
}

/// The digit of a number below 16.
pub fn hexadecimal(number: u8) -> u8 {
    b"0123456789abcdef"[usize::from(number & 15)]
}
