//! Rules: which of them decides, and their form in a file.
//!
//! A client goes by its user and group. A few keys are looked up, [`decide`] says which, and the first
//! that has a rule decides; without a rule everybody is refused. This and the form of a rule in a file
//! are those of `s6-accessrules-cdb-from-fs` by its documentation, the rights those of `s6-fdholderd`;
//! what they leave open was found by running both.

use super::cdb::{self, Missing};
use super::{Identity, Own, Right};
use crate::io::path::PathBuffer;

/// What is to be found under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// No rule: the next key decides.
    Absent,
    /// The client is refused. So it is by a rule that cannot be read.
    Refused,
    /// The client is refused, and it has been said why.
    Unusable,
    /// The client has the rights that are said along with this.
    Allowed,
}

/// A key of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    /// `self`, for a client that has the daemon's own user.
    OwnUser,
    /// A user by number.
    User,
    /// `self`, for a client that has the daemon's own group.
    OwnGroup,
    /// A group by number.
    Group,
    /// Every client.
    Default,
}

impl Key {
    /// All of them, in the order in which they are looked up.
    const ALL: [Key; 5] = [Key::OwnUser, Key::User, Key::OwnGroup, Key::Group, Key::Default];
}

/// What is to be done with a client: the first of its keys that has a rule decides. `rule` looks one up,
/// a short name without a NUL, and is not asked again after that.
pub fn decide(client: Identity, own: Own, mut rule: impl FnMut(&[u8]) -> Rule) -> Rule {
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

/// What the names of all variables that give rights begin with.
pub const PREFIX: &[u8] = b"S6_FDHOLDER_";

/// The value of the variable that gives a right, if a rule has it. Of several the first counts; a string
/// without `=` is none.
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

/// The most bytes of variables, and of a program to run, in a rule of a file.
pub const PART_MAX: usize = 4096;
/// Bytes of the longest value of a rule in a file.
pub const VALUE_MAX: usize = 1 + 2 + PART_MAX + 2 + PART_MAX;

/// Reads a rule of a file: `D` and anything, or `A`, u16 length, so many bytes of NUL-terminated
/// `NAME=VALUE`, u16 length, so many bytes of a program to run, which are ignored. The numbers are
/// in network byte order, and nothing follows. With any other first letter it is no rule.
///
/// A string without `=`, which tells other programs to unset a variable, means nothing. What does
/// not hold to this refuses the client: no byte at all, more than [`VALUE_MAX`], lengths above
/// [`PART_MAX`] or that do not fit, a last string without NUL. In all this the C daemons are the
/// same, except that they overlook a last string without NUL, which no program writes.
///
/// What allows gives its strings, in which [`value`] finds those that mean something.
pub fn parse_value(value: &[u8]) -> Result<&[u8], Rule> {
    match value {
        _ if value.len() > VALUE_MAX => Err(Rule::Refused),
        [] | [b'D', ..] => Err(Rule::Refused),
        [b'A', value @ ..] => strings(value).ok_or(Rule::Refused),
        _ => Err(Rule::Absent),
    }
}

/// The strings of a rule that allows something.
fn strings(mut value: &[u8]) -> Option<&[u8]> {
    let strings = part(&mut value)?;
    part(&mut value)?;
    let is_whole = value.is_empty() && matches!(strings, [] | [.., 0]);
    is_whole.then_some(strings)
}

/// Takes a length and so many bytes from the start of `value`.
fn part<'a>(value: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = value.split_first_chunk()?;
    let (part, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    *value = rest;
    Some(part).filter(|part| part.len() <= PART_MAX)
}

/// The rule that a file has under a key, as [`parse_value`] gives it. A broken file refuses the
/// client.
pub fn find<'a>(file: &'a [u8], key: &[u8]) -> Result<&'a [u8], Rule> {
    match cdb::find(file, key) {
        Ok(value) => parse_value(value),
        Err(Missing::Absent) => Err(Rule::Absent),
        Err(Missing::Invalid) => Err(Rule::Refused),
    }
}
