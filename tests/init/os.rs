//! What a first process needs of the kernel beyond what the tools do.

use core::ptr;
use fdholder::sys::{self, arch};

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

/// Starts a process in which `run` goes on with a copy of all that this one has.
pub fn child(run: impl FnOnce()) -> Process {
    // SAFETY: with no stack of its own the child has a copy of this one, as after `fork`.
    match unsafe { call(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0, 0]) } {
        0 => {
            run();
            sys::exit(0)
        }
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

/// A pipe: where to read, where to write. -1 if there is none.
pub fn pipe() -> (i32, i32) {
    let mut ends = [-1; 2];
    let place = ptr::from_mut(&mut ends) as usize;
    // SAFETY: the kernel writes two ints.
    unsafe { call(libc::SYS_pipe2, [place, libc::O_CLOEXEC as usize, 0, 0]) };
    (ends[0], ends[1])
}

/// Reads until there is no more, or no room, and says how many bytes.
pub fn read(fd: i32, bytes: &mut [u8]) -> usize {
    let mut have = 0;
    while have < bytes.len() {
        let place = bytes[have..].as_mut_ptr() as usize;
        // SAFETY: so many bytes are left.
        let n = unsafe { call(libc::SYS_read, [fd as usize, place, bytes.len() - have, 0]) };
        if n <= 0 {
            break;
        }
        have += n as usize;
    }
    have
}

/// Writes and says how many bytes.
pub fn write(fd: i32, bytes: &[u8]) -> usize {
    let place = bytes.as_ptr() as usize;
    // SAFETY: the kernel reads so many bytes.
    let n = unsafe { call(libc::SYS_write, [fd as usize, place, bytes.len(), 0]) };
    n.max(0) as usize
}

/// Switches the machine off.
pub fn switch_off() -> ! {
    let (first, second) = (libc::LINUX_REBOOT_MAGIC1, libc::LINUX_REBOOT_MAGIC2);
    let [first, second, how] = [first, second, libc::LINUX_REBOOT_CMD_POWER_OFF];
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_reboot, [first as usize, second as usize, how as usize, 0]) };
    sys::exit(111)
}
