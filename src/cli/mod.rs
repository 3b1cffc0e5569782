//! The command line, the output and the exit code of a tool.

pub mod exit;
pub mod getopt;
pub mod number;
pub mod output;
