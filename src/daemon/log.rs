//! What the daemon says on standard error: a line an event, and never a wait for whoever reads it.
//!
//! Standard error may be shared, so that it is not to be made non-blocking. A pipe that can be written
//! to has room for a page, and no line is longer; a socket can be told each time not to wait; a file
//! does not. For anything else, a terminal above all, there is a process that shares all descriptors
//! with the daemon, writes, and ends. Lines for which there is no room are lost.
//!
//! One client cannot make it write without end: a line about a failure comes once a second for each user
//! and reason, with the number of those that were left out.

use super::rules::Identity;
use crate::exit::{self, LINE_MAX, Output};
use crate::sys::server::{self, Kind};
use crate::text::{Phrase, text};

/// Stands for the client where what has happened is not of a client's doing.
pub const NOBODY: Identity = Identity { uid: u32::MAX, gid: u32::MAX };

/// Added to the number of an error that is none of the client's: that is a warning, whichever it is.
pub const OURS: usize = 256;

/// Milliseconds in which a line is said once.
const SPAN: u32 = 1000;

/// Milliseconds after which it is looked whether the process that writes has ended.
const SOON: u32 = 10;

/// Of how many different lines repetitions are counted. Those of more that come within a second are
/// not said.
const DIFFERENT: usize = 16;

/// A line that has been said.
#[derive(Clone, Copy)]
struct Said {
    client: Identity,
    what: Phrase,
    errno: usize,
    /// When, in milliseconds of uptime.
    since: u32,
    /// How many like it have not been.
    left_out: u32,
}

/// What is said, and to whom.
pub struct Log {
    /// 0 is nothing, since what is fatal is said anyway, 1 warnings, 2 all.
    verbosity: u32,
    /// What standard error is.
    kind: Kind,
    /// The process that writes, if there is one.
    writer: Option<usize>,
    /// What it will have to write next.
    pending: [u8; LINE_MAX],
    length: usize,
    said: [Option<Said>; DIFFERENT],
}

impl Log {
    /// Nothing has been said yet.
    pub fn new(verbosity: u32) -> Log {
        Log {
            verbosity,
            kind: server::kind(2),
            writer: None,
            pending: [0; LINE_MAX],
            length: 0,
            said: [None; DIFFERENT],
        }
    }

    /// Begins a warning, which [`Log::end`] ends; nothing if it is not wanted.
    pub fn warning(&self) -> Option<Output> {
        self.line(1)
    }

    fn line(&self, level: u32) -> Option<Output> {
        if self.verbosity < level {
            return None;
        }
        let kind = if level > 1 { text!("info: ") } else { text!("warning: ") };
        Some(exit::message().text(kind))
    }

    /// Ends a line.
    pub fn end(&mut self, line: Output) {
        let room = self.pending.get_mut(self.length..).unwrap_or_default();
        self.length += line.take(room);
        match self.kind {
            Kind::Prompt if server::has_room(2) => server::write(2, self.pending()),
            Kind::Socket => server::send(2, self.pending()),
            Kind::Other => return self.write(),
            Kind::Prompt => {}
        }
        self.length = 0;
    }

    fn pending(&self) -> &[u8] {
        self.pending.get(..self.length).unwrap_or_default()
    }

    /// Has what there is to write written, unless somebody still writes.
    fn write(&mut self) {
        if self.writer.is_some_and(|writer| !server::has_ended(writer)) {
            return;
        }
        self.writer = None;
        if self.length > 0 {
            self.writer = server::spawn_writer(self.pending()).ok();
            self.length = 0;
        }
    }

    /// A line about what a client has done, to what, if that is not empty, and with what error, if
    /// that is not 0. An error is a warning, unless a client has been refused in due course.
    pub fn event(&mut self, client: Identity, what: Phrase, object: &[u8], errno: usize) {
        let level = level(client, errno);
        if self.verbosity < level {
            return;
        }
        if errno > 0 && (level < 2 || object.is_empty()) && self.is_repeated(client, what, errno) {
            return;
        }
        self.say(client, what, object, errno, 0);
    }

    /// The same where nothing is named.
    pub fn note(&mut self, client: Identity, what: Phrase, errno: usize) {
        self.event(client, what, &[], errno);
    }

    fn say(&mut self, client: Identity, what: Phrase, object: &[u8], errno: usize, left_out: u32) {
        let Some(line) = self.line(level(client, errno)) else { return };
        if client != NOBODY {
            line.text(text!("uid ")).number(client.uid);
            line.text(text!(" gid ")).number(client.gid).text(text!(": "));
        }
        line.text(what);
        if !object.is_empty() {
            line.byte(b' ');
        }
        line.quoted_bytes(object.iter().copied());
        if errno > 0 {
            line.reason(errno);
        }
        if left_out > 0 {
            line.text(text!(" (and ")).number(left_out).text(text!(" more)"));
        }
        self.end(line);
    }

    /// Whether such a line has been said less than a second ago: then it is counted. If not, it is now.
    fn is_repeated(&mut self, client: Identity, what: Phrase, errno: usize) -> bool {
        let mut said = self.said.iter_mut().flatten();
        let is_it = |said: &&mut Said| {
            said.client.uid == client.uid && said.what.0 == what.0 && said.errno == errno
        };
        if let Some(said) = said.find(is_it) {
            said.left_out = said.left_out.saturating_add(1);
            return true;
        }
        let Some(place) = self.said.iter_mut().find(|said| said.is_none()) else { return true };
        let since = server::uptime();
        *place = Some(Said { client, what, errno, since, left_out: 0 });
        false
    }

    /// Says what was left out for a second, and says in how many milliseconds that is due again;
    /// `u32::MAX` if nothing is.
    pub fn tend(&mut self, now: u32) -> u32 {
        let mut wait = u32::MAX;
        for index in 0..DIFFERENT {
            let Some(place) = self.said.get_mut(index) else { break };
            let Some(said) = place else { continue };
            let left = SPAN.saturating_sub(now.wrapping_sub(said.since));
            if left > 0 {
                wait = wait.min(left);
                continue;
            }
            let Said { client, what, errno, left_out, .. } = *said;
            if left_out == 0 {
                *place = None;
                continue;
            }
            (said.since, said.left_out) = (now, 0);
            self.say(client, what, &[], errno, left_out);
            wait = wait.min(SPAN);
        }
        if self.writer.is_some() {
            self.write();
            wait = wait.min(SOON);
        }
        wait
    }
}

/// From which verbosity on something is said.
fn level(client: Identity, errno: usize) -> u32 {
    const IN_DUE_COURSE: u64 =
        1 << libc::EPERM | 1 << libc::ENOENT | 1 << libc::EBUSY | 1 << libc::ENFILE;
    let is_refused = client != NOBODY && errno < 64 && IN_DUE_COURSE >> errno & 1 > 0;
    let is_expected = errno == 0 || is_refused;
    1 + u32::from(is_expected)
}
