//! Access control: the rules, in a directory or a file, and the compiled expressions of all connected
//! clients.

pub mod cdb;
pub mod directory;
pub mod regex;
pub mod rules;

use super::log::{Cause, Log};
use crate::io::file;
use crate::sys::Errno;
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::memory::{Mapping, at};
use core::ffi::CStr;
use regex::Program;
use rules::Rule;

/// The user and the group of a client, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// The user and the group that rules call `self`: those of the daemon. `None` if strangers may appear
/// with the same number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SelfIdentity {
    /// The user.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
}

impl From<Identity> for SelfIdentity {
    fn from(own: Identity) -> SelfIdentity {
        SelfIdentity { uid: Some(own.uid), gid: Some(own.gid) }
    }
}

/// A right of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Right {
    /// Store and delete the identifiers in which an expression finds a match. The value of the variable
    /// is the expression, a POSIX extended regular expression. An empty one matches every identifier.
    Store,
    /// Retrieve the identifiers in which an expression finds a match.
    Retrieve,
    /// Get a dump. For this right and the next two the value of the variable does not matter.
    GetDump,
    /// Set a dump.
    SetDump,
    /// List the identifiers.
    List,
}

impl Right {
    /// All rights.
    pub const ALL: [Right; 5] =
        [Right::Store, Right::Retrieve, Right::GetDump, Right::SetDump, Right::List];

    /// The name of the variable that gives the right, without [`rules::PREFIX`].
    pub fn variable(self) -> &'static [u8] {
        match self {
            Right::Store => b"STORE_REGEX",
            Right::Retrieve => b"RETRIEVE_REGEX",
            Right::GetDump => b"GETDUMP",
            Right::SetDump => b"SETDUMP",
            Right::List => b"LIST",
        }
    }

    /// True if the value of the variable is an expression.
    pub fn has_expression(self) -> bool {
        matches!(self, Right::Store | Right::Retrieve)
    }
}

/// Where the rules are.
#[derive(Clone, Copy)]
pub enum Source {
    /// In files below a directory, which the daemon reads when a client connects.
    Directory(&'static CStr),
    /// In a constant database, which the daemon reads at the start and at SIGHUP.
    File(&'static CStr),
}

/// The identifiers for which a client has a right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Grant {
    /// None.
    None,
    /// All.
    All,
    /// Those in which the client's expression for the right finds a match.
    Some,
}

/// The rights of a client.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    grants: [Grant; Right::ALL.len()],
    /// The number of the client's place, which is the index of its expressions.
    place: usize,
}

impl Access {
    /// No right.
    pub const NOTHING: Access = Access { grants: [Grant::None; Right::ALL.len()], place: 0 };

    fn grant(&self, right: Right) -> Grant {
        self.grants[right as usize]
    }

    /// True if the client has the right for at least some identifiers.
    pub fn has(&self, right: Right) -> bool {
        self.grant(right) != Grant::None
    }
}

/// The rules, and the expressions of the connected clients.
pub struct Gate {
    /// Where the rules are.
    source: Source,
    /// The database; empty if the rules are in a directory.
    file: Mapping<u8>,
    /// Who is `self`.
    pub own: SelfIdentity,
    /// The expressions for storing and for retrieving, by place of the client.
    expressions: Mapping<[Program; 2]>,
    /// A spare descriptor, closed when the process has no room for another one. [`Gate::restore_spare`]
    /// opens it again.
    pub spare: Option<Fd>,
}

impl Gate {
    /// A gate without rules and without `self`. [`Gate::reload`] reads the database.
    pub fn new(clients: usize, source: Source, spare: Option<Fd>) -> Gate {
        let own = SelfIdentity { uid: None, gid: None };
        let expressions = Mapping::new_or_empty(clients);
        Gate { source, file: Mapping::EMPTY, own, expressions, spare }
    }

    /// False if there was no memory.
    pub fn has_memory(&self) -> bool {
        !self.expressions.is_empty()
    }

    /// Logs a warning if the directory of rules cannot be read. It may be made later.
    pub fn look_for_directory(&self, log: &mut Log) {
        let Source::Directory(path) = self.source else { return };
        if let Err(errno) = directory::check(path) {
            let cause = Cause::Ours(errno);
            log.event(None, "unable to read rules from", path.to_bytes(), cause);
        }
    }

    /// Reads the database again. On an error the old one stays. `EINVAL` if the file is no database.
    pub fn reload(&mut self) -> Result<(), (&'static CStr, Errno)> {
        let Source::File(path) = self.source else { return Ok(()) };
        let mut read = file::read_whole(path);
        if self.release_spare(&read) {
            read = file::read_whole(path);
        }
        let content = read.map_err(|errno| (path, errno))?;
        if !cdb::is_valid(&content) {
            return Err((path, Errno::INVAL));
        }
        self.file = content;
        Ok(())
    }

    /// Duplicates the listening socket as the spare descriptor, if that is closed.
    pub fn restore_spare(&mut self, listener: BorrowedFd) {
        if self.spare.is_none() {
            self.spare = listener.duplicate().ok();
        }
    }

    /// True if an operation failed because the process has no room for another descriptor. Closes the
    /// spare one, so that the caller can repeat the operation.
    fn release_spare<T>(&mut self, done: &Result<T, Errno>) -> bool {
        let is_full = matches!(done, Err(Errno::MFILE));
        if is_full {
            self.spare = None;
        }
        is_full
    }

    /// The rights of a client that gets the place of this number; `None` if the client is refused. The
    /// place must be free.
    pub fn admit(&mut self, place: usize, client: Identity, log: &mut Log) -> Option<Access> {
        let mut access = Access { place, ..Access::NOTHING };
        let rule = rules::decide(client, self.own, |key| {
            let mut rule = self.look_up(key, client, &mut access, log);
            if self.release_spare(&rule) {
                rule = self.look_up(key, client, &mut access, log);
            }
            rule.unwrap_or_else(|errno| {
                let what = "connect: unable to read the rule";
                log.event(Some(&client), what, key, Cause::Ours(errno));
                Rule::Unusable
            })
        });
        match rule {
            Rule::Allowed => return Some(access),
            Rule::Unusable => {}
            Rule::Absent | Rule::Refused => {
                log.note(Some(&client), "connect", Cause::Theirs(Errno::PERM));
            }
        }
        None
    }

    /// Looks up a rule and sets the rights that it gives. An expression that is not valid refuses the
    /// client.
    fn look_up(
        &mut self,
        key: &[u8],
        client: Identity,
        access: &mut Access,
        log: &mut Log,
    ) -> Result<Rule, Errno> {
        access.grants = Access::NOTHING.grants;
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
        let mut rule = Rule::Allowed;
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
                    log.event(Some(&client), what, value, Cause::Theirs(Errno::INVAL));
                    rule = Rule::Unusable;
                }
            }
        }
        Ok(rule)
    }

    /// True if a client has a right for an identifier.
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
