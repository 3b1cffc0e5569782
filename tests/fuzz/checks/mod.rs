//! The checks of the fuzz targets. Each is a function of any bytes. It compares the product with a model that
//! is written in another way, or with the C library, and panics if they differ.

pub mod cdb;
pub mod entries;
mod fixture;
pub mod frames;
pub mod getopt;
mod model;
pub mod regex;
pub mod requests;
pub mod table;

/// The bytes of an input, which are taken one after the other. After the last byte come zeros.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// `length` bytes, or all that are left.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    /// `N` bytes. After the last byte come zeros.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }
}
