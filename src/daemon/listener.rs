//! A listening socket, and the user to serve on it as.

use super::identity;
use crate::cli::number;
use crate::io::open_files::OpenFiles;
use crate::io::socket;
use crate::sys::fd::BorrowedFd;
use crate::sys::{Errno, file, process, socket as call};
use core::ffi::CStr;

/// Why there is no listening socket.
pub struct Failure {
    /// `EADDRINUSE`: there is something at the path. `EEXIST`: it is no socket.
    pub errno: Errno,
    /// The process that listens there, if there is one; 0 if it has no number here.
    pub served_by: Option<u32>,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure { errno, served_by: None }
    }
}

/// Makes the descriptor `at` a socket that listens at `path`, to which everybody may connect. A socket
/// that is there already and on which nobody listens is replaced, if `replaces`.
pub fn listen(
    at: BorrowedFd,
    path: &CStr,
    backlog: u32,
    replaces: bool,
    open_files: &OpenFiles,
) -> Result<(), Failure> {
    let fd = socket::open(open_files)?;
    let fd = fd.borrow();
    // For a file that everybody may connect to.
    process::clear_umask();
    let mut bound = call::bind(fd, path);
    if bound == Err(Errno::ADDRINUSE) {
        match call::connect(fd, path) {
            Err(Errno::CONNREFUSED) if replaces => {
                // What is no socket refuses connections as well.
                if !file::is_socket(path) {
                    return Err(Errno::EXIST.into());
                }
                file::remove(path)?;
                bound = call::bind(fd, path);
            }
            // For a client that waits for a place in its backlog the kernel does not say it.
            Ok(()) | Err(Errno::AGAIN) => {
                let process = call::peer(fd).map_or(0, |peer| peer.process);
                return Err(Failure { errno: Errno::ADDRINUSE, served_by: Some(process) });
            }
            Err(_) => {}
        }
    }
    bound?;
    call::listen(fd, backlog)?;
    fd.put_at(at, true)?;
    Ok(())
}

/// How many groups a process can be given here.
const GROUPS_MAX: usize = 64;

/// A user, a group and more groups to act as. What is not given stays as it is, but the groups besides
/// the main one go with anything that is given.
pub struct Privileges {
    /// The user.
    user: Option<u32>,
    /// The main group.
    group: Option<u32>,
    /// Whether anything is given, be it an empty list.
    is_given: bool,
    /// How many groups there are besides the main one.
    count: usize,
    /// These groups.
    groups: [u32; GROUPS_MAX],
}

impl Privileges {
    /// Those that the process has.
    pub const UNCHANGED: Privileges =
        Privileges { user: None, group: None, is_given: false, count: 0, groups: [0; GROUPS_MAX] };

    /// Takes the user, a number; nothing if it is none.
    pub fn set_user(&mut self, value: &[u8]) -> Option<()> {
        (self.user, self.is_given) = (Some(number::whole(value)?), true);
        Some(())
    }

    /// Takes the main group, a number; nothing if it is none.
    pub fn set_group(&mut self, value: &[u8]) -> Option<()> {
        (self.group, self.is_given) = (Some(number::whole(value)?), true);
        Some(())
    }

    /// Takes the other groups: numbers with commas between them, perhaps none at all. Nothing if it is
    /// not that, or the list is too long.
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

    /// Has the process act as that from now on. The user comes last: a process that is root no more may
    /// not change groups.
    pub fn assume(&self) -> Result<(), Errno> {
        if self.is_given {
            let groups = self.groups.get(..self.count).unwrap_or_default();
            match process::set_groups(groups) {
                // A namespace of users may forbid it, and there may be nothing to do.
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

/// Whether the process has these groups and no others. Whether the main one, which is to be `main` if
/// that is given, is among them does not matter.
fn has_groups(groups: &[u32], main: Option<u32>) -> bool {
    let main = main.unwrap_or_else(process::effective_group);
    let mut room = [0; GROUPS_MAX];
    let Ok(has) = process::groups(&mut room) else { return false };
    let is_shared = has.iter().any(|group| identity::is_shared_group(*group));
    are_among(has, groups, main) && are_among(groups, has, main) && !is_shared
}

/// Whether groups are all among others, or the main one.
fn are_among(groups: &[u32], others: &[u32], main: u32) -> bool {
    groups.iter().all(|group| *group == main || others.contains(group))
}
