//! Where something gives out: descriptors, a call to the kernel, or the process itself, between any two
//! of its calls.

mod crash_points;
mod daemon_faults;
pub mod open_files;
mod socket_faults;
pub mod tool_faults;
