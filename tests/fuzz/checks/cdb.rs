//! Constant databases, valid and invalid, and the rules in them.

use super::Input;
use crate::kit::cdb::{HEADER, allow, file, hash};
use fdholder::daemon::access::cdb::{self, Missing};
use fdholder::daemon::access::rules::{self, PART_MAX, Rule, VALUE_MAX};
use fdholder::daemon::access::{Identity, Right};

/// Checks a file of any bytes, or a valid file.
pub fn check(bytes: &[u8]) {
    let mut input = Input(bytes);
    if input.byte() % 2 == 0 { check_any(input) } else { check_valid(input) }
}

/// `length` bytes at a position.
fn part(file: &[u8], position: u64, length: u64) -> Option<&[u8]> {
    let end = usize::try_from(position + length).ok()?;
    file.get(position as usize..end)
}

/// The two numbers at a position.
fn pair(file: &[u8], position: u64) -> Option<(u64, u64)> {
    let bytes = part(file, position, 8)?;
    let number = |at: usize| u64::from(u32::from_le_bytes(bytes[at..][..4].try_into().unwrap()));
    Some((number(0), number(4)))
}

/// The slots of a table: hashes and positions.
fn slots(file: &[u8], table: u64) -> Option<Vec<(u64, u64)>> {
    let (position, count) = pair(file, 8 * table)?;
    let table = part(file, position, 8 * count)?;
    (0..count).map(|slot| pair(table, 8 * slot)).collect()
}

/// The value of a key, found by a search through the slots of its table, up to a free one.
fn find<'a>(file: &'a [u8], key: &[u8]) -> Result<&'a [u8], Missing> {
    let hash = u64::from(hash(key));
    let mut slots = slots(file, hash % 256).ok_or(Missing::Invalid)?;
    let start = (hash / 256).checked_rem(slots.len() as u64).unwrap_or(0);
    slots.rotate_left(start as usize);
    for (_, position) in slots.iter().take_while(|slot| slot.1 > 0).filter(|slot| slot.0 == hash) {
        let (key_length, length) = pair(file, *position).ok_or(Missing::Invalid)?;
        let record = part(file, position + 8, key_length + length).ok_or(Missing::Invalid)?;
        if let Some(value) = record.strip_prefix(key) {
            if key_length == key.len() as u64 {
                return Ok(value);
            }
        }
    }
    Err(Missing::Absent)
}

/// Checks a file whose header and slots are random or nearly valid.
fn check_any(mut input: Input) {
    let (kind, length) = (input.byte(), input.below(16));
    let key = input.take(length);
    let mut head = [input.array(), input.array()].map(u32::from_le_bytes);
    let skipped = input.below(32);
    let mut body = input.0.to_vec();
    if kind & 1 > 0 {
        head[0] %= (HEADER + body.len() + 1) as u32;
        head[1] %= ((HEADER + body.len()) as u32 - head[0]) / 8 + 2;
    }
    if kind & 2 > 0 {
        for slot in body.chunks_exact_mut(8).skip(skipped) {
            slot[..4].copy_from_slice(&hash(key).to_le_bytes());
        }
    }
    let head = head.map(u32::to_le_bytes).concat();
    let mut file = [head.repeat(256), body].concat();
    if kind & 4 > 0 {
        file.truncate(8 * skipped);
    }
    let is_valid = (0..256).all(|table| {
        pair(&file, 8 * table)
            .is_some_and(|(position, count)| part(&file, position, 8 * count).is_some())
    });
    assert_eq!(cdb::is_valid(&file), is_valid);
    let found = cdb::find(&file, key);
    assert_eq!(found, find(&file, key));
    let _ = check_value(found.unwrap_or_default());
}

/// Keys of rules.
const KEYS: [&str; 7] =
    ["uid/self", "uid/1000", "gid/self", "gid/100", "uid/default", "uid/1", "gid/1"];

/// Checks a valid file with some records.
fn check_valid(mut input: Input) {
    let slots = 1 + input.below(3);
    let mut records = Vec::new();
    while !input.0.is_empty() && records.len() < 20 {
        let (kind, length) = (input.byte(), input.byte().into());
        let key = match kind % 8 {
            7 => input.take(4).to_vec(),
            number => KEYS[usize::from(number)].into(),
        };
        let value = match kind / 8 % 4 {
            0 => allow(input.take(length), b""),
            1 => input.take(length).to_vec(),
            2 => allow(&input.take(length).repeat(128), &[b'x'; 5100][..length * 20]),
            _ => allow(&variables(input.take(length)), input.take(2)),
        };
        records.push((key, value));
    }
    let file = file(&records, slots);
    assert!(cdb::is_valid(&file));
    let first = |key: &[u8]| records.iter().find(|(other, _)| other == key);
    let others = [b"".to_vec(), b"uid/".to_vec()];
    for key in records.iter().map(|(key, _)| key).chain(&others) {
        let value = first(key).map(|(_, value)| &value[..]).ok_or(Missing::Absent);
        assert_eq!(cdb::find(&file, key), value);
        assert_eq!(find(&file, key), value);
        let rule = value.map_or(Err(Rule::Absent), check_value);
        assert_eq!(rules::find(&file, key), rule);
    }

    let client = Identity { uid: 1000, gid: 100 };
    for own in [client, Identity { uid: 1, gid: 100 }, Identity { uid: 1000, gid: 1 }] {
        let keys = KEYS[..5].iter().filter(|key| match **key {
            "uid/self" => own.uid == client.uid,
            "gid/self" => own.gid == client.gid,
            _ => true,
        });
        let mut rules = keys.map(|key| rules::find(&file, key.as_bytes()));
        let right = rules.find(|rule| *rule != Err(Rule::Absent)).is_some_and(|rule| rule.is_ok());
        let decided = rules::decide(client, own.into(), |key| {
            rules::find(&file, key).map_or_else(|rule| rule, |_| Rule::Allowed)
        });
        assert_eq!(decided == Rule::Allowed, right);
    }
}

/// Strings that set variables, one for each byte.
fn variables(bytes: &[u8]) -> Vec<u8> {
    let names = ["STORE_REGEX", "RETRIEVE_REGEX", "GETDUMP", "SETDUMP", "LIST", "LISTS", "", "X=Y"];
    let string = |byte: &u8| {
        let value = ["", "=", "=a", "=^b$"][usize::from(byte / 8 % 4)];
        format!("S6_FDHOLDER_{}{value}\0", names[usize::from(byte % 8)])
    };
    bytes.iter().map(string).collect::<String>().into_bytes()
}

/// The rule that a value stands for, with its strings.
fn meaning(value: &[u8]) -> Result<&[u8], Rule> {
    let length = |at: usize| {
        let bytes = value.get(at..at + 2)?;
        Some(usize::from(bytes[0]) << 8 | usize::from(bytes[1])).filter(|n| *n <= PART_MAX)
    };
    let strings = || {
        let first = length(1)?;
        let second = length(3 + first)?;
        let strings = value.get(3..3 + first)?;
        let is_ended = strings.last().is_none_or(|byte| *byte == 0);
        (is_ended && value.len() == 5 + first + second).then_some(strings)
    };
    match value.first() {
        _ if value.len() > VALUE_MAX => Err(Rule::Refused),
        Some(b'A') => strings().ok_or(Rule::Refused),
        None | Some(b'D') => Err(Rule::Refused),
        Some(_) => Err(Rule::Absent),
    }
}

/// Checks the meaning of a value, and returns it.
fn check_value(value: &[u8]) -> Result<&[u8], Rule> {
    let strings = meaning(value);
    assert_eq!(rules::parse_value(value), strings);
    // Strings that are not in a valid value are read too.
    let strings = strings.unwrap_or(value);
    let end = strings.iter().rposition(|byte| *byte == 0).unwrap_or(0);
    for right in Right::ALL {
        let start = [b"S6_FDHOLDER_", right.variable(), b"="].concat();
        let value =
            strings[..end].split(|byte| *byte == 0).find_map(|s| s.strip_prefix(&start[..]));
        assert_eq!(rules::value(strings, right), value);
    }
    meaning(value)
}
