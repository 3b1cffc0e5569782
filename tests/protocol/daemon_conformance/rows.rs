//! The conversations.

use super::*;
use crate::kit::wire::{self, entry, expiry_in, frame};
use std::time::Duration;

/// Why C refuses set dumps that ours accepts.
const TWICE: &str = "what would be replaced counts twice";

/// Why C accepts identifiers that ours refuses.
const CUT: &str = "an identifier ends at its first NUL, and the longer length goes unnoticed";

/// Why C accepts dates that ours refuses.
const ANY_DATE: &str = "any 12 bytes are a valid date";

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
pub fn valid() -> Vec<Row> {
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
pub fn invalid() -> Vec<Row> {
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
pub fn broken_frames() -> Vec<Row> {
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
