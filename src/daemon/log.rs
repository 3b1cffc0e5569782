//! What the daemon says on standard error: one line an event, and never a wait for whoever reads
//! it.

use super::rules::Identity;
use crate::exit::{self, Output};
use crate::text::{Phrase, text};

/// The log: 0 is nothing, since what is fatal is said anyway, 1 warnings, 2 all.
#[derive(Clone, Copy)]
pub struct Log(pub u32);

/// Who does what no client does.
pub const NOBODY: Identity = Identity { uid: u32::MAX, gid: u32::MAX };

/// Added to the number of an error that is none of the client's: that is a warning, whichever it is.
pub const OURS: usize = 256;

impl Log {
    /// Begins a warning, which [`Output::say`] ends; nothing if it is not wanted, or if standard
    /// error has no room for it.
    pub fn warning(self) -> Option<&'static Output> {
        self.line(1)
    }

    #[inline(never)]
    fn line(self, level: u32) -> Option<&'static Output> {
        if self.0 < level || !exit::can_speak() {
            return None;
        }
        let kind = if level > 1 { text!("info: ") } else { text!("warning: ") };
        Some(exit::message().text(kind))
    }

    /// A line about what a client has done, to what identifier, if to any, and with what error, if
    /// that is not 0. An error is a warning, unless a client has been refused in due course.
    #[inline(never)]
    pub fn event(self, client: Identity, what: Phrase, identifier: &[u8], errno: usize) {
        const IN_DUE_COURSE: u64 =
            1 << libc::EPERM | 1 << libc::ENOENT | 1 << libc::EBUSY | 1 << libc::ENFILE;
        let is_refused = client != NOBODY && errno < 64 && IN_DUE_COURSE >> errno & 1 > 0;
        let is_expected = errno == 0 || is_refused;
        let Some(line) = self.line(1 + u32::from(is_expected)) else { return };
        if client != NOBODY {
            line.text(text!("uid ")).number(client.uid);
            line.text(text!(" gid ")).number(client.gid).text(text!(": "));
        }
        line.text(what);
        if !identifier.is_empty() {
            line.byte(b' ');
        }
        for byte in identifier {
            line.quoted_byte(*byte);
        }
        if errno > 0 {
            line.reason(errno);
        }
        line.say();
    }

    /// The same without an identifier.
    #[inline(never)]
    pub fn note(self, client: Identity, what: Phrase, errno: usize) {
        self.event(client, what, &[], errno);
    }
}
