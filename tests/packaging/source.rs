//! Properties of the source files of all processors: where unsafe code is, the order of the modules, and the
//! places that name every tool.

use super::processor::refusal;
use crate::kit::source;
use std::fs;
use std::path::Path;

/// The names and texts of all source files below a folder.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push((path.to_str().unwrap().into(), fs::read_to_string(&path).unwrap()));
        }
    }
    all
}

/// The line numbers of uses of `unsafe` without a reason, and the number of unsafe blocks.
fn uses_of_unsafe(text: &str) -> (Vec<usize>, usize) {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let (mut without, mut blocks) = (Vec::new(), 0);
    for (number, line) in lines.iter().enumerate() {
        // Words in comments and texts, and attributes, do not count.
        let code = line.split("//").next().unwrap().replace("unsafe(", "").replace("\"unsafe", "");
        let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        if !words.any(|word| word == "unsafe") {
            continue;
        }
        let count = code.matches("unsafe {").count();
        blocks += count;
        let is_contract = count == 0 && (code.contains(" fn ") || code.contains("trait "));
        // The declaration of a C function needs no reason.
        if code.contains("unsafe extern \"C\" {") {
            continue;
        }
        let above = lines[..number].iter().rev();
        let mut above = above.skip_while(|line| is_contract && line.starts_with("#["));
        let reason = if is_contract { "/// # Safety" } else { "// SAFETY: " };
        let comment = if is_contract { "///" } else { "//" };
        let has_reason = above
            .by_ref()
            .take_while(|line| line.starts_with(comment))
            .any(|line| line.starts_with(reason));
        if !has_reason {
            without.push(number + 1);
        }
    }
    (without, blocks)
}

#[test]
fn every_use_of_unsafe_has_a_reason_and_the_readme_has_the_number_of_blocks() {
    let mut total = 0;
    let root = source();
    for folder in ["src", "applets", "tests"] {
        for (name, text) in sources(&root.join(folder)) {
            if name.ends_with("/tests/packaging/source.rs") {
                continue;
            }
            let (without, blocks) = uses_of_unsafe(&text);
            assert!(without.is_empty(), "{name}: no reason in lines {without:?}");
            if folder != "tests" {
                assert!(blocks == 0 || name.contains("/src/sys/"), "{name}: unsafe code");
                total += blocks;
            }
        }
    }
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let words: Vec<&str> = readme.split_whitespace().collect();
    let stated = words.windows(3).find(|words| words[1..] == ["unsafe", "blocks"]);
    assert_eq!(stated.map(|words| words[0]), Some(&total.to_string()[..]), "README.md");
}

#[test]
fn a_use_of_unsafe_without_a_reason_is_found() {
    let with = "// SAFETY: so.\nlet a = unsafe { b() };\n/// # Safety\n/// So.\n#[inline]\nunsafe fn c() {}\n";
    assert_eq!(uses_of_unsafe(with), (vec![], 1));
    let without = "// SAFETY: so.\n\nlet a = unsafe { b() };\n/// So.\nunsafe fn c() {}\n\
                   // So.\nunsafe impl D for E {}\n// unsafe { }\n#[unsafe(no_mangle)]\n";
    assert_eq!(uses_of_unsafe(without), (vec![3, 5, 7], 1));
}

/// The modules in the map at the beginning of src/lib.rs, from the top.
fn map() -> Vec<String> {
    let text = fs::read_to_string(source().join("src/lib.rs")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | ")?.split(" | ").next());
    rows.filter_map(|row| Some(row.split("[`").nth(1)?.split('`').next()?.to_string())).collect()
}

#[test]
fn no_module_uses_one_above_it_in_the_map() {
    let (root, map) = (source(), map());
    let position = |module: &str| map.iter().position(|name| name == module);
    for folder in ["src", "applets"] {
        for (path, text) in sources(&root.join(folder)) {
            let inside =
                path.strip_prefix(root.to_str().unwrap()).unwrap().trim_start_matches("/src");
            let module = inside.split(['/', '.']).nth(1).unwrap();
            // The parts of build.rs and of the program itself are not on the map.
            let Some(own) = position(module) else { continue };
            for rest in text.split("crate::").skip(1) {
                let used = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap();
                let is_below = position(used).is_none_or(|used| used >= own);
                assert!(is_below || (module, used) == ("sys", "slice"), "{path} uses {used}");
            }
        }
    }
}

#[test]
fn every_module_of_the_library_is_on_the_map() {
    let (text, map) = (fs::read_to_string(source().join("src/lib.rs")).unwrap(), map());
    let modules: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.split([';', ' ']).next())
        .collect();
    assert!(modules.len() > 5, "{modules:?}");
    for module in modules {
        assert!(map.iter().any(|name| name == module), "{module} is not on the map in src/lib.rs");
    }
}

#[test]
fn every_tool_is_named_in_every_list_of_the_tools() {
    let root = source();
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let mut missing = Vec::new();
    let list = read("applets/list.rs");
    for module in list.lines().map(str::trim).filter(|line| !line.contains(['/', '{', '}'])) {
        let cli = read(&format!("applets/{module}/cli.rs"));
        let tool = cli.split("    name = \"").nth(1).unwrap().split('"').next().unwrap();
        let is_daemon = ["fdholderd", "daemon"].contains(&module);
        let run = if is_daemon { String::new() } else { format!("name: \"{module}") };
        for (path, text) in [
            ("README.md", &format!("| `{tool}` | ")),
            ("tests/limits/tool_faults.rs", &run),
            ("tests/packaging/buildroot/fdholder/Config.in", &format!("bool \"{tool}\"")),
        ] {
            missing.extend((!read(path).contains(text)).then(|| format!("{path}: {text}")));
        }
        for path in ["buildroot/fdholder/fdholder.mk", "openwrt/fdholder/Makefile"] {
            let path = format!("tests/packaging/{path}");
            let is_named =
                read(&path).split([' ', ',', '=', '\t', '\n']).any(|word| word == module);
            missing.extend((!is_named).then(|| format!("{path}: {module}")));
        }
    }
    assert!(missing.is_empty(), "missing:\n{}", missing.join("\n"));
}

#[test]
fn for_an_unsupported_processor_the_build_stops_and_names_the_supported_ones() {
    let text = fs::read_to_string(source().join("src/sys/arch/mod.rs")).unwrap();
    let is_refused = |arch, os, width| refusal(arch, os, width, &text);
    for arch in ["x86_64", "aarch64", "riscv64", "s390x"] {
        assert_eq!(is_refused(arch, "linux", "64"), None);
        // The system calls of such ABIs, like x32, differ.
        assert!(is_refused(arch, "linux", "32").is_some(), "{arch}");
    }
    for arch in ["x86", "arm", "mips"] {
        assert_eq!(is_refused(arch, "linux", "32"), None);
    }
    // Linux does not run on these.
    for (arch, width) in [("wasm64", "64"), ("avr", "16"), ("msp430", "16"), ("wasm32", "32")] {
        let why = is_refused(arch, "linux", width).unwrap();
        assert!(why.contains(&format!("cannot be built for {arch} ")), "{why}");
        assert!(why.contains("Linux on x86_64, x86, aarch64, arm, "), "{why}");
    }
    assert!(is_refused("x86_64", "macos", "64").unwrap().contains("macos"));
}
