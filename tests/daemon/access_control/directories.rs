//! Rules directories: what decides, and what cannot be read.

use super::{ALL, Decision, EPERM, LIST_ONLY, NOTHING, REFUSED, RIGHTS};
use crate::daemon::rule_files::{decision, is_allowed};
use crate::kit::daemon::Generation::{Ours, S6_2_15};
use crate::kit::daemon::{LIST, STORE};
use crate::kit::memfd;
use crate::kit::server::{DaemonDir, Server, answer, status};
use crate::kit::wire::{self, store_request};
use rustix::process::{Signal, geteuid, getgid, getuid};
use std::fs::{self, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

/// An entry of a rules directory: its path in the directory, and what it is.
type Entry = (&'static str, Kind);

/// What an entry of a rules directory is.
enum Kind {
    /// A file with this text.
    File(&'static str),
    /// A folder.
    Folder,
    /// A symbolic link to this path.
    Link(&'static str),
    /// A file with this text and without read permission.
    Secret(&'static str),
    /// A folder that an entry above has made, now without permissions.
    Closed,
}

use Kind::{Closed, File, Folder, Link, Secret};

/// A rules directory. The columns are a name, the entries, the decision of our daemon for a client to whom
/// `uid/default` applies, and the different decision of the C daemon, if any, with the reason.
type Row = (&'static str, &'static [Entry], Decision, Option<(Decision, &'static str)>);

const ALLOW: Entry = ("uid/default/allow", File(""));

const ENV: &str = "uid/default/env/S6_FDHOLDER_LIST";

const NUL: &str = "C takes it for a newline in the expression, ours refuses it";

const DIRECTORIES: &[Row] = &[
    ("no entry", &[], REFUSED, None),
    ("only folders", &[("uid/default/env", Folder), ("gid", Folder)], REFUSED, None),
    ("no allow", &[(ENV, File("x"))], REFUSED, None),
    ("a file in place of the folder of a key", &[("uid/default", File("allow"))], REFUSED, None),
    ("a file in place of the folder uid", &[("uid", File("allow"))], REFUSED, None),
    ("allow", &[ALLOW], NOTHING, None),
    (
        "allow with text in it",
        &[("uid/default/allow", File("deny")), (ENV, File("x"))],
        LIST_ONLY,
        None,
    ),
    ("allow as a folder", &[("uid/default/allow", Folder), (ENV, File("x"))], LIST_ONLY, None),
    ("deny", &[("uid/default/deny", File("")), (ENV, File("x"))], REFUSED, None),
    ("deny as a folder", &[("uid/default/deny", Folder)], REFUSED, None),
    ("allow and deny", &[ALLOW, ("uid/default/deny", File("")), (ENV, File("x"))], LIST_ONLY, None),
    ("allow in upper case", &[("uid/default/Allow", File("")), (ENV, File("x"))], REFUSED, None),
    ("an empty folder", &[ALLOW, ("uid/default/env", Folder)], NOTHING, None),
    ("set to an empty text", &[ALLOW, (ENV, File("\n"))], LIST_ONLY, None),
    ("set to an empty text by a blank", &[ALLOW, (ENV, File(" "))], LIST_ONLY, None),
    ("unset", &[ALLOW, (ENV, File(""))], NOTHING, None),
    ("no newline", &[ALLOW, (ENV, File("no"))], LIST_ONLY, None),
    ("another name", &[ALLOW, ("uid/default/env/S6_FDHOLDER_LISTS", File("x"))], NOTHING, None),
    (
        "a variable in a subfolder",
        &[ALLOW, ("uid/default/env/env/S6_FDHOLDER_LIST", File("x"))],
        NOTHING,
        Some((REFUSED, "C reads all files, ours only the variables that it knows")),
    ),
    (
        "a name with a dot",
        &[ALLOW, ("uid/default/env/.S6_FDHOLDER_LIST", File("x"))],
        NOTHING,
        None,
    ),
    (
        "a folder in place of a variable",
        &[ALLOW, ("uid/default/env/S6_FDHOLDER_LIST", Folder)],
        REFUSED,
        None,
    ),
    ("a file in place of the folder env", &[ALLOW, ("uid/default/env", File("x"))], REFUSED, None),
    (
        "a link to a variable",
        &[ALLOW, (ENV, Link("../../../x")), ("x", File("x"))],
        LIST_ONLY,
        None,
    ),
    (
        "a link to nothing",
        &[ALLOW, (ENV, Link("../absent"))],
        NOTHING,
        Some((
            REFUSED,
            "C lists the folder and finds the link, ours opens the file and finds none",
        )),
    ),
    ("a link to itself", &[ALLOW, (ENV, Link("S6_FDHOLDER_LIST"))], REFUSED, None),
    (
        "a link in place of allow",
        &[("uid/default/allow", Link("/")), (ENV, File("x"))],
        LIST_ONLY,
        None,
    ),
    (
        "a link to nothing in place of allow",
        &[("uid/default/allow", Link("absent")), (ENV, File("x"))],
        REFUSED,
        None,
    ),
    (
        "a link in place of the folder of a key",
        &[
            ("x/allow", File("")),
            ("x/env/S6_FDHOLDER_LIST", File("x")),
            ("uid", Folder),
            ("uid/default", Link("../x")),
        ],
        LIST_ONLY,
        None,
    ),
    ("gid/default, which is no key", &[("gid/default/allow", File(""))], REFUSED, None),
    (
        "expressions",
        &[
            ALLOW,
            ("uid/default/env/S6_FDHOLDER_STORE_REGEX", File("^a$  \nb")),
            ("uid/default/env/S6_FDHOLDER_RETRIEVE_REGEX", File("b|c")),
        ],
        Some([false, false, false, true, false, false, true]),
        None,
    ),
    (
        "a NUL in an expression",
        &[ALLOW, ("uid/default/env/S6_FDHOLDER_STORE_REGEX", File("a\0|b"))],
        REFUSED,
        Some((Some([false, false, false, false, true, false, false]), NUL)),
    ),
    (
        "a NUL at the end",
        &[ALLOW, ("uid/default/env/S6_FDHOLDER_STORE_REGEX", File("a\0"))],
        REFUSED,
        Some((NOTHING, NUL)),
    ),
    (
        "an invalid expression for store",
        &[ALLOW, (ENV, File("x")), ("uid/default/env/S6_FDHOLDER_STORE_REGEX", File("("))],
        REFUSED,
        None,
    ),
    (
        "an invalid expression for retrieve",
        &[ALLOW, (ENV, File("x")), ("uid/default/env/S6_FDHOLDER_RETRIEVE_REGEX", File("a{2,1}"))],
        REFUSED,
        None,
    ),
];

/// The path with `OWN` replaced by the number of this user, or of its group in a path under `gid`.
fn own(path: &str) -> String {
    let number = if path.starts_with("gid") { getgid().as_raw() } else { getuid().as_raw() };
    path.replace("OWN", &number.to_string())
}

/// Makes these entries in a rules directory.
fn make(rules: &Path, entries: &[Entry]) {
    for (path, kind) in entries {
        let path = rules.join(own(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mode = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        match kind {
            File(text) => fs::write(&path, text).unwrap(),
            Folder => fs::create_dir_all(&path).unwrap(),
            Link(target) => symlink(target, &path).unwrap(),
            Secret(text) => {
                fs::write(&path, text).unwrap();
                mode(0o000);
            }
            Closed => mode(0o000),
        }
    }
}

#[test]
fn rules_directories_decide_like_those_of_c() {
    let mut wrong = Vec::new();
    for (what, entries, ours, c) in DIRECTORIES {
        let daemon_dir = DaemonDir::new();
        make(&daemon_dir.rules(), entries);
        for generation in [Ours, S6_2_15] {
            let expected = match c {
                Some((decision, _)) if generation != Ours => decision,
                _ => ours,
            };
            let found = decision(generation, "-i", &daemon_dir.rules());
            if found != *expected {
                wrong.push(format!("{generation:?} {what}: {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A rules directory of which only root can read a part: a name, the entries, and the decision of a daemon
/// that does not run as root. `OWN` is the number of the client.
type Unreadable = (&'static str, &'static [Entry], Decision);

const UNREADABLE: &[Unreadable] = &[
    ("no entry", &[ALLOW, (ENV, File("x"))], LIST_ONLY),
    ("a variable", &[ALLOW, (ENV, Secret("x"))], REFUSED),
    ("an expression", &[ALLOW, ("uid/default/env/S6_FDHOLDER_STORE_REGEX", Secret(""))], REFUSED),
    ("another name", &[ALLOW, (ENV, File("x")), ("uid/default/env/OTHER", Secret("x"))], LIST_ONLY),
    ("allow, which exists", &[("uid/default/allow", Secret("")), (ENV, File("x"))], LIST_ONLY),
    ("deny, which exists", &[("uid/OWN/deny", Secret("")), ALLOW, (ENV, File("x"))], REFUSED),
    ("the folder of variables", &[ALLOW, (ENV, File("x")), ("uid/default/env", Closed)], REFUSED),
    (
        "the folder of a key that refuses",
        &[("uid/OWN/deny", File("")), ("uid/OWN", Closed), ALLOW, (ENV, File("x"))],
        REFUSED,
    ),
    (
        "the folder of a key without a rule",
        &[("uid/OWN/x", File("")), ("uid/OWN", Closed), ALLOW, (ENV, File("x"))],
        REFUSED,
    ),
    (
        "the folder gid",
        &[("gid/OWN/deny", File("")), ("gid", Closed), ALLOW, (ENV, File("x"))],
        REFUSED,
    ),
    ("the whole directory", &[ALLOW, (ENV, File("x")), ("", Closed)], REFUSED),
];

#[test]
fn a_rule_that_cannot_be_read_refuses() {
    let options: &[&str] = if geteuid().is_root() { &["-u65534", "-g65534"] } else { &[] };
    let mut wrong = Vec::new();
    for (what, entries, expected) in UNREADABLE {
        let daemon_dir = DaemonDir::new();
        make(&daemon_dir.rules(), entries);
        let mut command = daemon_dir.daemon(options);
        let server = Server::start(daemon_dir, &mut command);
        let found = is_allowed(UnixStream::connect(server.daemon_dir.socket()));
        if found != *expected {
            wrong.push(format!("{what}: {found:?}"));
        }
        for (path, kind) in entries.iter() {
            if let Closed = kind {
                let path = server.daemon_dir.rules().join(own(path));
                fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
            }
        }
        // The daemon warns of a refusal for that reason.
        if expected.is_none() && !what.starts_with("deny") {
            let mut line = server.line();
            // If the directory itself cannot be read, the daemon warns at its start too.
            if line.starts_with("s6-fdholderd: warning: unable to read rules from ") {
                assert_eq!(*what, "the whole directory");
                line = server.line();
            }
            assert!(line.starts_with("s6-fdholderd: warning: uid "), "{what}: {line}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_named_pipe_in_a_rules_directory_does_not_block_the_daemon() {
    let daemon_dir = DaemonDir::open();
    for name in [STORE, LIST] {
        let path = daemon_dir.rules().join("uid/default/env").join(name);
        fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    }
    let mut command = daemon_dir.fdholderd(Ours, &[]);
    let server = Server::start(daemon_dir, &mut command);
    // The pipes have no writer, so they read as empty, which unsets the variables.
    let (reply, _) = answer(&server.connect(), b"L", &[]).expect("an answer");
    assert_eq!(reply, [EPERM as u8]);
}

#[test]
fn a_rules_directory_is_read_at_each_connection_and_connected_clients_keep_their_rights() {
    let daemon_dir = DaemonDir::new();
    let mut command = daemon_dir.fdholderd(Ours, &[]);
    let server = Server::start(daemon_dir, &mut command);
    let path = server.daemon_dir.socket();
    let rules = server.daemon_dir.rules();
    let now = || is_allowed(UnixStream::connect(&path));
    assert_eq!(now(), REFUSED);
    server.daemon_dir.allow("uid/default", &[(LIST, "x")]);
    assert_eq!(now(), LIST_ONLY);
    let early = server.connect();
    assert_eq!(status(&early, b"L", &[]), 0);
    server.daemon_dir.allow("uid/default", &RIGHTS);
    assert_eq!(now(), ALL);
    assert_eq!(status(&early, b"?", &[]), EPERM);
    fs::write(rules.join("uid/default/env").join(STORE), "^a$").unwrap();
    assert_eq!(now(), Some([true, true, true, true, false, true, true]));
    server.daemon_dir.refuse("uid/self");
    assert_eq!(now(), REFUSED);
    assert_eq!(status(&early, b"L", &[]), 0);
    fs::remove_dir_all(&rules).unwrap();
    assert_eq!(now(), REFUSED);
    assert_eq!(status(&early, b"L", &[]), 0);
    server.daemon_dir.allow("uid/default", &RIGHTS);
    assert_eq!(now(), ALL);
}

#[test]
fn a_missing_rules_directory_refuses_all_clients() {
    let daemon_dir = DaemonDir::open();
    let absent = daemon_dir.child("absent");
    for name in [absent.to_str().unwrap(), "", "/dev/null"] {
        let _ = fs::remove_file(daemon_dir.socket());
        let mut command = daemon_dir.fdholderd(Ours, &["-v0", "-i", name]);
        let _server = Server::start(DaemonDir::new(), &mut command);
        assert_eq!(is_allowed(UnixStream::connect(daemon_dir.socket())), REFUSED, "{name:?}");
    }
}

#[test]
fn sighup_does_nothing_with_a_rules_directory() {
    let mut server = Server::open(Ours, &[]);
    let client = server.connect();
    assert_eq!(status(&client, &store_request(b"it", wire::never()), &[memfd().as_fd()]), 0);
    for _ in 0..10 {
        server.signal(Signal::HUP);
        server.assert_serves();
    }
    assert_eq!(wire::list(&client).unwrap(), [b"it"]);
    drop(client);
    assert_eq!(server.stop(), [""; 0]);
}
