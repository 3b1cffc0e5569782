//! `s6-fdholderd`: the daemon, on a socket that is already listening.

use crate::applets::options::fdholderd::Opt;
use crate::cli::exit::Exit;
use crate::cli::getopt::{Stop, number};
use crate::daemon::access::Source;
use crate::daemon::{Settings, start};
use crate::process::Process;

pub fn run(process: &mut Process) -> Result<Exit, Stop> {
    let mut settings = Settings::DEFAULT;
    while let Some(option) = Opt::next(&mut process.arguments)? {
        set(&mut settings, option)?;
    }
    let rules = settings.rules.ok_or(Stop)?;
    if let Err(exit) = require_output(process, &settings) {
        return Ok(exit);
    }
    Ok(serve(process, &settings, rules))
}

/// Takes one option of the daemon.
pub fn set(settings: &mut Settings, option: Opt) -> Result<(), Stop> {
    match option {
        Opt::Ready => settings.says_ready = true,
        Opt::Rules(path) => settings.rules = Some(Source::Directory(path)),
        Opt::RulesFile(path) => settings.rules = Some(Source::File(path)),
        Opt::Verbosity(value) => settings.verbosity = number(value)?,
        Opt::Clients(value) => settings.clients = number(value)?,
        Opt::Descriptors(value) => settings.held = number(value)?,
        Opt::Timeout(value) => settings.timeout = number(value)?,
        Opt::LameDuck(value) => settings.lame_duck = number(value)?,
    }
    Ok(())
}

/// Becomes the daemon. Messages have this name even if `s6-fdholder-daemon` was called.
pub fn serve(process: &mut Process, settings: &Settings, rules: Source) -> Exit {
    process.errors.set_name(c"s6-fdholderd");
    start::serve(process, settings, rules)
}

/// With -1, checks that standard output is open; otherwise the reader would wait forever. Prints a
/// message if it is closed. It must be called before any descriptor is opened, which could get number
/// 1.
pub fn require_output(process: &mut Process, settings: &Settings) -> Result<(), Exit> {
    match process.out.require() {
        Err(errno) if settings.says_ready => Err(process.errors.output_failed(errno)),
        _ => Ok(()),
    }
}
