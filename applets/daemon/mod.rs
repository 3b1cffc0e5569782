//! `s6-fdholder-daemon`: makes a listening socket, drops privileges, and becomes `s6-fdholderd`.

use crate::applets::fdholderd::{require_output, serve, set};
use crate::applets::options::daemon::Opt;
use crate::applets::options::fdholderd::Opt as Common;
use crate::cli::exit::Exit;
use crate::cli::getopt::{Stop, number};
use crate::cli::output::Writer;
use crate::daemon::Settings;
use crate::daemon::listener::{self, Failure, Privileges};
use crate::io::listener::BACKLOG;
use crate::process::Process;
use crate::sys::strings::Strings;
use core::ffi::CStr;

pub fn run(process: &mut Process) -> Result<Exit, Stop> {
    let mut settings = Settings::DEFAULT;
    let mut privileges = Privileges::UNCHANGED;
    let (mut backlog, mut replaces) = (BACKLOG, true);
    while let Some(option) = Opt::next(&mut process.arguments)? {
        match option {
            Opt::Replace => replaces = true,
            Opt::NoReplace => replaces = false,
            Opt::Backlog(value) => backlog = number(value)?,
            Opt::User(value) => privileges.set_user(value.to_bytes()).ok_or(Stop)?,
            Opt::Group(value) => privileges.set_group(value.to_bytes()).ok_or(Stop)?,
            Opt::Groups(value) => privileges.set_groups(value.to_bytes()).ok_or(Stop)?,
            Opt::Environment => {
                if from_environment(&mut privileges, process.environment).is_none() {
                    let line = process.errors.fatal().text("UID, GID or GIDLIST is not valid");
                    return Ok(line.end(Exit::USAGE));
                }
            }
            Opt::Ready => set(&mut settings, Common::Ready)?,
            Opt::Verbosity(value) => set(&mut settings, Common::Verbosity(value))?,
            Opt::Clients(value) => set(&mut settings, Common::Clients(value))?,
            Opt::Descriptors(value) => set(&mut settings, Common::Descriptors(value))?,
            Opt::Timeout(value) => set(&mut settings, Common::Timeout(value))?,
            Opt::LameDuck(value) => set(&mut settings, Common::LameDuck(value))?,
            Opt::Rules(value) => set(&mut settings, Common::Rules(value))?,
            Opt::RulesFile(value) => set(&mut settings, Common::RulesFile(value))?,
        }
    }
    let path = process.arguments.operand()?;
    let rules = settings.rules.ok_or(Stop)?;
    if let Err(exit) = require_output(process, &settings) {
        return Ok(exit);
    }
    let listening = listener::listen(process.input, path, backlog, replaces, &process.open_files);
    if let Err(failure) = listening {
        return Ok(report(failure, path, &mut process.errors));
    }
    if let Err(errno) = privileges.assume() {
        let line = process.errors.fatal().text("unable to drop privileges");
        return Ok(line.reason(errno).end(Exit::SYSTEM));
    }
    Ok(serve(process, &settings, rules))
}

/// Prints why there is no listening socket.
fn report(Failure { errno, served_by }: Failure, path: &CStr, errors: &mut Writer) -> Exit {
    let line = errors.fatal().text("unable to bind to ").quoted(path.to_bytes()).reason(errno);
    if let Some(process) = served_by {
        line.text(" by a daemon that still serves what it holds");
        if process > 0 {
            line.text(", process ").number(process);
        }
    }
    line.end(Exit::SYSTEM)
}

/// Takes the user, the group and the supplementary groups from the environment. `None` if one is not
/// valid. GIDLIST may be missing.
fn from_environment(privileges: &mut Privileges, environment: Strings) -> Option<()> {
    let value = |name| environment.value(name).unwrap_or_default();
    privileges.set_user(value(b"UID="))?;
    privileges.set_group(value(b"GID="))?;
    privileges.set_groups(value(b"GIDLIST="))
}
