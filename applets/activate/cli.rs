use argh::{ArgsInfo, FromArgs};

/// Executes a program with descriptors that a daemon holds, from number 3 on, and describes them in
/// its environment as systemd does for socket activation. All of them or none are retrieved.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "fdholder-activate",
    example = "fdholder-activate -n http:https /run/fdholder/s tcp:0.0.0.0:80 tcp:0.0.0.0:443 -- httpd",
    example = "fdholder-activate -w -e nginx -p web: /run/fdholder/s -- nginx",
    note = "Numbers from 3 on that prog needs must not be open. With -D, if the daemon refuses the
        first deletion, nothing is deleted or executed. After that prog is executed in any case, and
        a warning says what may still be held.",
    error_code(0, "with -w: ended by SIGTERM; else the code is that of prog"),
    error_code(1, "denied, or there is no such identifier"),
    error_code(100, "wrong usage, or a number that prog needs is open"),
    error_code(111, "unable to connect, or a system call failed"),
    error_code(126, "prog cannot be executed"),
    error_code(127, "prog does not exist")
)]
pub struct Cli {
    /// the daemon is to forget them, once all of them are in place
    #[argh(switch, short = 'D')]
    pub delete: bool,

    /// execute prog only when one of them is readable or has hung up; meanwhile there is no
    /// connection to the daemon
    #[argh(switch, short = 'w')]
    pub wait: bool,

    /// systemd, if not given, nginx, starter, einhorn or upstart: how to describe them
    #[argh(option, short = 'e', arg_name = "convention")]
    pub convention: Option<String>,

    /// a name for each id, a colon between them; if not given, the ids
    #[argh(option, short = 'n', arg_name = "names")]
    pub names: Option<String>,

    /// also all whose identifiers begin with prefix, in the order of their bytes, each named by
    /// the rest, without #2 and the like at its end; at least one
    #[argh(option, short = 'p', arg_name = "prefix")]
    pub prefix: Option<String>,

    /// milliseconds to wait for the daemon; 0 or none is no limit
    #[argh(option, short = 't', arg_name = "timeout")]
    pub timeout: Option<u32>,

    /// socket of the daemon
    #[argh(positional)]
    pub socket: String,

    /// identifiers; none with -p
    #[argh(positional, arg_name = "id...")]
    pub id: String,

    /// what ends the identifiers
    #[argh(positional, arg_name = "--")]
    pub end: String,

    /// program, and its arguments
    #[argh(positional, arg_name = "prog...")]
    pub prog: String,
}
