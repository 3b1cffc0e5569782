//! Error numbers of the kernel, with the texts of the C library.

use core::num::NonZeroUsize;

/// An error number of the kernel, or one that a daemon sent. It has the width of a register, so that a
/// `Result<usize, Errno>` is returned in two registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(NonZeroUsize);

/// Defines a constant for each error that the code names, and a text for each that a user may see.
macro_rules! errnos {
    ($($name:ident = $number:ident, $text:literal;)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Errno = Errno::new(libc::$number as usize);)*

            /// The error numbers, and their texts in the same order, one a line.
            const NUMBERS: &[u16] = &[$(libc::$number as u16,)*];
            const TEXTS: &str = concat!($($text, "\n",)*);
        }
    };
}

errnos! {
    PERM = EPERM, "Operation not permitted";
    NOENT = ENOENT, "No such file or directory";
    SRCH = ESRCH, "No such process";
    IO = EIO, "Input/output error";
    TOOBIG = E2BIG, "Argument list too long";
    NOEXEC = ENOEXEC, "Exec format error";
    BADF = EBADF, "Bad file descriptor";
    AGAIN = EAGAIN, "Resource temporarily unavailable";
    NOMEM = ENOMEM, "Cannot allocate memory";
    ACCES = EACCES, "Permission denied";
    BUSY = EBUSY, "Device or resource busy";
    EXIST = EEXIST, "File exists";
    NODEV = ENODEV, "No such device";
    NOTDIR = ENOTDIR, "Not a directory";
    ISDIR = EISDIR, "Is a directory";
    INVAL = EINVAL, "Invalid argument";
    NFILE = ENFILE, "Too many open files in system";
    MFILE = EMFILE, "Too many open files";
    TXTBSY = ETXTBSY, "Text file busy";
    FBIG = EFBIG, "File too large";
    NOSPC = ENOSPC, "No space left on device";
    ROFS = EROFS, "Read-only file system";
    PIPE = EPIPE, "Broken pipe";
    NAMETOOLONG = ENAMETOOLONG, "File name too long";
    NOSYS = ENOSYS, "Function not implemented";
    LOOP = ELOOP, "Too many levels of symbolic links";
    PROTO = EPROTO, "Protocol error";
    NOTSOCK = ENOTSOCK, "Socket operation on non-socket";
    PROTOTYPE = EPROTOTYPE, "Protocol wrong type for socket";
    AFNOSUPPORT = EAFNOSUPPORT, "Address family not supported by protocol";
    ADDRINUSE = EADDRINUSE, "Address already in use";
    ADDRNOTAVAIL = EADDRNOTAVAIL, "Cannot assign requested address";
    CONNRESET = ECONNRESET, "Connection reset by peer";
    NOBUFS = ENOBUFS, "No buffer space available";
    TOOMANYREFS = ETOOMANYREFS, "Too many references: cannot splice";
    TIMEDOUT = ETIMEDOUT, "Connection timed out";
    CONNREFUSED = ECONNREFUSED, "Connection refused";
    DQUOT = EDQUOT, "Disk quota exceeded";
}

impl Errno {
    /// A signal interrupted the call. `sys` repeats the call, so no user sees it. A deadline returns it
    /// for a wait that is interrupted.
    pub const INTR: Errno = Errno::new(libc::EINTR as usize);

    /// The error of that number. 0 is no error; it becomes a number that the kernel does not use.
    pub const fn new(number: usize) -> Errno {
        match NonZeroUsize::new(number) {
            Some(number) => Errno(number),
            None => Errno(NonZeroUsize::MAX),
        }
    }

    /// The error number.
    pub const fn number(self) -> usize {
        self.0.get()
    }

    /// The C library's text; `None` for an error that these tools do not meet.
    pub fn text(self) -> Option<&'static [u8]> {
        let texts = Errno::TEXTS.as_bytes().split(|byte| *byte == b'\n');
        let mut rows = Errno::NUMBERS.iter().zip(texts);
        rows.find(|(number, _)| usize::from(**number) == self.number()).map(|(_, text)| text)
    }
}
