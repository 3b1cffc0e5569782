//! `s6-fdholder-retrieve`: a program with a descriptor that a daemon holds as standard input.

use crate::applets::options::retrieve as option;
use crate::client::{Peer, Side};
use crate::exec;
use crate::getopt::Arguments;
use crate::pool;
use crate::socket::Error;
use crate::sys;
use crate::text::text;

static RETRIEVE: Side = Side {
    progress: text!("; the daemon may no longer hold it"),
    ..Side::only(text!("retrieve fd for id "))
};

pub fn run(arguments: &mut Arguments) -> ! {
    let (mut delete, mut timeout) = (false, 0);
    while let Some(letter) = arguments.option() {
        match letter {
            option::DELETE => delete = true,
            _ => timeout = arguments.number(),
        }
    }
    let (path, identifier) = (arguments.operand(), arguments.operand());
    let program = arguments.program();
    let mut daemon = Peer::new(&RETRIEVE, path, timeout, identifier);
    let request = pool::composer();
    request.begin(b'R');
    request.byte(delete.into());
    let fd = daemon.retrieve(request, identifier, delete);
    sys::become_stdin(fd.number()).unwrap_or_else(|errno| daemon.fail(Error::local(errno)));
    exec::execute(program, arguments.environment)
}
