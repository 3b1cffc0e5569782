//! Deletion: the daemon forgets what the program gets.

use super::wanted::Wanted;
use super::{RETRIEVE, failed, put, unprepared};
use crate::cli::exit::Exit;
use crate::cli::output::Writer;
use crate::client::Connection;
use crate::client::failure::Wording;
use crate::io::error::Error;
use crate::protocol::activation::FIRST;
use crate::protocol::frame::Frame;
use crate::slice::part;
use crate::sys::fd::BorrowedFd;
use crate::sys::memory::List;
use crate::sys::{Errno, file};

const DELETE: Wording = Wording {
    advice: " (the right S6_FDHOLDER_STORE_REGEX is missing)",
    ..Wording::only("delete fd for id ", "")
};

/// A descriptor that the daemon may have deleted.
struct One<'a> {
    fd: BorrowedFd<'static>,
    identifier: &'a [u8],
    /// True if the daemon has said so.
    is_certain: bool,
}

/// What the daemon may have deleted.
pub struct Deleted<'a>(List<One<'a>>);

/// What becomes of an identifier.
enum Outcome {
    /// The daemon has deleted it.
    Deleted,
    /// The daemon holds nothing under it: it has expired, or somebody has deleted it.
    NotHeld,
    /// The daemon holds another file under it.
    Other,
}

impl<'a> Deleted<'a> {
    /// Has the daemon delete all. If it refuses the first one, it still holds all, and this is an error.
    /// After that the program may be the only one to have them, and after a wait too, since another daemon
    /// may have taken over. So what cannot be deleted stays held, and a warning says so.
    ///
    /// After a wait somebody may have stored another file under an identifier. Then it stays held, with a
    /// warning.
    pub fn delete(
        daemon: &mut Connection,
        frame: &mut Frame,
        wanted: &'a Wanted,
        has_waited: bool,
        errors: &mut Writer,
    ) -> Result<Deleted<'a>, Exit> {
        let mut deleted = List::new(wanted.identifiers.len());
        if deleted.capacity() == 0 {
            return Err(unprepared(daemon, errors, Errno::NOMEM.into()));
        }
        for (index, identifier) in wanted.identifiers.iter().enumerate() {
            if part(&wanted.identifiers, ..index).contains(identifier) {
                continue;
            }
            let fd = BorrowedFd::named(FIRST + index as u32);
            match delete(daemon, frame, identifier, fd, has_waited) {
                Ok(Outcome::Deleted) => {
                    deleted.push(One { fd, identifier, is_certain: true });
                }
                Ok(Outcome::NotHeld) => {}
                Ok(Outcome::Other) => {
                    let line = errors.message().text("warning: id ").quoted(identifier);
                    line.text(" is another descriptor by now: the daemon keeps it").end_line();
                }
                Err((wording, error @ Error::Denied(_))) if index == 0 && !has_waited => {
                    return Err(failed(daemon, errors, wording, identifier, error));
                }
                Err((_, error)) => {
                    let line = errors.message().text("warning: unable to delete fd for id ");
                    error.explain(line.quoted(identifier));
                    if let Error::Denied(_) = error {
                        line.end_line();
                        continue;
                    }
                    line.text("; the daemon may still hold it and what comes behind it").end_line();
                    if daemon.may_have_done_it(error) {
                        deleted.push(One { fd, identifier, is_certain: false });
                    }
                    break;
                }
            }
        }
        Ok(Deleted(deleted))
    }

    /// The number of descriptors that the daemon may have deleted.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Stores them again, without an expiry: it is not known. Returns how many the daemon does not hold
    /// now.
    pub fn store_again(&self, daemon: &mut Connection, frame: &mut Frame) -> usize {
        let mut left = self.count();
        if self.0.iter().any(|one| !one.is_certain) {
            // The connection is of no use. A new one may work, if the deadline has not passed.
            let _ = daemon.pause();
        }
        for one in self.0.iter() {
            match daemon.store(frame, one.fd, one.identifier, 0) {
                Ok(()) => left -= 1,
                // The daemon has never deleted it.
                Err(Error::Denied(Errno::BUSY)) if !one.is_certain => left -= 1,
                Err(Error::Denied(_)) => {}
                // The others would fail too.
                Err(_) => break,
            }
        }
        left
    }
}

/// Deletes an identifier. What is deleted becomes the descriptor at `place`: somebody may have stored another
/// file a moment ago. After a wait it is deleted only if it is the file at `place`. An error has the words
/// for what failed.
fn delete(
    daemon: &mut Connection,
    frame: &mut Frame,
    identifier: &[u8],
    place: BorrowedFd,
    has_waited: bool,
) -> Result<Outcome, (&'static Wording, Error)> {
    if has_waited {
        match is_same(daemon, frame, identifier, place) {
            Ok(true) => {}
            Ok(false) => return Ok(Outcome::Other),
            Err(Error::Denied(Errno::NOENT)) => return Ok(Outcome::NotHeld),
            Err(error) => return Err((&RETRIEVE, error)),
        }
    }
    match daemon.retrieve(frame, identifier, true) {
        Ok(fd) => {
            // It does not fail: `place` is open.
            let _ = put(fd, place);
            Ok(Outcome::Deleted)
        }
        Err(Error::Denied(Errno::NOENT)) => Ok(Outcome::NotHeld),
        Err(error) => Err((&DELETE, error)),
    }
}

/// True if the daemon holds this file under an identifier.
fn is_same(
    daemon: &mut Connection,
    frame: &mut Frame,
    identifier: &[u8],
    fd: BorrowedFd,
) -> Result<bool, Error> {
    let held = daemon.retrieve(frame, identifier, false)?;
    Ok(file::identity_of(held.borrow())? == file::identity_of(fd)?)
}
