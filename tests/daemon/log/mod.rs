//! The messages of the daemon on standard error: a line for each event, limited in length and number, and
//! without delay for its work.

mod counted_warnings;
mod events;
mod slow_loggers;

use rustix::process::{getgid, getuid};

/// The clients of this test as the daemon names them.
fn who() -> String {
    format!("uid {} gid {}", getuid().as_raw(), getgid().as_raw())
}

/// A warning about a client.
fn warning(text: &str) -> String {
    format!("s6-fdholderd: warning: {}: {text}", who())
}

/// An information about a client.
fn info(text: &str) -> String {
    format!("s6-fdholderd: info: {}: {text}", who())
}
