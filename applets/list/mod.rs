//! `s6-fdholder-list`: the identifiers of what a daemon holds.

use crate::client::{Peer, Side};
use crate::exit::{self, Exit};
use crate::getopt::Arguments;
use crate::sys::text::Text;
use crate::text::text;

static LIST: Side = Side::only(text!("get fd list"));

pub fn run(arguments: &mut Arguments) -> ! {
    let timeout = arguments.timeout();
    let mut daemon = Peer::new(&LIST, arguments.operand(), timeout, Text::EMPTY);
    exit::require_output();
    let out = exit::answer();
    daemon.list(out);
    out.close(Exit::SUCCESS)
}
