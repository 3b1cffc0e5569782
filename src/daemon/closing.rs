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

use crate::fd::Fd;
use crate::sys::memory::{List, Memory};
use crate::sys::server::{self, Kind};

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

/// Bytes of memory that all of them take.
pub const BYTES: usize = CASES * size_of::<Case>();

/// A descriptor that is to be closed.
struct Case {
    /// It, until its closer has put something else in its place.
    fd: Option<Fd>,
    /// Whether it is a socket: then the closer can be interrupted, and the kernel does the rest.
    is_socket: bool,
    /// The process, once there is one.
    closer: Option<usize>,
}

/// Whether closing a descriptor may take long even when a process ends. Sockets do not linger then.
pub fn is_stubborn(fd: &Fd) -> bool {
    matches!(server::kind(fd.number()), Kind::Other)
}

/// What is being closed.
pub struct Closing {
    /// The number of an open file that never waits, to be put in the place of others.
    substitute: i32,
    cases: List<Case>,
}

impl Closing {
    /// Nothing yet. `substitute` stays open for as long as the daemon runs.
    pub fn new(memory: &mut Memory, substitute: i32) -> Closing {
        Closing { substitute, cases: memory.list(CASES) }
    }

    /// Closes a descriptor, or has it closed.
    pub fn close(&mut self, fd: Fd) {
        let is_socket = match server::kind(fd.number()) {
            Kind::Prompt => return,
            Kind::Socket => true,
            Kind::Other => false,
        };
        if self.cases.len() < CASES {
            self.cases.push(Case { fd: Some(fd), is_socket, closer: None });
            self.start();
        }
    }

    /// Hangs up on a connection, which nobody else has. Nothing can come any more once that has been said;
    /// if nothing is there either, it closes at once.
    pub fn hang_up(&mut self, connection: Fd) {
        if server::is_unread(connection.number()) {
            self.close(connection);
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
            let Some(closer) = case.closer else { continue };
            // What has been received is closed on exec, what has been put in its place is not.
            if case.fd.as_ref().is_some_and(|fd| server::is_kept_on_exec(fd.number())) {
                case.fd = None;
                if case.is_socket {
                    server::kill(closer);
                }
            }
            if server::has_ended(closer) {
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
            let substitute = self.substitute;
            let case = self.cases.at(index);
            let Case { fd: Some(fd), closer: None, is_socket } = case else { continue };
            let is_socket = *is_socket;
            if !is_socket && stubborn == STUBBORN {
                continue;
            }
            match server::spawn_closer(fd.number(), substitute, is_socket) {
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
