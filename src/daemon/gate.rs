//! Who is let in, and what an expression allows: the access rules where they lie, in a directory
//! or a file, and the expressions of all clients, compiled when they connect.

use super::cdb;
use super::log::{self, OURS};
use super::regex::{self, Program};
use super::rules::{self, EXPRESSIONS, Identity, RIGHTS, Right, Rule};
use crate::fd::Fd;
use crate::sys::memory::{self, Content, Memory};
use crate::sys::text::Text;
use crate::sys::{Errno, PathBuffer, server};
use crate::text::{Phrase, text};

/// Bytes of the longest expression.
const TEXT_MAX: usize = 2048;

/// Bytes of memory for each client that there may be, enough for the empty expression as well.
pub const BYTES_EACH: usize = (1 + EXPRESSIONS) * size_of::<Program>();

/// Where the rules are.
#[derive(Clone, Copy)]
pub enum Source {
    /// In files below a directory, which are read when a client connects.
    Directory(Text),
    /// In a constant database, which is read at the start and when it is asked for.
    File(Text),
}

/// What a client may do: for each right the number, counted from 1, of the expression that has to
/// find something in the identifier, [`EMPTY`] for a right that is no matter of identifiers.
#[derive(Clone, Copy)]
pub struct Access([u16; RIGHTS]);

impl Access {
    /// Nothing.
    pub const NOTHING: Access = Access([NONE; RIGHTS]);

    /// Whether it has a right at all, be it for some identifiers.
    pub fn has(&self, right: Right) -> bool {
        self.0[right as usize] != NONE
    }
}

/// The number of the empty expression, which finds something everywhere.
const EMPTY: u16 = 1;
/// The number of no expression: there is no such right.
const NONE: u16 = 0;

/// The rules, and the expressions out of them.
pub struct Gate {
    source: Source,
    file: Content,
    own: Identity,
    /// The empty one, then those of each place for a client.
    expressions: &'static mut [Program],
    /// A descriptor to be closed where another is needed and cannot be had. Who finds it gone opens it
    /// again.
    pub spare: Option<Fd>,
}

/// A client that asks to be let in, and what has become of that so far.
struct Admission {
    client: Identity,
    /// Its place among all clients.
    place: usize,
    /// What it may do.
    access: Access,
    /// Whether it is refused, and a line has said so.
    is_refused: bool,
}

impl Admission {
    fn refuse(&mut self, what: Phrase, text: &[u8], errno: usize) {
        self.is_refused = true;
        log::event(self.client, what, text, errno);
    }

    /// Gives a right of this number, with the value that the rule has for it.
    fn give(&mut self, expressions: &mut [Program], right: usize, value: &[u8]) {
        let number = memory::at(&mut self.access.0, right);
        *number = EMPTY;
        if right < EXPRESSIONS && !value.is_empty() {
            let own = usize::from(EMPTY) + EXPRESSIONS * self.place + right;
            *number = own as u16 + 1;
            if regex::compile(memory::at(expressions, own), value).is_err() {
                let what = text!("connect: unable to use the expression");
                self.refuse(what, value, Errno::INVAL.number());
            }
        }
    }
}

impl Gate {
    /// Without rules yet: [`Gate::reload`] reads a file of them.
    pub fn new(memory: &mut Memory, clients: usize, source: Source) -> Gate {
        let (uid, gid) = server::effective();
        let expressions = memory.zeros(1 + EXPRESSIONS * clients);
        Gate { source, file: Content::EMPTY, own: Identity { uid, gid }, expressions, spare: None }
    }

    /// Reads the file again, if the rules are in one. If it cannot be, or is none, the old ones
    /// stay.
    pub fn reload(&mut self) -> Result<(), (Text, Errno)> {
        let Source::File(path) = self.source else { return Ok(()) };
        let mut content = Content::read(path);
        if let Err(Errno::MFILE) = content {
            self.spare = None;
            content = Content::read(path);
        }
        let content = content.map_err(|errno| (path, errno))?;
        if !cdb::is_valid(&content) {
            return Err((path, Errno::INVAL));
        }
        self.file = content;
        Ok(())
    }

    /// What a client may do that gets the place of that number, which nobody has; nothing if it is
    /// to be refused.
    pub fn admit(&mut self, place: usize, client: Identity) -> Option<Access> {
        let access = Access::NOTHING;
        let mut admission = Admission { client, place, access, is_refused: false };
        let is_allowed = rules::decide(client, self.own, |key| {
            let mut rule = self.look_up(key, &mut admission);
            if rule == Err(Errno::MFILE) {
                self.spare = None;
                rule = self.look_up(key, &mut admission);
            }
            rule.unwrap_or_else(|errno| {
                admission.refuse(
                    text!("connect: unable to read the rule"),
                    key,
                    OURS + errno.number(),
                );
                Rule::Refused
            })
        });
        if !is_allowed && !admission.is_refused {
            admission.refuse(text!("connect"), &[], Errno::PERM.number());
        }
        if admission.is_refused { None } else { Some(admission.access) }
    }

    /// Looks a rule up, and puts the rights that it gives into the admission.
    #[inline(never)]
    fn look_up(&mut self, key: &[u8], admission: &mut Admission) -> Result<Rule, Errno> {
        let mut path = PathBuffer::EMPTY;
        let strings = match self.source {
            Source::Directory(directory) => {
                path.text(directory);
                path.byte(b'/');
                path.bytes(key);
                match decide(&mut path)? {
                    Rule::Allowed => None,
                    rule => return Ok(rule),
                }
            }
            Source::File(_) => match rules::find(&self.file, key) {
                Ok(found) => Some(found),
                Err(rule) => return Ok(rule),
            },
        };
        for (right, name) in rules::variables().enumerate() {
            let mut bytes = [0; TEXT_MAX];
            let value = match strings {
                Some(strings) => rules::value(strings, name),
                None => read_value(&mut path, right, name, &mut bytes)?,
            };
            if let Some(value) = value {
                admission.give(self.expressions, right, value);
            }
        }
        Ok(Rule::Allowed)
    }

    /// Whether somebody has a right for an identifier.
    pub fn allows(&self, access: &Access, right: Right, identifier: &[u8]) -> bool {
        let number = access.0[right as usize].wrapping_sub(1);
        let expression = self.expressions.get(usize::from(number));
        expression.is_some_and(|expression| regex::matches(expression, identifier))
    }
}

/// What the rule in the directory at `path` decides: if `allow` exists in it, it allows; else if `deny`
/// exists it refuses; else there is no rule. (This and [`read_value`] are from the documentation of
/// `s6-ipcserver-access`, and from running `s6-fdholderd`.)
fn decide(path: &mut PathBuffer) -> Result<Rule, Errno> {
    let length = path.length();
    path.text(const { Text::new(c"/allow") });
    let is_allowed = path.count()? > 0;
    path.truncate(length);
    if is_allowed {
        return Ok(Rule::Allowed);
    }
    path.text(const { Text::new(c"/deny") });
    let is_refused = path.count()? > 0;
    Ok(if is_refused { Rule::Refused } else { Rule::Absent })
}

/// The value of a variable in the rule in the directory at `path`, if it is set there: the first line
/// of a file of that name in `env`, without blanks at its end. An empty file unsets it.
fn read_value<'a>(
    path: &mut PathBuffer,
    right: usize,
    name: Text,
    bytes: &'a mut [u8],
) -> Result<Option<&'a [u8]>, Errno> {
    let length = path.length();
    path.text(const { Text::new(c"/env/") });
    path.text(rules::PREFIX);
    path.text(name);
    let read = path.read_file(bytes)?;
    path.truncate(length);
    Ok(match read {
        0 => None,
        // It does not matter what these are set to.
        _ if right >= EXPRESSIONS => Some(&[]),
        read => Some(first_line(bytes, read)?),
    })
}

/// The first line of which so many bytes have been read, without blanks at its end; an error if it
/// may go on.
fn first_line(bytes: &[u8], read: usize) -> Result<&[u8], Errno> {
    let read = bytes.get(..read).unwrap_or_default();
    let mut line = read.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.len() == bytes.len() {
        return Err(Errno::TOOBIG);
    }
    while let [rest @ .., b' ' | b'\t' | b'\r'] = line {
        line = rest;
    }
    Ok(line)
}
