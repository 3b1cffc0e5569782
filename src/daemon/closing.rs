//! Closing what came from clients, without waiting for it.
//!
//! To close a descriptor can take as long as somebody else likes: a socket that lingers waits for its
//! peer, a socket with messages in it closes the descriptors in these, a file of FUSE or of a network
//! asks its server, a terminal waits until it has written all. It does not help to have a second
//! descriptor of the same file elsewhere: such files ask their server at every close, not only at the
//! last. What can be found out about a socket beforehand can change until it is closed, since others
//! have it as well.
//!
//! So only what is known never to wait is closed here: pipes, and files that lie in memory or on a disk.
//! For everything else there is a *closer*, a process that shares the table of descriptors with the
//! daemon. It puts another open file in the place of the one to be closed, in one step: the number is
//! taken until the daemon itself closes it, and nothing else can come to have it meanwhile. From that
//! step on only the closer waits. Since nothing is copied, nothing else is kept open by it.

use super::request::Descriptors;
use crate::sys::child::{self, Child};
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::kind::{self, Closes};
use crate::sys::memory::List;
use crate::sys::socket;

/// How many closers there are at a time.
const CLOSERS: usize = 16;

/// How many of them may be at work on something that nothing interrupts.
const STUBBORN: usize = CLOSERS / 2;

/// Milliseconds after which a closer that has just begun is looked after.
const SOON: u32 = 10;

/// Milliseconds after which one that takes longer is.
const LATER: u32 = 1000;

/// How many descriptors can wait to be closed. It is more than most processes may have open; what
/// comes on top the daemon closes itself.
const CASES: usize = 4096;

/// A descriptor that is to be closed.
struct Case {
    /// It, until its closer has put something else in its place.
    fd: Option<Fd>,
    /// Whether it is a socket: then the closer can be interrupted, and the kernel does the rest.
    is_socket: bool,
    /// The process, once there is one.
    closer: Option<Child>,
}

/// What is being closed.
pub struct Closing {
    /// A descriptor of an open file that never waits, to be put in the place of others. It stays open
    /// for longer than this is there.
    substitute: BorrowedFd<'static>,
    cases: List<Case>,
}

impl Closing {
    /// Nothing yet.
    pub fn new(substitute: BorrowedFd<'static>) -> Closing {
        Closing { substitute, cases: List::new(CASES) }
    }

    /// Whether there has been memory for it.
    pub fn has_memory(&self) -> bool {
        self.cases.capacity() > 0
    }

    /// Closes a descriptor, or has it closed.
    pub fn close(&mut self, fd: Fd) {
        let is_socket = match kind::closes(fd.borrow()) {
            Closes::Promptly => return,
            Closes::Interruptibly => true,
            Closes::Late => false,
        };
        if self.cases.len() < CASES {
            self.cases.push(Case { fd: Some(fd), is_socket, closer: None });
            self.start();
        }
    }

    /// Hangs up on a connection, which nobody else has. Nothing can come any more once that has been said;
    /// if nothing is there either, it closes at once.
    pub fn hang_up(&mut self, connection: Fd) {
        if socket::is_unread(connection.borrow()) {
            self.close(connection);
        }
    }

    /// Closes the first `count`, or has them closed.
    pub fn close_first(&mut self, fds: &mut Descriptors, count: usize) {
        for _ in 0..count {
            let Some(fd) = fds.pop() else { return };
            self.close(fd);
        }
    }

    /// Whether there are closers, or there is something for them to do.
    pub fn is_busy(&self) -> bool {
        !self.cases.is_empty()
    }

    /// Looks after the closers, and says in how many milliseconds that is due again; `u32::MAX` if
    /// there are none.
    pub fn tend(&mut self) -> u32 {
        let mut index = 0;
        while index < self.cases.len() {
            let case = self.cases.at(index);
            index += 1;
            let Some(closer) = &case.closer else { continue };
            // What has been received is closed on exec, what has been put in its place is not.
            if case.fd.as_ref().is_some_and(|fd| fd.borrow().is_kept_on_exec()) {
                case.fd = None;
                if case.is_socket {
                    closer.kill();
                }
            }
            if closer.has_ended() {
                // If somebody else has ended it before it could do anything, it is closed here.
                index -= 1;
                drop(self.cases.remove(index));
            }
        }
        self.start();
        let mut wait = u32::MAX;
        for case in self.cases.iter().filter(|case| case.closer.is_some()) {
            let is_soon = case.fd.is_some() || case.is_socket;
            wait = wait.min(if is_soon { SOON } else { LATER });
        }
        wait
    }

    /// Starts closers for what waits, as many as there may be. If there can be no process it is closed
    /// here.
    fn start(&mut self) {
        let (mut closers, mut stubborn) = (0, 0);
        for case in self.cases.iter().filter(|case| case.closer.is_some()) {
            closers += 1;
            stubborn += usize::from(!case.is_socket);
        }
        let mut index = self.cases.len();
        while index > 0 && closers < CLOSERS {
            index -= 1;
            let case = self.cases.at(index);
            let Case { fd: Some(fd), closer: None, is_socket } = case else { continue };
            let is_socket = *is_socket;
            if !is_socket && stubborn == STUBBORN {
                continue;
            }
            match child::spawn_closer(fd.borrow(), self.substitute, is_socket) {
                Ok(closer) => {
                    case.closer = Some(closer);
                    closers += 1;
                    stubborn += usize::from(!is_socket);
                }
                Err(_) => drop(self.cases.remove(index)),
            }
        }
    }
}
