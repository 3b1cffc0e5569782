//! 32-bit x86, i686 and later: the entry point and the system call instruction.
//!
//! A system call takes its number in `eax` and up to five arguments in `ebx`, `ecx`, `edx`, `esi` and
//! `edi`. It returns its result in `eax` and preserves every other register.

use core::arch::asm;

/// Defines `_entry`. It calls `$begin`, which does not return, on the program's own stack, with the
/// kernel's initial stack pointer as the argument. With the argument pushed the stack pointer is a
/// multiple of 16 at the `call`, as the ABI requires. A zero frame pointer ends backtraces.
#[macro_export]
macro_rules! start {
    ($begin:path) => {
        core::arch::global_asm!(
            ".globl _entry",
            "_entry:",
            "xor ebp, ebp",
            "mov eax, esp",
            "lea esp, [{stack} + {size}]",
            "sub esp, 12",
            "push eax",
            "call {begin}",
            "ud2",
            begin = sym $begin,
            stack = sym $crate::sys::stack::STACK,
            size = const $crate::sys::stack::SIZE,
        );
    };
}

/// A system call of up to five arguments. The compiler reserves `esi`, and no other register is free to
/// pass its value in: `eax` points to the number and to that value in memory.
///
/// # Safety
/// The arguments must be what the call numbered `number` expects.
#[inline(always)]
pub unsafe fn syscall5(number: usize, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
    let result;
    let pair = [number, d];
    // SAFETY: the caller vouches for the arguments; every overwritten register is declared, and `esi`
    // is restored.
    unsafe {
        asm!("push esi", "mov esi, [eax + 4]", "mov eax, [eax]", "int 0x80", "pop esi",
            inlateout("eax") pair.as_ptr() => result, in("ebx") a, in("ecx") b, in("edx") c,
            in("edi") e);
    }
    result
}

/// `mmap`, the one call of six arguments. It takes their address. `mmap2` would need the frame pointer
/// for the last argument.
///
/// # Safety
/// The arguments must be what the call expects.
#[inline(always)]
pub unsafe fn mmap(arguments: [usize; 6]) -> isize {
    // SAFETY: the caller vouches for the arguments.
    unsafe { syscall5(libc::SYS_mmap as usize, arguments.as_ptr() as usize, 0, 0, 0, 0) }
}

/// Copies `length` bytes with one instruction, the lowest address first. The compiler reserves `esi`,
/// so it is exchanged and restored.
///
/// # Safety
/// As for `memcpy`, but the ranges may overlap where `to` is below `from`.
#[inline(always)]
pub unsafe fn copy_up(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: the caller vouches for both ranges; the ABI keeps the direction flag clear, and `esi` is
    // restored.
    unsafe {
        asm!("xchg esi, {from}", "rep movsb", "mov esi, {from}", from = inout(reg) from => _,
            inout("ecx") length => _, inout("edi") to => _, options(nostack, preserves_flags));
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
        asm!("rep stosb", inout("ecx") length => _, inout("edi") to => _, in("al") byte,
            options(nostack, preserves_flags));
    }
}
