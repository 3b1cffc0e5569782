//! Makes out of the applets' argh structs (`applets/NAME/cli.rs`) what the tools need at run
//! time: a table of options, usage lines and help texts; and for packagers, if `FDHOLDER_DOCS`
//! names a directory, man pages and completions in it. Then it tells the linker how to make a
//! static executable that needs no C library.

use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind};
use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU8;
use std::{env, fs};

/// Makes of the list in `applets/list.rs` a module for each applet's struct and one enum of all.
macro_rules! applets {
    ($($name:ident)*) => {
        #[allow(dead_code)]
        mod cli {
            $(pub mod $name {
                include!(concat!(env!("CARGO_MANIFEST_DIR"), "/applets/", stringify!($name), "/cli.rs"));
            })*
        }

        #[derive(ArgsInfo)]
        #[argh(subcommand)]
        #[allow(dead_code, non_camel_case_types)]
        enum Applets {
            $($name(cli::$name::Cli),)*
        }

        const NAMES: &[&str] = &[$(stringify!($name),)*];
    };
}
include!("applets/list.rs");

#[path = "src/docs.rs"]
mod docs;
#[path = "src/pack.rs"]
mod pack;
#[path = "src/packer.rs"]
mod packer;
#[path = "src/processor.rs"]
mod processor;

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    check_processor(&root);
    let info = Applets::get_args_info();
    let applets: Vec<(&str, &CommandInfoWithArgs)> =
        NAMES.iter().copied().zip(info.commands.iter().map(|sub| &sub.command)).collect();
    check(&applets, &fs::read_to_string(root.join("Cargo.toml")).unwrap());
    let built_in: Vec<_> = applets.iter().copied().filter(|(module, _)| is_on(module)).collect();
    let all = collect(&built_in, &root);
    fs::write(out.join("texts.rs"), texts(&all)).unwrap();
    fs::write(out.join("applets.rs"), table(&built_in, &root, all.first_usage)).unwrap();
    if let Some(folder) = env::var_os("FDHOLDER_DOCS") {
        docs::write(&built_in, Path::new(&folder), &root);
        // Pages that somebody has removed are made again.
        println!("cargo:rerun-if-changed={}", Path::new(&folder).join("tools").display());
    }
    link(&root, &out);
    // The tests ask which compiler made the program: its size depends on that.
    let version = Command::new(env::var_os("RUSTC").unwrap()).arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    println!("cargo:rustc-env=FDHOLDER_RUSTC={}", version.trim());
    println!("cargo:rerun-if-env-changed=FDHOLDER_DOCS");
    println!("cargo:rerun-if-changed=applets");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=Cargo.toml");
}

/// Stops the build for a processor that there is no file for, with a sentence that says so.
fn check_processor(root: &Path) {
    let target = |name| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let source = fs::read_to_string(root.join("src/sys/mod.rs")).unwrap();
    let (arch, os, width) = (target("ARCH"), target("OS"), target("POINTER_WIDTH"));
    if let Some(why) = processor::refusal(&arch, &os, &width, &source) {
        println!("cargo::error={why}");
        std::process::exit(1);
    }
}

/// Stops the build where an applet's definition lacks something or two of them collide.
fn check(applets: &[(&str, &CommandInfoWithArgs)], manifest: &str) {
    let mut names = HashSet::new();
    for (module, info) in applets {
        let name = info.name;
        assert!(names.insert(name), "two applets are called {name}");
        assert!(names.insert(module), "two applets are in {module}");
        assert!(name.starts_with("s6-fdholder"), "{name}: the name of an s6 tool begins with s6-");
        let feature = format!("\n{module} = [");
        assert!(manifest.contains(&feature), "Cargo.toml lacks the feature {module}");
        assert!(!info.description.is_empty(), "{name}: what does it do?");
        assert!(!info.examples.is_empty(), "{name}: an example is missing");
        assert!(info.error_codes.len() > 1, "{name}: its exit codes are missing");
        let mut letters = HashSet::new();
        for flag in options(info) {
            let letter = flag.short.unwrap_or_else(|| panic!("{name} {}: no letter", flag.long));
            assert!(letters.insert(letter), "{name}: two options -{letter}");
            assert!(!flag.description.is_empty(), "{name} -{letter}: what is it for?");
        }
        for operand in info.positionals {
            assert!(!operand.description.is_empty(), "{name} {}: what is it?", operand.name);
        }
    }
}

/// The options of an applet, in their order; `--help` every applet has, and getopt knows it.
fn options(info: &CommandInfoWithArgs) -> impl Iterator<Item = &FlagInfo<'_>> {
    info.flags.iter().filter(|flag| flag.long != "--help")
}

/// Whether the feature of an applet is on.
fn is_on(module: &str) -> bool {
    env::var_os(format!("CARGO_FEATURE_{}", module.to_uppercase())).is_some()
}

/// All that the program can say: what stands in `text!`, each text once; the texts of errors; and
/// for each applet a usage line and what `--help` prints below it.
struct Texts {
    all: Vec<String>,
    first_error: usize,
    first_usage: usize,
}

/// The texts that the sources have and those of the applets.
fn collect(applets: &[(&str, &CommandInfoWithArgs)], root: &Path) -> Texts {
    let mut folders = vec![root.join("src"), root.join("src/sys")];
    folders.extend(is_on("fdholderd").then(|| root.join("src/daemon")));
    folders.extend(applets.iter().map(|(module, _)| root.join("applets").join(module)));
    let mut said = BTreeSet::new();
    for folder in folders {
        for file in fs::read_dir(folder).unwrap() {
            let source = fs::read_to_string(file.unwrap().path()).unwrap_or_default();
            for part in source.split("text!(").skip(1) {
                let literal = part.trim_start().strip_prefix('"').and_then(|t| t.split_once('"'));
                said.extend(literal.map(|(text, _)| text.replace("\\n", "\n")));
            }
        }
    }
    let source = fs::read_to_string(root.join("src/sys/errno.rs")).unwrap();
    let lines = source.lines().filter(|line| line.contains(" = E"));
    let errors: Vec<String> =
        lines.filter_map(|line| line.split('"').nth(1)).map(str::to_string).collect();
    // Those that others repeat a part of come first.
    let mut said = Vec::from_iter(said);
    said.sort_by_key(|text| std::cmp::Reverse(text.len()));
    let first_error = said.len();
    let first_usage = first_error + errors.len();
    let explained = applets.iter().flat_map(|(_, info)| [usage(info), help(info)]);
    Texts {
        all: said.into_iter().chain(errors).chain(explained).collect(),
        first_error,
        first_usage,
    }
}

/// The Rust source of the texts.
fn texts(texts: &Texts) -> String {
    assert!(texts.all.len() < 256, "too many texts");
    assert!(
        !texts.all[0].is_empty(),
        "the program knows by the first one whether they are unpacked"
    );
    let bytes: Vec<u8> =
        texts.all.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect();
    let packed = packer::pack(&bytes);
    let unpacked: Vec<AtomicU8> = bytes.iter().map(|_| AtomicU8::new(0)).collect();
    pack::unpack(&packed, &unpacked);
    assert!(unpacked.into_iter().map(AtomicU8::into_inner).eq(bytes.iter().copied()));
    format!(
        "/// What stands in `text!`, and from one number on the texts of errors.\n\
         const PHRASES: &[&str] = &{:?};\n/// That number.\nconst FIRST_ERROR: usize = {};\n\
         /// All texts, packed, and their length.\nstatic PACKED: [u8; {}] = {packed:?};\n\
         const LENGTH: usize = {};\n",
        &texts.all[..texts.first_usage],
        texts.first_error,
        packed.len(),
        bytes.len()
    )
}

/// The Rust source of the table of the applets; their texts begin with that number.
fn table(applets: &[(&str, &CommandInfoWithArgs)], root: &Path, mut usage: usize) -> String {
    let (mut modules, mut letters, mut rows) = (String::new(), String::new(), String::new());
    for (module, info) in applets {
        let path = root.join("applets").join(module).join("mod.rs");
        writeln!(modules, "#[path = {path:?}]\npub mod {module};").unwrap();
        writeln!(letters, "    pub mod {module} {{").unwrap();
        let mut list = String::new();
        for flag in options(info) {
            let word = flag.long.trim_start_matches('-');
            let constant = word.replace('-', "_").to_uppercase();
            let letter = flag.short.unwrap();
            let has_value = matches!(flag.kind, FlagInfoKind::Option { .. });
            let doc = format!("/// `--{word}`");
            writeln!(letters, "        {doc}\n        pub const {constant}: u8 = b{letter:?};")
                .unwrap();
            let letter = letter as u8 | if has_value { 128 } else { 0 };
            write!(list, "\\x{letter:x}{word}\\0").unwrap();
        }
        writeln!(letters, "    }}").unwrap();
        let name = info.name;
        writeln!(
            rows,
            "    Applet {{ name: Text::new(c{name:?}), options: Texts::new(b\"{list}\\0\"), \
             usage: Phrase({usage}), run: {module}::run }},"
        )
        .unwrap();
        usage += 2;
    }
    format!(
        "{modules}\nuse crate::getopt::Applet;\nuse crate::sys::text::{{Text, Texts}};\n\
         use crate::text::Phrase;\n\n/// The letters of the applets' options.\npub mod options {{\n{letters}}}\n\n\
         /// All applets.\npub static APPLETS: &[Applet] = &[\n{rows}];\n"
    )
}

/// `-t timeout`, as it stands in usage lines.
fn synopsis(flag: &FlagInfo) -> String {
    match flag.kind {
        FlagInfoKind::Switch => format!("-{}", flag.short.unwrap()),
        FlagInfoKind::Option { arg_name } => format!("-{} {arg_name}", flag.short.unwrap()),
    }
}

/// The usage line, as the C tools have it. Options that exclude each other stand in one pair of
/// brackets: a note that begins with `-a | -b` says so.
fn usage(info: &CommandInfoWithArgs) -> String {
    let mut line = format!("usage: {}", info.name);
    let mut done = HashSet::new();
    for flag in options(info) {
        let letter = format!("-{}", flag.short.unwrap());
        if done.contains(&letter) {
            continue;
        }
        let group =
            info.notes.iter().map(|note| alternatives(note)).find(|g| g.contains(&&letter[..]));
        let group = group.unwrap_or_else(|| vec![&letter]);
        let flags =
            options(info).filter(|f| group.contains(&&format!("-{}", f.short.unwrap())[..]));
        let text: Vec<String> = flags.map(synopsis).collect();
        write!(line, " [ {} ]", text.join(" | ")).unwrap();
        done.extend(group.iter().map(|letter| letter.to_string()));
    }
    for operand in info.positionals {
        write!(line, " {}", operand.name).unwrap();
    }
    line
}

/// `-a` and `-b` of a note that begins with `-a | -b`.
fn alternatives(note: &str) -> Vec<&str> {
    let mut words = note.split([' ', ',', ':', ';']);
    let mut letters = Vec::new();
    while let Some(letter) = words.next().filter(|word| word.starts_with('-')) {
        letters.push(letter);
        if words.next() != Some("|") {
            break;
        }
    }
    if letters.len() > 1 { letters } else { Vec::new() }
}

/// What `--help` prints below the usage line.
fn help(info: &CommandInfoWithArgs) -> String {
    let mut text = String::from("\n\n");
    wrap(&mut text, 0, "", info.description);
    text.push('\n');
    for flag in options(info) {
        wrap(&mut text, 6, &format!("  {}, {}", synopsis(flag), flag.long), flag.description);
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

/// Adds a paragraph of lines of at most 79 characters, `head` in front of the first, the others
/// indented.
fn wrap(text: &mut String, indent: usize, head: &str, paragraph: &str) {
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

/// Link arguments, for the program alone. They are worded so that a compiler driver and a linker
/// both take them.
fn link(root: &Path, out: &Path) {
    // The libc crate asks for the C library, though none of its functions is used: an empty
    // archive is what it gets. They are in a folder of their own, and only the program looks
    // there, since the tests do have a C library.
    let empty = out.join("empty");
    fs::create_dir_all(&empty).unwrap();
    for library in ["c", "m", "rt", "pthread", "util", "dl"] {
        fs::write(empty.join(format!("lib{library}.a")), "!<arch>\n").unwrap();
    }
    let script = root.join("src/sys/link.ld");
    for argument in ["-nostdlib", "-static", "-no-pie"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rustc-link-arg-bins=-L{}", empty.display());
    println!("cargo:rustc-link-arg-bins=-T{}", script.display());
}
