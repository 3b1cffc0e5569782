//! What the daemon says on standard error: one line an event, and never a wait for whoever reads
//! it.

use super::rules::Identity;
use crate::exit::{self, Output};
use crate::text::{Message, text};

/// How much is said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Something is wrong, with a client or with the machine.
    Warning = 1,
    /// Something has been done, or has been refused as it should be.
    Info = 2,
}

/// The log: 0 is nothing, since what is fatal is said anyway, 1 warnings, 2 all.
#[derive(Clone, Copy)]
pub struct Log(pub u32);

impl Log {
    /// Begins a line of that level, which [`Output::say`] ends; nothing if it is not wanted, or if
    /// standard error has no room for it.
    pub fn line(self, level: Level) -> Option<&'static Output> {
        if self.0 < level as u32 || !exit::can_speak() {
            return None;
        }
        let kind = if level == Level::Info { text!("info: ") } else { text!("warning: ") };
        Some(exit::message().text(kind))
    }

    /// A line about what a client, if one did, has done, to what identifier, if to any, and with
    /// what error, if that is not 0.
    pub fn event(
        self,
        level: Level,
        client: Option<Identity>,
        what: Message,
        identifier: &[u8],
        errno: usize,
    ) {
        let Some(line) = self.line(level) else { return };
        if let Some(Identity { uid, gid }) = client {
            line.text(text!("uid ")).number(uid).text(text!(" gid ")).number(gid);
            line.text(text!(": "));
        }
        line.text(what);
        if !identifier.is_empty() {
            line.byte(b' ');
            for byte in identifier {
                line.quoted_byte(*byte);
            }
        }
        if errno != 0 {
            line.reason(errno);
        }
        line.say();
    }
}
