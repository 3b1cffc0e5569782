//! What the daemon says on standard error: one line an event, and never a wait for whoever reads
//! it.

use super::rules::Identity;
use crate::exit::{self, Output};
use crate::text::{Phrase, text};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The verbosity: 0 is nothing, since what is fatal is said anyway, 1 warnings, 2 all.
static VERBOSITY: AtomicU32 = AtomicU32::new(0);

/// Stands for the client where what has happened is not of a client's doing.
pub const NOBODY: Identity = Identity { uid: u32::MAX, gid: u32::MAX };

/// Added to the number of an error that is none of the client's: that is a warning, whichever it is.
pub const OURS: usize = 256;

/// From now on so much is said: 0, 1 or 2.
pub fn set_verbosity(verbosity: u32) {
    VERBOSITY.store(verbosity, Relaxed);
}

/// Begins a warning, which [`Output::say`] ends; nothing if it is not wanted, or if standard
/// error has no room for it.
pub fn warning() -> Option<Output> {
    line(1)
}

fn line(level: u32) -> Option<Output> {
    if VERBOSITY.load(Relaxed) < level || !exit::can_speak() {
        return None;
    }
    let kind = if level > 1 { text!("info: ") } else { text!("warning: ") };
    Some(exit::message().text(kind))
}

/// A line about what a client has done, to what, if that is not empty, and with what error, if
/// that is not 0. An error is a warning, unless a client has been refused in due course.
pub fn event(client: Identity, what: Phrase, object: &[u8], errno: usize) {
    const IN_DUE_COURSE: u64 =
        1 << libc::EPERM | 1 << libc::ENOENT | 1 << libc::EBUSY | 1 << libc::ENFILE;
    let is_refused = client != NOBODY && errno < 64 && IN_DUE_COURSE >> errno & 1 > 0;
    let is_expected = errno == 0 || is_refused;
    let Some(line) = line(1 + u32::from(is_expected)) else { return };
    if client != NOBODY {
        line.text(text!("uid ")).number(client.uid);
        line.text(text!(" gid ")).number(client.gid).text(text!(": "));
    }
    line.text(what);
    if !object.is_empty() {
        line.byte(b' ');
    }
    for byte in object {
        line.quoted_byte(*byte);
    }
    if errno > 0 {
        line.reason(errno);
    }
    line.say();
}

/// The same where nothing is named.
pub fn note(client: Identity, what: Phrase, errno: usize) {
    event(client, what, &[], errno);
}
