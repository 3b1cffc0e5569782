use argh::{ArgsInfo, FromArgs};

/// Makes a listening socket, drops privileges and becomes s6-fdholderd.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "s6-fdholder-daemon",
    note = "-d | -D: -d is the default.",
    note = "-i | -x: one of them is required. SIGHUP reads the file again.",
    example = "s6-fdholder-daemon -1 -i /etc/fdholder/rules /run/fdholder/s",
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

    /// replace a socket on which no process listens
    #[argh(switch, short = 'd')]
    pub replace: bool,

    /// replace nothing
    #[argh(switch, short = 'D')]
    pub no_replace: bool,

    /// clients at a time, 256 at most; 16 if not given
    #[argh(option, short = 'c', long = "clients", arg_name = "maxconn")]
    pub maxconn: Option<u32>,

    /// descriptors to hold at most; 1000 if not given
    #[argh(option, short = 'n', long = "descriptors", arg_name = "maxfds")]
    pub maxfds: Option<u32>,

    /// connections that may wait to be accepted; 4096 if not given
    #[argh(option, short = 'b', arg_name = "backlog")]
    pub backlog: Option<u32>,

    /// supplementary groups, separated by commas
    #[argh(option, short = 'G', long = "groups", arg_name = "gidlist")]
    pub groups: Option<String>,

    /// group to run as; no other groups but those of -G
    #[argh(option, short = 'g', long = "group", arg_name = "gid")]
    pub group: Option<u32>,

    /// user to run as
    #[argh(option, short = 'u', long = "user", arg_name = "uid")]
    pub user: Option<u32>,

    /// take user and groups from $UID, $GID and $GIDLIST
    #[argh(switch, short = 'U')]
    pub environment: bool,

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

    /// path of the socket
    #[argh(positional)]
    pub path: String,
}
