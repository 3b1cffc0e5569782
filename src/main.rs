//! The program. It makes the process and ends it. Everything else is in the library, except the entry
//! point and what replaces a C library: the tests link the library together with a C library, which has
//! these.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "mips", feature(asm_experimental_arch))]

#[path = "sys/runtime.rs"]
mod runtime;
#[path = "sys/start.rs"]
mod start;

use fdholder::io::pool::Pool;
use fdholder::multicall;
use fdholder::process::Process;
use fdholder::sys::strings::{Auxiliary, Strings};
use fdholder::sys::take_once::TakeOnce;

/// The buffers of the process.
static POOL: TakeOnce<Pool> = TakeOnce::new(Pool::EMPTY);

/// Runs a tool. Returns the exit code of the process.
fn main(arguments: Strings, environment: Strings, auxiliary: Auxiliary) -> u8 {
    let mut process = Process::new(arguments, environment, POOL.take());
    process.auxiliary = auxiliary;
    multicall::run(&mut process).0
}
