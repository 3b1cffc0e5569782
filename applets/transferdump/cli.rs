use argh::{ArgsInfo, FromArgs};

/// Copies all descriptors of one fd-holding daemon to another, with identifiers and expiry
/// dates. The source keeps them. The destination replaces those with the same identifiers.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "s6-fdholder-transferdump",
    example = "s6-fdholder-transferdump -t 5000:5000 /run/fdholder/s /run/fdholder/new",
    error_code(0, "done"),
    error_code(1, "the source denied it, broke the protocol or took too long"),
    error_code(2, "the destination denied it, broke the protocol or took too long"),
    error_code(100, "wrong usage"),
    error_code(111, "unable to connect, or a system call failed")
)]
pub struct Cli {
    /// milliseconds to wait for the source and for the destination; 0 or none is no limit; one
    /// number is for the source alone
    #[argh(option, short = 't', arg_name = "timeoutfrom:timeoutto")]
    pub timeout: Option<String>,

    /// socket of the source
    #[argh(positional)]
    pub socketfrom: String,

    /// socket of the destination
    #[argh(positional)]
    pub socketto: String,
}
