//! The limit on open files.

use super::error::Error;
use crate::sys::Errno;
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::limit::OpenFileLimit;
use core::cell::Cell;

/// The limit on open files, which can be raised and restored.
#[derive(Default)]
pub struct OpenFiles {
    /// The soft limit that [`OpenFiles::restore`] sets; `None` as long as [`OpenFiles::raise`] has not
    /// raised it.
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

    /// Raises the soft limit to `least`, or to the hard limit if that is lower. The limit stays raised
    /// for a program that is executed.
    pub fn allow(&self, least: u64) {
        let OpenFileLimit { soft, hard } = OpenFileLimit::get();
        let least = least.min(hard);
        self.before.set(self.before.get().map(|before| before.max(least)));
        if soft < least {
            OpenFileLimit { soft: least, hard }.set();
        }
    }

    /// Restores the soft limit that the process was started with, for a program that is executed. What
    /// [`OpenFiles::allow`] has allowed stays allowed.
    pub fn restore(&self) {
        if let Some(soft) = self.before.get() {
            OpenFileLimit { soft, ..OpenFileLimit::get() }.set();
        }
    }

    /// Opens something. If that fails because of the limit and the limit can be raised, it tries again.
    pub fn open<T>(&self, open: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
        loop {
            match open() {
                // It is raised once.
                Err(Errno::MFILE) if self.raise() => {}
                opened => return opened,
            }
        }
    }

    /// Returns another descriptor of the same open file, with a number that is not below `least`.
    /// [`Error::LimitTooLow`] if the limit allows no such number, `EMFILE` if all of them are in use.
    pub fn copy_from(&self, of: BorrowedFd, least: u32) -> Result<Fd, Error> {
        self.open(|| of.duplicate_from(least)).map_err(|errno| match errno {
            Errno::INVAL => Error::LimitTooLow(least as usize + 1),
            errno => errno.into(),
        })
    }

    /// Makes sure that one more descriptor can be opened: duplicates `of` and closes the copy. Raises
    /// the limit if necessary. `EMFILE` if there is no room.
    pub fn reserve(&self, of: BorrowedFd) -> Result<(), Errno> {
        self.open(|| of.duplicate()).map(drop)
    }
}
