//! What a program without a C library brings along: the memory functions that the compiler calls, and
//! the end of a panic. Part of each program, not of the library: a program that has a C library would
//! have all of this twice.

use core::arch::asm;
use fdholder::sys::{self, arch};

/// Release code has no panics left in it, and no room for what they would say. Should one come back,
/// it ends the process as any other failure here does.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    sys::bug()
}

/// Copies; the ranges do not overlap.
///
/// # Safety
/// As for `memcpy` of C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the contract of `memcpy`.
    unsafe { arch::copy_up(to, from, length) };
    to
}

/// Copies; the ranges may overlap.
///
/// # Safety
/// As for `memmove` of C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if (to as usize) <= (from as usize) {
        // SAFETY: the contract of `memmove`; upwards is right where the target lies below.
        unsafe { arch::copy_up(to, from, length) };
    } else {
        let mut i = length;
        while i > 0 {
            i -= 1;
            // SAFETY: the contract of `memmove`; the `asm!` keeps this loop from becoming a
            // call of itself.
            unsafe {
                *to.add(i) = *from.add(i);
                asm!("", options(nostack, preserves_flags));
            }
        }
    }
    to
}

/// Fills.
///
/// # Safety
/// As for `memset` of C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    // SAFETY: the contract of `memset`.
    unsafe { arch::fill(to, byte as u8, length) };
    to
}

/// Compares.
///
/// # Safety
/// As for `memcmp` of C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    let mut i = 0;
    while i < length {
        // SAFETY: the contract of `memcmp`.
        let (x, y) = unsafe { (*a.add(i), *b.add(i)) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
        i += 1;
    }
    0
}

/// Compares for equality.
///
/// # Safety
/// As for `bcmp` of C.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: the contract is that of `memcmp`.
    unsafe { memcmp(a, b, length) }
}

/// Measures up to the zero byte.
///
/// # Safety
/// As for `strlen` of C.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the contract of `strlen`; the `asm!` keeps this loop from becoming a call of itself.
    unsafe {
        while *string.add(length) != 0 {
            length += 1;
            asm!("", options(nostack, preserves_flags));
        }
    }
    length
}
