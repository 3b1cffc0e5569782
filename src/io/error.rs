//! Why talking to a daemon failed.

use crate::sys::Errno;

/// What failed. The tool knows what it was doing, and words it.
///
/// What a variant carries is as wide as a register in all of them: a `Result<(), Error>` then travels
/// in two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// A system call failed here.
    System(Errno),
    /// There was no connecting to the daemon.
    Unreachable(Errno),
    /// The daemon answered with this error.
    Denied(Errno),
    /// The daemon did not follow the protocol.
    Invalid,
    /// The daemon hung up.
    Closed,
    /// The daemon took longer than its deadline.
    Late,
    /// Descriptors were lost: there was no room for them.
    Truncated,
    /// Descriptors were lost although there was room.
    Withheld,
    /// The clock cannot be read.
    NoClock(Errno),
    /// The limit on open files leaves no room for a frame: it has to be at least this.
    Crowded(usize),
}

impl From<Errno> for Error {
    /// No system call of these tools takes too long: that is what a deadline says.
    fn from(errno: Errno) -> Error {
        if errno == Errno::TIMEDOUT { Error::Late } else { Error::System(errno) }
    }
}
