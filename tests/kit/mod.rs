//! What the tests share: the program under test, and ways to talk to it and to daemons.

pub mod cdb;
pub mod clients;
pub mod daemon;
pub mod fake;
pub mod process;
pub mod regex_oracle;
pub mod server;
pub mod strace;
pub mod target;
pub mod tool;
pub mod wire;

use lzma_rust2::{Lzma2Options, Lzma2Writer, LzmaOptions};
use rustix::fs::{CWD, FileType, MemfdFlags, Mode, makedev, memfd_create, mknodat};
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// The program as it is shipped: the release build, made now if it is not up to date.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // An ordinary user may have no more descriptors on their way than a process may open, in
        // all tests together.
        make_room();
        keep_inherited_descriptors();
        build(&[], "")
    })
}

/// Has no program that the tests start inherit what the tests were started with. Such descriptors
/// leave gaps between those that a program opens, which then makes other calls than elsewhere.
fn keep_inherited_descriptors() {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: the call closes nothing, and what is meant for a child is duplicated in the child.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, flags) };
}

/// Where builds and C tools lie: `target`, or the folder that `FDHOLDER_BUILT` names. There the
/// builds are complete, which is how the tests are run by a user who may not write here.
pub fn target() -> PathBuf {
    let built = std::env::var_os("FDHOLDER_BUILT").map(PathBuf::from);
    built.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"))
}

/// Where the sources are; in the folder that `FDHOLDER_BUILT` names there is a copy.
pub fn source() -> PathBuf {
    let built = std::env::var_os("FDHOLDER_BUILT").map(PathBuf::from);
    built.map_or(env!("CARGO_MANIFEST_DIR").into(), |built| built.join("source"))
}

/// Builds the release program with the given arguments to cargo, in `folder` of [`target`].
pub fn build(arguments: &[&str], folder: &str) -> PathBuf {
    let target = target().join(folder);
    if std::env::var_os("FDHOLDER_BUILT").is_none() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.args(["build", "--release", "--quiet", "--locked", "--target-dir"]).arg(&target);
        let status = cargo.args(arguments).status().expect("cargo");
        assert!(status.success(), "cargo build --release {arguments:?}: {status}");
    }
    target.join("release/fdholder")
}

/// What is left of a file in a compressed image, in bytes: what `xz -9e` makes of it, less what the
/// container takes, which an image has once for all files.
pub fn compressed(file: &[u8]) -> u64 {
    let lzma_options =
        LzmaOptions { nice_len: 273, depth_limit: 512, ..LzmaOptions::with_preset(9) };
    let options = Lzma2Options { lzma_options, ..Lzma2Options::default() };
    let mut writer = Lzma2Writer::new(Vec::new(), options);
    writer.write_all(file).unwrap();
    writer.finish().unwrap().len() as u64
}

/// Raises this process's limit on open files as far as it can be, and says how far that is.
pub fn make_room() -> usize {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    maximum.map_or(usize::MAX, |limit| limit as usize)
}

/// Makes a device node that no driver serves. The kernel answers to opening it what it answers for a
/// socket. False for a user who may not.
pub fn make_device(path: &Path) -> bool {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::RUSR, makedev(4000, 0)).is_ok()
}

/// A file in memory, with an inode of its own.
pub fn memfd() -> OwnedFd {
    memfd_create("fdholder-test", MemfdFlags::CLOEXEC).unwrap()
}

/// A socket that takes that long to close unless its peer reads, and the peer.
pub fn lingering(time: Duration) -> (OwnedFd, impl Sized) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    set_socket_recv_buffer_size(&listener, 2048).unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (receiver, _) = listener.accept().unwrap();
    sender.set_nonblocking(true).unwrap();
    let full = loop {
        if let Err(error) = sender.write(&[0; 1 << 16]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    set_socket_linger(&sender, Some(time)).unwrap();
    (sender.into(), (listener, receiver))
}
