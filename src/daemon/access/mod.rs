//! Who is let in, and what an expression allows: the access rules where they lie, in a directory or a
//! file, and the expressions of all clients, compiled when they connect.

pub mod cdb;
pub mod directory;
pub mod regex;
pub mod rules;

use super::log::{Cause, Log};
use crate::io::file;
use crate::sys::Errno;
use crate::sys::fd::Fd;
use crate::sys::memory::{Mapping, at};
use core::ffi::CStr;
use regex::Program;
use rules::Rule;

/// A user and one of its groups, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// Who is `self`: the user and the group of the daemon; none where strangers go by the same number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Own {
    /// The user.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
}

impl From<Identity> for Own {
    fn from(own: Identity) -> Own {
        Own { uid: Some(own.uid), gid: Some(own.gid) }
    }
}

/// What a client may have a right to do.
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

impl Right {
    /// All of them.
    pub const ALL: [Right; 5] =
        [Right::Store, Right::Retrieve, Right::GetDump, Right::SetDump, Right::List];

    /// How the name of the variable that gives it goes on behind [`rules::PREFIX`].
    pub fn variable(self) -> &'static [u8] {
        match self {
            Right::Store => b"STORE_REGEX",
            Right::Retrieve => b"RETRIEVE_REGEX",
            Right::GetDump => b"GETDUMP",
            Right::SetDump => b"SETDUMP",
            Right::List => b"LIST",
        }
    }

    /// Whether an expression says for which identifiers.
    pub fn has_expression(self) -> bool {
        matches!(self, Right::Store | Right::Retrieve)
    }
}

/// Where the rules are.
#[derive(Clone, Copy)]
pub enum Source {
    /// In files below a directory, which are read when a client connects.
    Directory(&'static CStr),
    /// In a constant database, which is read at the start and when it is asked for.
    File(&'static CStr),
}

/// For which identifiers a client has a right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Grant {
    /// For none.
    None,
    /// For all.
    All,
    /// For those in which the client's own expression for the right finds something.
    Some,
}

/// What a client may do.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    grants: [Grant; Right::ALL.len()],
    /// The place of the client, whose expressions these are.
    place: usize,
}

impl Access {
    /// Nothing.
    pub const NOTHING: Access = Access { grants: [Grant::None; Right::ALL.len()], place: 0 };

    fn grant(&self, right: Right) -> Grant {
        self.grants[right as usize]
    }

    /// Whether it has a right at all, be it for some identifiers.
    pub fn has(&self, right: Right) -> bool {
        self.grant(right) != Grant::None
    }
}

/// The rules, and the expressions out of them.
pub struct Gate {
    source: Source,
    file: Mapping<u8>,
    /// Who is `self`.
    pub own: Own,
    /// Two for each place for a client: for what it may store, and retrieve.
    expressions: Mapping<[Program; 2]>,
    /// A descriptor to be closed where another is needed and cannot be had. The one that finds it gone
    /// opens it again.
    pub spare: Option<Fd>,
}

/// Why a client is refused, for the log.
struct Refusal<'a> {
    what: &'static str,
    object: &'a [u8],
    cause: Cause,
}

impl Gate {
    /// Without rules yet: [`Gate::reload`] reads a file of them. Nor is anybody `self` yet. Nothing if
    /// there is no memory for that many clients.
    pub fn new(clients: usize, source: Source) -> Option<Gate> {
        let own = Own { uid: None, gid: None };
        let expressions = Mapping::new(clients)?;
        Some(Gate { source, file: Mapping::EMPTY, own, expressions, spare: None })
    }

    /// Warns of a directory of rules in which nothing can be read. It may come later.
    pub fn look_for_directory(&self, log: &mut Log) {
        let Source::Directory(path) = self.source else { return };
        if let Err(errno) = directory::check(path) {
            let cause = Cause::Ours(errno);
            log.event(None, "unable to read rules from", path.to_bytes(), cause);
        }
    }

    /// Reads the file again, if the rules are in one. If it cannot be, or is none, the old ones stay.
    pub fn reload(&mut self) -> Result<(), (&'static CStr, Errno)> {
        let Source::File(path) = self.source else { return Ok(()) };
        let content = self.with_spare(|_| file::read_whole(path)).map_err(|errno| (path, errno))?;
        if !cdb::is_valid(&content) {
            return Err((path, Errno::INVAL));
        }
        self.file = content;
        Ok(())
    }

    /// Does something that needs a descriptor, once more without the spare one if there is no other.
    fn with_spare<T>(
        &mut self,
        mut action: impl FnMut(&mut Gate) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        match action(self) {
            Err(Errno::MFILE) => {
                self.spare = None;
                action(self)
            }
            done => done,
        }
    }

    /// What a client may do that gets the place of that number, which nobody has; nothing if it is to be
    /// refused.
    pub fn admit(&mut self, place: usize, client: Identity, log: &mut Log) -> Option<Access> {
        let mut access = Access { place, ..Access::NOTHING };
        let mut is_logged = false;
        let own = self.own;
        let is_allowed = rules::decide(client, own, |key| {
            let looked = self.with_spare(|gate| {
                access.grants = Access::NOTHING.grants;
                gate.look_up(key, &mut access, |refusal| {
                    log.event(Some(client), refusal.what, refusal.object, refusal.cause);
                    is_logged = true;
                })
            });
            looked.unwrap_or_else(|errno| {
                let what = "connect: unable to read the rule";
                log.event(Some(client), what, key, Cause::Ours(errno));
                is_logged = true;
                Rule::Refused
            })
        });
        if !is_allowed && !is_logged {
            log.note(Some(client), "connect", Cause::Theirs(Errno::PERM));
        }
        if is_allowed && !is_logged { Some(access) } else { None }
    }

    /// Looks a rule up, and puts the rights that it gives into the access. An expression that is of no
    /// use refuses the client.
    fn look_up(
        &mut self,
        key: &[u8],
        access: &mut Access,
        mut refuse: impl FnMut(Refusal),
    ) -> Result<Rule, Errno> {
        let (mut path, mut strings) = (None, &[][..]);
        match self.source {
            Source::Directory(folder) => {
                let mut rule = directory::rule(folder, key);
                match directory::decide(&mut rule)? {
                    Rule::Allowed => path = Some(rule),
                    other => return Ok(other),
                }
            }
            Source::File(_) => match rules::find(&self.file, key) {
                Ok(found) => strings = found,
                Err(rule) => return Ok(rule),
            },
        }
        let expressions = at(&mut self.expressions, access.place);
        for right in Right::ALL {
            let mut bytes = [0; directory::VALUE_MAX];
            let value = match &mut path {
                Some(rule) => directory::value(rule, right, &mut bytes)?,
                None => rules::value(strings, right),
            };
            let Some(value) = value else { continue };
            let grant = at(&mut access.grants, right as usize);
            *grant = Grant::All;
            if right.has_expression() && !value.is_empty() {
                *grant = Grant::Some;
                if regex::compile(at(expressions, right as usize), value).is_err() {
                    let what = "connect: unable to use the expression";
                    refuse(Refusal { what, object: value, cause: Cause::Theirs(Errno::INVAL) });
                }
            }
        }
        Ok(Rule::Allowed)
    }

    /// Whether somebody has a right for an identifier.
    pub fn allows(&self, access: &Access, right: Right, identifier: &[u8]) -> bool {
        match access.grant(right) {
            Grant::None => false,
            Grant::All => true,
            Grant::Some => {
                let expressions = self.expressions.get(access.place);
                let expression = expressions.and_then(|both| both.get(right as usize));
                expression.is_some_and(|expression| regex::matches(expression, identifier))
            }
        }
    }
}
