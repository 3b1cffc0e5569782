//! The stack of the program. It is its own, and not the one that the kernel gives it: of that a low
//! `RLIMIT_STACK`, or a large environment, can leave too little, which would show as a crash.

use core::cell::UnsafeCell;

/// Bytes of it: three times what the deepest calls were seen to take, those for an expression in 64
/// groups. Pages that are not reached cost nothing.
pub const SIZE: usize = 1 << 16;

/// Memory that the processor alone writes to. It lies first in the segment that is written, so what
/// grows out of it at its lower end meets the code, which cannot be written to: it ends the process.
#[repr(C, align(16))]
pub struct Stack(UnsafeCell<[u8; SIZE]>);

// SAFETY: nobody reaches what is in it.
unsafe impl Sync for Stack {}

/// That of the one thread.
#[unsafe(link_section = ".bss.stack")]
pub static STACK: Stack = Stack(UnsafeCell::new([0; SIZE]));
