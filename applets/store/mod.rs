//! `s6-fdholder-store`: an open descriptor, into a daemon.

use crate::applets::options::store as option;
use crate::client::{Peer, Side};
use crate::exit::Exit;
use crate::getopt::Arguments;
use crate::socket::Error;
use crate::sys::text::Text;
use crate::sys::{self, CONTROL_HEADER};
use crate::tai;
use crate::text::text;

static STORE: Side = Side::only(text!("connect to a fd-holder daemon at "), text!("store fd"));

pub fn run(arguments: &mut Arguments) -> Exit {
    let (mut fd, mut timeout, mut expire) = (0, 0, 0);
    while let Some(letter) = arguments.option() {
        let place = match letter {
            option::FD => &mut fd,
            option::EXPIRE => &mut expire,
            _ => &mut timeout,
        };
        *place = arguments.number();
    }
    let (path, identifier) = (arguments.operand(), arguments.operand());
    let mut daemon = Peer::about(&STORE, path, timeout, Text::EMPTY);
    // A number that is not open now might be that of the connection.
    sys::is_open(fd).unwrap_or_else(|errno| daemon.fail(Error::local(errno)));

    let mut head = [b'S'; 13];
    let (_, expiry) = head.split_at_mut(1);
    expiry.copy_from_slice(&tai::after(expire, sys::now()));
    let mut control = [0; CONTROL_HEADER + 1];
    control[CONTROL_HEADER] = fd as i32;
    sys::set_control_header(&mut control);
    daemon.ask(&head, identifier, &control);
    daemon.reply(0, 0);
    Exit::SUCCESS
}
