use argh::{ArgsInfo, FromArgs};

/// Makes a Unix socket, drops privileges and goes on as s6-fdholderd, which holds descriptors for
/// others.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "s6-fdholder-daemon",
    note = "-d | -D: a socket on which nobody listens is replaced, unless -D is given.",
    note = "-i | -x: one of them is needed. SIGHUP has a file of rules read again.",
    example = "s6-fdholder-daemon -1 -i /etc/fdholder/rules /run/fdholder/s",
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

    /// replace a socket on which nobody listens
    #[argh(switch, short = 'd')]
    pub replace: bool,

    /// replace nothing
    #[argh(switch, short = 'D')]
    pub no_replace: bool,

    /// clients at a time, 256 at most; 16 if not given
    #[argh(option, short = 'c', long = "clients", arg_name = "maxconn")]
    pub maxconn: Option<u32>,

    /// descriptors to hold; 1000 if not given
    #[argh(option, short = 'n', long = "descriptors", arg_name = "maxfds")]
    pub maxfds: Option<u32>,

    /// connections that may wait to be accepted; 4096 if not given
    #[argh(option, short = 'b', arg_name = "backlog")]
    pub backlog: Option<u32>,

    /// groups to have, numbers with commas between them
    #[argh(option, short = 'G', long = "groups", arg_name = "gidlist")]
    pub groups: Option<String>,

    /// main group to have; no others unless -G names them
    #[argh(option, short = 'g', long = "group", arg_name = "gid")]
    pub group: Option<u32>,

    /// user to become
    #[argh(option, short = 'u', long = "user", arg_name = "uid")]
    pub user: Option<u32>,

    /// take these three from the variables UID, GID and GIDLIST
    #[argh(switch, short = 'U')]
    pub environment: bool,

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

    /// where to make the socket
    #[argh(positional)]
    pub path: String,
}
