//! Errors of an exchange with a daemon.

use crate::sys::Errno;

/// Why an exchange with a daemon failed. The applet knows what it was doing, and words the message.
///
/// Each variant carries at most a register, so that a `Result<(), Error>` is returned in two registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// A system call failed in this process.
    System(Errno),
    /// The connection to the daemon failed.
    Unreachable(Errno),
    /// The daemon answered with this error number.
    Denied(Errno),
    /// The daemon broke the protocol.
    Protocol,
    /// The daemon disconnected.
    Closed,
    /// The daemon's deadline has passed.
    TimedOut,
    /// Descriptors were lost: this process had no room for them.
    Truncated,
    /// Descriptors were lost although this process had room, probably to a security module.
    Withheld,
    /// The clock cannot be read.
    NoClock(Errno),
    /// The limit on open files leaves no room for a frame. It has to be at least this.
    LimitTooLow(usize),
}

impl From<Errno> for Error {
    /// `ETIMEDOUT` always means that a deadline has passed: no system call of these tools returns it.
    fn from(errno: Errno) -> Error {
        if errno == Errno::TIMEDOUT { Error::TimedOut } else { Error::System(errno) }
    }
}
