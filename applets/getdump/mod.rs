//! `s6-fdholder-getdump`: executes a program with all that a daemon holds.

use crate::applets::options::getdump::Opt;
use crate::cli::exit::Exit;
use crate::cli::getopt::{Stop, number};
use crate::cli::output::hexadecimal;
use crate::client::Connection;
use crate::client::dump::Dump;
use crate::client::failure::Wording;
use crate::exec;
use crate::io::error::Error;
use crate::io::pool::Window;
use crate::process::Process;
use crate::protocol::entry::Entry;
use crate::protocol::tai;
use crate::protocol::variables::{self, Kind, Variable};
use crate::sys::Errno;
use crate::sys::fd::Fd;
use crate::sys::strings::{Builder, Strings};
use crate::sys::time::{self, Time};

const WORDING: Wording = Wording::only("get dump", "");

pub fn run(process: &mut Process) -> Result<Exit, Stop> {
    let mut timeout = 0;
    while let Some(option) = Opt::next(&mut process.arguments)? {
        match option {
            Opt::Timeout(value) => timeout = number(value)?,
        }
    }
    let path = process.arguments.operand()?;
    let program = process.arguments.program()?;
    process.open_files.raise();
    let mut daemon = Connection::new(path, timeout, &process.open_files);
    let dump = Dump::new(&mut daemon);
    Ok(match environment(dump, process.window, process.environment) {
        Ok(environment) => exec::execute(process, program, environment, ""),
        Err(error) => daemon.fail(&mut process.errors, &WORDING, b"", error),
    })
}

/// The environment of the program: the inherited one and the variables of the dump. The program
/// inherits all descriptors.
fn environment(mut dump: Dump, window: &mut Window, inherited: Strings) -> Result<Strings, Error> {
    let now = time::now().map_err(Error::NoClock)?;
    let total = dump.get(window, None)?;
    // Each entry has up to three variables.
    let strings = total.saturating_mul(3).saturating_add(1 + inherited.count());
    let mut environment = Builder::new(strings).ok_or(Errno::NOMEM)?;
    environment.begin().bytes(Kind::Count.name().as_bytes()).bytes(b"=").number(total).end();
    for string in inherited {
        // Inherited variables must not have the names of variables of this dump.
        let is_in_the_way = |it: Variable| it.kind == Kind::Count || it.index < total;
        if !variables::parse(string).is_some_and(is_in_the_way) {
            environment.add(string);
        }
    }
    let mut index = 0;
    loop {
        for (fd, entry) in window.drain() {
            describe(&mut environment, index, fd, entry, now);
            index += 1;
        }
        if dump.is_complete() {
            return Ok(environment.finish()?);
        }
        dump.fill(window)?;
    }
}

/// Begins a variable with an index at the end of its name.
fn variable(environment: &mut Builder, kind: Kind, index: usize) -> &mut Builder {
    environment.begin().bytes(kind.name().as_bytes()).number(index).bytes(b"=")
}

/// Appends the variables of an entry, and passes its descriptor to the program.
fn describe(environment: &mut Builder, index: usize, fd: Fd, entry: Entry, now: Time) {
    variable(environment, Kind::Fd, index).number(fd.leave_to_program()).end();
    variable(environment, Kind::Identifier, index).bytes(entry.identifier).end();
    if !tai::is_never(entry.expiry, now) {
        let limit = variable(environment, Kind::Expiry, index).bytes(b"@");
        entry.expiry.iter().for_each(|byte| {
            limit.bytes(&hexadecimal(*byte));
        });
        limit.end();
    }
}
