//! What the daemon says on standard error: one line an event, and never a wait for the reader.

use super::access::Identity;
use crate::cli::output::Writer;
use crate::sys::Errno;

/// Why something did not happen, if it did not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// It did.
    Nothing,
    /// A client did what it may not or cannot do.
    Theirs(Errno),
    /// Something failed that no client is to blame for.
    Ours(Errno),
}

impl Cause {
    /// Whether it is in the usual course of things: then it is no warning.
    fn is_expected(self) -> bool {
        match self {
            Cause::Nothing => true,
            Cause::Theirs(errno) => {
                [Errno::PERM, Errno::NOENT, Errno::BUSY, Errno::NFILE].contains(&errno)
            }
            Cause::Ours(_) => false,
        }
    }
}

/// Where lines go, and how much is said.
pub struct Log<'p> {
    /// 0 is nothing, since what is fatal is said anyway, 1 warnings, 2 all.
    verbosity: u32,
    errors: &'p mut Writer,
}

impl<'p> Log<'p> {
    /// With that verbosity.
    pub fn new(verbosity: u32, errors: &'p mut Writer) -> Log<'p> {
        Log { verbosity, errors }
    }

    /// Begins a warning, which [`Writer::say`] ends; nothing if it is not wanted, or if standard error
    /// has no room for it.
    pub fn warning(&mut self) -> Option<&mut Writer> {
        self.line(1)
    }

    fn line(&mut self, level: u32) -> Option<&mut Writer> {
        if self.verbosity < level || !self.errors.has_room() {
            return None;
        }
        let kind = if level > 1 { "info: " } else { "warning: " };
        Some(self.errors.message().text(kind))
    }

    /// A line about what a client has done, or what happened without one, to what, if that is not empty,
    /// and why it did not happen. A cause is a warning, unless a client has been refused in due course.
    pub fn event(&mut self, client: Option<Identity>, what: &str, object: &[u8], cause: Cause) {
        let Some(line) = self.line(if cause.is_expected() { 2 } else { 1 }) else { return };
        if let Some(Identity { uid, gid }) = client {
            line.text("uid ").number(uid).text(" gid ").number(gid).text(": ");
        }
        line.text(what);
        if !object.is_empty() {
            line.byte(b' ').quoted(object);
        }
        if let Cause::Theirs(errno) | Cause::Ours(errno) = cause {
            line.reason(errno);
        }
        line.say();
    }

    /// The same where nothing is named.
    pub fn note(&mut self, client: Option<Identity>, what: &str, cause: Cause) {
        self.event(client, what, &[], cause);
    }
}
