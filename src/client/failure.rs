//! How a tool says that talking to a daemon failed: one line, and the exit code.

use super::Connection;
use crate::cli::exit::Exit;
use crate::cli::output::Writer;
use crate::io::error::Error;
use crate::sys::Errno;
use crate::sys::limit::OpenFileLimit;

/// How a message speaks of a daemon, and what that is to blame for.
pub struct Wording {
    /// What failed if there was no connecting to it, up to its path.
    pub connect: &'static str,
    /// What failed later, up to the object.
    pub doing: &'static str,
    /// What is added if permission is denied: the right that a user needs, an environment variable in
    /// the daemon's rules.
    pub advice: &'static str,
    /// What is added if the daemon may have done what it was asked for.
    pub doubt: &'static str,
    /// The exit code if it is the daemon that failed.
    pub blame: Exit,
}

impl Wording {
    /// For the one daemon that a tool talks to: what failed once there was a connection, and the doubt.
    pub const fn only(doing: &'static str, doubt: &'static str) -> Wording {
        let connect = "connect to a fd-holder daemon at ";
        Wording { connect, doing, advice: "", doubt, blame: Exit::DENIED }
    }
}

impl Error {
    /// The exit code: `blame` if it is the daemon that failed.
    pub fn exit(self, blame: Exit) -> Exit {
        match self {
            Error::Denied(_) | Error::Invalid | Error::Closed | Error::Late => blame,
            _ => Exit::SYSTEM,
        }
    }

    /// Adds the reason to a message.
    fn explain(self, line: &mut Writer) {
        match self {
            Error::System(errno)
            | Error::Unreachable(errno)
            | Error::Denied(errno)
            | Error::NoClock(errno) => line.reason(errno),
            Error::Invalid => line.reason(Errno::PROTO),
            Error::Late => line.reason(Errno::TIMEDOUT),
            Error::Closed => line.text(": connection closed"),
            Error::Withheld => {
                line.text(": descriptors were withheld: does a security module forbid it?")
            }
            Error::Truncated => line.reason(Errno::MFILE),
            Error::Crowded(needed) => {
                let limit = OpenFileLimit::get().soft as u32;
                line.reason(Errno::MFILE).text(": the open-file limit is ").number(limit);
                line.text(", but has to be ").number(needed as u32).text(" at least")
            }
        };
    }
}

/// Adds how far a dump came to a message, if it has begun, and `remark` to that.
pub fn progress(line: &mut Writer, acknowledged: usize, total: usize, remark: &str) {
    if total > 0 {
        line.text("; ").number(acknowledged as u32).text(" of ").number(total as u32);
        line.text(" descriptors acknowledged").text(remark);
    }
}

impl Connection<'_> {
    /// Whether the daemon may have done what it was asked for, though that failed for this reason.
    pub fn may_have_done_it(&self, error: Error) -> bool {
        // One that hangs up without an answer has done nothing, or is gone with all that it held.
        self.is_in_doubt && (!matches!(error, Error::Closed) || self.stream.has_heard())
    }

    /// Begins a message that says what failed, with what, and why; [`Writer::end`] ends it, with the
    /// exit code [`Error::exit`].
    pub fn complain<'w>(
        &self,
        errors: &'w mut Writer,
        wording: &Wording,
        object: &[u8],
        error: Error,
    ) -> &'w mut Writer {
        let (doing, object) = match error {
            Error::Unreachable(_) => (wording.connect, self.path.to_bytes()),
            Error::NoClock(_) => ("read the clock", &b""[..]),
            _ => (wording.doing, object),
        };
        let line = errors.fatal().text("unable to ").text(doing).quoted(object);
        error.explain(line);
        if matches!(error, Error::Closed) && !self.stream.has_heard() {
            line.text(" without an answer: is this user allowed to connect?");
        }
        if let Error::Denied(Errno::PERM) = error {
            line.text(wording.advice);
        }
        line
    }

    /// The whole message.
    pub fn fail(
        &self,
        errors: &mut Writer,
        wording: &Wording,
        object: &[u8],
        error: Error,
    ) -> Exit {
        let line = self.complain(errors, wording, object, error);
        if self.may_have_done_it(error) {
            line.text(wording.doubt);
        }
        line.end(error.exit(wording.blame))
    }

    /// The end of a tool that has nothing left to do: nothing is said if all is done.
    pub fn conclude(
        &self,
        errors: &mut Writer,
        wording: &Wording,
        object: &[u8],
        done: Result<(), Error>,
    ) -> Exit {
        match done {
            Ok(()) => Exit::SUCCESS,
            Err(error) => self.fail(errors, wording, object, error),
        }
    }
}
