//! Who may do what: the rules of a daemon, wherever they come from.
//!
//! A client goes by its user and group. A few keys are looked up, [`decide`] says which, and the first that has
//! a rule decides; without a rule everybody is refused. This and the form of a rule in a file are
//! those of `s6-accessrules-cdb-from-fs` by its documentation, the rights those of `s6-fdholderd`;
//! what they leave open was found by running both.

use super::cdb::{self, Missing};
use crate::sys::text::{Text, Texts};

/// A user and one of its groups, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// Bytes of the longest key.
pub const KEY_MAX: usize = b"uid/4294967295".len();

/// The name of a rule, which is written from its end.
struct Key {
    bytes: [u8; KEY_MAX],
    start: usize,
}

impl Key {
    /// Puts this in front.
    #[inline(never)]
    fn put(&mut self, text: &[u8]) {
        for byte in text.iter().rev() {
            self.start = self.start.saturating_sub(1);
            self.bytes[self.start % KEY_MAX] = *byte;
        }
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
/// looks one up, a name of at most [`KEY_MAX`] bytes, none of them NUL, and is not asked again
/// after that.
///
/// The keys are those of the user, of the group, and the default, in this order. `own` is the
/// effective user and group of the daemon: a client that has the same is first `self`, then a
/// number.
pub fn decide(client: Identity, own: Identity, mut rule: impl FnMut(&[u8]) -> Rule) -> bool {
    for number in 0..5 {
        let is_group = number & 2 != 0;
        let (id, own) = if is_group { (client.gid, own.gid) } else { (client.uid, own.uid) };
        let mut key = Key { bytes: [0; KEY_MAX], start: KEY_MAX };
        match number {
            0 | 2 if id == own => key.put(b"self"),
            0 | 2 => continue,
            4 => key.put(b"default"),
            _ => {
                let mut left = id;
                loop {
                    key.put(&[b'0' + (left % 10) as u8]);
                    left /= 10;
                    if left == 0 {
                        break;
                    }
                }
            }
        }
        key.put(if is_group { b"gid/" } else { b"uid/" });
        match rule(key.bytes.get(key.start..).unwrap_or_default()) {
            Rule::Absent => {}
            rule => return rule == Rule::Allowed,
        }
    }
    false
}

/// What a client may do: for each right the value that it comes with, in the order of
/// [`variables`]. The default is nothing.
///
/// - Store and delete what has an identifier in which the value, a POSIX extended regular
///   expression, not yet looked at, finds something. An empty one does in all.
/// - Retrieve, in the same way.
/// - Read everything out. This and those that follow mean the same with any value.
/// - Put many things in at once.
/// - See what there is.
pub type Rights<'a> = [Option<&'a [u8]>; 5];

/// How many of them are expressions; they come first.
pub const EXPRESSIONS: usize = 2;

/// What the names of all variables begin with.
pub const PREFIX: Text = Text::new(c"S6_FDHOLDER_");

/// How the names of the variables that give rights go on.
pub fn variables() -> impl Iterator<Item = Text> {
    const { Texts::new(b"STORE_REGEX\0RETRIEVE_REGEX\0GETDUMP\0SETDUMP\0LIST\0\0") }
}

/// Adds what a variable means. Some mean something by being set, be it to nothing; of several
/// values for the same thing the first counts. Other variables mean nothing, and neither does what
/// has no `=`.
#[inline(never)]
fn add<'a>(rights: &mut Rights<'a>, string: &'a [u8]) {
    let Some(string) = behind(string, PREFIX) else { return };
    let mut names = variables();
    for right in rights {
        let Some(name) = names.next() else { return };
        if let Some([b'=', value @ ..]) = behind(string, name) {
            right.get_or_insert(value);
        }
    }
}

/// What lies behind `head`, if it begins with that.
#[inline(never)]
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
/// What is allowed is added to `rights`; they mean nothing with any other answer.
pub fn parse_value<'a>(value: &'a [u8], rights: &mut Rights<'a>) -> Rule {
    match value {
        _ if value.len() > VALUE_MAX => Rule::Refused,
        [] | [b'D', ..] => Rule::Refused,
        [b'A', value @ ..] => parse_rights(value, rights).map_or(Rule::Refused, |()| Rule::Allowed),
        _ => Rule::Absent,
    }
}

/// Reads the value of a rule that allows something.
fn parse_rights<'a>(mut value: &'a [u8], rights: &mut Rights<'a>) -> Option<()> {
    let mut strings = part(&mut value)?;
    part(&mut value)?;
    if !value.is_empty() {
        return None;
    }
    while !strings.is_empty() {
        let end = strings.iter().position(|byte| *byte == 0)?;
        let (string, rest) = strings.split_at_checked(end)?;
        add(rights, string);
        strings = rest.get(1..)?;
    }
    Some(())
}

/// Takes a length and so many bytes from the start of `value`.
#[inline(never)]
fn part<'a>(value: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = value.split_first_chunk()?;
    let (part, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    *value = rest;
    Some(part).filter(|part| part.len() <= PART_MAX)
}

/// The rule that a file has under a key, which adds to `rights` as [`parse_value`] does. A broken
/// file refuses the client.
pub fn find<'a>(file: &'a [u8], key: &[u8], rights: &mut Rights<'a>) -> Rule {
    match cdb::find(file, key) {
        Ok(value) => parse_value(value, rights),
        Err(Missing::Absent) => Rule::Absent,
        Err(Missing::Invalid) => Rule::Refused,
    }
}
