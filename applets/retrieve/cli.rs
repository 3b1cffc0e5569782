use argh::{ArgsInfo, FromArgs};

/// Retrieves a descriptor from a daemon, and executes a program with it as standard input.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "s6-fdholder-retrieve",
    example = "s6-fdholder-retrieve /run/fdholder/s unix:/run/service s6-ipcserverd service",
    error_code(1, "denied"),
    error_code(100, "wrong usage"),
    error_code(111, "unable to connect, or a system call failed"),
    error_code(126, "prog cannot be executed"),
    error_code(127, "prog does not exist")
)]
pub struct Cli {
    /// delete it from the daemon
    #[argh(switch, short = 'D')]
    pub delete: bool,

    /// milliseconds to wait for the daemon; 0 or none is no limit
    #[argh(option, short = 't', arg_name = "timeout")]
    pub timeout: Option<u32>,

    /// socket of the daemon
    #[argh(positional)]
    pub socket: String,

    /// identifier
    #[argh(positional)]
    pub id: String,

    /// program, and its arguments
    #[argh(positional, arg_name = "prog...")]
    pub prog: String,
}
