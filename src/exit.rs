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

/// What an applet comes to: done, or the exit code of a failure that has been reported.
pub type Outcome = Result<(), Exit>;

/// A piece of a message.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    /// As it stands.
    Text(&'a str),
    /// Bytes from outside, quoted where they are not printable ASCII.
    Bytes(&'a [u8]),
    /// A number.
    Number(usize),
    /// The text of an error.
    Reason(Errno),
}

/// Text on its way to a descriptor, in few writes.
pub struct Output {
    fd: i32,
    buffer: [u8; 1024],
    length: usize,
    /// The first thing that went wrong.
    result: Result<(), Errno>,
}

impl Output {
    /// Nothing yet, to be written to standard output (1) or standard error (2).
    pub fn new(fd: i32) -> Output {
        Output { fd, buffer: [0; 1024], length: 0, result: Ok(()) }
    }

    /// Adds bytes as they are.
    pub fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.length == self.buffer.len() {
                self.write();
            }
            if let Some(slot) = self.buffer.get_mut(self.length) {
                *slot = *byte;
                self.length += 1;
            }
        }
    }

    /// Adds a number in decimal.
    pub fn put_number(&mut self, mut number: usize) {
        let mut digits = [0; 20];
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            count += 1;
            if number == 0 {
                break;
            }
        }
        self.put(digits.get(digits.len() - count..).unwrap_or_default());
    }

    /// Adds bytes from outside: what is not printable ASCII, and the backslash, quoted as
    /// `s6-fdholder-list` does it.
    pub fn put_quoted(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let escape = match *byte {
                b'\\' => b'\\',
                7 => b'a',
                8 => b'b',
                b'\t' => b't',
                b'\n' => b'n',
                11 => b'v',
                12 => b'f',
                b'\r' => b'r',
                b' '..=b'~' => {
                    self.put(&[*byte]);
                    continue;
                }
                other => {
                    let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
                    self.put(&[b'\\', b'0', b'x', digit(other >> 4), digit(other & 15)]);
                    continue;
                }
            };
            self.put(&[b'\\', escape]);
        }
    }

    /// Adds a piece of a message.
    pub fn put_part(&mut self, part: Part<'_>) {
        match part {
            Part::Text(text) => self.put(text.as_bytes()),
            Part::Bytes(bytes) => self.put_quoted(bytes),
            Part::Number(number) => self.put_number(number),
            Part::Reason(errno) => match errno.text() {
                Some(text) => self.put(text),
                None => {
                    self.put(b"error ");
                    self.put_number(errno.number().into());
                }
            },
        }
    }

    /// Writes what has been put.
    fn write(&mut self) {
        let mut rest = self.buffer.get(..self.length).unwrap_or_default();
        while !rest.is_empty() && self.result.is_ok() {
            match sys::write(self.fd, rest) {
                Ok(0) => self.result = Err(Errno::IO),
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(errno) => self.result = Err(errno),
            }
        }
        self.length = 0;
    }

    /// Writes what is left, and says whether everything went out.
    pub fn finish(mut self) -> Result<(), Errno> {
        self.write();
        self.result
    }
}

/// Writes one line to standard error: who speaks, what kind of line it is (`: fatal: `), and the
/// parts. If that cannot be written there is nobody to tell.
pub fn complain(who: &str, kind: &str, parts: &[&[Part<'_>]]) {
    let mut line = Output::new(2);
    line.put(who.as_bytes());
    line.put(kind.as_bytes());
    parts.iter().copied().flatten().for_each(|part| line.put_part(*part));
    line.put(b"\n");
    let _ = line.finish();
}
