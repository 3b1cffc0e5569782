//! The access rules of a running daemon: rules directories and rules files, and changes to them while it
//! runs. `rule_files` tests how rules are parsed.

mod directories;
mod expressions;
mod files;
mod users;

use crate::daemon::rule_files::is_allowed;
use crate::kit::daemon::Generation::{Ours, S6_2_15};
use crate::kit::daemon::{GETDUMP, LIST, RETRIEVE, SETDUMP, STORE};
use crate::kit::server::{DaemonDir, Server};
use crate::kit::tool::TIMEOUT;
use std::fs;
use std::os::unix::net::UnixStream;
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
