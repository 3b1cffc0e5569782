//! `s6-fdholder-delete`: a daemon forgets a descriptor.

use crate::client::{Peer, Side};
use crate::getopt::Arguments;
use crate::pool;
use crate::text::text;

static DELETE: Side =
    Side { progress: text!("; it may have been done"), ..Side::only(text!("delete fd for id ")) };

pub fn run(arguments: &mut Arguments) -> ! {
    let timeout = arguments.timeout();
    let (path, identifier) = (arguments.operand(), arguments.operand());
    let mut daemon = Peer::new(&DELETE, path, timeout, identifier);
    let request = pool::composer();
    request.begin(b'D');
    daemon.settle(request, identifier)
}
