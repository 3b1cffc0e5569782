//! Files for packagers: a man page and completions for each tool and for the program itself, and a list
//! of the tools. This is part of `build.rs`. The definitions are those of the help texts. Text for the
//! man page alone is in the applet's `more.8`.

use super::help::wrap;
use super::{options, usage};
use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, SubCommandInfo};
use argh_complete::{Generator, bash::Bash, fish::Fish, zsh::Zsh};
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

/// The date of the last change of the texts. It is fixed, so that pages do not depend on the day of the
/// build.
const DATE: &str = "2026-11-30";

/// The s6 fd-holding tools in one executable. The name by which it is called selects the tool. If
/// that is fdholder, the first argument selects it, with or without s6- or s6-fdholder-.
#[derive(ArgsInfo)]
#[argh(
    subcommand,
    name = "fdholder",
    example = "ln -s fdholder /usr/bin/s6-fdholder-list && s6-fdholder-list /run/fdholder/s",
    example = "fdholder transferdump /run/fdholder/s /run/new/s",
    error_code(0, "done"),
    error_code(100, "wrong usage, or an unknown tool; otherwise the code is the tool's"),
    error_code(111, "unable to make links")
)]
#[allow(dead_code)]
struct Fdholder {
    /// print the names of the built-in tools
    #[argh(switch)]
    list: bool,

    /// print the version
    #[argh(switch)]
    version: bool,

    /// make a symbolic link to this program for each tool, in dir
    #[argh(option, arg_name = "dir")]
    install: Option<String>,
}

/// Writes everything into the folder `docs`.
pub fn write(tools: &[(&str, &CommandInfoWithArgs)], docs: &Path, root: &Path) {
    fs::create_dir_all(docs).unwrap();
    let names: Vec<&str> = tools.iter().map(|(_, info)| info.name).collect();
    let list = names.join("\n") + "\n";
    // cargo checks the existence and the age of this file.
    if fs::read_to_string(docs.join("tools")).ok().as_ref() != Some(&list) {
        fs::write(docs.join("tools"), list).unwrap();
    }
    for (module, info) in tools {
        let more = fs::read_to_string(root.join("applets").join(module).join("more.8"));
        let page = man(info, &styled(&usage::line(info)), &more.unwrap_or_default(), &names);
        write_for(info, &page, docs);
    }

    let mut program = Fdholder::get_args_info();
    let source = fs::read_to_string(root.join("src/multicall.rs")).unwrap();
    for flag in program.flags {
        assert!(source.contains(&format!("\"{}\"", flag.long)), "no {} any more?", flag.long);
    }
    let mut more = String::from(".SH TOOLS\n");
    for (_, info) in tools {
        writeln!(more, ".TP\n\\fB{}\\fR\n{}", literal(info.name), prose(info.description)).unwrap();
    }
    let synopsis: Vec<String> = ["--list", "--help", "--version", "--install dir", "name args..."]
        .map(|words| styled(&format!("fdholder {words}")))
        .into();
    let page = man(&program, &synopsis.join("\n.br\n"), &more, &names);
    program.commands = tools
        .iter()
        .map(|(_, info)| {
            let name = info.name.rsplit('-').next().unwrap();
            let mut command = (*info).clone();
            command.name = name;
            SubCommandInfo { name, command }
        })
        .collect();
    write_for(&program, &page, docs);
}

/// Writes a man page and its completions.
fn write_for(info: &CommandInfoWithArgs, page: &str, docs: &Path) {
    let name = info.name;
    fs::write(docs.join(format!("{name}.8")), page).unwrap();
    fs::write(docs.join(format!("{name}.bash")), Bash::generate(name, info)).unwrap();
    // The generator uses the option -x, which is new in fish 4. -o has the same effect here in all
    // versions.
    let fish = Fish::generate(name, info).replace("commandline -xpc", "commandline -opc");
    fs::write(docs.join(format!("{name}.fish")), fish).unwrap();
    fs::write(docs.join(format!("_{name}")), zsh(info)).unwrap();
}

/// Completions for zsh. Adds what the generator lacks: operands, and file names for values that are
/// paths.
fn zsh(info: &CommandInfoWithArgs) -> String {
    // The last line of each command without subcommands.
    const END: &str = "        && return 0\n";
    let mut script = Zsh::generate(info.name, info);
    let below: Vec<_> = info.commands.iter().map(|sub| &sub.command).collect();
    let commands = if below.is_empty() { vec![info] } else { below };
    for flag in commands.iter().flat_map(|command| command.flags).chain(info.flags) {
        let FlagInfoKind::Option { arg_name } = flag.kind else { continue };
        if ["rulesdir", "rulesfile", "dir"].contains(&arg_name) {
            let plain = format!("[{}]'': :'", flag.description);
            script = script.replace(&plain, &plain.replace(": :", &format!(":{arg_name}:_files")));
        }
    }
    let mut parts = script.split(END);
    let mut whole = parts.next().unwrap_or_default().to_string();
    for (command, part) in commands.iter().zip(parts) {
        for operand in command.positionals {
            let operand = match operand.name {
                "prog..." => "':program: _command_names -e' '*::arguments: _normal'",
                "id" => "':identifier: '",
                "address" => "':address: '",
                "pid" => "':process: _pids'",
                "[ address... ]" => "'*:address: '",
                "id..." => "'*:identifier: '",
                // What is behind any number of identifiers zsh cannot be told.
                "--" => break,
                path => &format!("':{path}:_files'"),
            };
            writeln!(whole, "        {operand} \\").unwrap();
        }
        whole += END;
        whole += part;
    }
    whole
}

/// A man page. `more` precedes the exit status.
fn man(info: &CommandInfoWithArgs, synopsis: &str, more: &str, names: &[&str]) -> String {
    let (name, version) = (info.name, env::var("CARGO_PKG_VERSION").unwrap());
    let sentence = info.description.split(". ").next().unwrap_or_default().trim_end_matches('.');
    let (first, rest) = sentence.split_at(1);
    let mut page = format!(
        ".TH {} 8 {DATE} \"fdholder {version}\" \"System Manager's Manual\"\n.nh\n.ad l\n\
         .SH NAME\n{}\n.SH SYNOPSIS\n{synopsis}\n.SH DESCRIPTION\n{}\n.SH OPTIONS\n",
        name.to_uppercase(),
        prose(&format!("{name} - {}{rest}", first.to_lowercase())),
        prose(info.description)
    );
    let help = FlagInfo {
        kind: FlagInfoKind::Switch,
        long: "--help",
        description: "print a short explanation",
        ..FlagInfo::default()
    };
    for flag in options(info).chain([&help]) {
        let letter = flag.short.map(|letter| format!("-{letter}"));
        let names: Vec<&str> = letter.iter().map(String::as_str).chain([flag.long]).collect();
        let names: Vec<String> = names.iter().map(|name| styled(name)).collect();
        let value = match flag.kind {
            FlagInfoKind::Switch => String::new(),
            FlagInfoKind::Option { arg_name } => format!(" \\fI{}\\fR", literal(arg_name)),
        };
        let names = names.join(", ");
        writeln!(page, ".TP\n{names}{value}\n{}", prose(flag.description)).unwrap();
    }
    for operand in info.positionals {
        let text = prose(operand.description);
        writeln!(page, ".TP\n\\fI{}\\fR\n{text}", literal(operand.name)).unwrap();
    }
    for note in info.notes {
        writeln!(page, ".PP\n{}", prose(note)).unwrap();
    }
    page += more;
    page += ".SH EXIT STATUS\n";
    for exit in info.error_codes {
        writeln!(page, ".TP\n{}\n{}", exit.code, prose(exit.description)).unwrap();
    }
    let examples: Vec<String> = info.examples.iter().map(|text| literal(text)).collect();
    writeln!(page, ".SH EXAMPLES\n.nf\n{}\n.fi", examples.join("\n\n")).unwrap();
    let mut others: Vec<&str> =
        names.iter().copied().chain(["fdholder"]).filter(|other| *other != name).collect();
    others.sort();
    let others: Vec<String> =
        others.iter().map(|other| format!(".BR {} (8)", literal(other))).collect();
    writeln!(page, ".SH SEE ALSO\n{}", others.join(",\n")).unwrap();
    page
}

/// A usage line for troff: names in bold, values and operands in italics, and no line break within
/// brackets.
fn styled(usage: &str) -> String {
    let mut line = String::new();
    let mut depth = 0;
    for (index, word) in usage.trim_start_matches("usage: ").split(' ').enumerate() {
        if index > 0 {
            line += if depth > 0 { "\\ " } else { " " };
        }
        match word {
            "[" => depth += 1,
            "]" => depth -= 1,
            _ => {}
        }
        let plain = literal(word);
        line += &match word {
            "[" | "|" | "]" => plain,
            _ if index == 0 || word.starts_with('-') => format!("\\fB{plain}\\fR"),
            _ => format!("\\fI{plain}\\fR"),
        };
    }
    line
}

/// A paragraph for troff, wrapped.
fn prose(text: &str) -> String {
    let mut lines = String::new();
    wrap(&mut lines, 0, "", &text.replace('\\', "\\e").replace('-', "\\-"));
    lines.trim_end().lines().map(not_a_request).collect::<Vec<_>>().join("\n")
}

/// Text without special characters of troff.
fn literal(text: &str) -> String {
    not_a_request(&text.replace('\\', "\\e").replace('-', "\\-"))
}

/// A line that troff does not take for a request.
fn not_a_request(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_string() }
}
