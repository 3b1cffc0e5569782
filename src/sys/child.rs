//! Child processes that share the descriptors of this process, for calls that can block: closing and
//! writing.

use super::errno::Errno;
use super::fd::BorrowedFd;
use super::{call3, call5, file, process};

/// A child process that has not been reaped.
pub struct Child(usize);

/// Starts a process that shares all descriptors with this one, runs `task` and exits with 0. It sends
/// no signal when it exits. With `is_mortal` the kernel kills it when this process ends.
fn spawn(is_mortal: bool, task: impl FnOnce()) -> Result<Child, Errno> {
    let mut arguments = [libc::CLONE_FILES as usize, 0];
    if cfg!(target_arch = "s390x") {
        arguments.reverse();
    }
    let [a, b] = arguments;
    // SAFETY: touches no memory, and cannot fail.
    let parent = unsafe { call3(libc::SYS_getpid, 0, 0, 0) };
    // SAFETY: without a stack of its own the child runs on a copy of this stack, as of all memory.
    let child = unsafe { call5(libc::SYS_clone, a, b, 0, 0, 0)? };
    if child > 0 {
        return Ok(Child(child));
    }
    if is_mortal {
        let (option, signal) = (libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize);
        // SAFETY: touches no memory.
        let _ = unsafe { call3(libc::SYS_prctl, option, signal, 0) };
    }
    // SAFETY: touches no memory.
    if !is_mortal || unsafe { call3(libc::SYS_getppid, 0, 0, 0) } == parent {
        task();
    }
    process::exit(0)
}

/// Starts a process that takes descriptors one after the other: it makes each a descriptor of the open
/// file of `substitute`, not close-on-exec, and closes what it was. The kernel does the former at once;
/// the latter may block. It ends at the first that it cannot replace.
pub fn spawn_closer(
    fds: &[BorrowedFd],
    substitute: BorrowedFd,
    is_mortal: bool,
) -> Result<Child, Errno> {
    spawn(is_mortal, || {
        // The daemon sees by close-on-exec whether it has been done.
        let _ = fds.iter().try_for_each(|fd| substitute.put_at(*fd, false));
    })
}

/// Starts a process that makes one `write` call, which may block.
pub fn spawn_writer(to: BorrowedFd, bytes: &[u8]) -> Result<Child, Errno> {
    spawn(true, || {
        let _ = file::write(to, bytes);
    })
}

impl Child {
    /// Sends SIGKILL. After that the process completes at most the system call that it is in. False if
    /// the kernel refuses it.
    pub fn kill(&self) -> bool {
        // SAFETY: touches no memory.
        unsafe { call3(libc::SYS_kill, self.0, libc::SIGKILL as usize, 0) }.is_ok()
    }

    /// True once the process has ended. That call reaps it; no later call returns true.
    pub fn has_ended(&self) -> bool {
        let options = (libc::WNOHANG | libc::__WALL) as usize;
        // SAFETY: the kernel writes neither status nor usage to a null pointer.
        let ended = unsafe { call5(libc::SYS_wait4, self.0, 0, options, 0, 0) };
        ended == Ok(self.0)
    }
}
