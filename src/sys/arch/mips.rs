//! 32-bit MIPS of either byte order, o32 ABI: the entry point and the system call instruction. Inline
//! assembly for MIPS is unstable in Rust: `src/lib.rs` enables the feature.
//!
//! A system call takes its number in `$2`, four arguments in `$4` to `$7` and the others on the stack,
//! above 16 bytes that are reserved for those four. It returns its result in `$2`. On an error `$7` is
//! not 0 and `$2` is the error number, positive. A system call may overwrite every register that a
//! function may overwrite.

use core::arch::asm;

/// Defines `_entry`. It calls `$begin`, which does not return, on the program's own stack, with the
/// kernel's initial stack pointer as the argument. A function expects the stack pointer aligned to 8
/// bytes, room for four arguments above it, and its own address in `$25`. A zero return address ends
/// backtraces.
#[macro_export]
macro_rules! start {
    ($begin:path) => {
        core::arch::global_asm!(
            ".globl _entry",
            "_entry:",
            "move $4, $29",
            "lui $29, %hi({stack} + {size})",
            "addiu $29, $29, %lo({stack} + {size})",
            "addiu $29, $29, -16",
            "move $31, $0",
            "lui $25, %hi({begin})",
            "addiu $25, $25, %lo({begin})",
            "jr $25",
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
    // SAFETY: the caller vouches for the arguments.
    unsafe { syscall6(number, [a, b, c, d, e, 0]) }
}

/// `mmap`, the one call of six arguments. Its last argument, the offset, counts units of 4096 bytes.
///
/// # Safety
/// The arguments must be what the call expects.
#[inline(always)]
pub unsafe fn mmap(arguments: [usize; 6]) -> isize {
    // SAFETY: the caller vouches for the arguments.
    unsafe { syscall6(libc::SYS_mmap2 as usize, arguments) }
}

/// A system call of up to six arguments.
///
/// # Safety
/// The arguments must be what the call numbered `number` expects.
#[inline(always)]
unsafe fn syscall6(number: usize, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let (answer, failed): (isize, usize);
    // SAFETY: the caller vouches for the arguments; every overwritten register is declared, and the
    // stack pointer is restored.
    unsafe {
        asm!(
            "addiu $29, $29, -24", "sw $8, 16($29)", "sw $9, 20($29)", "syscall",
            "addiu $29, $29, 24",
            inlateout("$2") number as isize => answer, in("$4") a, in("$5") b, in("$6") c,
            inlateout("$7") d => failed, inlateout("$8") e => _, inlateout("$9") f => _,
            lateout("$3") _, lateout("$10") _, lateout("$11") _, lateout("$12") _,
            lateout("$13") _, lateout("$14") _, lateout("$15") _, lateout("$24") _,
            lateout("$25") _,
        );
    }
    if failed == 0 { answer } else { answer.wrapping_neg() }
}

pub use super::bytewise::{copy_up, fill};
