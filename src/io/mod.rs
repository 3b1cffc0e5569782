//! Input and output for clients: connections, deadlines, the static buffers, and how many
//! descriptors there can be.

pub mod deadline;
pub mod error;
#[cfg(feature = "fdholderd")]
pub mod file;
pub mod open_files;
pub mod path;
pub mod pool;
pub mod socket;
