//! Everything that exercises the product, in one test program.

mod cases;
mod codec;
mod deadlines;
mod hostile;
mod image;
mod interop;
mod kit;
mod limits;
