//! Sources and destinations whose answers are valid, but other than those of known daemons.

use super::{accepts, ending, opening};
use crate::kit::fake::{
    Fake, Seen,
    Step::{self, AcceptDump, HangUp, Receive, Send, SendSlowly},
    after_request, bytes, files_to_hold, frames, granted, opened, source, status, transfer,
};
use crate::kit::tool::Ended;
use crate::kit::wire::{self, Held, entry, frame, label};
use crate::kit::{memfd, raise_open_file_limit};
use std::os::fd::OwnedFd;
use std::time::Duration;

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
