//! Storing several descriptors on one connection: all or none.

use super::Connection;
use super::failure::Wording;
use crate::cli::exit::Exit;
use crate::cli::output::Writer;
use crate::io::error::Error;
use crate::io::path::PathBuffer;
use crate::protocol::frame::Frame;
use crate::protocol::tai::Label;
use crate::sys::fd::BorrowedFd;
use crate::sys::{Errno, file};
use core::ops::Range;

/// Descriptors to store, with indices from 0.
pub trait Several {
    /// How many there are.
    fn count(&self) -> usize;

    /// Writes an identifier into an empty buffer. An error if it does not fit.
    fn identifier<'b>(&self, index: usize, buffer: &'b mut PathBuffer) -> Result<&'b [u8], Error>;

    /// A descriptor.
    fn descriptor(&self, index: usize) -> BorrowedFd<'_>;

    /// An expiry. They must differ: equal ones corrupt the table of a C daemon.
    fn expiry(&self, index: usize) -> Result<Label, Error>;
}

impl Connection<'_> {
    /// Checks that all identifiers are valid. This sends nothing. If one is not, a message says so.
    pub fn check_all(
        &self,
        all: &dyn Several,
        frame: &mut Frame,
        errors: &mut Writer,
        wording: &Wording,
    ) -> Result<(), Exit> {
        for index in 0..all.count() {
            let mut buffer = PathBuffer::EMPTY;
            let identifier = all.identifier(index, &mut buffer).and_then(|identifier| {
                frame.begin().identifier(identifier).map_err(Error::Denied)?;
                Ok(())
            });
            // No daemon holds an identifier that is not valid. The exit code is that of a denial.
            identifier.map_err(|error| self.fail(errors, wording, buffer.bytes(), error))?;
        }
        Ok(())
    }

    /// Stores all, under identifiers that are not in use. If one cannot be stored, this deletes those
    /// stored before it, and a message says what failed.
    pub fn store_all(
        &mut self,
        all: &dyn Several,
        frame: &mut Frame,
        errors: &mut Writer,
        wording: &Wording,
    ) -> Result<(), Exit> {
        for index in 0..all.count() {
            let mut buffer = PathBuffer::EMPTY;
            let Err(error) = self.store_one(all, index, frame, &mut buffer) else { continue };
            let line = self.report(errors, wording, buffer.bytes(), error);
            let is_in_doubt = self.may_have_done_it(error);
            if !matches!(error, Error::Denied(_)) {
                // A new connection may work, if the deadline has not passed.
                let _ = self.pause();
            }
            if is_in_doubt && !self.remove_doubtful(all, index, frame) {
                line.text(wording.doubt);
            }
            let left = self.remove_all(all, 0..index, frame);
            if left > 0 {
                line.text("; of those before it ").number(left as u32).text(" may still be held");
            }
            return Err(line.end(error.exit(wording.blame)));
        }
        Ok(())
    }

    fn store_one(
        &mut self,
        all: &dyn Several,
        index: usize,
        frame: &mut Frame,
        buffer: &mut PathBuffer,
    ) -> Result<(), Error> {
        let identifier = all.identifier(index, buffer)?;
        let request = frame.request(b'S').entry(&all.expiry(index)?, identifier);
        self.change(request.map_err(Error::Denied)?.finish(1), &[all.descriptor(index)])
    }

    /// Deletes one that may have been stored. True if the daemon does not hold it afterwards. That it holds
    /// nothing now does not mean that: it may still have the request before it.
    fn remove_doubtful(&mut self, all: &dyn Several, index: usize, frame: &mut Frame) -> bool {
        let mut buffer = PathBuffer::EMPTY;
        let identifier = all.identifier(index, &mut buffer);
        let Ok(held) = identifier.and_then(|it| self.retrieve(frame, it, false)) else {
            return false;
        };
        match [held.borrow(), all.descriptor(index)].map(file::identity_of) {
            [Ok(held), Ok(own)] if held == own => {
                self.remove_all(all, index..index + 1, frame) == 0
            }
            // What another client has stored keeps this one out.
            [Ok(_), Ok(_)] => true,
            _ => false,
        }
    }

    /// Deletes some that have been stored. Returns how many the daemon may still hold.
    fn remove_all(&mut self, all: &dyn Several, which: Range<usize>, frame: &mut Frame) -> usize {
        let mut left = which.len();
        for index in which {
            let mut buffer = PathBuffer::EMPTY;
            let identifier = all.identifier(index, &mut buffer);
            match identifier.and_then(|it| self.delete(frame, it)) {
                // ENOENT: another client has deleted it.
                Ok(()) | Err(Error::Denied(Errno::NOENT)) => left -= 1,
                Err(Error::Denied(_)) => {}
                // The others would fail too.
                Err(_) => break,
            }
        }
        left
    }
}
