//! 64-bit RISC-V: the entry point and the system call instruction.
//!
//! A system call takes its number in `a7` and up to six arguments in `a0` to `a5`. It returns its
//! result in `a0` and preserves every other register.

use core::arch::asm;

/// Defines `_entry`. It calls `$begin`, which does not return, on the program's own stack, with the
/// kernel's initial stack pointer as the argument. The stack is aligned to the 16 bytes that the ABI
/// requires. A zero frame pointer and a zero return address end backtraces. The global pointer stays
/// unset: the linker uses it only if the linker script defines `__global_pointer$`.
///
/// `lla` takes the address relative to the program counter. `la` reads it from the table of the linker in
/// position-independent code, which newer compilers make here, and then adds `size` to the wrong address.
#[macro_export]
macro_rules! start {
    ($begin:path) => {
        core::arch::global_asm!(
            ".globl _entry",
            "_entry:",
            "li s0, 0",
            "li ra, 0",
            "mv a0, sp",
            "lla sp, {stack} + {size}",
            "tail {begin}",
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
        asm!("ecall", in("a7") number, inlateout("a0") a as isize => result, in("a1") b,
            in("a2") c, in("a3") d, in("a4") e, options(nostack));
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
        asm!("ecall", in("a7") number, inlateout("a0") a as isize => result, in("a1") b,
            in("a2") c, in("a3") d, in("a4") e, in("a5") f, options(nostack));
    }
    result
}

pub use super::bytewise::{copy_up, fill};
