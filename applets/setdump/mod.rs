//! `s6-fdholder-setdump`: what the environment describes, into a daemon.

use crate::client::{Delivery, Peer, Side};
use crate::exit::{self, Exit};
use crate::getopt::Arguments;
use crate::message::ENTRIES_MAX;
use crate::pool::{self, Composer};
use crate::socket::Error;
use crate::sys::text::Text;
use crate::sys::vector::Vector;
use crate::sys::{self, Errno, Time};
use crate::tai::{self, Label};
use crate::text::text;
use crate::variables::{self, COUNT, FD, ID, LIMIT, Variable};

static SET: Side =
    Side { progress: text!(" descriptors acknowledged"), ..Side::only(text!("set dump")) };

/// The values of the variables with the same number by kind, as far as they are set.
type Row = [Option<Text>; 3];

pub fn run(arguments: &mut Arguments) -> ! {
    let timeout = arguments.timeout();
    let mut daemon = Peer::new(&SET, arguments.operand(), timeout, Text::EMPTY);
    let (count, numbers) = count(arguments.environment);
    let Some(total) = count.and_then(Text::number) else { wrong(count, COUNT, 0) };
    let (total, composer) = (total as usize, pool::composer());
    let now = sys::now().unwrap_or_else(|errno| exit::no_clock(errno));
    // Behind as many rows as there are numbers of descriptors, one is missing: that row will do.
    let rows = sys::map_texts(total.min(numbers) + 1);
    let rows = rows.unwrap_or_else(|| daemon.fail(Error::local(Errno::NOMEM)));
    gather(arguments.environment, rows);
    // The daemon hears nothing before all is known to be right.
    for index in 0..total {
        composer.begin(b'.');
        let fd = compose(composer, rows, index, now);
        sys::is_open(fd).unwrap_or_else(|errno| daemon.fail(Error::local(errno)));
    }
    let mut delivery = Delivery::new(&mut daemon);
    delivery.begin(total);
    let mut index = 0;
    while index < total {
        composer.begin(b'.');
        while index < total && composer.descriptors() < ENTRIES_MAX {
            compose(composer, rows, index, now);
            index += 1;
        }
        delivery.send_composed(composer);
    }
    exit::success()
}

/// Says that a variable has a value that is not valid, or none, and ends the process.
fn wrong(value: Option<Text>, kind: usize, index: usize) -> ! {
    let line = exit::fatal();
    if value.is_some() {
        line.text(text!("invalid $"));
    }
    line.name(variables::name(kind));
    if kind != COUNT {
        line.number(index as u32);
    }
    if value.is_none() {
        line.text(text!(" not set"));
    }
    line.end(Exit::USAGE)
}

/// The value that says how many descriptors there are, if it is set, and how many numbers of
/// descriptors are.
fn count(environment: Vector) -> (Option<Text>, usize) {
    let (mut count, mut numbers) = (None, 0);
    for Variable { kind, value, .. } in environment.filter_map(variables::parse) {
        match kind {
            COUNT if count.is_none() => count = Some(value),
            FD => numbers += 1,
            _ => {}
        }
    }
    (count, numbers)
}

/// Puts the values of the variables that describe descriptors into their rows.
fn gather(environment: Vector, rows: &mut [Row]) {
    for string in environment {
        let Some(Variable { kind, index, value }) = variables::parse(string) else { continue };
        if let Some(place) = rows.get_mut(index).and_then(|row| row.get_mut(kind)) {
            // Of equal ones the first counts, as for getenv.
            place.get_or_insert(value);
        }
    }
}

/// Adds what a row says to a frame, or says what is wrong with it and ends the process. The result is
/// the descriptor.
fn compose(composer: &mut Composer, rows: &[Row], index: usize, now: Time) -> u32 {
    let Some([fd, identifier, limit]) = rows.get(index).copied() else { wrong(None, FD, index) };
    let Some(number) = fd.and_then(Text::number) else { wrong(fd, FD, index) };
    let expiry = match limit {
        Some(value) => label(value).unwrap_or_else(|| wrong(limit, LIMIT, index)),
        // Each has another one: the C daemons do not bear equal dates.
        None => tai::never(Time { seconds: now.seconds.wrapping_add(index as i64), ..now }),
    };
    composer.expiry(&expiry);
    if identifier.and_then(|value| composer.identifier(value).ok()).is_none() {
        wrong(identifier, ID, index);
    }
    composer.descriptor(number);
    number
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
