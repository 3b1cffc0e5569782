use argh::{ArgsInfo, FromArgs};

/// Stores in a daemon the descriptors that the environment describes, as set by
/// s6-fdholder-getdump. They replace those with the same identifiers.
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
