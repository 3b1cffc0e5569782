//! Processes that share the descriptors of this one, and close what takes long.

use super::errno::Errno;
use super::fd::BorrowedFd;
use super::{call3, call5, file, process};

/// A process that has been started and has not been found to have ended.
pub struct Child(usize);

/// Starts a process that shares all descriptors with this one, does something there, without a word to
/// anybody, and ends. With `is_mortal` it is killed when this process ends. It sends no signal when it
/// ends.
fn spawn(is_mortal: bool, task: impl FnOnce()) -> Result<Child, Errno> {
    let mut arguments = [libc::CLONE_FILES as usize, 0];
    if cfg!(target_arch = "s390x") {
        arguments.reverse();
    }
    let [a, b] = arguments;
    // SAFETY: touches no memory, and cannot fail.
    let parent = unsafe { call3(libc::SYS_getpid, 0, 0, 0) };
    // SAFETY: without a stack of its own the process gets a copy of this one's, as of all memory.
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

/// Starts a process that in one step makes `fd` a descriptor of the open file of `substitute`, kept on
/// exec, and closes what that was, however long it takes.
pub fn spawn_closer(
    fd: BorrowedFd,
    substitute: BorrowedFd,
    is_mortal: bool,
) -> Result<Child, Errno> {
    spawn(is_mortal, || {
        // If it fails the other process sees it.
        let _ = substitute.put_at(fd, false);
    })
}

/// Starts a process that writes, however long it takes.
pub fn spawn_writer(to: BorrowedFd, bytes: &[u8]) -> Result<Child, Errno> {
    spawn(true, || {
        let _ = file::write(to, bytes);
    })
}

impl Child {
    /// Kills it.
    pub fn kill(&self) {
        // SAFETY: touches no memory.
        let _ = unsafe { call3(libc::SYS_kill, self.0, libc::SIGKILL as usize, 0) };
    }

    /// Whether it has ended, which is found once.
    pub fn has_ended(&self) -> bool {
        let options = (libc::WNOHANG | libc::__WALL) as usize;
        // SAFETY: without places for them the kernel writes neither status nor usage.
        let ended = unsafe { call5(libc::SYS_wait4, self.0, 0, options, 0, 0) };
        ended == Ok(self.0)
    }
}
