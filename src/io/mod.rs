//! Input and output: connections, sockets at an address, deadlines, static buffers, paths, whole files, and
//! the limit on open files.

pub mod deadline;
pub mod error;
#[cfg(feature = "fdholderd")]
pub mod file;
pub mod listener;
pub mod open_files;
pub mod path;
pub mod pool;
pub mod socket;
pub mod turn;
