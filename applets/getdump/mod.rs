//! `s6-fdholder-getdump`: a program with everything that a daemon holds.

use crate::client::{Dump, Peer, Side};
use crate::exec;
use crate::exit::{Exit, hexadecimal};
use crate::fd;
use crate::getopt::Arguments;
use crate::message::{Entry, HEADER, IDENTIFIER_MAX};
use crate::pool;
use crate::socket::Error;
use crate::sys::text::Text;
use crate::sys::vector::{Builder, Vector};
use crate::sys::{self, CONTROL_HEADER, Errno};
use crate::tai;
use crate::text::text;
use crate::variables::{COUNT, NAMES, numbered, value};

static GET: Side = Side::only(text!("connect to a fd-holder daemon at "), text!("get dump"));

/// The most bytes of the three variables of one, with four numbers of up to ten digits.
const BYTES: usize = 6 + 8 + 11 + 4 * 10 + 3 * "=.".len() + IDENTIFIER_MAX + "@".len() + 24;

pub fn run(arguments: &mut Arguments) -> Exit {
    let timeout = arguments.timeout();
    let mut daemon = Peer::about(&GET, arguments.operand(), timeout, Text::EMPTY);
    let program = arguments.program();
    let limit = sys::open_file_limit();
    fd::raise_limit();
    let Some(window) = pool::take() else { return Exit::SYSTEM };
    let mut dump = Dump::new(&mut daemon);
    let total = dump.get(window, || 0);
    let mut environment = others(arguments.environment, total)
        .unwrap_or_else(|errno| dump.fail(Error::local(errno)));
    let mut index = 0;
    loop {
        while let Some((frame, control, _)) = window.take() {
            let mut payload = &frame[HEADER + 1..];
            for fd in &control[CONTROL_HEADER..] {
                let Some((entry, rest)) = Entry::parse(payload) else { break };
                payload = rest;
                describe(&mut environment, index, *fd, entry);
                index += 1;
            }
        }
        // They belong to the program now.
        window.forget();
        if dump.is_complete() {
            break;
        }
        dump.fill(window);
    }
    sys::set_open_file_limit(limit);
    exec::execute(program, environment.finish())
}

/// The environment without the variables that this dump is described in, and room for those.
fn others(environment: Vector, total: usize) -> Result<Builder, Errno> {
    let strings = total.checked_mul(3).ok_or(Errno::NOMEM)?;
    let bytes = total.checked_mul(BYTES).ok_or(Errno::NOMEM)?;
    let mut builder = Builder::new(environment.count() + 1 + strings, 32 + bytes)?;
    builder.push(COUNT).push([b'=']).number(total).end();
    for variable in environment {
        let is_in_the_way =
            |name| numbered(variable, name).is_some_and(|(index, _)| index < total);
        if value(variable, COUNT).is_none() && !NAMES.into_iter().any(is_in_the_way) {
            builder.add(variable);
        }
    }
    Ok(builder)
}

/// Adds the variables of an entry, and leaves its descriptor to the program.
fn describe(environment: &mut Builder, index: usize, fd: i32, entry: Entry) {
    let [number, id, limit] = NAMES;
    sys::keep_on_exec(fd);
    environment.push(number).number(index).push([b'=']).number(fd as usize).end();
    let identifier = entry.identifier.iter().copied();
    environment.push(id).number(index).push([b'=']).push(identifier).end();
    if !tai::is_never(entry.expiry, sys::now()) {
        let digits = entry.expiry.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        environment.push(limit).number(index).push(*b"=@").push(digits.map(hexadecimal)).end();
    }
}
