//! x86_64: the entry point and the system call instruction.
//!
//! A system call takes its number in `rax` and up to six arguments in `rdi`, `rsi`, `rdx`, `r10`, `r8`
//! and `r9`. It returns its result in `rax` and overwrites `rcx` and `r11` (System V ABI, x86-64
//! supplement, appendix A.2.1).

use core::arch::asm;

/// Defines `_entry`. It calls `$begin`, which does not return, on the program's own stack, with the
/// kernel's initial stack pointer as the argument. The stack ends at a multiple of 16 bytes, as the ABI
/// requires at a `call`. A zero frame pointer ends backtraces.
#[macro_export]
macro_rules! start {
    ($begin:path) => {
        core::arch::global_asm!(
            ".globl _entry",
            "_entry:",
            "xor ebp, ebp",
            "mov rdi, rsp",
            "lea rsp, [rip + {stack} + {size}]",
            "call {begin}",
            "ud2",
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
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b,
            in("rdx") c, in("r10") d, in("r8") e, lateout("rcx") _, lateout("r11") _,
            options(nostack));
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
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b,
            in("rdx") c, in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _,
            lateout("r11") _, options(nostack));
    }
    result
}

/// Copies `length` bytes with one instruction, the lowest address first.
///
/// # Safety
/// As for `memcpy`, but the ranges may overlap where `to` is below `from`.
#[inline(always)]
pub unsafe fn copy_up(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: the caller vouches for both ranges; the ABI keeps the direction flag clear.
    unsafe {
        asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
}

/// Fills `length` bytes with one instruction.
///
/// # Safety
/// As for `memset`.
#[inline(always)]
pub unsafe fn fill(to: *mut u8, byte: u8, length: usize) {
    // SAFETY: the caller vouches for the range; the ABI keeps the direction flag clear.
    unsafe {
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") byte,
            options(nostack, preserves_flags));
    }
}
