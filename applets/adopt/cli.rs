use argh::{ArgsInfo, FromArgs};

/// Stores the listening sockets of a running process in a daemon. The identifier is the address, in
/// the form of fdholder-listen. The process keeps its sockets.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "fdholder-adopt",
    note = "Without an address it stores all listening sockets. udp: and unix-dgram: sockets do not listen:
        it stores those that are named. A second socket at one address gets #2 behind its identifier,
        a third #3. Numbers under which the daemon holds
        other sockets at the address are skipped; -n does not know them.",
    note = "It stores all or none. If an address is not found, or if the daemon holds something else under
        an identifier, it stores nothing. If one socket cannot be stored, it deletes those stored
        before. Sockets that the daemon holds already stay.",
    note = "It needs Linux 5.6, the right to trace the process (root in its user namespace, or the same user
        if kernel.yama.ptrace_scope allows it), and the rights to retrieve and to store. It stops after
        65536 consecutive numbers that are not open, and soon above the soft limit on open files of
        the process.",
    example = "fdholder-adopt -n /run/fdholder/s $(cat /run/nginx.pid)",
    example = "fdholder-adopt -p web: /run/fdholder/s $(cat /run/nginx.pid) tcp:0.0.0.0:80",
    error_code(0, "done"),
    error_code(1, "denied, nothing found, or an identifier is in use"),
    error_code(100, "wrong usage"),
    error_code(111, "unable to connect or to trace the process, or a system call failed")
)]
pub struct Cli {
    /// print the identifiers, one a line, and connect to nothing
    #[argh(switch, short = 'n', long = "dry-run")]
    pub dry_run: bool,

    /// beginning of the identifiers
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

    /// addresses of the sockets to store; all if not given
    #[argh(positional, arg_name = "[ address... ]")]
    pub addresses: Vec<String>,
}
