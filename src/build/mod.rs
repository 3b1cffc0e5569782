//! What `build.rs` is made of: the table of the applets for the program, and pages for packagers.

pub mod docs;
pub mod help;
pub mod link;
pub mod processor;
pub mod table;
pub mod usage;

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind};

/// An applet: its folder, which is also its module and its feature, and its command line.
pub type Applet<'a> = (&'a str, &'a CommandInfoWithArgs);

/// The options of an applet, in their order; `--help` every applet has, and getopt knows it.
pub fn options(info: &CommandInfoWithArgs) -> impl Iterator<Item = &FlagInfo<'_>> {
    info.flags.iter().filter(|flag| flag.long != "--help")
}

/// What the value of an option is called, if it has one.
pub fn value<'a>(flag: &FlagInfo<'a>) -> Option<&'a str> {
    match flag.kind {
        FlagInfoKind::Switch => None,
        FlagInfoKind::Option { arg_name } => Some(arg_name),
    }
}

/// `-t timeout`, or for an option without a letter `--name value`, as it stands in usage lines.
pub fn synopsis(flag: &FlagInfo) -> String {
    let name = flag.short.map_or_else(|| flag.long.to_string(), |letter| format!("-{letter}"));
    match value(flag) {
        None => name,
        Some(value) => format!("{name} {value}"),
    }
}
