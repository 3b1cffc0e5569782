//! `s6-fdholder-getdump`: a program with everything that a daemon holds.

use crate::client::{Dump, Peer, Side};
use crate::exec;
use crate::exit::{self, hexadecimal};
use crate::fd;
use crate::getopt::Arguments;
use crate::message::{Entry, HEADER};
use crate::pool;
use crate::socket::Error;
use crate::sys::text::Text;
use crate::sys::vector::Builder;
use crate::sys::{self, CONTROL_HEADER, Time};
use crate::tai;
use crate::text::text;
use crate::variables::{self, COUNT, FD, ID, LIMIT, Variable};

/// The most bytes of the variables of an entry, but for its identifier: three names with numbers of ten
/// digits, a number, 25 bytes of an expiry, and the ends.
const NAMES_MAX: usize = 6 + 8 + 11 + 3 * (10 + 2) + 10 + 25;
/// The most bytes of the variable that says how many there are.
const COUNT_MAX: usize = 7 + 10 + 1;

static GET: Side = Side::only(text!("get dump"));

pub fn run(arguments: &mut Arguments) -> ! {
    let timeout = arguments.timeout();
    let mut daemon = Peer::new(&GET, arguments.operand(), timeout, Text::EMPTY);
    let program = arguments.program();
    fd::raise_limit();
    let window = pool::window();
    let now = sys::now().unwrap_or_else(|errno| exit::no_clock(errno));
    let mut dump = Dump::new(&mut daemon);
    let total = dump.get(window, None);
    let strings = total.saturating_mul(3).saturating_add(1 + arguments.environment.count());
    let environment = Builder::new(strings);
    let mut environment = environment.unwrap_or_else(|errno| dump.fail(Error::local(errno)));
    for string in arguments.environment {
        // What this dump is described in must not be there twice.
        let is_in_the_way = |it: Variable| it.kind == COUNT || it.index < total;
        if !variables::parse(string).is_some_and(is_in_the_way) {
            environment.add(string);
        }
    }
    let mut index = 0;
    loop {
        // An entry is longer than its identifier.
        let size = window.rest().len() + window.descriptors() * NAMES_MAX + COUNT_MAX;
        environment.make_room(size).unwrap_or_else(|errno| dump.fail(Error::local(errno)));
        // Each frame has been checked: there are as many entries as descriptors.
        while let Some((frame, control, _)) = window.take() {
            let Some(mut payload) = frame.get(HEADER + 1..) else { break };
            let Some(descriptors) = control.get(CONTROL_HEADER..) else { break };
            for fd in descriptors {
                let Some((entry, rest)) = Entry::parse(payload) else { break };
                payload = rest;
                describe(&mut environment, index, *fd, entry, now);
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
    environment.begin(variables::name(COUNT)).byte(b'=').number(total);
    let vector = environment.finish().unwrap_or_else(|errno| dump.fail(Error::local(errno)));
    exec::execute(program, vector)
}

/// Begins a variable whose name ends with a number.
fn variable(environment: &mut Builder, kind: usize, index: usize) -> &mut Builder {
    environment.begin(variables::name(kind)).number(index).byte(b'=')
}

/// Adds the variables of an entry, and leaves its descriptor to the program.
fn describe(environment: &mut Builder, index: usize, fd: i32, entry: Entry, now: Time) {
    sys::keep_on_exec(fd);
    variable(environment, FD, index).number(fd as usize);
    variable(environment, ID, index);
    for byte in entry.identifier {
        environment.byte(*byte);
    }
    if !tai::is_never(entry.expiry, now) {
        variable(environment, LIMIT, index).byte(b'@');
        for byte in entry.expiry {
            environment.byte(hexadecimal(byte >> 4)).byte(hexadecimal(byte & 15));
        }
    }
}
