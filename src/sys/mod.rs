//! The system call layer: the only unsafe code.
//!
//! Each function is one system call with Rust types, its result a [`Result`] with an [`Errno`].
//! A call that a signal interrupts is made again.
//! Descriptors are plain numbers here; [`crate::fd`] gives them owners.

pub mod errno;
pub mod hand_out;
pub mod vector;

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
pub mod arch;
#[cfg(not(target_arch = "x86_64"))]
mod bytewise;

use crate::fd::Fd;
use arch::syscall5;
use core::ffi::CStr;
use core::marker::PhantomData;
use core::mem::{offset_of, size_of_val};
use core::ptr;
pub use errno::Errno;

/// The kernel's `SCM_MAX_FD`: descriptors that one message can carry.
pub const DESCRIPTORS_PER_MESSAGE: usize = 253;

/// The longest path of a Unix socket, in bytes: `sun_path` less its final NUL.
pub const SOCKET_PATH_MAX: usize = 107;

/// A system call of up to three arguments, made again for as long as signals interrupt it. The
/// kernel answers -1 to -4095 for an error, anything else is a result.
///
/// # Safety
/// The arguments must be what the call numbered `number` expects.
#[inline(never)]
unsafe fn call3(a: usize, b: usize, c: usize, number: libc::c_long) -> Result<usize, Errno> {
    // SAFETY: the caller vouches for the arguments.
    unsafe { call5(a, b, c, 0, 0, number) }
}

/// The same of up to five arguments.
///
/// # Safety
/// As for [`call3`].
#[inline(never)]
unsafe fn call5(
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    number: libc::c_long,
) -> Result<usize, Errno> {
    loop {
        // SAFETY: the caller vouches for the arguments.
        let answer = unsafe { syscall5(number as usize, a, b, c, d, e) };
        if answer as usize <= -4096isize as usize {
            return Ok(answer as usize);
        }
        let errno = Errno::new(answer.wrapping_neg() as usize);
        if errno != Errno::INTR {
            return Err(errno);
        }
    }
}

/// Ends the process; the kernel closes what it holds.
pub fn exit(code: u8) -> ! {
    loop {
        // SAFETY: touches no memory.
        let _ = unsafe { call3(code.into(), 0, 0, libc::SYS_exit_group) };
    }
}

/// Closes a descriptor. Linux frees the number even when it reports an error, so there is
/// nothing to try again and nothing to report.
pub fn close(fd: i32) {
    // SAFETY: touches no memory.
    unsafe { syscall5(libc::SYS_close as usize, fd as usize, 0, 0, 0, 0) };
}

/// Writes, perhaps only a part; how much is the result.
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads `bytes` within its length.
    unsafe { call3(fd as usize, bytes.as_ptr() as usize, bytes.len(), libc::SYS_write) }
}

/// Makes an unconnected Unix stream socket, closed on exec; with `wait` false, a non-blocking one.
pub fn socket(wait: bool) -> Result<usize, Errno> {
    let flags = if wait { 0 } else { libc::SOCK_NONBLOCK };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags;
    // SAFETY: touches no memory.
    unsafe { call3(libc::AF_UNIX as usize, kind as usize, 0, libc::SYS_socket) }
}

/// Connects a socket to the one that is bound to `path`. An empty path would be an abstract
/// address: it is no file, so `ENOENT`; one longer than [`SOCKET_PATH_MAX`] is `ENAMETOOLONG`.
///
/// While the listener's backlog is full a blocking socket waits, a non-blocking one gets `EAGAIN`.
pub fn connect(fd: i32, path: &[u8]) -> Result<(), Errno> {
    // `struct sockaddr_un`: the family in two bytes, and the path, ended by NUL.
    let mut address = [0; 2 + SOCKET_PATH_MAX + 1];
    let [a, b, room @ .., _] = &mut address;
    [*a, *b] = (libc::AF_UNIX as u16).to_ne_bytes();
    room.get_mut(..path.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(path);
    let length = 2 + path.len() + 1;
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    // SAFETY: the kernel reads `length` bytes of the address, no more than it has.
    unsafe { call3(fd as usize, address.as_ptr() as usize, length, libc::SYS_connect).map(drop) }
}

/// Makes a socket that was made non-blocking a blocking one.
pub fn set_blocking(fd: i32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { call3(fd as usize, libc::F_SETFL as usize, 0, libc::SYS_fcntl).map(drop) }
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

    /// Takes the numbers of the descriptors to send, at most [`DESCRIPTORS_PER_MESSAGE`].
    pub fn set(&mut self, numbers: &[i32]) {
        let Some(place) = self.descriptors.get_mut(..numbers.len()) else { return };
        place.copy_from_slice(numbers);
        self.length = CONTROL_HEADER + size_of_val(numbers);
        self.level = libc::SOL_SOCKET;
        self.kind = libc::SCM_RIGHTS;
    }

    /// The numbers that were received. Whoever asks owns them, and asks once.
    pub fn take(&mut self) -> &[i32] {
        // Nothing but descriptors is ever received: no other kind of control message was asked
        // for with a socket option.
        let bytes = core::mem::take(&mut self.length).saturating_sub(CONTROL_HEADER);
        &self.descriptors[..bytes / size_of::<i32>()]
    }
}

/// A message to be sent or received: the kernel's `struct user_msghdr`, and the one buffer that it
/// points to.
#[repr(C)]
pub struct Message<'a> {
    name: usize,
    name_length: usize,
    buffers: usize,
    buffer_count: usize,
    control: usize,
    control_length: usize,
    flags: i32,
    bytes: *const u8,
    length: usize,
    borrowed: PhantomData<&'a mut [u8]>,
    call: libc::c_long,
}

impl<'a> Message<'a> {
    fn new(
        call: libc::c_long,
        (bytes, length): (*const u8, usize),
        (control, control_length): (*const Control, usize),
    ) -> Message<'a> {
        let control = control as usize;
        let (name, name_length, buffers, buffer_count, flags) = (0, 0, 0, 1, 0);
        let borrowed = PhantomData;
        Message {
            name,
            name_length,
            buffers,
            buffer_count,
            control,
            control_length,
            flags,
            bytes,
            length,
            borrowed,
            call,
        }
    }

    /// Bytes to be sent, and with the first of them the descriptors in `control`.
    pub fn outgoing(bytes: &'a [u8], control: Option<&'a Control>) -> Message<'a> {
        let rights = control.map_or((ptr::null(), 0), |c| (ptr::from_ref(c), c.length));
        Message::new(libc::SYS_sendmsg, (bytes.as_ptr(), bytes.len()), rights)
    }

    /// A place for bytes that are received, and for descriptors that come with them; without a
    /// `control` the kernel closes those.
    pub fn incoming(bytes: &'a mut [u8], control: Option<&'a mut Control>) -> Message<'a> {
        let rights = control.map_or((ptr::null(), 0), |control| {
            // Without descriptors the kernel leaves the memory alone.
            control.length = 0;
            (ptr::from_ref(control), size_of::<Control>())
        });
        Message::new(libc::SYS_recvmsg, (bytes.as_ptr(), bytes.len()), rights)
    }

    /// How many bytes have not been sent or received yet.
    pub fn remaining(&self) -> usize {
        self.length
    }

    /// Sends or receives bytes, perhaps only a part of them, and says how many; 0 is the end of
    /// the stream. Descriptors, received ones closed on exec, are with the first of them.
    ///
    /// With `wait` false a full or empty socket buffer is `EAGAIN`. A peer that is gone is
    /// `EPIPE`, not a signal. `EMFILE`, which the calls themselves never give, says that received
    /// descriptors are lost: there was no room for them, in the message or in the process.
    pub fn exchange(&mut self, fd: i32, wait: bool) -> Result<usize, Errno> {
        self.buffers = ptr::from_ref(&self.bytes) as usize;
        let wait = if wait { 0 } else { libc::MSG_DONTWAIT };
        let flags = libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC | wait;
        let message = ptr::from_mut(self) as usize;
        // SAFETY: what the message points to is borrowed, for writing where it is written to.
        let n = unsafe { call3(fd as usize, message, flags as usize, self.call)? };
        // SAFETY: the kernel takes no more bytes than it was offered.
        self.bytes = unsafe { self.bytes.add(n) };
        self.length -= n;
        self.control_length = 0;
        if self.flags & libc::MSG_CTRUNC == 0 { Ok(n) } else { Err(Errno::MFILE) }
    }
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
    /// A span in milliseconds.
    pub fn from_milliseconds(ms: u32) -> Time {
        Time { seconds: (ms / 1000).into(), nanoseconds: (ms % 1000 * 1_000_000).into() }
    }
}

/// What to wait for on a descriptor, and what came: the kernel's `struct pollfd`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Poll {
    /// The descriptor; a negative one is passed over.
    pub fd: i32,
    /// `POLLIN` or `POLLOUT`.
    pub events: i16,
    /// What happened, `POLLHUP`, `POLLERR` and `POLLNVAL` among it.
    pub happened: i16,
}

impl Poll {
    /// There is something to read.
    pub const IN: i16 = libc::POLLIN;
    /// There is room to write.
    pub const OUT: i16 = libc::POLLOUT;
}

/// Waits until something happens on one of the descriptors, or `left` is used up. The kernel
/// takes what the wait took off `left`, so waits can be added up without looking at a clock.
/// The result is the number of descriptors on which something happened.
pub fn poll(fds: &mut [Poll], left: Option<&mut Time>) -> Result<usize, Errno> {
    let left = left.map_or(0, |time| ptr::from_mut(time) as usize);
    let (place, length) = (fds.as_mut_ptr() as usize, fds.len());
    // SAFETY: the kernel reads and writes the slice and the 64-bit timespec.
    unsafe { call5(place, length, left, 0, 0, libc::SYS_ppoll) }
}

/// Whether a number is an open descriptor's.
pub fn is_open(number: usize) -> bool {
    // SAFETY: touches no memory.
    unsafe { call3(number, libc::F_GETFD as usize, 0, libc::SYS_fcntl).is_ok() }
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
    let _ = unsafe { call5(0, libc::RLIMIT_NOFILE as usize, new, old, 0, libc::SYS_prlimit64) };
}

/// The number for "below the working directory" in calls that take a directory.
fn at(directory: Option<&Fd>) -> usize {
    directory.map_or(libc::AT_FDCWD, Fd::number) as usize
}

/// Opens a directory, to reach what is in it.
pub fn open_directory(path: &CStr) -> Result<usize, Errno> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the kernel reads a C string.
    unsafe { call3(at(None), path.as_ptr() as usize, flags as usize, libc::SYS_openat) }
}

/// Makes a symbolic link to `target`, called `name`, in a directory.
pub fn symlink(target: &CStr, directory: Option<&Fd>, name: &CStr) -> Result<(), Errno> {
    let (target, name) = (target.as_ptr() as usize, name.as_ptr() as usize);
    // SAFETY: the kernel reads two C strings.
    unsafe { call3(target, at(directory), name, libc::SYS_symlinkat).map(drop) }
}

/// Reads where the symbolic link called `name` in a directory points to; `ENAMETOOLONG` if that,
/// and a NUL behind it, is more than `buffer` has room for.
pub fn read_link<'a>(
    directory: Option<&Fd>,
    name: &CStr,
    buffer: &'a mut [u8],
) -> Result<&'a CStr, Errno> {
    let (place, room) = (buffer.as_mut_ptr() as usize, buffer.len());
    let name = name.as_ptr() as usize;
    // SAFETY: the kernel reads a C string and writes into the buffer within its length.
    let length = unsafe { call5(at(directory), name, place, room, 0, libc::SYS_readlinkat)? };
    *buffer.get_mut(length).ok_or(Errno::NAMETOOLONG)? = 0;
    // SAFETY: a NUL has been put behind what the kernel wrote, within the buffer.
    Ok(unsafe { CStr::from_ptr(buffer.as_ptr().cast()) })
}
