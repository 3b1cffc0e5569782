//! The daemon's log on standard error: one line per event. Writing never blocks.
//!
//! Other processes may share standard error, so it must not be made non-blocking. A pipe that is
//! writable has room for a page, and no line is longer. A socket gets each line with a flag against
//! blocking. A file does not block. For anything else, such as a terminal, the daemon starts a process
//! that shares its descriptors, writes, and exits. A line that finds no room is lost, and so is every
//! line if that process cannot be started.
//!
//! A client cannot flood the log with warnings. Of those with the same user, action and reason one is
//! written per second, with the number of those left out. The same holds for other failures, unless the
//! line names an object.

use super::access::Identity;
use crate::cli::output::{LINE_MAX, Writer};
use crate::slice::append;
use crate::sys::child::{self, Child};
use crate::sys::kind::{self, CloseTime};
use crate::sys::{Errno, file, message, time};

/// Milliseconds in which equal lines are written once.
const INTERVAL: u32 = 1000;

/// Milliseconds between two checks whether the writing process has exited.
const SOON: u32 = 10;

/// The most different lines in that time whose repetitions are counted. Further ones are dropped.
const RECENT_MAX: usize = 16;

/// Whether and why something failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// It did not fail.
    Nothing,
    /// A client did something that it may not or cannot do.
    Theirs(Errno),
    /// Something failed, and no client is to blame.
    Ours(Errno),
}

impl Cause {
    /// The lowest verbosity at which the event is logged: 2 for what is normal, 1 for a warning.
    fn level(self) -> u32 {
        match self {
            Cause::Nothing => 2,
            Cause::Theirs(Errno::PERM | Errno::NOENT | Errno::BUSY | Errno::NFILE) => 2,
            Cause::Theirs(_) | Cause::Ours(_) => 1,
        }
    }
}

/// An event, without the object that it is about.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Event {
    client: Option<Identity>,
    what: &'static str,
    cause: Cause,
}

/// An event that has been logged.
#[derive(Clone, Copy)]
struct Recent {
    event: Event,
    /// When it was logged, in milliseconds of uptime.
    since: u32,
    /// The number of equal events since then.
    left_out: u32,
}

/// The log.
pub struct Log<'p> {
    /// 0 logs nothing, 1 warnings, 2 everything. Fatal messages do not depend on it.
    verbosity: u32,
    errors: &'p mut Writer,
    /// What standard error is: a write to it can block for as long as closing it can.
    kind: CloseTime,
    /// The writing process, if there is one.
    writer: Option<Child>,
    /// Lines for the next writing process.
    pending: [u8; LINE_MAX],
    length: usize,
    recent: [Option<Recent>; RECENT_MAX],
}

impl<'p> Log<'p> {
    /// A log in which nothing has been written.
    pub fn new(verbosity: u32, errors: &'p mut Writer) -> Log<'p> {
        let kind = kind::close_time(errors.descriptor());
        let (pending, recent) = ([0; LINE_MAX], [None; RECENT_MAX]);
        Log { verbosity, errors, kind, writer: None, pending, length: 0, recent }
    }

    /// Logs a warning in the words of the caller.
    pub fn warn(&mut self, word: impl FnOnce(&mut Writer)) {
        if self.verbosity > 0 {
            word(self.errors.message().text("warning: "));
            self.end_line();
        }
    }

    /// Ends a line and writes it.
    fn end_line(&mut self) {
        let to = self.errors.descriptor();
        let can_be_written = self.errors.has_room();
        let line = self.errors.take_line();
        match self.kind {
            CloseTime::None if can_be_written => {
                let _ = file::write(to, line);
            }
            CloseTime::None => {}
            CloseTime::Interruptible => message::send_at_once(to, line),
            CloseTime::Unbounded => {
                append(&mut self.pending, &mut self.length, line);
                self.start_writer();
            }
        }
    }

    /// Starts a process that writes the pending lines, unless one is still at work.
    fn start_writer(&mut self) {
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

    /// Logs an event: the client, if there is one; what it did, or what happened; to which object, if
    /// `object` is not empty; and why it failed, if it did.
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
            self.write_event(&event, object, 0);
        }
    }

    /// Logs an event without an object.
    pub fn note(&mut self, client: Option<&Identity>, what: &'static str, cause: Cause) {
        self.event(client, what, &[], cause);
    }

    fn write_event(&mut self, event: &Event, object: &[u8], left_out: u32) {
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
        self.end_line();
    }

    /// True if an equal event was logged less than a second ago; it is counted then. Otherwise it is
    /// recorded as logged now.
    fn is_repeated(&mut self, event: &Event) -> bool {
        let uid = |event: &Event| event.client.map(|client| client.uid);
        let is_it = |recent: &&mut Recent| {
            let Event { what, cause, .. } = recent.event;
            uid(&recent.event) == uid(event) && (what, cause) == (event.what, event.cause)
        };
        if let Some(recent) = self.recent.iter_mut().flatten().find(is_it) {
            recent.left_out = recent.left_out.saturating_add(1);
            return true;
        }
        let Some(place) = self.recent.iter_mut().find(|recent| recent.is_none()) else {
            return true;
        };
        let since = time::uptime().unwrap_or(0);
        *place = Some(Recent { event: *event, since, left_out: 0 });
        false
    }

    /// Logs the events that were left out for a second. Returns the milliseconds until the next call is
    /// due; `u32::MAX` if none is.
    pub fn tick(&mut self, now: u32) -> u32 {
        let mut wait = u32::MAX;
        for index in 0..RECENT_MAX {
            let Some(place) = self.recent.get_mut(index) else { break };
            let Some(recent) = place else { continue };
            let left = INTERVAL.saturating_sub(age(recent.since, now));
            if left > 0 {
                wait = wait.min(left);
                continue;
            }
            let Recent { event, left_out, .. } = *recent;
            if left_out == 0 {
                *place = None;
                continue;
            }
            (recent.since, recent.left_out) = (now, 0);
            self.write_event(&event, &[], left_out);
            wait = wait.min(INTERVAL);
        }
        if self.writer.is_some() {
            self.start_writer();
            wait = wait.min(SOON);
        }
        wait
    }
}

/// The milliseconds from `since` to `now`; 0 if `since` is later. An event is logged after the start of
/// its turn, and `now` is that start.
fn age(since: u32, now: u32) -> u32 {
    let age = now.wrapping_sub(since);
    if age > u32::MAX / 2 { 0 } else { age }
}
