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
pub mod watched;
pub mod wire;

use lzma_rust2::{Lzma2Options, Lzma2Writer, LzmaOptions};
use proptest::test_runner::Config as ProptestConfig;
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
        // The kernel limits the descriptors in flight of an ordinary user, in all tests together, to the
        // limit on open files.
        raise_open_file_limit();
        keep_inherited_descriptors();
        build(&[], "")
    })
}

/// Prevents the programs that the tests start from inheriting the descriptors that the tests were started
/// with. Such descriptors leave gaps between the numbers that a program gets, so that it makes other
/// calls.
fn keep_inherited_descriptors() {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: the call closes no descriptor. Descriptors for a child are duplicated in the child.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, flags) };
}

/// The folder of builds and C tools: `target`, or the folder that `FDHOLDER_BUILT` names. The builds in
/// that folder are complete, so that a user without write access to the sources can run the tests.
pub fn target() -> PathBuf {
    let built = std::env::var_os("FDHOLDER_BUILT").map(PathBuf::from);
    built.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"))
}

/// The folder of the sources. The folder that `FDHOLDER_BUILT` names contains a copy.
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

/// A build with the tools that s6 has too, and no others.
pub fn build_s6_tools() -> PathBuf {
    let features = "transferdump,store,retrieve,delete,list,getdump,setdump,fdholderd,daemon";
    build(&["--no-default-features", "--features", features], "s6-tools")
}

/// The size of a file in a compressed image: what `xz -9e` makes of it, without the container, which an
/// image has once for all files.
pub fn compressed(file: &[u8]) -> u64 {
    let lzma_options =
        LzmaOptions { nice_len: 273, depth_limit: 512, ..LzmaOptions::with_preset(9) };
    let options = Lzma2Options { lzma_options, ..Lzma2Options::default() };
    let mut writer = Lzma2Writer::new(Vec::new(), options);
    writer.write_all(file).unwrap();
    writer.finish().unwrap().len() as u64
}

/// Raises this process's limit on open files to its maximum, and returns it.
pub fn raise_open_file_limit() -> usize {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    maximum.map_or(usize::MAX, |limit| limit as usize)
}

/// Makes a device node without a driver. Opening it fails with the same error as opening a socket. Returns
/// false if this user is not allowed to make one.
pub fn make_device(path: &Path) -> bool {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::RUSR, makedev(4000, 0)).is_ok()
}

/// The configuration of a test with random input. A failure is reported in the output of the test. No file
/// of failed cases is written into the source tree.
pub fn random_cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A file in memory, with an inode of its own.
pub fn memfd() -> OwnedFd {
    memfd_create("fdholder-test", MemfdFlags::CLOEXEC).unwrap()
}

/// A socket whose closing takes `time` unless its peer reads, and the peer.
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

/// A port of the loopback that is free at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
