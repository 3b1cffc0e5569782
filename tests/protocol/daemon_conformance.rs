//! What a daemon answers. Each row is a conversation. It is held with our daemon and with the C daemons.
//! With ours, it is repeated with other splits of the bytes.

use crate::kit::clients::hold;
use crate::kit::daemon::{Daemon, GETDUMP, Generation, LIST, RETRIEVE, SETDUMP, STORE, Setup};
use crate::kit::process::{wait_for_hangup, wait_until_read};
use crate::kit::random_cases;
use crate::kit::server::connect;
use crate::kit::wire::{
    self, Held, delete_request, entry, expiry_in, frame, inode, retrieve_request, set_dump_request,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Error numbers that daemons answer with.
const EPERM: u8 = 1;
const ENOENT: u8 = 2;
const EAGAIN: u8 = 11;
const EBUSY: u8 = 16;
const ENFILE: u8 = 23;
const EPROTO: u8 = 71;

/// The longest payload of a request: a frame of a set dump that is full of the longest entries.
const PAYLOAD_MAX: u32 = 1 + 253 * 269;

/// Identifies a descriptor by its origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Origin {
    /// Held from the start: 0 is the descriptor of `a`, 1 that of `b`.
    Old(usize),
    /// Sent in the conversation: 0 is the first descriptor, 1 the second, and so on.
    New(usize),
}
use Origin::{New, Old};

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Answer {
    /// Only a status byte.
    Status(u8),
    /// Status 0 and a descriptor.
    Descriptor(Origin),
    /// The identifiers, sorted.
    List(Vec<Vec<u8>>),
    /// The dump, sorted.
    Dump(Vec<(Vec<u8>, Origin)>),
    /// A set dump is accepted, in this number of frames.
    Frames(u32),
    /// The end of the connection.
    HangUp,
}
use Answer::{Descriptor, Dump, Frames, HangUp, List, Status};

/// What is sent for one answer: pieces, each with the number of descriptors on its first byte.
#[derive(Clone)]
struct Request(Vec<(Vec<u8>, usize)>);

/// A frame with this payload that announces and carries `descriptors` descriptors.
fn payload(payload: &[u8], descriptors: usize) -> Request {
    Request(vec![(frame(payload, descriptors as u16), descriptors)])
}

/// These bytes without a header in front, with `descriptors` descriptors on the first byte.
fn raw(bytes: &[u8], descriptors: usize) -> Request {
    Request(vec![(bytes.to_vec(), descriptors)])
}

/// An entry that does not expire during the test.
fn lasting(id: &[u8]) -> Vec<u8> {
    // Equal dates corrupt the table of the C daemons.
    let span = id.iter().fold(3600, |sum, byte| sum * 7 % 100_000 + u64::from(*byte));
    entry(id, expiry_in(Duration::from_secs(span)))
}

fn store(id: impl AsRef<[u8]>) -> Request {
    payload(&[b"S", &lasting(id.as_ref())[..]].concat(), 1)
}

fn delete(id: impl AsRef<[u8]>) -> Request {
    payload(&delete_request(id.as_ref()), 0)
}

fn retrieve(flag: u8, id: impl AsRef<[u8]>) -> Request {
    payload(&retrieve_request(id.as_ref(), flag), 0)
}

fn list() -> Request {
    payload(b"L", 0)
}

fn get_dump() -> Request {
    payload(b"?", 0)
}

/// The opening of a set dump of `count` entries.
fn opening(count: usize) -> Request {
    payload(&set_dump_request(count), 0)
}

/// A frame of a set dump.
fn of_dump<I: AsRef<[u8]>>(ids: impl IntoIterator<Item = I>) -> Request {
    let entries: Vec<_> = ids.into_iter().map(|id| lasting(id.as_ref())).collect();
    payload(&[b".", &entries.concat()[..]].concat(), entries.len())
}

/// A conversation with a daemon that holds `a` and `b`.
struct Row {
    what: &'static str,
    /// How many descriptors the daemon may hold.
    maxfds: usize,
    /// The requests and the answers of our daemon.
    exchanges: Vec<(Request, Answer)>,
    /// What is held afterwards. All other descriptors must be closed, whether or not the connection is.
    left: Vec<(Vec<u8>, Origin)>,
    /// How the C daemons differ.
    c: C,
}

/// How the C daemons differ from ours in a conversation.
#[derive(Clone)]
enum C {
    /// They answer the same.
    Same,
    /// They disconnect where ours answers with a protocol error. What they hold afterwards is not
    /// checked.
    HangUp,
    /// They give these answers and then disconnect; and the reason.
    Answers(Vec<Answer>, &'static str),
    /// The conversation is not held with them; and the reason.
    Skipped(&'static str),
}

/// Why C refuses set dumps that ours accepts.
const TWICE: &str = "what would be replaced counts twice";
/// Why C accepts identifiers that ours refuses.
const CUT: &str = "an identifier ends at its first NUL, and the longer length goes unnoticed";
/// Why C accepts dates that ours refuses.
const ANY_DATE: &str = "any 12 bytes are a valid date";

/// A conversation that does not change what is held.
fn row(what: &'static str, exchanges: Vec<(Request, Answer)>) -> Row {
    let left = vec![(b"a".to_vec(), Old(0)), (b"b".to_vec(), Old(1))];
    Row { what, maxfds: 5, exchanges, left, c: C::Same }
}

impl Row {
    /// The same with a daemon that is full.
    fn full(self) -> Row {
        Row { maxfds: 2, ..self }
    }

    /// The same, where the daemon holds these entries in the end.
    fn leaves<I: AsRef<[u8]>>(self, left: impl IntoIterator<Item = (I, Origin)>) -> Row {
        let left = left.into_iter().map(|(id, origin)| (id.as_ref().to_vec(), origin));
        let mut left: Vec<_> = left.collect();
        left.sort();
        Row { left, ..self }
    }

    /// The same, where the C daemons differ.
    fn c(self, c: C) -> Row {
        Row { c, ..self }
    }

    /// The expected answers, and whether only the answers are checked. `None` if the conversation is not
    /// held with this daemon.
    fn answers(&self, generation: Generation) -> Option<(Vec<Answer>, bool)> {
        let ours = self.exchanges.iter().map(|(_, answer)| answer.clone());
        let of_c = |answers: Vec<Answer>| {
            let ends = std::iter::repeat(HangUp);
            Some((answers.into_iter().chain(ends).take(self.exchanges.len()).collect(), true))
        };
        match &self.c {
            _ if generation == Generation::Ours => Some((ours.collect(), false)),
            C::Same => Some((ours.collect(), false)),
            C::HangUp => of_c(ours.take_while(|answer| *answer != Status(EPROTO)).collect()),
            C::Answers(answers, _) => of_c(answers.clone()),
            C::Skipped(why) => {
                println!("skipped with {generation:?}: {}: {why}", self.what);
                None
            }
        }
    }
}

/// A list of these.
fn listed<I: AsRef<[u8]>>(ids: impl IntoIterator<Item = I>) -> Answer {
    List(ids.into_iter().map(|id| id.as_ref().to_vec()).collect())
}

/// Identifiers of every kind.
fn odd() -> [&'static [u8]; 8] {
    [
        b"c",
        b"\x01",
        b"\xff",
        b" two  words ",
        b"\n\r\t",
        b"\xff\xfe\xc3\x28",
        b"\\0x41",
        &[b'z'; 255],
    ]
}

/// Valid requests. Some are refused because of what is held.
fn valid() -> Vec<Row> {
    let (a, b) = ((&b"a"[..], Old(0)), (&b"b"[..], Old(1)));
    let dump = |all: &[(&[u8], Origin)]| {
        Dump(all.iter().map(|(id, origin)| (id.to_vec(), *origin)).collect())
    };
    let mut rows = vec![
        row("list", vec![(list(), listed(["a", "b"]))]),
        row("get dump", vec![(get_dump(), dump(&[a, b]))]),
        row("retrieve", vec![(retrieve(0, "a"), Descriptor(Old(0)))]),
        row(
            "retrieve and delete",
            vec![
                (retrieve(1, "a"), Descriptor(Old(0))),
                (retrieve(1, "a"), Status(ENOENT)),
                (list(), listed(["b"])),
            ],
        )
        .leaves([b]),
        row("delete", vec![(delete("a"), Status(0)), (delete("a"), Status(ENOENT))]).leaves([b]),
        row("store", vec![(store("c"), Status(0)), (retrieve(0, "c"), Descriptor(New(0)))])
            .leaves([a, b, (b"c", New(0))]),
        row("delete and store again", vec![(delete("a"), Status(0)), (store("a"), Status(0))])
            .leaves([(&b"a"[..], New(0)), b]),
        row("store what is held", vec![(store("a"), Status(EBUSY))]),
        row("store in a full one", vec![(store("c"), Status(ENFILE))]).full(),
        row("store what is held in a full one", vec![(store("a"), Status(EBUSY))])
            .full()
            .c(C::Answers(vec![Status(ENFILE)], "it checks the capacity first")),
        row(
            "make room in a full one",
            vec![(delete("a"), Status(0)), (store("c"), Status(0)), (store("d"), Status(ENFILE))],
        )
        .full()
        .leaves([b, (b"c", New(0))]),
        row(
            "store until it is full",
            vec![
                (store("c"), Status(0)),
                (store("d"), Status(0)),
                (store("e"), Status(0)),
                (store("f"), Status(ENFILE)),
                (list(), listed(["a", "b", "c", "d", "e"])),
            ],
        )
        .leaves([a, b, (b"c", New(0)), (b"d", New(1)), (b"e", New(2))]),
        row("delete what is not there", vec![(delete("c"), Status(ENOENT))]),
        row("retrieve what is not there", vec![(retrieve(0, "c"), Status(ENOENT))]),
        row("retrieve and delete what is not there", vec![(retrieve(1, "c"), Status(ENOENT))]),
        row(
            "identifiers with the same beginning",
            vec![
                (store("aa"), Status(0)),
                (retrieve(0, "a"), Descriptor(Old(0))),
                (delete("a"), Status(0)),
                (retrieve(0, "aa"), Descriptor(New(0))),
            ],
        )
        .leaves([(&b"aa"[..], New(0)), b]),
        row(
            "store what has expired",
            vec![
                (
                    payload(&[b"S", &entry(b"c", wire::label(1 << 62, 0))[..]].concat(), 1),
                    Status(0),
                ),
                (list(), listed(["a", "b"])),
            ],
        )
        .c(C::Skipped("they remove it a little later")),
        row(
            "a set dump in one frame",
            vec![(opening(2), Frames(1)), (of_dump(["a", "c"]), Status(0))],
        )
        .leaves([(&b"a"[..], New(0)), b, (b"c", New(1))]),
        row(
            "a set dump in three frames",
            vec![
                (opening(3), Frames(1)),
                (of_dump(["c"]), Status(EAGAIN)),
                (of_dump(["a"]), Status(EAGAIN)),
                (of_dump(["d"]), Status(0)),
            ],
        )
        .leaves([(&b"a"[..], New(1)), b, (b"c", New(0)), (b"d", New(2))]),
        row(
            "two set dumps",
            vec![
                (opening(1), Frames(1)),
                (of_dump(["c"]), Status(0)),
                (opening(1), Frames(1)),
                (of_dump(["d"]), Status(0)),
            ],
        )
        .leaves([a, b, (b"c", New(0)), (b"d", New(1))]),
        row("a set dump of nothing", vec![(opening(0), Frames(0)), (list(), listed(["a", "b"]))]),
        row(
            "one identifier twice in a frame",
            vec![(opening(3), Frames(1)), (of_dump(["c", "d", "c"]), Status(0))],
        )
        .leaves([a, b, (b"c", New(2)), (b"d", New(1))]),
        row(
            "one identifier in two frames",
            vec![
                (opening(2), Frames(1)),
                (of_dump(["c"]), Status(EAGAIN)),
                (of_dump(["c"]), Status(0)),
            ],
        )
        .leaves([a, b, (b"c", New(1))]),
        row("a set dump of more than fit", vec![(opening(6), Status(ENFILE))]),
        row(
            "a set dump of as many as the table has",
            vec![(opening(5), Frames(1)), (of_dump(["a", "b", "c", "d", "e"]), Status(0))],
        )
        .leaves([(b"a", New(0)), (b"b", New(1)), (b"c", New(2)), (b"d", New(3)), (b"e", New(4))])
        .c(C::Answers(vec![Status(ENFILE)], TWICE)),
        row(
            "a set dump that replaces all of a full one",
            vec![(opening(2), Frames(1)), (of_dump(["b", "a"]), Status(0))],
        )
        .full()
        .leaves([(b"a", New(1)), (b"b", New(0))])
        .c(C::Answers(vec![Status(ENFILE)], TWICE)),
        row(
            "a frame of which not all fit",
            vec![
                (opening(4), Frames(1)),
                (of_dump(["c", "d", "e", "f"]), Status(ENFILE)),
                (of_dump(["c"]), Status(EPROTO)),
                (store("c"), Status(0)),
            ],
        )
        .leaves([a, b, (b"c", New(5))])
        .c(C::Answers(vec![Status(ENFILE)], TWICE)),
        row(
            "a second frame of which not all fit",
            vec![
                (opening(5), Frames(1)),
                (of_dump(["c"]), Status(EAGAIN)),
                (of_dump(["a", "d", "e", "f"]), Status(ENFILE)),
                (of_dump(["d"]), Status(EPROTO)),
            ],
        )
        .leaves([a, b, (b"c", New(0))])
        .c(C::Answers(vec![Status(ENFILE)], TWICE)),
        row(
            "all requests on one connection",
            vec![
                (store("c"), Status(0)),
                (opening(1), Frames(1)),
                (of_dump(["d"]), Status(0)),
                (retrieve(1, "a"), Descriptor(Old(0))),
                (get_dump(), dump(&[b, (b"c", New(0)), (b"d", New(1))])),
                (delete("b"), Status(0)),
                (list(), listed(["c", "d"])),
            ],
        )
        .leaves([(b"c", New(0)), (b"d", New(1))]),
    ];
    for id in odd() {
        let exchanges = vec![
            (store(id), Status(0)),
            (store(id), Status(EBUSY)),
            (retrieve(0, id), Descriptor(New(0))),
            (opening(1), Frames(1)),
            (of_dump([id]), Status(0)),
            (retrieve(1, id), Descriptor(New(2))),
            (delete(id), Status(ENOENT)),
            (store(id), Status(0)),
            (delete(id), Status(0)),
            (store(id), Status(0)),
        ];
        rows.push(row("an identifier of another kind", exchanges).leaves([a, b, (id, New(4))]));
    }
    rows
}

/// Invalid entries.
fn bad_entries() -> Vec<(&'static str, Vec<u8>, C)> {
    let good = lasting(b"c");
    let date = expiry_in(Duration::from_secs(3600));
    let named = |bytes: &[u8]| [&date[..], bytes].concat();
    vec![
        ("has a byte behind it", [&good[..], b"c"].concat(), C::HangUp),
        ("has a NUL behind it", [&good[..], &[0]].concat(), C::HangUp),
        ("ends before its NUL", good[..good.len() - 1].to_vec(), C::HangUp),
        ("has another byte in place of its NUL", named(b"\x01cc"), C::HangUp),
        ("ends inside its identifier", named(b"\xffabc\0"), C::HangUp),
        ("ends behind its date", date.to_vec(), C::HangUp),
        ("ends inside its date", date[..5].to_vec(), C::HangUp),
        ("is empty", vec![], C::HangUp),
        ("has an empty identifier", named(b"\0\0"), C::HangUp),
        ("has a NUL in its identifier", named(b"\x03a\0b\0"), C::Answers(vec![Status(EBUSY)], CUT)),
        (
            "has a NUL at the end of its identifier",
            named(b"\x02c\0\0"),
            C::Answers(vec![Status(0)], CUT),
        ),
        (
            "has a billion nanoseconds",
            entry(b"c", wire::label(1 << 62, 1_000_000_000)),
            C::Answers(vec![Status(0)], ANY_DATE),
        ),
        (
            "expires after the end of time",
            entry(b"c", wire::label(1 << 63, 0)),
            C::Answers(vec![Status(0)], ANY_DATE),
        ),
    ]
}

/// Invalid requests in valid frames. The daemon answers with an error and changes nothing.
fn invalid() -> Vec<Row> {
    let mut all: Vec<(&'static str, Request, C)> = vec![
        ("an empty payload", payload(b"", 0), C::HangUp),
        ("an empty payload, with a descriptor", payload(b"", 1), C::HangUp),
        ("an unknown letter", payload(b"X", 0), C::HangUp),
        ("an unknown letter and more", payload(&[b'x'; 1000], 0), C::HangUp),
        ("a letter in lower case", payload(b"l", 0), C::HangUp),
        ("a NUL", payload(b"\0", 0), C::HangUp),
        ("list, and a byte behind it", payload(b"L\0", 0), C::HangUp),
        ("list, with a descriptor", payload(b"L", 1), C::HangUp),
        ("list, with 253 descriptors", payload(b"L", 253), C::HangUp),
        ("get dump, and a byte behind it", payload(b"?\0", 0), C::HangUp),
        ("get dump, with a descriptor", payload(b"?", 1), C::HangUp),
        ("the opening of a set dump, with a byte too few", payload(b"!\0\0\0", 0), C::HangUp),
        (
            "the opening of a set dump, with a byte too many",
            payload(b"!\0\0\0\x01\0", 0),
            C::HangUp,
        ),
        ("the opening of a set dump, with a descriptor", payload(b"!\0\0\0\x01", 1), C::HangUp),
        ("a frame without a set dump", of_dump(["c"]), C::HangUp),
        ("an empty frame without a set dump", payload(b".", 0), C::HangUp),
        ("store of two descriptors", payload(&[b"S", &lasting(b"c")[..]].concat(), 2), C::HangUp),
        ("store of none", payload(&[b"S", &lasting(b"c")[..]].concat(), 0), C::HangUp),
        ("delete, with a descriptor", payload(b"D\x01a\0", 1), C::HangUp),
        ("delete without an identifier", payload(b"D", 0), C::HangUp),
        ("delete of an empty identifier", payload(b"D\0\0", 0), C::HangUp),
        ("delete of a shorter identifier than it says", payload(b"D\x02a\0", 0), C::HangUp),
        ("delete of a longer identifier than it says", payload(b"D\x01aa\0", 0), C::HangUp),
        (
            "delete of an identifier with a NUL in it",
            payload(b"D\x03a\0b\0", 0),
            C::Answers(vec![Status(0)], CUT),
        ),
        ("delete without the last NUL", payload(b"D\x01a", 0), C::HangUp),
        ("delete without a NUL", payload(b"D\x01aa", 0), C::HangUp),
        ("delete, and a byte behind it", payload(b"D\x01a\0\0", 0), C::HangUp),
        ("retrieve, with a descriptor", payload(b"R\0\x01a\0", 1), C::HangUp),
        (
            "retrieve with flag 2",
            retrieve(2, "a"),
            C::Answers(vec![Descriptor(Old(0))], "any flag but 0 means 1"),
        ),
        (
            "retrieve with flag 255",
            retrieve(255, "a"),
            C::Answers(vec![Descriptor(Old(0))], "any flag but 0 means 1"),
        ),
        ("retrieve without anything", payload(b"R", 0), C::HangUp),
        ("retrieve without an identifier", payload(b"R\0", 0), C::HangUp),
        ("retrieve of an empty identifier", retrieve(0, ""), C::HangUp),
        ("retrieve of a shorter identifier than it says", payload(b"R\0\x02a\0", 0), C::HangUp),
        ("retrieve of a longer identifier than it says", payload(b"R\x01\x01aa\0", 0), C::HangUp),
        (
            "retrieve of an identifier with a NUL in it",
            payload(b"R\0\x03a\0b\0", 0),
            C::Answers(vec![Descriptor(Old(0))], CUT),
        ),
        ("retrieve without the last NUL", payload(b"R\x01\x01a", 0), C::HangUp),
        ("retrieve, and a byte behind it", payload(b"R\x01\x01a\0\0", 0), C::HangUp),
        (
            "the longest payload that is possible",
            payload(&vec![b'.'; PAYLOAD_MAX as usize], 253),
            C::HangUp,
        ),
    ];
    for (what, bytes, c) in bad_entries() {
        all.push((what, payload(&[b"S", &bytes[..]].concat(), 1), c));
    }
    let answered = |(what, request, c)| row(what, vec![(request, Status(EPROTO))]).c(c);
    let mut rows: Vec<_> = all.into_iter().map(answered).collect();

    // Invalid frames of a set dump. The daemon stores no entry of such a frame, and ends the set dump.
    let frames = |bytes: &[u8], descriptors| payload(&[b".", bytes].concat(), descriptors);
    let (a, d) = (lasting(b"a"), lasting(b"d"));
    let mut bad: Vec<(&'static str, Request, C)> = vec![
        ("more entries than are missing", of_dump(["a", "d", "e"]), C::HangUp),
        ("more descriptors than entries", frames(&[&a[..], &d[..]].concat(), 3), C::HangUp),
        ("fewer descriptors than entries", frames(&[&a[..], &d[..]].concat(), 1), C::HangUp),
        ("no descriptors", frames(&a, 0), C::HangUp),
    ];
    for (what, bytes, c) in bad_entries().into_iter().filter(|(_, bytes, _)| !bytes.is_empty()) {
        let c = match c {
            C::Answers(_, why) => C::Answers(vec![Frames(1), Status(0)], why),
            c => c,
        };
        bad.push((what, frames(&[&a[..], &bytes[..]].concat(), 2), c));
    }
    for (what, request, c) in bad {
        let exchanges = vec![
            (opening(2), Frames(1)),
            (request, Status(EPROTO)),
            (of_dump(["a"]), Status(EPROTO)),
        ];
        rows.push(row(what, exchanges).c(c));
    }
    let twice = [&lasting(b"c")[..], &lasting(b"c")[..], &lasting(b"d")[..5]].concat();
    let exchanges = vec![(opening(3), Frames(1)), (frames(&twice, 3), Status(EPROTO))];
    let what = "one identifier twice, and then a part of an entry";
    rows.push(
        row(what, exchanges).c(C::Skipped("they free an entry twice, which corrupts their table")),
    );
    rows
}

/// Invalid frames. The daemon cannot know where the next frame begins.
fn broken_frames() -> Vec<Row> {
    let head = |length: u32, descriptors: u16| {
        [&length.to_be_bytes()[..], &descriptors.to_be_bytes(), b"L"].concat()
    };
    let whole = frame(&[b"S", &lasting(b"c")[..]].concat(), 1);
    // The C daemons keep unannounced descriptors for the next frame, or crash.
    let kept = C::Skipped("they keep the descriptors for the next frame");
    let all = vec![
        ("a length above the maximum by one", raw(&head(PAYLOAD_MAX + 1, 0), 0), C::Same),
        ("a length of 2^28", raw(&head(1 << 28, 0), 0), C::Same),
        ("a length of 2^32 - 1", raw(&head(u32::MAX, 0), 0), C::Same),
        ("254 descriptors announced", raw(&head(1, 254), 0), C::Same),
        ("254 descriptors announced and 253 sent", raw(&head(1, 254), 253), C::Same),
        ("65535 descriptors announced", raw(&head(1, 65535), 0), C::Same),
        ("a descriptor announced and none sent", raw(&whole, 0), C::Same),
        ("a descriptor announced and two sent", raw(&whole, 2), kept.clone()),
        ("two stores and three descriptors", raw(&whole.repeat(2), 3), kept.clone()),
        ("two descriptors announced and one sent", raw(&frame(b"L", 2), 1), C::Same),
        ("no descriptor announced and one sent", raw(&frame(b"L", 0), 1), kept.clone()),
        (
            "a descriptor with the second byte",
            Request(vec![(whole[..1].to_vec(), 0), (whole[1..].to_vec(), 1)]),
            C::Skipped("it depends on how the bytes arrive"),
        ),
        (
            "a descriptor with the payload",
            Request(vec![(whole[..6].to_vec(), 0), (whole[6..].to_vec(), 1)]),
            C::Skipped("it depends on how the bytes arrive"),
        ),
        (
            "another descriptor with the payload",
            Request(vec![(whole[..6].to_vec(), 1), (whole[6..].to_vec(), 1)]),
            kept,
        ),
    ];
    let mut rows = Vec::new();
    for (what, request, c) in all {
        let exchanges = vec![(list(), listed(["a", "b"])), (request, HangUp)];
        rows.push(row(what, exchanges).c(c));
    }
    let exchanges =
        vec![(opening(2), Frames(1)), (of_dump(["c"]), Status(EAGAIN)), (raw(&whole, 0), HangUp)];
    let (a, b) = ((&b"a"[..], Old(0)), (&b"b"[..], Old(1)));
    rows.push(row("a store without its descriptor inside a set dump", exchanges).leaves([
        a,
        b,
        (b"c", New(0)),
    ]));
    rows
}

/// How the bytes of the requests arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Arrival {
    /// Each request after the answer to the one before.
    InTurn,
    /// The same, and each byte separately.
    Bytewise,
    /// All requests have arrived before the daemon reads the first.
    Together,
}

/// A conversation with a daemon that holds `a` and `b`. It tracks every descriptor.
struct Conversation {
    daemon: Daemon,
    stream: UnixStream,
    /// The origin of each file.
    origins: HashMap<(u64, u64), Origin>,
    /// The other ends of the pipes. An end reports a hangup when all copies of the descriptor are closed.
    ends: Vec<(Origin, OwnedFd)>,
    sent: usize,
}

impl Conversation {
    fn start(generation: Generation, maxfds: usize) -> Conversation {
        let daemon = Daemon::start_with(generation, Setup { maxfds, ..Setup::default() });
        let mut conversation = Conversation {
            stream: connect(&daemon.path),
            daemon,
            origins: HashMap::new(),
            ends: Vec::new(),
            sent: 0,
        };
        let mut held = hold(["a", "b"]);
        for (number, held) in held.iter_mut().enumerate() {
            held.fd = conversation.descriptor(Old(number));
        }
        wire::set_dump(&conversation.daemon.path, &held).unwrap();
        conversation
    }

    /// A new descriptor, which is the end of a pipe.
    fn descriptor(&mut self, origin: Origin) -> OwnedFd {
        let (end, fd) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        self.origins.insert(inode(&fd), origin);
        self.ends.push((origin, end));
        fd
    }

    /// Sends a request. Errors are ignored, since the daemon may have disconnected.
    fn send(&mut self, request: &Request, arrival: Arrival) {
        for (bytes, count) in &request.0 {
            let fds: Vec<_> = (0..*count).map(|_| self.next()).collect();
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            if arrival != Arrival::Bytewise {
                let _ = wire::send(&self.stream, bytes, &fds);
                if request.0.len() > 1 && arrival == Arrival::InTurn {
                    wait_until_read(&self.stream);
                }
                continue;
            }
            for (at, byte) in bytes.iter().enumerate() {
                let _ = wire::send(&self.stream, &[*byte], if at == 0 { &fds } else { &[] });
                // Waiting after each byte of a long request would take too long. The short requests
                // have all boundaries between fields.
                if bytes.len() < 1000 {
                    wait_until_read(&self.stream);
                }
            }
        }
    }

    /// The next descriptor to send.
    fn next(&mut self) -> OwnedFd {
        self.sent += 1;
        self.descriptor(New(self.sent - 1))
    }

    /// The answer to a request.
    fn answer(&self, request: &Request) -> Answer {
        let Ok((payload, fds)) = wire::receive_frame(&self.stream) else { return HangUp };
        let origins: Vec<_> = fds.iter().map(|fd| self.origins[&inode(fd)]).collect();
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match (&payload[..], &origins[..]) {
            ([status], []) => Status(*status),
            ([0], [origin]) => Descriptor(*origin),
            ([0, ..], []) => match request.0[0].0[6] {
                b'L' => {
                    let ids = payload[5..].split_inclusive(|byte| *byte == 0);
                    let mut ids: Vec<_> =
                        ids.map(|id| id.strip_suffix(&[0]).unwrap().to_vec()).collect();
                    assert_eq!(ids.len(), number(1) as usize, "identifiers in a list");
                    ids.sort();
                    List(ids)
                }
                b'?' => {
                    assert_eq!(payload.len(), 9);
                    let mut all = Vec::new();
                    for _ in 0..number(1) {
                        let (payload, fds) = wire::receive_frame(&self.stream).unwrap();
                        all.extend(wire::entries(&payload, fds));
                    }
                    assert_eq!(all.len(), number(5) as usize, "entries in a dump");
                    Dump(self.known(&all))
                }
                _ => {
                    assert_eq!(payload.len(), 5);
                    Frames(number(1))
                }
            },
            _ => panic!("{payload:?} with {origins:?}"),
        }
    }

    /// Identifiers and origins of these entries, sorted.
    fn known(&self, all: &[Held]) -> Vec<(Vec<u8>, Origin)> {
        let mut all: Vec<_> =
            all.iter().map(|held| (held.id.clone(), self.origins[&inode(&held.fd)])).collect();
        all.sort();
        all
    }

    /// Whether all but these are closed.
    fn open_except(&self, left: &[(Vec<u8>, Origin)]) -> Vec<Origin> {
        let gone = |origin| !left.iter().any(|(_, other)| *other == origin);
        let open = self.ends.iter().filter(|(origin, end)| gone(*origin) && !wait_for_hangup(end));
        open.map(|(origin, _)| *origin).collect()
    }
}

/// Holds a conversation, and returns a description of what went wrong.
fn check(generation: Generation, row: &Row, arrival: Arrival) -> Option<String> {
    let (mut expected, answers_only) = row.answers(generation)?;
    let mut requests: Vec<_> = row.exchanges.iter().map(|(request, _)| request.clone()).collect();
    // A connection that stays open must still answer a request.
    if expected.last().is_some_and(|answer| *answer != HangUp) && !answers_only {
        requests.push(list());
        expected.push(listed(row.left.iter().map(|(id, _)| id)));
    }
    let mut conversation = Conversation::start(generation, row.maxfds);
    let pid = Pid::from_raw(conversation.daemon.pid() as i32).unwrap();
    if arrival == Arrival::Together {
        kill_process(pid, Signal::STOP).unwrap();
        requests.iter().for_each(|request| conversation.send(request, arrival));
        kill_process(pid, Signal::CONT).unwrap();
    }
    let mut answers = Vec::new();
    for request in &requests {
        if arrival != Arrival::Together {
            conversation.send(request, arrival);
        }
        answers.push(conversation.answer(request));
    }
    let mut wrong = String::new();
    if answers != expected {
        wrong += &format!("\n  answers {answers:?}\n      not {expected:?}");
    }
    if !answers_only {
        let left = wire::get_dump(&conversation.daemon.path).map(|left| conversation.known(&left));
        if !left.as_ref().is_ok_and(|left| *left == row.left) {
            wrong += &format!("\n  leaves {left:?}\n     not {:?}", row.left);
        }
        let open = conversation.open_except(&row.left);
        if !open.is_empty() {
            wrong += &format!("\n  still open: {open:?}");
        }
    }
    if wrong.is_empty() { None } else { Some(format!("{generation:?}: {}{wrong}", row.what)) }
}

/// Holds all these conversations, each with a new daemon.
fn check_all(generation: Generation, rows: Vec<Row>, arrival: Arrival) {
    let wrong: Vec<_> = rows.iter().filter_map(|row| check(generation, row, arrival)).collect();
    assert!(
        wrong.is_empty(),
        "{arrival:?}, {} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_daemon_answers_valid_requests_alike() {
    for generation in Generation::DAEMONS {
        check_all(generation, valid(), Arrival::InTurn);
    }
}

#[test]
fn an_invalid_request_is_refused_and_changes_nothing() {
    for generation in Generation::DAEMONS {
        check_all(generation, invalid(), Arrival::InTurn);
    }
}

#[test]
fn a_broken_frame_ends_only_its_connection() {
    for generation in Generation::DAEMONS {
        check_all(generation, broken_frames(), Arrival::InTurn);
    }
}

#[test]
fn the_answers_are_the_same_if_bytes_arrive_one_by_one() {
    // The C daemons disconnect if a header arrives in pieces.
    for rows in [valid(), invalid(), broken_frames()] {
        check_all(Generation::Ours, rows, Arrival::Bytewise);
    }
}

#[test]
fn the_answers_are_the_same_if_all_requests_arrive_at_once() {
    // If two pieces are in the socket before the daemon reads, it cannot know on which byte each
    // descriptor arrived. Requests in one piece do not depend on that.
    let whole = |row: &Row| row.exchanges.iter().all(|(request, _)| request.0.len() == 1);
    for rows in [valid(), invalid(), broken_frames()] {
        let rows = rows.into_iter().filter(whole).collect();
        check_all(Generation::Ours, rows, Arrival::Together);
    }
}

#[test]
fn a_request_may_arrive_in_two_pieces() {
    // The C daemons disconnect if they have to wait for the second piece.
    let mut conversation = Conversation::start(Generation::Ours, 1000);
    let requests = [
        store("c"),
        retrieve(0, "c"),
        opening(1),
        of_dump(["c"]),
        retrieve(1, "c"),
        store("c"),
        delete("c"),
        list(),
        opening(0),
    ];
    let longest = requests.iter().map(|request| request.0[0].0.len()).max().unwrap();
    for cut in 1..longest {
        let stored = conversation.sent;
        for request in &requests {
            let (bytes, count) = &request.0[0];
            let (one, two) = bytes.split_at(cut.min(bytes.len() - 1));
            conversation
                .send(&Request(vec![(one.to_vec(), *count), (two.to_vec(), 0)]), Arrival::InTurn);
            let due = match (bytes[6], bytes[7..].first()) {
                (b'R', Some(0)) => Descriptor(New(stored)),
                (b'R', _) => Descriptor(New(stored + 1)),
                (b'!', _) => Frames(bytes[10].into()),
                (b'L', _) => listed(["a", "b"]),
                _ => Status(0),
            };
            assert_eq!(conversation.answer(request), due, "{bytes:?} cut at {cut}");
        }
    }
}

#[test]
fn requests_may_arrive_in_any_pieces() {
    // Requests of every size. The descriptors of each are always on its first byte.
    let many: Vec<_> = (0..600).map(|number| format!("{number:0>200}")).collect();
    let ids: Vec<_> = ["a", "b"].into_iter().chain(many.iter().map(|id| &id[..])).collect();
    let dump = many.chunks(253).map(of_dump);
    let mut exchanges: Vec<_> = vec![(store("c"), Status(0)), (opening(600), Frames(3))];
    exchanges.extend(dump.zip([EAGAIN, EAGAIN, 0].map(Status)));
    exchanges.extend([
        (retrieve(1, "c"), Descriptor(New(0))),
        (retrieve(1, "c"), Status(ENOENT)),
        (list(), {
            let mut ids = ids.clone();
            ids.sort();
            listed(ids)
        }),
        (payload(b"x", 3), Status(EPROTO)),
        (store("d"), Status(0)),
        (delete("d"), Status(0)),
    ]);
    let pieces = prop::collection::vec((1..80usize, any::<bool>()), 1..40);
    let pieces = (pieces, prop::sample::select(vec![1usize, 7, 100, 1000]));
    TestRunner::new(random_cases(16))
        .run(&pieces, |(pieces, times)| {
            let mut conversation = Conversation::start(Generation::Ours, 1000);
            let mut pieces = pieces.iter().cycle();
            // The bytes that are not sent yet, and the descriptors for the first of them.
            let (mut pending, mut fds) = (Vec::new(), Vec::new());
            for (request, _) in &exchanges {
                let (bytes, count) = &request.0[0];
                if *count > 0 {
                    flush(&conversation.stream, &mut pending, &mut fds);
                    fds = (0..*count).map(|_| conversation.next()).collect();
                }
                pending.extend(bytes);
                for (length, wait) in pieces.by_ref() {
                    if pending.len() < length * times {
                        break;
                    }
                    let mut piece = pending.drain(..length * times).collect();
                    flush(&conversation.stream, &mut piece, &mut fds);
                    if *wait {
                        wait_until_read(&conversation.stream);
                    }
                }
            }
            flush(&conversation.stream, &mut pending, &mut fds);
            for (request, answer) in &exchanges {
                prop_assert!(
                    conversation.answer(request) == *answer,
                    "{:?}",
                    request.0[0].0.get(6)
                );
            }
            Ok(())
        })
        .unwrap();
}

/// Sends these bytes, if there are any, with the descriptors on the first of them.
fn flush(stream: &UnixStream, bytes: &mut Vec<u8>, fds: &mut Vec<OwnedFd>) {
    let sent = wire::send(stream, bytes, &fds.iter().map(AsFd::as_fd).collect::<Vec<_>>());
    sent.unwrap();
    if !bytes.is_empty() {
        fds.clear();
    }
    bytes.clear();
}

/// Rights, and the requests of a client that has these rights only, with their answers.
type Permitted = (&'static [(&'static str, &'static str)], Vec<(Request, Answer)>);

/// Conversations with a daemon that holds `a` and `b` and is full.
fn permitted() -> Vec<Permitted> {
    let list_of_both = listed(["a", "b"]);
    let denied = |requests: Vec<Request>| {
        requests.into_iter().map(|request| (request, Status(EPERM))).collect::<Vec<_>>()
    };
    let all = || vec![list(), get_dump(), opening(0), store("c"), delete("a"), retrieve(0, "a")];
    let but = |letter: u8| all().into_iter().filter(|r| r.0[0].0[6] != letter).collect();
    vec![
        (&[], denied(all())),
        (&[(LIST, "")], [denied(but(b'L')), vec![(list(), list_of_both)]].concat()),
        (
            &[(GETDUMP, "")],
            [
                denied(but(b'?')),
                vec![(get_dump(), Dump(vec![(b"a".to_vec(), Old(0)), (b"b".to_vec(), Old(1))]))],
            ]
            .concat(),
        ),
        (&[(SETDUMP, "")], [denied(but(b'!')), vec![(opening(0), Frames(0))]].concat()),
        (
            &[(STORE, "^a")],
            vec![
                (list(), Status(EPERM)),
                (store("c"), Status(EPERM)),
                // A client without the right does not learn what is held.
                (store("b"), Status(EPERM)),
                (delete("b"), Status(EPERM)),
                (delete("c"), Status(EPERM)),
                (delete("ac"), Status(ENOENT)),
                (store("a"), Status(EBUSY)),
                (store("ac"), Status(ENFILE)),
                (retrieve(0, "a"), Status(EPERM)),
                (retrieve(1, "a"), Status(EPERM)),
            ],
        ),
        (
            &[(RETRIEVE, "^a")],
            vec![
                (retrieve(0, "b"), Status(EPERM)),
                (retrieve(0, "c"), Status(EPERM)),
                (retrieve(1, "c"), Status(EPERM)),
                (retrieve(0, "ac"), Status(ENOENT)),
                (retrieve(0, "a"), Descriptor(Old(0))),
                // Retrieve with delete needs the right to store as well.
                (retrieve(1, "a"), Status(EPERM)),
                (retrieve(1, "ac"), Status(EPERM)),
                (store("a"), Status(EPERM)),
                (delete("a"), Status(EPERM)),
            ],
        ),
        (
            &[(RETRIEVE, ""), (STORE, "^c")],
            vec![
                (retrieve(0, "b"), Descriptor(Old(1))),
                (retrieve(1, "b"), Status(EPERM)),
                (retrieve(1, "d"), Status(EPERM)),
                (retrieve(1, "c"), Status(ENOENT)),
            ],
        ),
    ]
}

#[test]
fn every_right_allows_its_own_requests_only() {
    for generation in Generation::DAEMONS {
        for (rights, exchanges) in permitted() {
            let mut conversation = Conversation::start(generation, 2);
            let env = conversation.daemon.rules().join("uid/default/env");
            for right in [GETDUMP, SETDUMP, LIST, STORE, RETRIEVE] {
                fs::remove_file(env.join(right)).unwrap();
            }
            for (right, value) in rights {
                fs::write(env.join(right), format!("{value}\n")).unwrap();
            }
            conversation.stream = connect(&conversation.daemon.path);
            for (request, answer) in exchanges {
                conversation.send(&request, Arrival::InTurn);
                let what = &request.0[0].0[6..];
                let order = match (generation, &answer) {
                    // The C daemons check the capacity first.
                    (Generation::Ours, _) => answer,
                    (_, Status(EBUSY)) => Status(ENFILE),
                    _ => answer,
                };
                assert_eq!(
                    conversation.answer(&request),
                    order,
                    "{generation:?} {rights:?} {what:?}"
                );
            }
            fs::write(env.join(GETDUMP), "\n").unwrap();
            let left = conversation.known(&wire::get_dump(&conversation.daemon.path).unwrap());
            assert_eq!(left, [(b"a".to_vec(), Old(0)), (b"b".to_vec(), Old(1))]);
        }
    }
}

#[test]
fn a_client_without_a_rule_is_disconnected_at_once() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start_with(generation, Setup { rights: None, ..Setup::default() });
        let stream = connect(&daemon.path);
        assert_eq!(wire::receive(&stream, &mut [0; 10]).unwrap().0, 0, "{generation:?}");
    }
}
