use argh::{ArgsInfo, FromArgs};

/// Executes a program with descriptors that a daemon holds, from number 3 on, and describes them in
/// its environment as systemd does for socket activation. All of them or none are retrieved.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "fdholder-activate",
    example = "fdholder-activate -n http:https /run/fdholder/s tcp:0.0.0.0:80 tcp:0.0.0.0:443 -- httpd",
    example = "fdholder-activate -w -e nginx -p web: /run/fdholder/s -- nginx",
    note = "The numbers from 3 on that prog gets must not be open. If the soft limit on open files
        does not allow two more numbers than those, it is raised that far, and stays so for prog.",
    note = "-D: if the daemon refuses the first deletion, nothing is deleted or executed. After that,
        and with -w, prog is executed in any case, and a warning says what may still be held. prog gets
        what is deleted, even if it has just been stored. Of two that do this at the same time both may
        execute prog. If prog then cannot be executed, what was deleted is stored again, without an
        expiry.",
    note = "-D with -w: before each deletion it compares what the daemon holds then, by device and
        inode. Another file stays held, with a warning.",
    note = "-w: until the first client has come SIGTERM ends it with 0, even if the caller ignores or
        blocks SIGTERM. It takes less than 64 KB of memory while it waits, and the bytes of the
        identifiers that begin with prefix.",
    error_code(0, "with -w: ended by SIGTERM; else the code is that of prog"),
    error_code(1, "denied, or there is no such identifier"),
    error_code(100, "wrong usage, or a number that prog needs is open"),
    error_code(111, "unable to connect, or a system call failed"),
    error_code(126, "prog cannot be executed"),
    error_code(127, "prog does not exist")
)]
pub struct Cli {
    /// delete them from the daemon before prog is executed
    #[argh(switch, short = 'D')]
    pub delete: bool,

    /// execute prog when one of them is readable or has hung up; until then there is no connection
    /// to the daemon
    #[argh(switch, short = 'w')]
    pub wait: bool,

    /// how to describe them: systemd, nginx, starter, einhorn or upstart; systemd if not given
    #[argh(option, short = 'e', arg_name = "convention")]
    pub convention: Option<String>,

    /// a name for each id, with colons between them; the ids if not given
    #[argh(option, short = 'n', arg_name = "names")]
    pub names: Option<String>,

    /// also all whose identifiers begin with prefix, after the ids; each is named by the rest,
    /// without #2 and the like at its end; they are in the order of names and these numbers
    #[argh(option, short = 'p', arg_name = "prefix")]
    pub prefix: Option<String>,

    /// milliseconds to wait for the daemon; 0 or none is no limit
    #[argh(option, short = 't', arg_name = "timeout")]
    pub timeout: Option<u32>,

    /// socket of the daemon
    #[argh(positional)]
    pub socket: String,

    /// identifiers; at least one, unless -p is given
    #[argh(positional, arg_name = "[ id... ]")]
    pub id: String,

    /// ends the identifiers
    #[argh(positional, arg_name = "--")]
    pub end: String,

    /// program, and its arguments
    #[argh(positional, arg_name = "prog...")]
    pub prog: String,
}
