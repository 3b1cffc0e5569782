//! `s6-fdholder-transferdump`: everything that one daemon holds, into another.

use crate::applets::options::transferdump::Opt;
use crate::cli::exit::Exit;
use crate::cli::getopt::Stop;
use crate::cli::number;
use crate::client::Connection;
use crate::client::dump::{Delivery, Dump};
use crate::client::failure::Wording;
use crate::io::error::Error;
use crate::io::pool::Window;
use crate::process::Process;
use crate::protocol::frame::Frame;

const SOURCE: Wording = Wording {
    connect: "connect to a source fd-holder daemon at ",
    doing: "get dump from the source fd-holder daemon at ",
    right: Some("S6_FDHOLDER_GETDUMP"),
    blame: Exit::DENIED,
};

const DESTINATION: Wording = Wording {
    connect: "connect to a destination fd-holder daemon at ",
    doing: "set dump in the destination fd-holder daemon at ",
    right: Some("S6_FDHOLDER_SETDUMP"),
    blame: Exit::DESTINATION,
};

/// Which side failed.
enum Failure {
    Source(Error),
    Destination(Error),
}

pub fn run(process: &mut Process) -> Result<Exit, Stop> {
    let (mut from, mut to) = (0, 0);
    while let Some(option) = Opt::next(&mut process.arguments)? {
        match option {
            Opt::Timeout(value) => (from, to) = timeouts(value.to_bytes()).ok_or(Stop)?,
        }
    }
    let (source_path, path) = (process.arguments.operand()?, process.arguments.operand()?);
    let mut source = Connection::new(source_path, from, &process.open_files);
    let mut destination = Connection::new(path, to, &process.open_files);
    let (mut dump, mut delivery) = (Dump::new(&mut source), Delivery::new(&mut destination));

    let Err(failure) = transfer(&mut dump, &mut delivery, process.window, process.frame) else {
        return Ok(Exit::SUCCESS);
    };
    let (total, acknowledged) = (delivery.total, delivery.acknowledged);
    let (daemon, wording, path, error) = match failure {
        Failure::Source(error) => (&source, &SOURCE, source_path, error),
        Failure::Destination(error) => (&destination, &DESTINATION, path, error),
    };
    let line = daemon.complain(&mut process.errors, wording, path.to_bytes(), error);
    if total > 0 {
        line.text("; ").number(acknowledged as u32).text(" of ").number(total as u32);
        line.text(" descriptors acknowledged, the source still holds all");
    }
    Ok(line.end(error.exit(wording.blame)))
}

/// Copies everything. The destination may be connected to while the source answers. It is not asked
/// anything before all that there is room for has been received and checked.
fn transfer(
    dump: &mut Dump,
    delivery: &mut Delivery,
    window: &mut Window,
    frame: &mut Frame,
) -> Result<(), Failure> {
    let total = dump.get(window, Some(delivery)).map_err(Failure::Source)?;
    delivery.begin(frame, total).map_err(Failure::Destination)?;
    loop {
        delivery.send(window).map_err(Failure::Destination)?;
        if dump.is_complete() {
            return Ok(());
        }
        dump.fill(window).map_err(Failure::Source)?;
    }
}

/// The milliseconds for both sides, out of `timeoutfrom:timeoutto`. Either number may be missing,
/// and the second one together with the colon.
fn timeouts(value: &[u8]) -> Option<(u32, u32)> {
    let (mut rest, mut to) = (value, 0);
    let from = number::take(&mut rest);
    if let [b':', behind @ ..] = rest {
        rest = behind;
        to = number::take(&mut rest);
    }
    if rest.is_empty() && !value.is_empty() { Some((from, to)) } else { None }
}
