//! The system call layer: the only unsafe code.
//!
//! Each function is one system call with Rust types, its result a [`Result`] with an [`Errno`].
//! A call that a signal interrupts is made again.
//! Descriptors are plain numbers here; [`crate::fd`] gives them owners.

pub mod errno;
pub mod hand_out;
#[cfg(feature = "fdholderd")]
pub mod memory;
#[cfg(feature = "fdholderd")]
pub mod server;
pub mod text;
pub mod vector;

#[cfg_attr(miri, path = "miri.rs")]
#[cfg_attr(all(target_arch = "x86_64", not(miri)), path = "x86_64.rs")]
#[cfg_attr(target_arch = "x86", path = "x86.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(target_arch = "arm", path = "arm.rs")]
#[cfg_attr(target_arch = "mips", path = "mips.rs")]
#[cfg_attr(target_arch = "riscv64", path = "riscv64.rs")]
#[cfg_attr(target_arch = "s390x", path = "s390x.rs")]
pub mod arch;
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
mod bytewise;
#[cfg_attr(target_pointer_width = "64", path = "word64.rs")]
#[cfg_attr(target_pointer_width = "32", path = "word32.rs")]
mod word;

use arch::syscall5;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicU8;
pub use errno::Errno;
use text::Text;
use vector::Vector;
pub use word::{CONTROL_HEADER, CONTROL_LENGTH_AT, control_header};

/// The kernel's `SCM_MAX_FD`: descriptors that one message can carry.
pub const DESCRIPTORS_PER_MESSAGE: usize = 253;

/// The longest path of a Unix socket, in bytes: `sun_path` less its final NUL.
pub const SOCKET_PATH_MAX: usize = 107;

/// A system call of up to three arguments, made again for as long as signals interrupt it. The
/// kernel answers -1 to -4095 for an error, anything else is a result. The number stands behind the
/// arguments: on most processors these come in the registers in which the kernel wants them.
///
/// # Safety
/// The arguments must be what the call numbered `number` expects.
unsafe fn call3(a: usize, b: usize, c: usize, number: libc::c_long) -> Result<usize, Errno> {
    // SAFETY: the caller vouches for the arguments.
    unsafe { call5(a, b, c, 0, 0, number) }
}

/// The same where no more than success is to be known: a result of one word takes less code.
///
/// # Safety
/// As for [`call3`].
unsafe fn act3(a: usize, b: usize, c: usize, number: libc::c_long) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the arguments.
    unsafe { call3(a, b, c, number).map(drop) }
}

/// The same of up to five arguments.
///
/// # Safety
/// As for [`call3`].
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

/// Writes all of `bytes`.
pub fn write_all(fd: i32, mut bytes: &[AtomicU8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let (place, length) = (bytes.as_ptr() as usize, bytes.len());
        // SAFETY: the kernel reads `bytes` within its length.
        let written = unsafe { call3(fd as usize, place, length, libc::SYS_write)? };
        if written == 0 {
            return Err(Errno::IO);
        }
        // SAFETY: the kernel takes no more bytes than it was offered.
        bytes = unsafe { bytes.get_unchecked(written..) };
    }
    Ok(())
}

/// Makes an unconnected Unix stream socket, non-blocking and closed on exec.
#[inline(never)]
pub fn socket() -> Result<usize, Errno> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: touches no memory.
    unsafe { call3(libc::AF_UNIX as usize, kind as usize, 0, libc::SYS_socket) }
}

/// Connects a socket to the one that is bound to `path`. An empty path would be an abstract
/// address: it is no file, so `ENOENT`; one longer than [`SOCKET_PATH_MAX`] is `ENAMETOOLONG`.
///
/// While the listener's backlog is full a non-blocking socket gets `EAGAIN`.
pub fn connect(fd: i32, path: Text) -> Result<(), Errno> {
    with_address(fd, path, libc::SYS_connect)
}

/// A call on a socket that takes the address of another, or its own.
fn with_address(fd: i32, path: Text, number: libc::c_long) -> Result<(), Errno> {
    // `struct sockaddr_un`: the family in two bytes, and the path, ended by NUL. It is larger than
    // it has to be: that takes less code to fill.
    let mut address = [0; 256];
    address[usize::from(cfg!(target_endian = "big"))] = libc::AF_UNIX as u8;
    let mut length = 2;
    for byte in path {
        if length == 2 + SOCKET_PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        address[length] = byte;
        length += 1;
    }
    if length == 2 {
        return Err(Errno::NOENT);
    }
    // SAFETY: the kernel reads `length` bytes of the address and the NUL behind them.
    unsafe { act3(fd as usize, address.as_ptr() as usize, length + 1, number) }
}

/// Makes a socket a blocking one.
pub fn set_blocking(fd: i32) {
    set_flags(fd, 0);
}

/// Sets the flags of an open file, for all that share it.
fn set_flags(fd: i32, flags: i32) {
    let command = libc::F_SETFL as usize;
    // SAFETY: touches no memory.
    let _ = unsafe { call3(fd as usize, command, flags as usize, libc::SYS_fcntl) };
}

/// The most words of a control message.
pub const CONTROL_MAX: usize = CONTROL_HEADER + DESCRIPTORS_PER_MESSAGE;

/// How many words the control message has that lies at the start of `words`, header included; 0
/// if there is none.
pub fn control_length(words: &[i32]) -> usize {
    words.get(CONTROL_LENGTH_AT).map_or(0, |bytes| *bytes as u32 as usize / size_of::<i32>())
}

/// A message to be sent or received: the kernel's `struct user_msghdr`, and the one buffer that it
/// points to.
#[repr(C)]
pub struct Message<'a> {
    name: usize,
    name_length: usize,
    buffers: usize,
    buffer_count: usize,
    control: *const i32,
    control_length: usize,
    flags: u32,
    bytes: *const u8,
    length: usize,
    call: libc::c_long,
    borrowed: PhantomData<&'a mut [u8]>,
}

impl<'a> Message<'a> {
    #[inline(never)]
    fn new(
        bytes: *const u8,
        length: usize,
        control: *const i32,
        words: usize,
        call: libc::c_long,
    ) -> Message<'a> {
        Message {
            name: 0,
            name_length: 0,
            // Where that lies is known when the call is made.
            buffers: 0,
            buffer_count: 1,
            control,
            control_length: words * size_of::<i32>(),
            flags: 0,
            bytes,
            length,
            call,
            borrowed: PhantomData,
        }
    }

    /// Bytes to be sent, and the control message that goes with the first of them.
    pub fn outgoing(bytes: &'a [u8], control: &'a [i32]) -> Message<'a> {
        let (words, call) = (control.len(), libc::SYS_sendmsg);
        Message::new(bytes.as_ptr(), bytes.len(), control.as_ptr(), words, call)
    }

    /// A place for bytes that are received, and for the control message that comes with them,
    /// which is not touched if they bring no descriptors; these are closed on exec.
    pub fn incoming(bytes: &'a mut [u8], control: &'a mut [i32]) -> Message<'a> {
        let (words, call) = (control.len(), libc::SYS_recvmsg);
        Message::new(bytes.as_mut_ptr(), bytes.len(), control.as_mut_ptr(), words, call)
    }

    /// How many bytes have not been sent or received yet.
    pub fn remaining(&self) -> usize {
        self.length
    }

    /// Sends or receives bytes, perhaps only a part of them, and says how many; 0 is the end of
    /// the stream.
    ///
    /// A peer that is gone is `EPIPE`, not a signal. `EMFILE`, which the calls themselves never
    /// give, says that received descriptors are lost: there was no room for them, in the message
    /// or in the process.
    pub fn exchange(&mut self, fd: i32) -> Result<usize, Errno> {
        self.buffers = ptr::from_ref(&self.bytes) as usize;
        // One is about sending, the other about receiving: neither call minds that of the other.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC;
        let message = ptr::from_mut(self) as usize;
        // SAFETY: what the message points to is borrowed, for writing where it is written to.
        let n = unsafe { call3(fd as usize, message, flags as usize, self.call)? };
        // SAFETY: the kernel takes no more bytes than it was offered.
        self.bytes = unsafe { self.bytes.add(n) };
        self.length -= n;
        // The control message went with the first byte.
        self.control_length = 0;
        if self.flags & libc::MSG_CTRUNC as u32 == 0 { Ok(n) } else { Err(Errno::MFILE) }
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

    /// That much later.
    pub fn plus(self, span: Time) -> Time {
        let mut sum = Time {
            seconds: self.seconds.wrapping_add(span.seconds),
            nanoseconds: self.nanoseconds + span.nanoseconds,
        };
        if sum.nanoseconds >= 1_000_000_000 {
            sum.nanoseconds -= 1_000_000_000;
            sum.seconds = sum.seconds.wrapping_add(1);
        }
        sum
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
    /// There is no such descriptor.
    pub const CLOSED: i16 = libc::POLLNVAL;
}

/// Waits until something happens on one of the descriptors, or `left` is used up. The kernel
/// takes what the wait took off `left`, so waits can be added up without looking at a clock.
/// The result is the number of descriptors on which something happened.
pub fn poll(fds: &mut [Poll], left: Option<&mut Time>) -> Result<usize, Errno> {
    let left = left.map_or(0, |time| ptr::from_mut(time) as usize);
    let (place, length) = (fds.as_mut_ptr() as usize, fds.len());
    // SAFETY: the kernel reads and writes the slice and the time.
    unsafe { word::ppoll(place, length, left) }
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

/// Reads the limit on open files. A kernel older than 2.6.36 does not say it, nor one whose sandbox
/// forbids that: then it is what every process starts with.
pub fn open_file_limit() -> OpenFileLimit {
    let mut limit = OpenFileLimit { soft: 1024, hard: 1024 };
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

/// Makes a directory the working directory.
pub fn change_directory(path: Text) -> Result<(), Errno> {
    // SAFETY: the kernel reads a C string.
    unsafe { act3(path.as_ptr() as usize, 0, 0, libc::SYS_chdir) }
}

/// In calls that take a directory: the working directory.
const AT_FDCWD: usize = libc::AT_FDCWD as usize;

/// A path in the making, and zeros behind it, one at the least. A full one may lack bytes at its
/// end.
pub struct PathBuffer {
    bytes: [u8; PathBuffer::SIZE],
    length: usize,
}

impl PartialEq for PathBuffer {
    fn eq(&self, other: &PathBuffer) -> bool {
        self.bytes.iter().eq(&other.bytes)
    }
}

impl PathBuffer {
    /// Half of what the kernel takes for a path: two of these are less than a page of stack, for more
    /// of which the compiler adds code that touches each page.
    const SIZE: usize = 2032;
    const FULL: usize = PathBuffer::SIZE - 1;

    /// Nowhere.
    pub const EMPTY: PathBuffer = PathBuffer { bytes: [0; PathBuffer::SIZE], length: 0 };

    /// Adds a byte, if there is room for it. It has few callers without the daemon, so that each may
    /// have it inline.
    #[cfg_attr(feature = "fdholderd", inline(never))]
    pub fn byte(&mut self, byte: u8) {
        if self.length < PathBuffer::FULL {
            self.bytes[self.length] = byte;
            self.length += 1;
        }
    }

    /// Adds all of a text.
    pub fn text(&mut self, text: Text) {
        for byte in text {
            self.byte(byte);
        }
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// `ENAMETOOLONG` for a full one.
    pub fn check(&self) -> Result<(), Errno> {
        if self.length < PathBuffer::FULL { Ok(()) } else { Err(Errno::NAMETOOLONG) }
    }

    /// Adds what the link at `name` points to; nothing may have been added before.
    pub fn read_link(&mut self, name: Text) -> Result<(), Errno> {
        let (place, name) = (self.bytes.as_mut_ptr() as usize, name.as_ptr() as usize);
        let (room, call) = (PathBuffer::FULL, libc::SYS_readlinkat);
        // SAFETY: the kernel reads a C string and writes no more bytes than there is room for.
        self.length = unsafe { call5(AT_FDCWD, name, place, room, 0, call)? };
        Ok(())
    }

    /// Makes a symbolic link to it at `name`.
    pub fn link(&self, name: Text) -> Result<(), Errno> {
        let (target, name) = (self.bytes.as_ptr() as usize, name.as_ptr() as usize);
        // SAFETY: the kernel reads two C strings: the last byte of the target is always NUL.
        unsafe { act3(target, AT_FDCWD, name, libc::SYS_symlinkat) }
    }

    /// Replaces the process by the program there. If that comes back it has failed.
    pub fn execute(&self, arguments: Vector, environment: Vector) -> Errno {
        match self.check() {
            Ok(()) => execute(self.bytes.as_ptr(), arguments, environment),
            Err(errno) => errno,
        }
    }
}

/// Replaces the process by the program at `path`. If that comes back it has failed.
pub fn execute_at(path: Text, arguments: Vector, environment: Vector) -> Errno {
    execute(path.as_ptr(), arguments, environment)
}

/// Both callers have a C string at `path`.
fn execute(path: *const u8, arguments: Vector, environment: Vector) -> Errno {
    let (arguments, environment) = (arguments.as_ptr() as usize, environment.as_ptr() as usize);
    // SAFETY: the kernel reads a C string and two vectors of them.
    let done = unsafe { act3(path as usize, arguments, environment, libc::SYS_execve) };
    done.err().unwrap_or(Errno::NOEXEC)
}

/// Makes a descriptor, which must not be 0, standard input as well, in place of what that was, for a
/// program that is executed.
pub fn become_stdin(fd: i32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { act3(fd as usize, 0, 0, libc::SYS_dup3) }
}

/// Makes another number for an open file, closed on exec.
pub fn duplicate(fd: i32) -> Result<usize, Errno> {
    // SAFETY: touches no memory.
    unsafe { call3(fd as usize, libc::F_DUPFD_CLOEXEC as usize, 0, libc::SYS_fcntl) }
}

/// Leaves a descriptor to a program that is executed.
pub fn keep_on_exec(fd: i32) {
    // SAFETY: touches no memory.
    let _ = unsafe { call3(fd as usize, libc::F_SETFD as usize, 0, libc::SYS_fcntl) };
}

/// Whether there is an open descriptor of that number; `EBADF` if not.
pub fn is_open(fd: u32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { act3(fd as usize, libc::F_GETFD as usize, 0, libc::SYS_fcntl) }
}

/// What the clock says that people read.
pub fn now() -> Time {
    clock(libc::CLOCK_REALTIME)
}

/// Reads a clock.
fn clock(clock: i32) -> Time {
    let mut time = Time { seconds: 0, nanoseconds: 0 };
    let place = ptr::from_mut(&mut time) as usize;
    // SAFETY: the kernel writes the time; it cannot fail for the clocks asked for.
    let _ = unsafe { word::clock_gettime(clock as usize, place) };
    time
}

/// Asks for memory that is all zeros, costs nothing until it is used and stays until the process
/// ends; nothing if it cannot be had.
fn map_bytes(size: usize) -> Option<NonNull<u8>> {
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
    let arguments = [0, size, protection, flags, usize::MAX, 0];
    // SAFETY: takes no memory that is in use already.
    let place = unsafe { arch::mmap(arguments) };
    // The kernel answers -1 to -4095 for an error.
    if place as usize > -4096isize as usize { None } else { NonNull::new(place as *mut u8) }
}

/// The same, for a value.
///
/// # Safety
/// Zeros must be a valid `T`, which must not need to lie on more than a page's boundary.
unsafe fn map<T>() -> Option<&'static mut T> {
    // SAFETY: nobody else has the memory; the caller vouches for what is in it.
    map_bytes(size_of::<T>()).map(|place| unsafe { place.cast().as_mut() })
}

/// A place for rows of texts, none there yet; nothing if there is no memory for it.
pub fn map_texts<const N: usize, const M: usize>() -> Option<&'static mut [[Option<Text>; N]; M]> {
    // SAFETY: zeros mean no text.
    unsafe { map() }
}
