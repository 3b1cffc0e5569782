//! `s6-fdholder-delete`: a daemon forgets a descriptor.

use crate::client::{Peer, Side};
use crate::exit::Exit;
use crate::getopt::Arguments;
use crate::text::text;

static DELETE: Side = Side::only(text!("connect to a fd-holder daemon at "), text!("delete fd for id "));

pub fn run(arguments: &mut Arguments) -> Exit {
    let timeout = arguments.timeout();
    let (path, identifier) = (arguments.operand(), arguments.operand());
    let mut daemon = Peer::about(&DELETE, path, timeout, identifier);
    daemon.ask(b"D", identifier, &[]);
    daemon.reply(0, 0);
    Exit::SUCCESS
}
