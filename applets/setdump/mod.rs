//! `s6-fdholder-setdump`: stores in a daemon what the environment describes.

use crate::applets::options::setdump::Opt;
use crate::cli::exit::Exit;
use crate::cli::getopt::{self, Stop};
use crate::cli::number;
use crate::cli::output::Writer;
use crate::client::Connection;
use crate::client::dump::Delivery;
use crate::client::failure::{self, Wording};
use crate::io::error::Error;
use crate::process::Process;
use crate::protocol::frame::{ENTRIES_MAX, Frame};
use crate::protocol::tai::{self, Label};
use crate::protocol::variables::{self, Kind, Variable};
use crate::sys::Errno;
use crate::sys::fd::BorrowedFd;
use crate::sys::memory::Mapping;
use crate::sys::strings::{Pointer, Strings};
use crate::sys::time::{self, Time};
use core::ffi::CStr;

const WORDING: Wording = Wording::only("set dump", "");

/// The values of the variables of one index: descriptor, identifier, expiry.
type Row = [Pointer; 3];

/// The entries to store.
struct Rows {
    rows: Mapping<Row>,
    now: Time,
}

/// A variable is not valid, or not set.
struct Wrong {
    kind: Kind,
    index: usize,
    is_set: bool,
}

/// What failed.
enum Failure {
    Environment(Wrong),
    Daemon(Error),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Daemon(error.into())
    }
}

pub fn run(process: &mut Process) -> Result<Exit, Stop> {
    let mut timeout = 0;
    while let Some(option) = Opt::next(&mut process.arguments)? {
        match option {
            Opt::Timeout(value) => timeout = getopt::number(value)?,
        }
    }
    let path = process.arguments.operand()?;
    let mut daemon = Connection::new(path, timeout, &process.open_files);
    let mut delivery = Delivery::new(&mut daemon);
    let done = set(&mut delivery, process.frame, process.environment);
    let (total, acknowledged) = (delivery.total, delivery.acknowledged);
    let error = match done {
        Ok(()) => return Ok(Exit::SUCCESS),
        Err(Failure::Environment(wrong)) => return Ok(wrong.report(&mut process.errors)),
        Err(Failure::Daemon(error)) => error,
    };
    let line = daemon.report(&mut process.errors, &WORDING, b"", error);
    failure::progress(line, acknowledged, total, "");
    Ok(line.end(error.exit(WORDING.blame)))
}

/// Stores all entries. They are all checked before the daemon is contacted.
fn set(delivery: &mut Delivery, frame: &mut Frame, environment: Strings) -> Result<(), Failure> {
    let rows = Rows::gather(environment)?;
    let total = rows.rows.len();
    for index in 0..total {
        rows.compose(frame.request(b'.'), index)?.is_open()?;
    }
    delivery.begin(total)?;
    let mut index = 0;
    while index < total {
        frame.request(b'.');
        let mut fds = [BorrowedFd::named(0); ENTRIES_MAX];
        let mut count = 0;
        for fd in fds.iter_mut().take(total - index) {
            *fd = rows.compose(frame, index)?;
            index += 1;
            count += 1;
        }
        delivery.send_frame(frame.finish(count), fds.get(..count).unwrap_or_default())?;
    }
    Ok(())
}

impl Rows {
    /// Collects the values of all variables of a dump.
    fn gather(environment: Strings) -> Result<Rows, Failure> {
        let count = environment.filter_map(variables::parse).find(|it| it.kind == Kind::Count);
        let wrong = Wrong { kind: Kind::Count, index: 0, is_set: count.is_some() };
        let total = count.and_then(|count| number::whole(count.value.to_bytes()));
        let total = total.ok_or(Failure::Environment(wrong))? as usize;
        // If `total` is more than the number of variables, one of that many rows is incomplete.
        let mut rows: Mapping<Row> = match total.min(environment.count()) {
            0 => Mapping::EMPTY,
            rows => Mapping::new(rows).ok_or(Errno::NOMEM)?,
        };
        for Variable { kind, index, value } in environment.filter_map(variables::parse) {
            let column = match kind {
                Kind::Fd => 0,
                Kind::Identifier => 1,
                Kind::Expiry => 2,
                Kind::Count => continue,
            };
            if let Some(place) = rows.get_mut(index).and_then(|row| row.get_mut(column)) {
                // The first of several variables of the same name counts, as for `getenv`.
                if place.get().is_none() {
                    *place = Pointer::new(value);
                }
            }
        }
        Ok(Rows { rows, now: time::now().map_err(Error::NoClock)? })
    }

    /// Appends an entry to a frame and returns its descriptor.
    fn compose(&self, frame: &mut Frame, index: usize) -> Result<BorrowedFd<'static>, Failure> {
        let [fd, identifier, limit] =
            self.rows.get(index).map_or([None; 3], |row| row.map(Pointer::get));
        let wrong = |kind, value: Option<&CStr>| {
            Failure::Environment(Wrong { kind, index, is_set: value.is_some() })
        };
        let number = fd.and_then(|value| number::whole(value.to_bytes()));
        let number = number.ok_or_else(|| wrong(Kind::Fd, fd))?;
        let expiry = match limit {
            Some(value) => label(value.to_bytes()).ok_or_else(|| wrong(Kind::Expiry, limit))?,
            // Each entry gets another date: equal dates corrupt the table of a C daemon.
            None => {
                let seconds = self.now.seconds.wrapping_add(index as i64);
                tai::never(Time { seconds, ..self.now })
            }
        };
        let bytes = identifier.ok_or_else(|| wrong(Kind::Identifier, identifier))?.to_bytes();
        frame.entry(&expiry, bytes).map_err(|_| wrong(Kind::Identifier, identifier))?;
        Ok(BorrowedFd::named(number))
    }
}

impl Wrong {
    /// Prints which variable is wrong, and how.
    fn report(self, errors: &mut Writer) -> Exit {
        let line = errors.fatal();
        if self.is_set {
            line.text("invalid $");
        }
        line.text(self.kind.name());
        if self.kind != Kind::Count {
            line.number(self.index as u32);
        }
        if !self.is_set {
            line.text(" not set");
        }
        line.end(Exit::USAGE)
    }
}

/// Parses `@` and 24 hexadecimal digits. `None` if the label is not valid.
fn label(text: &[u8]) -> Option<Label> {
    let (digits, rest) = text.strip_prefix(b"@")?.split_first_chunk::<24>()?;
    let mut label = Label::default();
    for (byte, pair) in label.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            *byte = *byte << 4 | char::from(*digit).to_digit(16)? as u8;
        }
    }
    (rest.is_empty() && tai::is_valid(&label)).then_some(label)
}
