//! The rights of clients.

use super::*;
use crate::kit::daemon::{Daemon, GETDUMP, Generation, LIST, RETRIEVE, SETDUMP, STORE, Setup};
use crate::kit::server::connect;
use crate::kit::wire::{self};
use std::fs;

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
