//! Output: answers on standard output, messages on standard error.

use super::exit::Exit;
use crate::slice::part;
use crate::sys::Errno;
use crate::sys::fd::BorrowedFd;
use crate::sys::file;
use crate::sys::memory::at;
use crate::sys::time::{self, Event, Poll};
use core::ffi::CStr;

/// Bytes of a buffer: the smallest page size of any kernel. A pipe takes that many at once.
const SIZE: usize = 4096;

/// The longest line in bytes, newline included.
pub const LINE_MAX: usize = SIZE;

/// [`Writer::quoted_in_line`] stops when a line has more bytes than this. The rest of the line fits
/// into the bytes that remain.
const QUOTED_MAX: usize = SIZE - 512;

/// The buffer of a [`Writer`].
pub type Buffer = [u8; SIZE];

/// Milliseconds that a message waits for room on a non-blocking standard error. A message should not be
/// lost, and should not delay the tool for long.
const MESSAGE_WAIT: u32 = 1000;

/// A buffered writer to a descriptor. A message of ordinary length takes one write.
pub struct Writer {
    to: BorrowedFd<'static>,
    /// The name of the tool, for messages.
    name: &'static CStr,
    length: usize,
    buffer: &'static mut Buffer,
    /// Milliseconds that a write waits for room if the open file is non-blocking; `None` for no limit.
    wait: Option<u32>,
    /// The error of the first write that failed since [`Writer::end_line`].
    status: Result<(), Errno>,
}

impl Writer {
    /// A writer for answers. It waits for the reader without a limit.
    pub fn answers(to: BorrowedFd<'static>, buffer: &'static mut Buffer) -> Writer {
        Writer { to, name: c"fdholder", length: 0, buffer, wait: None, status: Ok(()) }
    }

    /// A writer for messages. It waits for the reader at most `MESSAGE_WAIT`.
    pub fn messages(to: BorrowedFd<'static>, buffer: &'static mut Buffer) -> Writer {
        Writer { wait: Some(MESSAGE_WAIT), ..Writer::answers(to, buffer) }
    }

    /// Sets the name for messages.
    pub fn set_name(&mut self, name: &'static CStr) {
        self.name = name;
    }

    /// Appends the name and `: `.
    pub fn message(&mut self) -> &mut Writer {
        let name = self.name;
        self.bytes(name.to_bytes()).text(": ")
    }

    /// Appends the name and `: fatal: `.
    pub fn fatal(&mut self) -> &mut Writer {
        self.message().text("fatal: ")
    }

    /// Appends bytes as they are.
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

    /// Appends a text as it is.
    pub fn text(&mut self, text: &str) -> &mut Writer {
        self.bytes(text.as_bytes())
    }

    /// Appends a byte as it is.
    pub fn byte(&mut self, byte: u8) -> &mut Writer {
        self.bytes(&[byte])
    }

    /// Appends a number in decimal.
    pub fn number(&mut self, number: u32) -> &mut Writer {
        if number >= 10 {
            self.number(number / 10);
        }
        self.byte(b'0' + (number % 10) as u8)
    }

    /// Appends bytes that came from outside. Backslashes and bytes other than printable ASCII are
    /// quoted as in the output of `s6-fdholder-list`.
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

    /// As [`Writer::quoted`]. Text that would make the line longer than a page becomes `...`.
    pub fn quoted_in_line(&mut self, bytes: &[u8]) -> &mut Writer {
        for byte in bytes {
            if self.length > QUOTED_MAX {
                return self.text("...");
            }
            self.quoted(&[*byte]);
        }
        self
    }

    /// Appends `: ` and the C library's text for an error, or its number.
    pub fn reason(&mut self, errno: Errno) -> &mut Writer {
        match errno.text() {
            Some(text) => self.text(": ").bytes(text),
            None => self.text(": error ").number(errno.number() as u32),
        }
    }

    /// Writes the buffer and empties it. After the first error nothing is written any more, and every
    /// call returns that error, until [`Writer::end_line`].
    pub fn flush(&mut self) -> Result<(), Errno> {
        if self.status.is_ok() {
            self.status = self.write();
        }
        self.length = 0;
        self.status
    }

    /// Writes the buffer.
    fn write(&self) -> Result<(), Errno> {
        let mut bytes = part(&*self.buffer, ..self.length);
        while !bytes.is_empty() {
            match file::write(self.to, bytes) {
                Ok(written) => bytes = part(bytes, written..),
                // Another process that shares the open file has made it non-blocking.
                Err(Errno::AGAIN) => {
                    let room = &mut [Poll::on(self.to, Event::Writable)];
                    if time::poll(room, self.wait)? == 0 {
                        return Err(Errno::AGAIN);
                    }
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// The error of the first write that failed since [`Writer::end_line`].
    pub fn status(&self) -> Result<(), Errno> {
        self.status
    }

    /// Ends a message with a newline and writes it. Errors are ignored: there is nobody to report them
    /// to.
    pub fn end_line(&mut self) {
        let _ = self.byte(b'\n').flush();
        self.status = Ok(());
    }

    /// Ends a message with a newline and returns the line instead of writing it.
    pub fn take_line(&mut self) -> &[u8] {
        self.byte(b'\n');
        let length = core::mem::replace(&mut self.length, 0);
        part(&*self.buffer, ..length)
    }

    /// Ends the last message of a tool, and returns `exit`.
    pub fn end(&mut self, exit: Exit) -> Exit {
        self.end_line();
        exit
    }

    /// The descriptor that this writes to.
    pub fn descriptor(&self) -> BorrowedFd<'static> {
        self.to
    }

    /// True if writing a line does not block. A pipe is writable only if it has room for a page, and no
    /// line is longer.
    pub fn has_room(&self) -> bool {
        let mut one = [Poll::on(self.to, Event::Writable)];
        // If `poll` fails, waiting is of no use.
        time::poll(&mut one, Some(0)) != Ok(0)
    }

    /// `EBADF` if the descriptor is closed. The next descriptor that the process opens would get its
    /// number, and output would go there.
    pub fn require(&self) -> Result<(), Errno> {
        self.to.is_open()
    }

    /// Reports that an argument is not what it should be, such as `address`, with the reason. This
    /// replaces the usage line.
    pub fn wrong(&mut self, what: &str, text: &CStr, reason: &str) -> Exit {
        self.fatal()
            .text("no ")
            .text(what)
            .text(": ")
            .quoted(text.to_bytes())
            .text(": ")
            .text(reason)
            .end(Exit::USAGE)
    }

    /// Reports that standard output could not be written to. Call this on the writer for standard
    /// error.
    pub fn output_failed(&mut self, errno: Errno) -> Exit {
        self.fatal().text("unable to write to standard output").reason(errno).end(Exit::SYSTEM)
    }
}

/// The two hexadecimal digits of a byte.
pub fn hexadecimal(byte: u8) -> [u8; 2] {
    let digit = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' - 10 + digit };
    [digit(byte >> 4), digit(byte & 15)]
}
