//! Which user and group the daemon is, where that tells it from others.
//!
//! Whoever has no number in a user namespace is seen there as the overflow user, 65534 in general, and
//! the overflow group. Where somebody may be without a number, that one is no identity.

use super::log;
use super::rules::Own;
use crate::sys::text::Text;
use crate::sys::{Errno, PathBuffer, server};
use crate::text::{Phrase, text};

/// Where the kernel says about users, or about groups, who is seen as what.
struct Files {
    /// The overflow number.
    overflow: Text,
    /// Which numbers there are in this namespace: lines of first number, what it is outside, count.
    map: Text,
}

const USERS: Files = Files {
    overflow: Text::new(c"/proc/sys/kernel/overflowuid"),
    map: Text::new(c"/proc/self/uid_map"),
};
const GROUPS: Files = Files {
    overflow: Text::new(c"/proc/sys/kernel/overflowgid"),
    map: Text::new(c"/proc/self/gid_map"),
};

/// The user and the group of the process, without one that others may be seen as. A warning says so.
pub fn own() -> Own {
    let (uid, gid) = server::effective();
    let uid = own_number(uid, &USERS, text!("uid "));
    Own { uid, gid: own_number(gid, &GROUPS, text!("gid ")) }
}

/// Whether a group is one that may stand for others.
pub fn is_shared_group(gid: u32) -> bool {
    is_shared(gid, &GROUPS)
}

fn own_number(id: u32, files: &Files, kind: Phrase) -> Option<u32> {
    if !is_shared(id, files) {
        return Some(id);
    }
    if let Some(line) = log::warning() {
        line.text(kind).number(id);
        line.text(text!(" may stand for others in this namespace: no client is self by it")).say();
    }
    None
}

/// Whether somebody without a number may be seen as this. It is taken for granted where that cannot be
/// known.
fn is_shared(id: u32, files: &Files) -> bool {
    let path = |text| {
        let mut path = PathBuffer::EMPTY;
        path.text(text);
        path
    };
    let mut line = PathBuffer::EMPTY;
    line.number(id);
    line.byte(b'\n');
    let (mut overflow, mut map) = ([0; 32], [0; 64]);
    let length = path(files.overflow).read_file(&mut overflow).unwrap_or(0);
    // Where the kernel does not say it, it is the default.
    let overflow = if length > 0 { &overflow[..length.min(32)] } else { b"65534\n" };
    if line.get() != overflow {
        return false;
    }
    // All have a number if the map is of one line, of as many as there can be.
    let path = path(files.map);
    match path.read_file(&mut map) {
        // A kernel without namespaces of users has the one file and lacks the other.
        Ok(0) => length == 0 || path.find() != Err(Errno::NOENT),
        Ok(_) => !map.windows(12).any(|words| words == b" 4294967295\n"),
        Err(_) => true,
    }
}
