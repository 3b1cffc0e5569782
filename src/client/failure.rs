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
    /// The right that a user needs, an environment variable in the daemon's rules, where it is to be
    /// named.
    pub right: Option<&'static str>,
    /// The exit code if it is the daemon that failed.
    pub blame: Exit,
}

impl Wording {
    /// For the one daemon that a tool talks to: what failed once there was a connection.
    pub const fn only(doing: &'static str) -> Wording {
        let connect = "connect to a fd-holder daemon at ";
        Wording { connect, doing, right: None, blame: Exit::DENIED }
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
            Error::System(errno) | Error::Unreachable(errno) | Error::Denied(errno) => {
                line.reason(errno)
            }
            Error::Invalid => line.reason(Errno::PROTO),
            Error::Late => line.reason(Errno::TIMEDOUT),
            Error::Closed => line.text(": connection closed"),
            Error::NoClock(errno) => line.reason(errno),
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
        let line = errors.fatal().text("unable to ");
        match error {
            Error::Unreachable(_) => line.text(wording.connect).quoted(self.path.to_bytes()),
            Error::NoClock(_) => line.text("read the clock"),
            _ => line.text(wording.doing).quoted(object),
        };
        error.explain(line);
        if matches!(error, Error::Closed) && !self.stream.has_heard() {
            line.text(" without an answer: is this user allowed to connect?");
        }
        if let (Error::Denied(Errno::PERM), Some(right)) = (error, wording.right) {
            line.text(" (the right ").text(right).text(" is missing)");
        }
        line
    }

    /// The whole message, with `remark` if the daemon may have done what it was asked for.
    pub fn fail(
        &self,
        errors: &mut Writer,
        wording: &Wording,
        object: &[u8],
        error: Error,
        remark: &str,
    ) -> Exit {
        let line = self.complain(errors, wording, object, error);
        if self.may_have_done_it(error) {
            line.text(remark);
        }
        line.end(error.exit(wording.blame))
    }
}
