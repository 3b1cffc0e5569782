//! Who may do what: the rules of a daemon, wherever they come from.
//!
//! A client goes by its user and group. A few keys are looked up, [`decide`] says which, and the
//! first that has a rule decides; without a rule everybody is refused. This and the form of a rule
//! in a file are those of `s6-accessrules-cdb-from-fs` by its documentation, the rights those of
//! `s6-fdholderd`; what they leave open was found by running both.

use super::cdb::{self, Missing};
use crate::sys::PathBuffer;
use crate::sys::text::{Text, Texts};

/// A user and one of its groups, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// The user and the group of a daemon. Nothing for one as which others may be seen as well: no client
/// is known to have that.
#[derive(Clone, Copy)]
pub struct Own {
    /// The user.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
}

impl From<Identity> for Own {
    fn from(Identity { uid, gid }: Identity) -> Own {
        Own { uid: Some(uid), gid: Some(gid) }
    }
}

/// What is to be found under a key. As wide as an error number, so a result of either travels in two
/// registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Rule {
    /// No rule: the next key decides.
    Absent,
    /// The client is refused. So it is by a rule that cannot be read.
    Refused,
    /// The client has the rights that are said along with this.
    Allowed,
}

/// Whether a client is allowed anything: the first of its keys that has a rule decides. `rule`
/// looks one up, a short name without a NUL, and is not asked again after that.
///
/// The keys are those of the user, of the group, and the default, in this order. `own` is the
/// effective user and group of the daemon: a client that has the same is first `self`, then a
/// number.
pub fn decide(client: Identity, own: Own, mut rule: impl FnMut(&[u8]) -> Rule) -> bool {
    let keys = const { Texts::new(b"uid/self\0uid/\0gid/self\0gid/\0uid/default\0\0") };
    for (number, text) in keys.enumerate() {
        // As they stand there: two about the user, two about the group, of each pair the second with
        // a number; and the default.
        let is_group = number & 2 != 0;
        let (id, own) = if is_group { (client.gid, own.gid) } else { (client.uid, own.uid) };
        let mut key = PathBuffer::EMPTY;
        key.text(text);
        if number & 1 != 0 {
            key.number(id);
        } else if number < 4 && own != Some(id) {
            continue;
        }
        match rule(key.get()) {
            Rule::Absent => {}
            rule => return rule == Rule::Allowed,
        }
    }
    false
}

/// What a client may have a right to do, in the order of [`variables`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Right {
    /// Store and delete what has an identifier in which the value, a POSIX extended regular
    /// expression, finds something. An empty one does in all.
    Store,
    /// Retrieve, in the same way.
    Retrieve,
    /// Read everything out. This and those that follow mean the same with any value.
    GetDump,
    /// Put many things in at once.
    SetDump,
    /// See what there is.
    List,
}

/// How many rights there are.
pub const RIGHTS: usize = 5;
/// How many of them have expressions; they come first.
pub const EXPRESSIONS: usize = 2;

/// What the names of all variables begin with.
pub const PREFIX: Text = Text::new(c"S6_FDHOLDER_");

/// How the names of the variables that give rights go on.
pub fn variables() -> Texts {
    const { Texts::new(b"STORE_REGEX\0RETRIEVE_REGEX\0GETDUMP\0SETDUMP\0LIST\0\0") }
}

/// The value of a variable, of which this is the name behind [`PREFIX`], if a rule has it. Of
/// several the first counts; a string without `=` is none.
pub fn value(mut strings: &[u8], name: Text) -> Option<&[u8]> {
    loop {
        let end = strings.iter().position(|byte| *byte == 0)?;
        let (string, rest) = strings.split_at_checked(end)?;
        let value = behind(string, PREFIX).and_then(|rest| behind(rest, name));
        if let Some([b'=', value @ ..]) = value {
            return Some(value);
        }
        strings = rest.get(1..)?;
    }
}

/// What lies behind `head`, if it begins with that.
fn behind(mut string: &[u8], head: Text) -> Option<&[u8]> {
    for byte in head {
        match string {
            [first, rest @ ..] if *first == byte => string = rest,
            _ => return None,
        }
    }
    Some(string)
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
