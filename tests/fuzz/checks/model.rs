//! A model of a daemon: what it holds, the answers to requests, and the rights of clients. Also a generator
//! of requests, valid and nearly valid ones.

use super::{Input, entries};
use crate::kit::wire;
use fdholder::protocol::frame::ENTRIES_MAX;
use fdholder::sys::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A user with certain rights.
pub struct Role {
    pub uid: u32,
    /// The rule, without the beginning `S6_FDHOLDER_` of its names.
    pub rule: &'static [&'static str],
    store: fn(&[u8]) -> bool,
    retrieve: fn(&[u8]) -> bool,
    get_dump: bool,
    set_dump: bool,
    list: bool,
}

pub static ROLES: [Role; 4] = [
    Role {
        uid: 1001,
        rule: &["STORE_REGEX=", "RETRIEVE_REGEX=", "GETDUMP=", "SETDUMP=", "LIST="],
        store: |_| true,
        retrieve: |_| true,
        get_dump: true,
        set_dump: true,
        list: true,
    },
    Role {
        uid: 1002,
        rule: &["STORE_REGEX=^a", "RETRIEVE_REGEX=b$", "LIST="],
        store: |id| id.starts_with(b"a"),
        retrieve: |id| id.ends_with(b"b"),
        get_dump: false,
        set_dump: false,
        list: true,
    },
    Role {
        uid: 1003,
        rule: &["RETRIEVE_REGEX=", "SETDUMP=", "GETDUMP="],
        store: |_| false,
        retrieve: |_| true,
        get_dump: true,
        set_dump: true,
        list: false,
    },
    Role {
        uid: 1004,
        rule: &[],
        store: |_| false,
        retrieve: |_| false,
        get_dump: false,
        set_dump: false,
        list: false,
    },
];

/// An entry: its expiry, and a value that stands for the descriptor.
#[derive(Clone)]
pub struct Held<D> {
    pub expiry: [u8; 12],
    pub descriptor: D,
}

/// The entries of a daemon and its capacity.
pub struct Model<D> {
    pub held: BTreeMap<Vec<u8>, Held<D>>,
    pub most: usize,
}

/// The expected answer.
pub enum Reply<D> {
    Status(u8),
    /// A set dump is accepted, in this number of frames.
    Expect(u32),
    /// A descriptor, and whether it is deleted when it has been sent.
    Descriptor(D, bool),
    List(Vec<Vec<u8>>),
    Dump(Vec<(Vec<u8>, Held<D>)>),
}

impl<D: Clone> Model<D> {
    /// Removes the entries that have expired.
    pub fn expire(&mut self) {
        let now = wire::expiry_in(Duration::ZERO);
        self.held.retain(|_, held| held.expiry > now);
    }

    /// The effect of a request with these descriptors, and its answer. `missing` is the number of entries
    /// that the client still has to send in its set dump.
    pub fn execute(
        &mut self,
        role: &Role,
        missing: &mut usize,
        request: &[u8],
        descriptors: Vec<D>,
    ) -> Reply<D> {
        let done = self.try_execute(role, missing, request, descriptors);
        done.unwrap_or_else(|errno| {
            *missing = 0;
            Reply::Status(errno.number() as u8)
        })
    }

    fn try_execute(
        &mut self,
        role: &Role,
        missing: &mut usize,
        request: &[u8],
        descriptors: Vec<D>,
    ) -> Result<Reply<D>, Errno> {
        let must = |is: bool, errno| if is { Ok(()) } else { Err(errno) };
        let (letter, rest) = request.split_first().ok_or(Errno::PROTO)?;
        let whole = |bytes| {
            let (all, behind) = entries::read(bytes);
            let is_whole = behind.is_empty() && !all.is_empty() && all.len() == descriptors.len();
            if is_whole { Ok(all) } else { Err(Errno::PROTO) }
        };
        let identifier = |bytes: &[u8]| {
            let id = bytes.strip_suffix(&[0]).and_then(|bytes| bytes.split_first());
            let id = id.filter(|(length, id)| usize::from(**length) == id.len() && !id.is_empty());
            let id = id.filter(|(_, id)| !id.contains(&0) && descriptors.is_empty());
            id.map(|(_, id)| id.to_vec()).ok_or(Errno::PROTO)
        };
        let must_be_empty =
            |rest: &[u8]| must(rest.is_empty() && descriptors.is_empty(), Errno::PROTO);
        let status = |number| Ok(Reply::Status(number));
        // The header and the letter are checked first: the length, the number of descriptors, and whether
        // the client has the right at all.
        let (each, count) = (15..=269, descriptors.len());
        let (lengths, expected, right) = match letter {
            b'S' => (each, 1, "STORE_REGEX="),
            b'D' => (3..=257, 0, "STORE_REGEX="),
            b'R' => (4..=258, 0, "RETRIEVE_REGEX="),
            b'L' => (0..=0, 0, "LIST="),
            b'?' => (0..=0, 0, "GETDUMP="),
            b'!' => (4..=4, 0, "SETDUMP="),
            b'.' if (1..=*missing).contains(&count) => {
                (each.start() * count..=each.end() * count, count, "SETDUMP=")
            }
            _ => return Err(Errno::PROTO),
        };
        must(lengths.contains(&rest.len()) && count == expected, Errno::PROTO)?;
        must(role.rule.iter().any(|rule| rule.starts_with(right)), Errno::PERM)?;
        match letter {
            b'S' => {
                let all = whole(rest)?;
                let [(expiry, id)] = &all[..] else { return Err(Errno::PROTO) };
                must((role.store)(id), Errno::PERM)?;
                must(!self.held.contains_key(id), Errno::BUSY)?;
                must(self.held.len() < self.most, Errno::NFILE)?;
                let held = Held { expiry: *expiry, descriptor: descriptors[0].clone() };
                self.held.insert(id.clone(), held);
                status(0)
            }
            b'D' => {
                let id = identifier(rest)?;
                must((role.store)(&id), Errno::PERM)?;
                self.held.remove(&id).ok_or(Errno::NOENT)?;
                status(0)
            }
            b'R' => {
                let (flag, rest) = rest.split_first().unwrap_or((&0, &[]));
                let id = identifier(rest)?;
                must(*flag < 2, Errno::PROTO)?;
                must((role.retrieve)(&id) && (*flag == 0 || (role.store)(&id)), Errno::PERM)?;
                let held = self.held.get(&id).ok_or(Errno::NOENT)?;
                Ok(Reply::Descriptor(held.descriptor.clone(), *flag == 1))
            }
            b'L' => {
                must_be_empty(rest)?;
                must(role.list, Errno::PERM)?;
                Ok(Reply::List(self.held.keys().map(|id| [&id[..], &[0]].concat()).collect()))
            }
            b'?' => {
                must_be_empty(rest)?;
                must(role.get_dump, Errno::PERM)?;
                Ok(Reply::Dump(self.held.clone().into_iter().collect()))
            }
            b'!' => {
                let (number, rest) = rest.split_first_chunk().ok_or(Errno::PROTO)?;
                must_be_empty(rest)?;
                must(role.set_dump, Errno::PERM)?;
                let number = u32::from_be_bytes(*number);
                must(number as usize <= self.most, Errno::NFILE)?;
                *missing = number as usize;
                Ok(Reply::Expect(number.div_ceil(ENTRIES_MAX as u32)))
            }
            b'.' => {
                let all = whole(rest)?;
                must(all.len() <= *missing, Errno::PROTO)?;
                let ids: BTreeSet<_> = all.iter().map(|(_, id)| id).collect();
                let new = ids.iter().filter(|id| !self.held.contains_key(**id)).count();
                must(self.held.len() + new <= self.most, Errno::NFILE)?;
                *missing -= all.len();
                for ((expiry, id), descriptor) in all.into_iter().zip(descriptors) {
                    self.held.insert(id, Held { expiry, descriptor });
                }
                status(if *missing > 0 { wire::AGAIN as u8 } else { 0 })
            }
            _ => Err(Errno::PROTO),
        }
    }
}

/// One of 64 identifiers, short and long ones.
pub fn identifier(input: &mut Input) -> Vec<u8> {
    let byte = input.byte();
    let letter = |number: u8| b'a' + number % 4;
    let mut id = vec![letter(byte); [1, 2, 255, 100][usize::from(byte / 4 % 4)]];
    *id.last_mut().unwrap() = letter(byte / 16);
    id
}

/// An expiry: never, in the past, in the future, or any bytes.
fn expiry(input: &mut Input) -> [u8; 12] {
    match input.byte() % 8 {
        0..=4 => wire::label((3 << 61) + 2_000_000_000, 0),
        5 => wire::label((1 << 62) + 1_000_000_000, 5),
        6 => wire::label((1 << 62) + 8_000_000_000, 999_999_999),
        _ => input.array(),
    }
}

/// A valid or nearly valid request: a frame, and the number of its descriptors.
pub fn request(input: &mut Input) -> (Vec<u8>, usize) {
    let kind = input.byte();
    let number = usize::from(kind / 8);
    let mut payload = vec![b"SSDRL?!."[usize::from(kind % 8)]];
    let mut descriptors = 0;
    match payload[0] {
        b'S' => {
            payload.extend(wire::entry(&identifier(input), expiry(input)));
            descriptors = 1;
        }
        b'D' => payload = wire::delete_request(&identifier(input)),
        b'R' => payload = wire::retrieve_request(&identifier(input), kind / 8 % 3),
        b'!' => payload = wire::set_dump_request(number % 16),
        b'.' => {
            descriptors = number % 16;
            for _ in 0..descriptors {
                payload.extend(wire::entry(&identifier(input), expiry(input)));
            }
        }
        _ => {}
    }
    let (damage, mut announced) = (input.byte(), descriptors as u16);
    if damage >= 0xe0 {
        match damage % 8 {
            0 => drop(payload.pop()),
            1 => payload.push(0),
            2 => {
                let at = input.below(payload.len());
                payload[at] ^= input.byte();
            }
            3 => descriptors += 1,
            4 => descriptors = descriptors.saturating_sub(1),
            5 => announced += 1,
            6 => payload.clear(),
            _ => payload.extend(input.take(20)),
        }
        if damage & 8 > 0 {
            announced = descriptors as u16;
        }
    }
    (wire::frame(&payload, announced), descriptors)
}
