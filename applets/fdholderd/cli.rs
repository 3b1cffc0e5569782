use argh::{ArgsInfo, FromArgs};

/// Holds descriptors for others. It serves on the listening Unix socket that is its standard input,
/// until SIGTERM makes it a lame duck, which ends when its clients have finished.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "s6-fdholderd",
    note = "-i | -x: one of them is needed. SIGHUP has a file of rules read again.",
    example = "s6-fdholderd -1 -i /etc/fdholder/rules < listening-socket",
    error_code(0, "ended by SIGTERM"),
    error_code(100, "wrong usage"),
    error_code(111, "a system call failed at the start")
)]
pub struct Cli {
    /// write a newline to standard output and close it when ready
    #[argh(switch, short = '1')]
    pub ready: bool,

    /// how much to say: 0 nothing, 1 what goes wrong (if not given), 2 all that happens
    #[argh(option, short = 'v', arg_name = "verbosity")]
    pub verbosity: Option<u32>,

    /// clients at a time, 256 at most; 16 if not given
    #[argh(option, short = 'c', long = "clients", arg_name = "maxconn")]
    pub maxconn: Option<u32>,

    /// descriptors to hold; 1000 if not given
    #[argh(option, short = 'n', long = "descriptors", arg_name = "maxfds")]
    pub maxfds: Option<u32>,

    /// milliseconds that a client in the middle of an operation may be silent; 0 or none is no
    /// limit
    #[argh(option, short = 't', long = "timeout", arg_name = "clienttimeout")]
    pub timeout: Option<u32>,

    /// milliseconds to finish in after SIGTERM; 0 or none is no limit
    #[argh(option, short = 'T', long = "lame-duck", arg_name = "lameducktimeout")]
    pub lame_duck: Option<u32>,

    /// directory of access rules
    #[argh(option, short = 'i', long = "rules", arg_name = "rulesdir")]
    pub rulesdir: Option<String>,

    /// file of access rules
    #[argh(option, short = 'x', long = "rules-file", arg_name = "rulesfile")]
    pub rulesfile: Option<String>,
}
