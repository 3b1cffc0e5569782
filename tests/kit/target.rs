//! A process that has certain descriptors, and nothing else to do.

use super::make_room;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// It ends when this is dropped.
pub struct Target(Child);

impl Target {
    /// Starts one that has copies of these descriptors under these numbers, and besides those the first
    /// three, in which there is nothing of interest.
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

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Sets its soft limit on open files.
    pub fn limit(&self, soft: u64) {
        let pid = Pid::from_child(&self.0);
        let limit = Rlimit { current: Some(soft), ..getrlimit(Resource::Nofile) };
        prlimit(Some(pid), Resource::Nofile, limit).unwrap();
    }

    /// Kills it, and waits until nothing of it is left.
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

/// Makes a number one of a descriptor, kept on exec. Their own numbers are high.
fn put(fd: RawFd, at: RawFd) -> Result<()> {
    // SAFETY: the call touches no memory.
    if unsafe { libc::dup2(fd, at) } < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Moves a descriptor out of the way of the low numbers.
pub fn high(fd: impl Into<OwnedFd>) -> OwnedFd {
    make_room();
    rustix::io::fcntl_dupfd_cloexec(fd.into(), 1000).unwrap()
}
