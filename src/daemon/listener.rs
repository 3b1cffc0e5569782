//! A listening socket, and the user to serve on it as.

use crate::getopt;
use crate::socket;
use crate::sys::text::Text;
use crate::sys::{self, Errno, server};

/// Makes standard input a socket that listens at `path`, to which everybody may connect.
///
/// A socket that is there already and on which nobody listens is replaced, if that is wanted.
/// `EADDRINUSE` if somebody does, or it is not wanted; `EEXIST` if it is no socket.
pub fn listen(path: Text, backlog: u32, replaces: bool) -> Result<(), Errno> {
    let fd = socket::open()?;
    match server::bind(fd.number(), path) {
        Err(Errno::ADDRINUSE) if replaces => {
            // What is no socket refuses connections as well.
            if sys::connect(socket::open()?.number(), path) != Err(Errno::CONNREFUSED) {
                return Err(Errno::ADDRINUSE);
            }
            if !server::is_socket(path) {
                return Err(Errno::EXIST);
            }
            server::remove(path)?;
            server::bind(fd.number(), path)?;
        }
        bound => bound?,
    }
    server::listen(fd.number(), backlog)?;
    server::put_at(fd.number(), 0)
}

/// How many groups a process can be given here.
const GROUPS_MAX: usize = 64;

/// A user and groups to act as; what is not given stays as it is, but the groups besides the main
/// one go with anything that is given.
#[derive(Clone, Copy)]
pub struct Privileges {
    /// The user.
    pub uid: Option<u32>,
    /// The main group.
    pub gid: Option<u32>,
    groups: [u32; GROUPS_MAX],
    count: usize,
    has_groups: bool,
}

impl Privileges {
    /// Those that the process has.
    pub const UNCHANGED: Privileges =
        Privileges { uid: None, gid: None, groups: [0; GROUPS_MAX], count: 0, has_groups: false };

    /// Takes a list of groups, numbers with commas between them, perhaps none at all. False if it
    /// is no such list, or too long.
    pub fn set_groups(&mut self, mut list: Text) -> bool {
        (self.count, self.has_groups) = (0, true);
        while !list.is_empty() {
            let is_number = list.first().is_ascii_digit();
            let (group, rest) = getopt::decimal(list);
            list = rest;
            // Behind a comma comes another one.
            let is_last = list.is_empty();
            let is_right = is_number && (is_last || list.pop() == b',' && !list.is_empty());
            let Some(place) = self.groups.get_mut(self.count).filter(|_| is_right) else {
                return false;
            };
            *place = group;
            self.count += 1;
        }
        true
    }

    /// Has the process act as that from now on.
    pub fn assume(&self) -> Result<(), Errno> {
        if self.has_groups || self.uid.is_some() || self.gid.is_some() {
            server::set_groups(self.groups.get(..self.count).unwrap_or_default())?;
        }
        if let Some(gid) = self.gid {
            server::set_group(gid)?;
        }
        if let Some(uid) = self.uid {
            server::set_user(uid)?;
        }
        Ok(())
    }
}
