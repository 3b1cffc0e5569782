use argh::{ArgsInfo, FromArgs};

/// Stores the descriptors that it got by socket activation, as systemd does it: LISTEN_FDS of them
/// from number 3 on, under their names in LISTEN_FDNAMES.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "fdholder-import",
    example = "systemd-socket-activate -l 80 fdholder-import -p web: /run/fdholder/s",
    note = "A descriptor without a name is called unknown. Of equal names the second gets #2 at its
        end, the third #3. If one cannot be stored, it deletes those before it again.",
    error_code(0, "done"),
    error_code(1, "denied"),
    error_code(100, "wrong usage, wrong variables, or those of another process"),
    error_code(111, "unable to connect, or a system call failed")
)]
pub struct Cli {
    /// beginning of the identifiers, before the names
    #[argh(option, short = 'p', arg_name = "prefix")]
    pub prefix: Option<String>,

    /// replace what is held under the same identifiers; this needs the right to set a dump; 253 at
    /// a time are replaced or none
    #[argh(switch, short = 'r')]
    pub replace: bool,

    /// milliseconds after which the daemon forgets them; 0 or none is never
    #[argh(option, short = 'T', long = "expire", arg_name = "fdtimeout")]
    pub expire: Option<u32>,

    /// milliseconds to wait for the daemon; 0 or none is no limit
    #[argh(option, short = 't', arg_name = "timeout")]
    pub timeout: Option<u32>,

    /// socket of the daemon
    #[argh(positional)]
    pub socket: String,
}
