//! `fdholder-import`: stores the descriptors that it got by socket activation.

use crate::applets::options::import::Opt;
use crate::cli::exit::Exit;
use crate::cli::getopt::{Stop, number};
use crate::cli::output::Writer;
use crate::client::Connection;
use crate::client::dump::Delivery;
use crate::client::failure::{self, Wording};
use crate::client::several::Several;
use crate::io::error::Error;
use crate::io::path::PathBuffer;
use crate::process::Process;
use crate::protocol::activation::{FIRST, Given, SUFFIX, Wrong};
use crate::protocol::frame::{ENTRIES_MAX, Frame};
use crate::protocol::tai::{self, Label};
use crate::slice::part;
use crate::sys::Errno;
use crate::sys::fd::BorrowedFd;
use crate::sys::memory::List;
use crate::sys::process as own;
use crate::sys::time::{self, Time};
use core::ffi::CStr;

const STORE: Wording = Wording {
    advice: " (the right S6_FDHOLDER_STORE_REGEX is missing)",
    ..Wording::only("store fd for id ", "; it may have been done")
};
const REPLACE: Wording = Wording {
    advice: " (the right S6_FDHOLDER_SETDUMP is missing)",
    ..Wording::only("replace what is held", "")
};

/// The descriptors to store, from number 3 on.
struct Import {
    /// The beginning of the identifiers.
    prefix: &'static [u8],
    /// Their names.
    names: List<&'static [u8]>,
    /// They expire that many milliseconds after `now`; 0 is never.
    expire: u32,
    now: Time,
}

pub fn run(process: &mut Process) -> Result<Exit, Stop> {
    let (mut prefix, mut replaces, mut expire, mut timeout) = (c"", false, 0, 0);
    while let Some(option) = Opt::next(&mut process.arguments)? {
        match option {
            Opt::Prefix(value) => prefix = value,
            Opt::Replace => replaces = true,
            Opt::Expire(value) => expire = number(value)?,
            Opt::Timeout(value) => timeout = number(value)?,
        }
    }
    let path = process.arguments.operand()?;
    process.arguments.end()?;
    let (errors, frame) = (&mut process.errors, &mut *process.frame);
    let given = Given::parse(process.environment, own::id(), own::unique_id);
    let mut daemon = Connection::new(path, timeout, &process.open_files);
    let done = check(given, errors).and_then(|given| {
        let import = Import::new(given, prefix.to_bytes(), expire);
        let import = import.map_err(|error| daemon.fail(errors, &STORE, b"", error))?;
        import.check(errors)?;
        daemon.check_all(&import, frame, errors, &STORE)?;
        if replaces {
            import.replace(&mut daemon, frame, errors)
        } else {
            daemon.store_all(&import, frame, errors, &STORE)
        }
    });
    Ok(done.err().unwrap_or(Exit::SUCCESS))
}

/// The descriptor with this index.
fn descriptor(index: usize) -> BorrowedFd<'static> {
    BorrowedFd::named(FIRST + index as u32)
}

/// Checks that the descriptors are for this process, and that they are open: a closed one might get the
/// number of the connection. If not, a message says so.
fn check(given: Result<Given, Wrong>, errors: &mut Writer) -> Result<Given, Exit> {
    let is_closed = |index: &usize| descriptor(*index).is_open().is_err();
    let closed = given.ok().and_then(|given| (0..given.count as usize).find(is_closed));
    if let (Ok(given), None) = (given, closed) {
        return Ok(given);
    }
    let line = errors.fatal();
    match given {
        Ok(given) => {
            line.text("$LISTEN_FDS is ").number(given.count).text(", but number ");
            line.number(FIRST + closed.unwrap_or_default() as u32).text(" is not open")
        }
        Err(Wrong::Missing(name)) => line.text(name).text(" not set"),
        Err(Wrong::Invalid(name)) => line.text("invalid $").text(name),
        Err(Wrong::Foreign(name)) => line.text("$").text(name).text(" names another process"),
    };
    Err(line.end(Exit::USAGE))
}

impl Import {
    /// Prepares all that this process got.
    fn new(given: Given, prefix: &'static [u8], expire: u32) -> Result<Import, Error> {
        let now = time::now().map_err(Error::NoClock)?;
        let mut names = List::new(given.count as usize);
        if names.capacity() == 0 {
            return Err(Errno::NOMEM.into());
        }
        names.extend(given.names());
        Ok(Import { prefix, names, expire, now })
    }

    /// Checks that each identifier fits into the buffer, and that no two are equal: one can have as its
    /// name what another one gets by a number. If not, a message says so.
    fn check(&self, errors: &mut Writer) -> Result<(), Exit> {
        for (index, name) in self.names.iter().enumerate() {
            let mut buffer = PathBuffer::EMPTY;
            let identifier = match self.identifier(index, &mut buffer) {
                Ok(identifier) => identifier,
                Err(error) => {
                    // The buffer does not contain all of it.
                    let line = errors.fatal().text("unable to ").text(STORE.doing);
                    error.explain(line.quoted(self.prefix).quoted(name));
                    return Err(line.end(error.exit(STORE.blame)));
                }
            };
            let made = identifier.strip_prefix(self.prefix).unwrap_or_default();
            if made != *name && self.names.contains(&made) {
                let line = errors.fatal().text("two descriptors would have id ");
                return Err(line.quoted(identifier).end(Exit::USAGE));
            }
        }
        Ok(())
    }

    /// Stores all. They replace what is held under their identifiers. If that fails, a message says why.
    fn replace(
        &self,
        daemon: &mut Connection,
        frame: &mut Frame,
        errors: &mut Writer,
    ) -> Result<(), Exit> {
        let mut delivery = Delivery::new(daemon);
        let done = self.deliver(&mut delivery, frame);
        let (total, acknowledged) = (delivery.total, delivery.acknowledged);
        done.map_err(|error| {
            let line = daemon.report(errors, &REPLACE, b"", error);
            failure::progress(line, acknowledged, total, "");
            line.end(error.exit(REPLACE.blame))
        })
    }

    /// Sends all to the daemon as a dump.
    fn deliver(&self, delivery: &mut Delivery, frame: &mut Frame) -> Result<(), Error> {
        let total = self.count();
        delivery.begin(total)?;
        let mut index = 0;
        while index < total {
            frame.request(b'.');
            let mut fds = [descriptor(0); ENTRIES_MAX];
            let mut count = 0;
            for fd in fds.iter_mut().take(total - index) {
                let mut buffer = PathBuffer::EMPTY;
                let identifier = self.identifier(index, &mut buffer)?;
                frame.entry(&self.expiry(index)?, identifier).map_err(Error::Denied)?;
                *fd = descriptor(index);
                index += 1;
                count += 1;
            }
            delivery.send_frame(frame.finish(count), part(&fds, ..count))?;
        }
        Ok(())
    }
}

impl Several for Import {
    fn count(&self) -> usize {
        self.names.len()
    }

    /// Of equal names all but the first get a number.
    fn identifier<'b>(&self, index: usize, buffer: &'b mut PathBuffer) -> Result<&'b [u8], Error> {
        let name = self.names.get(index).copied().unwrap_or_default();
        buffer.push(self.prefix).push(name);
        let before = part(&self.names, ..index).iter().filter(|other| **other == name).count();
        if before > 0 {
            buffer.push(SUFFIX).number(before as u32 + 1);
        }
        buffer.path().map(CStr::to_bytes).map_err(Error::Denied)
    }

    fn descriptor(&self, index: usize) -> BorrowedFd<'_> {
        descriptor(index)
    }

    fn expiry(&self, index: usize) -> Result<Label, Error> {
        let apart = Time { seconds: 0, nanoseconds: index as i64 };
        Ok(tai::after(self.expire, self.now.plus(apart)))
    }
}
