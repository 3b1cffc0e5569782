//! Transfers between real daemons of three generations of s6 and ours. An upgrade transfers descriptors
//! from one of them to another.

use crate::kit::clients::quoted;
use crate::kit::daemon::{Daemon, GETDUMP, Generation, LIST, RETRIEVE, SETDUMP, STORE, Setup};
use crate::kit::tool::{Ended, run, tool};
use crate::kit::wire::{self, Held, Identity, identities};
use crate::kit::{memfd, raise_open_file_limit};
use Generation::{Ours, S6_2_11, S6_2_13, S6_2_15};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use temp_dir::TempDir;

/// The numbers of descriptors to transfer: none, one, and numbers around the size of a frame (253).
const COUNTS: [usize; 6] = [0, 1, 253, 254, 506, 900];

/// The largest dump that a daemon of s6 2.11 can send.
const MOST_OF_2_11: usize = 253;

/// Identifiers of every kind that a daemon accepts.
fn id(number: usize) -> Vec<u8> {
    match number % 6 {
        // One byte of any value. Only 255 such identifiers exist, so larger numbers take the last arm.
        0 if number < 6 * 200 => vec![1 + (number / 6) as u8],
        1 => format!("{number:0>255}").into_bytes(),
        2 => format!("two  spaces, and one behind {number} ").into_bytes(),
        3 => format!("\n{number}\n\tlines\r\n").into_bytes(),
        4 => [&[0xff, 0xfe, 0xc3, 0x28, 0x80], number.to_string().as_bytes()].concat(),
        _ => format!("unix:/run/service-{number}/s").into_bytes(),
    }
}

/// Expiries of every kind. No two are equal, because equal expiries corrupt the table of the C daemons.
fn expiry(number: usize) -> [u8; 12] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let nanoseconds = (number as u32 * 1_000_003 + 1) % 1_000_000_000;
    let span = if number % 3 == 0 { 1 << 61 } else { 3600 };
    wire::label((1 << 62) + 37 + now + span + number as u64, nanoseconds)
}

/// `count` entries to hold, each with a file of its own.
fn various_entries(count: usize) -> Vec<Held> {
    raise_open_file_limit();
    (0..count).map(|number| Held::new(id(number), expiry(number), memfd())).collect()
}

/// Transfers all descriptors from one daemon to the other.
fn transfer(from: &Path, to: &Path) -> Ended {
    run(tool("s6-fdholder-transferdump").arg(from).arg(to))
}

/// Checks that a tool succeeded and printed nothing.
fn succeeded(ended: &Ended) {
    assert_eq!((ended.code, &ended.err[..], &ended.out[..]), (0, "", &b""[..]));
}

/// Checks that a daemon holds exactly the expected entries.
fn assert_holds(daemon: &Daemon, expected: &[Identity]) {
    let mut expected = expected.to_vec();
    if daemon.generation == S6_2_11 && expected.len() > MOST_OF_2_11 {
        // This daemon cannot send so large a dump. Each descriptor is retrieved instead, which does
        // not show its expiry. Then most entries are deleted, and a dump shows the expiries of the
        // rest.
        let stream = UnixStream::connect(&daemon.path).unwrap();
        let mut ids = wire::list(&stream).unwrap();
        ids.sort();
        assert!(ids.iter().eq(expected.iter().map(|(id, ..)| id)), "the identifiers differ");
        for (id, _, inode) in &expected {
            assert_eq!(wire::inode(wire::retrieve(&stream, id).unwrap()), *inode);
        }
        // Entry 0, `step`, 2 * `step`, ... stay, so that the rest has entries of every frame.
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
    assert!(found == expected, "an expiry or a descriptor differs");
}

/// Transfers each number of descriptors of [`COUNTS`] from one generation to another.
fn transfer_each_count(from: Generation, to: Generation) {
    for count in COUNTS {
        let (source, destination) = (Daemon::start(from), Daemon::start(to));
        let entries = various_entries(count);
        wire::set_dump(&source.path, &entries).unwrap();
        let expected = identities(&entries);
        drop(entries);
        let ended = transfer(&source.path, &destination.path);
        if from == S6_2_11 && count > MOST_OF_2_11 {
            // The kernel refuses to send so large a frame, and the daemon disconnects.
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

/// Makes a test of each pair of daemons: all entries of the first arrive in the second.
macro_rules! everything_arrives {
    ($($name:ident $from:ident $to:ident)*) => { $(
        #[test]
        fn $name() {
            transfer_each_count(Generation::$from, Generation::$to);
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
fn the_destination_keeps_its_entries_except_those_with_equal_identifiers() {
    for generation in Generation::DAEMONS {
        let (source, destination) = (Daemon::start(generation), Daemon::start(generation));
        // The last 20 identifiers of the destination are the first 20 of the source.
        let old = various_entries(120);
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
        let entries = various_entries(MOST_OF_2_11);
        wire::set_dump(&source.path, &entries).unwrap();
        for _ in 0..2 {
            succeeded(&transfer(&source.path, &destination.path));
        }
        assert_holds(&destination, &identities(&entries));
    }
}

#[test]
fn a_transfer_from_a_daemon_into_itself_changes_nothing() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let count = if generation == S6_2_11 { MOST_OF_2_11 } else { 400 };
        let entries = various_entries(count);
        wire::set_dump(&daemon.path, &entries).unwrap();
        succeeded(&transfer(&daemon.path, &daemon.path));
        assert_holds(&daemon, &identities(&entries));
    }
}

#[test]
fn a_transferred_listening_socket_still_accepts_after_the_source_has_ended() {
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

        // The client connects while only the destination holds the socket.
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
fn an_entry_that_expires_after_the_transfer_is_removed_in_the_destination() {
    for to in Generation::DAEMONS {
        let (source, destination) = (Daemon::start(S6_2_15), Daemon::start(to));
        let soon = wire::expiry_in(Duration::from_millis(300));
        let (mut writer, file) = UnixStream::pair().unwrap();
        let short = Held::new("short", soon, OwnedFd::from(file));
        let long = Held::new("long", wire::never(), memfd());
        wire::set_dump(&source.path, &[short, long]).unwrap();
        succeeded(&transfer(&source.path, &destination.path));
        // The read returns when both daemons have closed their copies of the other end.
        writer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(writer.read_to_end(&mut Vec::new()).unwrap(), 0);
        let stream = UnixStream::connect(&destination.path).unwrap();
        assert_eq!(wire::list(&stream).unwrap(), [b"long"]);
    }
}

#[test]
fn c_clients_list_and_retrieve_transferred_entries() {
    for to in Generation::DAEMONS {
        let (mut entries, texts) = (various_entries(60), ["one", "two", "three"]);
        for (text, held) in texts.iter().zip(&mut entries) {
            let mut file = File::from(memfd());
            file.write_all(text.as_bytes()).unwrap();
            file.rewind().unwrap();
            held.fd = file.into();
        }
        let (source, destination) = (Daemon::start(S6_2_15), Daemon::start(to));
        wire::set_dump(&source.path, &entries).unwrap();
        succeeded(&transfer(&source.path, &destination.path));

        let mut expected: Vec<_> = entries.iter().map(|held| quoted(&held.id)).collect();
        expected.sort();
        for (client, at) in Generation::ALL.into_iter().zip(0..) {
            let listed = run(&mut destination.client(client, "s6-fdholder-list"));
            assert_eq!((listed.code, &listed.err[..]), (0, ""));
            let listed = String::from_utf8(listed.out).unwrap();
            let mut lines: Vec<_> = listed.lines().collect();
            lines.sort();
            assert_eq!(lines, expected, "{client:?} of {to:?}");

            let mut retrieve = destination.client(client, "s6-fdholder-retrieve");
            let id = std::os::unix::ffi::OsStringExt::from_vec(entries[at].id.clone());
            let retrieved = run(retrieve.arg::<std::ffi::OsString>(id).arg("cat"));
            assert_eq!((retrieved.code, &retrieved.err[..]), (0, ""));
            assert_eq!(String::from_utf8(retrieved.out).unwrap(), texts[at]);
        }
    }
}

/// The message of a transfer that fails because of the daemon at `path`.
fn message(doing: &str, path: &Path, reason: &str) -> String {
    let path = path.display();
    format!(
        "s6-fdholder-transferdump: fatal: unable to {doing} fd-holder daemon at {path}: {reason}\n"
    )
}

const GET: &str = "get dump from the source";
const SET: &str = "set dump in the destination";

/// Checks that a transfer between two daemons with these setups fails with that exit code and a message
/// that names one of them, and that both daemons hold the same as before.
fn assert_denied(source: Setup, destination: Setup, code: i32, reason: &str) {
    for generation in Generation::DAEMONS {
        let setups = [source, destination];
        let daemons = setups.map(|setup| Daemon::start_with(generation, setup));
        let may = |setup: Setup, right| setup.rights.is_some_and(|rights| rights.contains(&right));
        let given = [
            various_entries(20),
            (500..505).map(|n| Held::new(id(n), expiry(n), memfd())).collect(),
        ];
        for at in 0..2 {
            if may(setups[at], SETDUMP) {
                wire::set_dump(&daemons[at].path, &given[at]).unwrap();
            }
        }
        let ended = transfer(&daemons[0].path, &daemons[1].path);
        let (doing, path) =
            if code == 1 { (GET, &daemons[0].path) } else { (SET, &daemons[1].path) };
        assert_eq!(ended.err, message(doing, path, reason), "{generation:?}");
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
    assert_denied(source, Setup::default(), 1, reason);
}

#[test]
fn a_destination_that_denies_the_dump_is_exit_2_and_names_the_right() {
    let destination = Setup { rights: Some(&[GETDUMP, LIST, STORE, RETRIEVE]), ..Setup::default() };
    let reason = "Operation not permitted (the right S6_FDHOLDER_SETDUMP is missing)";
    assert_denied(Setup::default(), destination, 2, reason);
}

const NO_RULE: &str = "connection closed without an answer: is this user allowed to connect?";

#[test]
fn a_source_without_a_rule_for_this_user_is_exit_1() {
    assert_denied(Setup { rights: None, ..Setup::default() }, Setup::default(), 1, NO_RULE);
}

#[test]
fn a_destination_without_a_rule_for_this_user_is_exit_2() {
    assert_denied(Setup::default(), Setup { rights: None, ..Setup::default() }, 2, NO_RULE);
}

#[test]
fn when_both_daemons_deny_the_source_is_reported() {
    let neither = Setup { rights: Some(&[LIST]), ..Setup::default() };
    let reason = "Operation not permitted (the right S6_FDHOLDER_GETDUMP is missing)";
    assert_denied(neither, neither, 1, reason);
}

#[test]
fn a_destination_that_is_full_is_exit_2_and_keeps_what_it_held() {
    let small = Setup { maxfds: 10, ..Setup::default() };
    assert_denied(Setup::default(), small, 2, "Too many open files in system");
}
