//! Who is let in, and what an expression allows: the access rules where they lie, in a directory
//! or a file, and the expressions of all clients, each compiled once.

use super::cdb::Cdb;
use super::log::Log;
use super::regex::{Invalid, Regex};
use super::rules::{self, Identity, Rights, Rule};
use crate::sys::memory::{Content, List, Memory};
use crate::sys::text::Text;
use crate::sys::{Errno, PathBuffer, server};
use crate::text::text;

/// Bytes of the longest expression.
const TEXT_MAX: usize = 2048;

/// Bytes of memory for each client that there may be.
pub const BYTES_EACH: usize = 2 * size_of::<Expression>();

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
    /// How many clients have it.
    clients: u16,
    length: usize,
    text: [u8; TEXT_MAX],
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
        let expressions = memory.list(2 * clients);
        Gate { source, file: None, own: Identity { uid, gid }, expressions }
    }

    /// Reads the file again, if the rules are in one. If it cannot be, or is none, the old ones
    /// stay.
    pub fn reload(&mut self) -> Result<(), (Text, Errno)> {
        let Source::File(path) = self.source else { return Ok(()) };
        let content = Content::read(path).map_err(|errno| (path, errno))?;
        if Cdb::new(&content).is_none() {
            return Err((path, Errno::INVAL));
        }
        self.file = Some(content);
        Ok(())
    }

    /// What a client may do; nothing if it is to be refused.
    pub fn admit(&mut self, client: Identity, log: Log) -> Option<Access> {
        let mut refused = false;
        let Gate { source, file, own, expressions } = self;
        let access = rules::decide(client, *own, |key| {
            let mut values = [[0; TEXT_MAX]; 2];
            let rule = match (*source, &*file) {
                (Source::Directory(path), _) => in_directory(path, key, &mut values),
                (_, Some(file)) => {
                    Ok(Cdb::new(file).map_or(Rule::Refused, |file| rules::find(&file, key)))
                }
                _ => Ok(Rule::Refused),
            };
            let rights = match rule {
                Ok(Rule::Allowed(rights)) => rights,
                Ok(Rule::Absent) => return Rule::Absent,
                Ok(Rule::Refused) => return Rule::Refused,
                Err(errno) => {
                    refused = true;
                    let what = text!("connect: unable to read the rule");
                    log.event(client, what, key, errno.number());
                    return Rule::Refused;
                }
            };
            let mut access = Access {
                get_dump: rights.get_dump,
                set_dump: rights.set_dump,
                list: rights.list,
                store: None,
                retrieve: None,
            };
            for (text, place) in
                [(rights.store, &mut access.store), (rights.retrieve, &mut access.retrieve)]
            {
                let Some(text) = text else { continue };
                match take(expressions, text) {
                    Ok(number) => *place = Some(number),
                    Err(_) => {
                        refused = true;
                        let what = text!("connect: unable to use the expression");
                        log.event(client, what, text, Errno::INVAL.number());
                    }
                }
            }
            if refused {
                give_back(expressions, &access);
                return Rule::Refused;
            }
            Rule::Allowed(access)
        });
        if access.is_none() && !refused {
            log.note(client, text!("connect"), Errno::PERM.number());
        }
        access
    }

    /// A client that had this is gone.
    pub fn dismiss(&mut self, access: &Access) {
        give_back(&mut self.expressions, access);
    }

    /// Whether an expression finds something in an identifier.
    pub fn allows(&self, expression: Option<usize>, identifier: &[u8]) -> bool {
        let expression = expression.and_then(|number| self.expressions.get(number));
        expression.is_some_and(|expression| expression.regex.matches(identifier))
    }
}

/// The number of an expression, compiled now if it is not there yet.
fn take(expressions: &mut List<Expression>, text: &[u8]) -> Result<usize, Invalid> {
    let mut free = None;
    for (number, expression) in expressions.iter_mut().enumerate() {
        if expression.text.get(..expression.length) == Some(text) {
            expression.clients += 1;
            return Ok(number);
        }
        if expression.clients == 0 {
            free = Some(number);
        }
    }
    let mut expression = Expression {
        clients: 1,
        length: text.len(),
        text: [0; TEXT_MAX],
        regex: Regex::compile(text)?,
    };
    expression.text.get_mut(..text.len()).ok_or(Invalid::TooLarge)?.copy_from_slice(text);
    // Those that nobody has now may be asked for again, as long as there is room for others.
    if expressions.is_full() {
        let number = free.ok_or(Invalid::TooLarge)?;
        *expressions.get_mut(number).ok_or(Invalid::TooLarge)? = expression;
        return Ok(number);
    }
    Ok(expressions.push(expression))
}

fn give_back(expressions: &mut List<Expression>, access: &Access) {
    for number in [access.store, access.retrieve].into_iter().flatten() {
        if let Some(expression) = expressions.get_mut(number) {
            expression.clients -= 1;
        }
    }
}

/// The variables that mean something.
const VARIABLES: [&[u8]; 5] = [
    b"S6_FDHOLDER_STORE_REGEX",
    b"S6_FDHOLDER_RETRIEVE_REGEX",
    b"S6_FDHOLDER_GETDUMP",
    b"S6_FDHOLDER_SETDUMP",
    b"S6_FDHOLDER_LIST",
];

/// Looks a rule up below a directory.
///
/// `KEY/allow` exists: allowed; else `KEY/deny` exists: refused; else no rule. The rights are files
/// in `KEY/env`, of which the name is a variable and the first line, without blanks at its end, the
/// value; an empty file unsets it. (From the documentation of `s6-ipcserver-access`, and from
/// running `s6-fdholderd`.)
fn in_directory<'a>(
    directory: Text,
    key: &[u8],
    values: &'a mut [[u8; TEXT_MAX]; 2],
) -> Result<Rule<Rights<'a>>, Errno> {
    let mut path = PathBuffer::EMPTY;
    path.text(directory);
    path.byte(b'/');
    path.bytes(key);
    let length = path.length();
    path.bytes(b"/allow");
    if !path.exists()? {
        path.truncate(length);
        path.bytes(b"/deny");
        return Ok(if path.exists()? { Rule::Refused } else { Rule::Absent });
    }
    let mut rights = Rights::default();
    let mut values = values.iter_mut();
    let mut scratch = [0; 1];
    for name in VARIABLES {
        path.truncate(length);
        path.bytes(b"/env/");
        path.bytes(name);
        match values.next() {
            Some(value) => {
                if let Some(read @ 1..) = path.read_file(value)? {
                    rights.add(name, first_line(value, read)?);
                }
            }
            // Of the others it does not matter what they are set to.
            None => {
                if let Some(1..) = path.read_file(&mut scratch)? {
                    rights.add(name, &[]);
                }
            }
        }
    }
    Ok(Rule::Allowed(rights))
}

/// The first line of which so many bytes have been read, without blanks at its end; an error if it
/// may go on.
fn first_line(bytes: &[u8], read: usize) -> Result<&[u8], Errno> {
    let line = bytes.get(..read).unwrap_or_default();
    let mut line = match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => line.get(..end).unwrap_or_default(),
        None if read == bytes.len() => return Err(Errno::TOOBIG),
        None => line,
    };
    while let Some((b' ' | b'\t' | b'\r', rest)) = line.split_last() {
        line = rest;
    }
    Ok(line)
}
