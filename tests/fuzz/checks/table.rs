//! The effect of requests on the daemon's table, without sockets: the same model, and answers that last as
//! long as the input says. The descriptors are numbers that are not open.

use super::fixture::{self, CLIENTS, Fixture, MOST, session};
use super::model::{Held, Model, ROLES, Reply, request};
use super::{Input, entries};
use crate::kit::wire;
use fdholder::daemon::answer::{Answer, Piece};
use fdholder::daemon::request::{Descriptors, Outcome, Service, handle};
use fdholder::protocol::frame::{ENTRIES_MAX, HEADER, Header};
use fdholder::sys::fd::{BorrowedFd, Fd};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

/// The first of these numbers.
const FIRST: u32 = 1 << 28;

/// The entries by their identifiers.
type AllHeld = BTreeMap<Vec<u8>, Held<u32>>;

/// An unfinished answer, and the entries that it is about.
struct Pending {
    answer: Answer,
    all: AllHeld,
}

/// Composes an answer piece by piece, to its end.
fn compose(mut answer: Answer, service: &mut Service, mut check: impl FnMut(&[u8], &[BorrowedFd])) {
    while answer.is_pending() {
        let mut piece = Piece::empty();
        answer.compose(&mut piece, service.frame, &service.table);
        let first = piece.bytes.to_vec();
        let mut piece = Piece::empty();
        answer.compose(&mut piece, service.frame, &service.table);
        assert_eq!(piece.bytes, first, "a piece that is composed again differs");
        check(piece.bytes, piece.descriptors());
        let count = piece.count;
        answer.advance(count, &mut service.table);
    }
}

/// All bytes of an answer without descriptors.
fn whole(answer: Answer, service: &mut Service) -> Vec<u8> {
    let mut bytes = Vec::new();
    compose(answer, service, |piece, descriptors| {
        assert!(descriptors.is_empty());
        bytes.extend_from_slice(piece);
    });
    bytes
}

/// Checks an answer that is a frame without descriptors.
fn compare(answer: Answer, service: &mut Service, payload: &[u8]) {
    assert_eq!(whole(answer, service), wire::frame(payload, 0));
}

impl Pending {
    /// Composes the answer to its end. It is about the entries at the time of the request.
    fn end(self, service: &mut Service) {
        match self.answer {
            Answer::List(..) => list(self, service),
            _ => dump(self, service),
        }
    }

    /// Cancels the answer.
    fn cancel(mut self, service: &mut Service) {
        assert_eq!(self.answer.needs_slots(), !self.all.is_empty());
        self.answer.cancel(&mut service.table);
    }
}

fn list(Pending { answer, all }: Pending, service: &mut Service) {
    let bytes = whole(answer, service);
    let (start, names) = bytes.split_at(HEADER + 5);
    let mut names: Vec<_> = names.split_inclusive(|byte| *byte == 0).collect();
    names.sort();
    assert!(names.iter().map(|name| &name[..name.len() - 1]).eq(all.keys()));
    let payload = [&[0], &(all.len() as u32).to_be_bytes()[..], &names.concat()].concat();
    assert_eq!(start, &wire::frame(&payload, 0)[..HEADER + 5]);
}

fn dump(Pending { answer, mut all }: Pending, service: &mut Service) {
    let total = all.len() as u32;
    let mut is_first = true;
    compose(answer, service, |bytes, descriptors| {
        let (header, payload) = (Header::parse(bytes), &bytes[HEADER..]);
        let (length, count) = (payload.len(), descriptors.len());
        assert_eq!(header, Some(Header { length, descriptors: count }));
        if is_first {
            let numbers = [total.div_ceil(ENTRIES_MAX as u32), total].map(u32::to_be_bytes);
            assert_eq!((payload, count), (&[&[0], &numbers.concat()[..]].concat()[..], 0));
            is_first = false;
            return;
        }
        let (entries, behind) = entries::read(payload);
        assert_eq!((entries.len(), behind), (count, &[][..]));
        for ((expiry, id), descriptor) in entries.into_iter().zip(descriptors) {
            let held = all.remove(&id).expect("an entry that was held");
            assert_eq!((expiry, *descriptor), (held.expiry, BorrowedFd::named(held.descriptor)));
        }
    });
    assert!(all.is_empty());
}

/// Checks the table after requests that the bytes determine.
pub fn check(bytes: &[u8]) {
    thread_local!(static FIXTURE: RefCell<Fixture> = RefCell::new(Fixture::new()));
    FIXTURE.with_borrow_mut(|fixture| check_in(fixture, Input(bytes)));
}

fn check_in(fixture: &mut Fixture, mut input: Input) {
    let most = 1 + input.below(MOST);
    let mut service = fixture.service(most, input.byte());
    let roles: [_; CLIENTS] = std::array::from_fn(|_| &ROLES[input.below(ROLES.len())]);
    let mut sessions: [_; CLIENTS] =
        std::array::from_fn(|client| (session(&mut service, client, roles[client]), 0));
    let mut model = Model { held: AllHeld::new(), most };
    let (mut pending, mut next) = (VecDeque::<Pending>::new(), FIRST);
    while !input.0.is_empty() {
        let client = input.below(CLIENTS);
        let (frame, count) = request(&mut input);
        let payload = &frame[HEADER..];
        let numbers: Vec<u32> = (next..next + count as u32).collect();
        next += count as u32;
        let mut descriptors = Descriptors::EMPTY;
        for number in &numbers {
            // SAFETY: no descriptor of this number is open.
            descriptors.push(unsafe { Fd::own(*number as usize) }.unwrap());
        }
        let (session, missing) = &mut sessions[client];
        let right = model.execute(roles[client], missing, payload, numbers);
        let answer = loop {
            match handle(payload, count, &mut descriptors, session, &mut service) {
                Outcome::Answered(answer) => break answer,
                Outcome::NeedsSlots(slots) => {
                    // The daemon needs room only for a request that succeeds, and only if there is none.
                    assert!(!matches!(right, Reply::Status(status) if ![0, 11].contains(&status)));
                    assert_eq!((slots, descriptors.len()), (count, count));
                    assert!(service.table.free_slots() < count.min(most));
                    pending.pop_front().expect("an answer that needs slots").end(&mut service);
                }
            }
        };
        assert!(descriptors.is_empty(), "descriptors without an owner");
        assert_eq!(session.missing, *missing);
        assert_eq!(service.table.room(), most - model.held.len());
        match (right, answer) {
            (Reply::Status(status), answer @ Answer::Status(_)) => {
                compare(answer, &mut service, &[status]);
            }
            (Reply::Expect(frames), answer @ Answer::Frames(_)) => {
                let payload = [&[0], &frames.to_be_bytes()[..]].concat();
                compare(answer, &mut service, &payload);
            }
            (
                Reply::Descriptor(descriptor, is_last),
                answer @ Answer::Descriptor { deletes, .. },
            ) => {
                assert_eq!(deletes, is_last);
                let mut count = 0;
                compose(answer, &mut service, |bytes, descriptors| {
                    assert_eq!(bytes, wire::frame(&[0], 1));
                    assert_eq!(descriptors, [BorrowedFd::named(descriptor)]);
                    count += 1;
                });
                assert_eq!(count, 1);
                if is_last {
                    model.held.retain(|_, held| held.descriptor != descriptor);
                }
            }
            (Reply::List(_), answer @ Answer::List(..))
            | (Reply::Dump(_), answer @ Answer::Dump(_)) => {
                pending.push_back(Pending { answer, all: model.held.clone() });
            }
            (_, answer) => panic!("{answer:?}"),
        }
        for id in model.held.keys() {
            assert!(service.table.find(id).is_some());
        }
        assert_eq!(service.table.room(), most - model.held.len());
        if let Some(answer) = pending.remove(input.below(16)) {
            answer.end(&mut service);
        }
    }
    for (number, answer) in pending.into_iter().enumerate() {
        if number % 2 == 0 { answer.end(&mut service) } else { answer.cancel(&mut service) }
    }
    let gate = fixture::end(service);
    fixture.take_back(gate);
}
