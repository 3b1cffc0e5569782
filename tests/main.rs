//! Everything that exercises the product, in one test program.

mod interop;
mod kit;
mod limits;
