//! An idle process that has given descriptors, for tools that inspect a process.

use super::raise_open_file_limit;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// The process. It is killed when this is dropped.
pub struct Target(Child);

impl Target {
    /// Starts a process that has copies of these descriptors under these numbers, and `/dev/null` as the
    /// first three.
    pub fn start(all: &[(RawFd, BorrowedFd)]) -> Target {
        let mut command = Command::new("sleep");
        command.arg("1000");
        let pairs: Vec<_> = all.iter().map(|(at, fd)| (*at, fd.as_raw_fd())).collect();
        let take = move || pairs.iter().try_for_each(|(at, fd)| put(*fd, *at));
        // SAFETY: the closure makes system calls and nothing else.
        unsafe { command.pre_exec(take) };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Target(command.spawn().unwrap())
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Sets its soft limit on open files.
    pub fn limit(&self, soft: u64) {
        let pid = Pid::from_child(&self.0);
        let limit = Rlimit { current: Some(soft), ..getrlimit(Resource::Nofile) };
        prlimit(Some(pid), Resource::Nofile, limit).unwrap();
    }

    /// Kills it and waits for its end.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Duplicates a descriptor to the number `at`, which stays open on exec. The caller's own numbers are
/// high, so `at` is free.
fn put(fd: RawFd, at: RawFd) -> Result<()> {
    // SAFETY: the call touches no memory.
    if unsafe { libc::dup2(fd, at) } < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Moves a descriptor to a number of at least 1000.
pub fn with_high_number(fd: impl Into<OwnedFd>) -> OwnedFd {
    raise_open_file_limit();
    rustix::io::fcntl_dupfd_cloexec(fd.into(), 1000).unwrap()
}
