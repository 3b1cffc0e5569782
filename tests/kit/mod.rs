//! What the tests share: the program under test, and ways to talk to it and to daemons.

pub mod daemon;
pub mod tool;
pub mod wire;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program as it is shipped: the release build, made now if it is not up to date.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // An ordinary user may have no more descriptors on their way than a process may open, in
        // all tests together.
        make_room();
        build(&[], "target")
    })
}

/// Builds the release program with the given arguments to cargo, below the folder `target` of
/// the package. Where `FDHOLDER_BUILT` is set the builds are there already, which is how the
/// tests are run by a user who may not write here.
pub fn build(arguments: &[&str], target: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("FDHOLDER_BUILT").is_none() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root).args(["build", "--release", "--quiet", "--locked", "--target-dir"]);
        let status = cargo.arg(target).args(arguments).status().expect("cargo");
        assert!(status.success(), "cargo build --release {arguments:?}: {status}");
    }
    root.join(target).join("release/fdholder")
}

/// Raises this process's limit on open files as far as it can be, and says how far that is.
pub fn make_room() -> usize {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    maximum.map_or(usize::MAX, |limit| limit as usize)
}

/// A file in memory, with an inode of its own.
pub fn memfd() -> OwnedFd {
    memfd_create("fdholder-test", MemfdFlags::CLOEXEC).unwrap()
}
