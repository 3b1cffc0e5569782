//! Transfers with sources and destinations whose answers are invalid, missing or unusual.

use crate::kit::fake::{
    Fake, Seen,
    Step::{self, AcceptDump, HangUp, Receive, Reset, Send, SendSlowly},
    after_request, bytes, files_to_hold, frame_with, frames, granted, opened, source, status,
    transfer,
};
use crate::kit::tool::Ended;
use crate::kit::wire::{self, Held, entry, frame, label};
use crate::kit::{memfd, raise_open_file_limit};
use std::iter::repeat_with;
use std::os::fd::OwnedFd;
use std::time::Duration;

const CLOSED: &str = "connection closed";
const NO_ANSWER: &str = "connection closed without an answer: is this user allowed to connect?";
const PROTOCOL: &str = "Protocol error";
const TIMEOUT: &str = "Connection timed out";
const EAGAIN: u8 = 11;

/// A source that fails: a name, its script, and the reason that the tool must report.
type Case = (&'static str, Vec<Step>, &'static str);

/// `count` files.
fn files(count: usize) -> Vec<OwnedFd> {
    repeat_with(memfd).take(count).collect()
}

/// A valid expiry.
fn expiry() -> [u8; 12] {
    label((1 << 62) + 4_000_000_000, 0)
}

/// The script of a source that announces `total` entries and then does these steps.
fn announces(total: usize, steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    after_request([bytes(granted(1, total))].into_iter().chain(steps))
}

/// The script of a destination that accepts the opening, receives a frame and then does these steps.
fn accepts(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    after_request([bytes(opened(1)), Receive].into_iter().chain(steps))
}

/// The header of a frame.
fn head(length: u32, descriptors: u16) -> Vec<u8> {
    [&length.to_be_bytes()[..], &descriptors.to_be_bytes()].concat()
}

/// The timeouts of a case: short ones if the peer stalls.
fn options(reason: &str) -> [&'static str; 2] {
    ["-t", if reason == TIMEOUT { "200:200" } else { "5000:5000" }]
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

/// Errors that a daemon may answer with, and their texts. The tool has no text for the last two.
const ERRORS: [(u8, &str); 5] = [
    (16, "Device or resource busy"),
    (23, "Too many open files in system"),
    (71, "Protocol error"),
    (133, "error 133"),
    (255, "error 255"),
];

/// Lengths that no valid frame has.
const HUGE: [u32; 3] = [1 << 28, (1 << 28) + 1, u32::MAX];

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

/// A destination that fails: a name, its script, the reason that the tool must report, the number of frames
/// of 253 entries, and the number of acknowledged entries if the set dump has begun.
type BadDestination = (&'static str, Vec<Step>, &'static str, usize, Option<usize>);

/// Destinations that fail.
fn bad_destinations() -> Vec<BadDestination> {
    let accepted = opened(1);
    let no_right = "Operation not permitted (the right S6_FDHOLDER_SETDUMP is missing)";
    let again = || bytes(status(EAGAIN));
    // Acknowledges `count` frames and then does these steps.
    let after = |count, steps: Vec<Step>| {
        let good = (0..count).flat_map(|_| [again(), Receive]);
        accepts(good.chain(steps))
    };
    let mut cases = vec![
        ("disconnects at once", vec![HangUp], NO_ANSWER, 1, None),
        ("disconnects after the opening", after_request([HangUp]), NO_ANSWER, 1, None),
        ("resets the connection", vec![Reset], NO_ANSWER, 1, None),
        ("does not answer", after_request([]), TIMEOUT, 1, None),
        (
            "disconnects after 1 byte",
            after_request([bytes(&accepted[..1]), HangUp]),
            CLOSED,
            1,
            None,
        ),
        (
            "disconnects after the header",
            after_request([bytes(&accepted[..6]), HangUp]),
            CLOSED,
            1,
            None,
        ),
        (
            "disconnects after the status",
            after_request([bytes(&accepted[..7]), HangUp]),
            CLOSED,
            1,
            None,
        ),
        (
            "disconnects before the last byte",
            after_request([bytes(&accepted[..10]), HangUp]),
            CLOSED,
            1,
            None,
        ),
        ("stalls after the status", after_request([bytes(&accepted[..7])]), TIMEOUT, 1, None),
        ("denies", after_request([bytes(status(1))]), no_right, 1, None),
        (
            "denies with a byte too many",
            after_request([bytes(frame(&[1, 0], 0))]),
            PROTOCOL,
            1,
            None,
        ),
        ("answers with an empty frame", after_request([bytes(frame(&[], 0))]), PROTOCOL, 1, None),
        (
            "announces 1 descriptor and has 1",
            after_request([frame_with(&accepted[6..], 1, 1)]),
            PROTOCOL,
            1,
            None,
        ),
        (
            "announces 1 descriptor and has none",
            after_request([frame_with(&accepted[6..], 1, 0)]),
            PROTOCOL,
            1,
            None,
        ),
        (
            "announces no descriptor and has 1",
            after_request([frame_with(&accepted[6..], 0, 1)]),
            PROTOCOL,
            1,
            None,
        ),
        ("disconnects after the frame", after(0, vec![HangUp]), CLOSED, 1, Some(0)),
        (
            "resets the connection after the frame",
            after_request([bytes(&accepted), Reset]),
            CLOSED,
            1,
            Some(0),
        ),
        (
            "disconnects inside the answer",
            after(0, vec![bytes(&status(0)[..6]), HangUp]),
            CLOSED,
            1,
            Some(0),
        ),
        ("does not answer the frame", after(0, vec![]), TIMEOUT, 1, Some(0)),
        ("stalls inside the answer", after(0, vec![bytes(&status(0)[..6])]), TIMEOUT, 1, Some(0)),
        ("denies the frame", after(0, vec![bytes(status(1))]), no_right, 1, Some(0)),
        ("expects another frame after the last", after(0, vec![again()]), PROTOCOL, 1, Some(0)),
        ("answers 0 in 2 bytes", after(0, vec![bytes(frame(&[0, 0], 0))]), PROTOCOL, 1, Some(0)),
        ("answers 0 in 5 bytes", after(0, vec![bytes(&accepted)]), PROTOCOL, 1, Some(0)),
        (
            "answers the frame with an empty frame",
            after(0, vec![bytes(frame(&[], 0))]),
            PROTOCOL,
            1,
            Some(0),
        ),
        (
            "denies the frame in 2 bytes",
            after(0, vec![bytes(frame(&[1, 1], 0))]),
            PROTOCOL,
            1,
            Some(0),
        ),
        (
            "answers the frame with a descriptor",
            after(0, vec![frame_with(&[0], 1, 1)]),
            PROTOCOL,
            1,
            Some(0),
        ),
        (
            "answers it with a descriptor that is not announced",
            after(0, vec![frame_with(&[0], 0, 1)]),
            PROTOCOL,
            1,
            Some(0),
        ),
        ("answers 0 before the last frame", after(0, vec![bytes(status(0))]), PROTOCOL, 3, Some(0)),
        ("denies the second of three", after(1, vec![bytes(status(1))]), no_right, 3, Some(253)),
        (
            "is full at the second of three",
            after(1, vec![bytes(status(23))]),
            ERRORS[1].1,
            3,
            Some(253),
        ),
        ("disconnects after the second of three", after(1, vec![HangUp]), CLOSED, 3, Some(253)),
        (
            "disconnects after it has acknowledged one of three",
            after(0, vec![again(), HangUp]),
            CLOSED,
            3,
            Some(253),
        ),
        ("does not answer the last of three", after(2, vec![]), TIMEOUT, 3, Some(506)),
        ("expects more than three frames", after(2, vec![again()]), PROTOCOL, 3, Some(506)),
    ];
    for (number, text) in ERRORS {
        cases.push((text, after_request([bytes(status(number))]), text, 1, None));
        cases.push((text, after(0, vec![bytes(status(number))]), text, 1, Some(0)));
    }
    for length in [1, 2, 4, 6, 9, 200] {
        let reply = frame(&vec![0; length], 0);
        cases.push((
            "accepts in the wrong length",
            after_request([bytes(reply)]),
            PROTOCOL,
            1,
            None,
        ));
    }
    for length in HUGE {
        let head = [head(length, 0), vec![0]].concat();
        cases.push(("announces a huge reply", after_request([bytes(&head)]), PROTOCOL, 1, None));
        cases.push(("announces a huge answer", after(0, vec![bytes(head)]), PROTOCOL, 1, Some(0)));
    }
    cases
}

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

#[test]
fn an_error_of_the_destination_is_reported_with_the_number_of_acknowledged_entries() {
    raise_open_file_limit();
    let held = [files_to_hold(253, 20), files_to_hold(3 * 253, 20)];
    let mut wrong = Vec::new();
    for (name, script, reason, count, reached) in bad_destinations() {
        let held = held.iter().find(|held| held.len() == count * 253).unwrap();
        let (from, to) = (Fake::start(source(held)), Fake::start(script));
        let ended = transfer(&options(reason), &from.path, &to.path);
        let behind = reached.map_or(String::new(), |n| {
            let total = held.len();
            format!("; {n} of {total} descriptors acknowledged, the source still holds all")
        });
        let message = format!(
            "s6-fdholder-transferdump: fatal: unable to set dump in the destination fd-holder \
             daemon at {}: {reason}{behind}\n",
            to.path.display()
        );
        compare(&mut wrong, name, ending(&ended), (2, &message, b""));
        let (from, to) = (from.seen(), to.seen());
        compare(&mut wrong, name, from.bytes, frame(b"?", 0));
        let opening = opening(held.len());
        let opened = to.bytes.is_empty() || to.bytes.starts_with(&opening);
        let too_much = reached.is_none() && to.bytes.len() > opening.len();
        compare(&mut wrong, name, (opened, too_much), (true, false));
    }
    no_differences(wrong);
}

/// The opening of a set dump of `total` entries.
fn opening(total: usize) -> Vec<u8> {
    frame(&[b"!", &(total as u32).to_be_bytes()[..]].concat(), 0)
}

/// Checks that a transfer succeeded and all entries arrived in order. The division into frames may differ.
fn assert_delivered(name: &str, ended: &Ended, to: &Seen, held: &[Held]) {
    assert_eq!(ending(ended), (0, "", &b""[..]), "{name}");
    let rest = to.bytes.strip_prefix(&opening(held.len())[..]);
    let mut rest = rest.unwrap_or_else(|| panic!("{name}: no opening"));
    let (mut entries, mut count) = (Vec::<u8>::new(), 0);
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        count += usize::from(u16::from_be_bytes(rest[4..6].try_into().unwrap()));
        assert_eq!(rest[6], b'.', "{name}");
        entries.extend(&rest[7..6 + length]);
        rest = &rest[6 + length..];
    }
    let expected: Vec<u8> = held.iter().flat_map(|h| entry(&h.id, h.expiry)).collect();
    assert!(entries == expected && count == held.len(), "{name}: other entries");
    let expected: Vec<_> = held.iter().map(|h| wire::inode(&h.fd)).collect();
    assert!(to.files == expected, "{name}: other files");
}

/// Runs a transfer from a source with a valid script. All entries must arrive.
fn assert_source_succeeds(name: &str, script: Vec<Step>, held: &[Held]) {
    let (from, to) = (Fake::start(script), Fake::start(vec![AcceptDump]));
    let ended = transfer(&["-t", "10000:10000"], &from.path, &to.path);
    assert_delivered(name, &ended, &to.seen(), held);
    assert_eq!(from.seen().bytes, frame(b"?", 0), "{name}");
}

/// What a source with these entries sends, with `each` entries in a frame, one element for each write.
fn messages(held: &[Held], each: usize) -> Vec<(Vec<u8>, Vec<OwnedFd>)> {
    let frames = frames(held, each);
    let reply = (granted(frames.len() as u32, held.len()), Vec::new());
    [reply].into_iter().chain(frames).collect()
}

/// The script of a source that sends these messages.
fn sends(messages: Vec<(Vec<u8>, Vec<OwnedFd>)>) -> Vec<Step> {
    after_request(messages.into_iter().map(|(bytes, fds)| Send(bytes, fds)))
}

#[test]
fn a_set_dump_has_exactly_the_bytes_of_the_received_entries() {
    raise_open_file_limit();
    let held = files_to_hold(255, 9);
    let (from, to) = (Fake::start(source(&held)), Fake::start(vec![AcceptDump]));
    let ended = transfer(&[], &from.path, &to.path);
    assert_eq!(ending(&ended), (0, "", &b""[..]));
    let mut expected = opening(255);
    for held in [&held[..253], &held[253..]] {
        let mut payload = vec![b'.'];
        held.iter().for_each(|h| payload.extend(entry(&h.id, h.expiry)));
        expected.extend(frame(&payload, held.len() as u16));
    }
    let (from, to) = (from.seen(), to.seen());
    assert_eq!(from.bytes, b"\0\0\0\x01\0\0?");
    assert!(to.bytes == expected);
    assert_eq!(to.files, held.iter().map(|h| wire::inode(&h.fd)).collect::<Vec<_>>());
}

#[test]
fn for_an_empty_dump_the_tool_connects_to_the_destination_and_sends_nothing() {
    let (from, to) = (Fake::start(source(&[])), Fake::start(vec![]));
    let ended = transfer(&[], &from.path, &to.path);
    assert_eq!(ending(&ended), (0, "", &b""[..]));
    let to = to.seen();
    assert!(to.connected && to.bytes.is_empty());
}

#[test]
fn a_dump_may_arrive_in_any_two_pieces() {
    raise_open_file_limit();
    let held = files_to_hold(2, 3);
    // The reply, and two frames with a descriptor each.
    for (at, length) in messages(&held, 1).iter().map(|message| message.0.len()).enumerate() {
        for cut in 1..length {
            let mut script = sends(messages(&held, 1));
            let Send(bytes, _) = &mut script[1 + at] else { unreachable!() };
            let tail = bytes.split_off(cut);
            // During the pause, the tool reads the first piece.
            let rest = [Step::Pause(Duration::from_millis(2)), Send(tail, Vec::new())];
            script.splice(2 + at..2 + at, rest);
            assert_source_succeeds(&format!("message {at} cut at {cut}"), script, &held);
        }
    }
}

#[test]
fn a_dump_may_have_other_frames_than_announced() {
    raise_open_file_limit();
    let held = files_to_hold(5, 7);
    let slowly = |(bytes, fds)| SendSlowly(bytes, fds, Duration::from_micros(200));
    let announcing = |count| {
        let mut script = source(&held);
        script[1] = bytes(granted(count, held.len()));
        script
    };
    let cases = [
        ("byte by byte", after_request(messages(&held, 2).into_iter().map(slowly))),
        ("one entry in a frame", sends(messages(&held, 1))),
        ("0 frames announced", announcing(0)),
        ("7 frames announced", announcing(7)),
        ("4294967295 frames announced", announcing(u32::MAX)),
        ("sent before the request", sends(messages(&held, 5)).into_iter().skip(1).collect()),
    ];
    for (name, script) in cases {
        assert_source_succeeds(name, script, &held);
    }
}

#[test]
fn a_dump_may_have_any_number_of_entries_and_frames() {
    raise_open_file_limit();
    for (count, length, each) in
        [(1, 1, 253), (1, 255, 253), (253, 255, 253), (254, 10, 253), (760, 10, 100), (1000, 4, 1)]
    {
        let held = files_to_hold(count, length);
        let name = format!("{count} entries in frames of {each}");
        assert_source_succeeds(&name, sends(messages(&held, each)), &held);
    }
}

#[test]
fn all_valid_identifiers_and_expiries_are_transferred() {
    let all: Vec<u8> = (1..=255).collect();
    let held = [
        (&all[..], label(0, 0)),
        (b"\xff", label((1 << 63) - 1, 999_999_999)),
        (b"\n", wire::never()),
        (b" ", label(1, 1)),
        // The same expiry as the entry before.
        (b"/../", label(1, 1)),
    ];
    let held = held.map(|(id, expiry)| Held::new(id, expiry, memfd()));
    assert_source_succeeds("unusual entries", source(&held), &held);
}

#[test]
fn a_destination_may_answer_slowly_or_announce_other_frames() {
    raise_open_file_limit();
    let slowly = |bytes| SendSlowly(bytes, Vec::new(), Duration::from_millis(1));
    let cases = [
        ("byte by byte", after_request([slowly(opened(1)), Receive, slowly(status(0))])),
        ("expects no frame", after_request([bytes(opened(0)), Receive, bytes(status(0))])),
        (
            "expects many frames",
            after_request([bytes(opened(u32::MAX)), Receive, bytes(status(0))]),
        ),
        ("disconnects after the last answer", accepts([bytes(status(0)), HangUp])),
    ];
    let held = files_to_hold(7, 7);
    for (name, script) in cases {
        let (from, to) = (Fake::start(source(&held)), Fake::start(script));
        let ended = transfer(&["-t", "10000:10000"], &from.path, &to.path);
        assert_delivered(name, &ended, &to.seen(), &held);
        drop(from.seen());
    }
}

#[test]
fn a_large_dump_that_ends_early_is_reported_with_the_number_of_acknowledged_entries() {
    raise_open_file_limit();
    // The dump is larger than the window, so the tool has sent a part of it before the source disconnects.
    let held = files_to_hold(12 * 253, 255);
    let total = held.len() + 1;
    let mut script = source(&held);
    script[1] = bytes(granted(13, total));
    script.push(HangUp);
    let (from, to) = (Fake::start(script), Fake::start(vec![AcceptDump]));
    let ended = transfer(&["-t", "20000:20000"], &from.path, &to.path);
    let (path, to) = (from.path.display().to_string(), to.seen());
    let arrived = to.files.len();
    let message = format!(
        "s6-fdholder-transferdump: fatal: unable to get dump from the source fd-holder daemon at \
         {path}: connection closed; {arrived} of {total} descriptors acknowledged, the \
         source still holds all\n"
    );
    assert_eq!(ending(&ended), (1, &message[..], &b""[..]));
    assert!(arrived > 0 && to.bytes.starts_with(&opening(total)));
    drop(from.seen());
}
