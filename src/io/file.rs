//! Reading whole files.

use crate::sys::memory::Mapping;
use crate::sys::{Errno, file};
use core::ffi::CStr;

/// Reads a file into memory, so that later changes of the file have no effect. `EINVAL` if the file is
/// empty or larger than 2^31 - 1 bytes, `EIO` if it shrinks meanwhile.
pub fn read_whole(path: &CStr) -> Result<Mapping<u8>, Errno> {
    let opened = file::open(path)?;
    let length = file::length(opened.borrow())?;
    // The kernel reports an absurd length for a directory.
    if length == 0 || length > i32::MAX as usize {
        return Err(Errno::INVAL);
    }
    let mut content = Mapping::new(length).ok_or(Errno::NOMEM)?;
    let mut have = 0;
    while have < length {
        match file::read(opened.borrow(), content.get_mut(have..).unwrap_or_default())? {
            0 => return Err(Errno::IO),
            read => have += read,
        }
    }
    Ok(content)
}
