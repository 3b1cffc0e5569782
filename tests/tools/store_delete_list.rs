//! The effects of store, delete and list.

use crate::kit::clients::Implementation::{self, Ours};
use crate::kit::clients::{hold, quoted, succeeded};
use crate::kit::daemon::{Daemon, Setup};
use crate::kit::tool::run;
use crate::kit::wire::{self, expiry_in, inode};
use crate::kit::{memfd, raise_open_file_limit, random_cases};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

for_each_implementation! {
any_descriptor_can_be_stored
an_expiry_is_exactly_the_timeout_after_now
a_descriptor_is_removed_when_it_has_expired
delete_closes_its_descriptor_and_no_other
every_byte_of_an_identifier_is_quoted
random_identifiers_can_be_read_back_from_the_list
a_list_may_be_empty_or_long
a_list_that_cannot_be_written_is_exit_111
}

/// A store command that has the descriptor at this number. An empty number stands for standard input without
/// option `-d`.
fn store(of: Implementation, number: &str, fd: OwnedFd) -> Command {
    let mut command = match number {
        "" | "0" => of.command("store"),
        number => of.moved(number, "store"),
    };
    command.stdin(fd);
    if !number.is_empty() {
        command.args(["-d", number]);
    }
    command
}

fn any_descriptor_can_be_stored(of: Implementation) {
    for daemon in of.daemons(Setup::default()) {
        let (_peer, socket) = UnixStream::pair().unwrap();
        let kinds: [OwnedFd; 4] =
            [memfd(), socket.into(), memfd(), File::open("/").unwrap().into()];
        let mut expected = Vec::new();
        for (number, fd) in ["", "0", "5", "200"].into_iter().zip(kinds) {
            let id = format!("from {number}");
            expected.push((id.clone().into_bytes(), inode(&fd)));
            let mut command = store(of, number, fd);
            succeeded(&run(command.arg(&daemon.path).arg(id)));
        }
        // Numbers that the connection of the tool would have otherwise.
        for number in ["3", "4", "6", "7"] {
            let (id, fd) = (format!("from {number}"), memfd());
            expected.push((id.clone().into_bytes(), inode(&fd)));
            let mut command = store(of, number, fd);
            succeeded(&run(command.arg(&daemon.path).arg(id)));
        }
        let found = wire::get_dump(&daemon.path).unwrap();
        let mut found: Vec<_> = found.iter().map(|h| (h.id.clone(), inode(&h.fd))).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{of:?} {:?}", daemon.generation);
    }
}

/// The TAI64N label of the current moment.
fn now() -> [u8; 12] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    wire::label((1 << 62) + 37 + now.as_secs(), now.subsec_nanos())
}

fn an_expiry_is_exactly_the_timeout_after_now(of: Implementation) {
    // The last option counts, and 0 means that the entry never expires.
    let mut rows: Vec<(&[&str], Option<u64>)> = vec![
        (&[], None),
        (&["-T0"], None),
        (&["-T", "90001"], Some(90_001)),
        (&["-T999999"], Some(999_999)),
        (&["-T2147483647"], Some(2_147_483_647)),
        (&["-T5", "-T", "70000"], Some(70_000)),
        (&["-T5", "-T0"], None),
        (&["-t", "5000", "-T", "60500"], Some(60_500)),
    ];
    if of == Ours {
        // C reads numbers from 2^31 on as negative.
        rows.push((&["-T2147483648"], Some(2_147_483_648)));
        rows.push((&["-T4294967295"], Some(4_294_967_295)));
    }
    for daemon in of.daemons(Setup::default()) {
        let mut expected = BTreeMap::new();
        for (number, (options, span)) in rows.iter().enumerate() {
            let id = format!("{number}");
            let span = span.map(Duration::from_millis);
            let before = span.map(expiry_in);
            let mut command = of.command("store");
            succeeded(&run(command.args(*options).arg(&daemon.path).arg(&id)));
            expected.insert(id.into_bytes(), (options, before, span.map(expiry_in)));
        }
        let never = expiry_in(Duration::from_secs(1 << 60));
        let found = wire::get_dump(&daemon.path).unwrap();
        assert_eq!(found.len(), rows.len());
        for held in found {
            let (options, before, after) = expected[&held.id];
            let right = match (before, after) {
                (Some(before), Some(after)) => (before..=after).contains(&held.expiry),
                _ => held.expiry > never,
            };
            assert!(right, "{of:?} {options:?}: {:?} at {:?}", held.expiry, now());
        }
    }
}

fn a_descriptor_is_removed_when_it_has_expired(of: Implementation) {
    for daemon in of.daemons(Setup::default()) {
        let (mut writer, file) = UnixStream::pair().unwrap();
        let mut command = of.command("store");
        command.stdin(OwnedFd::from(file)).args(["-T", "200"]).arg(&daemon.path).arg("short");
        succeeded(&run(&mut command));
        // The command has a copy of the descriptor.
        drop(command);
        writer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(writer.read_to_end(&mut Vec::new()).unwrap(), 0);
        let stream = UnixStream::connect(&daemon.path).unwrap();
        assert!(wire::list(&stream).unwrap().is_empty());
    }
}

fn delete_closes_its_descriptor_and_no_other(of: Implementation) {
    let ids = [&b"a"[..], b"-x", b"two  words ", b"\n", b"\xff\xfe", &[b'y'; 255], b"ab"];
    for daemon in of.daemons(Setup::default()) {
        let sockets: Vec<_> = ids.iter().map(|_| UnixStream::pair().unwrap()).collect();
        let (mut all, mut peers) = (hold(ids), Vec::new());
        for (held, (peer, socket)) in all.iter_mut().zip(sockets) {
            held.fd = socket.into();
            peers.push(peer);
        }
        wire::set_dump(&daemon.path, &all).unwrap();
        for mut peer in peers {
            let gone = all.remove(0);
            let mut command = of.command("delete");
            let id = OsString::from_vec(gone.id.clone());
            let ended = run(command.arg(&daemon.path).arg(id).args(["ignored", "-x"]));
            succeeded(&ended);
            drop(gone);
            peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            assert_eq!(peer.read_to_end(&mut Vec::new()).unwrap(), 0, "it is still open");
            let found = wire::identities(&wire::get_dump(&daemon.path).unwrap());
            assert_eq!(found, wire::identities(&all));
        }
    }
}

/// The lines that list prints for a daemon, sorted.
fn list(of: Implementation, daemon: &Daemon) -> Vec<String> {
    let ended = run(of.command("list").arg(&daemon.path));
    succeeded(&ended);
    let out = String::from_utf8(ended.out).expect("a list is ASCII");
    assert!(out.is_empty() || out.ends_with('\n'));
    let mut lines: Vec<_> = out.lines().map(str::to_string).collect();
    lines.sort();
    lines
}

fn every_byte_of_an_identifier_is_quoted(of: Implementation) {
    // Each byte alone, and between digits, which must not look like a part of an escape sequence.
    let ids: Vec<_> = (1..=255).flat_map(|byte| [vec![byte], vec![b'0', byte, b'1']]).collect();
    let all = hold(&ids);
    for daemon in of.daemons(Setup::default()) {
        wire::set_dump(&daemon.path, &all).unwrap();
        let mut expected: Vec<_> = ids.iter().map(|id| quoted(id)).collect();
        expected.sort();
        assert_eq!(list(of, &daemon), expected, "{of:?}");
    }
}

/// The identifier that a line of the list stands for.
fn unquoted(line: &str) -> Vec<u8> {
    let (mut id, mut rest) = (Vec::new(), line.as_bytes());
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte != b'\\' {
            id.push(*byte);
            continue;
        }
        let (letter, behind) = rest.split_first().expect("something behind a backslash");
        rest = behind;
        match b"abtnvfr".iter().position(|known| known == letter) {
            Some(at) => id.push(7 + at as u8),
            None if *letter == b'\\' => id.push(b'\\'),
            None => {
                let digits = std::str::from_utf8(&rest[1..3]).unwrap();
                assert_eq!((*letter, rest[0]), (b'0', b'x'), "{line}");
                id.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &rest[3..];
            }
        }
    }
    id
}

fn random_identifiers_can_be_read_back_from_the_list(of: Implementation) {
    let id = prop::collection::vec(1..=255u8, 1..=255);
    let ids = prop::collection::btree_set(id, 1..40);
    let config = random_cases(24);
    for daemon in of.daemons(Setup::default()) {
        let stream = UnixStream::connect(&daemon.path).unwrap();
        TestRunner::new(config.clone())
            .run(&ids, |ids| {
                wire::set_dump(&daemon.path, &hold(&ids)).unwrap();
                let listed = list(of, &daemon);
                let read: BTreeSet<_> = listed.iter().map(|line| unquoted(line)).collect();
                ids.iter().for_each(|id| wire::delete(&stream, id).unwrap());
                prop_assert_eq!(listed.len(), ids.len());
                prop_assert!(read == ids, "{:?} is not {:?}", read, ids);
                Ok(())
            })
            .unwrap();
    }
}

/// Stores a thousand entries with the longest identifiers, and returns the identifiers.
fn store_a_thousand(daemon: &Daemon) -> Vec<String> {
    let ids: Vec<_> = (0..1000).map(|number| format!("{number:0>255}")).collect();
    raise_open_file_limit();
    wire::set_dump(&daemon.path, &hold(&ids)).unwrap();
    ids
}

fn a_list_may_be_empty_or_long(of: Implementation) {
    for daemon in of.daemons(Setup::default()) {
        assert_eq!(list(of, &daemon), [""; 0]);
        let ids = store_a_thousand(&daemon);
        assert!(list(of, &daemon) == ids, "{of:?}");
    }
}

fn a_list_that_cannot_be_written_is_exit_111(of: Implementation) {
    // The messages of C differ, and depend on the length of the list.
    let begin = match of {
        Ours => "s6-fdholder-list: fatal: unable to write to standard output: ",
        Implementation::C(_) => "s6-fdholder-list: fatal: unable to ",
    };
    for many in [false, true] {
        for daemon in of.daemons(Setup::default()) {
            if many {
                store_a_thousand(&daemon);
            } else {
                wire::set_dump(&daemon.path, &hold([format!("{:0>255}", 0)])).unwrap();
            }
            let mut command = of.command("list");
            let full = Stdio::from(File::create("/dev/full").unwrap());
            let output = command.arg(&daemon.path).stdout(full).output().unwrap();
            let err = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(111), "a thousand: {many}, {err}");
            let end = ": No space left on device\n";
            assert!(err.starts_with(begin) && err.ends_with(end), "{err}");
        }
    }
}
