//! Prints the bytes that each tool and each part of the source adds to the program.
//!
//! `cargo bench --bench bytes`; `cargo bench` includes it. For the tools, complete builds are compared. For
//! the parts, the sizes of the symbols of an unstripped build are added up. Inlined code counts for the
//! function that contains it.

#[allow(dead_code, reason = "the tests use all of it")]
#[path = "kit/mod.rs"]
mod kit;

use elf::ElfBytes;
use elf::endian::NativeEndian;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

fn main() {
    let tools = tools();
    by_tool(&tools);
    let symbols = symbols();
    by_part(&symbols);
    largest(&symbols);
}

/// The features of the tools, in the order in which the program lists them.
fn tools() -> Vec<String> {
    let list = Command::new(kit::program()).arg("--list").output().unwrap().stdout;
    let names = String::from_utf8(list).unwrap();
    let feature =
        |name: &str| name.trim_start_matches("s6-").trim_start_matches("fdholder-").into();
    names.lines().map(feature).collect()
}

/// The size of a build with only these tools, and its size in a compressed image.
fn built(tools: &[&str]) -> [i64; 2] {
    let features = tools.join(",");
    let program = kit::build(&["--no-default-features", "--features", &features], "bytes");
    let bytes = fs::read(program).unwrap();
    [bytes.len() as i64, kit::compressed(&bytes) as i64]
}

fn by_tool(tools: &[String]) {
    let all: Vec<_> = tools.iter().map(String::as_str).collect();
    let [size, packed] = built(&all);
    println!("\n| bytes, and compressed | alone | | beside the others | |\n|---|---|---|---|---|");
    for tool in &all {
        // A tool that continues as another one needs that one.
        let needs_it = |other: &&str| other == tool || (*tool, *other) == ("fdholderd", "daemon");
        let others: Vec<_> = all.iter().copied().filter(|other| !needs_it(other)).collect();
        let ([alone, alone_packed], [without, without_packed]) = (built(&[tool]), built(&others));
        let (more, more_packed) = (size - without, packed - without_packed);
        println!("| {tool} | {alone} | {alone_packed} | {more} | {more_packed} |");
    }
    println!("| all | {size} | {packed} | | |");
}

/// The names and sizes of all symbols in the file.
fn symbols() -> Vec<(String, u64)> {
    let folder = kit::target().join("symbols");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_PROFILE_RELEASE_STRIP", "false");
    cargo.args(["build", "--release", "--quiet", "--locked", "--target-dir"]).arg(&folder);
    assert!(cargo.status().unwrap().success());
    let bytes = fs::read(folder.join("release/fdholder")).unwrap();
    let file = ElfBytes::<NativeEndian>::minimal_parse(&bytes).unwrap();
    let (sections, _) = file.section_headers_with_strtab().unwrap();
    let sections = sections.unwrap();
    let (table, names) = file.symbol_table().unwrap().unwrap();
    let in_file = |section: usize| {
        sections.get(section).is_ok_and(|header| header.sh_type == elf::abi::SHT_PROGBITS)
    };
    let symbols = table.iter().filter(|symbol| in_file(symbol.st_shndx.into()));
    let sized = symbols.filter(|symbol| symbol.st_size > 0).map(|symbol| {
        let name = names.get(symbol.st_name as usize).unwrap();
        (format!("{:#}", rustc_demangle::demangle(name)), symbol.st_size)
    });
    let mut all: Vec<_> = sized.collect();
    all.sort_by_key(|(name, size)| (std::cmp::Reverse(*size), name.clone()));
    all
}

/// The part of the source that a symbol comes from: at most two steps of its path.
fn part(name: &str) -> String {
    let path = name.trim_start_matches(['<', '&']);
    if !path.contains("fdholder::") {
        return String::from(
            "symbols without a path: memory functions, the start, tables without a name",
        );
    }
    let steps = path.split("fdholder::").nth(1).unwrap().split("::").collect::<Vec<_>>();
    let depth =
        if ["applets", "cli", "client", "daemon", "io", "protocol", "sys"].contains(&steps[0]) {
            2
        } else {
            1
        };
    let is_module = |step: &&&str| step.starts_with(|first: char| first.is_ascii_lowercase());
    steps[..depth.min(steps.len() - 1)]
        .iter()
        .take_while(is_module)
        .copied()
        .collect::<Vec<_>>()
        .join("::")
}

fn by_part(symbols: &[(String, u64)]) {
    let mut parts = BTreeMap::new();
    for (name, size) in symbols {
        *parts.entry(part(name)).or_insert(0) += size;
    }
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    println!("\n| bytes | of |\n|---|---|");
    for (part, size) in parts {
        println!("| {size} | {part} |");
    }
}

fn largest(symbols: &[(String, u64)]) {
    println!("\n| bytes | the largest symbols |\n|---|---|");
    for (name, size) in symbols.iter().take(25) {
        println!("| {size} | `{name}` |");
    }
}
