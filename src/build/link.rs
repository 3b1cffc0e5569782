//! Link arguments for a static executable without a C library.

use std::fs;
use std::path::Path;

/// Prints the link arguments, which apply to the program alone. A compiler driver and a linker both
/// accept them.
pub fn arguments(root: &Path, out: &Path) {
    // The libc crate links the C library although the program uses none of its functions. Empty
    // archives replace it. They are in a folder that only the program's link searches: the tests do use
    // a C library.
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
