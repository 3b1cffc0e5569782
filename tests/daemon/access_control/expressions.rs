//! Expressions for identifiers.

use super::{EBUSY, ENFILE, ENOENT, EPERM};
use crate::daemon::rule_files::{decision, is_allowed};
use crate::kit::daemon::Generation::{Ours, S6_2_15};
use crate::kit::daemon::{GETDUMP, LIST, RETRIEVE, SETDUMP, STORE};
use crate::kit::memfd;
use crate::kit::server::{DaemonDir, Server, assert_disconnects, status};
use crate::kit::tool::TIMEOUT;
use crate::kit::wire::{self, delete_request, retrieve_request, store_request};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

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
