//! What differs between processors: one short file for each processor and one for each register width.
//!
//! A processor's file has the entry point of a program (`start!`), a system call of five arguments,
//! `mmap`, which takes six, and the copy and fill loops of the memory functions.

#[cfg_attr(miri, path = "miri.rs")]
#[cfg_attr(all(target_arch = "x86_64", not(miri)), path = "x86_64.rs")]
#[cfg_attr(target_arch = "x86", path = "x86.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(target_arch = "arm", path = "arm.rs")]
#[cfg_attr(target_arch = "mips", path = "mips.rs")]
#[cfg_attr(target_arch = "riscv64", path = "riscv64.rs")]
#[cfg_attr(target_arch = "s390x", path = "s390x.rs")]
mod processor;
pub use processor::*;

#[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
mod bytewise;

#[cfg_attr(target_pointer_width = "64", path = "word64.rs")]
#[cfg_attr(target_pointer_width = "32", path = "word32.rs")]
pub(super) mod word;
