//! What a tool says: answers on standard output, messages on standard error.

use super::exit::Exit;
use crate::slice::part;
use crate::sys::Errno;
use crate::sys::fd::BorrowedFd;
use crate::sys::file;
use crate::sys::memory::at;
use crate::sys::time::{self, Event, Poll};
use core::ffi::CStr;

/// Bytes of the buffer: the smallest page there is, which a pipe takes at once.
const SIZE: usize = 4096;

/// The longest line with its end.
pub const LINE_MAX: usize = SIZE;

/// How much of a line what is quoted may fill. The rest of a line is shorter than what is left.
const QUOTED_MAX: usize = SIZE - 512;

/// The buffer of a [`Writer`].
pub type Buffer = [u8; SIZE];

/// Milliseconds that a message waits for room if standard error does not block. It is better late than
/// lost, but it may not hold anybody up.
const PATIENCE: u32 = 1000;

/// Text on its way to a descriptor, in few writes: one for a message of ordinary length.
pub struct Writer {
    to: BorrowedFd<'static>,
    /// The tool that speaks.
    who: &'static CStr,
    length: usize,
    buffer: &'static mut Buffer,
    /// Milliseconds that a write waits for room, where the open file does not block; nothing if it may
    /// take as long as the reader does.
    patience: Option<u32>,
    /// Whether all could be written, since the text was begun.
    status: Result<(), Errno>,
}

impl Writer {
    /// Answers, for that descriptor.
    pub fn answers(to: BorrowedFd<'static>, buffer: &'static mut Buffer) -> Writer {
        Writer { to, who: c"fdholder", length: 0, buffer, patience: None, status: Ok(()) }
    }

    /// Messages, for that descriptor.
    pub fn messages(to: BorrowedFd<'static>, buffer: &'static mut Buffer) -> Writer {
        Writer { patience: Some(PATIENCE), ..Writer::answers(to, buffer) }
    }

    /// Says who speaks from now on.
    pub fn speak_as(&mut self, who: &'static CStr) {
        self.who = who;
    }

    /// Begins a line with who speaks.
    pub fn message(&mut self) -> &mut Writer {
        let who = self.who;
        self.bytes(who.to_bytes()).text(": ")
    }

    /// Begins a line that says why the tool fails.
    pub fn fatal(&mut self) -> &mut Writer {
        self.message().text("fatal: ")
    }

    /// Adds bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Writer {
        for byte in bytes {
            if self.length == SIZE {
                let _ = self.flush();
            }
            *at(self.buffer, self.length) = *byte;
            self.length += 1;
        }
        self
    }

    /// Adds a text of this program.
    pub fn text(&mut self, text: &str) -> &mut Writer {
        self.bytes(text.as_bytes())
    }

    /// Adds a byte as it is.
    pub fn byte(&mut self, byte: u8) -> &mut Writer {
        self.bytes(&[byte])
    }

    /// Adds a number in decimal.
    pub fn number(&mut self, number: u32) -> &mut Writer {
        if number >= 10 {
            self.number(number / 10);
        }
        self.byte(b'0' + (number % 10) as u8)
    }

    /// Adds bytes from outside: what is not printable ASCII, and the backslash, is quoted as
    /// `s6-fdholder-list` does it.
    pub fn quoted(&mut self, bytes: &[u8]) -> &mut Writer {
        for byte in bytes {
            match byte {
                7..=13 => self.byte(b'\\').byte(b"abtnvfr"[usize::from(byte - 7)]),
                b'\\' => self.text("\\\\"),
                b' '..=b'~' => self.byte(*byte),
                _ => self.text("\\0x").bytes(&hexadecimal(*byte)),
            };
        }
        self
    }

    /// The same, but what would make a line longer than a page is left out.
    pub fn quoted_in_line(&mut self, bytes: &[u8]) -> &mut Writer {
        for byte in bytes {
            if self.length > QUOTED_MAX {
                return self.text("...");
            }
            self.quoted(&[*byte]);
        }
        self
    }

    /// Adds `: ` and what the C library says of an error.
    pub fn reason(&mut self, errno: Errno) -> &mut Writer {
        match errno.text() {
            Some(text) => self.text(": ").bytes(text),
            None => self.text(": error ").number(errno.number() as u32),
        }
    }

    /// Writes what has been added. An error is that of the first write that failed since the text was
    /// begun; nothing is written after it.
    pub fn flush(&mut self) -> Result<(), Errno> {
        if self.status.is_ok() {
            self.status = self.write();
        }
        self.length = 0;
        self.status
    }

    /// Writes what is in the buffer.
    fn write(&self) -> Result<(), Errno> {
        let mut bytes = part(&*self.buffer, ..self.length);
        while !bytes.is_empty() {
            match file::write(self.to, bytes) {
                Ok(written) => bytes = part(bytes, written..),
                // Somebody who shares the open file has made it non-blocking.
                Err(Errno::AGAIN) => {
                    let room = &mut [Poll::on(self.to, Event::Writable)];
                    if time::poll(room, self.patience)? == 0 {
                        return Err(Errno::AGAIN);
                    }
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// The error of the first write that failed since the text was begun, if one did.
    pub fn status(&self) -> Result<(), Errno> {
        self.status
    }

    /// Ends a message: a line of its own. That it cannot be written there is nobody to tell.
    pub fn say(&mut self) {
        let _ = self.byte(b'\n').flush();
        self.status = Ok(());
    }

    /// Ends a message, a line of its own, and gives it instead of writing it.
    pub fn take_line(&mut self) -> &[u8] {
        self.byte(b'\n');
        let length = core::mem::replace(&mut self.length, 0);
        part(&*self.buffer, ..length)
    }

    /// Ends a message that a tool ends with.
    pub fn end(&mut self, exit: Exit) -> Exit {
        self.say();
        exit
    }

    /// The descriptor.
    pub fn descriptor(&self) -> BorrowedFd<'static> {
        self.to
    }

    /// Whether a line can be written without waiting for the reader. A pipe says so if it has room for a
    /// page, and no line is as long as that.
    pub fn has_room(&self) -> bool {
        let mut one = [Poll::on(self.to, Event::Writable)];
        // If it cannot be waited for it is of no use to wait.
        time::poll(&mut one, Some(0)) != Ok(0)
    }

    /// Checks that the descriptor is open: `EBADF` if not. What is opened next would have its number,
    /// and what is meant for a reader would get lost there.
    pub fn require(&self) -> Result<(), Errno> {
        self.to.is_open()
    }

    /// Says that standard output could not be written to. To be called on standard error.
    pub fn no_output(&mut self, errno: Errno) -> Exit {
        self.fatal().text("unable to write to standard output").reason(errno).end(Exit::SYSTEM)
    }
}

/// The two hexadecimal digits of a byte.
pub fn hexadecimal(byte: u8) -> [u8; 2] {
    let digit = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' - 10 + digit };
    [digit(byte >> 4), digit(byte & 15)]
}
