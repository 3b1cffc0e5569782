//! Owned descriptors, and how many there can be.

use crate::sys::{self, Errno, OpenFileLimit};
use core::num::NonZeroI32;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// An open descriptor that closes when it is dropped; none of the first three, which belong to
/// whoever started the process. So `Option<Fd>` is as small as the number.
#[derive(PartialEq, Eq, Debug)]
pub struct Fd(NonZeroI32);

impl Fd {
    /// Takes over the descriptor of that number, which nobody else must own. Standard input,
    /// output and error are left alone: none.
    pub fn own(number: usize) -> Option<Fd> {
        let number = number as i32;
        if number > 2 { NonZeroI32::new(number).map(Fd) } else { None }
    }

    /// Its number, for as long as it is open.
    pub fn number(&self) -> i32 {
        self.0.get()
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        sys::close(self.number());
    }
}

/// One more than the soft limit on open files was before it was raised; 0 if it has not been.
static LIMIT: AtomicUsize = AtomicUsize::new(0);

/// Raises the soft limit on open files to the hard one; false if it is there already, or has been
/// raised before: where a sandbox forbids it, there is no second try.
pub fn raise_limit() -> bool {
    let OpenFileLimit { soft, hard } = sys::open_file_limit();
    let can_be_raised = soft < hard && LIMIT.load(Relaxed) == 0;
    if can_be_raised {
        sys::set_open_file_limit(OpenFileLimit { soft: hard, hard });
        LIMIT.store(soft as usize + 1, Relaxed);
    }
    can_be_raised
}

/// Sets the soft limit back to what it was, if it has been raised, for a program that is executed.
pub fn restore_limit() {
    if let Some(soft) = LIMIT.load(Relaxed).checked_sub(1) {
        sys::set_open_file_limit(OpenFileLimit { soft: soft as u64, ..sys::open_file_limit() });
    }
}

/// Makes sure that one more descriptor can be opened, raising the limit if need be, by opening one and
/// closing it: another number for `fd`, which must be open. `EMFILE` if there is no room.
pub fn reserve(fd: i32) -> Result<(), Errno> {
    loop {
        match sys::duplicate(fd) {
            Err(Errno::MFILE) if raise_limit() => {}
            number => return number.map(Fd::own).map(drop),
        }
    }
}
