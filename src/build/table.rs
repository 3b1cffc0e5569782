//! Generates the Rust source of the applets' modules, options and table.

use super::{Applet, help, options, usage, value};
use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;

/// Stops the build if an applet's definition is incomplete or collides with another one.
pub fn check(applets: &[Applet], manifest: &str) {
    let mut names = HashSet::new();
    let defaults = manifest.split("\ndefault = [").nth(1).and_then(|rest| rest.split(']').next());
    let defaults = defaults.unwrap_or_default();
    for (module, info) in applets {
        let name = info.name;
        assert!(names.insert(name), "two applets are called {name}");
        assert!(names.insert(module), "two applets are in {module}");
        let is_named = name.starts_with("s6-fdholder") || name.starts_with("fdholder-");
        assert!(is_named, "{name}: a tool is called s6-fdholder... or fdholder-...");
        let feature = format!("\n{module} = [");
        assert!(manifest.contains(&feature), "Cargo.toml lacks the feature {module}");
        let is_default = defaults.contains(&format!("\"{module}\""));
        assert!(is_default, "Cargo.toml: the feature {module} is not among the default ones");
        assert!(!info.description.is_empty(), "{name}: what does it do?");
        assert!(!info.examples.is_empty(), "{name}: an example is missing");
        assert!(info.error_codes.len() > 1, "{name}: its exit codes are missing");
        let mut letters = HashSet::new();
        for flag in options(info) {
            assert!(!flag.description.is_empty(), "{name} {}: what is it for?", flag.long);
            if let Some(letter) = flag.short {
                assert!(letters.insert(letter), "{name}: two options -{letter}");
            }
        }
        for operand in info.positionals {
            assert!(!operand.description.is_empty(), "{name} {}: what is it?", operand.name);
        }
    }
}

/// Returns the whole source.
pub fn source(applets: &[Applet], root: &Path) -> String {
    let (mut modules, mut options, mut rows) = (String::new(), String::new(), String::new());
    let mut tables = String::new();
    for (module, info) in applets {
        let path = root.join("applets").join(module).join("mod.rs");
        writeln!(modules, "#[path = {path:?}]\npub mod {module};").unwrap();
        writeln!(options, "{}", enumeration((module, info))).unwrap();
        let (name, usage, help) = (info.name, usage::line(info), help::text(info));
        let texts = format!("name: c{name:?}, usage: {usage:?}, help: {help:?}");
        writeln!(rows, "    Applet {{ {texts}, run: {module}::run }},").unwrap();
        writeln!(tables, "    options::{module}::Opt::TABLE,").unwrap();
    }
    format!(
        "{modules}\nuse crate::multicall::Applet;\n\n\
         /// The options of each applet, as an enum that its `match` has to cover.\n\
         pub mod options {{\n    use crate::cli::getopt::{{Arguments, Spec, Stop}};\n    \
         use core::ffi::CStr;\n\n{options}}}\n\n\
         /// All applets.\npub static APPLETS: &[Applet] = &[\n{rows}];\n\n\
         /// The options of each, in the same order.\n\
         pub const TABLES: &[&[crate::cli::getopt::Spec]] = &[\n{tables}];\n"
    )
}

/// The enum of an applet's options, with their table for getopt.
fn enumeration((module, info): Applet) -> String {
    let (mut variants, mut specs, mut arms) = (String::new(), String::new(), String::new());
    for (place, flag) in options(info).enumerate() {
        let word = flag.long.trim_start_matches('-');
        let name: String = word.split('-').map(capitalized).collect();
        let has_value = value(flag).is_some();
        let (kind, made) =
            if has_value { ("(&'static CStr)", "(arguments.value())") } else { ("", "") };
        writeln!(variants, "            /// `--{word}`").unwrap();
        writeln!(variants, "            {name}{kind},").unwrap();
        let letter = flag.short.unwrap_or('\0');
        let spec = format!("letter: b{letter:?}, word: {word:?}, has_value: {has_value}");
        writeln!(specs, "                Spec {{ {spec} }},").unwrap();
        writeln!(arms, "                    Some({place}) => Some(Opt::{name}{made}),").unwrap();
    }
    format!(
        "    pub mod {module} {{\n        use super::*;\n\n        /// An option of the applet.\n        \
         #[derive(Clone, Copy, PartialEq, Eq, Debug)]\n        pub enum Opt {{\n{variants}        }}\n\n        \
         impl Opt {{\n            /// What they look like.\n            pub const TABLE: &'static [Spec] = &[\n{specs}            ];\n\n            \
         /// The next option, if operands have not begun.\n            \
         pub fn next(arguments: &mut Arguments) -> Result<Option<Opt>, Stop> {{\n                \
         Ok(match arguments.option(Opt::TABLE)? {{\n{arms}                    _ => None,\n                \
         }})\n            }}\n        }}\n    }}\n"
    )
}

/// Changes `timeout` into `Timeout`.
fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}
