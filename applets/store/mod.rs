//! `s6-fdholder-store`: stores an open descriptor in a daemon.

use crate::applets::options::store::Opt;
use crate::cli::exit::Exit;
use crate::cli::getopt::{Stop, number};
use crate::client::Connection;
use crate::client::failure::Wording;
use crate::io::error::Error;
use crate::process::Process;
use crate::sys::fd::BorrowedFd;

const WORDING: Wording = Wording::only("store fd", "; it may have been done");

pub fn run(process: &mut Process) -> Result<Exit, Stop> {
    let (mut fd, mut timeout, mut expire) = (process.input, 0, 0);
    while let Some(option) = Opt::next(&mut process.arguments)? {
        match option {
            Opt::Fd(value) => fd = BorrowedFd::named(number(value)?),
            Opt::Timeout(value) => timeout = number(value)?,
            Opt::Expire(value) => expire = number(value)?,
        }
    }
    let (path, identifier) = (process.arguments.operand()?, process.arguments.operand()?);
    let mut daemon = Connection::new(path, timeout, &process.open_files);
    // A number that is not open now might be that of the connection.
    let stored = fd.is_open().map_err(Error::from);
    let identifier = identifier.to_bytes();
    let stored = stored.and_then(|()| daemon.store(process.frame, fd, identifier, expire));
    Ok(daemon.conclude(&mut process.errors, &WORDING, b"", stored))
}
