//! Who is let in, and what an expression allows: the access rules where they lie, in a directory
//! or a file, and the expressions of all clients, compiled when they connect.

use super::cdb;
use super::log::Log;
use super::regex::Regex;
use super::rules::{self, Identity, Rights, Rule};
use crate::sys::memory::{Content, List, Memory};
use crate::sys::text::Text;
use crate::sys::{Errno, PathBuffer, server};
use crate::text::text;

/// Bytes of the longest expression.
const TEXT_MAX: usize = 2048;

/// Bytes of memory for each client that there may be, enough for the empty expression as well.
pub const BYTES_EACH: usize = 3 * size_of::<Expression>();

/// Where the rules are.
#[derive(Clone, Copy)]
pub enum Source {
    /// In files below a directory, which are read when a client connects.
    Directory(Text),
    /// In a constant database, which is read at the start and when it is asked for.
    File(Text),
}

/// What a client may do.
#[derive(Clone, Copy)]
pub struct Access {
    /// Read everything out.
    pub get_dump: bool,
    /// Put many things in at once.
    pub set_dump: bool,
    /// See what there is.
    pub list: bool,
    /// Store and delete what this finds something in.
    pub store: Option<usize>,
    /// Retrieve what this finds something in.
    pub retrieve: Option<usize>,
}

struct Expression {
    is_used: bool,
    regex: Regex,
}

/// The rules, and the expressions out of them.
pub struct Gate {
    source: Source,
    file: Option<Content>,
    own: Identity,
    expressions: List<Expression>,
}

impl Gate {
    /// Without rules yet: [`Gate::reload`] reads a file of them.
    pub fn new(memory: &mut Memory, clients: usize, source: Source) -> Gate {
        let (uid, gid) = server::effective();
        let mut expressions = memory.list(1 + 2 * clients);
        expressions.push(Expression { is_used: true, regex: Regex::EMPTY });
        Gate { source, file: None, own: Identity { uid, gid }, expressions }
    }

    /// Reads the file again, if the rules are in one. If it cannot be, or is none, the old ones
    /// stay.
    pub fn reload(&mut self) -> Result<(), (Text, Errno)> {
        let Source::File(path) = self.source else { return Ok(()) };
        let content = Content::read(path).map_err(|errno| (path, errno))?;
        if !cdb::is_valid(&content) {
            return Err((path, Errno::INVAL));
        }
        self.file = Some(content);
        Ok(())
    }

    /// What a client may do; nothing if it is to be refused.
    #[inline(never)]
    pub fn admit(&mut self, client: Identity, log: Log) -> Option<Access> {
        let mut access =
            Access { get_dump: false, set_dump: false, list: false, store: None, retrieve: None };
        // Whether a line has said so.
        let mut refused = false;
        let allowed = rules::decide(client, self.own, |key| {
            let mut values = [[0; TEXT_MAX]; 5];
            let mut rights = Rights::default();
            let rule = match (self.source, &self.file) {
                (Source::Directory(path), _) => in_directory(path, key, &mut values, &mut rights),
                (_, Some(file)) => Ok(rules::find(file, key, &mut rights)),
                _ => Ok(Rule::Refused),
            };
            let rule = rule.unwrap_or_else(|errno| {
                refused = true;
                let what = text!("connect: unable to read the rule");
                log.event(client, what, key, errno.number());
                Rule::Refused
            });
            if rule == Rule::Allowed {
                let [store, retrieve, get_dump, set_dump, list] = rights;
                access.get_dump = get_dump.is_some();
                access.set_dump = set_dump.is_some();
                access.list = list.is_some();
                for (text, place) in [(store, &mut access.store), (retrieve, &mut access.retrieve)]
                {
                    let Some(text) = text else { continue };
                    *place = take(&mut self.expressions, text);
                    if place.is_none() {
                        refused = true;
                        let what = text!("connect: unable to use the expression");
                        log.event(client, what, text, Errno::INVAL.number());
                    }
                }
            }
            rule
        });
        if allowed && !refused {
            return Some(access);
        }
        self.dismiss(&access);
        if !refused {
            log.note(client, text!("connect"), Errno::PERM.number());
        }
        None
    }

    /// A client that had this is gone.
    pub fn dismiss(&mut self, access: &Access) {
        for number in [access.store, access.retrieve].into_iter().flatten() {
            self.expressions.at(number).is_used = number == EMPTY;
        }
    }

    /// Whether an expression finds something in an identifier.
    pub fn allows(&self, expression: Option<usize>, identifier: &[u8]) -> bool {
        let expression = expression.and_then(|number| self.expressions.get(number));
        expression.is_some_and(|expression| expression.regex.matches(identifier))
    }
}

/// The number of the empty expression, which finds something everywhere.
const EMPTY: usize = 0;

/// The number of an expression, compiled now; nothing if it is none.
#[inline(never)]
fn take(expressions: &mut List<Expression>, text: &[u8]) -> Option<usize> {
    if text.is_empty() {
        return Some(EMPTY);
    }
    let mut number = 0;
    while expressions.get(number).is_some_and(|expression| expression.is_used) {
        number += 1;
    }
    if number == expressions.len() {
        expressions.push(Expression { is_used: false, regex: Regex::EMPTY });
    }
    let expression = expressions.at(number);
    expression.regex.compile(text).ok()?;
    expression.is_used = true;
    Some(number)
}

/// Looks a rule up below a directory.
///
/// `KEY/allow` exists: allowed; else `KEY/deny` exists: refused; else no rule. The rights are files
/// in `KEY/env`, of which the name is a variable and the first line, without blanks at its end, the
/// value; an empty file unsets it. (From the documentation of `s6-ipcserver-access`, and from
/// running `s6-fdholderd`.)
#[inline(never)]
fn in_directory<'a>(
    directory: Text,
    key: &[u8],
    values: &'a mut [[u8; TEXT_MAX]; 5],
    rights: &mut Rights<'a>,
) -> Result<Rule, Errno> {
    let mut path = PathBuffer::EMPTY;
    path.text(directory);
    path.byte(b'/');
    path.bytes(key);
    let length = path.length();
    path.text(const { Text::new(c"/allow") });
    if !path.exists()? {
        path.truncate(length);
        path.text(const { Text::new(c"/deny") });
        return Ok(if path.exists()? { Rule::Refused } else { Rule::Absent });
    }
    let mut names = rules::variables();
    for (number, value) in values.iter_mut().enumerate() {
        let (Some(name), Some(right)) = (names.next(), rights.get_mut(number)) else { break };
        path.truncate(length);
        path.text(const { Text::new(c"/env/") });
        path.text(rules::PREFIX);
        path.text(name);
        if let read @ 1.. = path.read_file(value)? {
            // Of the others it does not matter what they are set to.
            let is_expression = number < rules::EXPRESSIONS;
            *right = Some(if is_expression { first_line(value, read)? } else { &[] });
        }
    }
    Ok(Rule::Allowed)
}

/// The first line of which so many bytes have been read, without blanks at its end; an error if it
/// may go on.
fn first_line(bytes: &[u8], read: usize) -> Result<&[u8], Errno> {
    let mut length = 0;
    for (place, byte) in bytes.iter().take(read).enumerate() {
        match byte {
            b'\n' => return Ok(bytes.get(..length).unwrap_or_default()),
            b' ' | b'\t' | b'\r' => {}
            _ => length = place + 1,
        }
    }
    if read == bytes.len() {
        Err(Errno::TOOBIG)
    } else {
        Ok(bytes.get(..length).unwrap_or_default())
    }
}
