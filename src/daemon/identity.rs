//! Which user and group the daemon is, where that tells it from others.
//!
//! A user that has no number in a user namespace is seen there as the overflow user, 65534 in general,
//! and its group as the overflow group. Where somebody may be without a number, that one is no identity.

use super::access::Own;
use super::log::Log;
use crate::io::path::PathBuffer;
use crate::sys::{Errno, file, process};
use core::ffi::CStr;

/// Where the kernel says about users, or about groups, who is seen as what.
struct Files {
    /// The overflow number.
    overflow: &'static CStr,
    /// Which numbers there are in this namespace: lines of first number, what it is outside, count.
    map: &'static CStr,
}

const USERS: Files =
    Files { overflow: c"/proc/sys/kernel/overflowuid", map: c"/proc/self/uid_map" };
const GROUPS: Files =
    Files { overflow: c"/proc/sys/kernel/overflowgid", map: c"/proc/self/gid_map" };

/// The user and the group of the process, without one that others may be seen as. A warning says so.
pub fn own(log: &mut Log) -> Own {
    let (uid, gid) = (process::effective_user(), process::effective_group());
    let uid = own_number(uid, &USERS, "uid ", log);
    Own { uid, gid: own_number(gid, &GROUPS, "gid ", log) }
}

/// Whether a group is one that may stand for others.
pub fn is_shared_group(gid: u32) -> bool {
    is_shared(gid, &GROUPS)
}

fn own_number(id: u32, files: &Files, kind: &str, log: &mut Log) -> Option<u32> {
    if !is_shared(id, files) {
        return Some(id);
    }
    log.warn(|line| {
        line.text(kind).number(id);
        line.text(" may stand for others in this namespace: no client is self by it");
    });
    None
}

/// Whether somebody without a number may be seen as this. It is taken for granted where that cannot be
/// known.
fn is_shared(id: u32, files: &Files) -> bool {
    let mut line = PathBuffer::EMPTY;
    line.number(id).push(b"\n");
    let (mut bytes, mut map) = ([0; 32], [0; 64]);
    // Where the kernel does not say it, it is the default.
    let said = read(files.overflow, &mut bytes);
    let is_said = said.is_ok();
    if line.bytes() != said.unwrap_or(b"65534\n") {
        return false;
    }
    // All have a number if the map is of one line, of as many as there can be.
    match read(files.map, &mut map) {
        Ok(map) => !map.windows(12).any(|words| words == b" 4294967295\n"),
        // A kernel without namespaces of users has the one file and lacks the other.
        Err(Errno::NOENT) => !is_said,
        Err(_) => true,
    }
}

/// The beginning of a file.
fn read<'a>(path: &CStr, bytes: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let opened = file::open(path)?;
    let length = file::read(opened.borrow(), bytes)?;
    bytes.get(..length).filter(|bytes| !bytes.is_empty()).ok_or(Errno::IO)
}
