//! What is shipped: the executable, the source and the README. The folders here are the files for
//! images and packages; `tests/packaging.sh` has each of them used.

mod executable;
#[path = "../../src/build/processor.rs"]
mod processor;
mod readme_example;
mod source;
