//! Destinations whose answers are invalid or missing.

use super::{
    CLOSED, EAGAIN, ERRORS, HUGE, NO_ANSWER, PROTOCOL, TIMEOUT, accepts, compare, ending, head,
    no_differences, opening, options,
};
use crate::kit::fake::{
    Fake,
    Step::{self, AcceptDump, HangUp, Receive, Reset},
    after_request, bytes, files_to_hold, frame_with, granted, opened, source, status, transfer,
};
use crate::kit::raise_open_file_limit;
use crate::kit::wire::frame;

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
