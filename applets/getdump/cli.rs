use argh::{ArgsInfo, FromArgs};

/// Executes a program with all descriptors that a daemon holds. S6_FD# is their number. S6_FD_0 is
/// the first descriptor, S6_FDID_0 its identifier, and S6_FDLIMIT_0 its expiry, unset if it never
/// expires.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "s6-fdholder-getdump",
    example = "s6-fdholder-getdump /run/fdholder/s s6-fdholder-setdump /run/other/s",
    error_code(1, "denied"),
    error_code(100, "wrong usage"),
    error_code(111, "unable to connect, or a system call failed"),
    error_code(126, "prog cannot be executed"),
    error_code(127, "prog does not exist")
)]
pub struct Cli {
    /// milliseconds to wait for the daemon; 0 or none is no limit
    #[argh(option, short = 't', arg_name = "timeout")]
    pub timeout: Option<u32>,

    /// socket of the daemon
    #[argh(positional)]
    pub socket: String,

    /// program, and its arguments
    #[argh(positional, arg_name = "prog...")]
    pub prog: String,
}
