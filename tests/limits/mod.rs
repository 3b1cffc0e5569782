//! Failures: too few descriptors, system calls that fail, and processes that are killed between any two
//! system calls.

mod crash_points;
mod daemon_faults;
mod open_files;
mod socket_faults;
pub mod tool_faults;
