//! The command line of a tool, what it says, and how it ends.

pub mod exit;
pub mod getopt;
pub mod number;
pub mod output;
