use argh::{ArgsInfo, FromArgs};

/// Gives a daemon the descriptors that the environment describes, as s6-fdholder-getdump makes it.
/// What it holds under the same identifiers is replaced.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "s6-fdholder-setdump",
    example = "s6-fdholder-getdump /run/fdholder/s s6-fdholder-setdump /run/other/s",
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
