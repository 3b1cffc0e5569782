//! The executable, the source and the README. The folders here contain the files for images and packages,
//! which `tests/packaging.sh` uses.

mod executable;
#[path = "../../src/build/processor.rs"]
mod processor;
mod readme_example;
mod source;
