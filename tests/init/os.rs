//! System calls that the first process needs in addition to those of the tools.

use core::ptr;
use fdholder::sys::arch;
use fdholder::sys::fd::Fd;
use fdholder::sys::process::exit;

/// A child process.
#[derive(Clone, Copy)]
pub struct Process(usize);

/// A system call. A negative result is an error.
///
/// # Safety
/// The arguments must be what the call expects.
unsafe fn call(number: libc::c_long, [a, b, c, d]: [usize; 4]) -> isize {
    // SAFETY: the caller vouches for the arguments.
    unsafe { arch::syscall5(number as usize, a, b, c, d, 0) }
}

/// The number of this process.
pub fn process() -> isize {
    // SAFETY: the call touches no memory.
    unsafe { call(libc::SYS_getpid, [0; 4]) }
}

/// Starts a process with a copy of the memory of this one. It calls `run` and exits with its result.
/// Descriptors that `run` owns belong to the new process.
pub fn child(run: impl FnOnce() -> u8) -> Process {
    // SAFETY: without a stack of its own, the child has a copy of this stack, as after `fork`.
    match unsafe { call(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0, 0]) } {
        0 => exit(run()),
        pid => Process(pid as usize),
    }
}

/// Waits for the end of a process. Returns its status, 0 for success.
pub fn wait(process: Process) -> i32 {
    let mut status = -1;
    let address = ptr::from_mut(&mut status) as usize;
    // SAFETY: the kernel writes one int.
    unsafe { call(libc::SYS_wait4, [process.0, address, 0, 0]) };
    status
}

/// Sends a process SIGTERM.
pub fn terminate(process: Process) {
    // SAFETY: the call touches no memory.
    unsafe { call(libc::SYS_kill, [process.0, libc::SIGTERM as usize, 0, 0]) };
}

/// A pipe: the end to read from, and the end to write to.
pub fn pipe() -> Option<(Fd, Fd)> {
    let mut ends = [0_i32; 2];
    let address = ptr::from_mut(&mut ends) as usize;
    // SAFETY: the kernel writes two ints.
    unsafe { call(libc::SYS_pipe2, [address, libc::O_CLOEXEC as usize, 0, 0]) };
    // SAFETY: the kernel has just made these descriptors. If it has failed, they are 0, and `own` returns `None`.
    let [reader, writer] = ends.map(|number| unsafe { Fd::own(number as usize) });
    Some((reader?, writer?))
}

/// Switches the machine off.
pub fn switch_off() -> ! {
    let (first, second) = (libc::LINUX_REBOOT_MAGIC1, libc::LINUX_REBOOT_MAGIC2);
    let [first, second, how] = [first, second, libc::LINUX_REBOOT_CMD_POWER_OFF];
    // SAFETY: the call touches no memory.
    unsafe { call(libc::SYS_reboot, [first as usize, second as usize, how as usize, 0]) };
    exit(111)
}
