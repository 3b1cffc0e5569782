//! `s6-fdholder-store`: stores an open descriptor in a daemon.

use crate::applets::options::store::Opt;
use crate::cli::exit::Exit;
use crate::cli::getopt::{Stop, number};
use crate::client::Connection;
use crate::client::failure::Wording;
use crate::io::error::Error;
use crate::process::Process;
use crate::protocol::frame::Frame;
use crate::protocol::tai;
use crate::sys::fd::BorrowedFd;
use crate::sys::time;
use core::ffi::CStr;

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
    let stored = store(&mut daemon, process.frame, fd, identifier, expire);
    Ok(daemon.conclude(&mut process.errors, &WORDING, b"", stored))
}

fn store(
    daemon: &mut Connection,
    frame: &mut Frame,
    fd: BorrowedFd,
    identifier: &CStr,
    expire: u32,
) -> Result<(), Error> {
    // If the number is closed now, the connection could get it.
    fd.is_open()?;
    // The label for "never" depends on the current time too.
    let expiry = tai::after(expire, time::now().map_err(Error::NoClock)?);
    let request = frame.request(b'S').entry(&expiry, identifier.to_bytes());
    // No daemon holds an identifier that is not valid. The exit code is that of a denial, as in C.
    let request = request.map_err(Error::Denied)?.finish(1);
    daemon.change(request, &[fd])
}
