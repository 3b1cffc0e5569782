//! Rules: which one decides, and their format in a database.
//!
//! [`decide`] looks up a few keys, made of the user and the group of the client. The first key that has
//! a rule decides. A client without a rule is refused. The keys and the format are those of
//! `s6-accessrules-cdb-from-fs`, and the rights those of `s6-fdholderd`, by their documentation and by
//! running both.

use super::cdb::{self, Missing};
use super::{Identity, Right, SelfIdentity};
use crate::io::path::PathBuffer;

/// The result of looking up a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// There is no rule: the next key decides.
    Absent,
    /// The client is refused, by its rule or because the rule is not valid.
    Refused,
    /// The client is refused, and the reason has been logged.
    Unusable,
    /// The client is allowed. Its rights are returned separately.
    Allowed,
}

/// A key of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    /// `uid/self`, if the client's user is the daemon's.
    OwnUser,
    /// `uid/NUMBER`.
    User,
    /// `gid/self`, if the client's group is the daemon's.
    OwnGroup,
    /// `gid/NUMBER`.
    Group,
    /// `uid/default`.
    Default,
}

impl Key {
    /// All keys, in the order of lookup.
    const ALL: [Key; 5] = [Key::OwnUser, Key::User, Key::OwnGroup, Key::Group, Key::Default];
}

/// The rule for a client: that of the first key for which `rule` finds one. Each key is short and
/// contains no NUL.
pub fn decide(client: Identity, own: SelfIdentity, mut rule: impl FnMut(&[u8]) -> Rule) -> Rule {
    let Identity { uid, gid } = client;
    for key in Key::ALL {
        let mut name = PathBuffer::EMPTY;
        match key {
            Key::OwnUser if own.uid == Some(uid) => name.push(b"uid/self"),
            Key::User => name.push(b"uid/").number(uid),
            Key::OwnGroup if own.gid == Some(gid) => name.push(b"gid/self"),
            Key::Group => name.push(b"gid/").number(gid),
            Key::Default => name.push(b"uid/default"),
            Key::OwnUser | Key::OwnGroup => continue,
        };
        match rule(name.bytes()) {
            Rule::Absent => {}
            rule => return rule,
        }
    }
    Rule::Absent
}

/// The start of the names of all variables that give rights.
pub const PREFIX: &[u8] = b"S6_FDHOLDER_";

/// The value of the variable that gives a right, if `strings` has it. The first of several counts. A
/// string without `=` does not count.
pub fn value(mut strings: &[u8], right: Right) -> Option<&[u8]> {
    loop {
        let end = strings.iter().position(|byte| *byte == 0)?;
        let (string, rest) = strings.split_at_checked(end)?;
        let behind =
            string.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix(right.variable()));
        if let Some([b'=', value @ ..]) = behind {
            return Some(value);
        }
        strings = rest.get(1..)?;
    }
}

/// The most bytes of variables, and of a program to execute, in a rule of a database.
pub const PART_MAX: usize = 4096;
/// Bytes of the longest rule of a database.
pub const VALUE_MAX: usize = 1 + 2 + PART_MAX + 2 + PART_MAX;

/// Parses a rule of a database: `D` and any bytes, or `A`, u16 length, that many bytes of
/// NUL-terminated `NAME=VALUE`, u16 length, that many bytes of a program to execute, which is ignored.
/// Numbers are in network byte order. Nothing follows. A rule with another first letter counts as
/// absent.
///
/// Returns the strings of a rule that allows; [`value`] finds variables in them. A string without `=`,
/// which tells other programs to unset a variable, has no effect.
///
/// These refuse the client: no byte at all, more than [`VALUE_MAX`] bytes, a length above [`PART_MAX`]
/// or beyond the end, a last string without NUL. The C daemons do the same, except that they ignore a
/// last string without NUL, which no program writes.
pub fn parse_value(value: &[u8]) -> Result<&[u8], Rule> {
    match value {
        _ if value.len() > VALUE_MAX => Err(Rule::Refused),
        [] | [b'D', ..] => Err(Rule::Refused),
        [b'A', value @ ..] => strings(value).ok_or(Rule::Refused),
        _ => Err(Rule::Absent),
    }
}

/// The strings of a rule that allows.
fn strings(mut value: &[u8]) -> Option<&[u8]> {
    let strings = part(&mut value)?;
    part(&mut value)?;
    let is_whole = value.is_empty() && matches!(strings, [] | [.., 0]);
    is_whole.then_some(strings)
}

/// Takes a length, and that many bytes, from the start of `value`.
fn part<'a>(value: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = value.split_first_chunk()?;
    let (part, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    *value = rest;
    Some(part).filter(|part| part.len() <= PART_MAX)
}

/// Looks up a key in a database, as [`parse_value`] returns it. A corrupt database refuses the client.
pub fn find<'a>(file: &'a [u8], key: &[u8]) -> Result<&'a [u8], Rule> {
    match cdb::find(file, key) {
        Ok(value) => parse_value(value),
        Err(Missing::Absent) => Err(Rule::Absent),
        Err(Missing::Invalid) => Err(Rule::Refused),
    }
}
