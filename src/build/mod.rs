//! The parts of `build.rs`: the table of the applets for the program, and files for packagers.

pub mod docs;
pub mod help;
pub mod link;
pub mod processor;
pub mod table;
pub mod usage;

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind};

/// An applet: its folder, which is also its module and its feature, and its command line.
pub type Applet<'a> = (&'a str, &'a CommandInfoWithArgs);

/// The options of an applet, in order, without `--help`, which getopt handles.
pub fn options(info: &CommandInfoWithArgs) -> impl Iterator<Item = &FlagInfo<'_>> {
    info.flags.iter().filter(|flag| flag.long != "--help")
}

/// The name of an option's value; `None` if it takes no value.
pub fn value<'a>(flag: &FlagInfo<'a>) -> Option<&'a str> {
    match flag.kind {
        FlagInfoKind::Switch => None,
        FlagInfoKind::Option { arg_name } => Some(arg_name),
    }
}

/// An option in a usage line: `-t timeout`, or `--name value` if it has no letter.
pub fn synopsis(flag: &FlagInfo) -> String {
    let name = flag.short.map_or_else(|| flag.long.to_string(), |letter| format!("-{letter}"));
    match value(flag) {
        None => name,
        Some(value) => format!("{name} {value}"),
    }
}
