//! setdump: the variables that it reads, its checks before it connects, and its frames. Also combinations of
//! tools from their documentation.

use crate::kit::clients::Implementation::{self, Ours};
use crate::kit::clients::{C, Differs, End, check, describe, hold, same_dump, succeeded};
use crate::kit::daemon::Generation::{S6_2_11, S6_2_13, S6_2_15};
use crate::kit::daemon::{Daemon, Generation, Setup};
use crate::kit::fake::{Fake, Step, opened, status};
use crate::kit::tool::{run, tool};
use crate::kit::wire::{self, Held, Identity, identities, inode, label};
use crate::kit::{memfd, raise_open_file_limit};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use temp_dir::TempDir;

for_each_implementation! {
    a_wrong_variable_is_named_with_exit_100
    a_wrong_variable_at_any_position_is_found_before_a_request
    descriptors_are_stored_as_the_variables_describe_them
    an_identifier_that_is_held_is_replaced
    getdump_and_setdump_transfer_a_dump
    a_held_listening_socket_survives_its_server
}

/// A variable, its value (`None` if unset), how setdump ends, and how C tools end differently.
type Case = (&'static str, Option<&'static str>, End, &'static [Differs]);

/// How C treats bytes behind a valid label.
const BEHIND: &[Differs] = &[(C, (0, ""), "C ignores what is behind the digits")];

/// The variables describe one entry. In each row, one variable has this value.
const ROWS: &[Case] = &[
    ("S6_FD#", None, (100, "S6_FD# not set"), &[]),
    ("S6_FD#", Some(""), (100, "invalid $S6_FD#"), &[]),
    ("S6_FD#", Some("x"), (100, "invalid $S6_FD#"), &[]),
    ("S6_FD#", Some("-1"), (100, "invalid $S6_FD#"), &[]),
    ("S6_FD#", Some("+1"), (100, "invalid $S6_FD#"), &[]),
    ("S6_FD#", Some(" 1"), (100, "invalid $S6_FD#"), &[]),
    ("S6_FD#", Some("1 "), (100, "invalid $S6_FD#"), &[]),
    ("S6_FD#", Some("0x1"), (100, "invalid $S6_FD#"), &[]),
    ("S6_FD#", Some("4294967296"), (100, "invalid $S6_FD#"), &[]),
    ("S6_FD#", Some("0"), (0, ""), &[]),
    ("S6_FD#", Some("01"), (0, ""), &[]),
    ("S6_FD#", Some("2"), (100, "S6_FD_1 not set"), &[]),
    (
        "S6_FD#",
        Some("4294967295"),
        // The message may name the number, or the first variable that is missing.
        (100, "*"),
        &[(C, (1011, ""), "C has all entries on its stack")],
    ),
    ("S6_FD_0", None, (100, "S6_FD_0 not set"), &[]),
    ("S6_FD_0", Some(""), (100, "invalid $S6_FD_0"), &[]),
    ("S6_FD_0", Some("x"), (100, "invalid $S6_FD_0"), &[]),
    ("S6_FD_0", Some("-1"), (100, "invalid $S6_FD_0"), &[]),
    ("S6_FD_0", Some("0 "), (100, "invalid $S6_FD_0"), &[]),
    ("S6_FD_0", Some("4294967296"), (100, "invalid $S6_FD_0"), &[]),
    ("S6_FD_0", Some("00"), (0, ""), &[]),
    (
        "S6_FD_0",
        Some("77"),
        (111, "unable to set dump: Bad file descriptor"),
        &[(
            C,
            (1, "unable to set dump: Bad file descriptor"),
            "no daemon has refused it, so ours is 111",
        )],
    ),
    (
        "S6_FD_0",
        Some("4294967295"),
        (111, "unable to set dump: Bad file descriptor"),
        &[
            (&[S6_2_11], (0, ""), "2.11 stores another descriptor"),
            (
                C,
                (1, "unable to set dump: Invalid argument"),
                "ours reports it like any closed number",
            ),
        ],
    ),
    ("S6_FDID_0", None, (100, "S6_FDID_0 not set"), &[]),
    ("S6_FDID_0", Some(""), (100, "invalid $S6_FDID_0"), &[]),
    ("S6_FDID_0", Some("LONG"), (100, "invalid $S6_FDID_0"), &[]),
    ("S6_FDID_0", Some(" "), (0, ""), &[]),
    ("S6_FDID_0", Some("a=b\n"), (0, ""), &[]),
    ("S6_FDLIMIT_0", Some(""), (100, "invalid $S6_FDLIMIT_0"), &[]),
    ("S6_FDLIMIT_0", Some("@"), (100, "invalid $S6_FDLIMIT_0"), &[]),
    ("S6_FDLIMIT_0", Some("400000007fffffff00000001"), (100, "invalid $S6_FDLIMIT_0"), &[]),
    ("S6_FDLIMIT_0", Some("@400000007fffffff0000000"), (100, "invalid $S6_FDLIMIT_0"), &[]),
    ("S6_FDLIMIT_0", Some("@400000007fffffff0000000g"), (100, "invalid $S6_FDLIMIT_0"), &[]),
    ("S6_FDLIMIT_0", Some("@400000007fffffff00000001 "), (100, "invalid $S6_FDLIMIT_0"), BEHIND),
    ("S6_FDLIMIT_0", Some("@400000007fffffff000000010"), (100, "invalid $S6_FDLIMIT_0"), BEHIND),
    ("S6_FDLIMIT_0", Some("@400000007fffffff00000001"), (0, ""), &[]),
    ("S6_FDLIMIT_0", Some("@400000007FFFFFFF00000001"), (0, ""), &[]),
    ("S6_FDLIMIT_0", None, (0, ""), &[]),
];

/// A setdump of one entry, with this value of one variable.
fn setdump(of: Implementation, variable: &str, value: Option<&str>) -> Command {
    let mut command = of.command("setdump");
    match value {
        None => command.env_remove(variable),
        Some("LONG") => command.env(variable, "x".repeat(256)),
        Some(value) => command.env(variable, value),
    };
    command
}

fn a_wrong_variable_is_named_with_exit_100(of: Implementation) {
    for daemon in of.daemons(Setup::default()) {
        for (variable, value, end, not) in ROWS {
            let ended = run(setdump(of, variable, *value).arg(&daemon.path));
            check(of, "setdump", &daemon.path, &ended, *end, not);
            let held = wire::get_dump(&daemon.path).unwrap();
            // Where C accepts the variables, it has stored an entry.
            assert!(of != Ours || ended.code == 0 || held.is_empty(), "{variable} {value:?}");
            let stream = UnixStream::connect(&daemon.path).unwrap();
            held.iter().for_each(|held| wire::delete(&stream, &held.id).unwrap());
        }
    }
}

#[test]
fn with_a_wrong_variable_setdump_does_not_connect() {
    for (variable, value, (code, _), _) in ROWS.iter().filter(|(_, _, (code, _), _)| *code != 0) {
        let fake = Fake::start(vec![]);
        let ended = run(setdump(Ours, variable, *value).arg(&fake.path));
        let connected = fake.seen().connected;
        assert_eq!((ended.code, connected), (*code, false), "{variable} {value:?} {}", ended.err);
    }
}

/// Sets variables that describe `count` entries, all with standard input as the descriptor.
fn describe_many(command: &mut Command, count: usize) {
    describe(command);
    command.env("S6_FD#", count.to_string());
    for at in 0..count {
        command.env(format!("S6_FD_{at}"), "0").env(format!("S6_FDID_{at}"), format!("id-{at}"));
        // Equal expiries would corrupt the table of a C daemon.
        command.env(format!("S6_FDLIMIT_{at}"), format!("@400000007fffffff{at:08x}"));
    }
}

fn a_wrong_variable_at_any_position_is_found_before_a_request(of: Implementation) {
    const COUNT: usize = 300;
    let wrongs = [
        ("S6_FD_", None, "S6_FD_AT not set"),
        ("S6_FD_", Some("x"), "invalid $S6_FD_AT"),
        ("S6_FDID_", None, "S6_FDID_AT not set"),
        ("S6_FDID_", Some(""), "invalid $S6_FDID_AT"),
        ("S6_FDLIMIT_", Some("@x"), "invalid $S6_FDLIMIT_AT"),
    ];
    for at in [0, 1, 99, 252, 253, COUNT - 1] {
        for (variable, value, text) in wrongs {
            let fake = Fake::start(vec![]);
            let mut command = of.command("setdump");
            describe_many(&mut command, COUNT);
            let name = format!("{variable}{at}");
            match value {
                None => command.env_remove(&name),
                Some(value) => command.env(&name, value),
            };
            let ended = run(command.arg(&fake.path));
            let seen = fake.seen();
            let text = text.replace("AT", &at.to_string());
            assert_eq!(ended.err, format!("s6-fdholder-setdump: fatal: {text}\n"), "{of:?}");
            assert_eq!((ended.code, &seen.bytes[..]), (100, &b""[..]), "{of:?} {name}");
            assert!(of != Ours || !seen.connected, "{name}");
        }
    }
}

#[test]
fn of_several_wrong_variables_one_is_named() {
    let fake = Fake::start(vec![]);
    let mut command = Ours.command("setdump");
    describe_many(&mut command, 3);
    command.env("S6_FD_0", "77").env("S6_FDID_1", "").env_remove("S6_FD_1");
    let ended = run(command.env("S6_FDLIMIT_2", "x").arg(&fake.path));
    assert!(!fake.seen().connected);
    let begin = "s6-fdholder-setdump: fatal: ";
    let text = ended.err.strip_prefix(begin).unwrap_or_else(|| panic!("{}", ended.err));
    let named = [
        (111, "unable to set dump: Bad file descriptor\n"),
        (100, "invalid $S6_FDID_1\n"),
        (100, "S6_FD_1 not set\n"),
        (100, "invalid $S6_FDLIMIT_2\n"),
    ];
    assert!(named.contains(&(ended.code, text)), "{} {text}", ended.code);
}

#[test]
fn a_dump_is_sent_in_frames_of_at_most_253() {
    let replies = |frames: usize| {
        let again = (0..frames.saturating_sub(1)).map(|_| status(11)).chain([status(0)]);
        let again = again.flat_map(|reply| [Step::Receive, Step::Send(reply, Vec::new())]);
        let opening = [Step::Receive, Step::Send(opened(frames as u32), Vec::new())];
        opening.into_iter().chain(again).collect()
    };
    for count in [1, 2, 253, 254, 506, 507, 900usize] {
        let fake = Fake::start(replies(count.div_ceil(253)));
        let mut command = Ours.command("setdump");
        describe_many(&mut command, count);
        succeeded(&run(command.arg(&fake.path)));
        let seen = fake.seen();
        assert_eq!(seen.files.len(), count);
        let mut bytes = &seen.bytes[..];
        let mut sizes = Vec::new();
        while !bytes.is_empty() {
            let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
            sizes.push(u16::from_be_bytes([bytes[4], bytes[5]]));
            bytes = &bytes[6 + length..];
        }
        assert_eq!(sizes.remove(0), 0, "the opening");
        assert!(sizes.iter().all(|size| (1..=253).contains(size)), "{sizes:?}");
        assert_eq!(sizes.iter().map(|size| usize::from(*size)).sum::<usize>(), count);
        assert_eq!(sizes.len(), count.div_ceil(253), "more frames than needed");
    }
}

#[test]
fn without_entries_setdump_connects_and_sends_nothing() {
    let fake = Fake::start(vec![]);
    let mut command = Ours.command("setdump");
    succeeded(&run(command.env("S6_FD#", "0").arg(&fake.path)));
    assert_eq!(fake.seen().bytes, b"");
    // A missing daemon is still an error.
    let ended = run(Ours.command("setdump").env("S6_FD#", "0").arg("/absent"));
    assert_eq!(ended.code, 111, "{}", ended.err);
}

fn descriptors_are_stored_as_the_variables_describe_them(of: Implementation) {
    let ids = [&b"plain"[..], b"\n", b"\xff\xfe =", b" ", &[b'z'; 255]];
    for daemon in of.daemons(Setup::default()) {
        for count in [0, 1, 5] {
            let file = memfd();
            let held = wire::get_dump(&daemon.path).unwrap();
            let stream = UnixStream::connect(&daemon.path).unwrap();
            held.iter().for_each(|held| wire::delete(&stream, &held.id).unwrap());
            let mut command = of.command("setdump");
            describe_many(&mut command, count);
            command.stdin(file.try_clone().unwrap());
            let mut expected = Vec::new();
            for (at, id) in ids.iter().enumerate().take(count) {
                command.env(format!("S6_FDID_{at}"), OsString::from_vec(id.to_vec()));
                let expiry = label((1 << 62) + 0x7fff_ffff, at as u32);
                expected.push((id.to_vec(), expiry, inode(&file)));
            }
            // Variables beyond the number of entries are ignored.
            command.env(format!("S6_FD_{count}"), "x").env("S6_FDID_", "x");
            succeeded(&run(command.arg(&daemon.path).args(["ignored", "-x"])));
            expected.sort();
            let found = identities(&wire::get_dump(&daemon.path).unwrap());
            assert_eq!(found, expected, "{of:?}");
        }
    }
}

fn an_identifier_that_is_held_is_replaced(of: Implementation) {
    for daemon in of.daemons(Setup::default()) {
        let mut held = hold(["a", "id-0", "b"]);
        let (mut writer, socket) = UnixStream::pair().unwrap();
        held[1].fd = socket.into();
        wire::set_dump(&daemon.path, &held).unwrap();
        let (file, gone) = (memfd(), held.remove(1));
        drop(gone);
        let mut command = of.command("setdump");
        describe_many(&mut command, 1);
        let clone = file.try_clone().unwrap();
        succeeded(&run(command.stdin(clone).arg(&daemon.path)));
        held.push(Held::new("id-0", label((1 << 62) + 0x7fff_ffff, 0), file));
        let found = identities(&wire::get_dump(&daemon.path).unwrap());
        assert_eq!(found, identities(&held));
        writer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(
            writer.read_to_end(&mut Vec::new()).unwrap(),
            0,
            "the replaced descriptor is still open"
        );
    }
}

/// `count` entries, each with an expiry of its own. Every third one never expires.
///
/// All identifiers have the same length, so that the position where a frame ends does not depend on their
/// order. The C clients fail if a frame ends less than a header before the end of a read of 2047 bytes.
fn entries(count: usize, prefix: &str) -> Vec<Held> {
    raise_open_file_limit();
    let id = |number: usize| match number % 3 {
        0 => format!("{prefix}{number:0>8}").into_bytes(),
        1 => format!("\n {prefix}{number:0>4}= ").into_bytes(),
        _ => [&[0xff, 0xc3, 0x28], format!("{prefix}{number:0>5}").as_bytes()].concat(),
    };
    let mut entries = hold((0..count).map(id));
    for (number, held) in entries.iter_mut().enumerate().step_by(3) {
        held.expiry = label((1 << 62) + (1 << 61) + 4_000_000_000, number as u32);
    }
    entries
}

/// A command `getdump FROM setdump TO` with tools of these implementations.
fn pipe(getter: Implementation, setter: Implementation, from: &Daemon, to: &Daemon) -> Command {
    let mut command = getter.command("getdump");
    command.arg(&from.path);
    if let Implementation::C(generation) = setter {
        let mut libraries = OsString::from("LD_LIBRARY_PATH=");
        libraries.push(generation.libraries());
        command.arg("env").arg(libraries);
    }
    command.args(setter.words("setdump")).arg(&to.path);
    command
}

/// Checks that a daemon holds exactly these entries. The daemon of 2.11 cannot send a dump of more than a
/// frame. Then each descriptor is retrieved, and the expiries are not checked.
fn assert_holds(daemon: &Daemon, expected: &[Identity]) {
    if daemon.generation == S6_2_11 && expected.len() > 253 {
        let stream = UnixStream::connect(&daemon.path).unwrap();
        assert_eq!(wire::list(&stream).unwrap().len(), expected.len());
        for (id, _, file) in expected {
            assert_eq!(inode(wire::retrieve(&stream, id).unwrap()), *file);
        }
    } else {
        let found = identities(&wire::get_dump(&daemon.path).unwrap());
        assert!(same_dump(&found, expected), "{} of {}", found.len(), expected.len());
    }
}

fn getdump_and_setdump_transfer_a_dump(of: Implementation) {
    for generation in of.generations() {
        for count in [0, 1, 253, 254, 900] {
            // The setdump of 2.11 fails with more than one frame.
            let can_send = count <= 253 || of != Implementation::C(S6_2_11);
            if !can_send || !of.can_receive_dump(count, generation) {
                continue;
            }
            let (from, to) = (Daemon::start(generation), Daemon::start(generation));
            let (all, old) = (entries(count, "new-"), entries(3, "old-"));
            wire::set_dump(&from.path, &all).unwrap();
            wire::set_dump(&to.path, &old).unwrap();
            succeeded(&run(&mut pipe(of, of, &from, &to)));
            let both = [identities(&all), identities(&old)].concat();
            assert_holds(&to, &both);
            assert_holds(&from, &identities(&all));
        }
    }
}

#[test]
fn getdump_with_setdump_has_the_same_result_as_transferdump() {
    let pairs = [
        (S6_2_15, S6_2_11),
        (S6_2_13, Generation::Ours),
        (Generation::Ours, S6_2_15),
        (S6_2_11, S6_2_13),
    ];
    for (from, to) in pairs {
        let count = if from == S6_2_11 { 253 } else { 600 };
        let all = entries(count, "");
        let source = Daemon::start(from);
        wire::set_dump(&source.path, &all).unwrap();
        let destinations = [Daemon::start(to), Daemon::start(to)];
        let mut transfer = tool("s6-fdholder-transferdump");
        succeeded(&run(transfer.arg(&source.path).arg(&destinations[0].path)));
        succeeded(&run(&mut pipe(Ours, Ours, &source, &destinations[1])));
        destinations.iter().for_each(|daemon| assert_holds(daemon, &identities(&all)));
    }
}

#[test]
fn getdump_and_setdump_can_be_combined_with_those_of_c() {
    for c in Generation::ALL.map(Implementation::C) {
        let both = |daemon| [(daemon, Ours, c), (daemon, c, Ours)];
        for (daemon, getter, setter) in c.generations().into_iter().flat_map(both) {
            let (from, to) = (Daemon::start(daemon), Daemon::start(daemon));
            let all = entries(200, "");
            wire::set_dump(&from.path, &all).unwrap();
            succeeded(&run(&mut pipe(getter, setter, &from, &to)));
            assert_holds(&to, &identities(&all));
        }
    }
}

#[test]
fn entries_that_never_expire_get_different_expiries() {
    // Equal expiries corrupt the table of a C daemon, which loops for ever after a delete and a store.
    for daemon in Ours.daemons(Setup::default()) {
        let mut command = Ours.command("setdump");
        describe_many(&mut command, 100);
        for at in 0..100 {
            command.env_remove(format!("S6_FDLIMIT_{at}"));
        }
        succeeded(&run(command.arg(&daemon.path)));
        let held = wire::get_dump(&daemon.path).unwrap();
        let mut dates: Vec<_> = held.iter().map(|held| held.expiry).collect();
        dates.sort();
        dates.dedup();
        assert_eq!(dates.len(), 100);
        assert!(dates[0] > wire::expiry_in(Duration::from_secs(1 << 60)));
    }
}

/// A program that runs until this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn a_held_listening_socket_survives_its_server(of: Implementation) {
    for daemon in of.daemons(Setup::default()) {
        let dir = TempDir::new().unwrap();
        let path = dir.child("service");
        // The other programs come from s6, from the same generation as the C tool or daemon if there is one.
        let c = match (of, daemon.generation) {
            (Implementation::C(generation), _) => generation,
            (Ours, Generation::Ours) => S6_2_15,
            (Ours, generation) => generation,
        };
        let libraries = c.libraries();
        let path_of = |name: &str| c.command(name).get_program().to_owned();
        // s6-ipcserver-socketbinder service s6-fdholder-store daemon id
        let binder = path_of("s6-ipcserver-socketbinder");
        let mut store = of.behind(&[binder.to_str().unwrap(), path.to_str().unwrap()], "store");
        store.env("LD_LIBRARY_PATH", &libraries).arg(&daemon.path).arg("unix:service");
        succeeded(&run(&mut store));

        // s6-fdholder-retrieve daemon id s6-ipcserverd prog, twice. Clients that connect in between wait.
        for time in ["first", "second"] {
            let mut client = UnixStream::connect(&path).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut retrieve = of.command("retrieve");
            retrieve.arg(&daemon.path).arg("unix:service").arg(path_of("s6-ipcserverd"));
            retrieve.args(["-v0", "echo", time]).env("LD_LIBRARY_PATH", &libraries);
            let server = Server(retrieve.stdout(Stdio::null()).spawn().unwrap());
            let mut received = String::new();
            client.read_to_string(&mut received).unwrap();
            drop(server);
            assert_eq!(received, format!("{time}\n"));
        }
    }
}

#[test]
fn our_tools_retrieve_what_c_stored_and_the_other_way_round() {
    // One tool stores a file, and the other executes a program with it as standard input.
    for daemon in Ours.daemons(Setup::default()) {
        let text = crate::kit::clients::file("between tools\n");
        let others = match daemon.generation {
            Generation::Ours => &Generation::ALL[..],
            _ => &[daemon.generation],
        };
        let others = others.iter().map(|generation| Implementation::C(*generation));
        for (storer, retriever, id) in others.flat_map(|c| [(Ours, c, "a"), (c, Ours, "b")]) {
            let mut store = storer.command("store");
            store.stdin(text.try_clone().unwrap());
            succeeded(&run(store.arg(&daemon.path).arg(id)));
            let mut retrieve = retriever.command("retrieve");
            retrieve.args(["-D".as_ref(), daemon.path.as_os_str(), OsStr::new(id)]);
            let ended = run(retrieve.args(["sh", "-c", "cat </dev/stdin"]));
            succeeded(&ended);
            assert_eq!(ended.out, b"between tools\n");
        }
        drop::<OwnedFd>(text);
        assert!(wire::get_dump(&daemon.path).unwrap().is_empty());
    }
}
