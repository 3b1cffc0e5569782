//! The start of the daemon: command lines, sockets, users and groups, limits, and standard descriptors.

mod capacity;
mod command_lines;
mod sockets;
mod standard_descriptors;
mod users;

use crate::kit::daemon::Generation::{self};
use crate::kit::server::DaemonDir;
use crate::kit::tool::{Ended, run};
use std::process::Stdio;

/// The names of both daemons, with the operands of a valid command line.
const TOOLS: [(&str, &[&str]); 2] =
    [("s6-fdholderd", &[]), ("s6-fdholder-daemon", &["/absent/socket"])];

/// Runs a daemon with `/dev/null` as its standard input.
fn try_to_start(generation: Generation, name: &str, arguments: &[&str]) -> Ended {
    run(generation.command(name).args(arguments).stdin(Stdio::null()))
}

/// Checks that a daemon ended with the usage line and exit 100.
fn assert_usage(what: &str, name: &str, ended: &Ended) {
    let right = ended.err.starts_with(&format!("{name}: usage: {name} ["))
        && ended.err.ends_with('\n')
        && ended.err.lines().count() == 1;
    assert!(right && ended.code == 100, "{what}: exit {} {:?}", ended.code, ended.err);
    assert_eq!(ended.out, b"", "{what}");
}

/// Checks that a daemon ended with this message and exit 111.
fn assert_fatal(what: &str, ended: &Ended, message: &str) {
    let text = format!("{message}\n");
    assert_eq!((ended.code, &ended.err[..]), (111, &text[..]), "{what}");
    assert_eq!(ended.out, b"", "{what}");
}

/// Runs `s6-fdholder-daemon`, which must fail.
fn fails_to_bind(daemon_dir: &DaemonDir, options: &[&str]) -> Ended {
    run(&mut daemon_dir.daemon(options))
}
