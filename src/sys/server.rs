//! System calls that only a daemon makes.

use super::text::Text;
use super::{AT_FDCWD, Errno, PathBuffer, Poll, Time, act3, call3, call5, with_address, word};
use core::ptr;

/// No such device or address: what opening a Unix socket as a file gives.
const NXIO: Errno = Errno::new(libc::ENXIO as usize);

/// Accepts a connection, non-blocking and closed on exec; `EAGAIN` if there is none.
///
/// Whether that waits is up to a flag that all share who have the listener: it is set again each time.
/// Who also looks first whether there is a connection waits only if somebody else takes that and clears
/// the flag, both in this very moment.
pub fn accept(listener: i32) -> Result<usize, Errno> {
    super::set_flags(listener, libc::O_NONBLOCK);
    let flags = (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as usize;
    // SAFETY: touches no memory.
    unsafe { call5(listener as usize, 0, 0, flags, 0, libc::SYS_accept4) }
}

/// Reads a socket option that is up to three numbers; those that it lacks are 0.
fn option(fd: i32, name: i32) -> Result<[u32; 3], Errno> {
    let mut numbers = [0; 3];
    let mut length = size_of_val(&numbers) as u32;
    let (place, length) =
        (ptr::from_mut(&mut numbers) as usize, ptr::from_mut(&mut length) as usize);
    let (level, call) = (libc::SOL_SOCKET as usize, libc::SYS_getsockopt);
    // SAFETY: the kernel writes no more bytes than `length` says.
    unsafe { call5(fd as usize, level, name as usize, place, length, call)? };
    Ok(numbers)
}

/// Process, user and group of the client that a connection is with, or of the process that has the
/// socket listen which a client is connected to. The process is 0 if it has no number here.
pub fn peer(fd: i32) -> Result<[u32; 3], Errno> {
    option(fd, libc::SO_PEERCRED)
}

/// Makes sure that a descriptor is a Unix stream socket: `EBADF`, `ENOTSOCK`, `EAFNOSUPPORT` or
/// `EPROTOTYPE` if it is not. True if it listens; false if it does not, or the kernel does not say so,
/// as that of a sandbox may: to accept a connection tells.
pub fn listens(fd: i32) -> Result<bool, Errno> {
    // It begins with the family in two bytes. Of the rest no more than there is room for is written.
    let (mut address, mut length) = ([0_u16; 2], 4_u32);
    let (place, room) = (address.as_mut_ptr() as usize, ptr::from_mut(&mut length) as usize);
    // SAFETY: the kernel writes no more bytes than `length` says, and that.
    unsafe { act3(fd as usize, place, room, libc::SYS_getsockname)? };
    if address[0] != libc::AF_UNIX as u16 {
        return Err(Errno::AFNOSUPPORT);
    }
    if option(fd, libc::SO_TYPE)?[0] != libc::SOCK_STREAM as u32 {
        return Err(Errno::PROTOTYPE);
    }
    Ok(option(fd, libc::SO_ACCEPTCONN).is_ok_and(|[listens, ..]| listens == 1))
}

/// Whether a listener is told to let no descriptors through. `SO_PASSRIGHTS` came with Linux 6.16; its
/// number in `asm-generic/socket.h` is that of all processors known here. Before, they always pass.
pub fn refuses_descriptors(listener: i32) -> bool {
    const SO_PASSRIGHTS: i32 = 83;
    option(listener, SO_PASSRIGHTS).is_ok_and(|[passes, ..]| passes == 0)
}

/// Has the kernel add nothing to the messages of a connection. It would if somebody had asked for that
/// on the listener, before the client connected or up to now, which depends on the kernel: the daemon
/// would take the numbers of process, user and group for descriptors, and close them.
pub fn refuse_credentials(connection: i32) {
    let (level, off) = (libc::SOL_SOCKET as usize, 0_u32);
    let (place, length, call) =
        (ptr::from_ref(&off) as usize, size_of::<u32>(), libc::SYS_setsockopt);
    for name in [libc::SO_PASSCRED, libc::SO_PASSSEC, libc::SO_PASSPIDFD] {
        // SAFETY: the kernel reads the number. What it does not know it does not add.
        let _ = unsafe { call5(connection as usize, level, name as usize, place, length, call) };
    }
}

/// Binds a socket to a path, as a file that everybody may connect to: for that the process has no umask
/// from now on. The errors are those of [`super::connect`] for a wrong path, and `EADDRINUSE`.
pub fn bind(fd: i32, path: Text) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    let _ = unsafe { call3(0, 0, 0, libc::SYS_umask) };
    with_address(fd, path, libc::SYS_bind)
}

/// Has a socket listen, with room for so many connections that have not been accepted.
pub fn listen(fd: i32, backlog: u32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { act3(fd as usize, backlog.min(i32::MAX as u32) as usize, 0, libc::SYS_listen) }
}

/// Whether there is a socket at a path, and not anything else, a link to a socket included. What is no
/// socket stays open: whoever finds that ends.
pub fn is_socket(path: Text) -> bool {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NOCTTY;
    open(path.as_ptr(), flags) == Err(NXIO)
}

/// Removes a file.
pub fn remove(path: Text) -> Result<(), Errno> {
    // SAFETY: the kernel reads a C string.
    unsafe { act3(AT_FDCWD, path.as_ptr() as usize, 0, libc::SYS_unlinkat) }
}

/// Opens a file for reading. A caller has a C string at `path`, and closes what has been opened.
pub(super) fn open(path: *const u8, flags: i32) -> Result<usize, Errno> {
    // SAFETY: the kernel reads a C string.
    unsafe { call5(AT_FDCWD, path as usize, flags as usize, 0, 0, libc::SYS_openat) }
}

impl PathBuffer {
    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.byte(*byte);
        }
    }

    /// Adds a number in decimal.
    pub fn number(&mut self, number: u32) {
        if number >= 10 {
            self.number(number / 10);
        }
        self.byte(b'0' + (number % 10) as u8);
    }

    /// All that has been added.
    pub fn get(&self) -> &[u8] {
        // SAFETY: no more has been added than there is room for.
        unsafe { self.bytes.get_unchecked(..self.length) }
    }

    /// How long it is, for [`PathBuffer::truncate`].
    pub fn length(&self) -> usize {
        self.length
    }

    /// Takes off what was added after it was that long.
    pub fn truncate(&mut self, length: usize) {
        while self.length > length {
            self.length -= 1;
            if let Some(byte) = self.bytes.get_mut(self.length) {
                *byte = 0;
            }
        }
    }

    /// How many files there are: 1 or 0; an error if that cannot be known. (In a result, a number
    /// takes less code than a truth value.)
    pub fn count(&self) -> Result<usize, Errno> {
        match self.find() {
            Err(Errno::NOENT) => Ok(0),
            result => result.map(|()| 1),
        }
    }

    /// Reads the start of the file there and says how many bytes; fewer than there is room for are
    /// all that it has. 0 if there is no file.
    pub fn read_file(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        let fd = match self.call(libc::O_NONBLOCK | libc::O_CLOEXEC, libc::SYS_openat) {
            Err(Errno::NOENT) => return Ok(0),
            result => result? as i32,
        };
        let mut have = 0;
        let result = loop {
            // Nothing is read into no room.
            match read(fd, bytes.get_mut(have..).unwrap_or_default()) {
                Ok(0) => break Ok(have),
                Ok(n) => have += n,
                Err(errno) => break Err(errno),
            }
        };
        super::close(fd);
        result
    }
}

/// Reads bytes and says how many.
fn read(fd: i32, bytes: &mut [u8]) -> Result<usize, Errno> {
    let (place, length) = (bytes.as_mut_ptr() as usize, bytes.len());
    // SAFETY: the kernel writes into `bytes` within its length.
    unsafe { call3(fd as usize, place, length, libc::SYS_read) }
}

/// A descriptor on which signals arrive from now on instead of interrupting. It stays open.
pub struct Signals(i32);

/// A signal that a daemon waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// `SIGTERM`.
    Terminate,
    /// `SIGHUP`.
    HangUp,
}

impl Signals {
    /// Asks for SIGTERM and SIGHUP. SIGPIPE and SIGXFSZ, which come of writing to a log that takes no
    /// more, mean nothing from now on.
    pub fn new() -> Result<Signals, Errno> {
        // The kernel's set of signals, the lowest bit of the first word for the first one.
        const SIGNALS: usize = if cfg!(target_arch = "mips") { 128 } else { 64 };
        let mut set = [0; SIGNALS / usize::BITS as usize];
        const fn bit(signal: i32) -> usize {
            1 << (signal - 1)
        }
        set[0] = bit(libc::SIGTERM) | bit(libc::SIGHUP) | bit(libc::SIGPIPE) | bit(libc::SIGXFSZ);
        let (place, length) = (ptr::from_ref(&set) as usize, size_of_val(&set));
        let how = libc::SIG_BLOCK as usize;
        // SAFETY: the kernel reads the set. It cannot fail.
        let _ = unsafe { call5(how, place, 0, length, 0, libc::SYS_rt_sigprocmask) };
        let flags = (libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) as usize;
        // SAFETY: the same.
        let fd = unsafe { call5(usize::MAX, place, length, flags, 0, libc::SYS_signalfd4)? };
        Ok(Signals(fd as i32))
    }

    /// The number of the descriptor.
    pub fn number(&self) -> i32 {
        self.0
    }

    /// The next one that has come.
    pub fn next(&self) -> Option<Signal> {
        // The kernel's `struct signalfd_siginfo`, which begins with the number. There is more room
        // than it has to be: that takes less code to fill.
        const SIZE: usize = 128;
        let mut information = [0; 2 * SIZE];
        while read(self.0, &mut information[..SIZE]) == Ok(SIZE) {
            let [a, b, c, d, ..] = information;
            match i32::from_ne_bytes([a, b, c, d]) {
                libc::SIGTERM => return Some(Signal::Terminate),
                libc::SIGHUP => return Some(Signal::HangUp),
                _ => {}
            }
        }
        None
    }
}

/// Makes the open file of a descriptor that of the number `to` as well, in place of what that was;
/// closed on exec.
pub fn put_at(fd: i32, to: i32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { act3(fd as usize, to as usize, libc::O_CLOEXEC as usize, libc::SYS_dup3) }
}

/// Whether something can be written without waiting, or it is of no use to wait.
pub fn has_room(fd: i32) -> bool {
    let mut one = [Poll { fd, events: Poll::OUT, happened: 0 }];
    wait(&mut one, 0);
    one[0].happened != 0
}

/// What the clock says that never jumps: milliseconds since the machine was started, modulo 2^32.
pub fn uptime() -> u32 {
    let Time { seconds, nanoseconds } = super::clock(libc::CLOCK_MONOTONIC);
    (seconds as u32).wrapping_mul(1000).wrapping_add(nanoseconds as u32 / 1_000_000)
}

/// Waits for something to happen, at most that many milliseconds, or if they are `u32::MAX` for
/// ever.
pub fn wait(polls: &mut [Poll], milliseconds: u32) {
    let mut time = Time::from_milliseconds(milliseconds);
    let limit = if milliseconds == u32::MAX { None } else { Some(&mut time) };
    // What happened is in the slice; if it fails, what was there before still is.
    let _ = super::poll(polls, limit);
}

/// The user and the group that the process acts as.
pub fn effective() -> (u32, u32) {
    // SAFETY: touches no memory, and cannot fail.
    let get = |number| unsafe { call3(0, 0, 0, number) }.unwrap_or(usize::MAX) as u32;
    (get(word::SYS_geteuid), get(word::SYS_getegid))
}

/// The groups besides the main one; `EINVAL` if there are more than fit into `groups`.
pub fn groups(groups: &mut [u32]) -> Result<&[u32], Errno> {
    let (place, length) = (groups.as_mut_ptr() as usize, groups.len());
    // SAFETY: the kernel writes no more numbers than there is room for.
    let count = unsafe { call3(length, place, 0, word::SYS_getgroups)? };
    Ok(groups.get(..count).unwrap_or_default())
}

/// Sets the groups besides the main one.
pub fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the kernel reads so many numbers.
    unsafe { act3(groups.len(), groups.as_ptr() as usize, 0, word::SYS_setgroups) }
}

/// Sets all group numbers of the process.
pub fn set_group(gid: u32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { act3(gid as usize, 0, 0, word::SYS_setgid) }
}

/// Sets all user numbers of the process.
pub fn set_user(uid: u32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { act3(uid as usize, 0, 0, word::SYS_setuid) }
}

/// Gives the process a name in place of that of its program: what `ps` and `pidof` go by.
pub fn set_name(name: Text) {
    let (what, name) = (libc::PR_SET_NAME as usize, name.as_ptr() as usize);
    // SAFETY: the kernel reads up to the NUL of a C string.
    let _ = unsafe { call3(what, name, 0, libc::SYS_prctl) };
}

/// Keeps other processes of the same user from taking descriptors out of this one, and from reading
/// its memory. There is no core dump either.
pub fn forbid_access() -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { act3(libc::PR_SET_DUMPABLE as usize, 0, 0, libc::SYS_prctl) }
}
