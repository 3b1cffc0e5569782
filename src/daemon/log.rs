//! What the daemon says on standard error: a line an event, and never a wait for the reader.
//!
//! Standard error may be shared, so it is not to be made non-blocking. A pipe that can be written to has
//! room for a page, and no line is longer; a socket can be told each time not to wait; a file does not.
//! For anything else, a terminal above all, there is a process that shares all descriptors with the
//! daemon, writes, and ends. Lines for which there is no room are lost, and there all lines are if no
//! process can be started.
//!
//! One client cannot make it write without end: a line about a failure comes once a second for each user
//! and reason, with the number of those that were left out.

use super::access::Identity;
use crate::cli::output::{LINE_MAX, Writer};
use crate::sys::child::{self, Child};
use crate::sys::kind::{self, Closes};
use crate::sys::{Errno, file, message, time};

/// Milliseconds in which a line is said once.
const SPAN: u32 = 1000;

/// Milliseconds after which it is looked whether the process that writes has ended.
const SOON: u32 = 10;

/// Of how many different lines repetitions are counted. Those of more that come within a second are not
/// said.
const DIFFERENT: usize = 16;

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
    /// From which verbosity on it is said: 2 for what is in the usual course of things, 1 for the rest,
    /// which is a warning.
    fn level(self) -> u32 {
        match self {
            Cause::Nothing => 2,
            Cause::Theirs(Errno::PERM | Errno::NOENT | Errno::BUSY | Errno::NFILE) => 2,
            Cause::Theirs(_) | Cause::Ours(_) => 1,
        }
    }
}

/// An event, but for the object that it is about.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Event {
    client: Option<Identity>,
    what: &'static str,
    cause: Cause,
}

/// A line that has been said.
#[derive(Clone, Copy)]
struct Said {
    event: Event,
    /// When, in milliseconds of uptime.
    since: u32,
    /// How many like it have not been.
    left_out: u32,
}

/// Where lines go, and how much is said.
pub struct Log<'p> {
    /// 0 is nothing, since what is fatal is said anyway, 1 warnings, 2 all.
    verbosity: u32,
    errors: &'p mut Writer,
    /// What standard error is: how long a write can take is how long closing it can.
    kind: Closes,
    /// The process that writes, if there is one.
    writer: Option<Child>,
    /// What it will have to write next.
    pending: [u8; LINE_MAX],
    length: usize,
    said: [Option<Said>; DIFFERENT],
}

impl<'p> Log<'p> {
    /// Nothing has been said yet.
    pub fn new(verbosity: u32, errors: &'p mut Writer) -> Log<'p> {
        let kind = kind::closes(errors.descriptor());
        let (pending, said) = ([0; LINE_MAX], [None; DIFFERENT]);
        Log { verbosity, errors, kind, writer: None, pending, length: 0, said }
    }

    /// A warning that is worded by the caller.
    pub fn warn(&mut self, word: impl FnOnce(&mut Writer)) {
        if self.verbosity > 0 {
            word(self.errors.message().text("warning: "));
            self.end();
        }
    }

    /// Ends a line.
    fn end(&mut self) {
        let to = self.errors.descriptor();
        let can_be_written = self.errors.has_room();
        let line = self.errors.take_line();
        match self.kind {
            Closes::Promptly if can_be_written => {
                let _ = file::write(to, line);
            }
            Closes::Promptly => {}
            Closes::Interruptibly => message::send_at_once(to, line),
            Closes::Late => {
                let room = self.pending.get_mut(self.length..).unwrap_or_default();
                if let Some(room) = room.get_mut(..line.len()) {
                    room.copy_from_slice(line);
                    self.length += line.len();
                }
                self.write();
            }
        }
    }

    /// Has what there is to write written, unless a process still writes.
    fn write(&mut self) {
        if self.writer.as_ref().is_some_and(|writer| !writer.has_ended()) {
            return;
        }
        self.writer = None;
        if self.length > 0 {
            let bytes = self.pending.get(..self.length).unwrap_or_default();
            self.writer = child::spawn_writer(self.errors.descriptor(), bytes).ok();
            self.length = 0;
        }
    }

    /// A line about what a client has done, or what happened without one, to what, if that is not empty,
    /// and why it did not happen.
    pub fn event(
        &mut self,
        client: Option<&Identity>,
        what: &'static str,
        object: &[u8],
        cause: Cause,
    ) {
        let event = Event { client: client.copied(), what, cause };
        let level = cause.level();
        if self.verbosity < level {
            return;
        }
        let is_counted = cause != Cause::Nothing && (level < 2 || object.is_empty());
        if !is_counted || !self.is_repeated(&event) {
            self.say(&event, object, 0);
        }
    }

    /// The same where nothing is named.
    pub fn note(&mut self, client: Option<&Identity>, what: &'static str, cause: Cause) {
        self.event(client, what, &[], cause);
    }

    fn say(&mut self, event: &Event, object: &[u8], left_out: u32) {
        let Event { client, what, cause } = *event;
        let line = self.errors.message();
        line.text(if cause.level() > 1 { "info: " } else { "warning: " });
        if let Some(Identity { uid, gid }) = client {
            line.text("uid ").number(uid).text(" gid ").number(gid).text(": ");
        }
        line.text(what);
        if !object.is_empty() {
            line.byte(b' ').quoted_in_line(object);
        }
        if let Cause::Theirs(errno) | Cause::Ours(errno) = cause {
            line.reason(errno);
        }
        if left_out > 0 {
            line.text(" (and ").number(left_out).text(" more)");
        }
        self.end();
    }

    /// Whether such a line has been said less than a second ago: then it is counted. If not, it is now.
    fn is_repeated(&mut self, event: &Event) -> bool {
        let uid = |event: &Event| event.client.map(|client| client.uid);
        let is_it = |said: &&mut Said| {
            let Event { what, cause, .. } = said.event;
            uid(&said.event) == uid(event) && (what, cause) == (event.what, event.cause)
        };
        if let Some(said) = self.said.iter_mut().flatten().find(is_it) {
            said.left_out = said.left_out.saturating_add(1);
            return true;
        }
        let Some(place) = self.said.iter_mut().find(|said| said.is_none()) else { return true };
        let since = time::uptime().unwrap_or(0);
        *place = Some(Said { event: *event, since, left_out: 0 });
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
            let Said { event, left_out, .. } = *said;
            if left_out == 0 {
                *place = None;
                continue;
            }
            (said.since, said.left_out) = (now, 0);
            self.say(&event, &[], left_out);
            wait = wait.min(SPAN);
        }
        if self.writer.is_some() {
            self.write();
            wait = wait.min(SOON);
        }
        wait
    }
}
