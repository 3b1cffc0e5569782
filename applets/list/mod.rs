//! `s6-fdholder-list`: prints the identifiers that a daemon holds.

use crate::applets::options::list::Opt;
use crate::cli::exit::Exit;
use crate::cli::getopt::{Stop, number};
use crate::client::Connection;
use crate::client::failure::Wording;
use crate::process::Process;
use core::slice::from_ref;

const WORDING: Wording = Wording::only("get fd list", "");

pub fn run(process: &mut Process) -> Result<Exit, Stop> {
    let mut timeout = 0;
    while let Some(option) = Opt::next(&mut process.arguments)? {
        match option {
            Opt::Timeout(value) => timeout = number(value)?,
        }
    }
    let path = process.arguments.operand()?;
    let mut daemon = Connection::new(path, timeout, &process.open_files);
    if let Err(errno) = process.out.require() {
        return Ok(process.errors.output_failed(errno));
    }
    let out = &mut process.out;
    let listed = daemon.request_list().and_then(|announced| {
        daemon.list(announced, &mut |piece| {
            for byte in piece {
                match byte {
                    0 => out.byte(b'\n'),
                    byte => out.quoted(from_ref(byte)),
                };
            }
            Ok(out.status()?)
        })
    });
    // An output error is reported before an error of the daemon.
    if let Err(errno) = process.out.flush() {
        return Ok(process.errors.output_failed(errno));
    }
    Ok(daemon.conclude(&mut process.errors, &WORDING, b"", listed))
}
