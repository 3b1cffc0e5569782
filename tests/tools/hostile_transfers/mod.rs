//! Transfers with sources and destinations whose answers are invalid, missing or unusual.

mod destinations;
mod sources;
mod unusual_answers;

use crate::kit::fake::{
    Step::{self, Receive},
    after_request, bytes, opened,
};
use crate::kit::tool::Ended;
use crate::kit::wire::{frame, label};

/// Lengths that no valid frame has.
const HUGE: [u32; 3] = [1 << 28, (1 << 28) + 1, u32::MAX];

const CLOSED: &str = "connection closed";
const NO_ANSWER: &str = "connection closed without an answer: is this user allowed to connect?";
const PROTOCOL: &str = "Protocol error";
const TIMEOUT: &str = "Connection timed out";
const EAGAIN: u8 = 11;

/// A valid expiry.
fn expiry() -> [u8; 12] {
    label((1 << 62) + 4_000_000_000, 0)
}

/// The header of a frame.
fn head(length: u32, descriptors: u16) -> Vec<u8> {
    [&length.to_be_bytes()[..], &descriptors.to_be_bytes()].concat()
}

/// The timeouts of a case: short ones if the peer stalls.
fn options(reason: &str) -> [&'static str; 2] {
    ["-t", if reason == TIMEOUT { "200:200" } else { "5000:5000" }]
}

/// Errors that a daemon may answer with, and their texts. The tool has no text for the last two.
const ERRORS: [(u8, &str); 5] = [
    (16, "Device or resource busy"),
    (23, "Too many open files in system"),
    (71, "Protocol error"),
    (133, "error 133"),
    (255, "error 255"),
];

/// Compares two values, and records a difference.
fn compare<T: PartialEq + std::fmt::Debug>(
    wrong: &mut Vec<String>,
    name: &str,
    found: T,
    expected: T,
) {
    if found != expected {
        wrong.push(format!("{name}: {found:?}\n    instead of {expected:?}"));
    }
}

fn ending(ended: &Ended) -> (i32, &str, &[u8]) {
    (ended.code, &ended.err, &ended.out)
}

fn no_differences(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

/// The opening of a set dump of `total` entries.
fn opening(total: usize) -> Vec<u8> {
    frame(&[b"!", &(total as u32).to_be_bytes()[..]].concat(), 0)
}

/// The script of a destination that accepts the opening, receives a frame and then does these steps.
fn accepts(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    after_request([bytes(opened(1)), Receive].into_iter().chain(steps))
}
