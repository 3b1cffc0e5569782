//! Exit codes.

/// How a tool ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit(pub u8);

impl Exit {
    /// Done.
    pub const SUCCESS: Exit = Exit(0);
    /// The daemon denied it; of two, the source did.
    pub const DENIED: Exit = Exit(1);
    /// The destination denied it.
    pub const DESTINATION: Exit = Exit(2);
    /// Wrong usage.
    pub const USAGE: Exit = Exit(100);
    /// A system call failed here.
    pub const SYSTEM: Exit = Exit(111);
    /// A program cannot be executed.
    pub const NOT_EXECUTABLE: Exit = Exit(126);
    /// A program does not exist.
    pub const ABSENT: Exit = Exit(127);
}
