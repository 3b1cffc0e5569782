//! How many descriptors the process can have.

use crate::sys::Errno;
use crate::sys::fd::BorrowedFd;
use crate::sys::limit::OpenFileLimit;
use core::cell::Cell;

/// The limit on open files, and what it was before it was raised.
#[derive(Default)]
pub struct OpenFiles {
    /// The soft limit that the process was started with, once it has been raised.
    before: Cell<Option<u64>>,
}

impl OpenFiles {
    /// The limit that the process was started with.
    pub const fn new() -> OpenFiles {
        OpenFiles { before: Cell::new(None) }
    }

    /// Raises the soft limit to the hard one; false if it is there already, or has been raised
    /// before: where a sandbox forbids it, there is no second try.
    pub fn raise(&self) -> bool {
        let OpenFileLimit { soft, hard } = OpenFileLimit::get();
        let can_be_raised = soft < hard && self.before.get().is_none();
        if can_be_raised {
            OpenFileLimit { soft: hard, hard }.set();
            self.before.set(Some(soft));
        }
        can_be_raised
    }

    /// Sets the soft limit back to what it was, if it has been raised, for a program that is
    /// executed.
    pub fn restore(&self) {
        if let Some(soft) = self.before.get() {
            OpenFileLimit { soft, ..OpenFileLimit::get() }.set();
        }
    }

    /// Makes sure that one more descriptor can be opened, raising the limit if need be, by opening
    /// one and closing it: another one of the open file `of`. `EMFILE` if there is no room.
    pub fn reserve(&self, of: BorrowedFd) -> Result<(), Errno> {
        loop {
            match of.duplicate() {
                Err(Errno::MFILE) if self.raise() => {}
                duplicate => return duplicate.map(drop),
            }
        }
    }
}
