//! Every system call of a tool fails in turn, with every error that it can return and some that are unlikely.
//! A table has the expected effect of each. A call that is not in the table fails the test. `daemon_faults`
//! does the same for the daemon.
//!
//! An injected answer cannot make the kernel transfer only a part. The last two tests make the kernel send and
//! write in parts. Tests of data that arrives in parts are in `hostile_transfers` and `deadlines` of the tools,
//! and in `hostile_clients` of the daemon.

use super::socket_faults;
use crate::kit::daemon::Generation::{self, Ours};
use crate::kit::daemon::Setup;
use crate::kit::fake::{Fake, Step, files_to_hold, frames, opened, source, status};
use crate::kit::strace::{Call, Row, calls, common, reason, rows, strace};
use crate::kit::target::{Target, with_high_number};
use crate::kit::tool::Ended;
use crate::kit::watched::WatchedDaemon;
use crate::kit::wire::{self, FRAME_ENTRIES, Held, expiry_in};
use crate::kit::{self, free_port, memfd, program, raise_open_file_limit};
use fdholder::applets::APPLETS;
use libc::{
    E2BIG, EACCES, EADDRINUSE, EAFNOSUPPORT, EAGAIN, EBADF, EBUSY, ECONNREFUSED, ECONNRESET,
    EDQUOT, EEXIST, EFBIG, EINTR, EINVAL, EIO, EISDIR, ELOOP, EMFILE, ENAMETOOLONG, ENFILE,
    ENOBUFS, ENOENT, ENOEXEC, ENOMEM, ENOSPC, ENOSYS, ENOTDIR, ENOTSOCK, EOVERFLOW, EPERM, EPIPE,
    EPROTOTYPE, EROFS, ETOOMANYREFS, ETXTBSY,
};
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, connect, getsockname,
    socket_with,
};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use temp_dir::TempDir;

/// The expected effect of an error.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Expected {
    /// The error cannot happen, for this reason.
    Never(&'static str),
    /// The tool works as without the error.
    Unnoticed,
    /// The tool cannot connect to the daemon for that reason, and exits 111.
    Unreachable,
    /// The request fails for that reason, and the tool exits 111.
    Failed,
    /// The tool reports that the connection is closed, and exits 1, or 2 if it is that to the destination.
    Closed,
    /// The tool exits with this code and the message "unable to" do this.
    Unable(i32, &'static str),
    /// The tool exits with this code and this message.
    Says(i32, &'static str),
    /// The message is lost.
    Silent,
    /// The tool goes on, with a warning that an entry could not be deleted.
    Warned,
    /// One of these two.
    Either(&'static Expected, &'static Expected),
}
use Expected::{
    Closed, Either, Failed, Never, Says, Silent, Unable, Unnoticed, Unreachable, Warned,
};

/// All rows. Those of `socket_faults` come first, because they apply to fewer tools.
fn all_rows() -> Vec<Row<Expected>> {
    [socket_faults::ROWS, ROWS].concat()
}

/// The calls of the tools. [`Row`] explains the columns. In messages, `FROM`, `TO`, `DIR`, `PORT` and `PID`
/// stand for words of the command line, `ADDRESS` for its last word, `REASON` for the error, `NAME` for the
/// name of a link, and `PROG` for the program.
const ROWS: &[Row<Expected>] = &[
    Row("", "exit_group", "", &[], Never("the call does not return")),
    // The clock is read before a daemon is asked anything, and then after each wait.
    Row("", "clock_gettime", "_REALTIME", CLOCK, NO_CLOCK),
    Row("", "clock_gettime", "#1", CLOCK, NO_CLOCK),
    Row("", "clock_gettime", "", CLOCK, Unable(111, "*")),
    // The tool raises the limit only when it has reached it.
    Row("low limit", "socket", "#1", &[EMFILE], Unnoticed),
    // The tool connects to the destination early. If that fails, it tries again when it needs the connection.
    Row("transferdump", "socket", "#2", SOCKET, Unnoticed),
    // The second connection is for the deletion, after the client has connected.
    Row("activate -wD", "socket", "#2", SOCKET, Warned),
    Row("", "socket", "", SOCKET, Unreachable),
    Row("transferdump", "connect", "#2", CONNECT, Unnoticed),
    Row("", "connect", "", &[EINTR, EAGAIN], Unnoticed),
    Row("activate -wD", "connect", "#2", CONNECT, Warned),
    Row("", "connect", "", CONNECT, Unreachable),
    Row("low limit", "sendmsg", "#1", &[ETOOMANYREFS], Unnoticed),
    Row("", "sendmsg", "", &[EINTR, EAGAIN], Unnoticed),
    Row("D", "sendmsg", "#3", LOST, Warned),
    Row("D", "sendmsg", "#4", LOST, Warned),
    Row("activate -wD", "sendmsg", "#5", LOST, Warned),
    Row("activate -wD", "sendmsg", "#6", LOST, Warned),
    Row("D", "sendmsg", "#3", GONE, Warned),
    Row("D", "sendmsg", "#4", GONE, Warned),
    Row("", "sendmsg", "", LOST, Failed),
    // The daemon sends no answer after that.
    Row("", "sendmsg", "", GONE, Closed),
    Row("", "recvmsg", "", &[EINTR, EAGAIN], Unnoticed),
    // The number of requests before the first client differs from run to run.
    Row("activate -wD", "recvmsg", "", &[ENOBUFS, ENOMEM], Either(&Failed, &Warned)),
    Row("activate -wD", "recvmsg", "", &[0, ECONNRESET], Either(&Closed, &Warned)),
    Row("D", "recvmsg", "#3", &[ENOBUFS, ENOMEM, 0, ECONNRESET], Warned),
    Row("D", "recvmsg", "#4", &[ENOBUFS, ENOMEM, 0, ECONNRESET], Warned),
    Row("", "recvmsg", "", &[ENOBUFS, ENOMEM], Failed),
    Row("", "recvmsg", "", &[0, ECONNRESET], Closed),
    Row("", "ppoll", "", &[EINTR], Unnoticed),
    Row("full backlog", "ppoll", "", &[ENOMEM], Unreachable),
    Row("activate -wD", "ppoll", "", &[ENOMEM], Either(&Failed, &PREPARE)),
    Row("", "ppoll", "", &[ENOMEM], Failed),
    // A socket in non-blocking mode works too.
    Row("", "fcntl", "F_SETFL", &[EPERM, EINVAL], Unnoticed),
    // If strace answers `close`, the descriptor stays open, which matters if its number is needed.
    Row("activate -wD", "close", "#1", &[EINTR, EIO], Says(100, "number 4 is open already, *")),
    Row("activate -wD", "close", "#2", &[EINTR, EIO], Says(100, "number 3 is open already, *")),
    Row("activate", "close", "#1", &[EINTR, EIO], Says(100, "number 3 is open already, *")),
    // The kernel has closed the descriptor in spite of the error.
    Row("", "close", "", &[EINTR, EIO], Unnoticed),
    // The tool closes the descriptors one by one instead.
    Row("low limit", "close_range", "", &[EINVAL, ENOMEM, ENOSYS, EPERM], Unnoticed),
    Row("list", "fcntl", "F_GETFD", &[EBADF], Unable(111, "write to standard output: REASON")),
    // The tool checks whether a number is free.
    Row("activate", "fcntl", "F_GETFD", &[EBADF, EINVAL], Unnoticed),
    Row("import", "fcntl", "F_GETFD", &[EBADF], Says(100, "$LISTEN_FDS is 2, but number *")),
    Row("", "fcntl", "F_GETFD", &[EBADF], Failed),
    // After descriptors have been lost, the tool checks whether there is room.
    Row("low limit", "fcntl", "F_DUPFD_CLOEXEC", &[EMFILE], Unnoticed),
    Row("D", "fcntl", "F_DUPFD_CLOEXEC, 0", NO_COPY, Either(&Failed, &Warned)),
    Row("activate", "fcntl", "F_DUPFD_CLOEXEC, 0", NO_COPY, Failed),
    Row("activate", "fcntl", "F_DUPFD_CLOEXEC", &[EINVAL], NO_ROOM),
    Row("activate", "fcntl", "F_DUPFD_CLOEXEC", &[EMFILE], PREPARE),
    Row("", "fcntl", "F_DUPFD_CLOEXEC", &[EMFILE, EINVAL], Failed),
    Row("", "fcntl", "F_SETFD", &[], Never("the descriptor is open")),
    Row("", "dup3", "", &[EINTR], Unnoticed),
    // The tool has already retrieved the entry.
    Row("activate", "dup3", "", &[EBADF, EBUSY, EMFILE], Unnoticed),
    Row("", "dup3", "", &[EBADF, EBUSY, EMFILE], Failed),
    Row("activate", "mmap", "", &[ENOMEM], Unable(111, "*")),
    Row("import", "mmap", "", &[ENOMEM], Unable(111, "store fd for id : REASON")),
    Row("", "mmap", "", &[ENOMEM], Failed),
    Row("", "munmap", "", &[EINVAL, ENOMEM], Unnoticed),
    // If the limit cannot be read or raised, the tool reaches it sooner.
    Row("low limit", "prlimit64", "", &[EPERM], CROWDED),
    Row("", "prlimit64", "", &[EPERM], Unnoticed),
    // A folder of PATH with such an error is skipped, as in a shell.
    Row("", "execve", "/nowhere/", &[EACCES, ENAMETOOLONG, ENOENT, ENOTDIR], Unnoticed),
    Row("", "execve", "", &[ENAMETOOLONG, ENOENT, ENOTDIR], Unable(127, ABSENT)),
    Row("", "execve", "", &[E2BIG], Unable(111, "exec PROG: REASON")),
    Row("", "execve", "", EXECUTE, Unable(126, "exec PROG: REASON")),
    // Standard output may be in non-blocking mode. The tool waits for room.
    Row("", "write", "", &[EAGAIN, EINTR], Unnoticed),
    Row("refused", "write", "", WRITE, Silent),
    Row("", "write", "", WRITE, Unable(111, "write to standard output: REASON")),
    // The tool was called by an absolute path, which it uses instead.
    Row("", "readlinkat", "/proc/self/exe", &[ENOENT], Unnoticed),
    Row("", "readlinkat", "/proc/self/exe", &[EINVAL], LINKS),
    Row("", "readlinkat", "/proc/self/exe", LOOK, LINKS),
    Row("", "chdir", "", &[ENOENT, ENAMETOOLONG], LINKS),
    Row("", "chdir", "", LOOK, LINKS),
    // Another file has the name of the link.
    Row("", "readlinkat", "", &[EINVAL], Unable(111, "make links in DIR: NAME: File exists")),
    Row("", "readlinkat", "", LOOK, LINKS),
    // Another link has the name.
    Row("", "symlinkat", "", &[EEXIST], LINKS),
    Row("activate", "faccessat", "/nowhere/", &[ENAMETOOLONG, ENOENT], Unnoticed),
    Row("activate", "faccessat", "/nowhere/", LOOK, Unnoticed),
    Row("activate", "faccessat", "", &[ENAMETOOLONG, ENOENT, ENOTDIR], Unable(127, ABSENT)),
    Row("activate", "faccessat", "", &[EACCES], Unable(126, "exec PROG: REASON")),
    Row("activate", "faccessat", "", LOOK, Unnoticed),
    // The tool checks whether the program is a file, and whether an entry is still the same.
    Row("activate", "statx", "/usr/bin/", &[ENAMETOOLONG, ENOENT, ENOTDIR], Unable(127, ABSENT)),
    Row("activate", "statx", "/usr/bin/", &[EACCES], Unable(126, "exec PROG: REASON")),
    Row("activate", "statx", "/usr/bin/", &[EIO, ELOOP, ENOMEM, ENOSYS], Unnoticed),
    Row("activate -wD", "statx", "", &[EACCES, ENOMEM, ENOSYS], Warned),
    Row("", "faccessat", "", &[EACCES, ENOENT], Unable(111, NO_PROGRAM)),
    Row("", "symlinkat", "", &[EDQUOT, ENOENT, ENOSPC, EPERM, EROFS], LINKS),
    Row("", "symlinkat", "", LOOK, LINKS),
    Row("", "getpid", "", &[], Never("every process has a number")),
    Row("activate", "getppid", "", &[], Never("every process has a parent")),
    // Without a unique number, the variable for it is left out.
    Row("activate", "pidfd_open", "", &[EINVAL, EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM], Unnoticed),
    Row("activate", "fstatfs", "", &[ENOSYS, EPERM, EOVERFLOW], Unnoticed),
    Row("activate", "fstat", "", &[EACCES, ENOMEM, EOVERFLOW], Unnoticed),
    // A descriptor without an address is described by its name.
    Row("activate", "getsockname", "", &[ENOBUFS, EPERM, EINVAL], Unnoticed),
    Row("activate", "rt_sigprocmask", "", &[], Never("the arguments are valid")),
    Row("activate", "rt_sigtimedwait", "", &[EINTR, EINVAL, ENOSYS], Unnoticed),
    Row("activate", "signalfd4", "", &[EINVAL, EMFILE, ENFILE, ENOMEM, ENOSYS], PREPARE),
    // The tool takes the event for a client.
    Row("activate", "read", "", &[EIO, EINTR], Unnoticed),
];

/// Errors that last from a call on. The columns are those of [`ROWS`].
const LASTING: &[Row<Expected>] = &[
    Row("transferdump -t", "socket", "#2", SOCKET, Unreachable),
    Row("transferdump -t", "connect", "#2", &[ECONNREFUSED, ENOENT, EACCES], Unreachable),
    Row("listen", "bind", "#2", &[EADDRINUSE], Unable(111, "bind to ADDRESS: REASON")),
    Row("listen", "listen", "#2", &[EADDRINUSE], Unable(111, "listen at ADDRESS: REASON")),
    Row("listen", "sendmsg", "", &[ENOMEM, ETOOMANYREFS], Unable(111, "*")),
    Row("listen", "recvmsg", "", &[ENOMEM], Unable(111, "*")),
    Row("listen", "recvmsg", "", &[0, ECONNRESET], Unable(1, "*")),
    Row("adopt", "sendmsg", "", &[ENOMEM, ETOOMANYREFS], Unable(111, "*")),
    Row("adopt", "recvmsg", "", &[ENOMEM], Unable(111, "*")),
    Row("adopt", "recvmsg", "", &[0, ECONNRESET], Unable(1, "*")),
    Row("activate -wD", "socket", "#2", SOCKET, Warned),
    Row("D", "sendmsg", "#3", &[ENOMEM, ETOOMANYREFS], Warned),
    Row("D", "sendmsg", "#4", &[ENOMEM, ETOOMANYREFS], Warned),
    Row("activate -wD", "sendmsg", "#5", &[ENOMEM, ETOOMANYREFS], Warned),
    Row("activate -wD", "sendmsg", "#6", &[ENOMEM, ETOOMANYREFS], Warned),
    Row("activate -wD", "recvmsg", "", &[ENOMEM], Either(&Failed, &Warned)),
    Row("activate -wD", "recvmsg", "", &[0, ECONNRESET], Either(&Closed, &Warned)),
    Row("D", "recvmsg", "#3", &[ENOMEM, 0, ECONNRESET], Warned),
    Row("D", "recvmsg", "#4", &[ENOMEM, 0, ECONNRESET], Warned),
    Row("", "sendmsg", "", &[ENOMEM, ETOOMANYREFS], Failed),
    Row("", "recvmsg", "", &[ENOMEM], Failed),
    Row("", "recvmsg", "", &[0, ECONNRESET], Closed),
    Row("", "symlinkat", "", &[ENOSPC], LINKS),
];

pub const SOCKET: &[i32] = &[EACCES, EAFNOSUPPORT, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM];
pub const CONNECT: &[i32] = &[
    EACCES,
    EAGAIN,
    ECONNREFUSED,
    EINTR,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
    ENOMEM,
    ENOTDIR,
    ENOTSOCK,
    EPERM,
    EPROTOTYPE,
];
const NO_COPY: &[i32] = &[EMFILE, EINVAL];
pub const GONE: &[i32] = &[EPIPE, ECONNRESET];
pub const LOST: &[i32] = &[ENOBUFS, ENOMEM, ETOOMANYREFS, EBADF, EINVAL];
pub const PATH: &[i32] = &[EACCES, EIO, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR];
const EXECUTE: &[i32] =
    &[EACCES, EINVAL, EIO, EISDIR, ELOOP, EMFILE, ENFILE, ENOEXEC, ENOMEM, EPERM, ETXTBSY];
pub const WRITE: &[i32] = &[0, EDQUOT, EFBIG, EINVAL, EIO, ENOSPC, EPERM, EPIPE];
const LOOK: &[i32] = &[EACCES, EIO, ELOOP, ENOMEM, ENOTDIR];
const CLOCK: &[i32] = &[EINVAL, EPERM];
const NO_CLOCK: Expected = Unable(111, "read the clock: REASON");
const PREPARE: Expected = Unable(111, "prepare what prog gets: REASON");
const NO_ROOM: Expected =
    Unable(111, "prepare what prog gets: Too many open files: the open-file limit is *");
const LINKS: Expected = Unable(111, "make links in DIR: NAME: REASON");
const NO_PROGRAM: &str = "make links in DIR: the program itself: REASON";
const ABSENT: &str = "exec PROG: No such file or directory";
const CROWDED: Expected = Unable(
    111,
    "get dump from the source fd-holder daemon at FROM: Too many open files: the open-file limit is *",
);

/// A run of a tool.
#[derive(Clone, Copy)]
pub struct Run {
    /// Its name, and that of the run.
    pub name: &'static str,
    /// The command line behind the tool's name.
    words: &'static [&'static str],
    /// What a shell does before, or an empty text.
    first: &'static str,
    /// Injections that this run always has, and the only call that fails then. If it is empty, all calls fail
    /// in turn.
    answers: &'static [&'static str],
    only: &'static str,
}

const PLAIN: Run = Run { name: "", words: &[], first: "", answers: &[], only: "" };

/// A shell command that prints the descriptors of a dump, and their variables.
const SHOW: &str = "exec /usr/bin/stat -L -c \"$S6_FDID_0 $S6_FDLIMIT_0 $S6_FDID_2 %d %i\" \
    /proc/$$/fd/$S6_FD_0 /proc/$$/fd/$S6_FD_1 /proc/$$/fd/$S6_FD_2";

/// A shell command that prints the descriptors of socket activation, and their variables.
const GOT: &str = "exec /usr/bin/stat -L -c \"$LISTEN_FDS $LISTEN_FDNAMES $SERVER_STARTER_PORT %d %i\" \
    /proc/$$/fd/3 /proc/$$/fd/4";

/// The runs: every tool, with the options and situations that change its calls.
pub const RUNS: &[Run] = &[
    Run { name: "transferdump", words: &["FROM", "TO"], ..PLAIN },
    Run { name: "transferdump -t", words: &["-t", "20000:20000", "FROM", "TO"], ..PLAIN },
    Run {
        name: "transferdump, low limit",
        words: &["FROM", "TO"],
        first: "ulimit -Sn 12",
        ..PLAIN
    },
    Run {
        name: "transferdump, wait",
        words: &["-t", "20000:20000", "FROM", "TO"],
        answers: &["recvmsg:error=EAGAIN:when=1+2", "sendmsg:error=EAGAIN:when=1+2"],
        only: "ppoll",
        ..PLAIN
    },
    Run {
        name: "transferdump, full backlog",
        words: &["FROM", "TO"],
        answers: &["connect:error=EAGAIN:when=1..3"],
        only: "ppoll",
        ..PLAIN
    },
    Run { name: "store", words: &["FROM", "new"], ..PLAIN },
    Run { name: "store -t", words: &["-t50000", "FROM", "new"], ..PLAIN },
    Run { name: "retrieve", words: &["FROM", "001", "stat", "-Lc%d %i", "-"], ..PLAIN },
    Run { name: "retrieve -D", words: &["-D", "FROM", "001", "stat", "-Lc%d %i", "-"], ..PLAIN },
    Run { name: "delete", words: &["FROM", "001"], ..PLAIN },
    Run { name: "list", words: &["FROM"], ..PLAIN },
    Run {
        name: "list, refused",
        words: &["FROM"],
        answers: &["connect:error=ECONNREFUSED"],
        only: "write",
        ..PLAIN
    },
    Run { name: "getdump", words: &["FROM", "sh", "-c", SHOW], ..PLAIN },
    Run { name: "setdump", words: &["FROM"], ..PLAIN },
    Run { name: "listen", words: &["FROM", "new", "tcp:127.0.0.1:PORT"], ..PLAIN },
    Run { name: "listen -t", words: &["-t", "50000", "FROM", "new", "udp:[::1]:PORT"], ..PLAIN },
    Run { name: "listen unix", words: &["-m", "600", "FROM", "new", "unix:DIR/new"], ..PLAIN },
    Run { name: "listen stale", words: &["FROM", "new", "unix-seqpacket:DIR/stale"], ..PLAIN },
    Run {
        name: "listen held",
        words: &["FROM", "new", "unix:DIR/new"],
        first: "PROGRAM listen FROM new unix:DIR/new",
        ..PLAIN
    },
    Run { name: "adopt", words: &["FROM", "PID", "tcp:FIRST", "tcp:SECOND"], ..PLAIN },
    Run { name: "adopt -n", words: &["-n", "FROM", "PID", "tcp:FIRST", "tcp:SECOND"], ..PLAIN },
    Run { name: "activate", words: &["FROM", "001", "002", "--", "sh", "-c", GOT], ..PLAIN },
    Run { name: "activate -p", words: &["-p", "00", "FROM", "--", "sh", "-c", GOT], ..PLAIN },
    Run {
        name: "activate -e",
        words: &["-e", "starter", "FROM", "001", "002", "--", "sh", "-c", GOT],
        ..PLAIN
    },
    Run {
        name: "activate -D",
        words: &["-D", "FROM", "001", "002", "--", "sh", "-c", GOT],
        ..PLAIN
    },
    // A file can always be read, so the tool does not wait for a client.
    Run {
        name: "activate -wD",
        words: &["-wD", "FROM", "001", "002", "--", "sh", "-c", GOT],
        ..PLAIN
    },
    Run {
        name: "import",
        words: &["-p", "p:", "FROM"],
        first: "exec 3<&0 4<&0",
        answers: &["getpid:retval=77"],
        ..PLAIN
    },
    Run {
        name: "import -r",
        words: &["-r", "-p", "00", "FROM"],
        first: "exec 3<&0 4<&0",
        answers: &["getpid:retval=77"],
        ..PLAIN
    },
    Run { name: "--help", ..PLAIN },
    Run { name: "--list", ..PLAIN },
    Run { name: "--install", words: &["DIR"], ..PLAIN },
];

/// The messages of the tools. The columns are a run or a tool, what it cannot do with the first daemon (connect,
/// and the request), and the same with the second daemon.
const PHRASES: &[(&str, [&str; 2], [&str; 2])] = &[
    (
        "transferdump",
        [
            "connect to a source fd-holder daemon at FROM",
            "get dump from the source fd-holder daemon at FROM",
        ],
        [
            "connect to a destination fd-holder daemon at TO",
            "set dump in the destination fd-holder daemon at TO",
        ],
    ),
    ("store", [CONNECT_TO, "store fd"], [""; 2]),
    ("retrieve", [CONNECT_TO, "retrieve fd for id 001"], [""; 2]),
    ("delete", [CONNECT_TO, "delete fd for id 001"], [""; 2]),
    ("list", [CONNECT_TO, "get fd list"], [""; 2]),
    ("getdump", [CONNECT_TO, "get dump"], [""; 2]),
    ("setdump", [CONNECT_TO, "set dump"], [""; 2]),
    ("listen", [CONNECT_TO; 2], [CONNECT_TO; 2]),
    ("adopt", [CONNECT_TO; 2], [CONNECT_TO; 2]),
    ("activate", [CONNECT_TO, "retrieve fd for id *"], [CONNECT_TO, "retrieve fd for id *"]),
    ("activate -p", [CONNECT_TO, "*"], [""; 2]),
    ("import", [CONNECT_TO, "store fd for id p:*"], [""; 2]),
    ("import -r", [CONNECT_TO, "replace what is held"], [""; 2]),
];
const CONNECT_TO: &str = "connect to a fd-holder daemon at FROM";

/// The state outside of the tool: the entries of both daemons, and the files in the folder of links.
type State = BTreeMap<(usize, Vec<u8>), (Option<[u8; 12]>, (u64, u64))>;

/// The result of a run.
pub struct Outcome {
    /// How the tool ended.
    pub ended: Ended,
    /// Its system calls.
    pub calls: Vec<Call>,
    /// The state after the run.
    pub state: State,
}

/// Two daemons, a folder, a free port, and a process with listening sockets. The second daemon holds an entry
/// of its own, and one with an identifier that the first one holds too.
pub struct Fixture {
    daemons: [WatchedDaemon; 2],
    new: OwnedFd,
    dir: TempDir,
    /// A free port, and a process that listens at two other ports.
    port: u16,
    listeners: [SocketAddr; 2],
    target: Target,
}

impl Fixture {
    /// A fixture whose first daemon holds `count` entries.
    pub fn new(generation: Generation, count: usize) -> Fixture {
        raise_open_file_limit();
        let setup = Setup { maxfds: 600, ..Setup::default() };
        let mine = files_to_hold(count, 3);
        let expiry = |hours: u64| expiry_in(Duration::from_secs(3600 * hours));
        let other = |id: &[u8], hours| Held::new(id, expiry(hours), memfd());
        let theirs = vec![other(b"old", 7), other(&mine[1].id, 8)];
        let daemons = [mine, theirs].map(|held| WatchedDaemon::start(generation, setup, held));
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let listeners = listeners.map(with_high_number);
        let target = Target::start(&[(3, listeners[0].as_fd()), (4, listeners[1].as_fd())]);
        // A low limit keeps the number of calls that inspect the process small.
        target.limit(8);
        let (new, dir) = (memfd(), TempDir::new().unwrap());
        Fixture { daemons, new, dir, port: free_port(), listeners: addresses, target }
    }

    /// Replaces the placeholders in a text by paths and numbers of this fixture.
    fn fill(&self, text: &str) -> String {
        let path = |number: usize| self.daemons[number].path().to_str().unwrap();
        let text = text.replace("PROGRAM", program().to_str().unwrap());
        let text = text.replace("FROM", path(0)).replace("TO", path(1));
        let text = text.replace("DIR", self.links().to_str().unwrap());
        let [first, second] = self.listeners.map(|address| address.to_string());
        let text = text.replace("FIRST", &first).replace("SECOND", &second);
        let text = text.replace("PID", &self.target.pid().to_string());
        text.replace("PORT", &self.port.to_string())
    }

    fn links(&self) -> PathBuf {
        self.dir.child("links")
    }

    /// The state at the moment.
    pub fn state(&self) -> State {
        let mut state = State::new();
        let halfway = expiry_in(Duration::from_secs(1 << 60));
        for (number, daemon) in self.daemons.iter().enumerate() {
            for held in wire::get_dump(daemon.path()).unwrap() {
                // The inode of a socket differs from run to run.
                let socket = getsockname(&held.fd).ok().map(|name| (u64::MAX, port(name)));
                let file = socket.unwrap_or_else(|| wire::inode(&held.fd));
                state.insert((number, held.id), (Some(held.expiry).filter(|e| *e < halfway), file));
            }
        }
        for link in fs::read_dir(self.links()).into_iter().flatten() {
            let name = link.unwrap().file_name().into_encoded_bytes();
            let path = self.links().join(OsStr::from_bytes(&name));
            if fs::symlink_metadata(&path).unwrap().file_type().is_socket() {
                let is_served = is_served(&path);
                // The stale socket that was there before does not count.
                if is_served || name != b"stale" {
                    state.insert((2, name), (None, (u64::MAX, is_served.into())));
                }
                continue;
            }
            assert_eq!(
                fs::read_link(self.links().join(OsStr::from_bytes(&name))).unwrap(),
                program()
            );
            state.insert((2, name), (None, (0, 0)));
        }
        state
    }

    /// Runs a tool, with these answers in the kernel's place.
    pub fn run(&self, run: &Run, answers: &[String]) -> Outcome {
        let _ = fs::create_dir(self.links());
        if run.name == "listen stale" && !self.links().join("stale").exists() {
            drop(UnixListener::bind(self.links().join("stale")).unwrap());
        }
        let trace = self.dir.child("trace");
        let own = run.answers.iter().map(|answer| answer.to_string());
        let mut command = strace(&trace, &own.chain(answers.iter().cloned()).collect::<Vec<_>>());
        command.arg(run.name.split([' ', ',']).next().unwrap());
        command.args(run.words.iter().map(|word| self.fill(word)));
        if !run.first.is_empty() {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("{} && exec \"$0\" \"$@\"", self.fill(run.first)));
            shell.arg(command.get_program()).args(command.get_args());
            command = shell;
        }
        command.stdin(Stdio::from(self.new.try_clone().unwrap()));
        // Shells drop a variable with this name, so it is set for the tool only.
        command.envs([("S6_FD#", "2"), ("S6_FD_0", "0"), ("S6_FDID_0", "new")]);
        command.envs([("S6_FD_1", "0"), ("S6_FDID_1", "001"), ("PATH", "/nowhere:/usr/bin")]);
        command.envs([("LISTEN_FDS", "2"), ("LISTEN_PID", "77"), ("LISTEN_FDNAMES", "1:7")]);
        command.env_remove("LISTEN_PIDFDID");
        let ended = kit::tool::run(&mut command);
        Outcome { ended, calls: calls(&trace), state: self.state() }
    }

    /// Restores the state, and checks that the daemons hold nothing else and have no other descriptors open.
    pub fn restore(&mut self) {
        let _ = fs::remove_dir_all(self.links());
        for daemon in &mut self.daemons {
            wire::set_dump(daemon.path(), &daemon.expected).unwrap();
            daemon.check_unchanged();
        }
    }
}

/// The port of a socket, 0 for one without.
fn port(name: SocketAddrAny) -> u64 {
    SocketAddr::try_from(name).map_or(0, |name| name.port().into())
}

/// Whether a socket listens at a path.
fn is_served(path: &Path) -> bool {
    [SocketType::STREAM, SocketType::SEQPACKET].into_iter().any(|kind| {
        let fd = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        connect(fd, &SocketAddrUnix::new(path).unwrap()).is_ok()
    })
}

/// Whether each part of the state is as before or as after, and nothing else is there.
pub fn is_between(state: &State, before: &State, after: &State) -> bool {
    let keys = [state, before, after].into_iter().flat_map(|state| state.keys());
    let mut keys = keys.collect::<Vec<_>>().into_iter();
    keys.all(|key| [before.get(key), after.get(key)].contains(&state.get(key)))
}

/// A call that is made to fail, and what is expected then.
struct Fault<'a> {
    fixture: &'a Fixture,
    run: &'a Run,
    call: &'a Call,
    errno: i32,
    lasts: bool,
    expected: Expected,
    before: &'a State,
    normal: &'a Outcome,
}

impl Fault<'_> {
    /// The expected exit code and message. The part of the message about the progress is not included.
    fn line(&self) -> (i32, String) {
        let (tool, line) = (self.run.name.split([' ', ',']).next().unwrap(), &self.call.line);
        // The second socket is for the destination.
        let socket = |call: &&Call| call.name == "socket";
        let second = self.normal.calls.iter().filter(socket).nth(1);
        let number = second.and_then(|call| call.line.rsplit(' ').next()).unwrap_or("none");
        let (object, poll) = (self.call.object(), format!("[{{fd={number}"));
        let is_made = self.call.name == "socket" && line.ends_with(&format!("= {number}"));
        let side = is_made || object == number || object == poll;
        let of = |key: &str| PHRASES.iter().find(|(name, ..)| *name == key);
        let phrases = of(self.run.name).or(of(tool));
        let [connect, transfer] = match phrases {
            Some((_, _, second)) if side => *second,
            Some((_, first, _)) => *first,
            None => [""; 2],
        };
        let reason = reason(self.errno);
        let said = |reason: &str| match transfer.strip_suffix('*') {
            Some(_) => transfer.to_string(),
            None => format!("{transfer}: {reason}"),
        };
        let is_other = side && tool == "transferdump";
        let (code, what) = match self.expected {
            Unreachable => (111, format!("{connect}: {reason}")),
            Closed => (1 + i32::from(is_other), said("connection closed")),
            Unable(code, what) | Says(code, what) => (code, what.replace("REASON", &reason)),
            _ => (111, said(&reason)),
        };
        let name = match &self.call.name[..] {
            "chdir" => Some("the directory"),
            "symlinkat" => line.rsplit('"').nth(1),
            _ => line.split('"').nth(1),
        };
        let program = if tool == "retrieve" { "stat" } else { "sh" };
        let what = what.replace("ADDRESS", self.run.words.last().unwrap_or(&""));
        let what = what.replace("NAME", name.unwrap_or("")).replace("PROG", program);
        let what = self.fixture.fill(&what);
        // `--install` and the like belong to the program itself, not to a tool.
        let names = APPLETS.iter().map(|applet| applet.name.to_str().unwrap());
        let who =
            { names }.find(|name| name.rsplit('-').next() == Some(tool)).unwrap_or("fdholder");
        let unable = if let Says(..) = self.expected { "" } else { "unable to " };
        (code, format!("{who}: fatal: {unable}{what}"))
    }

    /// Whether the intended call has failed. The number of waits differs from run to run, so that another call
    /// may have had the same number.
    fn has_failed(&self, is: &Outcome) -> bool {
        let mine = is.calls.iter().filter(|call| call.is_injected() && !self.is_usual(call));
        let mut objects = mine.map(|call| call.object());
        objects.next() == Some(self.call.object())
            && (self.lasts || objects.all(|object| object == self.call.object()))
    }

    /// Whether this run always injects an answer to a call.
    fn is_usual(&self, call: &Call) -> bool {
        self.run.answers.iter().any(|answer| answer.starts_with(&format!("{}:", call.name)))
    }

    /// Compares the result with the expected effect. Returns a description of a difference.
    fn wrong(&self, is: &Outcome) -> Option<String> {
        let normal = self.normal;
        if let Some(call) = is.calls.iter().find(|c| !all_rows().iter().any(|row| row.1 == c.name))
        {
            return Some(format!("{} is not in the table", call.name));
        }
        let ends = |ended: &Ended| (ended.code, ended.err.clone(), ended.out.clone());
        let (code, err, out) = ends(&is.ended);
        let right = match self.expected {
            Unnoticed => ends(&normal.ended) == (code, err, out),
            Either(one, other) => {
                let wrong = |expected: &Expected| Fault { expected: *expected, ..*self }.wrong(is);
                return wrong(one).and(wrong(other));
            }
            Silent => (code, &err[..], &out[..]) == (normal.ended.code, "", b""),
            Warned => {
                let warning = "fdholder-activate: warning: unable to delete fd for id 00";
                let is_warning = err.starts_with(warning) && err.lines().count() == 1;
                let is_right = is_warning && (code, &out) == (0, &normal.ended.out);
                let is_known = is_between(&is.state, self.before, &normal.state);
                return (!is_right || !is_known).then(|| format!("no warning: {:?}", is.ended));
            }
            _ => return self.wrong_end(is),
        };
        (!right || is.state != normal.state).then(|| format!("does not go on: {:?}", is.ended))
    }

    fn wrong_end(&self, is: &Outcome) -> Option<String> {
        let Outcome { ended: Ended { code, out, err, .. }, state, .. } = is;
        let (expected, line) = self.line();
        let (start, is_open) = match line.strip_suffix('*') {
            Some(start) => (start, true),
            None => (&line[..], false),
        };
        let rest = err.strip_suffix('\n').and_then(|line| line.strip_prefix(start));
        let Some(rest) = rest.filter(|rest| !rest.contains('\n') && *code == expected) else {
            return Some(format!("exit {code} {err:?}, not {expected} {line:?}"));
        };
        let (before, after) = (self.before, &self.normal.state);
        let is_again = self.run.name.ends_with('D')
            && self.run.name.starts_with("activate")
            && self.call.name == "execve";
        let files = |state: &State| {
            let files = state.iter().map(|(key, (_, file))| (key.clone(), *file));
            files.collect::<Vec<_>>()
        };
        let is_right = match is_again {
            true => files(state) == files(before),
            false => is_between(state, before, after),
        };
        if !is_right || !self.normal.ended.out.starts_with(out) {
            return Some(format!("leaves a wrong state: {err:?}"));
        }
        // The message about a dump has the number of acknowledged descriptors, which may lack one frame. The
        // message about a single request says that it may have been done.
        let changed = after.iter().filter(|(key, value)| before.get(key) != Some(value));
        let total = changed.clone().count();
        let arrived = changed.filter(|(key, value)| state.get(key) == Some(value)).count();
        let is_sent = is.calls.iter().any(|call| call.name == "sendmsg" && !call.is_injected());
        let remark = match self.run.name.split(',').next() {
            Some("store" | "store -t" | "delete") if is_sent => "; it may have been done",
            Some("retrieve -D") if is_sent => "; the daemon may no longer hold it",
            _ if is_again => "; what was deleted is stored again, without an expiry",
            _ => "",
        };
        let is_dump = ["transferdump", "setdump", "import -r"]
            .iter()
            .any(|name| self.run.name.starts_with(name));
        let closed = " without an answer: is this user allowed to connect?";
        let is_closed = self.expected == Closed && rest == closed;
        let right = match rest.split_once(" descriptors acknowledged") {
            Some((numbers, ", the source still holds all" | "")) => (0..=total).any(|said| {
                let known = [said, total.min(said + FRAME_ENTRIES)].contains(&arrived);
                let expected = format!("; {said} of {total}");
                known && (numbers == expected || is_open && numbers.ends_with(&expected))
            }),
            Some(_) => false,
            None => (!is_dump || arrived == 0) && (rest == remark || is_open || is_closed),
        };
        (!right).then(|| format!("{arrived} of {total} are there: {err:?}"))
    }
}

/// Runs a tool three times without a fault, and then once for each error of each call.
fn inject_each_fault(run: &Run, fixture: &mut Fixture) -> Vec<String> {
    let (before, mut wrong) = (fixture.state(), Vec::new());
    let mut usual = || {
        let is = fixture.run(run, &[]);
        fixture.restore();
        is
    };
    let runs = [usual(), usual(), usual()];
    let all = common(runs.each_ref().map(|is| &is.calls[..]));
    let [normal, ..] = runs;
    assert!(normal.ended.code == 0 || run.only == "write", "{}: {:?}", run.name, normal.ended);
    let (mut count, mut tries, mut heard) = (0, 0, 0);
    for call in all.iter().filter(|call| run.only.is_empty() || call.name == run.only) {
        for (table, lasts) in [(&all_rows()[..], false), (LASTING, true)] {
            let expected = rows(table, run.name, call, None);
            if expected.is_none() && !lasts {
                wrong.push(format!("{}: {} is not in the table", run.name, call.line));
            }
            for (errno, expected) in expected.into_iter().flatten() {
                let mut answers = vec![call.answered(errno, lasts)];
                if call.name == "sendmsg" && GONE.contains(&errno) {
                    // With a timeout, or with SIGTERM handling, the number of requests so far differs from
                    // run to run.
                    if heard > 0 && ["-t", "-wD"].contains(&run.words[0]) {
                        continue;
                    }
                    answers.push(format!("recvmsg:retval=0:when={}+", heard + 1));
                }
                // Whether a call has to wait differs from run to run. On a busy machine, a call that had to
                // wait three times may never have to wait again.
                let may_not_recur = call.line.contains(" EAGAIN ");
                let mut runs = 0;
                let why = loop {
                    if may_not_recur && runs == 50 {
                        eprintln!("{}: {} does not recur", run.name, call.line);
                        break None;
                    }
                    assert!(runs < 1000, "{} cannot be made to fail", call.line);
                    (tries, runs) = (tries + 1, runs + 1);
                    let is = fixture.run(run, &answers);
                    let (before, normal) = (&before, &normal);
                    let fault =
                        Fault { fixture, run, call, errno, lasts, expected, before, normal };
                    let why = fault.has_failed(&is).then(|| fault.wrong(&is));
                    fixture.restore();
                    if let Some(why) = why {
                        break why;
                    }
                };
                wrong
                    .extend(why.map(|why| format!("{} {answers:?} {expected:?}: {why}", run.name)));
                count += 1;
            }
        }
        heard += usize::from(call.name == "recvmsg");
    }
    eprintln!("{}: {count} faults in {} calls, {tries} tries", run.name, all.len());
    wrong
}

/// Injects each fault into all runs whose names begin like this. The first daemon holds `count` entries.
fn check_runs(count: usize, names: &[&str]) {
    let mut fixture = Fixture::new(Ours, count);
    let is_one = |run: &&Run, name: &&str| run.name.split([' ', ',']).next() == Some(name);
    let runs = RUNS.iter().filter(|run| names.iter().any(|name| is_one(run, name)));
    let wrong: Vec<_> = runs.flat_map(|run| inject_each_fault(run, &mut fixture)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// More entries than fit into a frame, and more than a tool prints in one piece.
const MANY: usize = 300;

#[test]
fn every_fault_of_a_transfer_is_handled_or_reported() {
    check_runs(FRAME_ENTRIES + 1, &["transferdump"]);
}

#[test]
fn every_fault_of_the_clients_for_one_descriptor_is_handled_or_reported() {
    check_runs(3, &["store", "retrieve", "delete", "setdump", "--"]);
}

#[test]
fn every_fault_of_listen_is_handled_or_reported() {
    check_runs(3, &["listen"]);
}

#[test]
fn every_fault_of_adopt_is_handled_or_reported() {
    check_runs(3, &["adopt"]);
}

#[test]
fn every_fault_of_list_and_getdump_is_handled_or_reported() {
    check_runs(MANY, &["list", "getdump"]);
}

#[test]
fn every_fault_of_activate_and_import_is_handled_or_reported() {
    check_runs(3, &["activate", "import"]);
}

#[test]
fn every_row_applies_to_a_call_of_a_tool() {
    let mut fixture = Fixture::new(Ours, MANY);
    let mut calls = Vec::new();
    for run in RUNS {
        calls.extend(fixture.run(run, &[]).calls.into_iter().map(|call| (run, call)));
        fixture.restore();
    }
    for row in all_rows().iter().chain(LASTING) {
        let is_used = calls.iter().any(|(run, call)| row.is_about(run.name, call));
        // Whether a call has to wait differs from run to run.
        let is_used = is_used || row.1 == "ppoll";
        assert!(is_used, "{:?} {} {} applies to no call", row.0, row.1, row.2);
    }
}

/// The destination sends all answers at once and does not read for a while, so that its socket becomes full.
#[test]
fn frames_that_the_kernel_sends_in_parts_arrive_completely() {
    raise_open_file_limit();
    let all = files_to_hold(6 * FRAME_ENTRIES, 255);
    let answers = [vec![opened(6)], vec![status(EAGAIN as u8); 5], vec![status(0)]].concat();
    let script =
        vec![Step::Send(answers.concat(), vec![]), Step::Pause(Duration::from_millis(300))];
    let (from, to) = (Fake::start(source(&all)), Fake::start(script));
    let (dir, run) = (TempDir::new().unwrap(), kit::tool::run);
    let mut command = strace(&dir.child("trace"), &[]);
    command.args(["transferdump", "-t", "20000:20000"]).arg(&from.path).arg(&to.path);
    let ended = run(&mut command);
    assert_eq!((ended.code, &ended.err[..]), (0, ""));
    let number =
        |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok();
    let is_part = |call: &Call| {
        let offered = call.line.split("iov_len=").nth(1).and_then(number);
        let taken = call.line.rsplit("= ").next().and_then(number);
        call.name == "sendmsg" && taken < offered && taken > Some(0)
    };
    assert!(calls(&dir.child("trace")).iter().any(is_part), "no message was sent in parts");
    let frames = frames(&all, FRAME_ENTRIES).into_iter();
    let frames =
        frames.map(|(frame, fds)| wire::frame(&[b".", &frame[6..]].concat(), fds.len() as u16));
    let opening = wire::frame(&wire::set_dump_request(all.len()), 0);
    let expected = [opening].into_iter().chain(frames).collect::<Vec<_>>().concat();
    let seen = to.seen();
    assert!(seen.bytes == expected, "other bytes");
    let files: Vec<_> = all.iter().map(|held| wire::inode(&held.fd)).collect();
    assert_eq!(seen.files, files);
    drop(from);
}

/// The tool writes the list in one piece. The kernel takes only as much as the limit on the size of files
/// allows.
#[test]
fn a_list_that_is_written_in_part_is_an_error() {
    let fixture = Fixture::new(Ours, 200);
    let whole = kit::tool::run(kit::tool::tool("s6-fdholder-list").arg(fixture.daemons[0].path()));
    assert_eq!(whole.out.len(), 800);
    let out = fixture.dir.child("out");
    let script = "trap '' XFSZ; exec prlimit --fsize=700 \"$0\" list \"$1\" >\"$2\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(program()).arg(fixture.daemons[0].path()).arg(&out);
    let ended = kit::tool::run(&mut shell);
    let line = "s6-fdholder-list: fatal: unable to write to standard output: File too large\n";
    assert_eq!((ended.code, &ended.err[..]), (111, line));
    assert_eq!(fs::read(&out).unwrap(), whole.out[..700]);
}
