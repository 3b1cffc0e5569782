//! Parts of slices, at places that the program itself has worked out. That there is no such part is a
//! mistake in the program: it ends.

use crate::sys::bug;
use core::slice::SliceIndex;

/// A part to look at.
pub fn part<T>(slice: &[T], range: impl SliceIndex<[T], Output = [T]>) -> &[T] {
    match slice.get(range) {
        Some(part) => part,
        None => bug(),
    }
}

/// A part to write to.
pub fn part_mut<T>(slice: &mut [T], range: impl SliceIndex<[T], Output = [T]>) -> &mut [T] {
    match slice.get_mut(range) {
        Some(part) => part,
        None => bug(),
    }
}
