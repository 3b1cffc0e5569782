use argh::{ArgsInfo, FromArgs};

/// Copies the listening sockets of a running process into a daemon, each under its address as
/// fdholder-listen takes it. The process keeps its own, and notices nothing.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "fdholder-adopt",
    note = "Without an address all listening sockets are taken. Sockets of udp: and unix-dgram: do not
        listen: they are taken if they are named. Several sockets at one address get #2, #3 and so on
        at the end.",
    note = "All or nothing: if an address is not found, or an identifier is held by something else,
        nothing is stored; if one cannot be stored, those before it are removed again. What is held
        already stays.",
    note = "It needs Linux 5.6 and the rights of a debugger over the process: root has them in its user
        namespace, and the same user has where kernel.yama.ptrace_scope allows it. It looks at numbers
        below the soft limit on open files of the process, up to 65536 in a row that are not open.",
    note = "It needs the rights to retrieve and to store.",
    example = "fdholder-adopt -n /run/fdholder/s $(cat /run/nginx.pid)",
    example = "fdholder-adopt -p web: /run/fdholder/s $(cat /run/nginx.pid) tcp:0.0.0.0:80",
    error_code(0, "done"),
    error_code(1, "denied, nothing found, or an identifier is held by something else"),
    error_code(100, "wrong usage"),
    error_code(111, "unable to connect or to look into the process, or a system call failed")
)]
pub struct Cli {
    /// print the identifiers, one a line, and do nothing
    #[argh(switch, short = 'n', long = "dry-run")]
    pub dry_run: bool,

    /// what the identifiers begin with
    #[argh(option, short = 'p', arg_name = "prefix")]
    pub prefix: Option<String>,

    /// milliseconds to wait for the daemon; 0 or none is no limit
    #[argh(option, short = 't', arg_name = "timeout")]
    pub timeout: Option<u32>,

    /// socket of the daemon
    #[argh(positional)]
    pub socket: String,

    /// number of the process
    #[argh(positional)]
    pub pid: u32,

    /// which sockets to take
    #[argh(positional, arg_name = "[ address... ]")]
    pub addresses: Vec<String>,
}
