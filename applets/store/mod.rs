//! `s6-fdholder-store`: an open descriptor, into a daemon.

use crate::applets::options::store as option;
use crate::client::{Peer, Side};
use crate::exit;
use crate::getopt::Arguments;
use crate::pool;
use crate::socket::Error;
use crate::sys;
use crate::sys::text::Text;
use crate::tai;
use crate::text::text;

static STORE: Side =
    Side { progress: text!("; it may have been done"), ..Side::only(text!("store fd")) };

pub fn run(arguments: &mut Arguments) -> ! {
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
    let mut daemon = Peer::new(&STORE, path, timeout, Text::EMPTY);
    // A number that is not open now might be that of the connection.
    sys::is_open(fd).unwrap_or_else(|errno| daemon.fail(Error::local(errno)));

    let request = pool::composer();
    request.begin(b'S');
    // Also a date that says "never" depends on the present.
    let now = sys::now().unwrap_or_else(|errno| exit::no_clock(errno));
    request.expiry(&tai::after(expire, now));
    request.descriptor(fd);
    daemon.settle(request, identifier)
}
