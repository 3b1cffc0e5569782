//! Making a listening socket, and dropping privileges.

use super::identity;
use crate::cli::number;
use crate::io::listener::{self, Taken};
use crate::io::open_files::OpenFiles;
use crate::io::socket;
use crate::sys::fd::BorrowedFd;
use crate::sys::{Errno, process, socket as call};
use core::ffi::CStr;

/// Why there is no listening socket.
pub struct Failure {
    /// `EADDRINUSE` if something is at the path, `EEXIST` if that is no socket.
    pub errno: Errno,
    /// The process that listens at the path, if one does; 0 if its number is not known here.
    pub served_by: Option<u32>,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure { errno, served_by: None }
    }
}

/// Makes `at` a socket that listens at `path`. Every user may connect. With `replaces`, a socket at the
/// path is removed if nobody listens on it.
pub fn listen(
    at: BorrowedFd,
    path: &CStr,
    backlog: u32,
    replaces: bool,
    open_files: &OpenFiles,
) -> Result<(), Failure> {
    let fd = socket::open(call::UNIX, call::STREAM, open_files)?;
    let fd = fd.borrow();
    // Every user may then write to the socket's file.
    process::set_umask(0);
    listener::bind_at(fd, path, replaces).map_err(|Taken { errno, is_served }| {
        let process = || call::peer(fd).map_or(0, |peer| peer.process);
        Failure { errno, served_by: is_served.then(process) }
    })?;
    call::listen(fd, backlog)?;
    fd.put_at(at, true)?;
    Ok(())
}

/// The most supplementary groups that can be set.
const GROUPS_MAX: usize = 64;

/// The user, the group and the supplementary groups to run as. What is not given does not change,
/// except that the supplementary groups are replaced as soon as anything is given.
pub struct Privileges {
    /// The user.
    user: Option<u32>,
    /// The main group.
    group: Option<u32>,
    /// True if anything has been given, even an empty list of groups.
    is_given: bool,
    /// The number of supplementary groups.
    count: usize,
    /// The supplementary groups.
    groups: [u32; GROUPS_MAX],
}

impl Privileges {
    /// Changes nothing.
    pub const UNCHANGED: Privileges =
        Privileges { user: None, group: None, is_given: false, count: 0, groups: [0; GROUPS_MAX] };

    /// Parses the user's number. `None` if it is not valid.
    pub fn set_user(&mut self, value: &[u8]) -> Option<()> {
        (self.user, self.is_given) = (Some(number::whole(value)?), true);
        Some(())
    }

    /// Parses the group's number. `None` if it is not valid.
    pub fn set_group(&mut self, value: &[u8]) -> Option<()> {
        (self.group, self.is_given) = (Some(number::whole(value)?), true);
        Some(())
    }

    /// Parses the supplementary groups: numbers separated by commas, or an empty list. `None` if it is
    /// not valid, or has more than `GROUPS_MAX` groups.
    pub fn set_groups(&mut self, value: &[u8]) -> Option<()> {
        (self.count, self.is_given) = (0, true);
        if value.is_empty() {
            return Some(());
        }
        for part in value.split(|byte| *byte == b',') {
            *self.groups.get_mut(self.count)? = number::whole(part)?;
            self.count += 1;
        }
        Some(())
    }

    /// Changes the user and the groups of the process. The user comes last: without root's privileges a
    /// process may not change its groups.
    pub fn assume(&self) -> Result<(), Errno> {
        if self.is_given {
            let groups = self.groups.get(..self.count).unwrap_or_default();
            match process::set_groups(groups) {
                // A user namespace may forbid it, although the process has these groups already.
                Err(Errno::PERM) if has_groups(groups, self.group) => {}
                done => done?,
            }
        }
        if let Some(gid) = self.group {
            process::set_group(gid)?;
        }
        if let Some(uid) = self.user {
            process::set_user(uid)?;
        }
        Ok(())
    }
}

/// True if the process has exactly these supplementary groups. The main group may be among them or not;
/// `None` stands for the present one.
fn has_groups(groups: &[u32], main: Option<u32>) -> bool {
    let main = main.unwrap_or_else(process::effective_group);
    let mut room = [0; GROUPS_MAX];
    let Ok(has) = process::groups(&mut room) else { return false };
    let is_shared = has.iter().any(|group| identity::is_shared_group(*group));
    are_among(has, groups, main) && are_among(groups, has, main) && !is_shared
}

/// True if each of `groups` is among `others`, or is the main group.
fn are_among(groups: &[u32], others: &[u32], main: u32) -> bool {
    groups.iter().all(|group| *group == main || others.contains(group))
}
