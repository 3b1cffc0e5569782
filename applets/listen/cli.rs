use argh::{ArgsInfo, FromArgs};

/// Makes a listening socket and stores it in a daemon. If the daemon holds it already, it succeeds and
/// changes nothing, so a start script can call it every time.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "fdholder-listen",
    note = "Addresses: tcp:ADDRESS:PORT, tcp:[ADDRESS]:PORT, the same with udp:; unix:PATH, unix:@NAME
        (abstract), the same with unix-dgram: and unix-seqpacket:. ADDRESS and PORT are numbers, and
        PORT is not 0. A link-local ADDRESS ends with the number of an interface: fe80::1%2. A PATH
        that begins with @ is written ./@. In a NAME, %0 is a NUL and %% is a %.",
    note = "It needs the right to retrieve id, and the right to store it if it is not held.",
    note = "The socket is in blocking mode. TCP sockets have SO_REUSEADDR; IPv6 sockets do not take IPv4.
        A Unix socket at PATH is replaced if nobody listens on it. Any other file there stays. If the
        daemon refuses the socket, it is removed.",
    note = "If the daemon holds the socket, but its file at PATH has been removed or replaced, no client can
        reach it any more. That is an error: delete id with s6-fdholder-delete, and call this again.",
    note = "If two fdholder-listen run for one address at the same time, the second waits for the first if
        that belongs to the same user or to root.",
    example = "fdholder-listen /run/fdholder/s web tcp:[::]:80",
    example = "fdholder-listen -m 660 /run/fdholder/s log unix-dgram:/run/log",
    error_code(0, "done, or the daemon holds it already"),
    error_code(
        1,
        "denied, or the daemon holds under id something else, or a socket without its file"
    ),
    error_code(100, "wrong usage"),
    error_code(111, "unable to connect or to listen, or another system call failed")
)]
pub struct Cli {
    /// length of the queue of connections; 4096 if not given
    #[argh(option, short = 'b', arg_name = "backlog")]
    pub backlog: Option<u32>,

    /// octal mode of the file of a Unix socket; by the umask if not given
    #[argh(option, short = 'm', arg_name = "mode")]
    pub mode: Option<String>,

    /// milliseconds until it expires; 0 or none is never
    #[argh(option, short = 'T', long = "expire", arg_name = "fdtimeout")]
    pub expire: Option<u32>,

    /// milliseconds to wait for the daemon, and the same for another fdholder-listen; 0 or none is no
    /// limit
    #[argh(option, short = 't', arg_name = "timeout")]
    pub timeout: Option<u32>,

    /// socket of the daemon
    #[argh(positional)]
    pub socket: String,

    /// identifier, 1 to 255 bytes
    #[argh(positional)]
    pub id: String,

    /// address of the socket
    #[argh(positional)]
    pub address: String,
}
