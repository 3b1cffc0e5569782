//! The executable: its format, its size, and the system calls of a transfer.

use crate::kit::daemon::{Daemon, Generation};
use crate::kit::tool::{run, tool};
use crate::kit::wire::{self, Held};
use crate::kit::{build, build_s6_tools, compressed, memfd, program};
use elf::ElfBytes;
use elf::abi::{ET_EXEC, PF_W, PF_X, PT_DYNAMIC, PT_GNU_STACK, PT_INTERP, PT_LOAD};
use elf::endian::NativeEndian;
use std::fs;
use std::path::Path;
use std::process::Command;
use temp_dir::TempDir;

#[test]
fn the_program_needs_no_loader_and_no_memory_that_is_writable_and_executable() {
    let bytes = fs::read(program()).unwrap();
    let file = ElfBytes::<NativeEndian>::minimal_parse(&bytes).unwrap();
    // The program has a fixed address, so nothing has to be relocated.
    assert_eq!(file.ehdr.e_type, ET_EXEC);
    let segments: Vec<_> = file.segments().unwrap().iter().collect();
    for segment in &segments {
        assert!(![PT_INTERP, PT_DYNAMIC].contains(&segment.p_type), "{segment:?}");
        assert_ne!(segment.p_flags & (PF_W | PF_X), PF_W | PF_X, "{segment:?}");
    }
    assert!(
        segments.iter().any(|segment| segment.p_type == PT_GNU_STACK),
        "the stack may be executable"
    );
    assert!(segments.iter().any(|segment| segment.p_type == PT_LOAD));
}

/// Checks the size of a program, and its size in a compressed image, on x86_64. The limits apply to Rust 1.95.
/// Other compilers may need a twentieth more.
fn assert_size_within(limits: [u64; 2], program: &Path) {
    let bytes = fs::read(program).unwrap();
    let sizes = [bytes.len() as u64, compressed(&bytes)];
    let is_measured = env!("FDHOLDER_RUSTC").starts_with("rustc 1.95.");
    let limits = limits.map(|size| if is_measured { size } else { size + size / 20 });
    let is_right = sizes.iter().zip(limits).all(|(size, limit)| *size <= limit);
    assert!(cfg!(not(target_arch = "x86_64")) || is_right, "{sizes:?} bytes, not {limits:?}");
}

#[test]
fn the_program_with_all_tools_is_small() {
    assert_size_within([111_616, 55_296], program());
}

#[test]
fn the_program_with_the_tools_of_s6_is_small() {
    assert_size_within([68_608, 36_352], &build_s6_tools());
}

#[test]
fn the_program_with_transferdump_alone_is_complete_and_small() {
    let features = ["--no-default-features", "--features", "transferdump"];
    let alone = build(&features, "transferdump");
    assert_size_within([13_824, 8_192], &alone);
    let list = run(Command::new(&alone).arg("--list"));
    assert_eq!(String::from_utf8(list.out).unwrap(), "s6-fdholder-transferdump\n");
    let help = run(Command::new(&alone).args(["transferdump", "--help"]));
    assert_eq!(help.code, 0);
    assert!(help.out.starts_with(b"usage: s6-fdholder-transferdump "), "{help:?}");
}

#[test]
fn a_transfer_makes_few_system_calls_and_none_for_memory() {
    let (source, destination) =
        (Daemon::start(Generation::S6_2_15), Daemon::start(Generation::S6_2_15));
    wire::set_dump(&source.path, &[Held::new("it", wire::never(), memfd())]).unwrap();
    let dir = TempDir::new().unwrap();
    let trace = dir.child("trace");
    let transfer = tool("s6-fdholder-transferdump");
    let mut strace = Command::new("strace");
    strace.arg("-o").arg(&trace).arg(transfer.get_program()).arg("transferdump");
    let ended = run(strace.arg(&source.path).arg(&destination.path));
    assert_eq!((ended.code, &ended.err[..]), (0, ""), "is strace installed?");
    let trace = fs::read_to_string(&trace).unwrap();
    let calls: Vec<_> = trace.lines().filter(|line| !line.starts_with("+++")).collect();
    assert!(calls.len() <= 17, "{trace}");
    for call in calls {
        let name = call.split('(').next().unwrap();
        let known =
            ["execve", "socket", "connect", "sendmsg", "recvmsg", "fcntl", "close", "exit_group"];
        assert!(known.contains(&name), "{call}");
    }
}
