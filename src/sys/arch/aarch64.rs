//! aarch64: the entry point and the system call instruction.
//!
//! A system call takes its number in `x8` and up to six arguments in `x0` to `x5`. It returns its
//! result in `x0` and preserves every other register.

use core::arch::asm;

/// Defines `_entry`. It calls `$begin`, which does not return, on the program's own stack, with the
/// kernel's initial stack pointer as the argument. A zero frame pointer and a zero link register end
/// backtraces.
#[macro_export]
macro_rules! start {
    ($begin:path) => {
        core::arch::global_asm!(
            ".globl _entry",
            "_entry:",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, sp",
            "adrp x1, {stack} + {size}",
            "add x1, x1, :lo12:{stack} + {size}",
            "mov sp, x1",
            "b {begin}",
            begin = sym $begin,
            stack = sym $crate::sys::stack::STACK,
            size = const $crate::sys::stack::SIZE,
        );
    };
}

/// A system call of up to five arguments.
///
/// # Safety
/// The arguments must be what the call numbered `number` expects.
#[inline(always)]
pub unsafe fn syscall5(number: usize, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
    let result;
    // SAFETY: the caller vouches for the arguments; every overwritten register is declared.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a as isize => result, in("x1") b,
            in("x2") c, in("x3") d, in("x4") e, options(nostack));
    }
    result
}

/// `mmap`, the one call of six arguments.
///
/// # Safety
/// The arguments must be what the call expects.
#[inline(always)]
pub unsafe fn mmap([a, b, c, d, e, f]: [usize; 6]) -> isize {
    let number = libc::SYS_mmap;
    let result;
    // SAFETY: the caller vouches for the arguments; every overwritten register is declared.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a as isize => result, in("x1") b,
            in("x2") c, in("x3") d, in("x4") e, in("x5") f, options(nostack));
    }
    result
}

pub use super::bytewise::{copy_up, fill};
