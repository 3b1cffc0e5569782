//! The access rules of a running daemon: rules directories and rules files, and changes to them while it
//! runs. `rule_files` tests how rules are parsed.

use crate::daemon::rule_files::{decision, is_allowed};
use crate::kit::daemon::Generation::{Ours, S6_2_15};
use crate::kit::daemon::{GETDUMP, LIST, RETRIEVE, SETDUMP, STORE};
use crate::kit::server::{DaemonDir, Server, answer, assert_disconnects, status};
use crate::kit::tool::{TIMEOUT, run};
use crate::kit::wire::{self, delete_request, retrieve_request, store_request};
use crate::kit::{memfd, program};
use rustix::process::{Signal, geteuid, getgid, getuid};
use std::fs::{self, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The result of [`is_allowed`].
type Decision = Option<[bool; 7]>;

/// All is allowed: list, get dump, set dump, store "a" and "b", retrieve "a" and "b".
const ALL: Decision = Some([true; 7]);
/// No request is allowed, but the client may connect.
const NOTHING: Decision = Some([false; 7]);
/// Only list is allowed.
const LIST_ONLY: Decision = Some([true, false, false, false, false, false, false]);
/// The client may not connect.
const REFUSED: Decision = None;

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
fn an_expression_that_is_too_long_refuses_and_is_not_truncated() {
    // Blanks at the end of a line are dropped. Without its end, this expression would match any identifier
    // with an "a" in it.
    let long = |length: usize| format!("a{}b", " ".repeat(length - 2));
    for length in [5000, 70_000, 1 << 20] {
        for name in [STORE, RETRIEVE] {
            let daemon_dir = DaemonDir::new();
            daemon_dir.allow("uid/default", &[(LIST, "x"), (name, &long(length))]);
            let mut command = daemon_dir.fdholderd(Ours, &[]);
            let server = Server::start(daemon_dir, &mut command);
            assert_disconnects(&server.connect());
            assert!(server.line().starts_with("s6-fdholderd: warning: "));
        }
    }
    // Only the first line counts. A short first line is valid, even if much text follows.
    let daemon_dir = DaemonDir::new();
    daemon_dir.allow("uid/default", &[(STORE, &format!("^a$\n{}", long(1 << 20)))]);
    let mut command = daemon_dir.fdholderd(Ours, &[]);
    let server = Server::start(daemon_dir, &mut command);
    let client = server.connect();
    assert_eq!(status(&client, &delete_request(b"a"), &[]), ENOENT);
    assert_eq!(status(&client, &delete_request(b"b"), &[]), EPERM);
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

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EBUSY: i32 = 16;
const ENFILE: i32 = 23;

/// A folder with a rules file `x` that gives these rights.
fn with_file(rights: &[(&str, &str)]) -> DaemonDir {
    let daemon_dir = DaemonDir::new();
    change_file(&daemon_dir, rights);
    daemon_dir
}

/// Replaces the rules file `x` by one that gives these rights.
fn change_file(daemon_dir: &DaemonDir, rights: &[(&str, &str)]) {
    let _ = fs::remove_dir_all(daemon_dir.rules().join("uid"));
    daemon_dir.allow("uid/default", rights);
    daemon_dir.compile(S6_2_15, &daemon_dir.child("x"));
}

/// A daemon that uses the rules file `x`.
fn start_with_file(daemon_dir: DaemonDir) -> Server {
    let file = daemon_dir.child("x");
    let mut command = daemon_dir.fdholderd(Ours, &["-x", file.to_str().unwrap()]);
    Server::start(daemon_dir, &mut command)
}

/// Waits until this is the decision about new clients.
fn wait_for_decision(server: &Server, expected: Decision) {
    let begun = Instant::now();
    while is_allowed(UnixStream::connect(server.daemon_dir.socket())) != expected {
        assert!(begun.elapsed() < TIMEOUT, "the decision does not change to {expected:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// All rights, as in [`ALL`].
const RIGHTS: [(&str, &str); 5] =
    [(LIST, "x"), (GETDUMP, "x"), (SETDUMP, "x"), (STORE, "\n"), (RETRIEVE, "\n")];

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
fn sighup_makes_the_daemon_read_the_new_rules_file() {
    let server = start_with_file(with_file(&[(LIST, "x")]));
    wait_for_decision(&server, LIST_ONLY);
    let early = server.connect();
    assert_eq!(status(&early, b"L", &[]), 0);
    change_file(&server.daemon_dir, &RIGHTS);
    // The daemon has not read it yet.
    assert_eq!(is_allowed(UnixStream::connect(server.daemon_dir.socket())), LIST_ONLY);
    server.signal(Signal::HUP);
    wait_for_decision(&server, ALL);
    assert_eq!(status(&early, b"?", &[]), EPERM);
    // A larger file, and then a smaller one.
    let long = "a|".repeat(1000) + "a";
    change_file(
        &server.daemon_dir,
        &[(LIST, "x"), ("MORE", &long), ("AND_MORE", &"x".repeat(1900))],
    );
    server.signal(Signal::HUP);
    wait_for_decision(&server, LIST_ONLY);
    change_file(&server.daemon_dir, &[]);
    server.signal(Signal::HUP);
    wait_for_decision(&server, NOTHING);
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_rules_file_may_have_thousands_of_rules() {
    let daemon_dir = DaemonDir::new();
    daemon_dir.allow("uid/default", &RIGHTS);
    for number in 0..3000 {
        // None of these rules applies to this user.
        daemon_dir.refuse(&format!("gid/{}", 4_000_000_000u32 + number));
    }
    daemon_dir.compile(S6_2_15, &daemon_dir.child("x"));
    let server = start_with_file(daemon_dir);
    wait_for_decision(&server, ALL);
    server.signal(Signal::HUP);
    wait_for_decision(&server, ALL);
    assert_eq!(server.stop(), [""; 0]);
}

/// A damage to a rules file: its name, and the function that does it.
type Damage = (&'static str, fn(&Path));

/// Replaces the rules file at a path by something else.
const DAMAGES: [Damage; 7] = [
    ("no file", |path| fs::remove_file(path).unwrap()),
    ("an empty file", |path| fs::write(path, "").unwrap()),
    ("text", |path| fs::write(path, "allow all").unwrap()),
    ("a long text", |path| fs::write(path, "allow all\n".repeat(1000)).unwrap()),
    ("half of the file", |path| {
        let whole = fs::read(path).unwrap();
        fs::write(path, &whole[..whole.len() / 2]).unwrap();
    }),
    ("a byte too few", |path| {
        let whole = fs::read(path).unwrap();
        fs::write(path, &whole[..whole.len() - 1]).unwrap();
    }),
    ("a folder", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
];

#[test]
fn a_broken_rules_file_is_logged_and_the_old_rules_stay() {
    for (what, damage) in DAMAGES {
        let server = start_with_file(with_file(&[(LIST, "x")]));
        let file = server.daemon_dir.child("x");
        damage(&file);
        // Without the signal the daemon does not read the file.
        assert_eq!(
            is_allowed(UnixStream::connect(server.daemon_dir.socket())),
            LIST_ONLY,
            "{what}"
        );
        server.signal(Signal::HUP);
        let line = server.line();
        assert!(line.starts_with("s6-fdholderd: warning: "), "{what}: {line}");
        assert!(line.contains(file.to_str().unwrap()), "{what}: {line}");
        assert_eq!(
            is_allowed(UnixStream::connect(server.daemon_dir.socket())),
            LIST_ONLY,
            "{what}"
        );
        // The same again, and then a valid file.
        server.signal(Signal::HUP);
        assert_eq!(server.line(), line);
        if file.is_dir() {
            fs::remove_dir(&file).unwrap();
        }
        change_file(&server.daemon_dir, &RIGHTS);
        server.signal(Signal::HUP);
        wait_for_decision(&server, ALL);
        assert_eq!(server.stop(), [""; 0]);
    }
}

#[test]
fn truncating_the_rules_file_in_place_changes_nothing() {
    let server = start_with_file(with_file(&RIGHTS));
    wait_for_decision(&server, ALL);
    let file = fs::OpenOptions::new().write(true).open(server.daemon_dir.child("x")).unwrap();
    for length in [2000, 100, 0, 100_000] {
        file.set_len(length).unwrap();
        assert_eq!(is_allowed(UnixStream::connect(server.daemon_dir.socket())), ALL);
    }
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_broken_rules_file_at_the_start_is_fatal() {
    let check = |what: &str, daemon_dir: &DaemonDir, file: &Path| {
        let mut command = daemon_dir.fdholderd(Ours, &["-x", file.to_str().unwrap()]);
        let ended = run(&mut command);
        let right = ended.err.starts_with("s6-fdholderd: fatal: ")
            && ended.err.contains(file.to_str().unwrap())
            && ended.err.lines().count() == 1;
        assert!(right && ended.code == 111, "{what}: {} {}", ended.code, ended.err);
        assert_eq!(ended.out, b"", "{what}");
    };
    for (what, damage) in DAMAGES {
        let daemon_dir = with_file(&RIGHTS);
        let file = daemon_dir.child("x");
        damage(&file);
        check(what, &daemon_dir, &file);
    }
    check("an endless file", &DaemonDir::new(), Path::new("/dev/zero"));
    check("a device", &DaemonDir::new(), Path::new("/dev/null"));
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

#[test]
fn each_request_is_checked_against_its_own_expression() {
    // The expressions for store and retrieve, an identifier, and whether each expression matches it.
    let rows: [(&str, &str, &[u8], bool, bool); 13] = [
        ("^a", "b$", b"ab", true, true),
        ("^a", "b$", b"ba", false, false),
        ("^a", "b$", b"a", true, false),
        ("^a", "b$", b"b", false, true),
        ("(unix|inet):[a-z]+", "^$", b"the unix:socket", true, false),
        ("[[:space:]]", "[^[:print:]]", b"a b\xff", true, true),
        ("[[:space:]]", "[^[:print:]]", b"ab", false, false),
        (".", ".{3}", b"ab", true, false),
        ("a\\.b", "a.b", b"a+b", false, true),
        ("\n", "x", b"anything", true, false),
        ("x", "\n", b"anything", false, true),
        // An empty file unsets the variable, so the client lacks the right. C still allows identifiers
        // with a newline.
        ("", "a", b"a\nb", false, true),
        ("a", "", b"a\nb", true, false),
    ];
    for (stores, retrieves, id, may_store, may_retrieve) in rows {
        let daemon_dir = DaemonDir::new();
        let rights = [(SETDUMP, "x"), (GETDUMP, "x"), (STORE, stores), (RETRIEVE, retrieves)];
        daemon_dir.allow("uid/default", &rights);
        let mut command = daemon_dir.fdholderd(Ours, &["-n2"]);
        let server = Server::start(daemon_dir, &mut command);
        let path = server.daemon_dir.socket();
        let what = String::from_utf8_lossy(id).into_owned();
        let client = server.connect();
        let file = memfd();
        let check = |request: &[u8], fds: &[_], is_allowed: bool, answer: i32| {
            let expected = if is_allowed { answer } else { EPERM };
            assert_eq!(status(&client, request, fds), expected, "{stores} {retrieves} {what}");
        };
        let new = store_request(id, wire::never());
        let fds = [file.as_fd()];
        // The identifier is not held.
        check(&delete_request(id), &[], may_store, ENOENT);
        check(&retrieve_request(id, 0), &[], may_retrieve, ENOENT);
        check(&retrieve_request(id, 1), &[], may_store && may_retrieve, ENOENT);
        check(&new, &fds, may_store, 0);
        // A set dump, which needs no expression, stores the identifier in any case and fills the daemon.
        let held = wire::Held::new(id, wire::expiry_in(TIMEOUT), &file);
        let other = wire::Held::new(b"other", wire::expiry_in(TIMEOUT * 2), memfd());
        wire::set_dump(&path, &[held, other]).unwrap();
        check(&new, &fds, may_store, EBUSY);
        check(&store_request(&[id, id].concat(), wire::never()), &fds, may_store, ENFILE);
        check(&retrieve_request(id, 0), &[], may_retrieve, 0);
        check(&retrieve_request(id, 1), &[], may_store && may_retrieve, 0);
        let is_gone = may_store && may_retrieve;
        check(&delete_request(id), &[], may_store, if is_gone { ENOENT } else { 0 });
        let left = wire::get_dump(&path).unwrap().len();
        assert_eq!(left, if may_store { 1 } else { 2 }, "{what}");
    }
}

#[test]
fn an_invalid_expression_refuses_the_client_with_a_warning() {
    for expression in ["(", "a{2,1}", "[a", "[[:nonsense:]]", "*", "\\", "a{99999}"] {
        for name in [STORE, RETRIEVE] {
            for with_file in [false, true] {
                let daemon_dir = DaemonDir::new();
                daemon_dir.allow("uid/default", &[(LIST, "x"), (name, expression)]);
                daemon_dir.compile(S6_2_15, &daemon_dir.child("x"));
                let file = daemon_dir.child("x");
                let rules = if with_file { ("-x", file) } else { ("-i", daemon_dir.rules()) };
                let options = [rules.0, rules.1.to_str().unwrap()];
                let c = decision(S6_2_15, rules.0, &rules.1);
                let mut command = daemon_dir.fdholderd(Ours, &options);
                let server = Server::start(daemon_dir, &mut command);
                let ours = is_allowed(UnixStream::connect(server.daemon_dir.socket()));
                assert_eq!(ours, c, "{expression:?}");
                if ours.is_none() {
                    let line = server.line();
                    assert!(line.starts_with("s6-fdholderd: warning: "), "{line}");
                }
                assert_eq!(server.stop(), [""; 0]);
            }
        }
    }
}

/// Runs our list tool as another user and group. Returns whether the daemon allows it.
fn may_list(server: &Server, uid: u32, gid: u32) -> bool {
    let copy = server.daemon_dir.child("fdholder");
    if !copy.exists() {
        // Another process makes the copy. If this process had it open for writing, a program that
        // another test starts at that moment would inherit it, and the copy could not be executed.
        assert!(Command::new("cp").arg(program()).arg(&copy).status().unwrap().success());
    }
    let mut command = Command::new(copy);
    command.args(["list", "-t60000"]).arg(server.daemon_dir.socket());
    let (own_uid, own_gid) = (getuid().as_raw(), getgid().as_raw());
    if (uid, gid) != (own_uid, own_gid) {
        command.uid(uid).gid(gid);
    }
    let ended = run(&mut command);
    assert!([0, 1].contains(&ended.code), "{uid} {gid}: {} {}", ended.code, ended.err);
    ended.code == 0
}

#[test]
fn user_and_group_of_a_client_are_those_that_the_kernel_reports() {
    let (own_uid, own_gid) = (getuid().as_raw(), getgid().as_raw());
    // Only root can run clients of other users. The daemon runs as the user of this test.
    let clients = match geteuid().is_root() {
        true => {
            vec![(own_uid, own_gid), (1234, 5678), (1234, own_gid), (own_uid, 5678), (5678, 1234)]
        }
        false => vec![(own_uid, own_gid)],
    };
    let own = (own_uid, own_gid);
    type Allowed = fn((u32, u32), (u32, u32)) -> bool;
    // The keys that allow, the keys that refuse, and which client is allowed, given the daemon's own
    // numbers.
    let (uid, gid) = (format!("uid/{own_uid}"), format!("gid/{own_gid}"));
    let rows: [(&[&str], &[&str], Allowed); 14] = [
        (&["uid/default"], &[], |_, _| true),
        (&["gid/default"], &[], |_, _| false),
        (&["uid/self"], &[], |client, own| client.0 == own.0),
        (&["gid/self"], &[], |client, own| client.1 == own.1),
        (&[&uid], &[], |client, own| client.0 == own.0),
        (&[&gid], &[], |client, own| client.1 == own.1),
        (&["uid/1234"], &[], |client, _| client.0 == 1234),
        (&["gid/5678"], &[], |client, _| client.1 == 5678),
        (&["gid/1234"], &["uid/default"], |client, _| client.1 == 1234),
        (&["uid/default"], &["uid/self"], |client, own| client.0 != own.0),
        (&["uid/default"], &["gid/self"], |client, own| client.1 != own.1),
        (&["uid/1234"], &["gid/self", "gid/5678"], |client, _| client.0 == 1234),
        (&["gid/5678", "uid/self"], &["uid/1234"], |client, own| {
            client.0 != 1234 && (client.1 == 5678 || client.0 == own.0)
        }),
        (&["uid/01234", "uid/1234 ", "gid/+5678"], &[], |_, _| false),
    ];
    for (allow, deny, is_allowed) in rows {
        let daemon_dir = DaemonDir::new();
        allow.iter().for_each(|key| daemon_dir.allow(key, &[(LIST, "x")]));
        deny.iter().for_each(|key| daemon_dir.refuse(key));
        // This socket lets all users connect.
        let mut command = daemon_dir.daemon(&["-v0"]);
        let server = Server::start(daemon_dir, &mut command);
        for client in &clients {
            let found = may_list(&server, client.0, client.1);
            assert_eq!(found, is_allowed(*client, own), "{allow:?} {deny:?} {client:?}");
        }
    }
}

#[test]
fn self_is_the_user_and_group_that_the_daemon_has_changed_to() {
    if !geteuid().is_root() {
        return user_and_group_of_a_client_are_those_that_the_kernel_reports();
    }
    let daemon_dir = DaemonDir::new();
    daemon_dir.allow("uid/self", &[(LIST, "x")]);
    daemon_dir.allow("gid/self", &[(LIST, "x")]);
    let mut command = daemon_dir.daemon(&["-v0", "-u1234", "-g5678"]);
    let server = Server::start(daemon_dir, &mut command);
    for (uid, gid, expected) in
        [(1234, 1, true), (1, 5678, true), (0, 0, false), (5678, 1234, false)]
    {
        assert_eq!(may_list(&server, uid, gid), expected, "{uid} {gid}");
    }
}
