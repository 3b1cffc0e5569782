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
