//! The text that `--help` prints after the usage line.

use super::{options, synopsis};
use argh::CommandInfoWithArgs;
use std::fmt::Write;

/// The text. It begins with the end of the usage line.
pub fn text(info: &CommandInfoWithArgs) -> String {
    let mut text = String::from("\n\n");
    wrap(&mut text, 0, "", info.description);
    text.push('\n');
    for flag in options(info) {
        let mut head = format!("  {}", synopsis(flag));
        if flag.short.is_some() {
            write!(head, ", {}", flag.long).unwrap();
        }
        wrap(&mut text, 6, &head, flag.description);
    }
    for operand in info.positionals {
        wrap(&mut text, 6, &format!("  {}", operand.name), operand.description);
    }
    for note in info.notes {
        wrap(&mut text, 0, "", note);
    }
    text.push_str("\nexit:\n");
    for exit in info.error_codes {
        wrap(&mut text, 6, &format!("  {}", exit.code), exit.description);
    }
    text.push_str("\nexample:\n");
    for example in info.examples {
        writeln!(text, "  {example}").unwrap();
    }
    text
}

/// Appends a paragraph in lines of at most 79 characters. The first line begins with `head`, the others
/// are indented.
pub fn wrap(text: &mut String, indent: usize, head: &str, paragraph: &str) {
    let mut line = head.to_string();
    if head.len() >= indent && indent > 0 {
        writeln!(text, "{line}").unwrap();
        line = String::new();
    }
    for word in paragraph.split_whitespace() {
        if line.len() < indent {
            line = format!("{line:indent$}");
        } else if !line.trim().is_empty() && line.len() > indent {
            if line.len() + 1 + word.len() > 79 {
                writeln!(text, "{}", line.trim_end()).unwrap();
                line = " ".repeat(indent);
            } else {
                line.push(' ');
            }
        }
        line.push_str(word);
    }
    writeln!(text, "{line}").unwrap();
}
