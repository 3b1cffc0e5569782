//! What the fuzz targets check, each a function of any bytes that panics if the product does
//! anything wrong with them: by a model that is written in another way, or by the C library.

pub mod cdb;
pub mod entries;
pub mod frames;
pub mod getopt;
mod model;
pub mod regex;
pub mod requests;
pub mod table;
mod world;

use fdholder::pool::{self, Composer};
use fdholder::sys::text::Text;
use std::ffi::CStr;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// Bytes to be taken for one thing after the other. At their end there are zeros.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// So many bytes, or all that are left.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// A number below that.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    /// So many bytes, zeros for those that are not there.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }
}

/// The product's text of a string that only lives for a while. The text must not be used later.
fn text(string: &CStr) -> Text {
    // SAFETY: only the checks have the text, which end before the string does.
    Text::new(unsafe { &*std::ptr::from_ref(string) })
}

/// The one composer of this process, for one check at a time.
fn composer() -> MutexGuard<'static, Option<&'static mut Composer>> {
    static COMPOSER: LazyLock<Mutex<Option<&'static mut Composer>>> =
        LazyLock::new(|| Mutex::new(Some(pool::composer())));
    // That another check has failed meanwhile is not this one's mistake.
    COMPOSER.lock().unwrap_or_else(PoisonError::into_inner)
}
