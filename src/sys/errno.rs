//! Error numbers of the kernel, and what the C library calls them.

/// An error number: the kernel's, and on the wire a daemon's. It is never 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(u16);

/// Gives a name to each number that the code asks for, and a text to each that a user may see.
macro_rules! errnos {
    ($($name:ident = $number:ident, $text:literal;)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Errno = Errno(libc::$number as u16);)*

            /// The text of each.
            const TEXTS: &[(Errno, &str)] = &[$((Errno::$name, $text),)*];
        }
    };
}

errnos! {
    PERM = EPERM, "Operation not permitted";
    NOENT = ENOENT, "No such file or directory";
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
    CONNRESET = ECONNRESET, "Connection reset by peer";
    NOBUFS = ENOBUFS, "No buffer space available";
    TOOMANYREFS = ETOOMANYREFS, "Too many references: cannot splice";
    TIMEDOUT = ETIMEDOUT, "Connection timed out";
    CONNREFUSED = ECONNREFUSED, "Connection refused";
    DQUOT = EDQUOT, "Disk quota exceeded";
}

impl Errno {
    /// A signal came first. The call is made again, so nobody gets to see a text.
    pub const INTR: Errno = Errno(libc::EINTR as u16);
    /// No such device or address: what opening a Unix socket as a file gives.
    pub const NXIO: Errno = Errno(libc::ENXIO as u16);

    /// The error of that number; `EINVAL` for 0, which is none.
    pub const fn new(number: u16) -> Errno {
        if number == 0 { Errno::INVAL } else { Errno(number) }
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// What the C library says of it; nothing for an error that these tools cannot meet.
    pub fn text(self) -> Option<&'static str> {
        Errno::TEXTS.iter().find(|(errno, _)| *errno == self).map(|(_, text)| *text)
    }
}
