//! Everything that exercises the product, in one test program.

mod kit;
