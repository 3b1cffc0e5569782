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
    let mut bound = server::bind(fd.number(), path);
    let is_refused = || sys::connect(fd.number(), path) == Err(Errno::CONNREFUSED);
    if bound == Err(Errno::ADDRINUSE) && replaces && is_refused() {
        // What is no socket refuses connections as well.
        if !server::is_socket(path) {
            return Err(Errno::EXIST);
        }
        server::remove(path)?;
        bound = server::bind(fd.number(), path);
    }
    bound?;
    server::listen(fd.number(), backlog)?;
    server::put_at(fd.number(), 0)
}

/// How many groups a process can be given here.
const GROUPS_MAX: usize = 64;

/// A user and groups to act as; what is not given stays as it is, but the groups besides the main
/// one go with anything that is given.
#[repr(C)]
pub struct Privileges {
    /// The user.
    pub uid: Option<u32>,
    /// The main group.
    pub gid: Option<u32>,
    has_groups: bool,
    count: usize,
    groups: [u32; GROUPS_MAX],
}

impl Privileges {
    /// Those that the process has.
    pub const UNCHANGED: Privileges =
        Privileges { uid: None, gid: None, groups: [0; GROUPS_MAX], count: 0, has_groups: false };

    /// Takes a list of groups, numbers with commas between them, perhaps none at all. False if it
    /// is no such list, or too long.
    #[inline(never)]
    pub fn set_groups(&mut self, mut list: Text) -> bool {
        (self.count, self.has_groups) = (0, true);
        if list.is_empty() {
            return true;
        }
        while let Some(place) = self.groups.get_mut(self.count) {
            if !list.first().is_ascii_digit() {
                break;
            }
            (*place, list) = getopt::decimal(list);
            self.count += 1;
            match list.pop() {
                0 => return true,
                b',' => {}
                _ => break,
            }
        }
        false
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
