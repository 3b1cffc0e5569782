//! The limit on open files.

use crate::sys::Errno;
use crate::sys::fd::BorrowedFd;
use crate::sys::limit::OpenFileLimit;
use core::cell::Cell;

/// The limit on open files, which can be raised and restored.
#[derive(Default)]
pub struct OpenFiles {
    /// The soft limit that the process was started with; `None` as long as it has not been raised.
    before: Cell<Option<u64>>,
}

impl OpenFiles {
    /// A limit that has not been raised.
    pub const fn new() -> OpenFiles {
        OpenFiles { before: Cell::new(None) }
    }

    /// Raises the soft limit to the hard limit. False if they are equal, or if it has been raised
    /// before: in a sandbox that forbids it, there is no second attempt.
    pub fn raise(&self) -> bool {
        let OpenFileLimit { soft, hard } = OpenFileLimit::get();
        let can_be_raised = soft < hard && self.before.get().is_none();
        if can_be_raised {
            OpenFileLimit { soft: hard, hard }.set();
            self.before.set(Some(soft));
        }
        can_be_raised
    }

    /// Restores the soft limit that the process was started with, for a program that is executed.
    pub fn restore(&self) {
        if let Some(soft) = self.before.get() {
            OpenFileLimit { soft, ..OpenFileLimit::get() }.set();
        }
    }

    /// Opens something. If that fails because of the limit and the limit can be raised, it tries again.
    pub fn open<T>(&self, open: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
        match open() {
            Err(Errno::MFILE) if self.raise() => open(),
            opened => opened,
        }
    }

    /// Makes sure that one more descriptor can be opened: duplicates `of` and closes the copy. Raises
    /// the limit if necessary. `EMFILE` if there is no room.
    pub fn reserve(&self, of: BorrowedFd) -> Result<(), Errno> {
        self.open(|| of.duplicate()).map(drop)
    }
}
