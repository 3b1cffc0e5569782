//! Finding the sockets of a process.

use crate::cli::exit::Exit;
use crate::cli::output::Writer;
use crate::io::open_files::OpenFiles;
use crate::protocol::address::{Address, Text};
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::file::{self, Identity};
use crate::sys::limit::OpenFileLimit;
use crate::sys::memory::List;
use crate::sys::pidfd::Process;
use crate::sys::strings::Strings;
use crate::sys::{Errno, socket};
use core::ffi::CStr;

/// The most sockets that one run adopts. A daemon holds 1000 by default.
const FOUND_MAX: usize = 4096;

/// The search ends after this many consecutive numbers that are not open: below the soft limit on open
/// files of the process, and above it. There are descriptors above it if the limit has been lowered.
const GAP_MAX: [u32; 2] = [1 << 16, 64];

/// The sockets to find.
pub struct Wanted {
    /// The number of the process.
    pub whose: u32,
    /// Addresses. If there are none, all listening sockets.
    pub names: Strings,
}

/// A socket that was found.
pub struct Found {
    /// A descriptor of the socket.
    pub fd: Fd,
    /// It is the same for all descriptors of the socket.
    pub identity: Identity,
    /// Its address.
    pub text: Text,
    /// Its number among those at that address, from 1 on.
    pub copy: u32,
}

/// Why nothing is adopted.
pub enum Absent {
    /// The process does not exist, or its descriptors cannot be copied.
    Process(Errno),
    /// The kernel does not tell the identity of a socket.
    Alike(Errno),
    /// It has no listening socket.
    Nothing,
    /// It has no socket at this address.
    Address(&'static CStr),
    /// There are more than [`FOUND_MAX`].
    TooMany,
}

impl Absent {
    /// Prints it.
    pub fn say(self, whose: u32, errors: &mut Writer) -> Exit {
        let line = errors.fatal();
        match self {
            Absent::Process(errno) => {
                line.text("unable to take descriptors out of process ").number(whose).reason(errno);
                let needed = match errno {
                    Errno::NOSYS => " (this needs Linux 5.6)",
                    // What `pidfd_open` returns depends on the kernel.
                    Errno::INVAL | Errno::NOENT => {
                        " (this needs the number of a process, and that may be the number of a thread)"
                    }
                    Errno::PERM => {
                        " (this needs CAP_SYS_PTRACE in the user namespace of the process; its own user \
                         may do it too, if kernel.yama.ptrace_scope is 0 and it can be traced)"
                    }
                    _ => "",
                };
                line.text(needed).end(Exit::SYSTEM)
            }
            Absent::Alike(errno) => {
                line.text("unable to tell sockets apart").reason(errno).end(Exit::SYSTEM)
            }
            Absent::Nothing => {
                line.text("process ").number(whose).text(" has no listening socket");
                line.end(Exit::DENIED)
            }
            Absent::Address(name) => {
                line.text("process ").number(whose).text(" has no socket at ");
                line.quoted(name.to_bytes()).end(Exit::DENIED)
            }
            Absent::TooMany => {
                line.text("process ").number(whose).text(" has too many sockets").end(Exit::SYSTEM)
            }
        }
    }
}

impl Wanted {
    /// Copies the descriptors of the sockets wanted.
    pub fn gather(&self, open_files: &OpenFiles) -> Result<List<Found>, Absent> {
        let process = open_files.open(|| Process::open(self.whose)).map_err(Absent::Process)?;
        let limit = OpenFileLimit::of(self.whose).soft;
        let mut found = List::new(FOUND_MAX);
        if found.capacity() == 0 {
            return Err(Absent::Process(Errno::NOMEM));
        }
        let (mut number, mut gap) = (0, 0);
        let [below, above] = GAP_MAX;
        while gap < if u64::from(number) < limit { below } else { above } {
            match open_files.open(|| process.take(number)) {
                Ok(fd) => {
                    gap = 0;
                    self.look_at(fd, &mut found)?;
                }
                Err(Errno::BADF) => gap += 1,
                Err(errno) => return Err(Absent::Process(errno)),
            }
            number += 1;
        }
        let mut names = self.names;
        let absent = names.find(|name| !found.iter().any(|found| is_at(name, &found.text)));
        match absent {
            Some(name) => Err(Absent::Address(name)),
            None if found.is_empty() => Err(Absent::Nothing),
            None => Ok(found),
        }
    }

    /// Keeps a descriptor if its socket is wanted and has not been found before.
    fn look_at(&self, fd: Fd, found: &mut List<Found>) -> Result<(), Absent> {
        let Some(text) = self.address(fd.borrow()) else { return Ok(()) };
        let identity = file::identity_of(fd.borrow()).map_err(Absent::Alike)?;
        if found.iter().any(|other| other.identity == identity) {
            return Ok(());
        }
        if found.len() == found.capacity() {
            return Err(Absent::TooMany);
        }
        let others = found.iter().filter(|other| other.text == text).count();
        found.push(Found { fd, identity, text, copy: others as u32 + 1 });
        Ok(())
    }

    /// The address of a socket that is wanted.
    fn address(&self, fd: BorrowedFd) -> Option<Text> {
        let socket = socket::describe(fd).ok()?;
        let address = Address::of(&socket)?;
        let text = address.text();
        let (mut names, all) = (self.names, self.names.first().is_none());
        let is_named = names.any(|name| is_at(name, &text));
        let is_wanted = if address.kind().listens() {
            socket.listens == Some(true) && (all || is_named)
        } else {
            // A connected socket belongs to one peer.
            is_named && !socket::is_connected(fd)
        };
        is_wanted.then_some(text)
    }
}

/// True if a name is that of an address.
fn is_at(name: &CStr, text: &Text) -> bool {
    Address::parse(name.to_bytes()).is_ok_and(|address| address.text() == *text)
}
