//! The stack of the program, in static memory. A low `RLIMIT_STACK` or a large environment can leave
//! too little of the stack that the kernel provides, and the program would crash.

use core::cell::UnsafeCell;

/// The size in bytes: three times what the deepest calls take, those for an expression with groups
/// nested 64 deep. Pages that are never reached take no memory.
pub const SIZE: usize = 1 << 16;

/// The memory of the stack. It is first in the writable segment: below it is the code, which is
/// read-only, so an overflow ends the process.
#[repr(C, align(16))]
pub struct Stack(UnsafeCell<[u8; SIZE]>);

// SAFETY: no code refers to the content.
unsafe impl Sync for Stack {}

/// The stack of the only thread.
#[unsafe(link_section = ".bss.stack")]
pub static STACK: Stack = Stack(UnsafeCell::new([0; SIZE]));
