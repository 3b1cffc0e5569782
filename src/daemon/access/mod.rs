//! Who is let in, and what an expression allows: the access rules where they lie, in a directory or a
//! file, and the expressions of all clients, compiled when they connect.

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

impl Gate {
    /// Without rules yet: [`Gate::reload`] reads a file of them. Nor is anybody `self` yet.
    pub fn new(clients: usize, source: Source, spare: Option<Fd>) -> Gate {
        let own = Own { uid: None, gid: None };
        let expressions = Mapping::new_or_empty(clients);
        Gate { source, file: Mapping::EMPTY, own, expressions, spare }
    }

    /// Whether there has been memory for it.
    pub fn has_memory(&self) -> bool {
        !self.expressions.is_empty()
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
        let mut read = file::read_whole(path);
        if self.gives_spare(&read) {
            read = file::read_whole(path);
        }
        let content = read.map_err(|errno| (path, errno))?;
        if !cdb::is_valid(&content) {
            return Err((path, Errno::INVAL));
        }
        self.file = content;
        Ok(())
    }

    /// Makes another descriptor of the listening socket the spare one, if that is gone.
    pub fn find_spare(&mut self, listener: BorrowedFd) {
        if self.spare.is_none() {
            self.spare = listener.duplicate().ok();
        }
    }

    /// Whether something has failed for want of a descriptor. Then the spare one is closed, and it is to
    /// be tried again.
    fn gives_spare<T>(&mut self, done: &Result<T, Errno>) -> bool {
        let is_full = matches!(done, Err(Errno::MFILE));
        if is_full {
            self.spare = None;
        }
        is_full
    }

    /// What a client may do that gets the place of that number, which nobody has; nothing if it is to be
    /// refused.
    pub fn admit(&mut self, place: usize, client: Identity, log: &mut Log) -> Option<Access> {
        let mut access = Access { place, ..Access::NOTHING };
        let rule = rules::decide(client, self.own, |key| {
            let mut rule = self.look_up(key, client, &mut access, log);
            if self.gives_spare(&rule) {
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

    /// Looks a rule up, and puts the rights that it gives into the access. An expression that is of no
    /// use refuses the client.
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
