//! Who may do what with a running daemon: directories and files of rules, and what becomes of them
//! while it runs. How rules are read is in `rule_files`.

use crate::daemon::rule_files::{decision, is_allowed};
use crate::kit::daemon::Generation::{Ours, S6_2_15};
use crate::kit::daemon::{GETDUMP, LIST, RETRIEVE, SETDUMP, STORE};
use crate::kit::server::{Place, Server, answer, hangs_up, status};
use crate::kit::tool::{PATIENCE, run};
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

/// What [`is_allowed`] finds.
type Decision = Option<[bool; 7]>;

/// Everything is allowed: list, dumps out and in, store and retrieve "a" and "b".
const ALL: Decision = Some([true; 7]);
/// Nothing is, but one may connect.
const NOTHING: Decision = Some([false; 7]);
/// Only a list is.
const ONE: Decision = Some([true, false, false, false, false, false, false]);
/// Refused.
const REFUSED: Decision = None;

/// A file or a folder of a rules directory: its path below, and what it is.
type Entry = (&'static str, Kind);

/// What there is in a rules directory.
enum Kind {
    /// A file with this in it.
    File(&'static str),
    /// A folder.
    Folder,
    /// A link to this.
    Link(&'static str),
    /// A file that nobody may read.
    Secret(&'static str),
    /// What was made before may not be entered.
    Closed,
}
use Kind::{Closed, File, Folder, Link, Secret};

/// The rules directory has these, for a client with `uid/default`, who has the right to list if the
/// rest of it is read. Then what ours decides, and what the C one does where that differs, with
/// the reason.
type Row = (&'static str, &'static [Entry], Decision, Option<(Decision, &'static str)>);

const ALLOW: Entry = ("uid/default/allow", File(""));
const ENV: &str = "uid/default/env/S6_FDHOLDER_LIST";

const NUL: &str = "for C it is a newline in the expression, for ours no character";

const DIRECTORIES: &[Row] = &[
    ("nothing", &[], REFUSED, None),
    ("folders", &[("uid/default/env", Folder), ("gid", Folder)], REFUSED, None),
    ("no allow", &[(ENV, File("x"))], REFUSED, None),
    ("a file for a key", &[("uid/default", File("allow"))], REFUSED, None),
    ("a file for a kind", &[("uid", File("allow"))], REFUSED, None),
    ("allow", &[ALLOW], NOTHING, None),
    ("allow and more in it", &[("uid/default/allow", File("deny")), (ENV, File("x"))], ONE, None),
    ("allow as a folder", &[("uid/default/allow", Folder), (ENV, File("x"))], ONE, None),
    ("deny", &[("uid/default/deny", File("")), (ENV, File("x"))], REFUSED, None),
    ("deny as a folder", &[("uid/default/deny", Folder)], REFUSED, None),
    ("both", &[ALLOW, ("uid/default/deny", File("")), (ENV, File("x"))], ONE, None),
    ("other case", &[("uid/default/Allow", File("")), (ENV, File("x"))], REFUSED, None),
    ("an empty folder", &[ALLOW, ("uid/default/env", Folder)], NOTHING, None),
    ("set to nothing", &[ALLOW, (ENV, File("\n"))], ONE, None),
    ("set to nothing by a blank", &[ALLOW, (ENV, File(" "))], ONE, None),
    ("unset", &[ALLOW, (ENV, File(""))], NOTHING, None),
    ("no newline", &[ALLOW, (ENV, File("no"))], ONE, None),
    ("another name", &[ALLOW, ("uid/default/env/S6_FDHOLDER_LISTS", File("x"))], NOTHING, None),
    (
        "in a folder of the folder",
        &[ALLOW, ("uid/default/env/env/S6_FDHOLDER_LIST", File("x"))],
        NOTHING,
        Some((REFUSED, "C reads all that is there, ours what means something")),
    ),
    (
        "a name with a dot",
        &[ALLOW, ("uid/default/env/.S6_FDHOLDER_LIST", File("x"))],
        NOTHING,
        None,
    ),
    (
        "a folder for a variable",
        &[ALLOW, ("uid/default/env/S6_FDHOLDER_LIST", Folder)],
        REFUSED,
        None,
    ),
    ("a file for the folder", &[ALLOW, ("uid/default/env", File("x"))], REFUSED, None),
    ("a link to a variable", &[ALLOW, (ENV, Link("../../../x")), ("x", File("x"))], ONE, None),
    (
        "a link to nothing",
        &[ALLOW, (ENV, Link("../absent"))],
        NOTHING,
        Some((REFUSED, "C lists the folder, for ours there is no such file")),
    ),
    ("a link to itself", &[ALLOW, (ENV, Link("S6_FDHOLDER_LIST"))], REFUSED, None),
    ("a link for allow", &[("uid/default/allow", Link("/")), (ENV, File("x"))], ONE, None),
    (
        "a link to nothing for allow",
        &[("uid/default/allow", Link("absent")), (ENV, File("x"))],
        REFUSED,
        None,
    ),
    (
        "a link for a key",
        &[
            ("x/allow", File("")),
            ("x/env/S6_FDHOLDER_LIST", File("x")),
            ("uid", Folder),
            ("uid/default", Link("../x")),
        ],
        ONE,
        None,
    ),
    ("a group's default", &[("gid/default/allow", File(""))], REFUSED, None),
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
        "an invalid one",
        &[ALLOW, (ENV, File("x")), ("uid/default/env/S6_FDHOLDER_STORE_REGEX", File("("))],
        REFUSED,
        None,
    ),
    (
        "an invalid one for the other",
        &[ALLOW, (ENV, File("x")), ("uid/default/env/S6_FDHOLDER_RETRIEVE_REGEX", File("a{2,1}"))],
        REFUSED,
        None,
    ),
];

/// The path with the number of this user in place of `OWN`, or that of its group.
fn own(path: &str) -> String {
    let number = if path.starts_with("gid") { getgid().as_raw() } else { getuid().as_raw() };
    path.replace("OWN", &number.to_string())
}

/// Makes what there is.
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
fn directories_of_rules_decide_as_those_of_c_do() {
    let mut wrong = Vec::new();
    for (what, entries, due, not) in DIRECTORIES {
        let place = Place::new();
        make(&place.rules(), entries);
        for generation in [Ours, S6_2_15] {
            let due = match not {
                Some((decision, _)) if generation != Ours => decision,
                _ => due,
            };
            let found = decision(generation, "-i", &place.rules());
            if found != *due {
                wrong.push(format!("{generation:?} {what}: {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What nobody but root may read, in the same form, and what is decided by a daemon that is not
/// root. `OWN` is the number of the client.
type Secrets = (&'static str, &'static [Entry], Decision);
const SECRETS: &[Secrets] = &[
    ("nothing", &[ALLOW, (ENV, File("x"))], ONE),
    ("a variable", &[ALLOW, (ENV, Secret("x"))], REFUSED),
    ("an expression", &[ALLOW, ("uid/default/env/S6_FDHOLDER_STORE_REGEX", Secret(""))], REFUSED),
    ("another name", &[ALLOW, (ENV, File("x")), ("uid/default/env/OTHER", Secret("x"))], ONE),
    ("allow, which is there", &[("uid/default/allow", Secret("")), (ENV, File("x"))], ONE),
    ("deny, which is there", &[("uid/OWN/deny", Secret("")), ALLOW, (ENV, File("x"))], REFUSED),
    ("the variables", &[ALLOW, (ENV, File("x")), ("uid/default/env", Closed)], REFUSED),
    (
        "a key that refuses",
        &[("uid/OWN/deny", File("")), ("uid/OWN", Closed), ALLOW, (ENV, File("x"))],
        REFUSED,
    ),
    (
        "a key without a rule",
        &[("uid/OWN/x", File("")), ("uid/OWN", Closed), ALLOW, (ENV, File("x"))],
        REFUSED,
    ),
    (
        "the groups",
        &[("gid/OWN/deny", File("")), ("gid", Closed), ALLOW, (ENV, File("x"))],
        REFUSED,
    ),
    ("all", &[ALLOW, (ENV, File("x")), ("", Closed)], REFUSED),
];

#[test]
fn what_cannot_be_read_is_refused_and_nothing_else_decides() {
    let options: &[&str] = if geteuid().is_root() { &["-u65534", "-g65534"] } else { &[] };
    let mut wrong = Vec::new();
    for (what, entries, due) in SECRETS {
        let place = Place::new();
        make(&place.rules(), entries);
        let mut command = place.daemon(options);
        let server = Server::start(place, &mut command);
        let found = is_allowed(UnixStream::connect(server.place.socket()));
        if found != *due {
            wrong.push(format!("{what}: {found:?}"));
        }
        for (path, kind) in entries.iter() {
            if let Closed = kind {
                let path = server.place.rules().join(own(path));
                fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
            }
        }
        // A refusal for that reason is a warning.
        if due.is_none() && !what.starts_with("deny") {
            let mut line = server.line();
            // Of the folder itself it is said at the start already.
            if line.starts_with("s6-fdholderd: warning: unable to read rules from ") {
                assert_eq!(*what, "all");
                line = server.line();
            }
            assert!(line.starts_with("s6-fdholderd: warning: uid "), "{what}: {line}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn too_long_an_expression_is_refused_and_not_cut() {
    // Blanks at the end do not count: if this loses its end, it allows all with an "a" in it.
    let long = |length: usize| format!("a{}b", " ".repeat(length - 2));
    for length in [5000, 70_000, 1 << 20] {
        for name in [STORE, RETRIEVE] {
            let place = Place::new();
            place.allow("uid/default", &[(LIST, "x"), (name, &long(length))]);
            let mut command = place.fdholderd(Ours, &[]);
            let server = Server::start(place, &mut command);
            hangs_up(&server.connect());
            assert!(server.line().starts_with("s6-fdholderd: warning: "));
        }
    }
    // A first line that ends in time is none of these, whatever follows.
    let place = Place::new();
    place.allow("uid/default", &[(STORE, &format!("^a$\n{}", long(1 << 20)))]);
    let mut command = place.fdholderd(Ours, &[]);
    let server = Server::start(place, &mut command);
    let client = server.connect();
    assert_eq!(status(&client, &delete_request(b"a"), &[]), ENOENT);
    assert_eq!(status(&client, &delete_request(b"b"), &[]), EPERM);
}

#[test]
fn a_pipe_among_the_rules_keeps_nobody_waiting() {
    let place = Place::open();
    for name in [STORE, LIST] {
        let path = place.rules().join("uid/default/env").join(name);
        fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    }
    let mut command = place.fdholderd(Ours, &[]);
    let server = Server::start(place, &mut command);
    // Nobody writes into them, so there is nothing in them: without those rights.
    let (reply, _) = answer(&server.connect(), b"L", &[]).expect("an answer");
    assert_eq!(reply, [EPERM as u8]);
}

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EBUSY: i32 = 16;
const ENFILE: i32 = 23;

/// A place whose rules have been made into a file at `x`, with the variables in it.
fn with_file(rights: &[(&str, &str)]) -> Place {
    let place = Place::new();
    change_file(&place, rights);
    place
}

/// Makes another file in place of the one at `x`.
fn change_file(place: &Place, rights: &[(&str, &str)]) {
    let _ = fs::remove_dir_all(place.rules().join("uid"));
    place.allow("uid/default", rights);
    place.compile(S6_2_15, &place.child("x"));
}

/// A daemon with that file.
fn start_with_file(place: Place) -> Server {
    let file = place.child("x");
    let mut command = place.fdholderd(Ours, &["-x", file.to_str().unwrap()]);
    Server::start(place, &mut command)
}

/// Waits until new clients are decided about in this way.
fn becomes(server: &Server, due: Decision) {
    let begun = Instant::now();
    while is_allowed(UnixStream::connect(server.place.socket())) != due {
        assert!(begun.elapsed() < PATIENCE, "it does not become {due:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// All rights, as in [`ALL`].
const RIGHTS: [(&str, &str); 5] =
    [(LIST, "x"), (GETDUMP, "x"), (SETDUMP, "x"), (STORE, "\n"), (RETRIEVE, "\n")];

#[test]
fn a_directory_is_read_at_each_connection_and_who_is_connected_keeps_the_rights() {
    let place = Place::new();
    let mut command = place.fdholderd(Ours, &[]);
    let server = Server::start(place, &mut command);
    let path = server.place.socket();
    let rules = server.place.rules();
    let now = || is_allowed(UnixStream::connect(&path));
    assert_eq!(now(), REFUSED);
    server.place.allow("uid/default", &[(LIST, "x")]);
    assert_eq!(now(), ONE);
    let early = server.connect();
    assert_eq!(status(&early, b"L", &[]), 0);
    server.place.allow("uid/default", &RIGHTS);
    assert_eq!(now(), ALL);
    assert_eq!(status(&early, b"?", &[]), EPERM);
    fs::write(rules.join("uid/default/env").join(STORE), "^a$").unwrap();
    assert_eq!(now(), Some([true, true, true, true, false, true, true]));
    server.place.refuse("uid/self");
    assert_eq!(now(), REFUSED);
    assert_eq!(status(&early, b"L", &[]), 0);
    fs::remove_dir_all(&rules).unwrap();
    assert_eq!(now(), REFUSED);
    assert_eq!(status(&early, b"L", &[]), 0);
    server.place.allow("uid/default", &RIGHTS);
    assert_eq!(now(), ALL);
}

#[test]
fn a_directory_that_is_not_there_refuses_everybody() {
    let place = Place::open();
    let absent = place.child("absent");
    for name in [absent.to_str().unwrap(), "", "/dev/null"] {
        let _ = fs::remove_file(place.socket());
        let mut command = place.fdholderd(Ours, &["-v0", "-i", name]);
        let _server = Server::start(Place::new(), &mut command);
        assert_eq!(is_allowed(UnixStream::connect(place.socket())), REFUSED, "{name:?}");
    }
}

#[test]
fn a_hangup_brings_a_new_file_into_effect() {
    let server = start_with_file(with_file(&[(LIST, "x")]));
    becomes(&server, ONE);
    let early = server.connect();
    assert_eq!(status(&early, b"L", &[]), 0);
    change_file(&server.place, &RIGHTS);
    // Not yet.
    assert_eq!(is_allowed(UnixStream::connect(server.place.socket())), ONE);
    server.signal(Signal::HUP);
    becomes(&server, ALL);
    assert_eq!(status(&early, b"?", &[]), EPERM);
    // A larger one, and then a smaller one again.
    let long = "a|".repeat(1000) + "a";
    change_file(&server.place, &[(LIST, "x"), ("MORE", &long), ("AND_MORE", &"x".repeat(1900))]);
    server.signal(Signal::HUP);
    becomes(&server, ONE);
    change_file(&server.place, &[]);
    server.signal(Signal::HUP);
    becomes(&server, NOTHING);
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_file_with_thousands_of_rules_will_do() {
    let place = Place::new();
    place.allow("uid/default", &RIGHTS);
    for number in 0..3000 {
        // None of them is about this user.
        place.refuse(&format!("gid/{}", 4_000_000_000u32 + number));
    }
    place.compile(S6_2_15, &place.child("x"));
    let server = start_with_file(place);
    becomes(&server, ALL);
    server.signal(Signal::HUP);
    becomes(&server, ALL);
    assert_eq!(server.stop(), [""; 0]);
}

/// What becomes of a file, and how.
type Spoiled = (&'static str, fn(&Path));

/// What is no file of rules, made out of one at a path.
const BROKEN: [Spoiled; 7] = [
    ("nothing", |path| fs::remove_file(path).unwrap()),
    ("an empty file", |path| fs::write(path, "").unwrap()),
    ("text", |path| fs::write(path, "allow all").unwrap()),
    ("much text", |path| fs::write(path, "allow all\n".repeat(1000)).unwrap()),
    ("half of it", |path| {
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
fn a_broken_file_keeps_the_old_one_and_is_said() {
    for (what, spoil) in BROKEN {
        let server = start_with_file(with_file(&[(LIST, "x")]));
        let file = server.place.child("x");
        spoil(&file);
        // Without the signal nothing changes.
        assert_eq!(is_allowed(UnixStream::connect(server.place.socket())), ONE, "{what}");
        server.signal(Signal::HUP);
        let line = server.line();
        assert!(line.starts_with("s6-fdholderd: warning: "), "{what}: {line}");
        assert!(line.contains(file.to_str().unwrap()), "{what}: {line}");
        assert_eq!(is_allowed(UnixStream::connect(server.place.socket())), ONE, "{what}");
        // Once more, and then a good one.
        server.signal(Signal::HUP);
        assert_eq!(server.line(), line);
        if file.is_dir() {
            fs::remove_dir(&file).unwrap();
        }
        change_file(&server.place, &RIGHTS);
        server.signal(Signal::HUP);
        becomes(&server, ALL);
        assert_eq!(server.stop(), [""; 0]);
    }
}

#[test]
fn a_file_that_is_cut_in_its_place_changes_nothing() {
    let server = start_with_file(with_file(&RIGHTS));
    becomes(&server, ALL);
    let file = fs::OpenOptions::new().write(true).open(server.place.child("x")).unwrap();
    for length in [2000, 100, 0, 100_000] {
        file.set_len(length).unwrap();
        assert_eq!(is_allowed(UnixStream::connect(server.place.socket())), ALL);
    }
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_broken_file_at_the_start_is_fatal() {
    let check = |what: &str, place: &Place, file: &Path| {
        let mut command = place.fdholderd(Ours, &["-x", file.to_str().unwrap()]);
        let ended = run(&mut command);
        let right = ended.err.starts_with("s6-fdholderd: fatal: ")
            && ended.err.contains(file.to_str().unwrap())
            && ended.err.lines().count() == 1;
        assert!(right && ended.code == 111, "{what}: {} {}", ended.code, ended.err);
        assert_eq!(ended.out, b"", "{what}");
    };
    for (what, spoil) in BROKEN {
        let place = with_file(&RIGHTS);
        let file = place.child("x");
        spoil(&file);
        check(what, &place, &file);
    }
    check("no end", &Place::new(), Path::new("/dev/zero"));
    check("no file", &Place::new(), Path::new("/dev/null"));
}

#[test]
fn a_hangup_does_nothing_to_a_directory() {
    let mut server = Server::open(Ours, &[]);
    let client = server.connect();
    assert_eq!(status(&client, &store_request(b"it", wire::never()), &[memfd().as_fd()]), 0);
    for _ in 0..10 {
        server.signal(Signal::HUP);
        server.serves();
    }
    assert_eq!(wire::list(&client).unwrap(), [b"it"]);
    drop(client);
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn each_operation_has_its_expression() {
    // Expressions for store and retrieve, an identifier, and whether they are found in it.
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
        // Without an expression nothing may be done. C lets identifiers with a newline through.
        ("", "a", b"a\nb", false, true),
        ("a", "", b"a\nb", true, false),
    ];
    for (stores, retrieves, id, may_store, may_retrieve) in rows {
        let place = Place::new();
        let rights = [(SETDUMP, "x"), (GETDUMP, "x"), (STORE, stores), (RETRIEVE, retrieves)];
        place.allow("uid/default", &rights);
        let mut command = place.fdholderd(Ours, &["-n2"]);
        let server = Server::start(place, &mut command);
        let path = server.place.socket();
        let what = String::from_utf8_lossy(id).into_owned();
        let client = server.connect();
        let file = memfd();
        let check = |request: &[u8], fds: &[_], is_right: bool, due: i32| {
            let due = if is_right { due } else { EPERM };
            assert_eq!(status(&client, request, fds), due, "{stores} {retrieves} {what}");
        };
        let new = store_request(id, wire::never());
        let fds = [file.as_fd()];
        // Of nothing.
        check(&delete_request(id), &[], may_store, ENOENT);
        check(&retrieve_request(id, 0), &[], may_retrieve, ENOENT);
        check(&retrieve_request(id, 1), &[], may_store && may_retrieve, ENOENT);
        check(&new, &fds, may_store, 0);
        // Whatever is there, by a dump, which asks for no expression; and there is no more room.
        let held = wire::Held::new(id, wire::expiry_in(PATIENCE), &file);
        let other = wire::Held::new(b"other", wire::expiry_in(PATIENCE * 2), memfd());
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
fn an_invalid_expression_refuses_with_a_warning() {
    for expression in ["(", "a{2,1}", "[a", "[[:nonsense:]]", "*", "\\", "a{99999}"] {
        for name in [STORE, RETRIEVE] {
            for with_file in [false, true] {
                let place = Place::new();
                place.allow("uid/default", &[(LIST, "x"), (name, expression)]);
                place.compile(S6_2_15, &place.child("x"));
                let file = place.child("x");
                let rules = if with_file { ("-x", file) } else { ("-i", place.rules()) };
                let options = [rules.0, rules.1.to_str().unwrap()];
                let c = decision(S6_2_15, rules.0, &rules.1);
                let mut command = place.fdholderd(Ours, &options);
                let server = Server::start(place, &mut command);
                let ours = is_allowed(UnixStream::connect(server.place.socket()));
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

/// Asks for a list as another user and group, with our own client: whether that is allowed.
fn asks(server: &Server, uid: u32, gid: u32) -> bool {
    let copy = server.place.child("fdholder");
    if !copy.exists() {
        // The copy of another process: while this one had it open for writing, a program that is
        // started meanwhile by another test would have it open as well.
        assert!(Command::new("cp").arg(program()).arg(&copy).status().unwrap().success());
    }
    let mut command = Command::new(copy);
    command.args(["list", "-t60000"]).arg(server.place.socket());
    let (own_uid, own_gid) = (getuid().as_raw(), getgid().as_raw());
    if (uid, gid) != (own_uid, own_gid) {
        command.uid(uid).gid(gid);
    }
    let ended = run(&mut command);
    assert!([0, 1].contains(&ended.code), "{uid} {gid}: {} {}", ended.code, ended.err);
    ended.code == 0
}

#[test]
fn users_and_groups_are_those_that_the_kernel_says() {
    let (own_uid, own_gid) = (getuid().as_raw(), getgid().as_raw());
    // Others can only be had by root. The daemon is the one who runs this.
    let clients = match geteuid().is_root() {
        true => {
            vec![(own_uid, own_gid), (1234, 5678), (1234, own_gid), (own_uid, 5678), (5678, 1234)]
        }
        false => vec![(own_uid, own_gid)],
    };
    let own = (own_uid, own_gid);
    type Due = fn((u32, u32), (u32, u32)) -> bool;
    // Keys that allow, keys that refuse, and who may then.
    let (uid, gid) = (format!("uid/{own_uid}"), format!("gid/{own_gid}"));
    let rows: [(&[&str], &[&str], Due); 14] = [
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
    for (allow, deny, due) in rows {
        let place = Place::new();
        allow.iter().for_each(|key| place.allow(key, &[(LIST, "x")]));
        deny.iter().for_each(|key| place.refuse(key));
        // Everybody may connect to a socket that it has made.
        let mut command = place.daemon(&["-v0"]);
        let server = Server::start(place, &mut command);
        for client in &clients {
            let found = asks(&server, client.0, client.1);
            assert_eq!(found, due(*client, own), "{allow:?} {deny:?} {client:?}");
        }
    }
}

#[test]
fn self_is_who_the_daemon_has_become() {
    if !geteuid().is_root() {
        return users_and_groups_are_those_that_the_kernel_says();
    }
    let place = Place::new();
    place.allow("uid/self", &[(LIST, "x")]);
    place.allow("gid/self", &[(LIST, "x")]);
    let mut command = place.daemon(&["-v0", "-u1234", "-g5678"]);
    let server = Server::start(place, &mut command);
    for (uid, gid, due) in [(1234, 1, true), (1, 5678, true), (0, 0, false), (5678, 1234, false)] {
        assert_eq!(asks(&server, uid, gid), due, "{uid} {gid}");
    }
}
