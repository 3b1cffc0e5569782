use argh::{ArgsInfo, FromArgs};

/// Stores an open descriptor in a daemon, under an identifier that is not in use.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "s6-fdholder-store",
    example = "s6-fdholder-store -d 5 -T 60000 /run/fdholder/s unix:/run/service",
    error_code(0, "done"),
    error_code(1, "denied"),
    error_code(100, "wrong usage"),
    error_code(111, "unable to connect, or a system call failed")
)]
pub struct Cli {
    /// descriptor to store; 0 if not given
    #[argh(option, short = 'd', arg_name = "fd")]
    pub fd: Option<u32>,

    /// milliseconds to wait for the daemon; 0 or none is no limit
    #[argh(option, short = 't', arg_name = "timeout")]
    pub timeout: Option<u32>,

    /// milliseconds until it expires; 0 or none is never
    #[argh(option, short = 'T', long = "expire", arg_name = "fdtimeout")]
    pub expire: Option<u32>,

    /// socket of the daemon
    #[argh(positional)]
    pub socket: String,

    /// identifier, 1 to 255 bytes
    #[argh(positional)]
    pub id: String,
}
