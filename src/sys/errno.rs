//! Error numbers of the kernel, and what the C library calls them.

use core::num::NonZeroU16;

/// An error number: the kernel's, and on the wire a daemon's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(NonZeroU16);

/// Gives the numbers that the code asks for a name, and those that a user may see a text.
macro_rules! errnos {
    ($($name:ident = $number:ident, $text:literal;)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Errno = Errno::new(libc::$number as u16);)*
        }

        /// Number and text of each.
        const LIST: &[(u8, &str)] = &[$((libc::$number as u8, $text),)*];
    };
}

errnos! {
    PERM = EPERM, "Operation not permitted";
    NOENT = ENOENT, "No such file or directory";
    INTR = EINTR, "Interrupted system call";
    IO = EIO, "Input/output error";
    TOOBIG = E2BIG, "Argument list too long";
    NOEXEC = ENOEXEC, "Exec format error";
    BADF = EBADF, "Bad file descriptor";
    AGAIN = EAGAIN, "Resource temporarily unavailable";
    NOMEM = ENOMEM, "Cannot allocate memory";
    ACCES = EACCES, "Permission denied";
    BUSY = EBUSY, "Device or resource busy";
    EXIST = EEXIST, "File exists";
    NOTDIR = ENOTDIR, "Not a directory";
    ISDIR = EISDIR, "Is a directory";
    INVAL = EINVAL, "Invalid argument";
    NFILE = ENFILE, "Too many open files in system";
    MFILE = EMFILE, "Too many open files";
    NOSPC = ENOSPC, "No space left on device";
    ROFS = EROFS, "Read-only file system";
    PIPE = EPIPE, "Broken pipe";
    RANGE = ERANGE, "Numerical result out of range";
    NAMETOOLONG = ENAMETOOLONG, "File name too long";
    NOSYS = ENOSYS, "Function not implemented";
    LOOP = ELOOP, "Too many levels of symbolic links";
    PROTO = EPROTO, "Protocol error";
    NOTSOCK = ENOTSOCK, "Socket operation on non-socket";
    PROTOTYPE = EPROTOTYPE, "Protocol wrong type for socket";
    AFNOSUPPORT = EAFNOSUPPORT, "Address family not supported by protocol";
    ADDRINUSE = EADDRINUSE, "Address already in use";
    CONNRESET = ECONNRESET, "Connection reset by peer";
    NOBUFS = ENOBUFS, "No buffer space available";
    TOOMANYREFS = ETOOMANYREFS, "Too many references: cannot splice";
    TIMEDOUT = ETIMEDOUT, "Connection timed out";
    CONNREFUSED = ECONNREFUSED, "Connection refused";
}

/// [`LIST`] in one piece: the number, the text, a NUL, for each. A table of pointers and lengths
/// would be larger than the texts.
static TEXTS: [u8; PACKED] = pack();
const PACKED: usize = {
    let (mut size, mut i) = (0, 0);
    while i < LIST.len() {
        size += LIST[i].1.len() + 2;
        i += 1;
    }
    size
};

const fn pack() -> [u8; PACKED] {
    let mut packed = [0; PACKED];
    let (mut at, mut i) = (0, 0);
    while i < LIST.len() {
        let (number, text) = LIST[i];
        packed[at] = number;
        at += 1;
        let mut j = 0;
        while j < text.len() {
            packed[at + j] = text.as_bytes()[j];
            j += 1;
        }
        at += j + 1;
        i += 1;
    }
    packed
}

impl Errno {
    /// The error of that number. There is none numbered 0, and a bad number is no reason to
    /// stop: it counts as `EINVAL`.
    pub const fn new(number: u16) -> Errno {
        match NonZeroU16::new(number) {
            Some(number) => Errno(number),
            None => Errno(NonZeroU16::MIN.saturating_add(libc::EINVAL as u16 - 1)),
        }
    }

    /// The number.
    pub fn number(self) -> u16 {
        self.0.get()
    }

    /// The text that the C library has for it, of those that these tools can meet.
    pub fn text(self) -> Option<&'static [u8]> {
        TEXTS
            .split(|byte| *byte == 0)
            .filter_map(|entry| entry.split_first())
            .find(|(number, _)| u16::from(**number) == self.number())
            .map(|(_, text)| text)
    }
}
