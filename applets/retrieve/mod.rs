//! `s6-fdholder-retrieve`: executes a program with a descriptor from a daemon as its standard input.

use crate::applets::options::retrieve::Opt;
use crate::cli::exit::Exit;
use crate::cli::getopt::{Stop, number};
use crate::client::Connection;
use crate::client::failure::Wording;
use crate::exec;
use crate::io::error::Error;
use crate::process::Process;
use crate::sys::fd::STDIN;

const WORDING: Wording = Wording::only("retrieve fd for id ", GONE);
const GONE: &str = "; the daemon may no longer hold it";

pub fn run(process: &mut Process) -> Result<Exit, Stop> {
    let (mut deletes, mut timeout) = (false, 0);
    while let Some(option) = Opt::next(&mut process.arguments)? {
        match option {
            Opt::Delete => deletes = true,
            Opt::Timeout(value) => timeout = number(value)?,
        }
    }
    let (path, identifier) = (process.arguments.operand()?, process.arguments.operand()?);
    let program = process.arguments.program()?;
    let mut daemon = Connection::new(path, timeout, &process.open_files);
    let identifier = identifier.to_bytes();
    let fd = match daemon.retrieve(process.frame, identifier, deletes) {
        Ok(fd) => fd,
        Err(error) => {
            return Ok(daemon.fail(&mut process.errors, &WORDING, identifier, error));
        }
    };
    let remark = if deletes { GONE } else { "" };
    // The received descriptor is close-on-exec. Its copy, standard input, is not.
    if let Err(errno) = fd.borrow().put_at(STDIN, false) {
        let error = Error::System(errno);
        let line = daemon.report(&mut process.errors, &WORDING, identifier, error);
        return Ok(line.text(remark).end(error.exit(WORDING.blame)));
    }
    Ok(exec::execute(process, program, process.environment, remark))
}
