//! `s6-fdholder-delete`: deletes a descriptor from a daemon.

use crate::applets::options::delete::Opt;
use crate::cli::exit::Exit;
use crate::cli::getopt::{Stop, number};
use crate::client::Connection;
use crate::client::failure::Wording;
use crate::process::Process;

const WORDING: Wording = Wording::only("delete fd for id ", "; it may have been done");

pub fn run(process: &mut Process) -> Result<Exit, Stop> {
    let mut timeout = 0;
    while let Some(option) = Opt::next(&mut process.arguments)? {
        match option {
            Opt::Timeout(value) => timeout = number(value)?,
        }
    }
    let (path, identifier) = (process.arguments.operand()?, process.arguments.operand()?);
    let mut daemon = Connection::new(path, timeout, &process.open_files);
    let identifier = identifier.to_bytes();
    let deleted = daemon.delete(process.frame, identifier);
    Ok(daemon.conclude(&mut process.errors, &WORDING, identifier, deleted))
}
