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
//!
//! Starting a process costs ten times as much as a request. So one closer takes a whole *batch* of
//! sockets, one after the other: those that came within [`SOON`] after the start of the last batch, or
//! [`BATCH`] of them. A listening socket does not wait for others, since somebody may want its address.
//! If one of them takes long, the daemon kills the closer, and the kernel closes that socket without
//! waiting. Those that the closer has not reached get a closer each. What no signal interrupts has a
//! closer of its own from the start.

use super::request::Descriptors;
use crate::sys::child::{self, Child};
use crate::sys::fd::{BorrowedFd, Fd, FdQueue};
use crate::sys::kind::{self, CloseTime};
use crate::sys::memory::List;
use crate::sys::socket;

/// The most closers at a time.
const CLOSERS_MAX: usize = 16;

/// The most closers at a time whose work nothing can interrupt.
const UNINTERRUPTIBLE_MAX: usize = CLOSERS_MAX / 2;

/// The most sockets that one closer takes. All closers together take as many as a daemon holds by default.
pub const BATCH: usize = 64;

/// Milliseconds from the start of one batch to the start of the next, if that is not full before. Also
/// the milliseconds after which a closer is checked, and a batch that is not done counts as blocked.
const SOON: u32 = 10;

/// Milliseconds after which a closer that takes longer is checked.
const LATER: u32 = 1000;

/// The most descriptors that can wait for a closer of their own, more than most processes may have
/// open. The daemon closes further ones itself.
const JOBS_MAX: usize = 4096;

/// A descriptor that waits for a closer of its own.
struct Job {
    fd: Fd,
    is_socket: bool,
}

/// A closer at work.
struct Closer {
    process: Child,
    /// What it has not replaced yet, in the order in which it does.
    fds: FdQueue<BATCH>,
    /// True if it closes sockets. Then it can be killed, and the kernel closes them without waiting.
    is_socket: bool,
    /// When it was first seen that it has replaced a descriptor, in milliseconds of uptime.
    since: Option<u32>,
}

/// The descriptors that are being closed.
pub struct Closing {
    /// A descriptor that never blocks on closing; closers put it in the place of others. It outlives
    /// this value.
    substitute: BorrowedFd<'static>,
    closers: List<Closer>,
    /// Sockets for the next batch.
    batch: FdQueue<BATCH>,
    /// True if the next batch starts at the next check: a socket in it listens.
    is_urgent: bool,
    /// When a batch was last started because of its age, in milliseconds of uptime.
    last_batch: u32,
    jobs: List<Job>,
}

impl Closing {
    /// No descriptors.
    pub fn new(substitute: BorrowedFd<'static>) -> Closing {
        let (closers, jobs) = (List::new(CLOSERS_MAX), List::new(JOBS_MAX));
        let batch = FdQueue::EMPTY;
        Closing { substitute, closers, batch, is_urgent: false, last_batch: 0, jobs }
    }

    /// False if there was no memory.
    pub fn has_memory(&self) -> bool {
        self.closers.capacity() > 0 && self.jobs.capacity() > 0
    }

    /// Closes a descriptor, here or in a closer.
    pub fn close(&mut self, fd: Fd) {
        match kind::close_time(fd.borrow()) {
            CloseTime::None => return,
            CloseTime::Interruptible if self.batch.len() < BATCH => {
                self.is_urgent |= socket::is_listening(fd.borrow()) != Some(false);
                self.batch.push(fd);
            }
            close_time => {
                let is_socket = close_time == CloseTime::Interruptible;
                add(&mut self.jobs, Job { fd, is_socket });
            }
        }
        self.start(self.batch.len() == BATCH);
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
        !(self.closers.is_empty() && self.batch.is_empty() && self.jobs.is_empty())
    }

    /// Checks the closers and starts new ones. A batch waits for more sockets only if it `may_wait`.
    /// Returns the milliseconds until the next check; `u32::MAX` if there is nothing to check.
    pub fn tick(&mut self, now: u32, may_wait: bool) -> u32 {
        self.check(now);
        let is_old = now.wrapping_sub(self.last_batch) >= SOON;
        let is_due = !may_wait || is_old || self.is_urgent;
        self.is_urgent = false;
        if is_due && !self.batch.is_empty() {
            self.last_batch = now;
        }
        self.start(is_due);
        let is_soon = |closer: &Closer| closer.is_socket || !closer.fds.is_empty();
        if !self.batch.is_empty() || self.closers.iter().any(is_soon) {
            SOON
        } else if self.closers.is_empty() {
            u32::MAX
        } else {
            LATER
        }
    }

    /// Closes the numbers that closers have replaced, and kills closers that are blocked by a socket.
    fn check(&mut self, now: u32) {
        let mut index = 0;
        while index < self.closers.len() {
            let closer = self.closers.at(index);
            // In this order: after its end a closer replaces nothing.
            let has_ended = closer.process.has_ended();
            closer.close_replaced(now);
            let kept = if has_ended {
                // If it has replaced nothing, for example because another process killed it, what it had for
                // itself gets no second closer: dropping it closes it here.
                usize::from(closer.since.is_none() && closer.fds.len() == 1)
            } else if closer.is_blocked(now) && closer.process.kill() {
                // It may have gone on before it was killed. Now it may still replace the next one, and no
                // other.
                closer.close_replaced(now);
                1
            } else {
                BATCH
            };
            for _ in kept..closer.fds.len() {
                let Some(fd) = closer.fds.pop_last() else { break };
                add(&mut self.jobs, Job { fd, is_socket: closer.is_socket });
            }
            if has_ended {
                drop(self.closers.remove(index));
            } else {
                index += 1;
            }
        }
    }

    /// Starts closers, as many as allowed: for the batch if it `is_due`, and for the descriptors that
    /// wait for one of their own. If no process can be started, the descriptors are closed here.
    fn start(&mut self, is_due: bool) {
        while self.closers.len() < CLOSERS_MAX {
            let (mut fds, mut is_socket) = (FdQueue::EMPTY, true);
            if is_due && !self.batch.is_empty() {
                core::mem::swap(&mut fds, &mut self.batch);
            } else {
                let uninterruptible = self.closers.iter().filter(|closer| !closer.is_socket);
                let is_full = uninterruptible.count() == UNINTERRUPTIBLE_MAX;
                let may_start = |job: &Job| job.is_socket || !is_full;
                let Some(index) = self.jobs.iter().rposition(may_start) else { return };
                let job = self.jobs.remove(index);
                fds.push(job.fd);
                is_socket = job.is_socket;
            }
            if let Ok(process) = child::spawn_closer(fds.rest(), self.substitute, is_socket) {
                self.closers.push(Closer { process, fds, is_socket, since: None });
            }
        }
    }
}

impl Closer {
    /// Closes the numbers that the closer has replaced.
    fn close_replaced(&mut self, now: u32) {
        // Received descriptors are close-on-exec, and the substitute is not. If the last one has been
        // replaced, all have.
        let is_replaced = |fd: Option<&BorrowedFd>| fd.is_some_and(|fd| fd.is_kept_on_exec());
        let are_all = is_replaced(self.fds.rest().last());
        while !self.fds.is_empty() && (are_all || is_replaced(self.fds.rest().first())) {
            drop(self.fds.pop());
            self.since.get_or_insert(now);
        }
    }

    /// True if it is time to kill the closer: it has replaced all numbers, or some of them long ago.
    fn is_blocked(&self, now: u32) -> bool {
        let is_late = self.since.is_some_and(|since| now.wrapping_sub(since) >= SOON);
        self.is_socket && (self.fds.is_empty() || is_late)
    }
}

/// Adds a descriptor to those that wait. If there is no room, it is closed here.
fn add(jobs: &mut List<Job>, job: Job) {
    if jobs.len() < JOBS_MAX {
        jobs.push(job);
    }
}
