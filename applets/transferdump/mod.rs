//! `s6-fdholder-transferdump`: everything that one daemon holds, into another.

use crate::applets::options::transferdump as option;
use crate::client::{Dump, Session};
use crate::deadline::Deadline;
use crate::exit::Part::{self, Bytes, Number, Text};
use crate::exit::{Exit, Outcome};
use crate::fd::Fd;
use crate::getopt::{Arguments, decimal};
use crate::pool::{self, Window};
use crate::socket::{Error, connect_at_once};

/// One of the two daemons, and what is said of it when it fails.
struct Side {
    path: &'static [u8],
    connect: &'static str,
    transfer: &'static str,
    right: &'static str,
    exit: Exit,
}

pub fn run(arguments: &mut Arguments) -> Outcome {
    let timeouts = timeouts(arguments.value(option::TIMEOUT).unwrap_or(b":"));
    let (mut from, mut to) = timeouts.ok_or_else(|| arguments.usage())?;
    let source = Side {
        path: arguments.operand(),
        connect: "connect to a source",
        transfer: "get dump from the source",
        right: "S6_FDHOLDER_GETDUMP",
        exit: Exit::DENIED,
    };
    let destination = Side {
        path: arguments.operand(),
        connect: "connect to a destination",
        transfer: "set dump in the destination",
        right: "S6_FDHOLDER_SETDUMP",
        exit: Exit::DESTINATION,
    };
    let source_failed = |error| source.failed(arguments, error, &[]);
    let destination_failed = |error| destination.failed(arguments, error, &[]);
    let window = pool::take().ok_or(Exit::SYSTEM)?;

    let (mut early, mut careful) = (None, false);
    let mut dump = loop {
        match get(window, source.path, &mut from, careful, &mut early, destination.path) {
            // Not even one frame had room. Asking again costs the source nothing.
            Err(Error::Truncated) if !careful => careful = true,
            result => break result.map_err(source_failed)?,
        }
    };
    let session = Session::connect(early, destination.path, &mut to).map_err(destination_failed)?;
    if dump.total() == 0 {
        return Ok(());
    }
    let mut delivery = session.set_dump(dump.total()).map_err(destination_failed)?;
    loop {
        let sent = delivery.send(window).map_err(|error| (&destination, error));
        if sent.is_ok() && dump.is_complete() {
            return Ok(());
        }
        let next = sent.and_then(|()| dump.fill(window).map_err(|error| (&source, error)));
        if let Err((side, error)) = next {
            let reached = [
                Text("; "),
                Number(delivery.acknowledged()),
                Text(" of "),
                Number(dump.total()),
                Text(" descriptors reached the destination, the source still holds all"),
            ];
            return Err(side.failed(arguments, error, &reached));
        }
    }
}

impl Side {
    /// Says what failed here, why, and how far it went.
    fn failed(&self, arguments: &Arguments, error: Error, reached: &[Part<'_>]) -> Exit {
        let reached_connection = !matches!(error, Error::Unreachable(_));
        let doing = if reached_connection { self.transfer } else { self.connect };
        let what = [Text("unable to "), Text(doing), Text(" fd-holder daemon at "), Bytes(self.path)];
        let (exit, reason) = error.explain(self.exit, self.right);
        arguments.fatal(exit, &[&what, &reason, reached])
    }
}

/// Asks the source for its dump and receives as much of it as there is room for: all of it, unless
/// it is very large.
///
/// While the source answers, the destination can be connected to, if that needs no waiting. What
/// comes of it counts only when its turn comes: a source that denies is what to report.
fn get<'d>(
    window: &mut Window,
    pathfrom: &[u8],
    from: &'d mut Deadline,
    careful: bool,
    early: &mut Option<Fd>,
    pathto: &[u8],
) -> Result<Dump<'d>, Error> {
    window.clear();
    let mut session = Session::connect(None, pathfrom, from)?;
    session.ask_for_dump()?;
    *early = early.take().or_else(|| connect_at_once(pathto));
    let mut dump = session.dump(window, careful)?;
    dump.fill(window)?;
    Ok(dump)
}

/// The deadlines of both sides, out of `timeoutfrom:timeoutto`. Either number may be missing, and
/// the second one together with the colon.
fn timeouts(value: &[u8]) -> Option<(Deadline, Deadline)> {
    if value.is_empty() {
        return None;
    }
    let milliseconds = |digits: &[u8]| if digits.is_empty() { Some(0) } else { decimal(digits) };
    let mut numbers = value.splitn(2, |byte| *byte == b':');
    let from = milliseconds(numbers.next()?)?;
    let to = milliseconds(numbers.next().unwrap_or_default())?;
    Some((Deadline::from_milliseconds(from), Deadline::from_milliseconds(to)))
}
