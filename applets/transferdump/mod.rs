//! `s6-fdholder-transferdump`: everything that one daemon holds, into another.

use crate::applets::options::transferdump as option;
use crate::client::{Delivery, Dump, Peer, Side};
use crate::exit::{self, Exit};
use crate::getopt::Arguments;
use crate::pool;
use crate::sys::text::Text;
use crate::text::{Phrase, text};

const PROGRESS: Phrase = text!(" descriptors acknowledged, the source still holds all");

static SOURCE: Side = Side {
    connect: text!("connect to a source fd-holder daemon at "),
    transfer: text!("get dump from the source fd-holder daemon at "),
    progress: PROGRESS,
    right: Some(text!("S6_FDHOLDER_GETDUMP")),
    exit: Exit::DENIED,
};

static DESTINATION: Side = Side {
    connect: text!("connect to a destination fd-holder daemon at "),
    transfer: text!("set dump in the destination fd-holder daemon at "),
    progress: PROGRESS,
    right: Some(text!("S6_FDHOLDER_SETDUMP")),
    exit: Exit::DESTINATION,
};

/// Copies everything. Whichever side fails, that ends the process with a message.
///
/// The destination can be connected to while the source answers. It is not asked anything before
/// all that there is room for has been received and checked.
pub fn run(arguments: &mut Arguments) -> ! {
    let (mut from, mut to) = (0, 0);
    while let Some(letter) = arguments.option() {
        if letter == option::TIMEOUT {
            (from, to) =
                timeouts(arguments.value).unwrap_or_else(|| arguments.applet.wrong_usage());
        }
    }
    let window = pool::window();
    let (source, destination) = (arguments.operand(), arguments.operand());
    let mut source = Peer::new(&SOURCE, source, from, source);
    let mut destination = Peer::new(&DESTINATION, destination, to, destination);
    let (mut dump, mut delivery) = (Dump::new(&mut source), Delivery::new(&mut destination));
    let total = dump.get(window, Some(&mut delivery));
    delivery.begin(total);
    loop {
        delivery.send(window);
        if dump.is_complete() {
            break;
        }
        dump.fill(window);
    }
    exit::success()
}

/// The milliseconds for both sides, out of `timeoutfrom:timeoutto`. Either number may be missing,
/// and the second one together with the colon.
fn timeouts(value: Text) -> Option<(u32, u32)> {
    let (from, mut rest) = value.decimal();
    let mut to = 0;
    if rest.first() == b':' {
        rest.pop();
        (to, rest) = rest.decimal();
    }
    if value.is_empty() || !rest.is_empty() { None } else { Some((from, to)) }
}
