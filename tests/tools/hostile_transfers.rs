//! Sources and destinations that are hostile, broken or merely odd.

use crate::kit::fake::{
    Fake, Seen,
    Step::{self, AcceptDump, HangUp, Receive, Reset, Send, SendSlowly},
    files_to_hold, frames, granted, opened, source, status, transfer,
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

/// Somebody who deserves no success: a name, what it does, and the reason to be given.
type Case = (&'static str, Vec<Step>, &'static str);

/// So many files.
fn files(count: usize) -> Vec<OwnedFd> {
    repeat_with(memfd).take(count).collect()
}

/// A moment for what needs one.
fn sometime() -> [u8; 12] {
    label((1 << 62) + 4_000_000_000, 0)
}

/// Bytes alone, as a step.
fn bytes(bytes: impl AsRef<[u8]>) -> Step {
    Send(bytes.as_ref().to_vec(), Vec::new())
}

/// A script that reads the request and then does this.
fn asked(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    [Receive].into_iter().chain(steps).collect()
}

/// The script of a source that announces so many entries and then sends this.
fn announces(total: usize, steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    asked([bytes(granted(1, total))].into_iter().chain(steps))
}

/// A frame whose header says how many descriptors it has, and that really has so many.
fn with(payload: &[u8], said: u16, real: usize) -> Step {
    Send(frame(payload, said), files(real))
}

/// The script of a destination that welcomes the dump, reads a frame and then does this.
fn welcomes(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    asked([bytes(opened(1)), Receive].into_iter().chain(steps))
}

/// The header of a frame that is longer than anything.
fn head(length: u32, descriptors: u16) -> Vec<u8> {
    [&length.to_be_bytes()[..], &descriptors.to_be_bytes()].concat()
}

/// What to allow for these: those who stall are not to be waited for long.
fn options(reason: &str) -> [&'static str; 2] {
    ["-t", if reason == TIMEOUT { "200:200" } else { "5000:5000" }]
}

/// Sources that fail while they answer the request.
fn bad_answers() -> Vec<Case> {
    let reply = granted(1, 1);
    let mut cases = vec![
        ("hangs up at once", vec![HangUp], NO_ANSWER),
        ("hangs up on the request", asked([HangUp]), NO_ANSWER),
        ("resets the connection", vec![Reset], NO_ANSWER),
        ("is mute", asked([]), TIMEOUT),
        ("resets in mid-reply", vec![bytes(&reply[..7]), Reset], CLOSED),
        ("hangs up after 1 byte", asked([bytes(&reply[..1]), HangUp]), CLOSED),
        ("hangs up after the header", asked([bytes(&reply[..6]), HangUp]), CLOSED),
        ("hangs up after the status", asked([bytes(&reply[..7]), HangUp]), CLOSED),
        ("hangs up before the last byte", asked([bytes(&reply[..14]), HangUp]), CLOSED),
        ("stalls after the status", asked([bytes(&reply[..7])]), TIMEOUT),
        ("hangs up after the reply", announces(1, [HangUp]), CLOSED),
        ("stalls after the reply", announces(1, []), TIMEOUT),
        ("answers nothing, in a frame", asked([bytes(frame(&[], 0))]), PROTOCOL),
        ("denies with a byte too many", asked([bytes(frame(&[1, 0], 0))]), PROTOCOL),
        ("denies in 9 bytes", asked([bytes(frame(&[1, 0, 0, 0, 1, 0, 0, 0, 1], 0))]), PROTOCOL),
        ("denies with a descriptor", asked([with(&[1], 1, 1)]), PROTOCOL),
        ("grants with a descriptor", asked([with(&reply[6..], 1, 1)]), PROTOCOL),
        ("says 255 descriptors", asked([with(&reply[6..], 255, 0)]), PROTOCOL),
        ("grants nothing, with a descriptor", asked([Send(granted(0, 0), files(1))]), PROTOCOL),
        (
            "grants one, with a descriptor that no entry is for",
            asked([Send(reply.clone(), files(1)), with(&entry(b"a", sometime()), 1, 1)]),
            PROTOCOL,
        ),
        (
            "denies",
            asked([bytes(status(1))]),
            "Operation not permitted (the right S6_FDHOLDER_GETDUMP is missing)",
        ),
    ];
    for (number, text) in ERRORS {
        cases.push((text, asked([bytes(status(number))]), text));
    }
    for length in [1, 5, 8, 10, 200] {
        cases.push((
            "grants in the wrong length",
            asked([bytes(frame(&vec![0; length], 0))]),
            PROTOCOL,
        ));
    }
    for length in HUGE {
        let head = [head(length, 0), vec![0]].concat();
        cases.push(("announces a huge reply", asked([bytes(head)]), PROTOCOL));
    }
    cases
}

/// Errors that a daemon may give for a reason, and what is said of them; the last two are on no
/// list of texts.
const ERRORS: [(u8, &str); 5] = [
    (16, "Device or resource busy"),
    (23, "Too many open files in system"),
    (71, "Protocol error"),
    (133, "error 133"),
    (255, "error 255"),
];

/// Lengths of frames that nobody needs.
const HUGE: [u32; 3] = [1 << 28, (1 << 28) + 1, u32::MAX];

/// Sources that fail while they send what they have announced.
fn bad_frames() -> Vec<Case> {
    let (a, b) = (entry(b"a", sometime()), entry(b"b", sometime()));
    let both = [&a[..], &b].concat();
    let behind = |extra: &[u8]| [&a[..], extra].concat();
    // A payload with one descriptor, where one entry is due.
    let one = |payload: &[u8]| announces(1, [with(payload, 1, 1)]);
    let expires = |seconds, nanoseconds| one(&entry(b"a", label(seconds, nanoseconds)));
    // An entry whose length byte and what is behind it are these.
    let named = |rest: &[u8]| one(&[&sometime()[..], rest].concat());
    // One write, with so many descriptors at its begin.
    let at_once = |parts: &[&[u8]], count| asked([Send(parts.concat(), files(count))]);
    let frame_a = frame(&a, 1);
    let many: Vec<u8> =
        (0..254).flat_map(|n| entry(format!("{n}").as_bytes(), sometime())).collect();

    let mut full = source(&files_to_hold(3 * 253, 20));
    if let Some(Send(bytes, _)) = full.last_mut() {
        *bytes.last_mut().unwrap() = b'!';
    }

    let mut cases = vec![
        ("sends 2 of 3 and hangs up", announces(3, [with(&both, 2, 2), HangUp]), CLOSED),
        ("sends 2 of 3 and stalls", announces(3, [with(&both, 2, 2)]), TIMEOUT),
        (
            "sends 1 of 4294967295 and hangs up",
            announces(u32::MAX as usize, [with(&a, 1, 1), HangUp]),
            CLOSED,
        ),
        (
            "hangs up inside a header",
            announces(1, [Send(frame_a[..3].into(), files(1)), HangUp]),
            CLOSED,
        ),
        (
            "hangs up behind a header",
            announces(1, [Send(frame_a[..6].into(), files(1)), HangUp]),
            CLOSED,
        ),
        (
            "hangs up inside a frame",
            announces(1, [Send(frame_a[..15].into(), files(1)), HangUp]),
            CLOSED,
        ),
        ("stalls inside a frame", announces(1, [Send(frame_a[..15].into(), files(1))]), TIMEOUT),
        ("sends a byte behind an entry", one(&behind(&[0])), PROTOCOL),
        ("sends 20 bytes behind an entry", one(&behind(&[7; 20])), PROTOCOL),
        ("sends half an entry behind an entry", one(&behind(&b[..8])), PROTOCOL),
        ("has 2 descriptors for 1 entry of 1", announces(1, [with(&a, 2, 2)]), PROTOCOL),
        ("has 2 descriptors for 1 entry of 2", announces(2, [with(&a, 2, 2)]), PROTOCOL),
        ("has 1 descriptor for 2 entries of 1", announces(1, [with(&both, 1, 1)]), PROTOCOL),
        ("has 1 descriptor for 2 entries of 2", announces(2, [with(&both, 1, 1)]), PROTOCOL),
        ("says 2 descriptors and has 1", announces(2, [with(&both, 2, 1)]), PROTOCOL),
        ("says 1 descriptor and has 2", announces(1, [with(&a, 1, 2)]), PROTOCOL),
        ("says 1 descriptor and has none", announces(1, [with(&a, 1, 0)]), PROTOCOL),
        ("says no descriptor and has 1", announces(1, [with(&a, 0, 1)]), PROTOCOL),
        ("says no descriptor and has none", announces(1, [with(&a, 0, 0)]), PROTOCOL),
        ("sends an empty frame", announces(1, [with(&[], 0, 0)]), PROTOCOL),
        ("sends an empty frame with a descriptor", announces(1, [with(&[], 1, 1)]), PROTOCOL),
        (
            "sends an empty frame behind a good one",
            announces(2, [with(&a, 1, 1), with(&[], 0, 0)]),
            PROTOCOL,
        ),
        ("says 254 descriptors", announces(254, [with(&many, 254, 253)]), PROTOCOL),
        ("says 65535 descriptors", announces(65535, [with(&many, 65535, 253)]), PROTOCOL),
        ("sends more than it announced", announces(1, [with(&both, 2, 2)]), PROTOCOL),
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
            "grants nothing and sends a frame in the same write",
            at_once(&[&granted(0, 0), &frame_a], 1),
            PROTOCOL,
        ),
        (
            // Nobody does: each frame has a message of its own. To sort them out would be a guess.
            "sends the descriptors of two frames with the first",
            announces(2, [Send([frame(&a, 1), frame(&a, 1)].concat(), files(2))]),
            PROTOCOL,
        ),
        (
            "sends a bad frame behind a good one",
            announces(2, [with(&a, 1, 1), with(&a[1..], 1, 1)]),
            PROTOCOL,
        ),
        ("ends an identifier without NUL in the last of 3 full frames", full, PROTOCOL),
        ("has a NUL in an identifier", named(b"\x03a\0b\0"), PROTOCOL),
        ("has an identifier that is a NUL", named(b"\x01\0\0"), PROTOCOL),
        ("has a NUL at the end of an identifier", named(b"\x02a\0\0"), PROTOCOL),
        ("has an empty identifier", named(b"\0\0"), PROTOCOL),
        ("has an empty identifier and more", named(b"\0\0\0\0"), PROTOCOL),
        ("has no NUL behind an identifier", named(b"\x01ab"), PROTOCOL),
        ("ends before that NUL", named(b"\x02ab"), PROTOCOL),
        ("ends inside an identifier", named(b"\xffabc\0"), PROTOCOL),
        ("ends behind an expiry", named(b""), PROTOCOL),
        ("ends inside an expiry", one(&[64, 0, 0, 0, 0]), PROTOCOL),
        ("has a billion nanoseconds", expires(1 << 62, 1_000_000_000), PROTOCOL),
        ("has the most nanoseconds", expires(1 << 62, u32::MAX), PROTOCOL),
        ("expires after the end of time", expires(1 << 63, 0), PROTOCOL),
        ("expires as late as can be said", expires(u64::MAX, 0), PROTOCOL),
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

/// A destination that fails: also how many frames of 253 entries there are, and how many entries
/// it has taken, if the dump had begun.
type BadDestination = (&'static str, Vec<Step>, &'static str, usize, Option<usize>);

/// Destinations that fail.
fn bad_destinations() -> Vec<BadDestination> {
    let welcome = opened(1);
    let no_right = "Operation not permitted (the right S6_FDHOLDER_SETDUMP is missing)";
    let again = || bytes(status(EAGAIN));
    // Answers to so many frames, then this.
    let after = |count, steps: Vec<Step>| {
        let good = (0..count).flat_map(|_| [again(), Receive]);
        welcomes(good.chain(steps))
    };
    let mut cases = vec![
        ("hangs up at once", vec![HangUp], NO_ANSWER, 1, None),
        ("hangs up on the opening", asked([HangUp]), NO_ANSWER, 1, None),
        ("resets the connection", vec![Reset], NO_ANSWER, 1, None),
        ("is mute", asked([]), TIMEOUT, 1, None),
        ("hangs up after 1 byte", asked([bytes(&welcome[..1]), HangUp]), CLOSED, 1, None),
        ("hangs up after the header", asked([bytes(&welcome[..6]), HangUp]), CLOSED, 1, None),
        ("hangs up after the status", asked([bytes(&welcome[..7]), HangUp]), CLOSED, 1, None),
        ("hangs up before the last byte", asked([bytes(&welcome[..10]), HangUp]), CLOSED, 1, None),
        ("stalls after the status", asked([bytes(&welcome[..7])]), TIMEOUT, 1, None),
        ("denies", asked([bytes(status(1))]), no_right, 1, None),
        ("denies with a byte too many", asked([bytes(frame(&[1, 0], 0))]), PROTOCOL, 1, None),
        ("answers nothing, in a frame", asked([bytes(frame(&[], 0))]), PROTOCOL, 1, None),
        ("says 1 descriptor and has 1", asked([with(&welcome[6..], 1, 1)]), PROTOCOL, 1, None),
        ("says 1 descriptor and has none", asked([with(&welcome[6..], 1, 0)]), PROTOCOL, 1, None),
        ("says no descriptor and has 1", asked([with(&welcome[6..], 0, 1)]), PROTOCOL, 1, None),
        ("hangs up on the frame", after(0, vec![HangUp]), CLOSED, 1, Some(0)),
        ("resets on the frame", asked([bytes(&welcome), Reset]), CLOSED, 1, Some(0)),
        (
            "hangs up in mid-answer",
            after(0, vec![bytes(&status(0)[..6]), HangUp]),
            CLOSED,
            1,
            Some(0),
        ),
        ("does not answer the frame", after(0, vec![]), TIMEOUT, 1, Some(0)),
        ("stalls in mid-answer", after(0, vec![bytes(&status(0)[..6])]), TIMEOUT, 1, Some(0)),
        ("denies the frame", after(0, vec![bytes(status(1))]), no_right, 1, Some(0)),
        ("wants more than there is", after(0, vec![again()]), PROTOCOL, 1, Some(0)),
        ("answers 0 in 2 bytes", after(0, vec![bytes(frame(&[0, 0], 0))]), PROTOCOL, 1, Some(0)),
        ("answers 0 in 5 bytes", after(0, vec![bytes(&welcome)]), PROTOCOL, 1, Some(0)),
        (
            "answers nothing to the frame",
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
            after(0, vec![with(&[0], 1, 1)]),
            PROTOCOL,
            1,
            Some(0),
        ),
        (
            "answers it with a hidden descriptor",
            after(0, vec![with(&[0], 0, 1)]),
            PROTOCOL,
            1,
            Some(0),
        ),
        ("is done too early", after(0, vec![bytes(status(0))]), PROTOCOL, 3, Some(0)),
        ("denies the second of three", after(1, vec![bytes(status(1))]), no_right, 3, Some(253)),
        (
            "is full at the second of three",
            after(1, vec![bytes(status(23))]),
            ERRORS[1].1,
            3,
            Some(253),
        ),
        ("hangs up on the second of three", after(1, vec![HangUp]), CLOSED, 3, Some(253)),
        ("hangs up after one of three", after(0, vec![again(), HangUp]), CLOSED, 3, Some(253)),
        ("does not answer the last of three", after(2, vec![]), TIMEOUT, 3, Some(506)),
        ("wants more than three", after(2, vec![again()]), PROTOCOL, 3, Some(506)),
    ];
    for (number, text) in ERRORS {
        cases.push((text, asked([bytes(status(number))]), text, 1, None));
        cases.push((text, after(0, vec![bytes(status(number))]), text, 1, Some(0)));
    }
    for length in [1, 2, 4, 6, 9, 200] {
        let welcome = frame(&vec![0; length], 0);
        cases.push(("welcomes in the wrong length", asked([bytes(welcome)]), PROTOCOL, 1, None));
    }
    for length in HUGE {
        let head = [head(length, 0), vec![0]].concat();
        cases.push(("announces a huge reply", asked([bytes(&head)]), PROTOCOL, 1, None));
        cases.push(("announces a huge answer", after(0, vec![bytes(head)]), PROTOCOL, 1, Some(0)));
    }
    cases
}

/// Compares, and notes a difference.
fn compare<T: PartialEq + std::fmt::Debug>(wrong: &mut Vec<String>, name: &str, is: T, due: T) {
    if is != due {
        wrong.push(format!("{name}: {is:?}\n    instead of {due:?}"));
    }
}

fn ending(ended: &Ended) -> (i32, &str, &[u8]) {
    (ended.code, &ended.err, &ended.out)
}

fn no_differences(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

/// Runs each of these sources against a destination that takes everything, and sees that it gets
/// nothing.
fn sources_fail(cases: Vec<Case>) {
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
fn a_source_that_fails_to_answer_gets_nothing_to_the_destination() {
    sources_fail(bad_answers());
}

#[test]
fn a_source_that_fails_to_deliver_gets_nothing_to_the_destination() {
    sources_fail(bad_frames());
}

#[test]
fn what_a_destination_does_wrong_is_reported_along_with_what_it_got() {
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

/// The opening of a set dump of so many entries.
fn opening(total: usize) -> Vec<u8> {
    frame(&[b"!", &(total as u32).to_be_bytes()[..]].concat(), 0)
}

/// Checks that a transfer went well and everything reached the destination in order, in whatever
/// frames.
fn delivered(name: &str, ended: &Ended, to: &Seen, held: &[Held]) {
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
    let due: Vec<u8> = held.iter().flat_map(|h| entry(&h.id, h.expiry)).collect();
    assert!(entries == due && count == held.len(), "{name}: other entries");
    let due: Vec<_> = held.iter().map(|h| wire::inode(&h.fd)).collect();
    assert!(to.files == due, "{name}: other files");
}

/// Runs a source that is odd at the most.
fn source_succeeds(name: &str, script: Vec<Step>, held: &[Held]) {
    let (from, to) = (Fake::start(script), Fake::start(vec![AcceptDump]));
    let ended = transfer(&["-t", "10000:10000"], &from.path, &to.path);
    delivered(name, &ended, &to.seen(), held);
    assert_eq!(from.seen().bytes, frame(b"?", 0), "{name}");
}

/// What a source sends that has these, so many in a frame, as one piece for each write.
fn messages(held: &[Held], each: usize) -> Vec<(Vec<u8>, Vec<OwnedFd>)> {
    let frames = frames(held, each);
    let reply = (granted(frames.len() as u32, held.len()), Vec::new());
    [reply].into_iter().chain(frames).collect()
}

fn sends(messages: Vec<(Vec<u8>, Vec<OwnedFd>)>) -> Vec<Step> {
    asked(messages.into_iter().map(|(bytes, fds)| Send(bytes, fds)))
}

#[test]
fn a_dump_is_passed_on_byte_for_byte_in_the_frames_of_a_set_dump() {
    raise_open_file_limit();
    let held = files_to_hold(255, 9);
    let (from, to) = (Fake::start(source(&held)), Fake::start(vec![AcceptDump]));
    let ended = transfer(&[], &from.path, &to.path);
    assert_eq!(ending(&ended), (0, "", &b""[..]));
    let mut due = opening(255);
    for held in [&held[..253], &held[253..]] {
        let mut payload = vec![b'.'];
        held.iter().for_each(|h| payload.extend(entry(&h.id, h.expiry)));
        due.extend(frame(&payload, held.len() as u16));
    }
    let (from, to) = (from.seen(), to.seen());
    assert_eq!(from.bytes, b"\0\0\0\x01\0\0?");
    assert!(to.bytes == due);
    assert_eq!(to.files, held.iter().map(|h| wire::inode(&h.fd)).collect::<Vec<_>>());
}

#[test]
fn an_empty_dump_needs_a_destination_but_no_request_to_it() {
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
            // Long enough for the first piece to be read alone.
            let rest = [Step::Pause(Duration::from_millis(2)), Send(tail, Vec::new())];
            script.splice(2 + at..2 + at, rest);
            source_succeeds(&format!("message {at} cut at {cut}"), script, &held);
        }
    }
}

#[test]
fn a_dump_may_arrive_in_any_shape() {
    raise_open_file_limit();
    let held = files_to_hold(5, 7);
    let drips = |(bytes, fds)| SendSlowly(bytes, fds, Duration::from_micros(200));
    let frames_said = |count| {
        let mut script = source(&held);
        script[1] = bytes(granted(count, held.len()));
        script
    };
    let cases = [
        ("byte by byte", asked(messages(&held, 2).into_iter().map(drips))),
        ("one entry in a frame", sends(messages(&held, 1))),
        ("said to be no frame", frames_said(0)),
        ("said to be 7 frames", frames_said(7)),
        ("said to be 4294967295 frames", frames_said(u32::MAX)),
        ("answered unasked", sends(messages(&held, 5)).into_iter().skip(1).collect()),
    ];
    for (name, script) in cases {
        source_succeeds(name, script, &held);
    }
}

#[test]
fn a_dump_may_have_any_size_and_any_frames() {
    raise_open_file_limit();
    for (count, length, each) in
        [(1, 1, 253), (1, 255, 253), (253, 255, 253), (254, 10, 253), (760, 10, 100), (1000, 4, 1)]
    {
        let held = files_to_hold(count, length);
        let name = format!("{count} entries in frames of {each}");
        source_succeeds(&name, sends(messages(&held, each)), &held);
    }
}

#[test]
fn identifiers_and_expiries_may_be_anything_the_protocol_allows() {
    let all: Vec<u8> = (1..=255).collect();
    let held = [
        (&all[..], label(0, 0)),
        (b"\xff", label((1 << 63) - 1, 999_999_999)),
        (b"\n", wire::never()),
        (b" ", label(1, 1)),
        // The same moment twice.
        (b"/../", label(1, 1)),
    ];
    let held = held.map(|(id, expiry)| Held::new(id, expiry, memfd()));
    source_succeeds("odd entries", source(&held), &held);
}

#[test]
fn a_destination_may_be_odd() {
    raise_open_file_limit();
    let drips = |bytes| SendSlowly(bytes, Vec::new(), Duration::from_millis(1));
    let cases = [
        ("byte by byte", asked([drips(opened(1)), Receive, drips(status(0))])),
        ("expects no frame", asked([bytes(opened(0)), Receive, bytes(status(0))])),
        ("expects many frames", asked([bytes(opened(u32::MAX)), Receive, bytes(status(0))])),
        ("hangs up when all is done", welcomes([bytes(status(0)), HangUp])),
    ];
    let held = files_to_hold(7, 7);
    for (name, script) in cases {
        let (from, to) = (Fake::start(source(&held)), Fake::start(script));
        let ended = transfer(&["-t", "10000:10000"], &from.path, &to.path);
        delivered(name, &ended, &to.seen(), &held);
        drop(from.seen());
    }
}

#[test]
fn a_large_dump_that_breaks_off_is_reported_along_with_what_has_arrived() {
    raise_open_file_limit();
    // More than any window, so that parts of it have gone on when it turns out that the last
    // frame does not come.
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
