//! The program: entry and panic handler. Everything else is the library's.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "mips", feature(asm_experimental_arch))]

#[path = "sys/runtime.rs"]
mod runtime;
#[path = "sys/start.rs"]
mod start;
