//! `sendmsg` and `recvmsg`: bytes of a stream, and the descriptors that travel with the first of them.

use super::call3;
#[cfg(feature = "fdholderd")]
use super::call5;
use super::errno::Errno;
use super::fd::{BorrowedFd, Fd};
use crate::slice::part_mut;
use core::ptr;

/// The most descriptors in one message: the kernel's `SCM_MAX_FD`.
pub const DESCRIPTORS_MAX: usize = 253;

/// The kernel's `struct user_msghdr`, for one buffer. (`msghdr` of the C libraries has other padding on
/// some processors.)
#[repr(C)]
struct Message {
    name: usize,
    name_length: usize,
    buffers: *const Buffer,
    buffer_count: usize,
    control: *const Control,
    control_length: usize,
    flags: u32,
}

impl Message {
    /// A message with this buffer and this control message.
    fn new(buffer: *const Buffer, control: *const Control, control_length: usize) -> Message {
        Message {
            name: 0,
            name_length: 0,
            buffers: buffer,
            buffer_count: 1,
            control,
            control_length,
            flags: 0,
        }
    }
}

/// The kernel's `struct iovec`.
#[repr(C)]
struct Buffer {
    bytes: *const u8,
    length: usize,
}

/// A control message of descriptors: the kernel's `struct cmsghdr`, followed by the numbers.
#[repr(C)]
#[derive(Clone, Copy)]
struct Control {
    /// Length in bytes, header included; 0 if there is no control message.
    length: usize,
    level: i32,
    kind: i32,
    numbers: [i32; DESCRIPTORS_MAX],
}

/// Bytes of a control message before its numbers.
const CONTROL_HEADER: usize = size_of::<usize>() + 2 * size_of::<i32>();

impl Control {
    /// No control message.
    const EMPTY: Control = Control { length: 0, level: 0, kind: 0, numbers: [0; DESCRIPTORS_MAX] };
}

/// Sends bytes, and `descriptors` with the first of them. Returns how many bytes were sent, which may
/// be fewer. The limit of `descriptors` is [`DESCRIPTORS_MAX`]. If the peer has disconnected, the error
/// is `EPIPE`; no signal is raised.
pub fn send(socket: BorrowedFd, bytes: &[u8], descriptors: &[BorrowedFd]) -> Result<usize, Errno> {
    let mut control = Control::EMPTY;
    let places = part_mut(&mut control.numbers, ..descriptors.len());
    for (place, descriptor) in places.iter_mut().zip(descriptors) {
        *place = descriptor.number() as i32;
    }
    control.length = CONTROL_HEADER + size_of_val(descriptors);
    (control.level, control.kind) = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
    let buffer = Buffer { bytes: bytes.as_ptr(), length: bytes.len() };
    // The kernel wants no empty control message.
    let control_length = if descriptors.is_empty() { 0 } else { control.length };
    let message = Message::new(&buffer, &control, control_length);
    let (place, flags) = (ptr::from_ref(&message) as usize, libc::MSG_NOSIGNAL as usize);
    // SAFETY: the message points to borrowed values, and the kernel reads them within their lengths.
    unsafe { call3(libc::SYS_sendmsg, socket.number(), place, flags) }
}

/// Sends bytes to a connected socket, without blocking. Errors are ignored.
#[cfg(feature = "fdholderd")]
pub fn send_at_once(socket: BorrowedFd, bytes: &[u8]) {
    let (place, length) = (bytes.as_ptr() as usize, bytes.len());
    let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as usize;
    // SAFETY: the kernel reads `bytes` within its length, and no address.
    let _ = unsafe { call5(libc::SYS_sendto, socket.number(), place, length, flags, 0) };
}

/// The descriptors of one received message: an iterator over owners, close-on-exec. Dropping it closes
/// those that were not taken.
pub struct Received {
    /// True if descriptors were lost: the process had no room for them, or a security module removed
    /// them.
    pub is_truncated: bool,
    next: usize,
    count: usize,
    control: Control,
}

impl Received {
    /// No message yet.
    pub const NOTHING: Received =
        Received { is_truncated: false, next: 0, count: 0, control: Control::EMPTY };

    /// Receives bytes, and the descriptors that came with the first of them. Returns how many bytes; 0
    /// is the end of the stream. Closes the descriptors of the message before.
    pub fn receive(&mut self, socket: BorrowedFd, bytes: &mut [u8]) -> Result<usize, Errno> {
        self.clear();
        let buffer = Buffer { bytes: bytes.as_mut_ptr(), length: bytes.len() };
        let mut message = Message::new(&buffer, &raw mut self.control, size_of::<Control>());
        let (place, flags) =
            (ptr::from_mut(&mut message) as usize, libc::MSG_CMSG_CLOEXEC as usize);
        // SAFETY: the kernel writes into the message and into the two buffers that it points to, all
        // mutably borrowed, within their lengths.
        let length = unsafe { call3(libc::SYS_recvmsg, socket.number(), place, flags)? };
        self.is_truncated = message.flags & libc::MSG_CTRUNC as u32 != 0;
        // No socket option has enabled another kind of control message.
        if (self.control.level, self.control.kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            let bytes = self.control.length.saturating_sub(CONTROL_HEADER);
            self.count = bytes / size_of::<i32>();
        }
        Ok(length)
    }

    /// The number of descriptors that have not been taken.
    pub fn descriptors(&self) -> usize {
        self.count - self.next
    }

    /// Closes the descriptors that have not been taken.
    pub fn clear(&mut self) {
        while self.next().is_some() {}
        (self.next, self.count, self.control.length) = (0, 0, 0);
    }
}

impl Iterator for Received {
    type Item = Fd;

    fn next(&mut self) -> Option<Fd> {
        while self.next < self.count {
            let number = *self.control.numbers.get(self.next)?;
            self.next += 1;
            // SAFETY: the kernel opened it for this message, and each number is used once.
            let fd = unsafe { Fd::own(number as usize) };
            if fd.is_some() {
                return fd;
            }
        }
        None
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.clear();
    }
}
