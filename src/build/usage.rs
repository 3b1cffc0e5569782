//! Usage lines.

use super::{options, synopsis};
use argh::CommandInfoWithArgs;
use std::collections::HashSet;
use std::fmt::Write;

/// The usage line, in the form of the C tools. Mutually exclusive options share a pair of brackets, if
/// a note begins with `-a | -b`.
pub fn line(info: &CommandInfoWithArgs) -> String {
    let mut line = format!("usage: {}", info.name);
    let mut done = HashSet::new();
    for flag in options(info) {
        let name = first_word(&synopsis(flag));
        if done.contains(&name) {
            continue;
        }
        let group = info.notes.iter().map(|note| alternatives(note)).find(|g| g.contains(&name));
        let group = group.unwrap_or_else(|| vec![name]);
        let flags = options(info).map(synopsis).filter(|text| group.contains(&first_word(text)));
        write!(line, " [ {} ]", flags.collect::<Vec<_>>().join(" | ")).unwrap();
        done.extend(group);
    }
    for operand in info.positionals {
        write!(line, " {}", operand.name).unwrap();
    }
    line
}

/// Returns `-t` for `-t timeout`.
fn first_word(text: &str) -> String {
    text.split(' ').next().unwrap_or_default().to_string()
}

/// Returns `-a` and `-b` for a note that begins with `-a | -b`.
fn alternatives(note: &str) -> Vec<String> {
    let mut words = note.split([' ', ',', ':', ';']);
    let mut names = Vec::new();
    while let Some(name) = words.next().filter(|word| word.starts_with('-')) {
        names.push(name.to_string());
        if words.next() != Some("|") {
            break;
        }
    }
    if names.len() > 1 { names } else { Vec::new() }
}
