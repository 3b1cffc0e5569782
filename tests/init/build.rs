//! Makes the linker produce a static executable without a C library. The `build.rs` of the program explains
//! the arguments.

use std::path::Path;
use std::{env, fs};

fn main() {
    let empty = Path::new(&env::var_os("OUT_DIR").unwrap()).join("empty");
    fs::create_dir_all(&empty).unwrap();
    for library in ["c", "m", "rt", "pthread", "util", "dl"] {
        fs::write(empty.join(format!("lib{library}.a")), "!<arch>\n").unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src/sys/link.ld");
    let folder = format!("-L{}", empty.display());
    for argument in ["-nostdlib", "-static", "-no-pie", &folder, &format!("-T{script}")] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={script}");
}
