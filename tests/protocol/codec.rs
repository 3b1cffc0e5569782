//! Frames, entries and dates: properties that hold for any input.

use crate::kit::{random_cases, wire};
use fdholder::protocol::entry::{ENTRY_MAX, Entries, Entry};
use fdholder::protocol::frame::{ENTRIES_MAX, HEADER, Header};
use fdholder::protocol::reply::{self, Expected, Head, STATUS};
use fdholder::protocol::tai;
use fdholder::sys::time::Time;
use proptest::collection::vec;
use proptest::prelude::*;

/// An identifier: 1 to 255 bytes, no NUL among them.
fn identifier() -> impl Strategy<Value = Vec<u8>> {
    vec(1u8.., 1..=255)
}

/// A valid expiry.
fn expiry() -> impl Strategy<Value = [u8; 12]> {
    (0..=u64::MAX >> 1, 0..1_000_000_000u32).prop_map(|(s, ns)| wire::label(s, ns))
}

/// Parses the entries of a payload one by one.
fn parse_all(mut payload: &[u8]) -> Option<Vec<(Vec<u8>, [u8; 12])>> {
    let mut all = Vec::new();
    while !payload.is_empty() {
        let (entry, rest) = Entry::parse(payload)?;
        all.push((entry.identifier.to_vec(), *entry.expiry));
        payload = rest;
    }
    Some(all)
}

/// The number of entries in a payload, as the product counts them. `None` if the payload is invalid.
fn count(payload: &[u8]) -> Option<usize> {
    let entries = Entries::parse(payload)?;
    assert_eq!(entries.len(), entries.collect::<Vec<_>>().len());
    Some(entries.len())
}

proptest! {
    #![proptest_config( random_cases(256))]

    #[test]
    fn entries_are_read_as_they_were_written(
        entries in vec((identifier(), expiry()), 0..=ENTRIES_MAX),
    ) {
        let payload: Vec<u8> = entries.iter().flat_map(|(id, at)| wire::entry(id, *at)).collect();
        prop_assert_eq!(count(&payload), Some(entries.len()));
        prop_assert_eq!(parse_all(&payload), Some(entries));
    }

    #[test]
    fn every_parsed_entry_is_valid(bytes in vec(any::<u8>(), 0..600)) {
        if let Some((entry, rest)) = Entry::parse(&bytes) {
            prop_assert!(bytes == [entry.bytes, rest].concat());
            prop_assert!((1..=255).contains(&entry.identifier.len()));
            prop_assert!(!entry.identifier.contains(&0));
            prop_assert!(entry.expiry[0] < 0x80);
            let written = wire::entry(entry.identifier, *entry.expiry);
            prop_assert!(bytes == [&written[..], rest].concat());
        }
    }

    #[test]
    fn an_entry_with_one_byte_changed_is_refused_or_is_another_valid_entry(
        id in identifier(), at in expiry(), place in any::<prop::sample::Index>(), new: u8,
    ) {
        let mut bytes = wire::entry(&id, at);
        let place = place.index(bytes.len());
        bytes[place] = new;
        let parsed = parse_all(&bytes);
        prop_assert_eq!(parsed.as_ref().map(Vec::len), count(&bytes));
        if let Some([(id, at)]) = parsed.as_deref() {
            prop_assert_eq!(wire::entry(id, *at), bytes);
        }
    }

    #[test]
    fn a_truncated_payload_is_refused_unless_it_ends_between_entries(
        entries in vec((identifier(), expiry()), 1..20), cut in any::<prop::sample::Index>(),
    ) {
        let payload: Vec<u8> = entries.iter().flat_map(|(id, at)| wire::entry(id, *at)).collect();
        let part = &payload[..cut.index(payload.len())];
        let whole = (0..entries.len()).find(|n| {
            entries[..*n].iter().map(|(id, _)| id.len() + 14).sum::<usize>() == part.len()
        });
        prop_assert_eq!(count(part), whole);
    }

    #[test]
    fn a_header_is_read_as_it_was_written(length: u32, descriptors: u16) {
        let header = Header { length: length as usize, descriptors: descriptors.into() };
        let mut bytes = *b"headermore";
        prop_assert_eq!(header.write(&mut bytes), Some(()));
        prop_assert_eq!(Header::parse(&bytes), Some(header));
        prop_assert_eq!(&bytes[HEADER..], b"more");
        prop_assert_eq!(Header::parse(&bytes[..HEADER]), Some(header));
        prop_assert_eq!(Header::parse(&bytes[..HEADER - 1]), None);
        prop_assert_eq!(header.write(&mut bytes[..HEADER - 1]), None);
    }

    #[test]
    fn only_a_header_that_fits_its_entries_is_accepted(
        length in 0..2 * ENTRIES_MAX * ENTRY_MAX, descriptors in 0..600usize,
        most in 0..=ENTRIES_MAX,
    ) {
        let possible = (1..=most).contains(&descriptors)
            && (1..=descriptors * ENTRY_MAX).contains(&length);
        prop_assert_eq!(Header { length, descriptors }.is_entries(most), possible);
    }

    #[test]
    fn labels_sort_like_their_dates(
        a in -1i64 << 40..1 << 40, b in -1i64 << 40..1 << 40, x in 0..1_000_000_000i64,
        y in 0..1_000_000_000i64,
    ) {
        let (a, b) =
            (Time { seconds: a, nanoseconds: x }, Time { seconds: b, nanoseconds: y });
        prop_assert_eq!(tai::label(a).cmp(&tai::label(b)), a.cmp(&b));
    }

    #[test]
    fn never_differs_from_every_realistic_date(
        now in 0..1i64 << 40, nanoseconds in 0..1_000_000_000i64, span in 0..1i64 << 59,
    ) {
        let now = Time { seconds: now, nanoseconds };
        prop_assert!(tai::is_never(&tai::never(now), now));
        let then = Time { seconds: now.seconds + span, ..now };
        prop_assert!(!tai::is_never(&tai::label(then), now));
    }
}

#[test]
fn a_label_since_2017_is_37_seconds_ahead_of_utc() {
    let time = Time { seconds: 1_800_000_000, nanoseconds: 123_456_789 };
    assert_eq!(tai::label(time), wire::label((1 << 62) + 37 + 1_800_000_000, 123_456_789));
}

#[test]
fn leap_seconds_count_from_the_moment_after_them() {
    // Midnight UTC, and the number of seconds by which TAI is ahead of UTC from then on.
    let table = [(0, 10), (78_796_800, 11), (315_532_800, 19), (915_148_800, 32)];
    let table = table.into_iter().chain([(1_435_708_800, 36), (1_483_228_800, 37)]);
    for (seconds, ahead) in table {
        let label = |seconds| tai::label(Time { seconds, nanoseconds: 0 });
        let expected = |at: i64, ahead| wire::label((1 << 62) + (at + ahead) as u64, 0);
        assert_eq!(label(seconds), expected(seconds, ahead));
        let before = if seconds == 0 { ahead } else { ahead - 1 };
        assert_eq!(label(seconds - 1), expected(seconds - 1, before));
    }
}

/// The length of a reply of which `have` bytes have arrived.
fn reply_length(bytes: &[u8], have: usize, extra: usize) -> Option<usize> {
    let mut head = Head::default();
    head[..have].copy_from_slice(&bytes[..have]);
    reply::length(&head, have, Expected { extra: extra as u8, ..Expected::STATUS })
}

proptest! {
    #![proptest_config( random_cases(256))]

    #[test]
    fn a_reply_is_accepted_or_refused_however_it_is_split(
        length in prop_oneof![0..20u32, any::<u32>()], descriptors in prop_oneof![Just(0), 0..3u16],
        payload in vec(prop_oneof![Just(0u8), any::<u8>()], 9), extra in 0..=8usize,
    ) {
        let bytes = wire::frame(&payload, descriptors);
        let bytes = [&length.to_be_bytes()[..], &bytes[4..]].concat();
        // The reply is checked after each byte, as if the bytes arrived one by one.
        let mut have = 0;
        let result = loop {
            match reply_length(&bytes, have, extra) {
                Some(needed) if needed > have => have += 1,
                other => break other,
            }
        };
        let expected = match (descriptors, payload[0], length as usize) {
            (0, 0, n) if n == 1 + extra => Some(STATUS + extra),
            (0, 1.., 1) => Some(STATUS),
            _ => None,
        };
        prop_assert_eq!(result, expected);
        prop_assert!(expected.is_none() || expected == Some(have));
    }
}
