//! Rules files, and changes to them while the daemon runs.

use super::{
    ALL, EPERM, LIST_ONLY, NOTHING, RIGHTS, change_file, start_with_file, wait_for_decision,
    with_file,
};
use crate::daemon::rule_files::is_allowed;
use crate::kit::daemon::Generation::{Ours, S6_2_15};
use crate::kit::daemon::LIST;
use crate::kit::server::{DaemonDir, status};
use crate::kit::tool::run;
use rustix::process::Signal;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

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
