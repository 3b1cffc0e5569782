//! Static memory that is handed out once.

use core::cell::UnsafeCell;
use once_cell::race::OnceBool;

/// A static that somebody can take, once per process, as the exclusive reference that a `static
/// mut` would only promise.
pub struct HandOut<T> {
    taken: OnceBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through the one reference that `take` gives.
unsafe impl<T: Send> Sync for HandOut<T> {}

impl<T> HandOut<T> {
    /// A value that nobody has taken yet.
    pub const fn new(value: T) -> HandOut<T> {
        HandOut { taken: OnceBool::new(), value: UnsafeCell::new(value) }
    }

    /// The value, for the first who asks. A second one would be a mistake in the program: it ends.
    #[allow(clippy::mut_from_ref, reason = "there is never a second reference")]
    pub fn take(&'static self) -> &'static mut T {
        if self.taken.set(true).is_err() {
            super::bug();
        }
        // SAFETY: only one caller ever gets past the lines above.
        unsafe { &mut *self.value.get() }
    }
}
