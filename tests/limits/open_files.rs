//! The program where there is little room: a low limit on open files, and closed standard
//! descriptors.

use crate::kit::daemon::{Daemon, Generation, Setup};
use crate::kit::tool::{Ended, PATIENCE, Running, run};
use crate::kit::wire::{self, Held};
use crate::kit::{make_room, memfd, program};
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

/// What a transfer may take here. It takes a few milliseconds, or for ever.
const SOON: Duration = Duration::from_secs(20);

/// Something to hold, with a file and an expiry of its own.
fn thing(number: usize) -> Held {
    let expiry = wire::expiry_in(Duration::from_secs(3600 + number as u64));
    Held::new(format!("thing-{number}"), expiry, memfd())
}

/// A daemon of the newest generation that holds so many things, and what they are.
fn source(count: usize) -> (Daemon, Vec<wire::Identity>) {
    make_room();
    let things: Vec<_> = (0..count).map(thing).collect();
    let daemon = Daemon::start(Generation::S6_2_15);
    wire::set_dump(&daemon.path, &things).unwrap();
    (daemon, wire::identities(&things))
}

/// What a daemon holds.
fn held(daemon: &Daemon) -> Vec<wire::Identity> {
    wire::identities(&wire::get_dump(&daemon.path).unwrap())
}

/// A command that has a shell do something and then replace itself by the program, which is to
/// transfer from one daemon to the other.
fn through_shell(first: &str, redirections: &str, from: &Path, to: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{first} exec \"$0\" \"$@\" {redirections}"));
    command.arg(program()).arg("s6-fdholder-transferdump").arg(from).arg(to);
    command
}

/// Transfers into a new daemon, under these limits on open files.
fn transfer(source: &Daemon, setup: Setup, soft: usize, hard: usize) -> (Ended, Daemon) {
    let limits = format!("ulimit -Sn {soft} && ulimit -Hn {hard} &&");
    let begun = Instant::now();
    loop {
        let destination = Daemon::start_with(Generation::S6_2_15, setup);
        let ended = run(&mut through_shell(&limits, "", &source.path, &destination.path));
        assert!(ended.wall < SOON, "limit {hard}: {:?}", ended.wall);
        // Whom the kernel does not trust may send no descriptors while all processes of the user
        // together have more on their way than the sender may have open. So the tests get into
        // each other's way, and this one has to wait until the others are less busy.
        let crowded = ended.err.contains(": Too many references: cannot splice");
        if !crowded || begun.elapsed() > PATIENCE {
            return (ended, destination);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Checks that it went well, of which nothing is said.
fn succeeded(ended: &Ended) {
    assert_eq!((ended.code, &ended.err[..], &ended.out[..]), (0, "", &b""[..]));
}

#[test]
fn a_low_soft_limit_is_raised_to_the_hard_one() {
    let (source, things) = source(900);
    let (ended, destination) = transfer(&source, Setup::default(), 20, 2000);
    succeeded(&ended);
    assert!(held(&destination) == things);
}

#[test]
fn what_does_not_fit_under_the_limit_at_once_goes_through_in_parts() {
    // See above: if the daemon had more than the limit on their way when the first frame has been
    // received, an ordinary user could not send that one on.
    let count = if geteuid().is_root() { 900 } else { 253 + 247 };
    let (source, things) = source(count);
    let (ended, destination) = transfer(&source, Setup::default(), 300, 300);
    succeeded(&ended);
    assert!(held(&destination) == things);
    assert!(held(&source) == things);
}

#[test]
fn what_others_have_on_their_way_is_no_obstacle_below_the_hard_limit() {
    // The kernel lets an ordinary user send no descriptors while all processes of that user have
    // more on their way than the soft limit of the sender. Root may always, so as root this shows
    // nothing.
    let (source, things) = source(1);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let file = memfd();
    for _ in 0..8 {
        wire::send(&ours, b"x", &[file.as_fd(); 250]).unwrap();
    }
    let destination = Daemon::start(Generation::S6_2_15);
    let mut command = through_shell("ulimit -Sn 1000 &&", "", &source.path, &destination.path);
    succeeded(&run(&mut command));
    assert!(held(&destination) == things);
}

#[test]
fn nineteen_thousand_descriptors_go_through_a_limit_of_1024() {
    let open_files = make_room().min(20_000);
    let count = open_files.saturating_sub(1000).min(19_000);
    assert!(count >= 3000, "raise the hard limit on open files: {open_files} is too low");
    let setup = Setup { maxfds: count + 500, open_files: Some(open_files), ..Setup::default() };
    let source = Daemon::start_with(Generation::S6_2_15, setup);
    // With identifiers of this length, six frames or so are on their way at a time, which an
    // ordinary user may have under a somewhat higher limit. Longer ones the daemon cannot send in
    // one piece each, and it repeats a frame that had to wait for its second half.
    let limit = if geteuid().is_root() { 1024 } else { open_files.min(4096) };
    // So many are open in the daemons only, never here.
    let mut things = Vec::new();
    let make = |number| {
        let held = Held { id: format!("{number:0>110}").into_bytes(), ..thing(number) };
        things.push(held.identity());
        held
    };
    wire::set_each(&source.path, count, (0..count).map(make)).unwrap();
    things.sort();

    let (ended, destination) = transfer(&source, setup, limit, limit);
    succeeded(&ended);
    for daemon in [&destination, &source] {
        let mut found = Vec::new();
        wire::get_each(&daemon.path, |held| found.push(held.identity())).unwrap();
        found.sort();
        assert_eq!(found.len(), count);
        assert!(found == things, "something else under some identifier");
    }
}

/// The numbers of the descriptors that a program started here has from the start.
pub fn inherited() -> Vec<usize> {
    // The one that the shell has open while it reads the folder is gone when it looks again.
    let look = "cd /proc/$$/fd && for fd in *; do if [ -h $fd ]; then echo $fd; fi; done";
    let ended = run(Command::new("sh").arg("-c").arg(look));
    let numbers = String::from_utf8(ended.out).unwrap();
    numbers.lines().map(|number| number.parse().unwrap()).collect()
}

/// Transfers so many descriptors under some limits. Each transfer must succeed if there is room
/// for two connections and a frame; else it must leave the destination alone and name the limit
/// that will do.
fn every_limit_will_do_or_is_named(count: usize, limits: impl Iterator<Item = usize>) {
    let (source, things) = source(count);
    let inherited = inherited();
    for hard in limits {
        let open = inherited.iter().filter(|number| **number < hard).count();
        let needed = open + 2 + count.min(wire::FRAME_ENTRIES);
        let (ended, destination) = transfer(&source, Setup::default(), hard, hard);
        if hard >= needed {
            succeeded(&ended);
            assert!(held(&destination) == things, "limit {hard}");
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

/// Limits around which it is decided how much there is room for.
fn around() -> impl Iterator<Item = usize> {
    (5..=20).chain(253..=265).chain(506..=518)
}

#[test]
fn one_descriptor_ends_well_or_clearly_under_every_limit() {
    every_limit_will_do_or_is_named(1, around());
}

#[test]
fn a_full_frame_ends_well_or_clearly_under_every_limit() {
    every_limit_will_do_or_is_named(253, around());
}

#[test]
fn one_more_than_a_frame_ends_well_or_clearly_under_every_limit() {
    every_limit_will_do_or_is_named(254, around());
}

#[test]
fn two_full_frames_end_well_or_clearly_under_every_limit() {
    every_limit_will_do_or_is_named(506, around());
}

#[test]
fn a_limit_that_leaves_no_room_for_both_connections_is_named_as_well() {
    for count in [1, 253, 506] {
        every_limit_will_do_or_is_named(count, 3..=4);
    }
}

/// Each of the ways to close some of the descriptors 0, 1 and 2, and whether 2 is among them.
pub fn closed() -> impl Iterator<Item = (String, bool)> {
    (1..8).map(|set| {
        let each = ["<&-", ">&-", "2>&-"].into_iter().zip([1, 2, 4]);
        let text: Vec<_> = each.filter(|(_, bit)| set & bit != 0).map(|(text, _)| text).collect();
        (text.join(" "), set & 4 != 0)
    })
}

#[test]
fn a_transfer_works_with_closed_standard_descriptors() {
    let (source, things) = source(300);
    for (redirections, _) in closed() {
        let destination = Daemon::start(Generation::S6_2_15);
        let mut command = through_shell("", &redirections, &source.path, &destination.path);
        succeeded(&run(&mut command));
        assert!(held(&destination) == things, "{redirections}");
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

/// Checks that the other side sends nothing more and hangs up.
fn ends(mut stream: &UnixStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

#[test]
fn a_message_never_goes_into_a_connection_or_a_descriptor_that_took_the_place_of_stderr() {
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
                // One frame, one entry, and here it is.
                wire::send_frame(&source, &[0, 0, 0, 0, 1, 0, 0, 0, 1], &[]).unwrap();
                let entry = wire::entry(b"it", wire::expiry_in(SOON));
                wire::send_frame(&source, &entry, &[file.as_fd()]).unwrap();
                let destination = accept(&destination);
                assert_eq!(wire::receive_frame(&destination).unwrap().0, b"!\0\0\0\x01");
                wire::send_frame(&destination, &[EPERM], &[]).unwrap();
                ends(&destination);
            }
            ends(&source);
            let ended = tool.wait();
            // A connection made ahead of time may be there; it has ended, and nothing came of it.
            destination.set_nonblocking(true).unwrap();
            if let Ok((early, _)) = destination.accept() {
                ends(&early);
            }
            assert_eq!(rustix::fs::fstat(&file).unwrap().st_size, 0, "{redirections}");
            assert_eq!(ended.code, if source_denies { 1 } else { 2 }, "{redirections}");
            assert_eq!(ended.err.is_empty(), silent, "{redirections}: {}", ended.err);
            assert!(ended.out.is_empty(), "{redirections}");
        }
    }
}
