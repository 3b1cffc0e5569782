//! A listening socket, and the user to serve on it as.

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
        if self.is_given {
            server::set_groups(self.groups.get(..self.count).unwrap_or_default())?;
        }
        let [uid, gid] = self.ids;
        if let Some(gid) = gid {
            server::set_group(gid)?;
        }
        if let Some(uid) = uid {
            server::set_user(uid)?;
        }
        Ok(())
    }
}
