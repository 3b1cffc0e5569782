//! Generates from the applets' argh structs (`applets/NAME/cli.rs`) what the tools need at run time: a
//! table of options, usage lines and help texts. If `FDHOLDER_DOCS` names a directory, it also writes
//! man pages and completions there, for packagers. Then it sets the link arguments for a static
//! executable without a C library. `src/build` has the parts.

use argh::ArgsInfo;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[path = "src/build/mod.rs"]
mod build;

/// Makes a module for the struct of each applet in `applets/list.rs`, and one enum of all structs.
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

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    check_processor(&root);
    let info = Applets::get_args_info();
    let commands = info.commands.iter().map(|sub| &sub.command);
    let applets: Vec<build::Applet> = NAMES.iter().copied().zip(commands).collect();
    build::table::check(&applets, &fs::read_to_string(root.join("Cargo.toml")).unwrap());
    let built_in: Vec<_> = applets.iter().copied().filter(|(module, _)| is_on(module)).collect();
    fs::write(out.join("applets.rs"), build::table::source(&built_in, &root)).unwrap();
    if let Some(folder) = env::var_os("FDHOLDER_DOCS") {
        build::docs::write(&built_in, Path::new(&folder), &root);
        // Removed pages are written again.
        println!("cargo:rerun-if-changed={}", Path::new(&folder).join("tools").display());
    }
    build::link::arguments(&root, &out);
    // The size of the program depends on the compiler, so the tests need its version.
    let version = Command::new(env::var_os("RUSTC").unwrap()).arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    println!("cargo:rustc-env=FDHOLDER_RUSTC={}", version.trim());
    println!("cargo:rerun-if-env-changed=FDHOLDER_DOCS");
    for path in
        ["applets", "build.rs", "src/build", "src/multicall.rs", "src/sys/link.ld", "Cargo.toml"]
    {
        println!("cargo:rerun-if-changed={path}");
    }
}

/// Stops the build for a processor without a file in `src/sys/arch`, and says so.
fn check_processor(root: &Path) {
    let target = |name| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let source = fs::read_to_string(root.join("src/sys/arch/mod.rs")).unwrap();
    let (arch, os, width) = (target("ARCH"), target("OS"), target("POINTER_WIDTH"));
    if let Some(why) = build::processor::refusal(&arch, &os, &width, &source) {
        println!("cargo::error={why}");
        std::process::exit(1);
    }
}

/// True if the feature of the applet is on.
fn is_on(module: &str) -> bool {
    env::var_os(format!("CARGO_FEATURE_{}", module.to_uppercase())).is_some()
}
