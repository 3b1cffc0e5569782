//! Requests that arrive in pieces.

use super::*;
use crate::kit::daemon::Generation;
use crate::kit::process::wait_until_read;
use crate::kit::random_cases;
use crate::kit::wire::{self};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

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
            let expected = match (bytes[6], bytes[7..].first()) {
                (b'R', Some(0)) => Descriptor(New(stored)),
                (b'R', _) => Descriptor(New(stored + 1)),
                (b'!', _) => Frames(bytes[10].into()),
                (b'L', _) => listed(["a", "b"]),
                _ => Status(0),
            };
            assert_eq!(conversation.answer(request), expected, "{bytes:?} cut at {cut}");
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
