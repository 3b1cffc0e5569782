//! Headers of frames, and replies that arrive in any pieces.

use super::Input;
use crate::kit::wire;
use fdholder::protocol::entry::{ENTRY_MAX, IDENTIFIER_MAX};
use fdholder::protocol::frame::{ENTRIES_MAX, Frame, HEADER, Header, PAYLOAD_MAX};
use fdholder::protocol::reply::{self, EXTRA_MAX, Expected, STATUS};
use fdholder::protocol::request::{GET_DUMP, LIST, Request, open_set_dump};

/// The number of bytes that a client reads of a reply before it knows its length.
const HEAD: usize = STATUS + EXTRA_MAX;

/// The number of useful bytes of a reply, computed from all its bytes. `None` if it is invalid.
fn usable_length(reply: &[u8; HEAD], expected: Expected) -> Option<usize> {
    let length = u32::from_be_bytes(reply[..4].try_into().unwrap()) as usize;
    let descriptors = usize::from(u16::from_be_bytes([reply[4], reply[5]]));
    if reply[HEADER] != 0 {
        return (length == 1 && descriptors == 0).then_some(STATUS);
    }
    let least = 1 + usize::from(expected.extra);
    let fits = length == least || expected.more && (least..=PAYLOAD_MAX).contains(&length);
    (fits && descriptors == usize::from(expected.descriptors)).then_some(HEADER + least)
}

/// The same, computed by the product while the reply arrives in pieces of the lengths that `piece` returns,
/// up to `sent` bytes. The product must not ask for more bytes than it needs.
fn receive(
    reply: &[u8; HEAD],
    sent: usize,
    expected: Expected,
    mut piece: impl FnMut() -> usize,
) -> Option<usize> {
    let (mut buffer, mut have) = ([0; HEAD], 0);
    loop {
        match reply::length(&buffer, have, expected) {
            Some(needed) if needed > have => {
                assert!(needed <= HEAD);
                let needed = needed.min(sent);
                if needed == have {
                    return None;
                }
                let end = have + piece().clamp(1, needed - have);
                buffer[have..end].copy_from_slice(&reply[have..end]);
                have = end;
            }
            Some(needed) => {
                assert_eq!(needed, have);
                return Some(needed);
            }
            None => return None,
        }
    }
}

/// Checks that headers are read as they are written, and that a reply means the same in every split.
pub fn check(bytes: &[u8]) {
    let header = Header::parse(bytes);
    assert_eq!(header.is_some(), bytes.len() >= HEADER);
    if let Some(header) = header {
        let mut written = [0; HEADER];
        assert_eq!(header.write(&mut written), Some(()));
        assert_eq!(written, bytes[..HEADER]);
        let Header { length, descriptors } = header;
        for most in [0, 1, descriptors, ENTRIES_MAX] {
            let possible = (1..=most).contains(&descriptors)
                && (1..=descriptors * ENTRY_MAX).contains(&length);
            assert_eq!(header.is_entries(most), possible);
        }
    }

    let mut input = Input(bytes);
    let reply = input.array();
    let (extra, kind) = (input.below(EXTRA_MAX + 1), input.byte());
    let (extra, descriptors) = (extra as u8, kind >> 1 & 1);
    let expected = Expected { extra, more: kind & 1 > 0, descriptors };
    let right = usable_length(&reply, expected);
    let end = Header::parse(&reply).map_or(0, |header| HEADER + header.length).min(HEAD);
    for piece in [1, HEAD] {
        assert_eq!(receive(&reply, end, expected, || piece), right);
    }
    let mut piece = || input.below(HEAD);
    assert_eq!(receive(&reply, end, expected, &mut piece), right);
    // Bytes behind an error reply do not belong to it. The product may refuse the reply because of them.
    let found = receive(&reply, HEAD, expected, &mut piece);
    assert!(found == right || found.is_none() && right == Some(STATUS), "{found:?}");
    for before in 0..2 * HEAD {
        let number = reply.get(STATUS + before..).and_then(|reply| reply.first_chunk());
        let number = number.map_or(0, |number| u32::from_be_bytes(*number));
        assert_eq!(reply::number(&reply, before), number);
    }

    // Requests that are complete frames agree with their headers.
    let mut frame = Box::new(Frame::EMPTY);
    let number = u32::from_be_bytes(input.array());
    let opening = (open_set_dump(number).to_vec(), Request::OpenSetDump(number));
    let requests = [(LIST.to_vec(), Request::List), (GET_DUMP.to_vec(), Request::GetDump), opening];
    for (bytes, request) in requests {
        let length = bytes.len() - HEADER;
        assert_eq!(Header::parse(&bytes), Some(Header { length, descriptors: 0 }));
        assert_eq!(Request::parse(&bytes[HEADER..]), Some(request));
    }
    // So do requests with a valid identifier.
    let id = input.take(IDENTIFIER_MAX).split(|byte| *byte == 0).next().unwrap_or_default();
    let requests = [
        (wire::delete_request(id), frame.delete(id).map(<[u8]>::to_vec), Request::Delete(id)),
        (
            wire::retrieve_request(id, 0),
            frame.retrieve(id, false).map(<[u8]>::to_vec),
            Request::Retrieve(id),
        ),
        (
            wire::retrieve_request(id, 1),
            frame.retrieve(id, true).map(<[u8]>::to_vec),
            Request::RetrieveAndDelete(id),
        ),
    ];
    for (payload, made, request) in requests {
        assert_eq!(made.is_ok(), !id.is_empty());
        let parsed = Request::parse(&payload);
        if let Ok(made) = made {
            assert_eq!((made, parsed), (wire::frame(&payload, 0), Some(request)));
        } else {
            assert_eq!(parsed, None);
        }
    }
}
