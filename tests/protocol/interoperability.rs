//! Transfers between real daemons, those of three generations of s6 and ours, as they pass each
//! other's dumps on in an upgrade.

use crate::kit::daemon::{Daemon, GETDUMP, Generation, LIST, RETRIEVE, SETDUMP, STORE, Setup};
use crate::kit::tool::{Ended, run, tool};
use crate::kit::wire::{self, Held, Identity, identities};
use crate::kit::{make_room, memfd};
use Generation::{Ours, S6_2_11, S6_2_13, S6_2_15};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use temp_dir::TempDir;

/// How many descriptors to transfer: none, one, and each side of where a frame ends.
const COUNTS: [usize; 6] = [0, 1, 253, 254, 506, 900];

/// The most that a daemon of s6 2.11 can send.
const MOST_OF_2_11: usize = 253;

/// Identifiers of every kind that a daemon takes.
fn id(number: usize) -> Vec<u8> {
    match number % 6 {
        // One byte, whichever it is. These are the first ones only, for there are 255.
        0 if number < 6 * 200 => vec![1 + (number / 6) as u8],
        1 => format!("{number:0>255}").into_bytes(),
        2 => format!("two  spaces, and one behind {number} ").into_bytes(),
        3 => format!("\n{number}\n\tlines\r\n").into_bytes(),
        4 => [&[0xff, 0xfe, 0xc3, 0x28, 0x80], number.to_string().as_bytes()].concat(),
        _ => format!("unix:/run/service-{number}/s").into_bytes(),
    }
}

/// Expiries of every kind. No two are equal: that corrupts the table of the C daemons.
fn expiry(number: usize) -> [u8; 12] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let nanoseconds = (number as u32 * 1_000_003 + 1) % 1_000_000_000;
    let span = if number % 3 == 0 { 1 << 61 } else { 3600 };
    wire::label((1 << 62) + 37 + now + span + number as u64, nanoseconds)
}

/// That many things to hold, each of them a file of its own.
fn things(count: usize) -> Vec<Held> {
    make_room();
    (0..count).map(|number| Held::new(id(number), expiry(number), memfd())).collect()
}

/// Transfers from one to the other.
fn transfer(from: &Path, to: &Path) -> Ended {
    run(tool("s6-fdholder-transferdump").arg(from).arg(to))
}

/// Checks that it went well, of which nothing is said.
fn succeeded(ended: &Ended) {
    assert_eq!((ended.code, &ended.err[..], &ended.out[..]), (0, "", &b""[..]));
}

/// Checks that a daemon holds exactly these.
fn assert_holds(daemon: &Daemon, expected: &[Identity]) {
    let mut expected = expected.to_vec();
    if daemon.generation == S6_2_11 && expected.len() > MOST_OF_2_11 {
        // It cannot be asked for so large a dump. So each is retrieved, which leaves the expiries
        // open, and of these are seen as many as can be dumped when the others are deleted.
        let stream = UnixStream::connect(&daemon.path).unwrap();
        let mut ids = wire::list(&stream).unwrap();
        ids.sort();
        assert!(ids.iter().eq(expected.iter().map(|(id, ..)| id)), "other identifiers");
        for (id, _, inode) in &expected {
            assert_eq!(wire::inode(wire::retrieve(&stream, id).unwrap()), *inode);
        }
        // Every so many stays, so that there are some of every frame.
        let step = ids.len().div_ceil(MOST_OF_2_11);
        let mut at = 0..;
        expected.retain(|(id, ..)| {
            let stays = at.next().unwrap() % step == 0;
            if !stays {
                wire::delete(&stream, id).unwrap();
            }
            stays
        });
    }
    let found = identities(&wire::get_dump(&daemon.path).unwrap());
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "something else under some identifier");
}

/// Transfers every number of descriptors from one generation to another.
fn all_arrives(from: Generation, to: Generation) {
    for count in COUNTS {
        let (source, destination) = (Daemon::start(from), Daemon::start(to));
        let things = things(count);
        wire::set_dump(&source.path, &things).unwrap();
        let expected = identities(&things);
        drop(things);
        let ended = transfer(&source.path, &destination.path);
        if from == S6_2_11 && count > MOST_OF_2_11 {
            // The kernel refuses to send so large a frame, and the daemon hangs up.
            assert_eq!(ended.code, 1, "{count}: {}", ended.err);
            let begin = "s6-fdholder-transferdump: fatal: unable to get dump from the source";
            assert!(ended.err.starts_with(begin), "{}", ended.err);
            assert_eq!(ended.err.find('\n'), Some(ended.err.len() - 1), "{}", ended.err);
            assert_holds(&destination, &[]);
            continue;
        }
        succeeded(&ended);
        assert_holds(&destination, &expected);
        assert_holds(&source, &expected);
    }
}

/// Makes tests out of pairs of daemons: everything arrives from the first in the second.
macro_rules! everything_arrives {
    ($($name:ident $from:ident $to:ident)*) => { $(
        #[test]
        fn $name() {
            all_arrives(Generation::$from, Generation::$to);
        }
    )* };
}

everything_arrives! {
    everything_arrives_from_2_11_in_2_11 S6_2_11 S6_2_11
    everything_arrives_from_2_11_in_2_13 S6_2_11 S6_2_13
    everything_arrives_from_2_11_in_2_15 S6_2_11 S6_2_15
    everything_arrives_from_2_11_in_ours S6_2_11 Ours
    everything_arrives_from_2_13_in_2_11 S6_2_13 S6_2_11
    everything_arrives_from_2_13_in_2_13 S6_2_13 S6_2_13
    everything_arrives_from_2_13_in_2_15 S6_2_13 S6_2_15
    everything_arrives_from_2_13_in_ours S6_2_13 Ours
    everything_arrives_from_2_15_in_2_11 S6_2_15 S6_2_11
    everything_arrives_from_2_15_in_2_13 S6_2_15 S6_2_13
    everything_arrives_from_2_15_in_2_15 S6_2_15 S6_2_15
    everything_arrives_from_2_15_in_ours S6_2_15 Ours
    everything_arrives_from_ours_in_2_11 Ours S6_2_11
    everything_arrives_from_ours_in_2_13 Ours S6_2_13
    everything_arrives_from_ours_in_2_15 Ours S6_2_15
    everything_arrives_from_ours_in_ours Ours Ours
}

#[test]
fn what_the_destination_held_stays_and_equal_identifiers_are_replaced() {
    for generation in Generation::DAEMONS {
        let (source, destination) = (Daemon::start(generation), Daemon::start(generation));
        // The last 20 that the destination holds are the source's first ones.
        let old = things(120);
        wire::set_dump(&destination.path, &old).unwrap();
        let new: Vec<_> = (100..200).map(|n| Held::new(id(n), expiry(1000 + n), memfd())).collect();
        wire::set_dump(&source.path, &new).unwrap();

        succeeded(&transfer(&source.path, &destination.path));
        let mut expected = [identities(&old[..100]), identities(&new)].concat();
        expected.sort();
        assert_holds(&destination, &expected);
        assert_holds(&source, &identities(&new));
    }
}

#[test]
fn a_second_transfer_changes_nothing() {
    for generation in Generation::DAEMONS {
        let (source, destination) = (Daemon::start(generation), Daemon::start(generation));
        let things = things(MOST_OF_2_11);
        wire::set_dump(&source.path, &things).unwrap();
        for _ in 0..2 {
            succeeded(&transfer(&source.path, &destination.path));
        }
        assert_holds(&destination, &identities(&things));
    }
}

#[test]
fn a_transfer_from_a_daemon_into_itself_changes_nothing() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let count = if generation == S6_2_11 { MOST_OF_2_11 } else { 400 };
        let things = things(count);
        wire::set_dump(&daemon.path, &things).unwrap();
        succeeded(&transfer(&daemon.path, &daemon.path));
        assert_holds(&daemon, &identities(&things));
    }
}

#[test]
fn a_listening_socket_still_accepts_when_the_daemon_it_came_from_is_gone() {
    let ways = [(S6_2_11, S6_2_15), (S6_2_13, S6_2_11), (S6_2_15, Ours), (Ours, S6_2_13)];
    for (from, to) in ways {
        let (source, destination) = (Daemon::start(from), Daemon::start(to));
        let dir = TempDir::new().unwrap();
        let path = dir.child("service");
        let listener = UnixListener::bind(&path).unwrap();
        let held = Held::new("service", wire::never(), &listener);
        wire::set_dump(&source.path, &[held]).unwrap();
        drop(listener);
        succeeded(&transfer(&source.path, &destination.path));
        drop(source);

        // The connection is made before anybody but the daemon has the socket.
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        let stream = UnixStream::connect(&destination.path).unwrap();
        let listener = UnixListener::from(wire::retrieve(&stream, b"service").unwrap());
        let mut heard = String::new();
        listener.accept().unwrap().0.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello");
    }
}

#[test]
fn a_descriptor_that_has_expired_on_the_way_does_not_stay() {
    for to in Generation::DAEMONS {
        let (source, destination) = (Daemon::start(S6_2_15), Daemon::start(to));
        let soon = wire::expiry_in(Duration::from_millis(300));
        let (mut writer, file) = UnixStream::pair().unwrap();
        let short = Held::new("short", soon, OwnedFd::from(file));
        let long = Held::new("long", wire::never(), memfd());
        wire::set_dump(&source.path, &[short, long]).unwrap();
        succeeded(&transfer(&source.path, &destination.path));
        // The last copy of the other end is closed when both daemons have forgotten it.
        writer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(writer.read_to_end(&mut Vec::new()).unwrap(), 0);
        let stream = UnixStream::connect(&destination.path).unwrap();
        assert_eq!(wire::list(&stream).unwrap(), [b"long"]);
    }
}

#[test]
fn the_c_clients_see_what_was_transferred() {
    for to in Generation::DAEMONS {
        let (mut things, texts) = (things(60), ["one", "two", "three"]);
        for (text, held) in texts.iter().zip(&mut things) {
            let mut file = File::from(memfd());
            file.write_all(text.as_bytes()).unwrap();
            file.rewind().unwrap();
            held.fd = file.into();
        }
        let (source, destination) = (Daemon::start(S6_2_15), Daemon::start(to));
        wire::set_dump(&source.path, &things).unwrap();
        succeeded(&transfer(&source.path, &destination.path));

        let mut expected: Vec<_> = things.iter().map(|held| quoted(&held.id)).collect();
        expected.sort();
        for (client, at) in Generation::ALL.into_iter().zip(0..) {
            let listed = run(&mut destination.client(client, "s6-fdholder-list"));
            assert_eq!((listed.code, &listed.err[..]), (0, ""));
            let listed = String::from_utf8(listed.out).unwrap();
            let mut lines: Vec<_> = listed.lines().collect();
            lines.sort();
            assert_eq!(lines, expected, "{client:?} of {to:?}");

            let mut retrieve = destination.client(client, "s6-fdholder-retrieve");
            let id = std::os::unix::ffi::OsStringExt::from_vec(things[at].id.clone());
            let retrieved = run(retrieve.arg::<std::ffi::OsString>(id).arg("cat"));
            assert_eq!((retrieved.code, &retrieved.err[..]), (0, ""));
            assert_eq!(String::from_utf8(retrieved.out).unwrap(), texts[at]);
        }
    }
}

/// An identifier as `s6-fdholder-list` prints it.
pub fn quoted(id: &[u8]) -> String {
    let mut text = String::new();
    for byte in id {
        match byte {
            7..=13 => text.extend(['\\', char::from(b"abtnvfr"[usize::from(byte - 7)])]),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\0x{byte:02x}")),
        }
    }
    text
}

/// What is printed when the daemon at `path` is to blame for a transfer that fails.
fn complaint(doing: &str, path: &Path, reason: &str) -> String {
    let path = path.display();
    format!(
        "s6-fdholder-transferdump: fatal: unable to {doing} fd-holder daemon at {path}: {reason}\n"
    )
}

const GET: &str = "get dump from the source";
const SET: &str = "set dump in the destination";

/// A transfer between two daemons set up like this must fail, with that code and a complaint
/// about one of them; and each holds what it held.
fn is_denied(source: Setup, destination: Setup, code: i32, reason: &str) {
    for generation in Generation::DAEMONS {
        let setups = [source, destination];
        let daemons = setups.map(|setup| Daemon::start_with(generation, setup));
        let may = |setup: Setup, right| setup.rights.is_some_and(|rights| rights.contains(&right));
        let given =
            [things(20), (500..505).map(|n| Held::new(id(n), expiry(n), memfd())).collect()];
        for at in 0..2 {
            if may(setups[at], SETDUMP) {
                wire::set_dump(&daemons[at].path, &given[at]).unwrap();
            }
        }
        let ended = transfer(&daemons[0].path, &daemons[1].path);
        let (doing, path) =
            if code == 1 { (GET, &daemons[0].path) } else { (SET, &daemons[1].path) };
        assert_eq!(ended.err, complaint(doing, path, reason), "{generation:?}");
        assert_eq!((ended.code, &ended.out[..]), (code, &b""[..]), "{generation:?}");
        for at in 0..2 {
            if may(setups[at], GETDUMP) {
                let held: &[_] = if may(setups[at], SETDUMP) { &given[at] } else { &[] };
                assert_holds(&daemons[at], &identities(held));
            }
        }
    }
}

#[test]
fn a_source_that_denies_the_dump_is_exit_1_and_names_the_right() {
    let source = Setup { rights: Some(&[SETDUMP, LIST, STORE, RETRIEVE]), ..Setup::default() };
    let reason = "Operation not permitted (the right S6_FDHOLDER_GETDUMP is missing)";
    is_denied(source, Setup::default(), 1, reason);
}

#[test]
fn a_destination_that_denies_the_dump_is_exit_2_and_names_the_right() {
    let destination = Setup { rights: Some(&[GETDUMP, LIST, STORE, RETRIEVE]), ..Setup::default() };
    let reason = "Operation not permitted (the right S6_FDHOLDER_SETDUMP is missing)";
    is_denied(Setup::default(), destination, 2, reason);
}

const NO_RULE: &str = "connection closed without an answer: is this user allowed to connect?";

#[test]
fn a_source_without_a_rule_for_this_user_is_exit_1() {
    is_denied(Setup { rights: None, ..Setup::default() }, Setup::default(), 1, NO_RULE);
}

#[test]
fn a_destination_without_a_rule_for_this_user_is_exit_2() {
    is_denied(Setup::default(), Setup { rights: None, ..Setup::default() }, 2, NO_RULE);
}

#[test]
fn two_daemons_that_deny_are_the_fault_of_the_source() {
    let neither = Setup { rights: Some(&[LIST]), ..Setup::default() };
    let reason = "Operation not permitted (the right S6_FDHOLDER_GETDUMP is missing)";
    is_denied(neither, neither, 1, reason);
}

#[test]
fn a_destination_that_is_full_is_exit_2_and_keeps_what_it_held() {
    let small = Setup { maxfds: 10, ..Setup::default() };
    is_denied(Setup::default(), small, 2, "Too many open files in system");
}
