use argh::{ArgsInfo, FromArgs};

/// Executes a program with a descriptor that a daemon holds as its standard input.
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
    /// the daemon is to forget it
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
