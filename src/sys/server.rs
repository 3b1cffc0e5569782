//! System calls that only a daemon makes.

use super::text::Text;
use super::{AT_FDCWD, Errno, PathBuffer, Poll, Time, act3, call3, call5, with_address, word};
use core::ptr;

/// No such device or address: what opening a Unix socket as a file gives.
const NXIO: Errno = Errno::new(libc::ENXIO as usize);

/// Accepts a connection, non-blocking and closed on exec.
pub fn accept(listener: i32) -> Result<usize, Errno> {
    let flags = (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as usize;
    // SAFETY: touches no memory.
    unsafe { call5(listener as usize, 0, 0, flags, 0, libc::SYS_accept4) }
}

/// Reads a socket option that is so many numbers.
fn option<const N: usize>(fd: i32, name: i32) -> Result<[u32; N], Errno> {
    let mut numbers = [0; N];
    let mut length = size_of_val(&numbers) as u32;
    let (place, length) =
        (ptr::from_mut(&mut numbers) as usize, ptr::from_mut(&mut length) as usize);
    let (level, call) = (libc::SOL_SOCKET as usize, libc::SYS_getsockopt);
    // SAFETY: the kernel writes no more bytes than `length` says.
    unsafe { call5(fd as usize, level, name as usize, place, length, call)? };
    Ok(numbers)
}

/// User and group of whoever connected.
pub fn peer(fd: i32) -> Result<(u32, u32), Errno> {
    let [_process, uid, gid] = option(fd, libc::SO_PEERCRED)?;
    Ok((uid, gid))
}

/// Makes sure that a descriptor is a socket that listens: `ENOTSOCK` or `EINVAL` if it is not.
pub fn check_listening(fd: i32) -> Result<(), Errno> {
    let [listens] = option(fd, libc::SO_ACCEPTCONN)?;
    if listens == 0 { Err(Errno::INVAL) } else { Ok(()) }
}

/// Has the kernel add nothing to the messages of those who connect to a listener, if somebody has
/// asked it to: the daemon would take the numbers of process, user and group for descriptors, and
/// close them.
pub fn refuse_credentials(listener: i32) {
    for name in [libc::SO_PASSCRED, libc::SO_PASSSEC, libc::SO_PASSPIDFD] {
        set_option(listener, name, 0);
    }
}

/// Has all bytes of a connection received in their order, the urgent ones as well: the kernel would close
/// the descriptors that come with these, and wait for it.
pub fn receive_in_line(connection: i32) {
    set_option(connection, libc::SO_OOBINLINE, 1);
}

/// Sets a socket option that is a number.
fn set_option(fd: i32, name: i32, value: u32) {
    let (level, place) = (libc::SOL_SOCKET as usize, ptr::from_ref(&value) as usize);
    let (length, call) = (size_of::<u32>(), libc::SYS_setsockopt);
    // SAFETY: the kernel reads the number. What it does not know it does not do.
    let _ = unsafe { call5(fd as usize, level, name as usize, place, length, call) };
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
        match self.call(0, libc::SYS_faccessat) {
            Err(Errno::NOENT) => Ok(0),
            result => result.map(|_| 1),
        }
    }

    /// A call with the path and flags.
    fn call(&self, flags: i32, number: libc::c_long) -> Result<usize, Errno> {
        self.check()?;
        // SAFETY: the kernel reads a C string: the last byte is always NUL.
        unsafe { call3(AT_FDCWD, self.bytes.as_ptr() as usize, flags as usize, number) }
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

/// Makes a socket a non-blocking one, for all that share it.
pub fn set_nonblocking(fd: i32) {
    super::set_flags(fd, libc::O_NONBLOCK);
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

/// How long it can take to close a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// No time: a pipe, a file in memory or on a disk, or no open descriptor at all.
    Prompt,
    /// It is a socket: as long as its peer likes, but for a process that is killed or ends.
    Socket,
    /// As long as somebody else likes.
    Other,
}

/// How long it can take to close a descriptor. Nothing is asked of what is behind it, since that can
/// take long as well.
pub fn kind(fd: i32) -> Kind {
    /// The kernel's `struct statx`, as far as it matters, and its size.
    #[repr(C)]
    struct Status {
        before: [u32; 7],
        mode: u16,
        spare: u16,
        inode_and_size: [u64; 2],
        blocks: u64,
        behind_blocks: [u64; 9],
        rdev_and_dev: [u32; 4],
        rest: [u64; 14],
    }
    const { assert!(size_of::<Status>() == 256) };
    /// Blocks of 512 bytes of a file that may be gone after it is closed, and takes time to remove.
    const LARGE: u64 = (64 << 20) / 512;
    let mut status = Status {
        before: [0; 7],
        mode: 0,
        spare: 0,
        inode_and_size: [0; 2],
        blocks: 0,
        behind_blocks: [0; 9],
        rdev_and_dev: [0; 4],
        rest: [0; 14],
    };
    let flags = (libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC) as usize;
    let (path, wanted) = (c"".as_ptr() as usize, (libc::STATX_TYPE | libc::STATX_BLOCKS) as usize);
    let place = ptr::from_mut(&mut status) as usize;
    // SAFETY: the kernel reads a C string and writes a status.
    let done = unsafe { call5(fd as usize, path, flags, wanted, place, libc::SYS_statx) };
    if done == Err(Errno::BADF) {
        return Kind::Prompt;
    }
    let [special_class, _, device_class, _] = status.rdev_and_dev;
    match u32::from(status.mode) & libc::S_IFMT {
        libc::S_IFIFO => Kind::Prompt,
        // That of /dev/null and its like.
        libc::S_IFCHR if special_class == 1 => Kind::Prompt,
        libc::S_IFSOCK => Kind::Socket,
        libc::S_IFREG | libc::S_IFDIR if status.blocks < LARGE => {
            // What lies on no device lies in memory if it can be sealed, or else anywhere.
            if device_class != 0 || command(fd, libc::F_GET_SEALS).is_ok() {
                Kind::Prompt
            } else {
                Kind::Other
            }
        }
        _ => Kind::Other,
    }
}

/// Takes nothing more from the peer of a connection, and says whether there is something left of what has
/// come.
pub fn is_unread(connection: i32) -> bool {
    let mut bytes = 0_u32;
    let (fd, place) = (connection as usize, ptr::from_mut(&mut bytes) as usize);
    // SAFETY: touches no memory.
    let shut = unsafe { act3(fd, libc::SHUT_RD as usize, 0, libc::SYS_shutdown) };
    // SAFETY: the kernel writes a number.
    let asked = unsafe { act3(fd, libc::FIONREAD as usize, place, libc::SYS_ioctl) };
    shut.and(asked).is_err() || bytes > 0
}

/// A command of `fcntl` without an argument.
fn command(fd: i32, command: i32) -> Result<usize, Errno> {
    // SAFETY: touches no memory.
    unsafe { call3(fd as usize, command as usize, 0, libc::SYS_fcntl) }
}

/// Whether a descriptor would be left to a program that is executed.
pub fn is_kept_on_exec(fd: i32) -> bool {
    command(fd, libc::F_GETFD) == Ok(0)
}

/// Starts a process that shares all descriptors with this one, does something there, without a word to
/// anybody, and ends. With `is_mortal` it is killed when this process ends. The result is its number; it
/// sends no signal when it ends.
fn spawn(is_mortal: bool, task: impl FnOnce()) -> Result<usize, Errno> {
    let mut arguments = [libc::CLONE_FILES as usize, 0];
    if cfg!(target_arch = "s390x") {
        arguments.reverse();
    }
    let [a, b] = arguments;
    // SAFETY: touches no memory, and cannot fail.
    let parent = unsafe { call3(0, 0, 0, libc::SYS_getpid) };
    // SAFETY: without a stack of its own the process gets a copy of this one's, as of all memory.
    let process = unsafe { call5(a, b, 0, 0, 0, libc::SYS_clone)? };
    if process > 0 {
        return Ok(process);
    }
    if is_mortal {
        let (option, signal) = (libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize);
        // SAFETY: touches no memory.
        let _ = unsafe { call3(option, signal, 0, libc::SYS_prctl) };
    }
    // SAFETY: touches no memory.
    if !is_mortal || unsafe { call3(0, 0, 0, libc::SYS_getppid) } == parent {
        task();
    }
    super::exit(0)
}

/// Starts a process that in one step makes the open file of `substitute` that of the number `fd` as well,
/// kept on exec, and closes what that was, however long it takes.
pub fn spawn_closer(fd: i32, substitute: i32, is_mortal: bool) -> Result<usize, Errno> {
    spawn(is_mortal, || {
        // SAFETY: touches no memory. If it fails the other process sees it.
        let _ = unsafe { call3(substitute as usize, fd as usize, 0, libc::SYS_dup3) };
    })
}

/// Starts a process that writes to standard error, however long it takes.
pub fn spawn_writer(bytes: &[u8]) -> Result<usize, Errno> {
    spawn(true, || {
        write(2, bytes);
    })
}

/// Sends bytes to a socket, or to a peer that takes no more none of them.
pub fn send(fd: i32, bytes: &[u8]) {
    let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as usize;
    let (place, length) = (bytes.as_ptr() as usize, bytes.len());
    // SAFETY: the kernel reads `bytes` within its length, and no address.
    let _ = unsafe { call5(fd as usize, place, length, flags, 0, libc::SYS_sendto) };
}

/// Writes bytes.
pub fn write(fd: i32, bytes: &[u8]) {
    let (place, length) = (bytes.as_ptr() as usize, bytes.len());
    // SAFETY: the kernel reads `bytes` within its length.
    let _ = unsafe { call3(fd as usize, place, length, libc::SYS_write) };
}

/// Kills a process that has been started here and that has not been found to have ended.
pub fn kill(process: usize) {
    // SAFETY: touches no memory.
    let _ = unsafe { call3(process, libc::SIGKILL as usize, 0, libc::SYS_kill) };
}

/// Whether such a process has ended, which is found once.
pub fn has_ended(process: usize) -> bool {
    let options = (libc::WNOHANG | libc::__WALL) as usize;
    // SAFETY: without places for them the kernel writes neither status nor usage.
    let ended = unsafe { call5(process, 0, options, 0, 0, libc::SYS_wait4) };
    ended == Ok(process)
}
