//! The program: entry and panic handler. Everything else is the library's.
#![no_std]
#![no_main]

#[path = "sys/runtime.rs"]
mod runtime;
#[path = "sys/start.rs"]
mod start;
