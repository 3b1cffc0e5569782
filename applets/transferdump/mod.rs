//! `s6-fdholder-transferdump`: everything that one daemon holds, into another.

use crate::applets::options::transferdump as option;
use crate::client::{Delivery, Dump};
use crate::deadline::Deadline;
use crate::exit::{Exit, Output};
use crate::getopt::{Arguments, decimal};
use crate::pool;
use crate::socket::Error;
use crate::sys;

pub fn run(arguments: &mut Arguments) -> Exit {
    let (mut from, mut to) = (0, 0);
    let applet = arguments.applet;
    arguments.options(|letter, value| {
        if letter == option::TIMEOUT {
            (from, to) = timeouts(value).unwrap_or_else(|| applet.usage());
        }
    });
    let mut transfer = Transfer {
        name: applet.name(),
        pathfrom: arguments.operand(),
        pathto: arguments.operand(),
        dump: Dump::new(Deadline::from_milliseconds(from)),
        delivery: Delivery::new(Deadline::from_milliseconds(to)),
    };
    if let Err((side, error)) = transfer.run() {
        transfer.explain(side, error);
    }
    // The process ends, and the kernel closes everything at once.
    core::mem::forget(transfer);
    Exit::SUCCESS
}

/// One of the two daemons: what is said of it when it fails, and the exit code then.
struct Side {
    connect: &'static str,
    transfer: &'static str,
    right: &'static str,
    exit: Exit,
}

static SOURCE: Side = Side {
    connect: "connect to a source",
    transfer: "get dump from the source",
    right: "S6_FDHOLDER_GETDUMP",
    exit: Exit::DENIED,
};

static DESTINATION: Side = Side {
    connect: "connect to a destination",
    transfer: "set dump in the destination",
    right: "S6_FDHOLDER_SETDUMP",
    exit: Exit::DESTINATION,
};

struct Transfer {
    name: &'static [u8],
    pathfrom: &'static [u8],
    pathto: &'static [u8],
    dump: Dump,
    delivery: Delivery,
}

impl Transfer {
    /// Copies everything. The error comes with the side that is to blame.
    ///
    /// The destination can be connected to while the source answers. It is not asked anything
    /// before all that there is room for has been received and checked.
    fn run(&mut self) -> Result<(), (&'static Side, Error)> {
        let Transfer { pathfrom, pathto, dump, delivery, .. } = self;
        let source = |error| (&SOURCE, error);
        let destination = |error| (&DESTINATION, error);
        let window = pool::take();
        dump.get(pathfrom, window, || delivery.destination().try_connect(pathto)).map_err(source)?;
        delivery.destination().connect(pathto).map_err(destination)?;
        if dump.total() == 0 {
            return Ok(());
        }
        delivery.begin(dump.total()).map_err(destination)?;
        loop {
            delivery.send(window).map_err(destination)?;
            if dump.is_complete() {
                return Ok(());
            }
            dump.fill(window).map_err(source)?;
        }
    }

    /// Says what failed, why, and how far it went.
    fn explain(&self, side: &Side, error: Error) -> ! {
        let mut line = Output::fatal(self.name);
        let doing = if error.is_unreachable() { side.connect } else { side.transfer };
        let path = if side.exit == SOURCE.exit { self.pathfrom } else { self.pathto };
        line.text("unable to ").text(doing).text(" fd-holder daemon at ").quoted(path);
        let exit = error.explain(&mut line, side.right, side.exit);
        if error == Error::CROWDED {
            line.text(": the open-file limit is ").number(sys::open_file_limit().soft as u32);
            line.text(", but has to be ").number(self.dump.limit() as u32).text(" at least");
        }
        if self.delivery.has_begun() {
            line.text("; ").number(self.delivery.acknowledged() as u32);
            line.text(" of ").number(self.dump.total() as u32);
            line.text(" descriptors reached the destination, the source still holds all");
        }
        line.end(exit)
    }
}

/// The milliseconds for both sides, out of `timeoutfrom:timeoutto`. Either number may be missing,
/// and the second one together with the colon.
fn timeouts(value: &[u8]) -> Option<(u32, u32)> {
    let colon = value.iter().position(|byte| *byte == b':');
    let (from, to) = value.split_at(colon.unwrap_or(value.len()));
    let milliseconds = |digits: &[u8]| match digits {
        [] if colon.is_some() => Some(0),
        _ => decimal(digits),
    };
    let to = if to.is_empty() { 0 } else { milliseconds(&to[1..])? };
    Some((milliseconds(from)?, to))
}
