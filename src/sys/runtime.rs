//! What a program without a C library has to define: the memory functions that the compiler calls, and
//! the panic handler. The library does not contain them: a program with a C library would define them
//! twice.

use core::arch::asm;
use fdholder::sys::{self, arch};

/// Ends the process. Release code contains no panic; should one get in, it has no room for a message.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    sys::bug()
}

/// Copies bytes between ranges that do not overlap.
///
/// # Safety
/// As for `memcpy` of C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the contract of `memcpy`.
    unsafe { arch::copy_up(to, from, length) };
    to
}

/// Copies bytes between ranges that may overlap.
///
/// # Safety
/// As for `memmove` of C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if (to as usize) <= (from as usize) {
        // SAFETY: the contract of `memmove`; the order is right, since `to` is not above `from`.
        unsafe { arch::copy_up(to, from, length) };
    } else {
        let mut i = length;
        while i > 0 {
            i -= 1;
            // SAFETY: the contract of `memmove`; without the `asm!` the compiler would turn this loop
            // into a call of `memmove`.
            unsafe {
                *to.add(i) = *from.add(i);
                asm!("", options(nostack, preserves_flags));
            }
        }
    }
    to
}

/// Sets each byte to the same value.
///
/// # Safety
/// As for `memset` of C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    // SAFETY: the contract of `memset`.
    unsafe { arch::fill(to, byte as u8, length) };
    to
}

/// Compares bytes in order.
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

/// Compares bytes for equality.
///
/// # Safety
/// As for `bcmp` of C.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: the contract is that of `memcmp`.
    unsafe { memcmp(a, b, length) }
}

/// Returns the number of bytes before the NUL.
///
/// # Safety
/// As for `strlen` of C.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the contract of `strlen`; without the `asm!` the compiler would turn this loop into a
    // call of `strlen`.
    unsafe {
        while *string.add(length) != 0 {
            length += 1;
            asm!("", options(nostack, preserves_flags));
        }
    }
    length
}
