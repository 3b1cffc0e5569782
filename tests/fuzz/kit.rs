//! The parts of the tests' kit that the checks use.

#[path = "../kit/cdb.rs"]
pub mod cdb;
#[path = "../kit/regex_oracle.rs"]
pub mod regex_oracle;
#[path = "../kit/wire.rs"]
pub mod wire;
