//! Whole files.

use crate::sys::memory::Mapping;
use crate::sys::{Errno, file};
use core::ffi::CStr;

/// What a file has in it now: whatever happens to the file later, that stays. `EINVAL` for an empty one.
pub fn read_whole(path: &CStr) -> Result<Mapping<u8>, Errno> {
    let opened = file::open(path)?;
    let length = file::length(opened.borrow())?;
    // A directory says something absurd.
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
