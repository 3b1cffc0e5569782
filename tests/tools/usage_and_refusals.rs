//! Command lines and refusals of the six client tools that make one request. The C tools are checked too.
//! Where they differ, the row has the reason.

use crate::kit::clients::Implementation::{self, Ours};
use crate::kit::clients::{C, Differs, End, OLD, TOOLS, check, hold, succeeded, usage, words};
use crate::kit::daemon::Generation::{self, S6_2_11};
use crate::kit::daemon::{GETDUMP, LIST, RETRIEVE, SETDUMP, STORE, Setup};
use crate::kit::fake::Fake;
use crate::kit::tool::{run, tool};
use crate::kit::wire;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use temp_dir::TempDir;

for_each_implementation! {
a_valid_command_line_is_parsed_like_getopt
a_wrong_command_line_gets_the_usage_line_and_exit_100
a_refusal_of_the_daemon_is_reported_with_its_reason
a_daemon_without_a_rule_for_this_user_is_exit_1
a_missing_right_is_exit_1_and_only_the_right_one_helps
a_daemon_that_is_full_is_exit_1_and_keeps_what_it_held
a_socket_that_cannot_be_connected_to_is_named_with_the_reason
}

fn a_valid_command_line_is_parsed_like_getopt(of: Implementation) {
    // The options in front of the operands. The socket does not exist. The tool reports that only if it
    // accepts the command line.
    let all: &[&[&str]] = &[
        &[],
        &["--"],
        &["-t", "5"],
        &["-t5"],
        &["-t05"],
        &["-t", "0"],
        &["-t", "4294967295"],
        &["-t", "5", "--"],
        &["-t5", "-t", "6"],
    ];
    let some: &[(&str, &[&str])] = &[
        ("store", &["-d", "0"]),
        ("store", &["-d0", "-T5", "-t5"]),
        ("store", &["-d", "7", "-d", "00"]),
        ("store", &["-T", "0", "--"]),
        ("store", &["-T", "4294967295"]),
        ("retrieve", &["-D"]),
        ("retrieve", &["-D", "-D", "--"]),
        ("retrieve", &["-Dt500"]),
        ("retrieve", &["-DDt", "500"]),
        ("retrieve", &["-t5", "-D"]),
    ];
    let dir = TempDir::new().unwrap();
    let path = dir.child("absent");
    let reason = "unable to connect to a fd-holder daemon at PATH: No such file or directory";
    for (name, operands) in TOOLS {
        let own = some.iter().filter(|(tool, _)| *tool == name).map(|(_, options)| options);
        for options in all.iter().chain(own) {
            for behind in [&[][..], &["more"], &["-x", "--help", "-t"]] {
                let row = words(&[options, operands, behind].concat(), &path);
                let ended = run(of.command(name).args(&row));
                check(of, name, &path, &ended, (111, reason), &[]);
                assert_eq!(ended.out, b"", "{row:?}");
            }
        }
    }
}

fn a_wrong_command_line_gets_the_usage_line_and_exit_100(of: Implementation) {
    let wrong: &[&[&str]] = &[
        &["-t", ""],
        &["-t", "x"],
        &["-t5x"],
        &["-t", "5:"],
        &["-t", "5:6"],
        &["-t", "5.0"],
        &["-t", "0x5"],
        &["-t", "-5"],
        &["-t", "+5"],
        &["-t", " 5"],
        &["-t", "5 "],
        &["-t", "--"],
        &["-t", "4294967296"],
        &["-t", "18446744073709551616"],
        &["-t", "5", "-t", "x"],
        &["-t", "x", "-t", "5"],
        &["-x"],
        &["-h"],
        &["-t5", "-x"],
        &["--nonsense"],
        &["---"],
    ];
    let options: &[(&str, &[&str])] = &[
        ("-D", &["retrieve"]),
        ("-Dx", &[]),
        ("-DT5", &[]),
        ("-d0", &["store"]),
        ("-T5", &["store"]),
        ("-dx", &[]),
        ("-d-1", &[]),
        ("-d4294967296", &[]),
        ("-d+0", &[]),
        ("-Tx", &[]),
        ("-T-5", &[]),
        ("-T4294967296", &[]),
        ("-d0T5", &[]),
    ];
    for (name, operands) in TOOLS {
        let mut rows: Vec<Vec<&str>> = Vec::new();
        rows.extend(wrong.iter().map(|options| [options, operands].concat()));
        for (option, tools) in options {
            if !tools.contains(&name) {
                rows.push([&[*option], operands].concat());
            }
        }
        for length in 0..operands.len() {
            for options in [&[][..], &["--"], &["-t", "5"], &["-t5", "--"]] {
                rows.push([options, &operands[..length]].concat());
            }
        }
        rows.push(vec!["-t"]);
        let path = Path::new("/absent");
        for row in rows {
            let ended = run(of.command(name).args(words(&row, path)));
            check(of, name, path, &ended, (100, "usage"), &[]);
            assert_eq!(ended.out, b"", "{row:?}");
        }
    }
}

/// Options that only our tools accept: long names, and options that C does not have. The columns are a tool,
/// or an empty text for all tools, and its options.
const ONLY_OURS: &[(&str, &[&str])] = &[
    ("", &["--timeout", "5"]),
    ("", &["--timeout=5"]),
    ("store", &["--fd", "0", "--expire=5"]),
    ("store", &["--fd=0", "--expire", "5"]),
    ("retrieve", &["--delete"]),
];

#[test]
fn options_have_long_names_and_help_is_printed() {
    for (name, operands) in TOOLS {
        let path = Path::new("/absent");
        for (_, options) in ONLY_OURS.iter().filter(|(tool, _)| tool.is_empty() || *tool == name) {
            let mut command = Ours.command(name);
            let ended = run(command.args(*options).args(words(operands, path)));
            let reason =
                "unable to connect to a fd-holder daemon at PATH: No such file or directory";
            check(Ours, name, path, &ended, (111, reason), &[]);
        }
        for row in [&["--help"][..], &["-t5", "--help", "a"]] {
            let ended = run(Ours.command(name).args(row));
            succeeded(&ended);
            let help = String::from_utf8(ended.out).unwrap();
            assert!(help.starts_with(&(usage(Ours, name) + "\n")), "{help}");
            for part in ["\n  -t timeout, --timeout\n", "\n  socket\n", "\nexit:\n  ", "\n  111"] {
                assert!(help.contains(part), "{part:?} is missing in\n{help}");
            }
        }
        // The tool has a shorter name too.
        let ended = run(&mut tool(&format!("fdholder-{name}")));
        check(Ours, name, path, &ended, (100, "usage"), &[]);
    }
}

/// A tool, its arguments, how it ends, and how C tools end differently.
type Case = (&'static str, &'static [&'static str], End, &'static [Differs]);

/// How messages of delete differ in the older generations of C.
const NAMES_THE_PATH: &str = "the older generations name the socket instead of the identifier";

/// How C tools treat an empty identifier.
const DAEMON: &str = "they send the request: a C daemon disconnects, ours answers Protocol error";

/// Requests to a daemon that allows all requests and holds `held`.
const REFUSED: &[Case] = &[
    ("store", &["PATH", "held"], (1, "unable to store fd: Device or resource busy"), &[]),
    ("store", &["PATH", "LONG"], (1, "unable to store fd: File name too long"), &[]),
    (
        "store",
        &["PATH", ""],
        (1, "unable to store fd: Invalid argument"),
        &[(C, (1, "unable to store fd: *"), DAEMON)],
    ),
    (
        "store",
        &["-d", "77", "PATH", "new"],
        (111, "unable to store fd: Bad file descriptor"),
        &[(
            C,
            (1, "unable to store fd: Bad file descriptor"),
            "no daemon has refused it, so ours is 111",
        )],
    ),
    (
        "store",
        &["-d", "4294967295", "PATH", "new"],
        (111, "unable to store fd: Bad file descriptor"),
        &[
            (&[S6_2_11], (0, ""), "2.11 stores another descriptor"),
            (
                C,
                (1, "unable to store fd: Invalid argument"),
                "ours reports it like any closed number",
            ),
        ],
    ),
    (
        "retrieve",
        &["PATH", "absent", "true"],
        (1, "unable to retrieve fd for id absent: No such file or directory"),
        &[],
    ),
    (
        "retrieve",
        &["-D", "PATH", "absent", "true"],
        (1, "unable to retrieve fd for id absent: No such file or directory"),
        &[],
    ),
    (
        "retrieve",
        &["PATH", "LONG", "true"],
        (1, "unable to retrieve fd for id LONG: File name too long"),
        &[],
    ),
    (
        "retrieve",
        &["PATH", "", "true"],
        (1, "unable to retrieve fd for id : Invalid argument"),
        &[(C, (1, "unable to retrieve fd for id : *"), DAEMON)],
    ),
    (
        "retrieve",
        &["PATH", "a\nb\\", "true"],
        (1, "unable to retrieve fd for id a\\nb\\\\: No such file or directory"),
        &[(
            C,
            (1, "unable to retrieve fd for id a\nb\\: No such file or directory"),
            "ours quotes the identifier, so that the message is one line",
        )],
    ),
    (
        "delete",
        &["PATH", "absent"],
        (1, "unable to delete fd for id absent: No such file or directory"),
        &[(OLD, (1, "unable to delete fd for id PATH: No such file or directory"), NAMES_THE_PATH)],
    ),
    (
        "delete",
        &["PATH", "-x"],
        (1, "unable to delete fd for id -x: No such file or directory"),
        &[(OLD, (1, "unable to delete fd for id PATH: No such file or directory"), NAMES_THE_PATH)],
    ),
    (
        "delete",
        &["PATH", "LONG"],
        (1, "unable to delete fd for id LONG: File name too long"),
        &[(OLD, (1, "unable to delete fd for id PATH: File name too long"), NAMES_THE_PATH)],
    ),
    (
        "delete",
        &["PATH", ""],
        (1, "unable to delete fd for id : Invalid argument"),
        &[
            (OLD, (1, "unable to delete fd for id PATH: *"), NAMES_THE_PATH),
            (C, (1, "unable to delete fd for id : *"), DAEMON),
        ],
    ),
];

fn a_refusal_of_the_daemon_is_reported_with_its_reason(of: Implementation) {
    for daemon in of.daemons(Setup::default()) {
        let held = hold(["held"]);
        wire::set_dump(&daemon.path, &held).unwrap();
        for (name, row, end, not) in REFUSED {
            let ended = run(of.command(name).args(words(row, &daemon.path)));
            check(of, name, &daemon.path, &ended, *end, not);
            assert_eq!(ended.out, b"", "{row:?}");
        }
        let expected = wire::identities(&held);
        let mut found = wire::identities(&wire::get_dump(&daemon.path).unwrap());
        // With the descriptor 4294967295, 2.11 has stored an entry.
        found.retain(|(id, ..)| of == Ours || id != b"new");
        assert_eq!(found, expected);
    }
}

#[test]
fn an_invalid_identifier_or_descriptor_is_refused_without_a_request() {
    for (name, row, ..) in REFUSED.iter().filter(|(_, row, ..)| {
        row.iter().any(|word| ["LONG", "", "77", "4294967295"].contains(word))
    }) {
        let fake = Fake::start(vec![]);
        let ended = run(Ours.command(name).args(words(row, &fake.path)));
        let begin = format!("s6-fdholder-{name}: fatal: {}", doing(name).trim_end_matches("held"));
        assert!(ended.code != 0 && ended.err.starts_with(&begin), "{row:?}: {}", ended.err);
        let seen = fake.seen();
        // For a wrong descriptor the tool must not connect. For a wrong identifier it must not send a
        // request.
        let asked = if row[0] == "-d" { seen.connected } else { !seen.bytes.is_empty() };
        assert!(!asked, "{name} {row:?}: {}", ended.err);
    }
}

/// What the message of each tool says that it cannot do.
fn doing(name: &str) -> &'static str {
    match name {
        "store" => "unable to store fd",
        "retrieve" => "unable to retrieve fd for id held",
        "delete" => "unable to delete fd for id held",
        "list" => "unable to get fd list",
        "getdump" => "unable to get dump",
        _ => "unable to set dump",
    }
}

/// Checks that the daemon at `path` denies the request, and that the tool reports this reason.
fn assert_denied(of: Implementation, name: &str, path: &Path, row: &[&str], reason: &str) {
    let ended = run(of.command(name).args(words(row, path)));
    // See NAMES_THE_PATH.
    let path_named = name == "delete" && matches!(of, Implementation::C(g) if OLD.contains(&g));
    let doing = match path_named {
        true => format!("unable to delete fd for id {}", path.display()),
        false => doing(name).to_string(),
    };
    let begin = format!("s6-fdholder-{name}: fatal: {doing}: {reason}");
    let right = ended.err.starts_with(&begin) && ended.err.lines().count() == 1;
    assert!(right && ended.code == 1, "{of:?} {row:?}: exit {} {}", ended.code, ended.err);
    assert_eq!(ended.out, b"", "{of:?} {row:?}");
}

fn a_daemon_without_a_rule_for_this_user_is_exit_1(of: Implementation) {
    let reason = match of {
        Ours => "connection closed without an answer: is this user allowed to connect?\n",
        // The reason is Broken pipe or Connection reset by peer.
        Implementation::C(_) => "",
    };
    for daemon in of.daemons(Setup { rights: None, ..Setup::default() }) {
        for (name, operands) in TOOLS {
            assert_denied(of, name, &daemon.path, operands, reason);
        }
    }
}

fn a_missing_right_is_exit_1_and_only_the_right_one_helps(of: Implementation) {
    // All rights but one, and the tools that need that one.
    type Missing = (&'static [&'static str], &'static [(&'static str, &'static [&'static str])]);
    const MISSING: [Missing; 5] = [
        (
            &[GETDUMP, SETDUMP, LIST, RETRIEVE],
            &[
                ("store", &["PATH", "new"]),
                ("delete", &["PATH", "held"]),
                ("retrieve", &["-D", "PATH", "held", "true"]),
            ],
        ),
        (&[GETDUMP, SETDUMP, LIST, STORE], &[("retrieve", &["PATH", "held", "true"])]),
        (&[GETDUMP, SETDUMP, STORE, RETRIEVE], &[("list", &["PATH"])]),
        (&[SETDUMP, LIST, STORE, RETRIEVE], &[("getdump", &["PATH", "true"])]),
        (&[GETDUMP, LIST, STORE, RETRIEVE], &[("setdump", &["PATH"])]),
    ];
    for (rights, denied) in MISSING {
        for daemon in of.daemons(Setup { rights: Some(rights), ..Setup::default() }) {
            if rights.contains(&SETDUMP) {
                wire::set_dump(&daemon.path, &hold(["held"])).unwrap();
            }
            for (name, row) in denied {
                assert_denied(of, name, &daemon.path, row, "Operation not permitted\n");
            }
            if rights.contains(&GETDUMP) {
                let left = wire::get_dump(&daemon.path).unwrap();
                let ids: Vec<_> = left.iter().map(|held| &held.id[..]).collect();
                let expected: &[&[u8]] = if rights.contains(&SETDUMP) { &[b"held"] } else { &[] };
                assert_eq!(ids, expected);
            }
        }
    }
    // Each tool succeeds with only its own right. SETDUMP is for the preparation.
    const SUFFICIENT: [(&str, &[&str]); 6] = [
        ("store", &[STORE]),
        ("delete", &[SETDUMP, STORE]),
        ("retrieve", &[SETDUMP, RETRIEVE]),
        ("list", &[LIST]),
        ("getdump", &[GETDUMP]),
        ("setdump", &[SETDUMP]),
    ];
    for (name, rights) in SUFFICIENT {
        for daemon in of.daemons(Setup { rights: Some(rights), ..Setup::default() }) {
            if rights.contains(&SETDUMP) {
                wire::set_dump(&daemon.path, &hold(["held"])).unwrap();
            }
            let (_, operands) = TOOLS.iter().find(|(tool, _)| *tool == name).unwrap();
            succeeded(&run(of.command(name).args(words(operands, &daemon.path))));
        }
    }
}

fn a_daemon_that_is_full_is_exit_1_and_keeps_what_it_held(of: Implementation) {
    for daemon in of.daemons(Setup { maxfds: 3, ..Setup::default() }) {
        let held = hold(["held", "b", "c"]);
        wire::set_dump(&daemon.path, &held).unwrap();
        for (name, operands) in [TOOLS[0], TOOLS[5]] {
            // Our daemon refuses the first frame, when it knows that no entry is replaced.
            let reason = match (of, name, daemon.generation) {
                (Ours, "setdump", Generation::Ours) => {
                    "Too many open files in system; 0 of 1 descriptors acknowledged\n"
                }
                _ => "Too many open files in system\n",
            };
            assert_denied(of, name, &daemon.path, operands, reason);
        }
        let found = wire::identities(&wire::get_dump(&daemon.path).unwrap());
        assert_eq!(found, wire::identities(&held));
    }
}

fn a_socket_that_cannot_be_connected_to_is_named_with_the_reason(of: Implementation) {
    let dir = TempDir::new().unwrap();
    fs::write(dir.child("file"), "").unwrap();
    drop(UnixListener::bind(dir.child("stale")).unwrap());
    let refused = "Connection refused";
    // The path, the reason, and the reason that C gives if it differs.
    let long = PathBuf::from(format!("/{}", "x".repeat(107)));
    let rows = [
        (dir.child("absent"), "No such file or directory", None),
        (dir.child("file"), refused, None),
        (dir.child("stale"), refused, None),
        (dir.path().to_path_buf(), refused, None),
        (dir.child("file").join("below"), "Not a directory", None),
        // C takes an empty path for an abstract name.
        (PathBuf::new(), "No such file or directory", Some(refused)),
        // The error is not one of the protocol, so ours differs.
        (long, "File name too long", Some("Protocol error")),
    ];
    for (path, reason, c) in rows {
        let reason = if of == Ours { reason } else { c.unwrap_or(reason) };
        for (name, operands) in TOOLS {
            let ended = run(of.command(name).args(words(operands, &path)));
            let expected = format!(
                "s6-fdholder-{name}: fatal: unable to connect to a fd-holder daemon at {}: {reason}\n",
                path.display()
            );
            assert_eq!(
                (ended.code, &ended.err[..], &ended.out[..]),
                (111, &expected[..], &b""[..])
            );
        }
    }
}

#[test]
fn unprintable_bytes_of_a_path_are_quoted_in_a_message() {
    for (name, operands) in TOOLS {
        let path = Path::new(OsStr::from_bytes(b"/absent\n\xff\\"));
        let ended = run(Ours.command(name).args(words(operands, path)));
        let reason = "unable to connect to a fd-holder daemon at /absent\\n\\0xff\\\\: No such \
                      file or directory";
        check(Ours, name, path, &ended, (111, reason), &[]);
    }
}

#[test]
fn other_tools_ignore_the_variables_of_setdump() {
    for daemon in Ours.daemons(Setup::default()) {
        for (name, operands) in &TOOLS[..5] {
            wire::set_dump(&daemon.path, &hold(["held"])).unwrap();
            let mut command = Ours.command(name);
            command.env("S6_FD#", "x").args(words(operands, &daemon.path));
            succeeded(&run(&mut command));
        }
    }
}
