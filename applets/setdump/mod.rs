//! `s6-fdholder-setdump`: what the environment describes, into a daemon.

use crate::client::{Delivery, Peer, Side};
use crate::exit::{self, Exit};
use crate::getopt::{Arguments, number};
use crate::message::{ENTRIES_MAX, IDENTIFIER_MAX};
use crate::pool;
use crate::socket::Error;
use crate::sys::text::Text;
use crate::sys::vector::Vector;
use crate::sys::{self, Time};
use crate::tai::{self, Label};
use crate::text::{Message, text};
use crate::variables::{COUNT, NAMES, numbered, value};

static SET: Side = Side {
    progress: text!(" descriptors reached the daemon"),
    ..Side::only(text!("connect to a fd-holder daemon at "), text!("set dump"))
};

/// The values of the variables of an entry, as far as they are set.
type Row = [Option<Text>; 3];

pub fn run(arguments: &mut Arguments) -> Exit {
    let timeout = arguments.timeout();
    let mut daemon = Peer::about(&SET, arguments.operand(), timeout, Text::EMPTY);
    let rows = rows(arguments.environment, &daemon);
    let now = sys::now();
    for (index, row) in rows.iter().enumerate() {
        let (fd, ..) = entry(row, index, now);
        sys::is_open(fd).unwrap_or_else(|errno| daemon.fail(Error::local(errno)));
    }
    let mut delivery = Delivery::new(&mut daemon);
    delivery.begin(rows.len());
    let Some(composer) = pool::composer() else { return Exit::SYSTEM };
    let mut index = 0;
    for rows in rows.chunks(ENTRIES_MAX) {
        composer.begin();
        for row in rows {
            let (fd, identifier, expiry) = entry(row, index, now);
            composer.add(fd as i32, expiry, identifier);
            index += 1;
        }
        let (frame, control) = composer.frame();
        delivery.send_frame(frame, control, rows.len());
    }
    Exit::SUCCESS
}

/// Says what is wrong with a variable, and ends the process.
fn wrong(before: Message, name: Text, index: Option<usize>, behind: Message) -> ! {
    let line = exit::fatal().text(before).name(name);
    if let Some(index) = index {
        line.number(index as u32);
    }
    line.text(behind).end(Exit::USAGE)
}

/// Finds the variables of as many entries as `S6_FD#` says.
fn rows(mut environment: Vector, daemon: &Peer) -> &'static [Row] {
    let all = environment;
    let Some(count) = environment.find_map(|variable| value(variable, COUNT)) else {
        wrong(text!(""), COUNT, None, text!(" not set"))
    };
    let Some(wanted) = number(count) else { wrong(text!("invalid $"), COUNT, None, text!("")) };
    // Each has variables of its own; if there are too few of them, one will be found missing.
    let known = all.count().min(wanted as usize);
    let rows = sys::map_texts(known).unwrap_or_else(|errno| daemon.fail(Error::local(errno)));
    for variable in all {
        for (column, name) in NAMES.iter().enumerate() {
            let Some((index, value)) = numbered(variable, *name) else { continue };
            let row: Option<&mut Row> = rows.get_mut(index);
            // Of equal ones the first counts, as for getenv.
            if let Some(row) = row {
                row[column].get_or_insert(value);
            }
        }
    }
    if known < wanted as usize {
        let missing = rows.iter().position(|row| row[0].is_none()).unwrap_or(known);
        wrong(text!(""), NAMES[0], Some(missing), text!(" not set"));
    }
    rows
}

/// What a row says: the descriptor, the identifier and the expiry.
fn entry([fd, identifier, limit]: &Row, index: usize, now: Time) -> (u32, Text, Label) {
    let missing = |name| -> Text { wrong(text!(""), name, Some(index), text!(" not set")) };
    let invalid = |name| wrong(text!("invalid $"), name, Some(index), text!(""));
    let Some(fd) = number(fd.unwrap_or_else(|| missing(NAMES[0]))) else { invalid(NAMES[0]) };
    let identifier = identifier.unwrap_or_else(|| missing(NAMES[1]));
    if !(1..=IDENTIFIER_MAX).contains(&identifier.count()) {
        invalid(NAMES[1]);
    }
    let expiry = match limit {
        Some(limit) => match label(*limit) {
            Some(expiry) => expiry,
            None => invalid(NAMES[2]),
        },
        // Each has another one: the C daemons do not bear equal dates.
        None => tai::never(Time { seconds: now.seconds.wrapping_add(index as i64), ..now }),
    };
    (fd, identifier, expiry)
}

/// `@` and 24 hexadecimal digits that are a valid date.
fn label(mut text: Text) -> Option<Label> {
    let mut label = [0; 12];
    if text.pop() != b'@' {
        return None;
    }
    for byte in &mut label {
        for _ in 0..2 {
            *byte = *byte << 4 | char::from(text.pop()).to_digit(16)? as u8;
        }
    }
    if text.is_empty() && tai::is_valid(&label) { Some(label) } else { None }
}
