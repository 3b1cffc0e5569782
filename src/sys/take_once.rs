//! Static memory that one caller can take.

use core::cell::UnsafeCell;
use once_cell::race::OnceBool;

/// A static that can be taken once per process, as the exclusive reference that a `static mut` would
/// only promise.
pub struct TakeOnce<T> {
    taken: OnceBool,
    value: UnsafeCell<T>,
}

// SAFETY: only the one reference that `take` returns reaches the value.
unsafe impl<T: Send> Sync for TakeOnce<T> {}

impl<T> TakeOnce<T> {
    /// A value that nobody has taken.
    pub const fn new(value: T) -> TakeOnce<T> {
        TakeOnce { taken: OnceBool::new(), value: UnsafeCell::new(value) }
    }

    /// Returns the value to the first caller. A second call is a bug in the program and ends the
    /// process.
    #[allow(clippy::mut_from_ref, reason = "there is never a second reference")]
    pub fn take(&'static self) -> &'static mut T {
        if self.taken.set(true).is_err() {
            super::bug();
        }
        // SAFETY: only one caller gets past the lines above.
        unsafe { &mut *self.value.get() }
    }
}
