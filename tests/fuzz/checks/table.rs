//! What requests do to the daemon's table, without sockets: the same model, and answers that go on
//! for as long as the input says. Descriptors are numbers that nobody has.

use super::model::{Model, ROLES, Reply, Thing, request};
use super::world::{self, MOST, SEATS, World, session};
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

/// What is held, by its identifier.
type Things = BTreeMap<Vec<u8>, Thing<u32>>;

/// An answer that goes on, and what it is about.
struct Pending {
    answer: Answer,
    things: Things,
}

/// Makes an answer piece by piece, to its end.
fn compose(mut answer: Answer, service: &mut Service, mut look: impl FnMut(&[u8], &[BorrowedFd])) {
    while answer.is_pending() {
        let mut piece = Piece::empty();
        answer.compose(&mut piece, service.frame, &service.table);
        let first = piece.bytes.to_vec();
        let mut piece = Piece::empty();
        answer.compose(&mut piece, service.frame, &service.table);
        assert_eq!(piece.bytes, first, "a piece that comes out otherwise");
        look(piece.bytes, piece.descriptors());
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
    /// Has the answer go on, to its end: it is about what was held when it began.
    fn end(self, service: &mut Service) {
        match self.answer {
            Answer::List(..) => list(self, service),
            _ => dump(self, service),
        }
    }

    /// Gives it up.
    fn cancel(mut self, service: &mut Service) {
        assert_eq!(self.answer.needs_slots(), !self.things.is_empty());
        self.answer.cancel(&mut service.table);
    }
}

fn list(Pending { answer, things }: Pending, service: &mut Service) {
    let bytes = whole(answer, service);
    let (start, names) = bytes.split_at(HEADER + 5);
    let mut names: Vec<_> = names.split_inclusive(|byte| *byte == 0).collect();
    names.sort();
    assert!(names.iter().map(|name| &name[..name.len() - 1]).eq(things.keys()));
    let payload = [&[0], &(things.len() as u32).to_be_bytes()[..], &names.concat()].concat();
    assert_eq!(start, &wire::frame(&payload, 0)[..HEADER + 5]);
}

fn dump(Pending { answer, mut things }: Pending, service: &mut Service) {
    let total = things.len() as u32;
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
            let thing = things.remove(&id).expect("something that was held");
            assert_eq!((expiry, *descriptor), (thing.expiry, BorrowedFd::named(thing.descriptor)));
        }
    });
    assert!(things.is_empty());
}

/// Checks what becomes of the table by requests that the bytes make.
pub fn check(bytes: &[u8]) {
    thread_local!(static WORLD: RefCell<World> = RefCell::new(World::new()));
    WORLD.with_borrow_mut(|world| check_in(world, Input(bytes)));
}

fn check_in(world: &mut World, mut input: Input) {
    let most = 1 + input.below(MOST);
    let mut service = world.service(most, input.byte());
    let roles: [_; SEATS] = std::array::from_fn(|_| &ROLES[input.below(ROLES.len())]);
    let mut sessions: [_; SEATS] =
        std::array::from_fn(|seat| (session(&mut service, seat, roles[seat]), 0));
    let mut model = Model { held: Things::new(), most };
    let (mut pending, mut next) = (VecDeque::<Pending>::new(), FIRST);
    while !input.0.is_empty() {
        let seat = input.below(SEATS);
        let (frame, count) = request(&mut input);
        let payload = &frame[HEADER..];
        let numbers: Vec<u32> = (next..next + count as u32).collect();
        next += count as u32;
        let mut descriptors = Descriptors::EMPTY;
        for number in &numbers {
            // SAFETY: nobody has a descriptor of that number.
            descriptors.push(unsafe { Fd::own(*number as usize) }.unwrap());
        }
        let (session, missing) = &mut sessions[seat];
        let right = model.execute(roles[seat], missing, payload, numbers);
        let answer = loop {
            match handle(payload, count, &mut descriptors, session, &mut service) {
                Outcome::Answered(answer) => break answer,
                Outcome::NeedsSlots(slots) => {
                    // Only for a request that is done the daemon makes room, and only where there is
                    // none.
                    assert!(!matches!(right, Reply::Status(status) if ![0, 11].contains(&status)));
                    assert_eq!((slots, descriptors.len()), (count, count));
                    assert!(service.table.free_slots() < count.min(most));
                    pending.pop_front().expect("ghosts that are needed").end(&mut service);
                }
            }
        };
        assert!(descriptors.is_empty(), "descriptors that nobody has taken");
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
                    model.held.retain(|_, thing| thing.descriptor != descriptor);
                }
            }
            (Reply::List(_), answer @ Answer::List(..))
            | (Reply::Dump(_), answer @ Answer::Dump(_)) => {
                pending.push_back(Pending { answer, things: model.held.clone() });
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
    let gate = world::end(service);
    world.take_back(gate);
}
