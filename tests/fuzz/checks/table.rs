//! What requests do to the daemon's table, without sockets: the same model, and replies that go on
//! for as long as the input says. Descriptors are numbers that nobody has.

use super::model::{Model, ROLES, Reply, Thing, request};
use super::world::{MOST, SEATS, World, session};
use super::{Input, composer};
use fdholder::daemon::request::{Answer, Descriptors, Kind, Request, Service};
use fdholder::daemon::table::{NOW, Need};
use fdholder::message::HEADER;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

/// The first of these numbers.
const FIRST: i32 = 1 << 28;

/// A reply that needs slots: the moment it is about, what is needed, and what that was.
struct Pending {
    moment: u64,
    need: Need,
    things: BTreeMap<Vec<u8>, Thing<i32>>,
}

impl Pending {
    /// Begins a reply about all that is held.
    fn begin(service: &mut Service, need: Need, model: &Model<i32>) -> Pending {
        let (moment, mut at, mut count) = (service.table.record(), 0, 0);
        while let Some(slot) = service.table.after(&mut at, moment) {
            slot.need(need);
            count += 1;
        }
        assert_eq!(count, model.held.len());
        Pending { moment, need, things: model.held.clone() }
    }

    /// Has the reply go on, to its end: it is about what was held when it began.
    fn end(self, service: &mut Service) {
        let Pending { moment, need, mut things } = self;
        let mut at = 0;
        while let Some(slot) = service.table.after(&mut at, moment) {
            let thing = things.remove(slot.identifier()).expect("something that was held");
            let expiry = slot.wire(true).first_chunk();
            assert_eq!((expiry, slot.expiry()), (Some(&thing.expiry), &thing.expiry));
            assert_eq!(slot.wire(false), [slot.identifier(), &[0]].concat());
            if need == Need::Descriptor {
                assert_eq!(slot.descriptor(), thing.descriptor as u32);
            }
            service.table.release(at - 1, need);
        }
        assert!(things.is_empty());
    }
}

/// Checks what becomes of the table by requests that the bytes make.
pub fn check(bytes: &[u8]) {
    thread_local!(static WORLD: RefCell<World> = RefCell::new(World::new()));
    WORLD.with_borrow_mut(|world| check_in(world, Input(bytes)));
}

fn check_in(world: &mut World, mut input: Input) {
    let most = 1 + input.below(MOST);
    let mut composer = composer();
    let mut service = world.service(most, input.byte(), composer.take().unwrap());
    let roles: [_; SEATS] = std::array::from_fn(|_| &ROLES[input.below(ROLES.len())]);
    let mut sessions: [_; SEATS] =
        std::array::from_fn(|seat| (session(&mut service, seat, roles[seat]), 0));
    let mut model = Model { held: BTreeMap::new(), most };
    let (mut pending, mut next) = (VecDeque::new(), FIRST);
    while !input.0.is_empty() {
        let seat = input.below(SEATS);
        let (frame, count) = request(&mut input);
        let mut numbers: Vec<i32> = (next..next + count as i32).collect();
        next += count as i32;
        let (session, missing) = &mut sessions[seat];
        let right = model.execute(roles[seat], missing, &frame[HEADER..], numbers.clone());
        let answer = loop {
            let mut request = Request {
                payload: &frame[HEADER..],
                identifier: &[],
                service: &mut service,
                session,
                descriptors: Descriptors(numbers.iter_mut()),
                answer: Answer::DONE,
            };
            if let Ok(answer) = request.handle() {
                break answer;
            }
            drop(request);
            // Only for a request that is done the daemon makes room, and only where there is none.
            assert!(!matches!(right, Reply::Status(status) if ![0, 11].contains(&status)));
            assert!(service.table.free_slots() < count.min(most));
            Pending::end(pending.pop_front().expect("ghosts that are needed"), &mut service);
        };
        assert_eq!(session.missing, *missing);
        assert_eq!(service.table.room(), most - model.held.len());
        let kind = match right {
            Reply::Status(status) => {
                assert_eq!(answer.number, status.into());
                Kind::Status
            }
            Reply::Expect(frames) => {
                assert_eq!(answer.number, frames);
                Kind::Expect
            }
            Reply::Descriptor(descriptor, is_last) => {
                let mut at = answer.number;
                let slot = service.table.after(&mut at, NOW).expect("the slot");
                assert_eq!((at - 1, slot.descriptor()), (answer.number, descriptor as u32));
                if is_last {
                    service.table.forget(answer.number);
                    model.held.retain(|_, thing| thing.descriptor != descriptor);
                    Kind::LastDescriptor
                } else {
                    Kind::Descriptor
                }
            }
            Reply::List(_) => {
                pending.push_back(Pending::begin(&mut service, Need::Identifier, &model));
                Kind::List
            }
            Reply::Dump(_) => {
                pending.push_back(Pending::begin(&mut service, Need::Descriptor, &model));
                Kind::Dump
            }
        };
        assert_eq!(answer.kind, kind);
        for id in model.held.keys() {
            assert!(service.table.find(id).is_some());
        }
        if let Some(reply) = pending.remove(input.below(16)) {
            Pending::end(reply, &mut service);
        }
    }
    pending.into_iter().for_each(|reply| Pending::end(reply, &mut service));
    *composer = Some(world.end(service));
}
