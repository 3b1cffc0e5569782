//! The user and the group of the daemon, if they distinguish it from others.
//!
//! In a user namespace, a user without a number there appears as the overflow user, by default 65534,
//! and a group as the overflow group. Where such strangers are possible, that number identifies nobody.

use super::access::SelfIdentity;
use super::log::Log;
use crate::io::path::PathBuffer;
use crate::sys::{Errno, file, process};
use core::ffi::CStr;

/// Files of the kernel about users, or about groups.
struct Files {
    /// The overflow number.
    overflow: &'static CStr,
    /// The numbers of this namespace: lines with the first number, the number outside, the count.
    map: &'static CStr,
}

const USERS: Files =
    Files { overflow: c"/proc/sys/kernel/overflowuid", map: c"/proc/self/uid_map" };
const GROUPS: Files =
    Files { overflow: c"/proc/sys/kernel/overflowgid", map: c"/proc/self/gid_map" };

/// The effective user and group of the process, each `None` with a warning if strangers may appear with
/// it.
pub fn own(log: &mut Log) -> SelfIdentity {
    let (uid, gid) = (process::effective_user(), process::effective_group());
    let uid = own_number(uid, &USERS, "uid ", log);
    SelfIdentity { uid, gid: own_number(gid, &GROUPS, "gid ", log) }
}

/// True if strangers may appear with this group.
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

/// True if users without a number may appear with this number, or if the kernel does not tell.
fn is_shared(id: u32, files: &Files) -> bool {
    let mut line = PathBuffer::EMPTY;
    line.number(id).push(b"\n");
    let (mut bytes, mut map) = ([0; 32], [0; 64]);
    // The default, if the kernel does not tell the overflow number.
    let said = read(files.overflow, &mut bytes);
    let is_said = said.is_ok();
    if line.bytes() != said.unwrap_or(b"65534\n") {
        return false;
    }
    // Nobody is without a number if the map is one line that covers all numbers.
    match read(files.map, &mut map) {
        Ok(map) => !map.windows(12).any(|words| words == b" 4294967295\n"),
        // A kernel without user namespaces has the first file and lacks the second.
        Err(Errno::NOENT) => !is_said,
        Err(_) => true,
    }
}

/// Reads the start of a file. `EIO` if it is empty.
fn read<'a>(path: &CStr, bytes: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let opened = file::open(path)?;
    let length = file::read(opened.borrow(), bytes)?;
    bytes.get(..length).filter(|bytes| !bytes.is_empty()).ok_or(Errno::IO)
}
