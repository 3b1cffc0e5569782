use argh::{ArgsInfo, FromArgs};

/// Holds descriptors for other processes. It serves on the listening socket that is its standard
/// input. At SIGTERM it lets its clients finish, and exits.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "s6-fdholderd",
    note = "-i | -x: one of them is required. SIGHUP reads the file again.",
    example = "s6-fdholderd -1 -i /etc/fdholder/rules < listening-socket",
    error_code(0, "ended by SIGTERM"),
    error_code(100, "wrong usage"),
    error_code(111, "a system call failed")
)]
pub struct Cli {
    /// write a newline to standard output when ready, and close it
    #[argh(switch, short = '1')]
    pub ready: bool,

    /// log nothing at 0, warnings at 1 (the default), everything at 2
    #[argh(option, short = 'v', arg_name = "verbosity")]
    pub verbosity: Option<u32>,

    /// clients at a time, 256 at most; 16 if not given
    #[argh(option, short = 'c', long = "clients", arg_name = "maxconn")]
    pub maxconn: Option<u32>,

    /// descriptors to hold at most; 1000 if not given
    #[argh(option, short = 'n', long = "descriptors", arg_name = "maxfds")]
    pub maxfds: Option<u32>,

    /// milliseconds of silence allowed in the middle of an operation; 0 or none is no limit
    #[argh(option, short = 't', long = "timeout", arg_name = "clienttimeout")]
    pub timeout: Option<u32>,

    /// milliseconds for clients to finish after SIGTERM; 0 or none is no limit
    #[argh(option, short = 'T', long = "lame-duck", arg_name = "lameducktimeout")]
    pub lame_duck: Option<u32>,

    /// directory of access rules
    #[argh(option, short = 'i', long = "rules", arg_name = "rulesdir")]
    pub rulesdir: Option<String>,

    /// file of access rules
    #[argh(option, short = 'x', long = "rules-file", arg_name = "rulesfile")]
    pub rulesfile: Option<String>,
}
