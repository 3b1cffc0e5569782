//! How the program is linked: a static executable that needs no C library.

use std::fs;
use std::path::Path;

/// Link arguments, for the program alone. They are worded so that a compiler driver and a linker
/// both take them.
pub fn arguments(root: &Path, out: &Path) {
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
