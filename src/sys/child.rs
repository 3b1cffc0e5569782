//! Processes that share the descriptors of this one, and close what takes long.

use super::errno::Errno;
use super::fd::BorrowedFd;
use super::{call3, call5, process};

/// A process that has been started and has not been found to have ended.
pub struct Child(usize);

/// Starts a process that shares all descriptors with this one. In one step it makes `fd` a descriptor
/// of the open file of `substitute`, kept on exec, and closes what that was, however long it takes; then
/// it ends. With `is_mortal` it is killed when this process ends. It sends no signal when it ends.
pub fn spawn_closer(
    fd: BorrowedFd,
    substitute: BorrowedFd,
    is_mortal: bool,
) -> Result<Child, Errno> {
    let mut arguments = [libc::CLONE_FILES as usize, 0];
    if cfg!(target_arch = "s390x") {
        arguments.reverse();
    }
    let [a, b] = arguments;
    // SAFETY: without a stack of its own the process gets a copy of this one's, as of all memory.
    let child = unsafe { call5(libc::SYS_clone, a, b, 0, 0, 0)? };
    if child == 0 {
        if is_mortal {
            let (option, signal) = (libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize);
            // SAFETY: touches no memory.
            let _ = unsafe { call3(libc::SYS_prctl, option, signal, 0) };
        }
        // If it fails the other process sees it.
        let _ = substitute.put_at(fd, false);
        process::exit(0);
    }
    Ok(Child(child))
}

impl Child {
    /// Kills it.
    pub fn kill(&self) {
        // SAFETY: touches no memory.
        let _ = unsafe { call3(libc::SYS_kill, self.0, libc::SIGKILL as usize, 0) };
    }

    /// Whether it has ended. It is not to be asked any more once it has.
    pub fn has_ended(&self) -> bool {
        let options = (libc::WNOHANG | libc::__WALL) as usize;
        // SAFETY: without places for them the kernel writes neither status nor usage.
        let ended = unsafe { call5(libc::SYS_wait4, self.0, 0, options, 0, 0) };
        ended != Ok(0)
    }
}
