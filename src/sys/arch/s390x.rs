//! s390x: the entry point and the system call instruction.
//!
//! A system call takes its number in `r1`, where `svc 0` reads it, and up to six arguments in `r2` to
//! `r7`. It returns its result in `r2` and preserves every other register.

use core::arch::asm;

/// Defines `_entry`. It calls `$begin`, which does not return, on the program's own stack, with the
/// kernel's initial stack pointer as the argument. A function may save registers in the 160 bytes above
/// its stack pointer (ELF ABI, s390x supplement, section 1.2.2). A zero back chain in the first eight
/// of them and a zero return address end backtraces.
#[macro_export]
macro_rules! start {
    ($begin:path) => {
        core::arch::global_asm!(
            ".globl _entry",
            "_entry:",
            "lgr %r2, %r15",
            "larl %r15, {stack} + {size}",
            "aghi %r15, -160",
            "xc 0(8,%r15), 0(%r15)",
            "lghi %r14, 0",
            "jg {begin}",
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
        asm!("svc 0", in("r1") number, inlateout("r2") a as isize => result, in("r3") b,
            in("r4") c, in("r5") d, in("r6") e, options(nostack));
    }
    result
}

/// `mmap`, the one call of six arguments. It takes their address (`arch/s390/kernel/syscall.c`).
///
/// # Safety
/// The arguments must be what the call expects.
#[inline(always)]
pub unsafe fn mmap(arguments: [usize; 6]) -> isize {
    // SAFETY: the caller vouches for the arguments.
    unsafe { syscall5(libc::SYS_mmap as usize, arguments.as_ptr() as usize, 0, 0, 0, 0) }
}

pub use super::bytewise::{copy_up, fill};
