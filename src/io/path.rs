//! Building paths.

use crate::slice::{part, part_mut};
use crate::sys::{Errno, file, strings};
use core::ffi::CStr;

/// Bytes of a path buffer: half of the kernel's limit. Some buffers are on the stack, which is small.
pub const SIZE: usize = 2048;

/// A path in the making.
pub struct PathBuffer {
    bytes: [u8; SIZE],
    length: usize,
    is_cut: bool,
}

impl PathBuffer {
    /// An empty path.
    pub const EMPTY: PathBuffer = PathBuffer { bytes: [0; SIZE], length: 0, is_cut: false };

    /// Appends bytes. If they do not fit, those that do are appended, for a message, and
    /// [`PathBuffer::path`] fails.
    pub fn push(&mut self, bytes: &[u8]) -> &mut PathBuffer {
        let room = SIZE - 1 - self.length;
        self.is_cut |= bytes.len() > room;
        let bytes = part(bytes, ..bytes.len().min(room));
        part_mut(&mut self.bytes, self.length..self.length + bytes.len()).copy_from_slice(bytes);
        self.length += bytes.len();
        self
    }

    /// Appends a number in decimal.
    pub fn number(&mut self, number: u32) -> &mut PathBuffer {
        if number >= 10 {
            self.number(number / 10);
        }
        self.push(&[b'0' + (number % 10) as u8])
    }

    /// Cuts the path to `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        if let Some(behind) = self.bytes.get_mut(length..self.length) {
            behind.fill(0);
            (self.length, self.is_cut) = (length, false);
        }
    }

    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        part(&self.bytes, ..self.length)
    }

    /// The path. `ENAMETOOLONG` if something did not fit.
    pub fn path(&self) -> Result<&CStr, Errno> {
        let path = self.bytes.get(..=self.length).and_then(strings::c_string);
        path.filter(|_| !self.is_cut).ok_or(Errno::NAMETOOLONG)
    }
}

/// The target of the symbolic link at `link`. `ENAMETOOLONG` if it does not fit into `buffer`.
pub fn read_link<'b>(link: &CStr, buffer: &'b mut [u8; SIZE]) -> Result<&'b CStr, Errno> {
    let length = file::read_link(link, buffer)?;
    // The kernel silently cuts a longer target.
    *buffer.get_mut(length).ok_or(Errno::NAMETOOLONG)? = 0;
    strings::c_string(part(buffer, ..=length)).ok_or(Errno::NAMETOOLONG)
}
