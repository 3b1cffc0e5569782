//! `fdholder-adopt`: stores the listening sockets of a running process.

mod found;

use self::found::{Found, Wanted};
use crate::applets::options::adopt::Opt;
use crate::cli::exit::Exit;
use crate::cli::getopt::{self, Stop};
use crate::cli::number;
use crate::cli::output::Writer;
use crate::client::Connection;
use crate::client::failure::Wording;
use crate::client::several::Several;
use crate::io::error::Error;
use crate::io::path::PathBuffer;
use crate::process::Process;
use crate::protocol::address::{Address, Text};
use crate::protocol::frame::Frame;
use crate::protocol::tai::{self, Label};
use crate::sys::fd::BorrowedFd;
use crate::sys::memory::List;
use crate::sys::{Errno, bug, file, socket, time};
use core::ffi::CStr;

const LOOK: Wording = Wording {
    advice: " (the right S6_FDHOLDER_RETRIEVE_REGEX is missing)",
    ..Wording::only("retrieve fd for id ", "")
};
const STORE: Wording = Wording {
    advice: " (the right S6_FDHOLDER_STORE_REGEX is missing)",
    ..Wording::only("store fd for id ", "; it may have been done")
};

const NAME: Wording = Wording::only("use id ", "");

/// The largest number that the kernel's type of process ids can have.
const PID_MAX: u32 = i32::MAX as u32;

pub fn run(process: &mut Process) -> Result<Exit, Stop> {
    let (mut prefix, mut prints, mut timeout) = (c"", false, 0);
    while let Some(option) = Opt::next(&mut process.arguments)? {
        match option {
            Opt::DryRun => prints = true,
            Opt::Prefix(value) => prefix = value,
            Opt::Timeout(value) => timeout = getopt::number(value)?,
        }
    }
    let path = process.arguments.operand()?;
    let pid = process.arguments.operand()?;
    let names = process.arguments.rest();
    let whose = match number::whole(pid.to_bytes()) {
        Some(whose @ 1..=PID_MAX) => whose,
        _ => {
            let reason = "it is not a number from 1 to 2147483647";
            return Ok(process.errors.wrong("process id", pid, reason));
        }
    };
    for name in names {
        if let Err(reason) = Address::parse(name.to_bytes()) {
            return Ok(process.errors.wrong("address", name, reason));
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
    let wording = if prints { &NAME } else { &STORE };
    let done = daemon.check_all(&adopted, process.frame, errors, wording).and_then(|()| {
        if prints {
            return adopted.print(&mut process.out, errors);
        }
        adopted.settle(&mut daemon, process.frame, errors)?;
        daemon.store_all(&adopted, process.frame, errors, &STORE)
    });
    Ok(done.err().unwrap_or(Exit::SUCCESS))
}

/// The number of a socket that has none yet.
const UNNUMBERED: u32 = u32::MAX;

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
        self.identifier_of(text, *copy, buffer)
    }

    fn descriptor(&self, index: usize) -> BorrowedFd<'_> {
        at(&self.found, index).fd.borrow()
    }

    fn expiry(&self, _: usize) -> Result<Label, Error> {
        Ok(tai::never(time::now().map_err(Error::NoClock)?))
    }
}

impl Adopted {
    /// The identifier of a socket at an address.
    fn identifier_of<'b>(
        &self,
        text: &Text,
        copy: u32,
        buffer: &'b mut PathBuffer,
    ) -> Result<&'b [u8], Error> {
        buffer.push(self.prefix).push(text.bytes());
        if copy > 1 {
            buffer.push(b"#").number(copy);
        }
        buffer.path().map(CStr::to_bytes).map_err(Error::Denied)
    }

    /// Prints the identifiers.
    fn print(&self, out: &mut Writer, errors: &mut Writer) -> Result<(), Exit> {
        for index in 0..self.count() {
            let mut buffer = PathBuffer::EMPTY;
            out.quoted(self.identifier(index, &mut buffer).unwrap_or_default()).byte(b'\n');
        }
        out.flush().map_err(|errno| errors.output_failed(errno))
    }

    /// Drops the sockets that the daemon holds already, and gives the others identifiers that are not in
    /// use.
    fn settle(
        &mut self,
        daemon: &mut Connection,
        frame: &mut Frame,
        errors: &mut Writer,
    ) -> Result<(), Exit> {
        for found in self.found.iter_mut() {
            found.copy = UNNUMBERED;
        }
        while let Some(next) = self.found.iter().find(|found| found.copy == UNNUMBERED) {
            let text = next.text.clone();
            self.settle_at(&text, daemon, frame, errors)?;
        }
        Ok(())
    }

    /// The same for the sockets at one address. The process may have closed one of several, so what is
    /// held under each number is compared with all of them.
    fn settle_at(
        &mut self,
        text: &Text,
        daemon: &mut Connection,
        frame: &mut Frame,
        errors: &mut Writer,
    ) -> Result<(), Exit> {
        let (mut copy, mut free) = (0, 0);
        loop {
            let missing = self.found.iter().filter(|found| found.text == *text).count();
            // One free number more than needed: what was held under a lower one may have been deleted.
            if missing == 0 || free > missing {
                return Ok(());
            }
            copy += 1;
            let mut buffer = PathBuffer::EMPTY;
            let identifier = self.identifier_of(text, copy, &mut buffer);
            match identifier.and_then(|it| daemon.retrieve(frame, it, false)) {
                Err(Error::Denied(Errno::NOENT)) => {
                    free += 1;
                    self.offer(text, copy);
                }
                Err(error) => return Err(daemon.fail(errors, &LOOK, buffer.bytes(), error)),
                Ok(held) if self.drop_held(held.borrow(), text) => {}
                Ok(held) if is_sibling(held.borrow(), text) => {}
                Ok(_) => {
                    let line = errors.fatal().quoted(buffer.bytes());
                    return Err(line.text(" is held, but is another socket").end(Exit::DENIED));
                }
            }
        }
    }

    /// Gives a number that is free to the first socket at an address without a number, or else to that
    /// with the largest, if that is larger.
    fn offer(&mut self, text: &Text, copy: u32) {
        let all = self.found.iter_mut().filter(|found| found.text == *text);
        if let Some(last) = all.min_by_key(|found| u32::MAX - found.copy) {
            last.copy = last.copy.min(copy);
        }
    }

    /// Drops the socket at an address that is the same as a held one. False if none is.
    fn drop_held(&mut self, held: BorrowedFd, text: &Text) -> bool {
        let Ok(identity) = file::identity_of(held) else { return false };
        let is_same = |found: &Found| found.identity == identity && found.text == *text;
        let same = self.found.iter().position(is_same);
        if let Some(index) = same {
            let copy = self.found.remove(index).copy;
            self.offer(text, copy);
        }
        same.is_some()
    }
}

/// True if a held socket has an address that it can share with others: that of TCP or UDP. A second Unix
/// socket at a path has taken the file away from the first one, which no client can reach then.
fn is_sibling(held: BorrowedFd, text: &Text) -> bool {
    let address = socket::describe(held).ok().and_then(|socket| Address::of(&socket));
    address.is_some_and(|address| !address.is_unix() && address.text() == *text)
}

/// The socket at an index. The index is always valid.
fn at(found: &[Found], index: usize) -> &Found {
    found.get(index).unwrap_or_else(|| bug())
}
