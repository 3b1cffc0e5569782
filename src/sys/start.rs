//! The entry point of the program. Part of that, not of the library: a program with a C library has an
//! entry point already.

use fdholder::sys::process::exit;
use fdholder::sys::strings::{Auxiliary, Strings};

fdholder::start!(begin);

/// Goes on from `_entry`. The kernel lays the stack out as `argc`, `argv[0..argc]`, NULL, `envp[..]`,
/// NULL, the auxiliary vector.
///
/// # Safety
/// Only `_entry` may call it.
unsafe extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: `stack` is the initial stack pointer, and the strings live as long as the process.
    let (arguments, environment) = unsafe { Strings::from_stack(stack) };
    // SAFETY: this is the environment of that stack.
    let auxiliary = unsafe { Auxiliary::behind(environment) };
    exit(crate::main(arguments, environment, auxiliary))
}
