//! The program: its entry, and what takes the place of a C library. Everything else is the library's.
//! These cannot be, since the tests link that together with a C library.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "mips", feature(asm_experimental_arch))]

#[path = "sys/runtime.rs"]
mod runtime;

use fdholder::io::pool::Pool;
use fdholder::multicall;
use fdholder::process::Process;
use fdholder::sys::hand_out::HandOut;
use fdholder::sys::process::exit;
use fdholder::sys::strings::Strings;

fdholder::start!(begin);

/// The buffers of the process.
static POOL: HandOut<Pool> = HandOut::new(Pool::EMPTY);

/// Goes on from `_entry`. The kernel lays the stack out as `argc`, `argv[0..argc]`, NULL,
/// `envp[..]`, NULL, the auxiliary vector.
///
/// # Safety
/// Only `_entry` may call it.
unsafe extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: `stack` is the initial stack pointer, and the strings live as long as the process.
    let (arguments, environment) = unsafe { Strings::from_stack(stack) };
    let mut process = Process::new(arguments, environment, POOL.take());
    exit(multicall::run(&mut process).0)
}
