//! A listening socket, and the user to serve on it as.

use super::identity;
use crate::socket;
use crate::sys::text::Text;
use crate::sys::{self, Errno, server};

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

/// Makes standard input a socket that listens at `path`, to which everybody may connect. A socket that
/// is there already and on which nobody listens is replaced, if `replaces`.
pub fn listen(path: Text, backlog: u32, replaces: bool) -> Result<(), Failure> {
    let fd = socket::open()?;
    let mut bound = server::bind(fd.number(), path);
    if bound == Err(Errno::ADDRINUSE) {
        match sys::connect(fd.number(), path) {
            Err(Errno::CONNREFUSED) if replaces => {
                // What is no socket refuses connections as well.
                if !server::is_socket(path) {
                    return Err(Errno::EXIST.into());
                }
                server::remove(path)?;
                bound = server::bind(fd.number(), path);
            }
            // Of those who wait for a place in its backlog the kernel does not say it.
            Ok(()) | Err(Errno::AGAIN) => {
                let [process, ..] = server::peer(fd.number()).unwrap_or_default();
                return Err(Failure { errno: Errno::ADDRINUSE, served_by: Some(process) });
            }
            Err(_) => {}
        }
    }
    bound?;
    server::listen(fd.number(), backlog)?;
    Ok(server::put_at(fd.number(), 0)?)
}

/// How many groups a process can be given here.
const GROUPS_MAX: usize = 64;

/// A user, a group and more groups to act as. What is not given stays as it is, but the groups
/// besides the main one go with anything that is given.
#[repr(C)]
pub struct Privileges {
    /// The user and the main group.
    ids: [Option<u32>; GROUPS],
    /// Whether anything is given, be it an empty list.
    is_given: bool,
    /// How many groups there are besides the main one.
    count: usize,
    /// These groups.
    groups: [u32; GROUPS_MAX],
}

/// The place of the groups among the privileges, behind the user, 0, and the main group, 1.
pub const GROUPS: usize = 2;

impl Privileges {
    /// Those that the process has.
    pub const UNCHANGED: Privileges =
        Privileges { ids: [None; GROUPS], is_given: false, count: 0, groups: [0; GROUPS_MAX] };

    /// Takes the privilege at that place: a number, or a list of numbers with commas between them,
    /// perhaps none at all. False if it is not that, or the list is too long.
    pub fn set(&mut self, place: usize, mut value: Text) -> bool {
        self.is_given = true;
        if let Some(id) = self.ids.get_mut(place) {
            *id = value.number();
            return id.is_some();
        }
        self.count = 0;
        if value.is_empty() {
            return true;
        }
        while let Some(group) = self.groups.get_mut(self.count) {
            if !value.first().is_ascii_digit() {
                break;
            }
            (*group, value) = value.decimal();
            self.count += 1;
            match value.pop() {
                0 => return true,
                b',' => {}
                _ => break,
            }
        }
        false
    }

    /// Has the process act as that from now on. The user comes last: whoever is root no more may not
    /// change groups.
    pub fn assume(&self) -> Result<(), Errno> {
        let [uid, gid] = self.ids;
        if self.is_given {
            let groups = self.groups.get(..self.count).unwrap_or_default();
            match server::set_groups(groups) {
                // A namespace of users may forbid it, and there may be nothing to do.
                Err(Errno::PERM) if has_groups(groups, gid) => {}
                done => done?,
            }
        }
        if let Some(gid) = gid {
            server::set_group(gid)?;
        }
        if let Some(uid) = uid {
            server::set_user(uid)?;
        }
        Ok(())
    }
}

/// Whether the process has these groups and no others. Whether the main one, which is to be `main` if
/// that is given, is among them does not matter.
fn has_groups(groups: &[u32], main: Option<u32>) -> bool {
    let main = main.unwrap_or(server::effective().1);
    let mut room = [0; GROUPS_MAX];
    let Ok(has) = server::groups(&mut room) else { return false };
    are_among(has, groups, main)
        && are_among(groups, has, main)
        && !has.iter().any(|group| identity::is_shared_group(*group))
}

/// Whether groups are all among others, or the main one.
#[inline(never)]
fn are_among(groups: &[u32], others: &[u32], main: u32) -> bool {
    groups.iter().all(|group| *group == main || others.contains(group))
}
