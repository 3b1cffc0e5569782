//! Slices of a range that the program itself has computed, and appending to a buffer. A range that is out
//! of bounds is a bug in the program and ends the process.

use crate::sys::bug;
use core::slice::SliceIndex;

/// The elements of a range.
pub fn part<T>(slice: &[T], range: impl SliceIndex<[T], Output = [T]>) -> &[T] {
    match slice.get(range) {
        Some(part) => part,
        None => bug(),
    }
}

/// The elements of a range, mutable.
pub fn part_mut<T>(slice: &mut [T], range: impl SliceIndex<[T], Output = [T]>) -> &mut [T] {
    match slice.get_mut(range) {
        Some(part) => part,
        None => bug(),
    }
}

/// Appends bytes to the first `length` of a buffer. Bytes that do not fit are left out.
pub fn append(buffer: &mut [u8], length: &mut usize, bytes: &[u8]) {
    let place = buffer.get_mut(*length..).and_then(|rest| rest.get_mut(..bytes.len()));
    if let Some(place) = place {
        place.copy_from_slice(bytes);
        *length += bytes.len();
    }
}
