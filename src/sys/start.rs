//! Where the program begins. The library does not contain this: a program with a C library has an entry
//! point already.

use fdholder::sys::process::exit;
use fdholder::sys::strings::{Auxiliary, Strings};

fdholder::start!(begin);

/// Continues from `_entry`. The kernel's stack holds `argc`, `argv[0..argc]`, NULL, `envp[..]`, NULL
/// and the auxiliary vector.
///
/// # Safety
/// Only `_entry` may call it.
unsafe extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: `stack` is the initial stack pointer, and the strings live as long as the process.
    let (arguments, environment) = unsafe { Strings::from_stack(stack) };
    // SAFETY: the environment is the one on that stack.
    let auxiliary = unsafe { Auxiliary::behind(environment) };
    exit(crate::main(arguments, environment, auxiliary))
}
