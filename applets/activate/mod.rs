//! `fdholder-activate`: executes a program with descriptors that a daemon holds, from number 3 on.

mod deletion;
mod wait;
mod wanted;

use crate::applets::options::activate::Opt;
use crate::cli::exit::Exit;
use crate::cli::getopt::{Stop, number};
use crate::cli::output::Writer;
use crate::client::Connection;
use crate::client::failure::Wording;
use crate::exec;
use crate::io::error::Error;
use crate::io::open_files::OpenFiles;
use crate::process::Process;
use crate::protocol::activation::{self, Convention, FIRST, Identity};
use crate::protocol::address::Address;
use crate::protocol::frame::Frame;
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::signal::{self, Signals};
use crate::sys::strings::{Builder, Strings};
use crate::sys::{Errno, process as own, socket};
use core::ffi::CStr;
use deletion::Deleted;
use wanted::{Listed, Wanted};

const LIST: Wording = Wording {
    advice: " (the right S6_FDHOLDER_LIST is missing)",
    ..Wording::only("get fd list", "")
};
const RETRIEVE: Wording = Wording {
    advice: " (the right S6_FDHOLDER_RETRIEVE_REGEX is missing)",
    ..Wording::only("retrieve fd for id ", "")
};
const PREPARE: Wording = Wording::only("prepare what prog gets", "");

/// The command line.
struct Order {
    deletes: bool,
    waits: bool,
    convention: Convention,
    prefix: Option<&'static CStr>,
    timeout: u32,
    path: &'static CStr,
    ids: wanted::Named,
    program: Strings,
}

pub fn run(process: &mut Process) -> Result<Exit, Stop> {
    let order = Order::parse(process)?;
    Ok(activate(process, &order).unwrap_or_else(|exit| exit))
}

impl Order {
    fn parse(process: &mut Process) -> Result<Order, Stop> {
        let (mut deletes, mut waits, mut timeout) = (false, false, 0);
        let (mut convention, mut names, mut prefix) = (Convention::Systemd, None, None);
        while let Some(option) = Opt::next(&mut process.arguments)? {
            match option {
                Opt::Delete => deletes = true,
                Opt::Wait => waits = true,
                Opt::Convention(value) => {
                    convention = Convention::named(value.to_bytes()).ok_or(Stop)?;
                }
                Opt::Names(value) => names = Some(value),
                Opt::Prefix(value) => prefix = Some(value),
                Opt::Timeout(value) => timeout = number(value)?,
            }
        }
        let path = process.arguments.operand()?;
        let (ids, program) = wanted::Named::parse(process.arguments.program()?, names)?;
        if ids.count == 0 && prefix.is_none() {
            return Err(Stop);
        }
        Ok(Order { deletes, waits, convention, prefix, timeout, path, ids, program })
    }
}

/// Does everything. It returns only if the program is not executed: a message says why, or SIGTERM has
/// come.
fn activate(process: &mut Process, order: &Order) -> Result<Exit, Exit> {
    let Process { environment: inherited, errors, frame, open_files, .. } = process;
    let mut daemon = Connection::new(order.path, order.timeout, open_files);
    let signals = if order.waits { Some(Signals::of_termination()) } else { None };
    let signals = signals.transpose();
    let mut signals = signals.map_err(|errno| unprepared(&daemon, errors, errno.into()))?;
    daemon.set_interrupt(signals.as_ref().map(Signals::descriptor));
    exec::require(errors, *inherited, order.program)?;
    let listed = Listed::request(&mut daemon, order.prefix);
    let listed = listed.map_err(|error| failed(&daemon, errors, &LIST, b"", error))?;
    let wanted = Wanted::new(&order.ids, &listed);
    let wanted = wanted.map_err(|errno| unprepared(&daemon, errors, errno.into()))?;
    let count = wanted.identifiers.len();
    if count == 0 {
        let prefix = order.prefix.unwrap_or_default().to_bytes();
        let line = errors.fatal().text("no identifier begins with ").quoted(prefix);
        return Err(line.end(Exit::DENIED));
    }
    let moved = make_way(&mut daemon, &mut signals, count, order, open_files);
    moved.map_err(|error| unprepared(&daemon, errors, error))?;
    retrieve(&mut daemon, frame, &wanted, errors)?;
    let environment = || environment(order.convention, &wanted, *inherited);
    if let Some(signals) = signals {
        // What the program cannot get is an error now, not when the first client has come. What it gets
        // takes memory and may change, so it is made again.
        let fits = environment().and_then(|environment| environment.check());
        fits.map_err(|errno| unprepared(&daemon, errors, errno.into()))?;
        daemon.set_interrupt(None);
        let waited = daemon.pause().and_then(|()| Ok(wait::wait(count, &signals)?));
        if !waited.map_err(|error| unprepared(&daemon, errors, error))? {
            return Ok(Exit::SUCCESS);
        }
        signals.restore();
    }
    let environment = environment().and_then(Builder::finish);
    let environment = environment.map_err(|errno| unprepared(&daemon, errors, errno.into()))?;
    let mut deleted = None;
    if order.deletes {
        // A warning that nobody can read must not end the process: it may have the only descriptors.
        let delete = || Deleted::delete(&mut daemon, frame, &wanted, order.waits, errors);
        deleted = Some(signal::without_those_of_writing(delete)?);
    }
    let errno = exec::attempt(open_files, order.program, environment);
    let count = deleted.as_ref().map_or(0, Deleted::count);
    let lost = deleted.map_or(0, |deleted| deleted.store_again(&mut daemon, frame));
    let (line, exit) = exec::report(errors, order.program, errno);
    if lost > 0 {
        line.text("; of the deleted descriptors ").number(lost as u32);
        line.text(" could not be stored again");
    } else if count > 0 {
        line.text("; what was deleted is stored again, without an expiry");
    }
    Ok(line.end(exit))
}

/// Prints a message about the daemon and returns the exit code. If SIGTERM has ended a wait for the daemon,
/// there is no message.
fn failed(
    daemon: &Connection,
    errors: &mut Writer,
    wording: &Wording,
    object: &[u8],
    error: Error,
) -> Exit {
    match error {
        Error::System(Errno::INTR) | Error::Unreachable(Errno::INTR) => Exit::SUCCESS,
        error => daemon.fail(errors, wording, object, error),
    }
}

/// The same if the tool cannot prepare what the program gets.
fn unprepared(daemon: &Connection, errors: &mut Writer, error: Error) -> Exit {
    failed(daemon, errors, &PREPARE, b"", error)
}

/// Connects, and moves what this tool needs above the numbers of that many descriptors: the kernel gives
/// the lowest free number to what is received. Raises the limit on open files if it is too low for that.
fn make_way(
    daemon: &mut Connection,
    signals: &mut Option<Signals>,
    count: usize,
    order: &Order,
    open_files: &OpenFiles,
) -> Result<(), Error> {
    let end = FIRST + count as u32;
    // Two more numbers: for the connection, and for the signals, what is received again when it is deleted,
    // or what tells the unique id.
    open_files.allow(u64::from(end) + 2);
    daemon.connect_from(end + u32::from(order.waits || order.deletes))?;
    let Some(signals) = signals else { return Ok(()) };
    signals.move_to(|fd| open_files.copy_from(fd, end))?;
    daemon.set_interrupt(Some(signals.descriptor()));
    Ok(())
}

/// Retrieves all of them, each to its number. They are left open to the program.
fn retrieve(
    daemon: &mut Connection,
    frame: &mut Frame,
    wanted: &Wanted,
    errors: &mut Writer,
) -> Result<(), Exit> {
    for (number, identifier) in (FIRST..).zip(wanted.identifiers.iter()) {
        let place = BorrowedFd::named(number);
        if place.is_open().is_ok() {
            let line = errors.fatal().text("number ").number(number);
            line.text(" is open already, but is to be id ").quoted(identifier);
            return Err(line.end(Exit::USAGE));
        }
        let retrieved = daemon.retrieve(frame, identifier, false);
        let placed = retrieved.and_then(|fd| Ok(put(fd, place)?));
        placed.map_err(|error| failed(daemon, errors, &RETRIEVE, identifier, error))?;
    }
    Ok(())
}

/// Gives a descriptor to the program under the number of `place`, which is free or its own.
fn put(fd: Fd, place: BorrowedFd) -> Result<(), Errno> {
    if fd.borrow() != place {
        return fd.borrow().put_at(place, false);
    }
    fd.leave_to_program();
    Ok(())
}

/// The environment of the program: the inherited one, without the variables that describe other
/// descriptors, and with those that describe these.
fn environment(
    convention: Convention,
    wanted: &Wanted,
    inherited: Strings,
) -> Result<Builder, Errno> {
    let strings = inherited.count() + convention.variables(wanted.names.len());
    let mut environment = Builder::new(strings).ok_or(Errno::NOMEM)?;
    for string in inherited {
        if !activation::is_variable(string.to_bytes()) {
            environment.add(string);
        }
    }
    let unique = if convention == Convention::Systemd { own::unique_id() } else { None };
    let identity = Identity { process: own::id(), parent: own::parent(), unique };
    let address = |number| Address::of(&socket::describe(BorrowedFd::named(number)).ok()?);
    convention.describe(&wanted.names, &address, identity, &mut environment);
    Ok(environment)
}
