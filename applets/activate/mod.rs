//! `fdholder-activate`: a program with descriptors that a daemon holds, from number 3 on.

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
use crate::process::Process;
use crate::protocol::activation::{self, Convention, FIRST, Identity};
use crate::protocol::address::Address;
use crate::protocol::frame::Frame;
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::strings::{Builder, Strings};
use crate::sys::{Errno, process as own, socket};
use core::ffi::CStr;
use wanted::Wanted;

const LIST: Wording = Wording {
    advice: " (the right S6_FDHOLDER_LIST is missing)",
    ..Wording::only("get fd list", "")
};
const RETRIEVE: Wording = Wording {
    advice: " (the right S6_FDHOLDER_RETRIEVE_REGEX is missing)",
    ..Wording::only("retrieve fd for id ", "")
};
const DELETE: Wording = Wording {
    advice: " (the right S6_FDHOLDER_STORE_REGEX is missing)",
    ..Wording::only("delete fd for id ", "")
};
const PREPARE: Wording = Wording::only("prepare what prog gets", "");
const GONE: &str = "; the daemon may no longer hold the descriptors";

/// What the command line asks for.
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

/// All that has to be done. It comes back only if the program is not executed, for which a message says
/// why, or which SIGTERM has asked for.
fn activate(process: &mut Process, order: &Order) -> Result<Exit, Exit> {
    exec::require(process, order.program)?;
    let errors = &mut process.errors;
    let mut daemon = Connection::new(order.path, order.timeout, &process.open_files);
    let listed = wanted::list(&mut daemon, order.prefix);
    let listed = listed.map_err(|error| daemon.fail(errors, &LIST, b"", error))?;
    let wanted = Wanted::new(&order.ids, order.prefix, &listed);
    let wanted = wanted.map_err(|errno| daemon.fail(errors, &PREPARE, b"", errno.into()))?;
    if wanted.identifiers.is_empty() {
        let prefix = order.prefix.unwrap_or_default().to_bytes();
        let line = errors.fatal().text("no identifier begins with ").quoted(prefix);
        return Err(line.end(Exit::DENIED));
    }
    retrieve(&mut daemon, process.frame, &wanted, errors)?;
    let environment = environment(order.convention, &wanted.names, process.environment);
    let environment =
        environment.map_err(|errno| daemon.fail(errors, &PREPARE, b"", errno.into()))?;
    if order.waits {
        let waited = daemon.pause().and_then(|()| Ok(wait::wait(wanted.names.len())?));
        if !waited.map_err(|error| daemon.fail(errors, &PREPARE, b"", error))? {
            return Ok(Exit::SUCCESS);
        }
    }
    if order.deletes {
        delete(&mut daemon, process.frame, &wanted, errors)?;
    }
    let remark = if order.deletes { GONE } else { "" };
    Ok(exec::execute(process, order.program, environment, remark))
}

/// Retrieves all of them, each to its number. They are left open to the program.
fn retrieve(
    daemon: &mut Connection,
    frame: &mut Frame,
    wanted: &Wanted,
    errors: &mut Writer,
) -> Result<(), Exit> {
    let end = FIRST + wanted.identifiers.len() as u32;
    // The kernel gives the lowest free number to what is received: the connection makes way.
    let connected = daemon.connect_from(end);
    connected.map_err(|error| daemon.fail(errors, &PREPARE, b"", error))?;
    for (number, identifier) in (FIRST..).zip(wanted.identifiers.iter()) {
        let place = BorrowedFd::named(number);
        if place.is_open().is_ok() {
            let line = errors.fatal().text("number ").number(number);
            line.text(" is open already, but is to be id ").quoted(identifier);
            return Err(line.end(Exit::USAGE));
        }
        // No daemon holds anything under a name that is not valid: that counts as denied.
        let request = frame.retrieve(identifier, false).map_err(Error::Denied);
        let retrieved = request.and_then(|request| daemon.retrieve(request, false));
        let placed = retrieved.and_then(|fd| Ok(put(fd, place)?));
        placed.map_err(|error| daemon.fail(errors, &RETRIEVE, identifier, error))?;
    }
    Ok(())
}

/// Makes a descriptor the one that the program gets by that number, which is free, or its own.
fn put(fd: Fd, place: BorrowedFd) -> Result<(), Errno> {
    if fd.borrow() != place {
        return fd.borrow().put_at(place, false);
    }
    fd.leave_to_program();
    Ok(())
}

/// The environment of the program: the one that is there, but for what describes other descriptors, and
/// what describes these.
fn environment(
    convention: Convention,
    names: &[&[u8]],
    inherited: Strings,
) -> Result<Strings, Errno> {
    let strings = inherited.count() + convention.variables(names.len());
    let mut environment = Builder::new(strings).ok_or(Errno::NOMEM)?;
    for string in inherited {
        if !activation::is_variable(string.to_bytes()) {
            environment.add(string);
        }
    }
    let unique = if convention == Convention::Systemd { own::unique_id() } else { None };
    let identity = Identity { process: own::id(), parent: own::parent(), unique };
    let address = |number| Address::of(&socket::describe(BorrowedFd::named(number)).ok()?);
    convention.describe(names, &address, identity, &mut environment);
    environment.finish()
}

/// Has the daemon forget all of them. If it refuses the first one, it still holds all. After that the
/// program may be the only one to have them, so what cannot be deleted stays held, with a warning.
fn delete(
    daemon: &mut Connection,
    frame: &mut Frame,
    wanted: &Wanted,
    errors: &mut Writer,
) -> Result<(), Exit> {
    for (index, identifier) in wanted.identifiers.iter().enumerate() {
        let request = frame.delete(identifier).map_err(Error::Denied);
        let Err(error) = request.and_then(|request| daemon.change(request, &[])) else { continue };
        let is_refused = matches!(error, Error::Denied(_));
        if is_refused && index == 0 {
            return Err(daemon.fail(errors, &DELETE, identifier, error));
        }
        let line = errors.message().text("warning: unable to delete fd for id ");
        error.explain(line.quoted(identifier));
        if is_refused {
            line.end_line();
        } else {
            line.text("; the daemon may still hold it and what comes behind it").end_line();
            break;
        }
    }
    Ok(())
}
