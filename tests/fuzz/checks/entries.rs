//! Entries of dumps: they are parsed, counted, and put into frames.

use crate::kit::wire;
use fdholder::protocol::entry::{Entries, Entry, IDENTIFIER_MAX};
use fdholder::protocol::frame::{ENTRIES_MAX, FRAME_MAX, Frame};
use fdholder::protocol::request::Request;
use fdholder::protocol::tai;
use fdholder::sys::Errno;

/// Expiry and identifier.
pub type Parts = ([u8; 12], Vec<u8>);

/// The valid entries at the beginning of some bytes, and the bytes behind them.
pub fn read(mut bytes: &[u8]) -> (Vec<Parts>, &[u8]) {
    let mut all = Vec::new();
    while bytes.len() > 13 {
        let length = usize::from(bytes[12]);
        let nanoseconds = u32::from_be_bytes(bytes[8..12].try_into().unwrap());
        let is_date = bytes[0] >> 7 == 0 && nanoseconds < 1_000_000_000;
        let Some(id) = bytes.get(13..13 + length) else { break };
        let is_valid = is_date && length > 0 && !id.contains(&0);
        if !is_valid || bytes.get(13 + length) != Some(&0) {
            break;
        }
        all.push((bytes[..12].try_into().unwrap(), id.to_vec()));
        bytes = &bytes[14 + length..];
    }
    (all, bytes)
}

/// Checks that valid entries are parsed and that everything else is refused.
pub fn check(bytes: &[u8]) {
    let (all, behind) = read(bytes);
    let mut rest = bytes;
    for (expiry, id) in &all {
        let (entry, more) = Entry::parse(rest).expect("a valid entry");
        assert_eq!((entry.expiry, entry.identifier), (expiry, &id[..]));
        assert_eq!(entry.bytes, &rest[..rest.len() - more.len()]);
        assert!(tai::is_valid(expiry));
        rest = more;
    }
    assert_eq!(rest, behind);
    assert_eq!(Entry::parse(behind), None);
    let entries = Entries::parse(bytes);
    assert_eq!(entries.is_some(), behind.is_empty());
    if let Some(entries) = entries {
        assert_eq!(entries.len(), all.len());
        assert!(entries.map(|entry| (*entry.expiry, entry.identifier.to_vec())).eq(all.clone()));
    }
    let payload = &bytes[..bytes.len() - behind.len()];
    for pair in all.windows(2) {
        let [a, b] = [pair[0].0, pair[1].0];
        assert_eq!(tai::order(&a).cmp(&tai::order(&b)), a.cmp(&b));
    }

    if let Some(label) = behind.first_chunk() {
        let (seconds, nanoseconds) = tai::order(label);
        assert_eq!(tai::is_valid(label), seconds >> 63 == 0 && nanoseconds < 1_000_000_000);
    }

    // The same entries in a frame of a set dump, as many as it has room for.
    let mut frame = Box::new(Frame::EMPTY);
    frame.request(b'.');
    let all = &all[..all.len().min(ENTRIES_MAX)];
    for (expiry, id) in all {
        assert!(frame.entry(expiry, id).is_ok());
    }
    let length = all.iter().map(|(_, id)| id.len() + 14).sum::<usize>();
    let whole = [b".", &payload[..length]].concat();
    assert!(whole.len() + 6 <= FRAME_MAX + 1);
    assert_eq!(frame.room(), FRAME_MAX + 1 - 6 - whole.len());
    assert_eq!(frame.payload(), whole);
    assert_eq!(frame.finish(all.len()), wire::frame(&whole, all.len() as u16));
    let request = Request::parse(&whole);
    let count = request.as_ref().map(Request::descriptors);
    assert_eq!(count, if all.is_empty() { None } else { Some(all.len()) });

    // The bytes behind the entries as one identifier, which may be too short or too long.
    let id = behind.split(|byte| *byte == 0).next().unwrap_or_default();
    let right = match id.len() {
        0 => Err(Errno::INVAL),
        1..=IDENTIFIER_MAX => Ok(()),
        _ => Err(Errno::NAMETOOLONG),
    };
    assert_eq!(frame.begin().identifier(id).map(drop), right);
    if right.is_ok() {
        assert_eq!(frame.payload(), [&[id.len() as u8], id, &[0]].concat());
    }
}
