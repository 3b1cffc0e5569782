//! Transfers with a low limit on open files, and with closed standard descriptors.

use crate::kit::daemon::{Daemon, Generation, Setup};
use crate::kit::process::{closed, inherited};
use crate::kit::tool::{Ended, Running, TIMEOUT, run};
use crate::kit::wire::{self, Held};
use crate::kit::{memfd, program, raise_open_file_limit};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::geteuid;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use temp_dir::TempDir;

/// The longest time for a transfer in these tests. It takes milliseconds unless it hangs.
const SOON: Duration = Duration::from_secs(20);

/// An entry with a file and an expiry of its own.
fn entry(number: usize) -> Held {
    let expiry = wire::expiry_in(Duration::from_secs(3600 + number as u64));
    Held::new(format!("id-{number}"), expiry, memfd())
}

/// A daemon of the newest generation that holds `count` entries, and these entries.
fn source(count: usize) -> (Daemon, Vec<wire::Identity>) {
    raise_open_file_limit();
    let entries: Vec<_> = (0..count).map(entry).collect();
    let daemon = Daemon::start(Generation::S6_2_15);
    wire::set_dump(&daemon.path, &entries).unwrap();
    (daemon, wire::identities(&entries))
}

/// The entries of a daemon.
fn held(daemon: &Daemon) -> Vec<wire::Identity> {
    wire::identities(&wire::get_dump(&daemon.path).unwrap())
}

/// A command that runs a shell, which runs `first` and then executes the transfer tool.
fn through_shell(first: &str, redirections: &str, from: &Path, to: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{first} exec \"$0\" \"$@\" {redirections}"));
    command.arg(program()).arg("s6-fdholder-transferdump").arg(from).arg(to);
    command
}

/// Transfers to a new daemon with these limits on open files.
fn transfer(source: &Daemon, setup: Setup, soft: usize, hard: usize) -> (Ended, Daemon) {
    let limits = format!("ulimit -Sn {soft} && ulimit -Hn {hard} &&");
    let begun = Instant::now();
    loop {
        let destination = Daemon::start_with(Generation::S6_2_15, setup);
        let ended = run(&mut through_shell(&limits, "", &source.path, &destination.path));
        assert!(ended.wall < SOON, "limit {hard}: {:?}", ended.wall);
        // An ordinary user cannot send a descriptor while all its processes together have more in
        // flight than the sender's limit on open files. Other tests that run at the same time count
        // too, so this one retries.
        let is_refused = ended.err.contains(": Too many references: cannot splice");
        if !is_refused || begun.elapsed() > TIMEOUT {
            return (ended, destination);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Checks that a tool succeeded and printed nothing.
fn succeeded(ended: &Ended) {
    assert_eq!((ended.code, &ended.err[..], &ended.out[..]), (0, "", &b""[..]));
}

#[test]
fn a_low_soft_limit_is_raised_to_the_hard_one() {
    let (source, entries) = source(900);
    let (ended, destination) = transfer(&source, Setup::default(), 20, 2000);
    succeeded(&ended);
    assert!(held(&destination) == entries);
}

#[test]
fn a_dump_larger_than_the_limit_is_transferred_in_parts() {
    // As explained in `transfer`, an ordinary user could not send the first frame while the source has more
    // descriptors than the limit in flight.
    let count = if geteuid().is_root() { 900 } else { 253 + 247 };
    let (source, entries) = source(count);
    let (ended, destination) = transfer(&source, Setup::default(), 300, 300);
    succeeded(&ended);
    assert!(held(&destination) == entries);
    assert!(held(&source) == entries);
}

#[test]
fn descriptors_in_flight_of_other_processes_count_against_the_hard_limit_only() {
    // An ordinary user cannot send a descriptor while all its processes have more in flight than the soft
    // limit of the sender. Root can, so as root this test cannot fail.
    let (source, entries) = source(1);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let file = memfd();
    for _ in 0..8 {
        wire::send(&ours, b"x", &[file.as_fd(); 250]).unwrap();
    }
    let destination = Daemon::start(Generation::S6_2_15);
    let mut command = through_shell("ulimit -Sn 1000 &&", "", &source.path, &destination.path);
    succeeded(&run(&mut command));
    assert!(held(&destination) == entries);
}

#[test]
fn nineteen_thousand_descriptors_go_through_a_limit_of_1024() {
    let open_files = raise_open_file_limit().min(20_000);
    let count = open_files.saturating_sub(1000).min(19_000);
    assert!(count >= 3000, "raise the hard limit on open files: {open_files} is too low");
    let setup = Setup { maxfds: count + 500, open_files: Some(open_files), ..Setup::default() };
    let source = Daemon::start_with(Generation::S6_2_15, setup);
    // With identifiers of this length, about six frames are in flight at a time. For an ordinary user that
    // needs a higher limit. Frames with longer identifiers are too large for the C daemon: it cannot send one
    // in one piece, and sends it again when there is room for the second part.
    let limit = if geteuid().is_root() { 1024 } else { open_files.min(4096) };
    // All of these are open only in the daemons, not in this process.
    let mut entries = Vec::new();
    let make = |number| {
        let held = Held { id: format!("{number:0>110}").into_bytes(), ..entry(number) };
        entries.push(held.identity());
        held
    };
    wire::set_each(&source.path, count, (0..count).map(make)).unwrap();
    entries.sort();

    let (ended, destination) = transfer(&source, setup, limit, limit);
    succeeded(&ended);
    for daemon in [&destination, &source] {
        let mut found = Vec::new();
        wire::get_each(&daemon.path, |held| found.push(held.identity())).unwrap();
        found.sort();
        assert_eq!(found.len(), count);
        assert!(found == entries, "an expiry or a descriptor differs");
    }
}

/// Transfers `count` descriptors under each of these limits. A transfer must succeed if there is room for two
/// connections and a frame. Otherwise it must not change the destination, and must name the limit that is
/// needed.
fn succeeds_or_names_the_needed_limit(count: usize, limits: impl Iterator<Item = usize>) {
    let (source, entries) = source(count);
    let inherited = inherited();
    for hard in limits {
        let open = inherited.iter().filter(|number| **number < hard).count();
        let needed = open + 2 + count.min(wire::FRAME_ENTRIES);
        let (ended, destination) = transfer(&source, Setup::default(), hard, hard);
        if hard >= needed {
            succeeded(&ended);
            assert!(held(&destination) == entries, "limit {hard}");
            continue;
        }
        assert_eq!(ended.code, 111, "limit {hard}: {}", ended.err);
        assert!(held(&destination).is_empty(), "limit {hard}: {}", ended.err);
        let (_, reason) = ended.err.split_once("/s: ").expect(&ended.err);
        if hard == open {
            assert_eq!(reason, "Too many open files\n", "limit {hard}");
        } else {
            let expected = format!(
                "Too many open files: the open-file limit is {hard}, but has to be {needed} at least\n"
            );
            assert_eq!(reason, expected);
        }
    }
}

/// Limits around those where the number of entries that fit changes.
fn critical_limits() -> impl Iterator<Item = usize> {
    (5..=20).chain(253..=265).chain(506..=518)
}

#[test]
fn one_descriptor_arrives_or_the_needed_limit_is_named() {
    succeeds_or_names_the_needed_limit(1, critical_limits());
}

#[test]
fn a_full_frame_arrives_or_the_needed_limit_is_named() {
    succeeds_or_names_the_needed_limit(253, critical_limits());
}

#[test]
fn one_more_than_a_frame_arrives_or_the_needed_limit_is_named() {
    succeeds_or_names_the_needed_limit(254, critical_limits());
}

#[test]
fn two_full_frames_arrive_or_the_needed_limit_is_named() {
    succeeds_or_names_the_needed_limit(506, critical_limits());
}

#[test]
fn without_room_for_both_connections_the_needed_limit_is_named() {
    for count in [1, 253, 506] {
        succeeds_or_names_the_needed_limit(count, 3..=4);
    }
}

#[test]
fn a_transfer_works_with_closed_standard_descriptors() {
    let (source, entries) = source(300);
    for (redirections, _) in closed() {
        let destination = Daemon::start(Generation::S6_2_15);
        let mut command = through_shell("", &redirections, &source.path, &destination.path);
        succeeded(&run(&mut command));
        assert!(held(&destination) == entries, "{redirections}");
    }
}

/// Waits for a connection.
fn accept(listener: &UnixListener) -> UnixStream {
    let timeout = Timespec { tv_sec: SOON.as_secs() as i64, tv_nsec: 0 };
    let mut polled = [PollFd::new(listener, PollFlags::IN)];
    let ready = retry_on_intr(|| poll(&mut polled, Some(&timeout))).unwrap();
    assert_eq!(ready, 1, "nobody connects");
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// Checks that the other side disconnects and sends nothing before.
fn assert_ends(mut stream: &UnixStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

#[test]
fn with_closed_standard_error_no_message_goes_into_a_connection_or_a_held_file() {
    const EPERM: u8 = 1;
    for (redirections, silent) in closed() {
        for source_denies in [false, true] {
            let dir = TempDir::new().unwrap();
            let paths = ["from", "to"].map(|name| dir.child(name));
            let [source, destination] = paths.each_ref().map(|p| UnixListener::bind(p).unwrap());
            let tool = &mut through_shell("", &redirections, &paths[0], &paths[1]);
            let tool = Running::start(tool);
            let file = memfd();

            let source = accept(&source);
            assert_eq!(wire::receive_frame(&source).unwrap().0, b"?");
            if source_denies {
                wire::send_frame(&source, &[EPERM], &[]).unwrap();
            } else {
                // One frame with one entry.
                wire::send_frame(&source, &[0, 0, 0, 0, 1, 0, 0, 0, 1], &[]).unwrap();
                let entry = wire::entry(b"it", wire::expiry_in(SOON));
                wire::send_frame(&source, &entry, &[file.as_fd()]).unwrap();
                let destination = accept(&destination);
                assert_eq!(wire::receive_frame(&destination).unwrap().0, b"!\0\0\0\x01");
                wire::send_frame(&destination, &[EPERM], &[]).unwrap();
                assert_ends(&destination);
            }
            assert_ends(&source);
            let ended = tool.wait();
            // The tool may have connected to the destination early. It must have sent nothing.
            destination.set_nonblocking(true).unwrap();
            if let Ok((early, _)) = destination.accept() {
                assert_ends(&early);
            }
            assert_eq!(rustix::fs::fstat(&file).unwrap().st_size, 0, "{redirections}");
            assert_eq!(ended.code, if source_denies { 1 } else { 2 }, "{redirections}");
            assert_eq!(ended.err.is_empty(), silent, "{redirections}: {}", ended.err);
            assert!(ended.out.is_empty(), "{redirections}");
        }
    }
}
