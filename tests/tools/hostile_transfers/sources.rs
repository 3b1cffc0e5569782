//! Sources whose answers are invalid or missing.

use super::{
    CLOSED, ERRORS, HUGE, NO_ANSWER, PROTOCOL, TIMEOUT, compare, ending, expiry, head,
    no_differences, options,
};
use crate::kit::fake::{
    Fake,
    Step::{self, AcceptDump, HangUp, Reset, Send},
    after_request, bytes, files_to_hold, frame_with, granted, source, status, transfer,
};
use crate::kit::wire::{entry, frame, label};
use crate::kit::{memfd, raise_open_file_limit};
use std::iter::repeat_with;
use std::os::fd::OwnedFd;

/// A source that fails: a name, its script, and the reason that the tool must report.
type Case = (&'static str, Vec<Step>, &'static str);

/// `count` files.
fn files(count: usize) -> Vec<OwnedFd> {
    repeat_with(memfd).take(count).collect()
}

/// The script of a source that announces `total` entries and then does these steps.
fn announces(total: usize, steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    after_request([bytes(granted(1, total))].into_iter().chain(steps))
}

/// Sources that fail while they answer the request.
fn bad_answers() -> Vec<Case> {
    let reply = granted(1, 1);
    let mut cases = vec![
        ("disconnects at once", vec![HangUp], NO_ANSWER),
        ("disconnects after the request", after_request([HangUp]), NO_ANSWER),
        ("resets the connection", vec![Reset], NO_ANSWER),
        ("does not answer", after_request([]), TIMEOUT),
        ("resets the connection inside the reply", vec![bytes(&reply[..7]), Reset], CLOSED),
        ("disconnects after 1 byte", after_request([bytes(&reply[..1]), HangUp]), CLOSED),
        ("disconnects after the header", after_request([bytes(&reply[..6]), HangUp]), CLOSED),
        ("disconnects after the status", after_request([bytes(&reply[..7]), HangUp]), CLOSED),
        ("disconnects before the last byte", after_request([bytes(&reply[..14]), HangUp]), CLOSED),
        ("stalls after the status", after_request([bytes(&reply[..7])]), TIMEOUT),
        ("disconnects after the reply", announces(1, [HangUp]), CLOSED),
        ("stalls after the reply", announces(1, []), TIMEOUT),
        ("answers with an empty frame", after_request([bytes(frame(&[], 0))]), PROTOCOL),
        ("denies with a byte too many", after_request([bytes(frame(&[1, 0], 0))]), PROTOCOL),
        (
            "denies in 9 bytes",
            after_request([bytes(frame(&[1, 0, 0, 0, 1, 0, 0, 0, 1], 0))]),
            PROTOCOL,
        ),
        ("denies with a descriptor", after_request([frame_with(&[1], 1, 1)]), PROTOCOL),
        (
            "announces a dump with a descriptor",
            after_request([frame_with(&reply[6..], 1, 1)]),
            PROTOCOL,
        ),
        ("announces 255 descriptors", after_request([frame_with(&reply[6..], 255, 0)]), PROTOCOL),
        (
            "announces an empty dump, with a descriptor",
            after_request([Send(granted(0, 0), files(1))]),
            PROTOCOL,
        ),
        (
            "announces one entry, with a descriptor",
            after_request([
                Send(reply.clone(), files(1)),
                frame_with(&entry(b"a", expiry()), 1, 1),
            ]),
            PROTOCOL,
        ),
        (
            "denies",
            after_request([bytes(status(1))]),
            "Operation not permitted (the right S6_FDHOLDER_GETDUMP is missing)",
        ),
    ];
    for (number, text) in ERRORS {
        cases.push((text, after_request([bytes(status(number))]), text));
    }
    for length in [1, 5, 8, 10, 200] {
        cases.push((
            "announces a dump in the wrong length",
            after_request([bytes(frame(&vec![0; length], 0))]),
            PROTOCOL,
        ));
    }
    for length in HUGE {
        let head = [head(length, 0), vec![0]].concat();
        cases.push(("announces a huge reply", after_request([bytes(head)]), PROTOCOL));
    }
    cases
}

/// Sources that fail while they send what they have announced.
fn bad_frames() -> Vec<Case> {
    let (a, b) = (entry(b"a", expiry()), entry(b"b", expiry()));
    let both = [&a[..], &b].concat();
    let behind = |extra: &[u8]| [&a[..], extra].concat();
    // A frame with this payload and one descriptor, where one entry is expected.
    let one = |payload: &[u8]| announces(1, [frame_with(payload, 1, 1)]);
    let expires = |seconds, nanoseconds| one(&entry(b"a", label(seconds, nanoseconds)));
    // An entry with a valid expiry, and these bytes from its length byte on.
    let named = |rest: &[u8]| one(&[&expiry()[..], rest].concat());
    // One write, with `count` descriptors on its first byte.
    let at_once = |parts: &[&[u8]], count| after_request([Send(parts.concat(), files(count))]);
    let frame_a = frame(&a, 1);
    let many: Vec<u8> = (0..254).flat_map(|n| entry(format!("{n}").as_bytes(), expiry())).collect();

    let mut full = source(&files_to_hold(3 * 253, 20));
    if let Some(Send(bytes, _)) = full.last_mut() {
        *bytes.last_mut().unwrap() = b'!';
    }

    let mut cases = vec![
        ("sends 2 of 3 and disconnects", announces(3, [frame_with(&both, 2, 2), HangUp]), CLOSED),
        ("sends 2 of 3 and stalls", announces(3, [frame_with(&both, 2, 2)]), TIMEOUT),
        (
            "sends 1 of 4294967295 and disconnects",
            announces(u32::MAX as usize, [frame_with(&a, 1, 1), HangUp]),
            CLOSED,
        ),
        (
            "disconnects inside a header",
            announces(1, [Send(frame_a[..3].into(), files(1)), HangUp]),
            CLOSED,
        ),
        (
            "disconnects behind a header",
            announces(1, [Send(frame_a[..6].into(), files(1)), HangUp]),
            CLOSED,
        ),
        (
            "disconnects inside a frame",
            announces(1, [Send(frame_a[..15].into(), files(1)), HangUp]),
            CLOSED,
        ),
        ("stalls inside a frame", announces(1, [Send(frame_a[..15].into(), files(1))]), TIMEOUT),
        ("sends a byte behind an entry", one(&behind(&[0])), PROTOCOL),
        ("sends 20 bytes behind an entry", one(&behind(&[7; 20])), PROTOCOL),
        ("sends a part of an entry behind an entry", one(&behind(&b[..8])), PROTOCOL),
        ("has 2 descriptors for 1 entry of 1", announces(1, [frame_with(&a, 2, 2)]), PROTOCOL),
        ("has 2 descriptors for 1 entry of 2", announces(2, [frame_with(&a, 2, 2)]), PROTOCOL),
        ("has 1 descriptor for 2 entries of 1", announces(1, [frame_with(&both, 1, 1)]), PROTOCOL),
        ("has 1 descriptor for 2 entries of 2", announces(2, [frame_with(&both, 1, 1)]), PROTOCOL),
        ("announces 2 descriptors and has 1", announces(2, [frame_with(&both, 2, 1)]), PROTOCOL),
        ("announces 1 descriptor and has 2", announces(1, [frame_with(&a, 1, 2)]), PROTOCOL),
        ("announces 1 descriptor and has none", announces(1, [frame_with(&a, 1, 0)]), PROTOCOL),
        ("announces no descriptor and has 1", announces(1, [frame_with(&a, 0, 1)]), PROTOCOL),
        ("announces no descriptor and has none", announces(1, [frame_with(&a, 0, 0)]), PROTOCOL),
        ("sends an empty frame", announces(1, [frame_with(&[], 0, 0)]), PROTOCOL),
        ("sends an empty frame with a descriptor", announces(1, [frame_with(&[], 1, 1)]), PROTOCOL),
        (
            "sends an empty frame behind a valid one",
            announces(2, [frame_with(&a, 1, 1), frame_with(&[], 0, 0)]),
            PROTOCOL,
        ),
        ("announces 254 descriptors", announces(254, [frame_with(&many, 254, 253)]), PROTOCOL),
        (
            "announces 65535 descriptors",
            announces(65535, [frame_with(&many, 65535, 253)]),
            PROTOCOL,
        ),
        ("sends more than it announced", announces(1, [frame_with(&both, 2, 2)]), PROTOCOL),
        (
            "sends a frame too many in the same write",
            announces(1, [Send(frame_a.repeat(2), files(2))]),
            PROTOCOL,
        ),
        (
            "sends a byte too many in the same write",
            announces(1, [Send([&frame_a[..], &[0]].concat(), files(1))]),
            PROTOCOL,
        ),
        (
            "announces an empty dump and sends a frame in the same write",
            at_once(&[&granted(0, 0), &frame_a], 1),
            PROTOCOL,
        ),
        (
            // No daemon does this: each sends every frame with a message of its own. The tool could only
            // guess which descriptor belongs to which frame.
            "sends the descriptors of two frames with the first",
            announces(2, [Send([frame(&a, 1), frame(&a, 1)].concat(), files(2))]),
            PROTOCOL,
        ),
        (
            "sends an invalid frame behind a valid one",
            announces(2, [frame_with(&a, 1, 1), frame_with(&a[1..], 1, 1)]),
            PROTOCOL,
        ),
        ("ends an identifier without NUL in the last of 3 full frames", full, PROTOCOL),
        ("has a NUL in an identifier", named(b"\x03a\0b\0"), PROTOCOL),
        ("has an identifier that is a NUL", named(b"\x01\0\0"), PROTOCOL),
        ("has a NUL at the end of an identifier", named(b"\x02a\0\0"), PROTOCOL),
        ("has an empty identifier", named(b"\0\0"), PROTOCOL),
        ("has an empty identifier and more", named(b"\0\0\0\0"), PROTOCOL),
        ("has no NUL behind an identifier", named(b"\x01ab"), PROTOCOL),
        ("ends before the NUL of an entry", named(b"\x02ab"), PROTOCOL),
        ("ends inside an identifier", named(b"\xffabc\0"), PROTOCOL),
        ("ends behind an expiry", named(b""), PROTOCOL),
        ("ends inside an expiry", one(&[64, 0, 0, 0, 0]), PROTOCOL),
        ("has a billion nanoseconds", expires(1 << 62, 1_000_000_000), PROTOCOL),
        ("has the most nanoseconds", expires(1 << 62, u32::MAX), PROTOCOL),
        ("has an expiry that is no valid label", expires(1 << 63, 0), PROTOCOL),
        ("has the largest expiry, which is no valid label", expires(u64::MAX, 0), PROTOCOL),
    ];
    for length in HUGE {
        cases.push((
            "announces a huge frame",
            announces(1, [Send(head(length, 1), files(1))]),
            PROTOCOL,
        ));
    }
    cases
}

/// Runs a transfer from each of these sources to a destination that accepts a dump. The destination must
/// receive nothing.
fn check_failing_sources(cases: Vec<Case>) {
    raise_open_file_limit();
    let mut wrong = Vec::new();
    for (name, script, reason) in cases {
        let (from, to) = (Fake::start(script), Fake::start(vec![AcceptDump]));
        let ended = transfer(&options(reason), &from.path, &to.path);
        let message = format!(
            "s6-fdholder-transferdump: fatal: unable to get dump from the source fd-holder daemon \
             at {}: {reason}\n",
            from.path.display()
        );
        compare(&mut wrong, name, ending(&ended), (1, &message, b""));
        let (from, to) = (from.seen(), to.seen());
        compare(&mut wrong, name, (to.bytes.len(), to.files.len()), (0, 0));
        let asked = from.bytes.is_empty() || from.bytes == frame(b"?", 0);
        compare(&mut wrong, name, (asked, from.files.len()), (true, 0));
    }
    no_differences(wrong);
}

#[test]
fn after_an_invalid_answer_of_the_source_the_destination_receives_nothing() {
    check_failing_sources(bad_answers());
}

#[test]
fn after_an_invalid_frame_of_the_source_the_destination_receives_nothing() {
    check_failing_sources(bad_frames());
}
