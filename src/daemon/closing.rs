//! Closing what came from clients, without blocking the daemon.
//!
//! Closing a descriptor can take as long as others like. A socket with SO_LINGER waits for its peer. A
//! socket with unread messages closes the descriptors in them. A file on FUSE or on a network asks its
//! server, at every close and not only the last, so a second descriptor of the same file does not help.
//! A terminal waits until its output has been written. The state of a socket can change before it is
//! closed, since others share it, so checking it does not help either.
//!
//! The daemon itself closes only what never blocks: pipes, and files in memory or on a local disk. For
//! everything else it starts a *closer*: a process that shares the descriptors of the daemon. The
//! closer makes the number a descriptor of another open file with `dup3`, which closes the old one. The
//! number is replaced at once, and from then on only the closer waits. The number stays in use until
//! the daemon closes it, so nothing else can get it meanwhile. Nothing is copied, so no file stays open
//! longer.

use super::request::Descriptors;
use crate::sys::child::{self, Child};
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::kind::{self, CloseTime};
use crate::sys::memory::List;
use crate::sys::socket;

/// The most closers at a time.
const CLOSERS_MAX: usize = 16;

/// The most closers at a time whose work nothing can interrupt.
const UNINTERRUPTIBLE_MAX: usize = CLOSERS_MAX / 2;

/// Milliseconds after which a closer that has just been started is checked.
const SOON: u32 = 10;

/// Milliseconds after which a closer that takes longer is checked.
const LATER: u32 = 1000;

/// The most descriptors that can wait to be closed, more than most processes may have open. The daemon
/// closes further ones itself.
const JOBS_MAX: usize = 4096;

/// A descriptor to be closed.
struct Job {
    /// The descriptor; `None` once its closer has replaced the number.
    fd: Option<Fd>,
    /// True if it is a socket. Then the closer can be killed, and the kernel closes the socket without
    /// waiting.
    is_socket: bool,
    /// The closer, once it has been started.
    closer: Option<Child>,
}

/// The descriptors that are being closed.
pub struct Closing {
    /// A descriptor that never blocks on closing; closers put it in the place of others. It outlives
    /// this value.
    substitute: BorrowedFd<'static>,
    jobs: List<Job>,
}

impl Closing {
    /// No descriptors.
    pub fn new(substitute: BorrowedFd<'static>) -> Closing {
        Closing { substitute, jobs: List::new(JOBS_MAX) }
    }

    /// False if there was no memory.
    pub fn has_memory(&self) -> bool {
        self.jobs.capacity() > 0
    }

    /// Closes a descriptor, here or in a closer.
    pub fn close(&mut self, fd: Fd) {
        let is_socket = match kind::close_time(fd.borrow()) {
            CloseTime::None => return,
            CloseTime::Interruptible => true,
            CloseTime::Unbounded => false,
        };
        if self.jobs.len() < JOBS_MAX {
            self.jobs.push(Job { fd: Some(fd), is_socket, closer: None });
            self.start();
        }
    }

    /// Disconnects. No other process has the connection. Its receiving direction is shut down first;
    /// then, if nothing is left unread, closing it cannot block.
    pub fn hang_up(&mut self, connection: Fd) {
        if socket::is_unread(connection.borrow()) {
            self.close(connection);
        }
    }

    /// Closes the first `count` descriptors, here or in closers.
    pub fn close_first(&mut self, fds: &mut Descriptors, count: usize) {
        for _ in 0..count {
            let Some(fd) = fds.pop() else { return };
            self.close(fd);
        }
    }

    /// True if descriptors are being closed or wait for that.
    pub fn is_busy(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Checks the closers and starts new ones. Returns the milliseconds until the next check;
    /// `u32::MAX` if there are no closers.
    pub fn tick(&mut self) -> u32 {
        let mut index = 0;
        while index < self.jobs.len() {
            let job = self.jobs.at(index);
            index += 1;
            let Some(closer) = &job.closer else { continue };
            // Received descriptors are close-on-exec, and the substitute is not.
            if job.fd.as_ref().is_some_and(|fd| fd.borrow().is_kept_on_exec()) {
                job.fd = None;
                if job.is_socket {
                    closer.kill();
                }
            }
            if closer.has_ended() {
                // If it ended without replacing the number, for example because it was killed, dropping
                // the descriptor closes it here.
                index -= 1;
                drop(self.jobs.remove(index));
            }
        }
        self.start();
        let mut wait = u32::MAX;
        for job in self.jobs.iter().filter(|job| job.closer.is_some()) {
            let is_soon = job.fd.is_some() || job.is_socket;
            wait = wait.min(if is_soon { SOON } else { LATER });
        }
        wait
    }

    /// Starts closers for the descriptors that wait, as many as allowed. If no process can be started,
    /// the descriptor is closed here.
    fn start(&mut self) {
        let (mut closers, mut uninterruptible) = (0, 0);
        for job in self.jobs.iter().filter(|job| job.closer.is_some()) {
            closers += 1;
            uninterruptible += usize::from(!job.is_socket);
        }
        let mut index = self.jobs.len();
        while index > 0 && closers < CLOSERS_MAX {
            index -= 1;
            let job = self.jobs.at(index);
            let Job { fd: Some(fd), closer: None, is_socket } = job else { continue };
            let is_socket = *is_socket;
            if !is_socket && uninterruptible == UNINTERRUPTIBLE_MAX {
                continue;
            }
            match child::spawn_closer(fd.borrow(), self.substitute, is_socket) {
                Ok(closer) => {
                    job.closer = Some(closer);
                    closers += 1;
                    uninterruptible += usize::from(!is_socket);
                }
                Err(_) => drop(self.jobs.remove(index)),
            }
        }
    }
}
