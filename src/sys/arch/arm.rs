//! 32-bit ARM: the entry point and the system call instruction.
//!
//! A system call of the EABI takes its number in `r7` and up to six arguments in `r0` to `r5`. It
//! returns its result in `r0` and preserves every other register. In Thumb code `r7` is the frame
//! pointer and `asm!` does not accept it as an operand: the code here saves and restores it.

use core::arch::asm;

/// Defines `_entry`. It calls `$begin`, which does not return, on the program's own stack, with the
/// kernel's initial stack pointer as the argument. The procedure call standard requires an alignment of
/// 8 bytes; the stack has more. A zero frame pointer and a zero link register end backtraces.
#[macro_export]
macro_rules! start {
    ($begin:path) => {
        core::arch::global_asm!(
            ".globl _entry",
            // ARM code, even if the rest is Thumb: the address of the entry point has bit 0 clear, so
            // the kernel starts it in ARM state.
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
    // SAFETY: the caller vouches for the arguments; every overwritten register is declared.
    unsafe {
        asm!("mov {kept}, r7", "mov r7, {number}", "svc 0", "mov r7, {kept}", kept = out(reg) _,
            number = in(reg) number, inlateout("r0") a as isize => result, in("r1") b, in("r2") c,
            in("r3") d, in("r4") e, options(nostack));
    }
    result
}

/// `mmap`, the one call of six arguments. Its last argument, the offset, counts units of 4096 bytes.
///
/// # Safety
/// The arguments must be what the call expects.
#[inline(always)]
pub unsafe fn mmap([a, b, c, d, e, f]: [usize; 6]) -> isize {
    let number = libc::SYS_mmap2;
    let result;
    // SAFETY: the caller vouches for the arguments; every overwritten register is declared.
    unsafe {
        asm!("mov {kept}, r7", "mov r7, {number}", "svc 0", "mov r7, {kept}", kept = out(reg) _,
            number = in(reg) number, inlateout("r0") a as isize => result, in("r1") b, in("r2") c,
            in("r3") d, in("r4") e, in("r5") f, options(nostack));
    }
    result
}

pub use super::bytewise::{copy_up, fill};
