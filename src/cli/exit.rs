//! Exit codes.

/// The exit code of a tool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit(pub u8);

impl Exit {
    /// The tool did its work.
    pub const SUCCESS: Exit = Exit(0);
    /// The daemon denied the request; in a transfer, the source did.
    pub const DENIED: Exit = Exit(1);
    /// The destination of a transfer denied the request.
    pub const DESTINATION: Exit = Exit(2);
    /// The command line is wrong.
    pub const USAGE: Exit = Exit(100);
    /// A system call failed.
    pub const SYSTEM: Exit = Exit(111);
    /// The program to execute cannot be executed.
    pub const NOT_EXECUTABLE: Exit = Exit(126);
    /// The program to execute does not exist.
    pub const ABSENT: Exit = Exit(127);
}
