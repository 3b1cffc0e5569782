//! Measures the program against the C program of s6 2.15 as Debian packages it, and prints the
//! tables of the README: sizes, system calls, and wall time of whole processes that transfer
//! between two C daemons. The two take turns, so that whatever else the machine does hits both;
//! medians are compared.
//!
//! `cargo bench`, after `sh tests/peers.sh`.

#[allow(dead_code, reason = "the tests use all of it")]
#[path = "kit/mod.rs"]
mod kit;

use kit::daemon::{Daemon, Generation, Setup};
use kit::tool::{run, tool};
use kit::wire::{self, Held};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use temp_dir::TempDir;

const C: Generation = Generation::S6_2_15;
const NAME: &str = "s6-fdholder-transferdump";

fn main() {
    sizes();
    calls();
    times();
}

/// The size of a file in bytes.
fn size(path: impl AsRef<Path>) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn sizes() {
    let alone = ["--no-default-features", "--features", "transferdump"];
    let alone = size(kit::build(&alone, "transferdump"));
    let command = C.command(NAME);
    let program = size(command.get_program());
    let mut libraries = 0;
    for file in fs::read_dir(C.libraries()).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let needed = ["libs6.so", "libskarnet.so"].iter().any(|library| name.starts_with(library));
        if needed && !file.file_type().unwrap().is_symlink() {
            libraries += size(file.path());
        }
    }
    let list = run(Command::new(kit::program()).arg("--list")).out;
    let list = String::from_utf8(list).unwrap();
    let all: u64 = list.lines().map(|name| size(C.command(name).get_program())).sum();
    let (ours, count) = (size(kit::program()), list.lines().count());
    println!("| bytes | fdholder | s6 2.15, which needs libc as well |\n|---|---|---|");
    println!("| {count} tools | {ours} | {all} + {libraries} of libraries |");
    println!("| transferdump alone | {alone} | {program} + {libraries} of libraries |");
}

/// How many system calls a command makes, execve and exit included.
fn traced(command: &Command) -> usize {
    let trace = TempDir::new().unwrap();
    let trace = trace.child("trace");
    let mut strace = Command::new("strace");
    strace.arg("-o").arg(&trace).arg(command.get_program()).args(command.get_args());
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_eq!(run(&mut strace).code, 0);
    fs::read_to_string(&trace).unwrap().lines().filter(|line| !line.starts_with("+++")).count()
}

/// Two daemons, the first of which holds that many descriptors.
fn daemons(count: usize) -> (Daemon, Daemon) {
    // A C daemon counts what is replaced twice.
    let setup = Setup { maxfds: 2 * count + 10, ..Setup::default() };
    let (source, destination) = (Daemon::start_with(C, setup), Daemon::start_with(C, setup));
    let hour = Duration::from_secs(3600);
    let things = (0..count).map(|number| {
        let expiry = wire::expiry_in(hour + Duration::from_secs(number as u64));
        Held::new(format!("unix:service-{number}"), expiry, kit::memfd())
    });
    wire::set_dump(&source.path, &things.collect::<Vec<_>>()).unwrap();
    (source, destination)
}

/// Ours and theirs, the same transfer.
fn commands(daemons: &(Daemon, Daemon)) -> [Command; 2] {
    [tool(NAME), C.command(NAME)].map(|mut command| {
        command.arg(&daemons.0.path).arg(&daemons.1.path);
        command
    })
}

fn calls() {
    let daemons = daemons(1);
    let mut ours = Command::new(kit::program());
    ours.arg("transferdump").arg(&daemons.0.path).arg(&daemons.1.path);
    let [_, theirs] = commands(&daemons);
    println!("\n| system calls | fdholder | s6 2.15 |\n|---|---|---|");
    println!("| 1 descriptor | {} | {} |", traced(&ours), traced(&theirs));
}

fn times() {
    println!("\n| microseconds, by number of descriptors | fdholder | s6 2.15 | ratio |");
    println!("|---|---|---|---|");
    for (count, rounds) in [(1, 400), (253, 200), (900, 100)] {
        let daemons = daemons(count);
        let mut taken = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (command, times) in commands(&daemons).iter_mut().zip(&mut taken) {
                let begun = Instant::now();
                let status = command.stdin(Stdio::null()).status().unwrap();
                times.push(begun.elapsed());
                assert!(status.success());
            }
        }
        let [ours, theirs] = taken.map(|mut times| {
            times.sort();
            times[times.len() / 2].as_secs_f64() * 1e6
        });
        let ratio = ours / theirs;
        println!("| {count} | {ours:.0} | {theirs:.0} | {ratio:.2} |");
    }
}
