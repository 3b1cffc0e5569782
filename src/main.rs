//! The program: its entry, and what takes the place of a C library. Everything else is the
//! library's; these two cannot be, since the tests link that together with a C library.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "mips", feature(asm_experimental_arch))]

#[path = "sys/runtime.rs"]
mod runtime;
#[path = "sys/start.rs"]
mod start;
