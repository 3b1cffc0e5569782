//! `sendmsg` and `recvmsg`: bytes of a stream, and descriptors that travel with the first of them.

use super::call3;
#[cfg(feature = "fdholderd")]
use super::call5;
use super::errno::Errno;
use super::fd::{BorrowedFd, Fd};
use crate::slice::part_mut;
use core::ptr;

/// The kernel's `SCM_MAX_FD`: descriptors that one message can carry.
pub const DESCRIPTORS_MAX: usize = 253;

/// The kernel's `struct user_msghdr`, with one buffer. (The C libraries' `msghdr` has other gaps on
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
    /// A message of these parts.
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

/// A control message with descriptors: the kernel's `struct cmsghdr`, and numbers behind it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Control {
    /// Bytes, header included; 0 if there is no message.
    length: usize,
    level: i32,
    kind: i32,
    numbers: [i32; DESCRIPTORS_MAX],
}

/// Bytes of a control message in front of its numbers.
const CONTROL_HEADER: usize = size_of::<usize>() + 2 * size_of::<i32>();

impl Control {
    /// No message yet.
    const EMPTY: Control = Control { length: 0, level: 0, kind: 0, numbers: [0; DESCRIPTORS_MAX] };
}

/// Sends bytes, perhaps only some of them, and the descriptors, all with the first byte. The result
/// is how many bytes. At most [`DESCRIPTORS_MAX`] descriptors fit. A peer that is gone is `EPIPE`,
/// not a signal.
pub fn send(socket: BorrowedFd, bytes: &[u8], descriptors: &[BorrowedFd]) -> Result<usize, Errno> {
    let mut control = Control::EMPTY;
    let places = part_mut(&mut control.numbers, ..descriptors.len());
    for (place, descriptor) in places.iter_mut().zip(descriptors) {
        *place = descriptor.number() as i32;
    }
    control.length = CONTROL_HEADER + size_of_val(descriptors);
    (control.level, control.kind) = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
    let buffer = Buffer { bytes: bytes.as_ptr(), length: bytes.len() };
    // Without descriptors there is no control message.
    let control_length = if descriptors.is_empty() { 0 } else { control.length };
    let message = Message::new(&buffer, &control, control_length);
    let (place, flags) = (ptr::from_ref(&message) as usize, libc::MSG_NOSIGNAL as usize);
    // SAFETY: the places that the message names are borrowed, and the kernel reads them within their
    // lengths.
    unsafe { call3(libc::SYS_sendmsg, socket.number(), place, flags) }
}

/// Sends bytes, at once or not at all. What becomes of them nobody is told.
#[cfg(feature = "fdholderd")]
pub fn send_at_once(socket: BorrowedFd, bytes: &[u8]) {
    let (place, length) = (bytes.as_ptr() as usize, bytes.len());
    let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as usize;
    // SAFETY: the kernel reads `bytes` within its length, and no address.
    let _ = unsafe { call5(libc::SYS_sendto, socket.number(), place, length, flags, 0) };
}

/// Where descriptors are received: an iterator over those of the last message, each an owner. Those
/// that nobody has taken are closed when it is dropped. They are closed on exec.
pub struct Received {
    /// Whether descriptors were lost: there was no room for them in the process, or a security
    /// module took them out.
    pub is_truncated: bool,
    next: usize,
    count: usize,
    control: Control,
}

impl Received {
    /// Nothing yet.
    pub const NOTHING: Received =
        Received { is_truncated: false, next: 0, count: 0, control: Control::EMPTY };

    /// Receives some bytes and what descriptors come with the first of them. The result is how many
    /// bytes; 0 is the end of the stream. What the message before brought is gone.
    pub fn receive(&mut self, socket: BorrowedFd, bytes: &mut [u8]) -> Result<usize, Errno> {
        self.clear();
        let buffer = Buffer { bytes: bytes.as_mut_ptr(), length: bytes.len() };
        let mut message = Message::new(&buffer, &raw mut self.control, size_of::<Control>());
        let (place, flags) =
            (ptr::from_mut(&mut message) as usize, libc::MSG_CMSG_CLOEXEC as usize);
        // SAFETY: the kernel writes into the message and the two places that it names, all borrowed for
        // writing, within their lengths.
        let length = unsafe { call3(libc::SYS_recvmsg, socket.number(), place, flags)? };
        self.is_truncated = message.flags & libc::MSG_CTRUNC as u32 != 0;
        // No other kind of message was asked for with a socket option.
        if (self.control.level, self.control.kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            let bytes = self.control.length.saturating_sub(CONTROL_HEADER);
            self.count = bytes / size_of::<i32>();
        }
        Ok(length)
    }

    /// How many descriptors have not been taken yet.
    pub fn descriptors(&self) -> usize {
        self.count - self.next
    }

    /// Closes those that have not been taken.
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
            // SAFETY: the kernel has made it for this message, and no number is looked at twice.
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
