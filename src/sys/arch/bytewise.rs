//! Copying and filling byte by byte, for processors without an instruction for it.
//!
//! The compiler turns such loops into calls of `memcpy` and `memset`, which consist of these functions.
//! The empty `asm!` in each loop prevents that.

use core::arch::asm;

/// Copies `length` bytes, the lowest address first.
///
/// # Safety
/// As for `memcpy`, but the ranges may overlap where `to` is below `from`.
#[inline(always)]
pub unsafe fn copy_up(to: *mut u8, from: *const u8, length: usize) {
    let mut i = 0;
    while i < length {
        // SAFETY: the caller vouches for both ranges.
        unsafe {
            *to.add(i) = *from.add(i);
            asm!("", options(nostack, preserves_flags));
        }
        i += 1;
    }
}

/// Fills `length` bytes.
///
/// # Safety
/// As for `memset`.
#[inline(always)]
pub unsafe fn fill(to: *mut u8, byte: u8, length: usize) {
    let mut i = 0;
    while i < length {
        // SAFETY: the caller vouches for the range.
        unsafe {
            *to.add(i) = byte;
            asm!("", options(nostack, preserves_flags));
        }
        i += 1;
    }
}
