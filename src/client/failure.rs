//! Messages and exit codes for a failed exchange with a daemon.

use super::Connection;
use crate::cli::exit::Exit;
use crate::cli::output::Writer;
use crate::io::error::Error;
use crate::sys::Errno;
use crate::sys::limit::OpenFileLimit;

/// The words of a message about a daemon, and the exit code.
pub struct Wording {
    /// What failed if connecting failed, up to the daemon's path.
    pub connect: &'static str,
    /// What failed otherwise, up to the object.
    pub doing: &'static str,
    /// Added if permission is denied: the right that the user needs, a variable in the daemon's rules.
    pub advice: &'static str,
    /// Added if the daemon may have carried out the request nevertheless.
    pub doubt: &'static str,
    /// The exit code if the daemon failed.
    pub blame: Exit,
}

impl Wording {
    /// The words for a tool that talks to one daemon.
    pub const fn only(doing: &'static str, doubt: &'static str) -> Wording {
        let connect = "connect to a fd-holder daemon at ";
        Wording { connect, doing, advice: "", doubt, blame: Exit::DENIED }
    }
}

impl Error {
    /// The exit code: `blame` if the daemon failed.
    pub fn exit(self, blame: Exit) -> Exit {
        match self {
            Error::Denied(_) | Error::Protocol | Error::Closed | Error::TimedOut => blame,
            _ => Exit::SYSTEM,
        }
    }

    /// Appends the reason to a message.
    pub fn explain(self, line: &mut Writer) {
        match self {
            Error::System(errno)
            | Error::Unreachable(errno)
            | Error::Denied(errno)
            | Error::NoClock(errno) => line.reason(errno),
            Error::Protocol => line.reason(Errno::PROTO),
            Error::TimedOut => line.reason(Errno::TIMEDOUT),
            Error::Closed => line.text(": connection closed"),
            Error::Withheld => {
                line.text(": descriptors were withheld: does a security module forbid it?")
            }
            Error::Truncated => line.reason(Errno::MFILE),
            Error::LimitTooLow(needed) => {
                let limit = OpenFileLimit::get().soft as u32;
                line.reason(Errno::MFILE).text(": the open-file limit is ").number(limit);
                line.text(", but has to be ").number(needed as u32).text(" at least")
            }
        };
    }
}

/// Appends to a message how far a dump has come, and `remark`, if the set dump has been opened.
pub fn progress(line: &mut Writer, acknowledged: usize, total: usize, remark: &str) {
    if total > 0 {
        line.text("; ").number(acknowledged as u32).text(" of ").number(total as u32);
        line.text(" descriptors acknowledged").text(remark);
    }
}

impl Connection<'_> {
    /// True if the daemon may have carried out the request, although it failed with this error.
    pub fn may_have_done_it(&self, error: Error) -> bool {
        // A daemon that disconnects without an answer has done nothing, or has exited with all that it
        // held.
        self.is_in_doubt && (!matches!(error, Error::Closed) || self.stream.has_received())
    }

    /// Begins a message: what failed, with which object, and why. The caller ends it with
    /// [`Writer::end`] and the exit code [`Error::exit`].
    pub fn report<'w>(
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
        if matches!(error, Error::Closed) && !self.stream.has_received() {
            line.text(" without an answer: is this user allowed to connect?");
        }
        if let Error::Denied(Errno::PERM) = error {
            line.text(wording.advice);
        }
        line
    }

    /// Prints the whole message and returns the exit code.
    pub fn fail(
        &self,
        errors: &mut Writer,
        wording: &Wording,
        object: &[u8],
        error: Error,
    ) -> Exit {
        let line = self.report(errors, wording, object, error);
        if self.may_have_done_it(error) {
            line.text(wording.doubt);
        }
        line.end(error.exit(wording.blame))
    }

    /// Ends a tool: returns success, or prints the message and returns its exit code.
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
