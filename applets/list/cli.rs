use argh::{ArgsInfo, FromArgs};

/// Prints the identifiers that a daemon holds, one a line. A backslash quotes bytes other than
/// printable ASCII.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "s6-fdholder-list",
    example = "s6-fdholder-list /run/fdholder/s",
    error_code(0, "done"),
    error_code(1, "denied"),
    error_code(100, "wrong usage"),
    error_code(111, "unable to connect, or a system call failed")
)]
pub struct Cli {
    /// milliseconds to wait for the daemon; 0 or none is no limit
    #[argh(option, short = 't', arg_name = "timeout")]
    pub timeout: Option<u32>,

    /// socket of the daemon
    #[argh(positional)]
    pub socket: String,
}
