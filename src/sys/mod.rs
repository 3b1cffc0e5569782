//! The system call layer: the only unsafe code.
//!
//! Each function is one system call with Rust types, its result a [`Result`] with an [`Errno`].
//! A call that a signal interrupts is made again, except where its doc says otherwise.
//! Descriptors are plain numbers here; [`crate::fd`] gives them owners.

pub mod errno;
pub mod hand_out;
pub mod vector;

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
pub mod arch;
#[cfg(not(target_arch = "x86_64"))]
mod bytewise;

use arch::{syscall3, syscall6};
use core::ffi::CStr;
use core::mem::{offset_of, size_of};
use core::ptr;
pub use errno::Errno;

/// The kernel's `SCM_MAX_FD`: descriptors that one message can carry.
pub const DESCRIPTORS_PER_MESSAGE: usize = 253;

/// The longest path of a Unix socket, in bytes: `sun_path` less its final NUL.
pub const SOCKET_PATH_MAX: usize =
    size_of::<libc::sockaddr_un>() - offset_of!(libc::sockaddr_un, sun_path) - 1;

/// The kernel answers -1 to -4095 for an error, anything else is a result.
#[inline]
fn result(answer: isize) -> Result<usize, Errno> {
    if (-4095..0).contains(&answer) { Err(Errno::new(-answer as u16)) } else { Ok(answer as usize) }
}

/// Makes a call again for as long as signals interrupt it.
#[inline]
fn uninterrupted(mut call: impl FnMut() -> isize) -> Result<usize, Errno> {
    loop {
        match result(call()) {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

/// Ends the process; the kernel closes what it holds.
pub fn exit(code: u8) -> ! {
    loop {
        // SAFETY: touches no memory.
        unsafe { syscall3(libc::SYS_exit_group as usize, code.into(), 0, 0) };
    }
}

/// Closes a descriptor. Linux frees the number even when it reports an error, so there is
/// nothing to try again and nothing to report.
pub fn close(fd: i32) {
    // SAFETY: touches no memory.
    unsafe { syscall3(libc::SYS_close as usize, fd as usize, 0, 0) };
}

/// Writes, perhaps only a part; how much is the result.
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads `bytes` within its length.
    uninterrupted(|| unsafe {
        syscall3(libc::SYS_write as usize, fd as usize, bytes.as_ptr() as usize, bytes.len())
    })
}

/// Makes an unconnected Unix stream socket, closed on exec; with `wait` false, a non-blocking one.
pub fn socket(wait: bool) -> Result<i32, Errno> {
    let flags = if wait { 0 } else { libc::SOCK_NONBLOCK };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags;
    // SAFETY: touches no memory.
    result(unsafe { syscall3(libc::SYS_socket as usize, libc::AF_UNIX as usize, kind as usize, 0) })
        .map(|fd| fd as i32)
}

/// The address of the socket at `path`, and its length. An empty path would be an abstract
/// address: it is no file, so `ENOENT`; one longer than [`SOCKET_PATH_MAX`] is `ENAMETOOLONG`.
fn address(path: &[u8]) -> Result<(libc::sockaddr_un, usize), Errno> {
    // SAFETY: all zeros is a valid address.
    let mut address: libc::sockaddr_un = unsafe { core::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    if path.len() > SOCKET_PATH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    for (to, from) in address.sun_path.iter_mut().zip(path) {
        *to = *from as _;
    }
    Ok((address, offset_of!(libc::sockaddr_un, sun_path) + path.len() + 1))
}

/// Connects a socket to the one that is bound to `path`.
///
/// While the listener's backlog is full a blocking socket waits, for its send timeout if it has
/// one; then, and at once on a non-blocking socket, the answer is `EAGAIN`.
pub fn connect(fd: i32, path: &[u8]) -> Result<(), Errno> {
    let (address, length) = address(path)?;
    // SAFETY: the kernel reads `length` bytes of the address, no more than it has.
    uninterrupted(|| unsafe {
        syscall3(libc::SYS_connect as usize, fd as usize, ptr::from_ref(&address) as usize, length)
    })
    .map(drop)
}

/// Sets how long a blocking call that sends, connecting included, may wait; no time at all is
/// no limit.
pub fn set_send_timeout(fd: i32, limit: Time) -> Result<(), Errno> {
    let timeval = [limit.seconds as isize, limit.nanoseconds as isize / 1000];
    // SAFETY: the kernel reads a timeval of two longs.
    result(unsafe {
        syscall6(
            libc::SYS_setsockopt as usize,
            [
                fd as usize,
                libc::SOL_SOCKET as usize,
                libc::SO_SNDTIMEO as usize,
                ptr::from_ref(&timeval) as usize,
                size_of::<[isize; 2]>(),
                0,
            ],
        )
    })
    .map(drop)
}

/// Makes a socket that was made non-blocking a blocking one.
pub fn set_blocking(fd: i32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    result(unsafe { syscall3(libc::SYS_fcntl as usize, fd as usize, libc::F_SETFL as usize, 0) })
        .map(drop)
}

/// A control message with descriptors, as `sendmsg` takes and `recvmsg` fills it.
#[repr(C)]
pub struct Control {
    length: usize,
    level: i32,
    kind: i32,
    /// One more than a message can carry, to be a multiple of the alignment.
    descriptors: [i32; DESCRIPTORS_PER_MESSAGE + 1],
}

/// Bytes of [`Control`] in front of the descriptors: `CMSG_LEN(0)`.
const CONTROL_HEADER: usize = offset_of!(Control, descriptors);

impl Control {
    /// A control message without descriptors.
    pub const EMPTY: Control =
        Control { length: 0, level: 0, kind: 0, descriptors: [0; DESCRIPTORS_PER_MESSAGE + 1] };

    /// Takes the numbers of the descriptors to send, of which a message can carry
    /// [`DESCRIPTORS_PER_MESSAGE`].
    pub fn set(&mut self, descriptors: impl Iterator<Item = i32>) {
        let mut n = 0;
        for (to, from) in self.descriptors.iter_mut().zip(descriptors) {
            *to = from;
            n += 1;
        }
        self.length = if n == 0 { 0 } else { CONTROL_HEADER + n * size_of::<i32>() };
        self.level = libc::SOL_SOCKET;
        self.kind = libc::SCM_RIGHTS;
    }

    /// The numbers that were received. Whoever asks owns them, and asks once.
    pub fn take(&mut self) -> &[i32] {
        let bytes = core::mem::take(&mut self.length).saturating_sub(CONTROL_HEADER);
        let rights = self.level == libc::SOL_SOCKET && self.kind == libc::SCM_RIGHTS;
        let n = if rights { bytes / size_of::<i32>() } else { 0 };
        self.descriptors.get(..n).unwrap_or_default()
    }
}

/// The kernel's `struct user_msghdr` and the one buffer that it points to.
#[repr(C)]
struct Message {
    name: usize,
    name_length: usize,
    buffers: usize,
    buffer_count: usize,
    control: usize,
    control_length: usize,
    flags: usize,
}

/// `sendmsg` and `recvmsg`: the result, the flags and the length of the control data after it.
fn message(
    number: libc::c_long,
    fd: i32,
    bytes: (usize, usize),
    control: (usize, usize),
    wait: bool,
) -> (Result<usize, Errno>, Message) {
    let buffer = [bytes.0, bytes.1];
    let mut message = Message {
        name: 0,
        name_length: 0,
        buffers: ptr::from_ref(&buffer) as usize,
        buffer_count: 1,
        control: control.0,
        control_length: control.1,
        flags: 0,
    };
    let flags =
        libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT };
    // SAFETY: the caller passes the addresses and lengths of memory that it has borrowed, and
    // the message and the buffer outlive the call.
    let sent = uninterrupted(|| unsafe {
        syscall3(number as usize, fd as usize, ptr::from_mut(&mut message) as usize, flags as usize)
    });
    (sent, message)
}

/// Sends bytes, perhaps only a part, and, with the first of them, the descriptors in `control`.
/// With `wait` false a full socket buffer is `EAGAIN`. A peer that is gone is `EPIPE`, not a
/// signal.
pub fn send(fd: i32, bytes: &[u8], control: Option<&Control>, wait: bool) -> Result<usize, Errno> {
    let control = match control {
        Some(c) if c.length != 0 => (ptr::from_ref(c) as usize, c.length),
        _ => (0, 0),
    };
    message(libc::SYS_sendmsg, fd, (bytes.as_ptr() as usize, bytes.len()), control, wait).0
}

/// What [`receive`] got.
pub struct Received {
    /// Bytes; 0 is the end of the stream.
    pub bytes: usize,
    /// Descriptors came that there was no room for, in the message or in the process: lost.
    pub truncated: bool,
}

/// Receives bytes, as many as are there and fit. Descriptors that come with them, closed on
/// exec, are found in `control` afterwards, whatever the result; without a `control` the kernel
/// closes them and sets [`Received::truncated`]. With `wait` false an empty socket is `EAGAIN`.
pub fn receive(
    fd: i32,
    bytes: &mut [u8],
    mut control: Option<&mut Control>,
    wait: bool,
) -> Result<Received, Errno> {
    let place = match control.as_deref_mut() {
        Some(c) => (ptr::from_mut(c) as usize, size_of::<Control>()),
        None => (0, 0),
    };
    let buffer = (bytes.as_mut_ptr() as usize, bytes.len());
    let (received, message) = message(libc::SYS_recvmsg, fd, buffer, place, wait);
    if let Some(c) = control {
        // Without a control message the kernel leaves the memory alone.
        if received.is_err() || message.control_length < CONTROL_HEADER {
            c.length = 0;
        }
    }
    // `msg_flags` is an unsigned int at the start of the last word.
    let flags = message.flags.to_ne_bytes();
    let flags = i32::from_ne_bytes([flags[0], flags[1], flags[2], flags[3]]);
    received.map(|bytes| Received { bytes, truncated: flags & libc::MSG_CTRUNC != 0 })
}

/// A time or a span of time: the kernel's 64-bit `struct timespec`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Time {
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds beyond them, below 10^9 in all valid times.
    pub nanoseconds: i64,
}

impl Time {
    /// No time at all.
    pub const ZERO: Time = Time { seconds: 0, nanoseconds: 0 };

    /// A span in milliseconds.
    pub fn from_milliseconds(ms: u32) -> Time {
        Time { seconds: (ms / 1000).into(), nanoseconds: (ms % 1000 * 1_000_000).into() }
    }
}

impl core::ops::Add for Time {
    type Output = Time;

    fn add(self, other: Time) -> Time {
        let nanoseconds = self.nanoseconds + other.nanoseconds;
        let carry = nanoseconds >= 1_000_000_000;
        Time {
            seconds: self.seconds.wrapping_add(other.seconds).wrapping_add(carry.into()),
            nanoseconds: if carry { nanoseconds - 1_000_000_000 } else { nanoseconds },
        }
    }
}

impl core::ops::Sub for Time {
    type Output = Time;

    fn sub(self, other: Time) -> Time {
        let nanoseconds = self.nanoseconds - other.nanoseconds;
        let borrow = nanoseconds < 0;
        Time {
            seconds: self.seconds.wrapping_sub(other.seconds).wrapping_sub(borrow.into()),
            nanoseconds: if borrow { nanoseconds + 1_000_000_000 } else { nanoseconds },
        }
    }
}

/// The clock that only ever goes forward, for measuring waits.
pub const MONOTONIC: i32 = libc::CLOCK_MONOTONIC;
/// The clock that people read, for dates.
pub const REALTIME: i32 = libc::CLOCK_REALTIME;

/// What a clock says.
pub fn now(clock: i32) -> Time {
    let mut time = Time::ZERO;
    // SAFETY: the kernel writes one 64-bit timespec; it cannot fail for these two clocks.
    unsafe {
        syscall3(
            libc::SYS_clock_gettime as usize,
            clock as usize,
            ptr::from_mut(&mut time) as usize,
            0,
        )
    };
    time
}

/// What to wait for on a descriptor, and what came: the kernel's `struct pollfd`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Poll {
    /// The descriptor; a negative one is passed over.
    pub fd: i32,
    /// `POLLIN`, `POLLOUT`, or 0 to be told of errors only.
    pub events: i16,
    /// What happened, `POLLHUP`, `POLLERR` and `POLLNVAL` among it.
    pub happened: i16,
}

impl Poll {
    /// There is something to read.
    pub const IN: i16 = libc::POLLIN;
    /// There is room to write.
    pub const OUT: i16 = libc::POLLOUT;
    /// The number is no open descriptor.
    pub const INVALID: i16 = libc::POLLNVAL;
}

/// Waits until something happens on one of the descriptors, or `left` is used up. The kernel
/// takes what the wait took off `left`, so waits can be added up without looking at a clock.
/// The result is the number of descriptors on which something happened. Interrupted by a signal
/// it is `EINTR`.
pub fn poll(fds: &mut [Poll], left: Option<&mut Time>) -> Result<usize, Errno> {
    let left = left.map_or(0, |time| ptr::from_mut(time) as usize);
    // SAFETY: the kernel reads and writes the slice and the 64-bit timespec.
    result(unsafe {
        syscall6(libc::SYS_ppoll as usize, [fds.as_mut_ptr() as usize, fds.len(), left, 0, 0, 0])
    })
}

/// The limits on the numbers of descriptors: the one in force and how far it can be raised.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OpenFileLimit {
    /// Descriptor numbers are below this.
    pub soft: u64,
    /// What `soft` can be raised to.
    pub hard: u64,
}

/// Reads the limit on open files.
pub fn open_file_limit() -> OpenFileLimit {
    let mut limit = OpenFileLimit { soft: 0, hard: 0 };
    prlimit(0, ptr::from_mut(&mut limit) as usize);
    limit
}

/// Sets the limit on open files. Raising the soft one to the hard one cannot fail.
pub fn set_open_file_limit(limit: OpenFileLimit) {
    prlimit(ptr::from_ref(&limit) as usize, 0);
}

/// `prlimit64` of the process itself on the number of open files.
fn prlimit(new: usize, old: usize) {
    // SAFETY: each is 0 or the address of the two 64-bit numbers that the kernel reads or writes.
    unsafe {
        syscall6(libc::SYS_prlimit64 as usize, [0, libc::RLIMIT_NOFILE as usize, new, old, 0, 0])
    };
}

/// Makes a symbolic link at `path` that points to `target`.
pub fn symlink(target: &CStr, path: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel reads two C strings.
    result(unsafe {
        syscall3(
            libc::SYS_symlinkat as usize,
            target.as_ptr() as usize,
            libc::AT_FDCWD as usize,
            path.as_ptr() as usize,
        )
    })
    .map(drop)
}

/// Reads where a symbolic link points to; the result is cut to the length of `buffer`.
pub fn read_link<'a>(path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    // SAFETY: the kernel reads a C string and writes into the buffer within its length.
    let n = result(unsafe {
        syscall6(
            libc::SYS_readlinkat as usize,
            [
                libc::AT_FDCWD as usize,
                path.as_ptr() as usize,
                buffer.as_mut_ptr() as usize,
                buffer.len(),
                0,
                0,
            ],
        )
    })?;
    Ok(buffer.get(..n).unwrap_or_default())
}
