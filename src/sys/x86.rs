//! 32-bit x86, i686 and later: the entry point and the system call instruction.
//!
//! A system call takes its number in `eax` and up to five arguments in `ebx`, `ecx`, `edx`, `esi`
//! and `edi`; it answers in `eax` and keeps every other register.

use core::arch::asm;

/// Defines `_entry`, which hands the stack as the kernel laid it out to `$begin` and expects it
/// not to return. The program's own stack ends at a multiple of 16 bytes, as the ABI wants the stack
/// pointer at a call, with the arguments pushed. A zero frame pointer ends back traces.
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

/// A system call of up to five arguments. The compiler keeps `esi` to itself, and with the five
/// others taken there is no register left to bring its value in: so that comes from memory.
///
/// # Safety
/// The arguments must be what the call numbered `number` expects.
#[inline(always)]
pub unsafe fn syscall5(number: usize, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
    let result;
    let pair = [number, d];
    // SAFETY: the caller vouches for the arguments; what the instructions overwrite is named, and
    // `esi` is put back.
    unsafe {
        asm!("push esi", "mov esi, [eax + 4]", "mov eax, [eax]", "int 0x80", "pop esi",
            inlateout("eax") pair.as_ptr() => result, in("ebx") a, in("ecx") b, in("edx") c,
            in("edi") e);
    }
    result
}

/// `mmap`, the one call of six arguments: it takes their address, unlike `mmap2`, which would need
/// the frame pointer for the last one.
///
/// # Safety
/// The arguments must be what the call expects.
#[inline(always)]
pub unsafe fn mmap(arguments: [usize; 6]) -> isize {
    // SAFETY: the caller vouches for the arguments.
    unsafe { syscall5(libc::SYS_mmap as usize, arguments.as_ptr() as usize, 0, 0, 0, 0) }
}

/// Copies `length` bytes upwards; the processor has one instruction for it. The compiler keeps
/// `esi` to itself.
///
/// # Safety
/// As for `memcpy`, but an overlap is fine where `to` lies below `from`.
#[inline(always)]
pub unsafe fn copy_up(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: the caller vouches for both ranges; the direction flag is clear in the ABI, and
    // `esi` is put back.
    unsafe {
        asm!("xchg esi, {from}", "rep movsb", "mov esi, {from}", from = inout(reg) from => _,
            inout("ecx") length => _, inout("edi") to => _, options(nostack, preserves_flags));
    }
}

/// Fills `length` bytes.
///
/// # Safety
/// As for `memset`.
#[inline(always)]
pub unsafe fn fill(to: *mut u8, byte: u8, length: usize) {
    // SAFETY: the caller vouches for the range; the direction flag is clear in the ABI.
    unsafe {
        asm!("rep stosb", inout("ecx") length => _, inout("edi") to => _, in("al") byte,
            options(nostack, preserves_flags));
    }
}
