//! Compares the program with the C program of s6 2.15 as Debian packages it, and prints the tables of the
//! README: sizes; wall time, page faults, memory and system calls of transfers, beside a program that only
//! exits; and the requests per second of our daemon and of that of C, with the client of the tests. The
//! programs run in turns, so that other load of the machine affects all of them. The tables have medians.
//!
//! `cargo bench`, after `sh tests/peers.sh`.

#[allow(dead_code, reason = "the tests use all of it")]
#[path = "kit/mod.rs"]
mod kit;

use kit::daemon::{Daemon, Generation, Setup};
use kit::process;
use kit::tool::{run, tool};
use kit::wire::{self, Held};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use temp_dir::TempDir;

const C: Generation = Generation::S6_2_15;
const NAME: &str = "s6-fdholder-transferdump";

fn main() {
    sizes();
    transfers();
    requests();
    growth();
    dumps();
    memory();
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
    let tools = kit::build_s6_tools();
    let list = run(Command::new(&tools).arg("--list")).out;
    let list = String::from_utf8(list).unwrap();
    let all: u64 = list.lines().map(|name| size(C.command(name).get_program())).sum();
    let (ours, count) = (size(tools), list.lines().count());
    println!("| bytes | fdholder | s6 2.15, which needs libc as well |\n|---|---|---|");
    println!("| {count} tools | {ours} | {all} + {libraries} of libraries |");
    println!("| transferdump alone | {alone} | {program} + {libraries} of libraries |");
}

/// The number of system calls of a command, including execve and exit.
fn traced(command: &Command) -> usize {
    let trace = TempDir::new().unwrap();
    let trace = trace.child("trace");
    let mut strace = Command::new("strace");
    strace.arg("-o").arg(&trace).arg(command.get_program()).args(command.get_args());
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_eq!(run(&mut strace).code, 0);
    fs::read_to_string(&trace).unwrap().lines().filter(|line| !line.starts_with("+++")).count()
}

/// Two daemons. The first one holds `count` descriptors. More than a thousand need our daemon, because the
/// table of the C daemon is on its stack.
fn daemons(count: usize) -> (Daemon, Daemon) {
    let generation = if count > 1000 { Generation::Ours } else { C };
    // A C daemon counts replaced entries twice.
    let setup = Setup { maxfds: 2 * count + 10, ..Setup::default() };
    let [source, destination] = [(); 2].map(|()| Daemon::start_with(generation, setup));
    let file = kit::memfd();
    wire::set_each(&source.path, count, entries("s", count, &file)).unwrap();
    (source, destination)
}

/// The same transfer with our tool and with that of C.
fn commands(daemons: &(Daemon, Daemon)) -> [Command; 2] {
    [tool(NAME), C.command(NAME)].map(|mut command| {
        command.arg(&daemons.0.path).arg(&daemons.1.path);
        command
    })
}

/// A program that only exits, in its folder: the least that any program takes.
fn floor() -> (TempDir, Command) {
    let dir = TempDir::new().unwrap();
    let (source, program) = (dir.child("exit.c"), dir.child("exit"));
    fs::write(&source, "void _exit(int);\nvoid _start(void) { _exit(0); }\n").unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-Os", "-s", "-static", "-nostartfiles", "-o"]).arg(&program).arg(&source);
    assert_eq!(run(&mut cc).code, 0);
    (dir, Command::new(program))
}

/// The resources that a process used.
struct Used {
    wall: Duration,
    page_faults: u32,
}

/// Runs a command to its end.
fn used(command: &mut Command) -> Used {
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    // The numbers of the process exist until its exit status is read.
    let ends = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(Pid::from_child(&child)), ends).unwrap();
    let wall = begun.elapsed();
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let page_faults = stat.rsplit(')').next().unwrap().split_whitespace().nth(7).unwrap();
    let used = Used { wall, page_faults: page_faults.parse().unwrap() };
    assert!(child.wait().unwrap().success(), "{command:?}");
    used
}

/// The memory in kilobytes of a transfer that has received the dump and waits for the destination.
fn resident(command: &mut Command, destination: &Daemon) -> u64 {
    let destination = Pid::from_raw(destination.pid() as i32).unwrap();
    kill_process(destination, Signal::STOP).unwrap();
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    let mut before = None;
    process::wait_until(
        || String::from("the transfer does not wait"),
        || {
            std::thread::sleep(Duration::from_millis(20));
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
            let now = Some(process::memory(child.id(), "Rss"));
            let waits = stat.contains(") S ") && now == before;
            before = now;
            waits
        },
    );
    kill_process(destination, Signal::CONT).unwrap();
    assert!(child.wait().unwrap().success());
    before.unwrap()
}

/// The median.
fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn transfers() {
    const ROUNDS: [(usize, usize); 4] = [(1, 400), (253, 200), (900, 100), (19_000, 10)];
    let (_dir, mut floor) = floor();
    let mut rows = [const { Vec::new() }; 4];
    for (count, rounds) in ROUNDS {
        let daemons = daemons(count);
        let mut commands = commands(&daemons);
        let mut all = [const { Vec::new() }; 3];
        for _ in 0..rounds {
            for (command, all) in commands.iter_mut().chain([&mut floor]).zip(&mut all) {
                all.push(used(command));
            }
        }
        let wall = |used: &Used| used.wall.as_secs_f64() * 1e6;
        rows[0].push((count, all.each_ref().map(|all| median(all.iter().map(wall)))));
        let faults = |used: &Used| f64::from(used.page_faults);
        rows[1].push((count, all.each_ref().map(|all| median(all.iter().map(faults)))));
        let [ours, theirs] =
            commands.each_mut().map(|command| resident(command, &daemons.1) as f64);
        rows[2].push((count, [ours, theirs, f64::NAN]));
        // strace does not set argv[0], so the first argument selects the tool.
        let mut ours = Command::new(kit::program());
        ours.arg(NAME).args(commands[0].get_args());
        rows[3].push((count, [&ours, &commands[1], &floor].map(|one| traced(one) as f64)));
    }
    let what = ["microseconds", "page faults", "kilobytes while it waits", "system calls"];
    for (what, rows) in what.iter().zip(rows) {
        println!(
            "\n| {what}, by number of descriptors | fdholder | s6 2.15 | ratio | only exits |"
        );
        println!("|---|---|---|---|---|");
        for (count, [ours, theirs, exit]) in rows {
            let exit = if exit.is_nan() { String::from("-") } else { format!("{exit:.0}") };
            println!("| {count} | {ours:.0} | {theirs:.0} | {:.2} | {exit} |", ours / theirs);
        }
    }
}

/// Binds a process to a processor, if that one exists.
fn pin(process: u32, processor: u32) {
    let mut taskset = Command::new("taskset");
    taskset.args(["-acp", &processor.to_string(), &process.to_string()]);
    let _ = taskset.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// A daemon that holds `count` entries, with a capacity of `maxfds`.
fn holder(generation: Generation, count: usize, maxfds: usize) -> Daemon {
    let open_files = Some(kit::raise_open_file_limit().min(20_000));
    let daemon = Daemon::start_with(generation, Setup { maxfds, open_files, ..Setup::default() });
    // Which processors the two run on makes more difference than anything else.
    pin(std::process::id(), 0);
    pin(daemon.pid(), 1);
    let file = kit::memfd();
    wire::set_each(&daemon.path, count, entries("held", count, &file)).unwrap();
    daemon
}

/// `count` entries with the same file and different expiries. Equal expiries corrupt the table of the C
/// daemon.
fn entries(name: &str, count: usize, file: &OwnedFd) -> impl Iterator<Item = Held> {
    let hour = Duration::from_secs(3600);
    (0..count).map(move |number| {
        let expiry = wire::expiry_in(hour + Duration::from_millis(number as u64));
        Held::new(format!("{name}{number:05}"), expiry, file)
    })
}

/// Measures the daemons in turns, `rounds` times each, and returns the medians of the seconds that `measure`
/// returns.
fn medians<const N: usize>(
    daemons: &[Daemon],
    rounds: usize,
    measure: impl Fn(&Daemon) -> [f64; N],
) -> Vec<[f64; N]> {
    let mut all = vec![Vec::new(); daemons.len()];
    for _ in 0..rounds {
        for (daemon, measured) in daemons.iter().zip(&mut all) {
            measured.push(measure(daemon));
        }
    }
    let median = |measured: Vec<[f64; N]>| {
        std::array::from_fn(|what| median(measured.iter().map(|times| times[what])))
    };
    all.into_iter().map(median).collect()
}

/// Prints a row of operations per second of ours and of C, if C can do it.
fn row(what: &str, ours: f64, theirs: Option<f64>) {
    let theirs = theirs.map(|theirs| format!("{:.0} | {:.2}", 1.0 / theirs, theirs / ours));
    println!("| {what} | {:.0} | {} |", 1.0 / ours, theirs.as_deref().unwrap_or("- | -"));
}

/// The kinds of requests, and the number of each that is measured at a time.
const REQUESTS: [&str; 4] = ["store", "retrieve", "delete", "list"];
const BATCH: usize = 200;

/// The seconds that a request of each kind takes, on one connection, or on a connection for each request.
fn requests_to(daemon: &Daemon, on_one: bool) -> [f64; 4] {
    let connect = || UnixStream::connect(&daemon.path).unwrap();
    let (file, stream) = (kit::memfd(), connect());
    let all: Vec<_> = entries("new", BATCH, &file).collect();
    let time = |request: &dyn Fn(&UnixStream, &Held)| {
        let begun = Instant::now();
        for held in &all {
            if on_one { request(&stream, held) } else { request(&connect(), held) }
        }
        begun.elapsed().as_secs_f64() / BATCH as f64
    };
    let store = time(&|stream, held| wire::store(stream, held).unwrap());
    let retrieve = time(&|stream, held| drop(wire::retrieve(stream, &held.id).unwrap()));
    let delete = time(&|stream, held| wire::delete(stream, &held.id).unwrap());
    // The time in which the client parses the list is not measured.
    let list = time(&|stream, _| {
        wire::send_frame(stream, b"L", &[]).unwrap();
        wire::answer(stream).unwrap();
    });
    [store, retrieve, delete, list]
}

fn requests() {
    let daemons = [Generation::Ours, C].map(|generation| holder(generation, 100, 1000));
    println!("\n| requests a second, 100 held | fdholder | s6 2.15 | ratio |\n|---|---|---|---|");
    for (on_one, how) in [(true, "on one connection"), (false, "on a connection each")] {
        let medians = medians(&daemons, 25, |daemon| requests_to(daemon, on_one));
        for (what, name) in REQUESTS.iter().enumerate() {
            row(&format!("{name}, {how}"), medians[0][what], Some(medians[1][what]));
        }
    }
}

fn growth() {
    println!("\n| requests a second, by number held | fdholder | s6 2.15 | ratio |");
    println!("|---|---|---|---|");
    let most = kit::raise_open_file_limit().saturating_sub(1000).min(19_000);
    // At most a thousand for the C daemon, whose table is on its stack.
    let counts = [100, 1000, most];
    let ours = counts.map(|count| (Generation::Ours, count));
    let all = ours.into_iter().chain([(C, 100), (C, 1000)]);
    let all = all.map(|(generation, count)| holder(generation, count, count + BATCH + 10));
    let daemons: Vec<_> = all.collect();
    // The sizes take turns too. The list is left out, because it grows with the number of entries.
    let medians = medians(&daemons, 25, |daemon| requests_to(daemon, true));
    for (what, name) in REQUESTS.iter().enumerate().take(3) {
        for (at, count) in counts.iter().enumerate() {
            let theirs = medians.get(counts.len() + at).map(|medians| medians[what]);
            row(&format!("{name}, {count}"), medians[at][what], theirs);
        }
    }
}

fn dumps() {
    // A C daemon counts replaced entries twice.
    let daemons = [Generation::Ours, C].map(|generation| holder(generation, 900, 1810));
    let file = kit::memfd();
    let medians = medians(&daemons, 60, |daemon| {
        let all: Vec<_> = entries("held", 900, &file).collect();
        let begun = Instant::now();
        wire::set_dump(&daemon.path, &all).unwrap();
        let set = begun.elapsed();
        wire::get_each(&daemon.path, drop).unwrap();
        [begun.elapsed() - set, set].map(|time| time.as_secs_f64())
    });
    println!("\n| dumps of 900 a second | fdholder | s6 2.15 | ratio |\n|---|---|---|---|");
    for (what, name) in ["out", "in, replacing 900"].iter().enumerate() {
        row(name, medians[0][what], Some(medians[1][what]));
    }
}

fn memory() {
    let daemons = [Generation::Ours, C].map(|generation| holder(generation, 1000, 1000));
    println!(
        "\n| kilobytes of memory, 1000 held | fdholder | s6 2.15 | ratio |\n|---|---|---|---|"
    );
    for (field, what) in [("Rss", "resident"), ("Pss", "its part of what is shared counted")] {
        // Both daemons have sent a dump before.
        let [ours, theirs] = daemons.each_ref().map(|daemon| {
            wire::get_each(&daemon.path, drop).unwrap();
            process::memory(daemon.pid(), field)
        });
        println!("| {what} | {ours} | {theirs} | {:.2} |", ours as f64 / theirs as f64);
    }
}
