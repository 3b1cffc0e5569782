//! What a first process needs of the kernel beyond what the tools do.

use core::ptr;
use fdholder::sys::arch;
use fdholder::sys::fd::Fd;
use fdholder::sys::process::exit;

/// A process that was started here.
#[derive(Clone, Copy)]
pub struct Process(usize);

/// A system call; what is negative is an error.
///
/// # Safety
/// The arguments must be what the call expects.
unsafe fn call(number: libc::c_long, [a, b, c, d]: [usize; 4]) -> isize {
    // SAFETY: the caller vouches for the arguments.
    unsafe { arch::syscall5(number as usize, a, b, c, d, 0) }
}

/// The number of this process.
pub fn process() -> isize {
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_getpid, [0; 4]) }
}

/// Starts a process in which `run` goes on with a copy of all that this one has, up to an exit code.
/// Descriptors that `run` owns are left to that process.
pub fn child(run: impl FnOnce() -> u8) -> Process {
    // SAFETY: with no stack of its own the child has a copy of this one, as after `fork`.
    match unsafe { call(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0, 0]) } {
        0 => exit(run()),
        pid => Process(pid as usize),
    }
}

/// Waits for the end of a process: 0 if it is done and has not failed.
pub fn wait(process: Process) -> i32 {
    let mut status = -1;
    let place = ptr::from_mut(&mut status) as usize;
    // SAFETY: the kernel writes one int.
    unsafe { call(libc::SYS_wait4, [process.0, place, 0, 0]) };
    status
}

/// Sends a process SIGTERM.
pub fn terminate(process: Process) {
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_kill, [process.0, libc::SIGTERM as usize, 0, 0]) };
}

/// A pipe: where to read, where to write.
pub fn pipe() -> Option<(Fd, Fd)> {
    let mut ends = [0_i32; 2];
    let place = ptr::from_mut(&mut ends) as usize;
    // SAFETY: the kernel writes two ints.
    unsafe { call(libc::SYS_pipe2, [place, libc::O_CLOEXEC as usize, 0, 0]) };
    // SAFETY: the kernel has just made them; if it has not they are 0, which nobody ever owns.
    let [reader, writer] = ends.map(|number| unsafe { Fd::own(number as usize) });
    Some((reader?, writer?))
}

/// Switches the machine off.
pub fn switch_off() -> ! {
    let (first, second) = (libc::LINUX_REBOOT_MAGIC1, libc::LINUX_REBOOT_MAGIC2);
    let [first, second, how] = [first, second, libc::LINUX_REBOOT_CMD_POWER_OFF];
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_reboot, [first as usize, second as usize, how as usize, 0]) };
    exit(111)
}
