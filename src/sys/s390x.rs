//! s390x: the entry point and the system call instruction.
//!
//! A system call takes its number in `r1`, where `svc 0` looks for it, and up to six arguments in
//! `r2` to `r7`; it answers in `r2` and keeps every other register.

use core::arch::asm;

/// Defines `_entry`, which hands the stack as the kernel laid it out to `$begin`, on the program's own
/// stack, and expects it not to return. A function finds 160 bytes above its stack pointer in which it may save
/// registers (ELF ABI, s390x supplement, section 1.2.2); a zero back chain in the first eight and
/// a zero return address end back traces.
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
    // SAFETY: the caller vouches for the arguments; what the instruction overwrites is named.
    unsafe {
        asm!("svc 0", in("r1") number, inlateout("r2") a as isize => result, in("r3") b,
            in("r4") c, in("r5") d, in("r6") e, options(nostack));
    }
    result
}

/// `mmap`, the one call of six arguments: it takes their address
/// (`arch/s390/kernel/syscall.c`).
///
/// # Safety
/// The arguments must be what the call expects.
#[inline(always)]
pub unsafe fn mmap(arguments: [usize; 6]) -> isize {
    // SAFETY: the caller vouches for the arguments.
    unsafe { syscall5(libc::SYS_mmap as usize, arguments.as_ptr() as usize, 0, 0, 0, 0) }
}

pub use super::bytewise::{copy_up, fill};
