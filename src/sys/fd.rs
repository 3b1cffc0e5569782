//! Descriptors: owned ([`Fd`]) and borrowed ([`BorrowedFd`]).

use super::{Errno, call3};
use crate::slice::{part, part_mut};
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::num::NonZeroI32;

/// An open descriptor that is closed when it is dropped. It is never 0, 1 or 2: these belong to the
/// program that started this one. So `Option<Fd>` has the size of a number.
#[derive(PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Fd(NonZeroI32);

/// A descriptor that somebody else owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct BorrowedFd<'a>(i32, PhantomData<&'a Fd>);

/// Standard input.
pub const STDIN: BorrowedFd<'static> = BorrowedFd::named(0);
/// Standard output.
pub const STDOUT: BorrowedFd<'static> = BorrowedFd::named(1);
/// Standard error.
pub const STDERR: BorrowedFd<'static> = BorrowedFd::named(2);

impl Fd {
    /// Takes ownership of the descriptor of that number. `None` for standard input, output and error,
    /// which stay open.
    ///
    /// # Safety
    /// Nothing else may own the descriptor.
    pub unsafe fn own(number: usize) -> Option<Fd> {
        let number = number as i32;
        if number > 2 { NonZeroI32::new(number).map(Fd) } else { None }
    }

    /// The descriptor, borrowed.
    pub fn borrow(&self) -> BorrowedFd<'_> {
        BorrowedFd(self.0.get(), PhantomData)
    }

    /// Clears close-on-exec, gives up ownership, and returns the number: the executed program inherits
    /// it.
    pub fn leave_to_program(self) -> usize {
        let number = ManuallyDrop::new(self).borrow().number();
        // SAFETY: touches no memory.
        let _ = unsafe { call3(libc::SYS_fcntl, number, libc::F_SETFD as usize, 0) };
        number
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        close(self.borrow());
    }
}

/// Closes a descriptor. An error is ignored: Linux frees the number in any case, so there is nothing to
/// repeat.
#[inline(never)]
fn close(fd: BorrowedFd) {
    // SAFETY: touches no memory, and nothing else owns the descriptor.
    unsafe {
        super::syscall5(libc::SYS_close as usize, fd.number(), 0, 0, 0, 0);
    }
}

impl<'a> BorrowedFd<'a> {
    /// The descriptor of a number that a user gave. It may not be open.
    pub const fn named(number: u32) -> BorrowedFd<'static> {
        BorrowedFd(number as i32, PhantomData)
    }

    /// Its number, for system calls.
    pub(super) fn number(self) -> usize {
        self.0 as usize
    }

    /// Closes it. No [`Fd`] may own it: it is one like standard input.
    pub fn close(self) {
        close(self);
    }

    /// `EBADF` if the descriptor is not open.
    pub fn is_open(self) -> Result<(), Errno> {
        self.command(libc::F_GETFD).map(drop)
    }

    /// An `fcntl` command without an argument.
    fn command(self, command: i32) -> Result<usize, Errno> {
        // SAFETY: touches no memory.
        unsafe { call3(libc::SYS_fcntl, self.number(), command as usize, 0) }
    }

    /// True if an executed program inherits it: close-on-exec is off.
    pub fn is_kept_on_exec(self) -> bool {
        self.command(libc::F_GETFD) == Ok(0)
    }

    /// True for a file in memory (memfd, tmpfs): only those have seals.
    pub fn has_seals(self) -> bool {
        self.command(libc::F_GET_SEALS).is_ok()
    }

    /// Returns another descriptor of the same open file, close-on-exec. If the kernel gives the copy a
    /// free number among 0, 1 and 2, that copy stays open, and the next copy is returned: those numbers
    /// are never this program's.
    pub fn duplicate(self) -> Result<Fd, Errno> {
        self.duplicate_from(0)
    }

    /// The same, with the lowest free number that is not below `least`; `EINVAL` if the limit on open
    /// files allows no such number.
    pub fn duplicate_from(self, least: u32) -> Result<Fd, Errno> {
        loop {
            let command = libc::F_DUPFD_CLOEXEC as usize;
            // SAFETY: touches no memory.
            let number = unsafe { call3(libc::SYS_fcntl, self.number(), command, least as usize)? };
            // SAFETY: the kernel has just opened it.
            if let Some(fd) = unsafe { Fd::own(number) } {
                return Ok(fd);
            }
        }
    }

    /// Makes `at` another descriptor of the same open file, close-on-exec or not, and closes what `at`
    /// was. `EINVAL` if both have the same number.
    pub fn put_at(self, at: BorrowedFd, closes_on_exec: bool) -> Result<(), Errno> {
        let flags = if closes_on_exec { libc::O_CLOEXEC } else { 0 } as usize;
        // SAFETY: touches no memory.
        unsafe { call3(libc::SYS_dup3, self.number(), at.number(), flags) }.map(drop)
    }

    /// Sets the status flags of the open file, for all descriptors of it, to `O_NONBLOCK` alone or to
    /// none. Errors are ignored.
    pub fn set_nonblocking(self, is_on: bool) {
        let flags = if is_on { libc::O_NONBLOCK } else { 0 } as usize;
        // SAFETY: touches no memory.
        let _ = unsafe { call3(libc::SYS_fcntl, self.number(), libc::F_SETFL as usize, flags) };
    }
}

/// A queue of up to `N` owned descriptors. All bytes zero are an empty queue.
pub struct FdQueue<const N: usize> {
    slots: [Option<Fd>; N],
    /// The position of the first descriptor that has not been taken or lent.
    next: usize,
    /// The position behind the last descriptor.
    end: usize,
}

impl<const N: usize> FdQueue<N> {
    /// An empty queue.
    pub const EMPTY: FdQueue<N> = FdQueue { slots: [const { None }; N], next: 0, end: 0 };

    /// Appends a descriptor. If the queue is full, the descriptor is closed.
    pub fn push(&mut self, fd: Fd) {
        if let Some(slot @ None) = self.slots.get_mut(self.end) {
            *slot = Some(fd);
            self.end += 1;
        }
    }

    /// The number of descriptors that have not been taken or lent.
    pub fn len(&self) -> usize {
        self.end - self.next
    }

    /// True if all have been taken or lent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the first descriptor.
    pub fn pop(&mut self) -> Option<Fd> {
        let fd = self.slots.get_mut(self.next).and_then(Option::take);
        if fd.is_some() {
            self.next += 1;
        }
        fd
    }

    /// Takes the last descriptor.
    pub fn pop_last(&mut self) -> Option<Fd> {
        if self.is_empty() {
            return None;
        }
        self.end -= 1;
        self.slots.get_mut(self.end).and_then(Option::take)
    }

    /// The descriptors that have not been taken or lent.
    pub fn rest(&self) -> &[BorrowedFd<'_>] {
        self.between(self.next, self.end)
    }

    /// Lends the first `count` descriptors. They stay open until [`FdQueue::clear`], and
    /// [`FdQueue::len`] no longer counts them.
    pub fn lend(&mut self, count: usize) -> &[BorrowedFd<'_>] {
        let first = self.next;
        self.next += count;
        self.between(first, self.next)
    }

    /// The descriptors from one position to another. None of them may have been taken.
    fn between(&self, first: usize, end: usize) -> &[BorrowedFd<'_>] {
        let slots = part(part(&self.slots, ..self.end), first..end);
        // SAFETY: all of these are `Some`, and such an `Option<Fd>` has the layout of its number, as
        // has a `BorrowedFd`. The borrow of the queue keeps them open.
        unsafe { &*(core::ptr::from_ref(slots) as *const [BorrowedFd<'_>]) }
    }

    /// Closes all descriptors that have not been taken, lent ones included.
    pub fn clear(&mut self) {
        let slots = part_mut(&mut self.slots, ..self.end);
        let is_closed = close_range(slots);
        for slot in slots {
            let fd = slot.take();
            if is_closed {
                core::mem::forget(fd);
            }
        }
        (self.next, self.end) = (0, 0);
    }
}

/// Closes descriptors with one call if their numbers are consecutive, as numbers are that the kernel
/// gave out in a row. False if they are not, or the kernel is older than 5.9.
fn close_range(slots: &[Option<Fd>]) -> bool {
    let [Some(first), _, ..] = slots else { return false };
    let first = first.borrow().number();
    let mut end = first;
    for slot in slots {
        if slot.as_ref().map(|fd| fd.borrow().number()) != Some(end) {
            return false;
        }
        end += 1;
    }
    // SAFETY: touches no memory, and the queue owns the whole range.
    unsafe { call3(libc::SYS_close_range, first, end - 1, 0) }.is_ok()
}
