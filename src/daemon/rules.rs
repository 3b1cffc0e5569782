//! Who may do what: the rules of a daemon, wherever they come from.
//!
//! A client goes by its user and group. A few keys are looked up, [`keys`], and the first that has
//! a rule decides; without a rule everybody is refused. This and the form of a rule in a file are
//! those of `s6-accessrules-cdb-from-fs` by its documentation, the rights those of `s6-fdholderd`;
//! what they leave open was found by running both.

use super::cdb::{Cdb, Invalid};

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

/// The name of a rule.
#[derive(Clone, Copy)]
pub struct Key {
    /// The name is written from the end of this.
    bytes: [u8; KEY_MAX],
    start: usize,
}

impl Key {
    /// The name, at most [`KEY_MAX`] bytes, none of them NUL.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    fn new(name: &[u8]) -> Key {
        Key { bytes: [0; KEY_MAX], start: KEY_MAX }.behind(name)
    }

    /// That kind with a number behind it, in decimal digits.
    fn numbered(kind: &[u8], mut number: u32) -> Key {
        let mut key = Key::new(b"");
        loop {
            key = key.behind(&[b'0' + (number % 10) as u8]);
            number /= 10;
            if number == 0 {
                return key.behind(kind);
            }
        }
    }

    /// The same with `text` in front.
    fn behind(mut self, text: &[u8]) -> Key {
        for byte in text.iter().rev() {
            self.start = self.start.saturating_sub(1);
            if let Some(place) = self.bytes.get_mut(self.start) {
                *place = *byte;
            }
        }
        self
    }
}

/// The keys under which the rule for a client is looked for, in this order. `own` is the effective
/// user and group of the daemon: a client that has the same is `self` as well as a number.
pub fn keys(client: Identity, own: Identity) -> impl Iterator<Item = Key> {
    let own_user = (client.uid == own.uid).then(|| Key::new(b"uid/self"));
    let own_group = (client.gid == own.gid).then(|| Key::new(b"gid/self"));
    let user = Some(Key::numbered(b"uid/", client.uid));
    let group = Some(Key::numbered(b"gid/", client.gid));
    let default = Some(Key::new(b"uid/default"));
    [own_user, user, own_group, group, default].into_iter().flatten()
}

/// What is to be found under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule<R> {
    /// No rule: the next key decides.
    Absent,
    /// The client is refused. So it is by a rule that cannot be read.
    Refused,
    /// The client has these rights.
    Allowed(R),
}

/// What a client is allowed, or that it is refused: the first of its [`keys`] that has a rule
/// decides. `rule` looks one up, and is not asked again after that.
pub fn decide<R>(
    client: Identity,
    own: Identity,
    mut rule: impl FnMut(&[u8]) -> Rule<R>,
) -> Option<R> {
    for key in keys(client, own) {
        match rule(key.bytes()) {
            Rule::Absent => {}
            Rule::Refused => return None,
            Rule::Allowed(rights) => return Some(rights),
        }
    }
    None
}

/// What a client may do. The default is nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rights<'a> {
    /// Read everything out.
    pub get_dump: bool,
    /// Put many things in at once.
    pub set_dump: bool,
    /// See what there is.
    pub list: bool,
    /// Store and delete what has an identifier in which this POSIX extended regular expression,
    /// not yet looked at, finds something. An empty one does in all, none in nothing.
    pub store: Option<&'a [u8]>,
    /// Retrieve, in the same way.
    pub retrieve: Option<&'a [u8]>,
}

impl<'a> Rights<'a> {
    /// Adds what a variable means. Some mean something by being set, be it to nothing; of several
    /// expressions for the same thing the first counts. Other variables mean nothing.
    pub fn add(&mut self, name: &[u8], value: &'a [u8]) {
        match name {
            b"S6_FDHOLDER_GETDUMP" => self.get_dump = true,
            b"S6_FDHOLDER_SETDUMP" => self.set_dump = true,
            b"S6_FDHOLDER_LIST" => self.list = true,
            b"S6_FDHOLDER_STORE_REGEX" => self.store = self.store.or(Some(value)),
            b"S6_FDHOLDER_RETRIEVE_REGEX" => self.retrieve = self.retrieve.or(Some(value)),
            _ => {}
        }
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
pub fn parse_value(value: &[u8]) -> Rule<Rights<'_>> {
    match value.first() {
        _ if value.len() > VALUE_MAX => Rule::Refused,
        None | Some(b'D') => Rule::Refused,
        Some(b'A') => parse_rights(value).map_or(Rule::Refused, Rule::Allowed),
        _ => Rule::Absent,
    }
}

/// Reads the value of a rule that allows something.
fn parse_rights(value: &[u8]) -> Option<Rights<'_>> {
    let (strings, value) = part(value.get(1..)?)?;
    let (_program, value) = part(value)?;
    if !value.is_empty() {
        return None;
    }
    let mut rights = Rights::default();
    for string in strings.split_inclusive(|byte| *byte == 0) {
        let string = string.strip_suffix(&[0])?;
        if let Some(end) = string.iter().position(|byte| *byte == b'=') {
            rights.add(string.get(..end)?, string.get(end + 1..)?);
        }
    }
    Some(rights)
}

/// What a length and so many bytes at the start of `value` hold, and what lies behind.
fn part(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, value) = value.split_first_chunk()?;
    let length = u16::from_be_bytes(*length).into();
    if length <= PART_MAX { value.split_at_checked(length) } else { None }
}

/// The rule that a file has under a key. A broken file refuses the client.
pub fn find<'a>(file: &Cdb<'a>, key: &[u8]) -> Rule<Rights<'a>> {
    match file.find(key) {
        Ok(Some(value)) => parse_value(value),
        Ok(None) => Rule::Absent,
        Err(Invalid) => Rule::Refused,
    }
}
