//! Everything that exercises the product, in one test program.

mod codec;
mod image;
mod interop;
mod kit;
mod limits;
