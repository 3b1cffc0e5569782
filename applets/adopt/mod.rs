//! `fdholder-adopt`: stores the listening sockets of a running process.

mod found;

use self::found::{Found, Wanted};
use crate::applets::options::adopt::Opt;
use crate::cli::exit::Exit;
use crate::cli::getopt::{Stop, number};
use crate::cli::output::Writer;
use crate::client::Connection;
use crate::client::failure::Wording;
use crate::client::several::Several;
use crate::io::error::Error;
use crate::io::path::PathBuffer;
use crate::process::Process;
use crate::protocol::address::Address;
use crate::protocol::frame::Frame;
use crate::protocol::tai::{self, Label};
use crate::sys::fd::BorrowedFd;
use crate::sys::memory::List;
use crate::sys::{Errno, bug, file, time};
use core::ffi::CStr;

const LOOK: Wording = Wording {
    advice: " (the right S6_FDHOLDER_RETRIEVE_REGEX is missing)",
    ..Wording::only("retrieve fd for id ", "")
};
const STORE: Wording = Wording {
    advice: " (the right S6_FDHOLDER_STORE_REGEX is missing)",
    ..Wording::only("store fd for id ", "; it may have been done")
};

pub fn run(process: &mut Process) -> Result<Exit, Stop> {
    let (mut prefix, mut prints, mut timeout) = (c"", false, 0);
    while let Some(option) = Opt::next(&mut process.arguments)? {
        match option {
            Opt::DryRun => prints = true,
            Opt::Prefix(value) => prefix = value,
            Opt::Timeout(value) => timeout = number(value)?,
        }
    }
    let path = process.arguments.operand()?;
    let whose = number(process.arguments.operand()?)?;
    let names = process.arguments.rest();
    for name in names {
        if let Err(reason) = Address::parse(name.to_bytes()) {
            return Ok(process.errors.no_address(name, reason));
        }
    }
    if prints {
        if let Err(errno) = process.out.require() {
            return Ok(process.errors.output_failed(errno));
        }
    }
    let found = match (Wanted { whose, names }).gather(&process.open_files) {
        Ok(found) => found,
        Err(absent) => return Ok(absent.say(whose, &mut process.errors)),
    };
    let mut adopted = Adopted { prefix: prefix.to_bytes(), found };
    let mut daemon = Connection::new(path, timeout, &process.open_files);
    let errors = &mut process.errors;
    let done = daemon.check_all(&adopted, process.frame, errors, &STORE).and_then(|()| {
        if prints {
            return adopted.print(&mut process.out, errors);
        }
        adopted.leave_out_held(&mut daemon, process.frame, errors)?;
        daemon.store_all(&adopted, process.frame, errors, &STORE)
    });
    Ok(done.err().unwrap_or(Exit::SUCCESS))
}

/// The sockets to store.
struct Adopted {
    prefix: &'static [u8],
    found: List<Found>,
}

impl Several for Adopted {
    fn count(&self) -> usize {
        self.found.len()
    }

    fn identifier<'b>(&self, index: usize, buffer: &'b mut PathBuffer) -> Result<&'b [u8], Error> {
        let Found { text, copy, .. } = at(&self.found, index);
        buffer.push(self.prefix).push(text.bytes());
        if *copy > 1 {
            buffer.push(b"#").number(*copy);
        }
        buffer.path().map(CStr::to_bytes).map_err(Error::Denied)
    }

    fn descriptor(&self, index: usize) -> BorrowedFd<'_> {
        at(&self.found, index).fd.borrow()
    }

    fn expiry(&self, _: usize) -> Result<Label, Error> {
        Ok(tai::never(time::now().map_err(Error::NoClock)?))
    }
}

impl Adopted {
    /// Prints the identifiers.
    fn print(&self, out: &mut Writer, errors: &mut Writer) -> Result<(), Exit> {
        for index in 0..self.count() {
            let mut buffer = PathBuffer::EMPTY;
            out.quoted(self.identifier(index, &mut buffer).unwrap_or_default()).byte(b'\n');
        }
        out.flush().map_err(|errno| errors.output_failed(errno))
    }

    /// Drops the sockets that the daemon holds already. It is an error if it holds something else under
    /// one of the identifiers.
    fn leave_out_held(
        &mut self,
        daemon: &mut Connection,
        frame: &mut Frame,
        errors: &mut Writer,
    ) -> Result<(), Exit> {
        let mut index = 0;
        while index < self.count() {
            let mut buffer = PathBuffer::EMPTY;
            let identifier = self.identifier(index, &mut buffer);
            let request =
                identifier.and_then(|it| frame.retrieve(it, false).map_err(Error::Denied));
            match request.and_then(|request| daemon.retrieve(request, false)) {
                Err(Error::Denied(Errno::NOENT)) => index += 1,
                Err(error) => return Err(daemon.fail(errors, &LOOK, buffer.bytes(), error)),
                Ok(fd) => {
                    let identity = at(&self.found, index).identity;
                    if file::identity_of(fd.borrow()) != Ok(identity) {
                        let line = errors.fatal().quoted(buffer.bytes());
                        return Err(line.text(" is held, but is another socket").end(Exit::DENIED));
                    }
                    self.found.remove(index);
                }
            }
        }
        Ok(())
    }
}

/// The socket at an index. The index is always valid.
fn at(found: &[Found], index: usize) -> &Found {
    found.get(index).unwrap_or_else(|| bug())
}
