//! The rows of `tool_faults` for fdholder-listen and fdholder-adopt.

use super::tool_faults::Expected::{self, Never, Says, Unable, Unnoticed};
use super::tool_faults::{CONNECT, GONE, LOST, PATH, SOCKET, WRITE};
use crate::kit::strace::Row;
use libc::{
    EACCES, EADDRINUSE, EADDRNOTAVAIL, EAGAIN, EBADF, EBUSY, ECONNRESET, EINTR, EINVAL, EISDIR,
    ELOOP, EMFILE, ENFILE, ENOBUFS, ENOENT, ENOLCK, ENOMEM, ENOPROTOOPT, ENOSPC, ENOSYS, ENOTDIR,
    EOPNOTSUPP, EPERM, EROFS, ESRCH,
};

/// The calls of these tools. `Row` of the kit explains the columns.
pub const ROWS: &[Row<Expected>] = &[
    // With a timeout, the request that a call belongs to differs from run to run.
    Row("listen -t", "ppoll", "", &[ENOMEM], Unable(111, "*")),
    Row("listen -t", "sendmsg", "", LOST, Unable(111, "*")),
    Row("listen -t", "sendmsg", "", GONE, Unable(1, "*")),
    Row("listen -t", "recvmsg", "", &[ENOBUFS, ENOMEM], Unable(111, "*")),
    Row("listen -t", "recvmsg", "", &[0, ECONNRESET], Unable(1, "*")),
    // The second socket makes several fdholder-listen take turns. Without it, a race is possible. The third
    // socket is the one to store.
    Row("listen held", "socket", "NETLINK", SOCKET, Unnoticed),
    Row("listen", "socket", "#2", SOCKET, Unnoticed),
    Row("listen", "socket", "#3", SOCKET, Unable(111, "make a socket for ADDRESS: REASON")),
    Row("listen", "bind", "#1", PATH, Unnoticed),
    Row("listen", "bind", "#1", TAKEN, Unnoticed),
    Row("listen", "listen", "#1", &[EADDRINUSE, EINVAL], Unnoticed),
    Row(
        "listen",
        "setsockopt",
        "",
        &[ENOMEM, EPERM],
        Unable(111, "make a socket for ADDRESS: REASON"),
    ),
    Row("listen", "umask", "", &[], Never("the call cannot fail")),
    // Without the lock, a race is possible.
    Row("listen", "newfstatat", "", &[EINTR], Unnoticed),
    Row("listen", "newfstatat", "", &[EACCES, ELOOP, ENOENT, ENOMEM, ENOTDIR], BIND),
    Row("listen", "openat", "", &[EACCES, EINTR, EMFILE, ENFILE, ENOENT, ENOMEM], Unnoticed),
    Row("listen", "flock", "", &[EAGAIN, EINTR, ENOLCK, EOPNOTSUPP], Unnoticed),
    Row("listen stale", "bind", "#2", &[EADDRINUSE], Unnoticed),
    Row("listen", "bind", "", PATH, BIND),
    // The tool tries again while the address is in use. If it is not known whether a socket listens, it
    // is not replaced, as if it were in use.
    Row("listen", "bind", "", &[EADDRINUSE], Unnoticed),
    Row("listen", "bind", "", TAKEN, BIND),
    Row("listen stale", "connect", "#2", &[EINTR], Unnoticed),
    Row("listen stale", "connect", "#2", CONNECT, Unnoticed),
    Row("listen stale", "unlinkat", "", PATH, BIND),
    Row("listen stale", "unlinkat", "", &[EISDIR, EPERM], BIND),
    // As if the address were in use.
    Row("listen stale", "unlinkat", "", &[EBUSY], Unnoticed),
    Row("listen", "statx", "", &[EACCES, ENOENT, ENOSYS, EPERM], Unnoticed),
    Row("listen", "listen", "", &[EADDRINUSE], Unnoticed),
    Row("listen", "listen", "", &[EINVAL], Unable(111, "listen at ADDRESS: REASON")),
    Row("listen", "sendmsg", "#1", LOST, Unable(111, "retrieve fd for id new: REASON")),
    Row("listen", "sendmsg", "#1", GONE, Unable(1, "retrieve fd for id new: connection closed*")),
    Row("listen", "sendmsg", "#2", LOST, Unable(111, "store fd for id new: REASON")),
    Row("listen", "sendmsg", "#2", GONE, Unable(1, "store fd for id new: connection closed*")),
    Row(
        "listen",
        "recvmsg",
        "#1",
        &[ENOBUFS, ENOMEM],
        Unable(111, "retrieve fd for id new: REASON"),
    ),
    Row(
        "listen",
        "recvmsg",
        "#1",
        &[0, ECONNRESET],
        Unable(1, "retrieve fd for id new: connection closed*"),
    ),
    Row("listen", "recvmsg", "#2", &[ENOBUFS, ENOMEM], Unable(111, "store fd for id new: REASON*")),
    Row(
        "listen",
        "recvmsg",
        "#2",
        &[0, ECONNRESET],
        Unable(1, "store fd for id new: connection closed*"),
    ),
    Row(
        "listen",
        "fcntl",
        "F_DUPFD_CLOEXEC",
        &[EMFILE, EINVAL],
        Unable(111, "retrieve fd for id new: REASON"),
    ),
    // The tool checks the descriptor that is held.
    Row(
        "listen held",
        "getsockname",
        "",
        &[EBADF, ENOBUFS],
        Says(1, "new is held, but is no socket at ADDRESS"),
    ),
    Row(
        "listen held",
        "getsockopt",
        "SO_TYPE",
        &[ENOBUFS, ENOPROTOOPT, EPERM],
        Says(1, "new is held, but is no socket at ADDRESS"),
    ),
    Row("listen held", "getsockopt", "", &[ENOPROTOOPT, EPERM], Unnoticed),
    Row(
        "listen held",
        "faccessat",
        "",
        &[ENOENT],
        Says(1, "new is held at ADDRESS, but its file is gone: *"),
    ),
    // Then it is not known which socket the file belongs to, and any file is accepted.
    Row("listen held", "write", "", &[EACCES, ENOBUFS, ENOMEM], Unnoticed),
    Row("listen held", "write", "", WRITE, Unnoticed),
    Row("listen held", "read", "", &[0, EAGAIN, EINTR, ENOBUFS, ENOMEM], Unnoticed),
    Row("listen held", "faccessat", "", &[EACCES, ELOOP, ENOSYS], Unnoticed),
    // The tool takes the descriptors 3 and 4 out of a process.
    Row("adopt", "pidfd_open", "", &[EINVAL, EMFILE, ENFILE, ENOMEM, ENOSYS, ESRCH], TAKE),
    Row("adopt", "pidfd_getfd", "#4", &[EBADF], NOT_THERE),
    Row("adopt", "pidfd_getfd", "#5", &[EBADF], NOT_THERE),
    Row("adopt", "pidfd_getfd", "", &[EBADF, EINTR], Unnoticed),
    Row("adopt", "pidfd_getfd", "", &[EMFILE, ENFILE, ENOSYS, EPERM, ESRCH], TAKE),
    Row("adopt", "getsockname", "#4", &[EBADF, ENOBUFS], NOT_THERE),
    Row("adopt", "getsockname", "#5", &[EBADF, ENOBUFS], NOT_THERE),
    Row("adopt", "getsockname", "", &[EBADF, ENOBUFS], Unnoticed),
    // A socket may be a connection if it is not known whether it listens.
    Row("adopt", "getsockopt", "SO_PROTOCOL", &[ENOPROTOOPT, EPERM], Unnoticed),
    Row("adopt", "getsockopt", "", &[ENOPROTOOPT, EPERM], NOT_THERE),
    Row("adopt", "statx", "", &[ENOSYS, EPERM], Unable(111, "tell sockets apart: REASON")),
    Row("adopt", "mmap", "", &[ENOMEM], TAKE),
    Row("adopt -n", "fcntl", "F_GETFD", &[EBADF], Unable(111, "write to standard output: REASON")),
    Row(
        "adopt",
        "fcntl",
        "F_DUPFD_CLOEXEC",
        &[EMFILE, EINVAL],
        Unable(111, "retrieve fd for id *"),
    ),
    Row("adopt", "sendmsg", "#1", LOST, Unable(111, "retrieve fd for id *")),
    Row("adopt", "sendmsg", "#1", GONE, Unable(1, "retrieve fd for id *")),
    Row("adopt", "sendmsg", "#2", LOST, Unable(111, "retrieve fd for id *")),
    Row("adopt", "sendmsg", "#2", GONE, Unable(1, "retrieve fd for id *")),
    Row("adopt", "sendmsg", "#3", LOST, Unable(111, "retrieve fd for id *")),
    Row("adopt", "sendmsg", "#3", GONE, Unable(1, "retrieve fd for id *")),
    Row("adopt", "sendmsg", "#4", LOST, Unable(111, "retrieve fd for id *")),
    Row("adopt", "sendmsg", "#4", GONE, Unable(1, "retrieve fd for id *")),
    Row("adopt", "sendmsg", "", LOST, Unable(111, "store fd for id *")),
    Row("adopt", "sendmsg", "", GONE, Unable(1, "store fd for id *")),
    Row("adopt", "recvmsg", "#1", &[ENOBUFS, ENOMEM], Unable(111, "retrieve fd for id *")),
    Row("adopt", "recvmsg", "#1", &[0, ECONNRESET], Unable(1, "retrieve fd for id *")),
    Row("adopt", "recvmsg", "#2", &[ENOBUFS, ENOMEM], Unable(111, "retrieve fd for id *")),
    Row("adopt", "recvmsg", "#2", &[0, ECONNRESET], Unable(1, "retrieve fd for id *")),
    Row("adopt", "recvmsg", "#3", &[ENOBUFS, ENOMEM], Unable(111, "retrieve fd for id *")),
    Row("adopt", "recvmsg", "#3", &[0, ECONNRESET], Unable(1, "retrieve fd for id *")),
    Row("adopt", "recvmsg", "#4", &[ENOBUFS, ENOMEM], Unable(111, "retrieve fd for id *")),
    Row("adopt", "recvmsg", "#4", &[0, ECONNRESET], Unable(1, "retrieve fd for id *")),
    Row("adopt", "recvmsg", "", &[ENOBUFS, ENOMEM], Unable(111, "store fd for id *")),
    Row("adopt", "recvmsg", "", &[0, ECONNRESET], Unable(1, "store fd for id *")),
];

const BIND: Expected = Unable(111, "bind to ADDRESS: REASON");
const TAKE: Expected = Unable(111, "take descriptors out of process PID: REASON*");
const NOT_THERE: Expected = Says(1, "process PID has no socket at *");
const TAKEN: &[i32] = &[EADDRINUSE, EADDRNOTAVAIL, EINVAL, ENOSPC, EPERM, EROFS];
