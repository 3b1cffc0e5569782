//! What a daemon answers: one conversation a row, with ours and with those of C, in every way in
//! which its bytes can arrive.

use crate::kit::clients::hold;
use crate::kit::daemon::{Daemon, GETDUMP, Generation, LIST, RETRIEVE, SETDUMP, STORE, Setup};
use crate::kit::process::until_read;
use crate::kit::server::connect;
use crate::kit::tool::PATIENCE;
use crate::kit::wire::{
    self, Held, delete_request, entry, expiry_in, frame, inode, retrieve_request, set_dump_request,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
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

/// A descriptor, by where it comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Thing {
    /// Held from the start, so many places behind the first one.
    Old(usize),
    /// Sent in the conversation, so many descriptors behind the first one.
    New(usize),
}
use Thing::{New, Old};

/// What comes back.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Answer {
    /// No more than yes or no.
    Status(u8),
    /// Yes, and a descriptor.
    Descriptor(Thing),
    /// The identifiers, sorted.
    List(Vec<Vec<u8>>),
    /// Everything, sorted.
    Dump(Vec<(Vec<u8>, Thing)>),
    /// A set dump is welcome, in so many frames.
    Frames(u32),
    /// The end of the connection.
    HangUp,
}
use Answer::{Descriptor, Dump, Frames, HangUp, List, Status};

/// What is sent for one answer: pieces, each with so many descriptors on its first byte.
#[derive(Clone)]
struct Request(Vec<(Vec<u8>, usize)>);

/// A frame with this payload, and so many descriptors announced and sent.
fn payload(payload: &[u8], descriptors: usize) -> Request {
    Request(vec![(frame(payload, descriptors as u16), descriptors)])
}

/// Bytes as they are, and so many descriptors with the first of them.
fn raw(bytes: &[u8], descriptors: usize) -> Request {
    Request(vec![(bytes.to_vec(), descriptors)])
}

/// An entry that lasts.
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

/// The opening of a set dump of so many.
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
    /// How many the daemon may hold.
    maxfds: usize,
    /// What is said and answered.
    said: Vec<(Request, Answer)>,
    /// What is held afterwards. All other descriptors are closed by then, the connection or not.
    left: Vec<(Vec<u8>, Thing)>,
    /// What the daemons of C do.
    c: C,
}

/// What the daemons of C do in a row.
#[derive(Clone)]
enum C {
    /// The same.
    Same,
    /// They hang up on what ours answers with a protocol error. What they have done by then is
    /// their own affair.
    HangUp,
    /// They begin like this and then hang up, and why.
    Says(Vec<Answer>, &'static str),
    /// It is not for them, and why.
    Not(&'static str),
}

/// Why C refuses more set dumps than ours.
const TWICE: &str = "what would be replaced counts twice";
/// Why C takes identifiers that ours does not.
const CUT: &str = "an identifier ends where its first NUL is, and nobody sees that it is longer";
/// Why C takes dates that ours does not.
const ANY_DATE: &str = "any 12 bytes are a date";

/// A row in which nothing changes.
fn row(what: &'static str, said: Vec<(Request, Answer)>) -> Row {
    let left = vec![(b"a".to_vec(), Old(0)), (b"b".to_vec(), Old(1))];
    Row { what, maxfds: 5, said, left, c: C::Same }
}

impl Row {
    /// The same where the daemon holds as many as it may.
    fn full(self) -> Row {
        Row { maxfds: 2, ..self }
    }

    /// The same with these left in the end.
    fn leaves<I: AsRef<[u8]>>(self, left: impl IntoIterator<Item = (I, Thing)>) -> Row {
        let left = left.into_iter().map(|(id, thing)| (id.as_ref().to_vec(), thing));
        let mut left: Vec<_> = left.collect();
        left.sort();
        Row { left, ..self }
    }

    /// The same where the daemons of C differ.
    fn c(self, c: C) -> Row {
        Row { c, ..self }
    }

    /// The answers that are due, and whether they are all that counts.
    fn answers(&self, generation: Generation) -> Option<(Vec<Answer>, bool)> {
        let ours = self.said.iter().map(|(_, answer)| answer.clone());
        let of_c = |answers: Vec<Answer>| {
            let ends = std::iter::repeat(HangUp);
            Some((answers.into_iter().chain(ends).take(self.said.len()).collect(), true))
        };
        match &self.c {
            _ if generation == Generation::Ours => Some((ours.collect(), false)),
            C::Same => Some((ours.collect(), false)),
            C::HangUp => of_c(ours.take_while(|answer| *answer != Status(EPROTO)).collect()),
            C::Says(answers, _) => of_c(answers.clone()),
            C::Not(why) => {
                println!("not {generation:?}: {}: {why}", self.what);
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

/// Conversations in which all goes well, or is refused for what is held.
fn proper() -> Vec<Row> {
    let (a, b) = ((&b"a"[..], Old(0)), (&b"b"[..], Old(1)));
    let dump = |all: &[(&[u8], Thing)]| {
        Dump(all.iter().map(|(id, thing)| (id.to_vec(), *thing)).collect())
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
            .c(C::Says(vec![Status(ENFILE)], "it looks for room first")),
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
            "names that begin alike",
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
        .c(C::Not("it is looked at later")),
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
        .c(C::Says(vec![Status(ENFILE)], TWICE)),
        row(
            "a set dump that replaces all of a full one",
            vec![(opening(2), Frames(1)), (of_dump(["b", "a"]), Status(0))],
        )
        .full()
        .leaves([(b"a", New(1)), (b"b", New(0))])
        .c(C::Says(vec![Status(ENFILE)], TWICE)),
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
        .c(C::Says(vec![Status(ENFILE)], TWICE)),
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
        .c(C::Says(vec![Status(ENFILE)], TWICE)),
        row(
            "everything that one client can want",
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
        let said = vec![
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
        rows.push(row("an identifier of another kind", said).leaves([a, b, (id, New(4))]));
    }
    rows
}

/// Entries that are none.
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
        ("has a NUL in its identifier", named(b"\x03a\0b\0"), C::Says(vec![Status(EBUSY)], CUT)),
        (
            "has a NUL at the end of its identifier",
            named(b"\x02c\0\0"),
            C::Says(vec![Status(0)], CUT),
        ),
        (
            "has a billion nanoseconds",
            entry(b"c", wire::label(1 << 62, 1_000_000_000)),
            C::Says(vec![Status(0)], ANY_DATE),
        ),
        (
            "expires after the end of time",
            entry(b"c", wire::label(1 << 63, 0)),
            C::Says(vec![Status(0)], ANY_DATE),
        ),
    ]
}

/// Whole requests that are wrong. They are answered, and change nothing.
fn wrong() -> Vec<Row> {
    let mut all: Vec<(&'static str, Request, C)> = vec![
        ("nothing", payload(b"", 0), C::HangUp),
        ("nothing, with a descriptor", payload(b"", 1), C::HangUp),
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
        ("a frame of no set dump", of_dump(["c"]), C::HangUp),
        ("an empty frame of no set dump", payload(b".", 0), C::HangUp),
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
            C::Says(vec![Status(0)], CUT),
        ),
        ("delete without the last NUL", payload(b"D\x01a", 0), C::HangUp),
        ("delete without a NUL", payload(b"D\x01aa", 0), C::HangUp),
        ("delete, and a byte behind it", payload(b"D\x01a\0\0", 0), C::HangUp),
        ("retrieve, with a descriptor", payload(b"R\0\x01a\0", 1), C::HangUp),
        (
            "retrieve with flag 2",
            retrieve(2, "a"),
            C::Says(vec![Descriptor(Old(0))], "any flag but 0 is 1"),
        ),
        (
            "retrieve with flag 255",
            retrieve(255, "a"),
            C::Says(vec![Descriptor(Old(0))], "any flag but 0 is 1"),
        ),
        ("retrieve without anything", payload(b"R", 0), C::HangUp),
        ("retrieve without an identifier", payload(b"R\0", 0), C::HangUp),
        ("retrieve of an empty identifier", retrieve(0, ""), C::HangUp),
        ("retrieve of a shorter identifier than it says", payload(b"R\0\x02a\0", 0), C::HangUp),
        ("retrieve of a longer identifier than it says", payload(b"R\x01\x01aa\0", 0), C::HangUp),
        (
            "retrieve of an identifier with a NUL in it",
            payload(b"R\0\x03a\0b\0", 0),
            C::Says(vec![Descriptor(Old(0))], CUT),
        ),
        ("retrieve without the last NUL", payload(b"R\x01\x01a", 0), C::HangUp),
        ("retrieve, and a byte behind it", payload(b"R\x01\x01a\0\0", 0), C::HangUp),
        ("the longest there can be", payload(&vec![b'.'; PAYLOAD_MAX as usize], 253), C::HangUp),
    ];
    for (what, bytes, c) in bad_entries() {
        all.push((what, payload(&[b"S", &bytes[..]].concat(), 1), c));
    }
    let answered = |(what, request, c)| row(what, vec![(request, Status(EPROTO))]).c(c);
    let mut rows: Vec<_> = all.into_iter().map(answered).collect();

    // Frames of a set dump. Whatever is wrong with one, nothing in it counts, and no more come.
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
            C::Says(_, why) => C::Says(vec![Frames(1), Status(0)], why),
            c => c,
        };
        bad.push((what, frames(&[&a[..], &bytes[..]].concat(), 2), c));
    }
    for (what, request, c) in bad {
        let said = vec![
            (opening(2), Frames(1)),
            (request, Status(EPROTO)),
            (of_dump(["a"]), Status(EPROTO)),
        ];
        rows.push(row(what, said).c(c));
    }
    let twice = [&lasting(b"c")[..], &lasting(b"c")[..], &lasting(b"d")[..5]].concat();
    let said = vec![(opening(3), Frames(1)), (frames(&twice, 3), Status(EPROTO))];
    let what = "one identifier twice, and then half an entry";
    rows.push(row(what, said).c(C::Not("it frees something twice, and its table is no good then")));
    rows
}

/// What breaks the frames, so that nobody can tell where the next one begins.
fn broken() -> Vec<Row> {
    let head = |length: u32, descriptors: u16| {
        [&length.to_be_bytes()[..], &descriptors.to_be_bytes(), b"L"].concat()
    };
    let whole = frame(&[b"S", &lasting(b"c")[..]].concat(), 1);
    // More descriptors than announced are kept for the next frame, or crash it.
    let kept = C::Not("they are kept for the next frame");
    let all = vec![
        ("a length of one more than there can be", raw(&head(PAYLOAD_MAX + 1, 0), 0), C::Same),
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
            C::Not("it depends on how the bytes arrive"),
        ),
        (
            "a descriptor with the payload",
            Request(vec![(whole[..6].to_vec(), 0), (whole[6..].to_vec(), 1)]),
            C::Not("it depends on how the bytes arrive"),
        ),
        (
            "another descriptor with the payload",
            Request(vec![(whole[..6].to_vec(), 1), (whole[6..].to_vec(), 1)]),
            kept,
        ),
    ];
    let mut rows = Vec::new();
    for (what, request, c) in all {
        let said = vec![(list(), listed(["a", "b"])), (request, HangUp)];
        rows.push(row(what, said).c(c));
    }
    let said =
        vec![(opening(2), Frames(1)), (of_dump(["c"]), Status(EAGAIN)), (raw(&whole, 0), HangUp)];
    let (a, b) = ((&b"a"[..], Old(0)), (&b"b"[..], Old(1)));
    rows.push(row("in the middle of a set dump", said).leaves([a, b, (b"c", New(0))]));
    rows
}

/// How the bytes arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// One request, and its answer, and then the next.
    InTurn,
    /// The same, each byte for itself.
    Bytewise,
    /// All requests are there before the daemon looks.
    Together,
}

/// A daemon that holds `a` and `b`, and what has become of the descriptors in a conversation.
struct Talk {
    daemon: Daemon,
    stream: UnixStream,
    /// Which is which.
    things: HashMap<(u64, u64), Thing>,
    /// The other ends of pipes, which hang up when nobody has the descriptor any more.
    ends: Vec<(Thing, OwnedFd)>,
    sent: usize,
}

impl Talk {
    fn start(generation: Generation, maxfds: usize) -> Talk {
        let daemon = Daemon::start_with(generation, Setup { maxfds, ..Setup::default() });
        let mut talk = Talk {
            stream: connect(&daemon.path),
            daemon,
            things: HashMap::new(),
            ends: Vec::new(),
            sent: 0,
        };
        let mut held = hold(["a", "b"]);
        for (number, held) in held.iter_mut().enumerate() {
            held.fd = talk.thing(Old(number));
        }
        wire::set_dump(&talk.daemon.path, &held).unwrap();
        talk
    }

    /// A new descriptor.
    fn thing(&mut self, thing: Thing) -> OwnedFd {
        let (end, fd) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        self.things.insert(inode(&fd), thing);
        self.ends.push((thing, end));
        fd
    }

    /// Sends a request. Where the daemon has hung up already there is nothing to send it to.
    fn send(&mut self, request: &Request, way: Way) {
        for (bytes, count) in &request.0 {
            let fds: Vec<_> = (0..*count).map(|_| self.next()).collect();
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            if way != Way::Bytewise {
                let _ = wire::send(&self.stream, bytes, &fds);
                if request.0.len() > 1 && way == Way::InTurn {
                    until_read(&self.stream);
                }
                continue;
            }
            for (at, byte) in bytes.iter().enumerate() {
                let _ = wire::send(&self.stream, &[*byte], if at == 0 { &fds } else { &[] });
                // So many bytes one after the other take their time. They are short ones that
                // it depends on.
                if bytes.len() < 1000 {
                    until_read(&self.stream);
                }
            }
        }
    }

    /// The next descriptor to send.
    fn next(&mut self) -> OwnedFd {
        self.sent += 1;
        self.thing(New(self.sent - 1))
    }

    /// The answer to a request.
    fn answer(&self, request: &Request) -> Answer {
        let Ok((payload, fds)) = wire::receive_frame(&self.stream) else { return HangUp };
        let things: Vec<_> = fds.iter().map(|fd| self.things[&inode(fd)]).collect();
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match (&payload[..], &things[..]) {
            ([status], []) => Status(*status),
            ([0], [thing]) => Descriptor(*thing),
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
            _ => panic!("{payload:?} with {things:?}"),
        }
    }

    /// All these, sorted.
    fn known(&self, all: &[Held]) -> Vec<(Vec<u8>, Thing)> {
        let mut all: Vec<_> =
            all.iter().map(|held| (held.id.clone(), self.things[&inode(&held.fd)])).collect();
        all.sort();
        all
    }

    /// Whether all but these are closed.
    fn closed_but(&self, left: &[(Vec<u8>, Thing)]) -> Vec<Thing> {
        let gone = |thing| !left.iter().any(|(_, other)| *other == thing);
        let open = self.ends.iter().filter(|(thing, end)| gone(*thing) && !hung_up(end));
        open.map(|(thing, _)| *thing).collect()
    }
}

/// Whether somebody hangs up, which is waited for.
pub fn hung_up(end: &impl AsFd) -> bool {
    let time = Timespec::try_from(PATIENCE).unwrap();
    let mut end = [PollFd::new(end, PollFlags::empty())];
    retry_on_intr(|| poll(&mut end, Some(&time))).unwrap() > 0
}

/// Has a conversation, and says what went otherwise than it should.
fn follow(generation: Generation, row: &Row, way: Way) -> Option<String> {
    let (mut expected, answers_only) = row.answers(generation)?;
    let mut requests: Vec<_> = row.said.iter().map(|(request, _)| request.clone()).collect();
    // The connection is still good, and is asked what is held.
    if expected.last().is_some_and(|answer| *answer != HangUp) && !answers_only {
        requests.push(list());
        expected.push(listed(row.left.iter().map(|(id, _)| id)));
    }
    let mut talk = Talk::start(generation, row.maxfds);
    let pid = Pid::from_raw(talk.daemon.pid() as i32).unwrap();
    if way == Way::Together {
        kill_process(pid, Signal::STOP).unwrap();
        requests.iter().for_each(|request| talk.send(request, way));
        kill_process(pid, Signal::CONT).unwrap();
    }
    let mut answers = Vec::new();
    for request in &requests {
        if way != Way::Together {
            talk.send(request, way);
        }
        answers.push(talk.answer(request));
    }
    let mut wrong = String::new();
    if answers != expected {
        wrong += &format!("\n  answers {answers:?}\n      not {expected:?}");
    }
    if !answers_only {
        let left = wire::get_dump(&talk.daemon.path).map(|left| talk.known(&left));
        if !left.as_ref().is_ok_and(|left| *left == row.left) {
            wrong += &format!("\n  leaves {left:?}\n     not {:?}", row.left);
        }
        let open = talk.closed_but(&row.left);
        if !open.is_empty() {
            wrong += &format!("\n  still open: {open:?}");
        }
    }
    if wrong.is_empty() { None } else { Some(format!("{generation:?}: {}{wrong}", row.what)) }
}

/// Has all these conversations.
fn follow_all(generation: Generation, rows: Vec<Row>, way: Way) {
    let wrong: Vec<_> = rows.iter().filter_map(|row| follow(generation, row, way)).collect();
    assert!(wrong.is_empty(), "{way:?}, {} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn every_daemon_answers_what_is_proper_alike() {
    for generation in Generation::DAEMONS {
        follow_all(generation, proper(), Way::InTurn);
    }
}

#[test]
fn a_wrong_request_is_refused_and_changes_nothing() {
    for generation in Generation::DAEMONS {
        follow_all(generation, wrong(), Way::InTurn);
    }
}

#[test]
fn broken_frames_end_the_connection_and_nothing_else() {
    for generation in Generation::DAEMONS {
        follow_all(generation, broken(), Way::InTurn);
    }
}

#[test]
fn every_conversation_is_the_same_byte_by_byte() {
    // The daemons of C hang up when a header comes in pieces.
    for rows in [proper(), wrong(), broken()] {
        follow_all(Generation::Ours, rows, Way::Bytewise);
    }
}

#[test]
fn every_conversation_is_the_same_if_all_of_it_is_there_at_once() {
    // Which descriptors came with which byte is known no more if both were there before.
    let whole = |row: &Row| row.said.iter().all(|(request, _)| request.0.len() == 1);
    for rows in [proper(), wrong(), broken()] {
        let rows = rows.into_iter().filter(whole).collect();
        follow_all(Generation::Ours, rows, Way::Together);
    }
}

#[test]
fn a_request_may_come_in_two_pieces() {
    // The daemons of C hang up if they have to wait for the second one.
    let mut talk = Talk::start(Generation::Ours, 1000);
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
        let stored = talk.sent;
        for request in &requests {
            let (bytes, count) = &request.0[0];
            let (one, two) = bytes.split_at(cut.min(bytes.len() - 1));
            talk.send(&Request(vec![(one.to_vec(), *count), (two.to_vec(), 0)]), Way::InTurn);
            let due = match (bytes[6], bytes[7..].first()) {
                (b'R', Some(0)) => Descriptor(New(stored)),
                (b'R', _) => Descriptor(New(stored + 1)),
                (b'!', _) => Frames(bytes[10].into()),
                (b'L', _) => listed(["a", "b"]),
                _ => Status(0),
            };
            assert_eq!(talk.answer(request), due, "{bytes:?} cut at {cut}");
        }
    }
}

#[test]
fn requests_may_come_in_any_pieces() {
    // Frames of every size. The descriptors of each come with its first byte in any case.
    let many: Vec<_> = (0..600).map(|number| format!("{number:0>200}")).collect();
    let ids: Vec<_> = ["a", "b"].into_iter().chain(many.iter().map(|id| &id[..])).collect();
    let dump = many.chunks(253).map(of_dump);
    let mut said: Vec<_> = vec![(store("c"), Status(0)), (opening(600), Frames(3))];
    said.extend(dump.zip([EAGAIN, EAGAIN, 0].map(Status)));
    said.extend([
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
    let config = Config { cases: 16, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&pieces, |(pieces, times)| {
            let mut talk = Talk::start(Generation::Ours, 1000);
            let mut pieces = pieces.iter().cycle();
            // What is not sent yet, and the descriptors that go with the first byte of it.
            let (mut pending, mut fds) = (Vec::new(), Vec::new());
            for (request, _) in &said {
                let (bytes, count) = &request.0[0];
                if *count > 0 {
                    flush(&talk.stream, &mut pending, &mut fds);
                    fds = (0..*count).map(|_| talk.next()).collect();
                }
                pending.extend(bytes);
                for (length, wait) in pieces.by_ref() {
                    if pending.len() < length * times {
                        break;
                    }
                    let mut piece = pending.drain(..length * times).collect();
                    flush(&talk.stream, &mut piece, &mut fds);
                    if *wait {
                        until_read(&talk.stream);
                    }
                }
            }
            flush(&talk.stream, &mut pending, &mut fds);
            for (request, answer) in &said {
                prop_assert!(talk.answer(request) == *answer, "{:?}", request.0[0].0.get(6));
            }
            Ok(())
        })
        .unwrap();
}

/// Sends these bytes, if there are any, and descriptors with the first of them.
fn flush(stream: &UnixStream, bytes: &mut Vec<u8>, fds: &mut Vec<OwnedFd>) {
    let sent = wire::send(stream, bytes, &fds.iter().map(AsFd::as_fd).collect::<Vec<_>>());
    sent.unwrap();
    if !bytes.is_empty() {
        fds.clear();
    }
    bytes.clear();
}

/// Rights, and what one who has no others is answered.
type Permitted = (&'static [(&'static str, &'static str)], Vec<(Request, Answer)>);

/// Conversations with a daemon that holds `a` and `b` and no more.
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
                // Whoever has no right learns nothing of what is held.
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
                // To delete takes the right to store as well.
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
        for (rights, said) in permitted() {
            let mut talk = Talk::start(generation, 2);
            let env = talk.daemon.rules().join("uid/default/env");
            for right in [GETDUMP, SETDUMP, LIST, STORE, RETRIEVE] {
                fs::remove_file(env.join(right)).unwrap();
            }
            for (right, value) in rights {
                fs::write(env.join(right), format!("{value}\n")).unwrap();
            }
            talk.stream = connect(&talk.daemon.path);
            for (request, answer) in said {
                talk.send(&request, Way::InTurn);
                let what = &request.0[0].0[6..];
                let order = match (generation, &answer) {
                    // It looks for room first.
                    (Generation::Ours, _) => answer,
                    (_, Status(EBUSY)) => Status(ENFILE),
                    _ => answer,
                };
                assert_eq!(talk.answer(&request), order, "{generation:?} {rights:?} {what:?}");
            }
            fs::write(env.join(GETDUMP), "\n").unwrap();
            let left = talk.known(&wire::get_dump(&talk.daemon.path).unwrap());
            assert_eq!(left, [(b"a".to_vec(), Old(0)), (b"b".to_vec(), Old(1))]);
        }
    }
}

#[test]
fn who_is_not_allowed_is_hung_up_on_at_once() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start_with(generation, Setup { rights: None, ..Setup::default() });
        let stream = connect(&daemon.path);
        assert_eq!(wire::receive(&stream, &mut [0; 10]).unwrap().0, 0, "{generation:?}");
    }
}
