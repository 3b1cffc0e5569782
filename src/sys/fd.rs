//! Descriptors that own and descriptors that only look.

use super::{Errno, call3};
use crate::slice::{part, part_mut};
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::num::NonZeroI32;

/// An open descriptor that is closed when it is dropped. It is never one of the first three, which
/// belong to the program that started this one; so an `Option<Fd>` is as small as a number.
#[derive(PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Fd(NonZeroI32);

/// A descriptor that belongs to somebody else.
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
    /// Takes over the descriptor of that number. Standard input, output and error are left alone:
    /// `None`.
    ///
    /// # Safety
    /// Nothing else may own the descriptor.
    pub unsafe fn own(number: usize) -> Option<Fd> {
        let number = number as i32;
        if number > 2 { NonZeroI32::new(number).map(Fd) } else { None }
    }

    /// Looks at it.
    pub fn borrow(&self) -> BorrowedFd<'_> {
        BorrowedFd(self.0.get(), PhantomData)
    }

    /// Leaves the descriptor open, closed on exec no longer, to the program that is executed, and
    /// gives the number to name it by.
    pub fn leave_to_program(self) -> u32 {
        let number = ManuallyDrop::new(self).0.get();
        // SAFETY: touches no memory.
        let _ = unsafe { call3(libc::SYS_fcntl, number as usize, libc::F_SETFD as usize, 0) };
        number as u32
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        close(self.borrow());
    }
}

/// Closes a descriptor that is being dropped. Linux frees the number even when it reports an error:
/// there is nothing to try again.
#[inline(never)]
fn close(fd: BorrowedFd) {
    // SAFETY: touches no memory, and nothing else owns the descriptor.
    unsafe {
        super::syscall5(libc::SYS_close as usize, fd.number(), 0, 0, 0, 0);
    }
}

impl<'a> BorrowedFd<'a> {
    /// The descriptor that has that number in this process, if any: one that a user has named.
    pub const fn named(number: u32) -> BorrowedFd<'static> {
        BorrowedFd(number as i32, PhantomData)
    }

    /// Its number, for system calls.
    pub(super) fn number(self) -> usize {
        self.0 as usize
    }

    /// Checks that there is an open descriptor of that number: `EBADF` if not.
    pub fn is_open(self) -> Result<(), Errno> {
        self.command(libc::F_GETFD).map(drop)
    }

    /// A command of `fcntl` without an argument.
    fn command(self, command: i32) -> Result<usize, Errno> {
        // SAFETY: touches no memory.
        unsafe { call3(libc::SYS_fcntl, self.number(), command as usize, 0) }
    }

    /// Whether it would be left to a program that is executed.
    pub fn is_kept_on_exec(self) -> bool {
        self.command(libc::F_GETFD) == Ok(0)
    }

    /// Whether it is of a file in memory: such a file can be sealed.
    pub fn has_seals(self) -> bool {
        self.command(libc::F_GET_SEALS).is_ok()
    }

    /// Another descriptor of the same open file, closed on exec. What is closed of the first three
    /// is opened on the way and stays open: those numbers are never this program's.
    pub fn duplicate(self) -> Result<Fd, Errno> {
        loop {
            let command = libc::F_DUPFD_CLOEXEC as usize;
            // SAFETY: touches no memory.
            let number = unsafe { call3(libc::SYS_fcntl, self.number(), command, 0)? };
            // SAFETY: the kernel has just made it.
            if let Some(fd) = unsafe { Fd::own(number) } {
                return Ok(fd);
            }
        }
    }

    /// Makes the descriptor `at`, in place of what that was, one of the same open file, perhaps closed
    /// on exec. `EINVAL` if both are the same.
    pub fn put_at(self, at: BorrowedFd, closes_on_exec: bool) -> Result<(), Errno> {
        let flags = if closes_on_exec { libc::O_CLOEXEC } else { 0 } as usize;
        // SAFETY: touches no memory.
        unsafe { call3(libc::SYS_dup3, self.number(), at.number(), flags) }.map(drop)
    }

    /// Sets the flags of the open file, for all that share it: non-blocking, or no flag at all.
    pub fn set_nonblocking(self, is_on: bool) {
        let flags = if is_on { libc::O_NONBLOCK } else { 0 } as usize;
        // SAFETY: touches no memory.
        let _ = unsafe { call3(libc::SYS_fcntl, self.number(), libc::F_SETFL as usize, flags) };
    }
}

/// Owned descriptors, first in, first out: room for `N`. All zeros are an empty one.
pub struct FdQueue<const N: usize> {
    slots: [Option<Fd>; N],
    /// The first that has not been taken or lent, and where the next one goes.
    next: usize,
    end: usize,
}

impl<const N: usize> FdQueue<N> {
    /// Without any.
    pub const EMPTY: FdQueue<N> = FdQueue { slots: [const { None }; N], next: 0, end: 0 };

    /// Adds one at the end; it is closed if there is no room for it.
    pub fn push(&mut self, fd: Fd) {
        if let Some(slot @ None) = self.slots.get_mut(self.end) {
            *slot = Some(fd);
            self.end += 1;
        }
    }

    /// How many have not been taken or lent.
    pub fn len(&self) -> usize {
        self.end - self.next
    }

    /// Whether there are none of these.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the first one out.
    pub fn pop(&mut self) -> Option<Fd> {
        let fd = self.slots.get_mut(self.next).and_then(Option::take);
        if fd.is_some() {
            self.next += 1;
        }
        fd
    }

    /// Lends the first `count`. They stay open up to [`FdQueue::clear`],
    /// but are not the first any more.
    pub fn lend(&mut self, count: usize) -> &[BorrowedFd<'_>] {
        let end = self.next + count;
        let slots = part(part(&self.slots, ..self.end), self.next..end);
        self.next = end;
        // SAFETY: an `Option<Fd>` that is `Some`, as all of these are, is the number alone, and so is
        // a `BorrowedFd`; the borrow of the queue keeps them open.
        unsafe { &*(core::ptr::from_ref(slots) as *const [BorrowedFd<'_>]) }
    }

    /// Closes all that have not been taken, and begins again with the first place.
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

/// Closes descriptors with one call, if their numbers follow each other, as they do when nothing was
/// closed in between; false if they do not, or the kernel is older than 5.9.
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
    // SAFETY: touches no memory, and the queue owns all of them.
    unsafe { call3(libc::SYS_close_range, first, end - 1, 0) }.is_ok()
}
