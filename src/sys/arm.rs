//! 32-bit ARM: the entry point and the system call instruction.
//!
//! A system call of the EABI takes its number in `r7` and up to six arguments in `r0` to `r5`; it
//! answers in `r0` and keeps every other register. `r7` is also the frame pointer of Thumb code, which
//! the compiler does not lend: so it is put back.

use core::arch::asm;

/// Defines `_entry`, which hands the stack as the kernel laid it out to `$begin` and expects it
/// not to return. The program's own stack is aligned to more than the 8 bytes that the procedure call
/// standard wants. Zero frame pointer and link register end back traces.
#[macro_export]
macro_rules! start {
    ($begin:path) => {
        core::arch::global_asm!(
            ".globl _entry",
            // In the instruction set that every processor begins with, also if the rest is Thumb.
            ".arm",
            ".type _entry, %function",
            "_entry:",
            "mov r11, #0",
            "mov lr, #0",
            "mov r0, sp",
            "ldr sp, ={stack} + {size}",
            "b {begin}",
            ".ltorg",
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
        asm!("mov {kept}, r7", "mov r7, {number}", "svc 0", "mov r7, {kept}", kept = out(reg) _,
            number = in(reg) number, inlateout("r0") a as isize => result, in("r1") b, in("r2") c,
            in("r3") d, in("r4") e, options(nostack));
    }
    result
}

/// `mmap`, the one call of six arguments. The last one, the offset, counts units of 4096 bytes
/// here.
///
/// # Safety
/// The arguments must be what the call expects.
#[inline(always)]
pub unsafe fn mmap([a, b, c, d, e, f]: [usize; 6]) -> isize {
    let number = libc::SYS_mmap2;
    let result;
    // SAFETY: the caller vouches for the arguments; what the instruction overwrites is named.
    unsafe {
        asm!("mov {kept}, r7", "mov r7, {number}", "svc 0", "mov r7, {kept}", kept = out(reg) _,
            number = in(reg) number, inlateout("r0") a as isize => result, in("r1") b, in("r2") c,
            in("r3") d, in("r4") e, in("r5") f, options(nostack));
    }
    result
}

pub use super::bytewise::{copy_up, fill};
