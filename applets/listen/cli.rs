use argh::{ArgsInfo, FromArgs};

/// Makes a listening socket and stores it in a daemon. If the daemon has it already it changes nothing
/// and succeeds, so a start script can call it every time.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "fdholder-listen",
    note = "An address is one of tcp:ADDRESS:PORT, tcp:[ADDRESS]:PORT, udp: and the same, unix:PATH,
        unix:@NAME (abstract), unix-dgram: and unix-seqpacket: and the same. ADDRESS and PORT are
        numbers, PORT not 0; behind a link-local ADDRESS is the number of its interface, as in
        fe80::1%2. A PATH that begins with @ is written ./@.",
    note = "It needs the right to retrieve id, and to store it if it is not held.",
    note = "Sockets block. TCP has SO_REUSEADDR, IPv6 leaves IPv4 alone. A Unix socket that nobody
        listens on is replaced, anything else in its place stays. If the daemon does not take the
        socket, it is removed again.",
    example = "fdholder-listen /run/fdholder/s web tcp:[::]:80",
    example = "fdholder-listen -m 660 /run/fdholder/s log unix-dgram:/run/log",
    error_code(0, "done, or held already"),
    error_code(1, "denied, or id is held, but not at address"),
    error_code(100, "wrong usage"),
    error_code(111, "unable to connect or to listen, or another system call failed")
)]
pub struct Cli {
    /// connections that may wait; 4096 if not given
    #[argh(option, short = 'b', arg_name = "backlog")]
    pub backlog: Option<u32>,

    /// mode in octal of the file of a Unix socket; by the umask if not given
    #[argh(option, short = 'm', arg_name = "mode")]
    pub mode: Option<String>,

    /// milliseconds after which the daemon forgets it; 0 or none is never
    #[argh(option, short = 'T', long = "expire", arg_name = "fdtimeout")]
    pub expire: Option<u32>,

    /// milliseconds to wait for the daemon; 0 or none is no limit
    #[argh(option, short = 't', arg_name = "timeout")]
    pub timeout: Option<u32>,

    /// socket of the daemon
    #[argh(positional)]
    pub socket: String,

    /// identifier, 1 to 255 bytes
    #[argh(positional)]
    pub id: String,

    /// where to listen
    #[argh(positional)]
    pub address: String,
}
