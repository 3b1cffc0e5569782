//! Every system call of the daemon fails in turn, while clients make requests. At its start the daemon may end,
//! with one line that has the reason. Later it goes on, holds all entries that it has acknowledged, serves the
//! next client, and leaks no descriptor. A table has the expected effect of each error. A call that is not in
//! the table fails the test.

use crate::kit::daemon::Daemon;
use crate::kit::daemon::Generation::{Ours, S6_2_15};
use crate::kit::fake::{files_to_hold, transfer};
use crate::kit::process::{descriptors, wait_until, wait_until_read};
use crate::kit::server::{DaemonDir, Server};
use crate::kit::strace::{Call, Row, calls, common, reason, rows, strace_detached};
use crate::kit::tool::TIMEOUT;
use crate::kit::wire::{self, Held, entry, expiry_in, frame, set_dump_request};
use crate::kit::{lingering, memfd};
use libc::{
    EACCES, EADDRINUSE, EAFNOSUPPORT, EAGAIN, EBADF, EBUSY, ECONNRESET, EINTR, EINVAL, EIO, EISDIR,
    ELOOP, EMFILE, ENAMETOOLONG, ENFILE, ENOBUFS, ENOENT, ENOMEM, ENOPROTOOPT, ENOSPC, ENOSYS,
    ENOTDIR, EPERM, EPIPE, EPROTOTYPE, EROFS, ESRCH, ETOOMANYREFS,
};
use rustix::process::{Signal, geteuid};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// The expected effect of an error.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Expected {
    /// The error cannot happen, for this reason.
    Never(&'static str),
    /// The daemon exits 111 with this message.
    Ends(&'static str),
    /// The daemon works as without the error.
    Unnoticed,
    /// At most one client is disconnected, without a warning.
    Quiet,
    /// At most one client is disconnected, and a warning has the reason.
    Named,
    /// Every client is served, and a warning has the reason.
    Warned,
    /// Every client is served, and a warning says that no client is self.
    NoSelf,
}
use Expected::{Ends, Named, Never, NoSelf, Quiet, Unnoticed, Warned};

/// The calls of the daemon. [`Row`] explains the columns. In messages, `TOOL` stands for the name of the tool,
/// `PATH` for the path of the socket, `FILE` for that of the rules, and `REASON` for the error.
const ROWS: &[Row<Expected>] = &[
    Row("", "exit_group", "", &[], Never("the call does not return")),
    // Without a clock the daemon does not start. Later it tries again.
    Row("", "clock_gettime", "#1", CLOCK, NO_CLOCK),
    Row("", "clock_gettime", "#2", CLOCK, NO_CLOCK),
    Row("", "clock_gettime", "", CLOCK, Unnoticed),
    Row("", "umask", "", &[], Never("the call cannot fail")),
    Row("", "geteuid", "", &[], Never("the call cannot fail")),
    Row("", "getegid", "", &[], Never("the call cannot fail")),
    Row("", "getpid", "", &[], Never("the call cannot fail")),
    Row("", "rt_sigprocmask", "", &[], Never("the arguments are valid")),
    // Option -1 needs a standard output.
    Row(
        "",
        "fcntl",
        "(1, F_GETFD)",
        &[EBADF],
        Ends("TOOL: fatal: unable to write to standard output: REASON"),
    ),
    // The start: a socket,
    Row("", "socket", "", SOCKET, BIND),
    Row("stale", "bind", "#1", &[EADDRINUSE], Unnoticed),
    Row("", "bind", "", PATH, BIND),
    Row("", "bind", "", &[EADDRINUSE, EINVAL, ENOSPC, EROFS], BIND),
    Row("stale", "connect", "", &[EINTR], Unnoticed),
    // If it is not known whether a socket listens, it is not replaced,
    Row("stale", "connect", "", &[EACCES, ENOENT, ENOMEM, EPROTOTYPE], IN_USE),
    Row("stale", "connect", "", &[EAGAIN], SERVED),
    Row("stale", "newfstatat", "", &[EINTR], Unnoticed),
    // nor a file of which it is not known whether it is a socket.
    Row("stale", "newfstatat", "", PATH, BIND),
    Row("", "unlinkat", "", PATH, BIND),
    Row("", "unlinkat", "", &[EBUSY, EIO, EISDIR, EPERM, EROFS], BIND),
    // From here on a failure leaves a stale socket, which the next start replaces.
    Row("", "listen", "", &[EADDRINUSE], BIND),
    Row("", "dup3", "", &[EINTR], Unnoticed),
    // Standard output stays open then, but the newline has been written.
    Row("", "dup3", "(0, 1,", &[EBUSY, EMFILE], Unnoticed),
    Row("", "dup3", "", &[EBUSY, EMFILE], BIND),
    // a user,
    Row("", "setgroups", "", &[EINVAL, ENOMEM, EPERM], PRIVILEGES),
    Row("", "getgroups", "", &[], Never("it is called only after setgroups has failed")),
    Row("", "setgid", "", &[EINVAL, EPERM], PRIVILEGES),
    Row("", "setuid", "", &[EAGAIN, EINVAL, EPERM], PRIVILEGES),
    // limits and memory,
    Row("", "prctl", "PR_SET_NAME", &[EPERM], Unnoticed),
    // A standard input that is no socket has another exit code, which tests/daemon/startup tests.
    Row("", "getsockname", "#1", &[EBADF, ENOBUFS], LISTENING),
    Row("", "getsockname", "", &[EBADF, ENOBUFS], Unnoticed),
    Row("", "getsockopt", "SO_TYPE", &[EBADF, ENOBUFS, ENOMEM], LISTENING),
    // The daemon tries to accept then.
    Row("", "getsockopt", "SO_ACCEPTCONN", &[EBADF, ENOBUFS, ENOMEM, EPERM], Unnoticed),
    // Only clients need the other properties of a socket.
    Row("", "getsockopt", "SO_PROTOCOL", &[ENOPROTOOPT, EPERM], Unnoticed),
    // 0x53 is SO_PASSRIGHTS, which strace may not know.
    Row("", "getsockopt", "SOL_SOCKET, 0x53", &[ENOPROTOOPT, EPERM], Unnoticed),
    Row("", "getsockopt", "SO_PASSRIGHTS", &[ENOPROTOOPT, EPERM], Unnoticed),
    Row("", "fcntl", "F_SETFL", &[EINVAL, EPERM], Unnoticed),
    Row("", "setsockopt", "", &[ENOMEM, EPERM], Unnoticed),
    Row("", "prlimit64", "", &[EPERM], Unnoticed),
    Row("", "fcntl", "F_DUPFD_CLOEXEC", &[EINVAL, EMFILE], LIMIT),
    Row("", "mmap", "#1", &[ENOMEM], MEMORY),
    Row("", "mmap", "#2", &[ENOMEM], MEMORY),
    Row("", "mmap", "#3", &[ENOMEM], MEMORY),
    Row("", "mmap", "#4", &[ENOMEM], MEMORY),
    Row("", "mmap", "#5", &[ENOMEM], MEMORY),
    Row("", "mmap", "#6", &[ENOMEM], MEMORY),
    Row("", "mmap", "#7", &[ENOMEM], MEMORY),
    Row("", "mmap", "#8", &[ENOMEM], MEMORY),
    Row("", "mmap", "#9", &[ENOMEM], MEMORY),
    Row("", "signalfd4", "", &[EMFILE, ENFILE, ENOMEM], SIGNALS),
    Row("", "write", "(1,", &[0, EAGAIN, EINTR, EIO, ENOSPC, EPIPE], Unnoticed),
    // The daemon checks whether all users have numbers in its namespace if its own number is 65534. A kernel
    // without user namespaces does not have this file.
    Row("", "openat", "_map\"", &[EINTR, ENOENT], Unnoticed),
    Row("", "openat", "_map\"", &[EACCES, ELOOP, EMFILE, ENFILE, ENOMEM, ENOTDIR, EPERM], NoSelf),
    Row("", "read", ", 64)", &[EINTR], Unnoticed),
    Row("", "read", ", 64)", &[0, EIO, ENOMEM], NoSelf),
    Row("", "openat", "/overflow", OPEN, Unnoticed),
    Row("", "openat", "/overflow", &[EINTR, EPERM], Unnoticed),
    Row("", "read", ", 32)", &[0, EINTR, EIO, ENOMEM], Unnoticed),
    // and the rules in a file. If they cannot be read again, the old ones stay. If no descriptor is free, the
    // daemon uses its spare one.
    Row("file", "openat", "", &[EINTR, EMFILE], Unnoticed),
    Row("file", "openat", "#1", OPEN, RULES),
    Row("file", "openat", "", OPEN, Warned),
    Row("file", "lseek", "#1", &[EINVAL], RULES),
    Row("file", "lseek", "#2", &[EINVAL], RULES),
    Row("file", "lseek", "", &[EINVAL], Warned),
    Row("file", "mmap", "#10", &[ENOMEM], RULES),
    Row("file", "mmap", "", &[ENOMEM], Warned),
    Row("file", "read", ", 4096)", &[EINTR], Unnoticed),
    Row("file", "read", "#1", &[0, EAGAIN, EIO, EISDIR, ENOMEM], RULES),
    Row("file", "read", ", 4096)", &[0, EAGAIN, EIO, EISDIR, ENOMEM], Warned),
    Row("", "munmap", "", &[EINVAL, ENOMEM], Unnoticed),
    // The rules directory may appear later.
    Row("", "faccessat", "/.\"", &[EACCES, EIO, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR], Warned),
    Row("", "prctl", "PR_SET_DUMPABLE", &[EINVAL, EPERM], Warned),
    // The main loop.
    Row("", "ppoll", "", &[EINTR, ENOMEM], Unnoticed),
    Row("", "accept4", "", &[EAGAIN, EINTR], Unnoticed),
    Row("", "accept4", "", ACCEPT, Named),
    Row("", "getsockopt", "SO_PEERCRED", &[ENOBUFS, ENOMEM], Quiet),
    Row("", "recvmsg", "", &[EAGAIN, EINTR], Unnoticed),
    Row("", "recvmsg", "", &[0, ECONNRESET], Quiet),
    Row("", "recvmsg", "", &[ENOBUFS, ENOMEM], Named),
    Row("", "sendmsg", "", &[EAGAIN, EINTR, ETOOMANYREFS], Unnoticed),
    Row("", "sendmsg", "", &[ECONNRESET, EPIPE], Quiet),
    Row("", "sendmsg", "", &[ENOBUFS, ENOMEM], Named),
    Row("", "close", "", &[EINTR, EIO], Unnoticed),
    Row("", "shutdown", "", &[ENOBUFS, ENOMEM], Unnoticed),
    Row("", "ioctl", "FIONREAD", &[ENOMEM, EPERM], Unnoticed),
    // A descriptor of an unknown kind may take long to close. Without a closer the daemon closes it itself. If
    // the state of a closer is unknown, the daemon asks again.
    Row("", "statx", "", &[EACCES, ENOMEM, ENOSYS, EPERM], Unnoticed),
    Row("", "fcntl", "F_GET_SEALS", &[EINVAL, EPERM], Unnoticed),
    Row("", "clone", "", &[EAGAIN, ENOMEM, ENOSYS, EPERM], Unnoticed),
    Row("", "fcntl", "F_GETFD", &[EBADF], Unnoticed),
    Row("", "kill", "", &[EPERM, ESRCH], Unnoticed),
    Row("", "wait4", "", &[EINTR, EPERM], Unnoticed),
    Row("", "madvise", "", &[EAGAIN, EINVAL, EIO, ENOMEM], Unnoticed),
    // The signal stays pending.
    Row("", "read", ", 128)", &[EAGAIN, EINTR, EIO], Unnoticed),
    Row("", "write", "(2,", &[0, EAGAIN, EINTR, EIO, ENOSPC, EPIPE], Unnoticed),
    // Rules in a directory.
    Row(
        "directory",
        "faccessat",
        "",
        &[EACCES, EIO, ELOOP, ENAMETOOLONG, ENOMEM, ENOTDIR, EPERM],
        Named,
    ),
    Row("directory", "openat", "", &[EINTR, EMFILE], Unnoticed),
    Row("directory", "openat", "", &[EACCES, ELOOP, ENFILE, ENOMEM, ENOTDIR, EPERM], Named),
    Row("directory", "read", ", 204", &[EINTR], Unnoticed),
    Row("directory", "read", ", 204", &[EAGAIN, EIO, EISDIR, ENOMEM], Named),
];

const SOCKET: &[i32] = &[EACCES, EAFNOSUPPORT, EMFILE, ENFILE, ENOBUFS, ENOMEM];
const PATH: &[i32] = &[EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR];
const OPEN: &[i32] = &[EACCES, ELOOP, EMFILE, ENFILE, ENOENT, ENOMEM, ENOTDIR];
const ACCEPT: &[i32] = &[EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM];
const CLOCK: &[i32] = &[EINVAL, EPERM];
const NO_CLOCK: Expected = Ends("s6-fdholderd: fatal: unable to read the clock: REASON");
const BIND: Expected = Ends("s6-fdholder-daemon: fatal: unable to bind to PATH: REASON");
const IN_USE: Expected =
    Ends("s6-fdholder-daemon: fatal: unable to bind to PATH: Address already in use");
const SERVED: Expected = Ends(
    "s6-fdholder-daemon: fatal: unable to bind to PATH: Address already in use by a daemon that \
     still serves what it holds",
);
const PRIVILEGES: Expected = Ends("s6-fdholder-daemon: fatal: unable to drop privileges: REASON");
const LISTENING: Expected =
    Ends("s6-fdholderd: fatal: standard input is not a listening socket: REASON");
const LIMIT: Expected =
    Ends("s6-fdholderd: fatal: the open-file limit is too low: Too many open files");
const MEMORY: Expected = Ends("s6-fdholderd: fatal: unable to get memory for -n and -c: REASON");
const SIGNALS: Expected = Ends("s6-fdholderd: fatal: unable to wait for signals: REASON");
const RULES: Expected = Ends("s6-fdholderd: fatal: unable to read rules from FILE: REASON");

/// A run of a daemon.
struct Run {
    name: &'static str,
    tool: &'static str,
    options: &'static [&'static str],
    /// Whether clients make requests. Otherwise only the calls of the start fail.
    is_served: bool,
    /// Of the calls of one name, only every `each`-th fails.
    each: usize,
}

const RUNS: [Run; 3] = [
    Run { name: "file", tool: "s6-fdholderd", options: &["-x", "FILE"], is_served: true, each: 1 },
    Run {
        name: "directory",
        tool: "s6-fdholder-daemon",
        options: &["-v2", "-i", "FILE"],
        is_served: true,
        // The daemon reads the rules for each client. The other calls are the same as with a file.
        each: 7,
    },
    Run {
        name: "stale",
        tool: "s6-fdholder-daemon",
        options: &["-i", "FILE"],
        is_served: false,
        each: 1,
    },
];

/// Options that only root can use.
const PRIVILEGED: [&str; 3] = ["-u65534", "-g65534", "-G65533"];

/// An entry: its expiry, and device and inode.
type Entry = ([u8; 12], (u64, u64));

/// The entries that may be held under each identifier, according to the answers to clients.
#[derive(Default)]
struct Model {
    states: BTreeMap<Vec<u8>, Vec<Option<Entry>>>,
    /// The number of clients whose requests have failed.
    failed: usize,
}

fn entry_of(held: &Held) -> Entry {
    (held.expiry, wire::inode(&held.fd))
}

impl Model {
    /// Records the result of a request after which these identifiers have these entries. Without an answer,
    /// the states before and after are both possible.
    fn record<T>(&mut self, ids: &[&[u8]], entries: &[Option<Entry>], result: &Result<T>) {
        let is_open = match result {
            Ok(_) => false,
            Err(error) if is_no_answer(error) => true,
            Err(_) => return,
        };
        for (id, entry) in ids.iter().zip(entries) {
            let states = self.states.entry(id.to_vec()).or_insert_with(|| vec![None]);
            if !is_open {
                states.clear();
            }
            states.push(*entry);
        }
    }

    /// Counts a request that has failed, unless its identifier may be absent.
    fn count_for<T>(&mut self, id: &[u8], result: Result<T>) -> Option<T> {
        let is_absent = result.as_ref().is_err_and(|error| error.raw_os_error() == Some(ENOENT));
        if is_absent && self.allows(id, None) { None } else { self.count(result) }
    }

    /// Counts a request that has failed.
    fn count<T>(&mut self, result: Result<T>) -> Option<T> {
        self.failed += usize::from(result.is_err());
        result.ok()
    }

    /// Whether this file may be held under an identifier.
    fn allows(&self, id: &[u8], is: Option<(u64, u64)>) -> bool {
        let nothing = vec![None];
        let may = self.states.get(id).unwrap_or(&nothing);
        may.iter().any(|entry| entry.map(|(_, file)| file) == is)
    }

    /// Whether these may be all entries of the daemon.
    fn allows_all(&self, all: &[Held]) -> bool {
        let is: BTreeMap<_, _> = all.iter().map(|held| (held.id.clone(), entry_of(held))).collect();
        let known = self.states.iter().all(|(id, may)| may.contains(&is.get(id).copied()));
        known && is.len() == all.len() && is.keys().all(|id| self.states.contains_key(id))
    }
}

/// Whether the error means only that the daemon has disconnected.
fn is_no_answer(error: &Error) -> bool {
    let gone = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    gone.contains(&error.kind())
}

/// A new client, which waits for an answer for at most [`TIMEOUT`].
fn connect(path: &Path) -> Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Makes requests of all kinds. Returns the entries that may be held afterwards.
fn make_requests(server: &Server, destination: &Daemon) -> Model {
    let (path, mut model) = (server.daemon_dir.socket(), Model::default());
    let all = files_to_hold(6, 20);
    let ids: Vec<_> = all.iter().map(|held| &held.id[..]).collect();
    let is: Vec<_> = all.iter().map(|held| Some(entry_of(held))).collect();

    // A set dump in two frames.
    let frames = [&all[..3], &all[3..5]];
    let mut result = connect(&path).and_then(|stream| {
        wire::send_frame(&stream, &set_dump_request(5), &[])?;
        wire::answer(&stream).map(|_| stream)
    });
    for (at, frame) in frames.iter().enumerate() {
        if let Ok(stream) = &result {
            let entries = frame.iter().flat_map(|held| entry(&held.id, held.expiry));
            let payload: Vec<u8> = [b'.'].into_iter().chain(entries).collect();
            let fds: Vec<_> = frame.iter().map(|held| held.fd.as_fd()).collect();
            let status = wire::exchange(stream, &payload, &fds);
            let status = status.and_then(|status| match status {
                0 | EAGAIN if (status == 0) == (at == 1) => Ok(()),
                _ => Err(Error::from_raw_os_error(status)),
            });
            let range = if at == 0 { 0..3 } else { 3..5 };
            model.record(&ids[range.clone()], &is[range], &status);
            if let Err(error) = status {
                result = Err(error);
            }
        }
    }
    model.count(result);

    let result = connect(&path).and_then(|stream| wire::store(&stream, &all[5]));
    model.record(&ids[5..], &is[5..], &result);
    model.count(result);
    let result = connect(&path).and_then(|stream| wire::delete(&stream, ids[0]));
    model.record(&ids[..1], &[None], &result);
    model.count_for(ids[0], result);

    let result = connect(&path).and_then(|stream| wire::retrieve(&stream, ids[1]));
    if let Some(fd) = model.count_for(ids[1], result) {
        assert!(model.allows(ids[1], Some(wire::inode(fd))));
    }
    let result = connect(&path).and_then(|stream| wire::take(&stream, ids[2]));
    if let Ok(fd) = &result {
        assert!(model.allows(ids[2], Some(wire::inode(fd))));
    }
    model.record(&ids[2..3], &[None], &result);
    model.count_for(ids[2], result);

    // A request that is sent slowly, and replaces an entry.
    let late = Held::new(&all[3].id, expiry_in(Duration::from_secs(9000)), memfd());
    let result = connect(&path).and_then(|stream| {
        wire::send_frame(&stream, &set_dump_request(1), &[])?;
        wire::answer(&stream)?;
        let payload = [b".", &entry(&late.id, late.expiry)[..]].concat();
        let bytes = frame(&payload, 1);
        wire::send(&stream, &bytes[..10], &[late.fd.as_fd()])?;
        wait_until_read(&stream);
        wire::send(&stream, &bytes[10..], &[])?;
        wire::answer(&stream).map(drop)
    });
    model.record(&ids[3..4], &[Some(entry_of(&late))], &result);
    model.count(result);

    // A socket that takes a second to close, so that a closer closes it.
    let (far, _peer) = lingering(Duration::from_secs(1));
    let (socket, id) = (Held::new("socket", wire::never(), far), &b"socket"[..]);
    let result = connect(&path).and_then(|stream| wire::store(&stream, &socket));
    model.record(&[id], &[Some(entry_of(&socket))], &result);
    drop(socket);
    model.count(result);
    let result = connect(&path).and_then(|stream| wire::delete(&stream, id));
    model.record(&[id], &[None], &result);
    model.count_for(id, result);

    server.signal(Signal::HUP);
    let result = connect(&path).and_then(|stream| wire::list(&stream));
    for id in model.count(result).into_iter().flatten() {
        assert!(model.states[&id].iter().any(Option::is_some), "{id:?} is listed");
    }

    let ended = transfer(&[], &path, &destination.path);
    let arrived = wire::get_dump(&destination.path).unwrap();
    if ended.code == 0 {
        assert!(model.allows_all(&arrived), "a transfer delivers other entries");
    } else {
        model.failed += 1;
        let line = "s6-fdholder-transferdump: fatal: unable to ";
        assert!(ended.err.starts_with(line) && arrived.is_empty(), "{ended:?}");
    }
    let stream = connect(&destination.path).unwrap();
    arrived.iter().for_each(|held| wire::delete(&stream, &held.id).unwrap());
    model
}

/// The result of a run.
struct Outcome {
    code: i32,
    lines: Vec<String>,
    calls: Vec<Call>,
    /// The number of clients whose requests have failed.
    failed: usize,
}

/// The folder of the daemons, and a daemon without faults, which is the destination of transfers.
struct Fixture {
    daemon_dir: DaemonDir,
    destination: Daemon,
    /// How many descriptors a daemon has open without entries and clients.
    own: usize,
}

impl Fixture {
    fn new() -> Fixture {
        let daemon_dir = DaemonDir::open();
        daemon_dir.compile(S6_2_15, &daemon_dir.child("file"));
        // No other file has this length, by which the table recognizes the call.
        File::options().write(true).open(daemon_dir.child("file")).unwrap().set_len(4096).unwrap();
        let destination = Daemon::start(Ours);
        let stream = connect(&destination.path).unwrap();
        assert!(wire::list(&stream).unwrap().is_empty());
        let own = descriptors(destination.pid()) - 1;
        Fixture { daemon_dir, destination, own }
    }

    /// Replaces the placeholders in a text.
    fn fill(&self, run: &Run, text: &str) -> String {
        let file = if run.name == "file" {
            self.daemon_dir.child("file")
        } else {
            self.daemon_dir.rules()
        };
        let text = text.replace("TOOL", run.tool).replace("FILE", file.to_str().unwrap());
        text.replace("PATH", self.daemon_dir.socket().to_str().unwrap())
    }

    /// Starts a daemon with these injections, makes the requests if it `lives`, and ends it. It may have
    /// `more` descriptors open than usual.
    fn run(&self, run: &Run, answers: &[String], lives: bool, more: usize) -> Outcome {
        let (path, trace) = (self.daemon_dir.socket(), self.daemon_dir.child("trace"));
        let _ = fs::remove_file(&path);
        let mut command = strace_detached(&trace, answers);
        command.arg(run.tool).arg("-1").stdin(Stdio::null());
        command.args(run.options.iter().map(|option| self.fill(run, option)));
        match run.name {
            "file" => {
                let listener = UnixListener::bind(&path).unwrap();
                listener.set_nonblocking(true).unwrap();
                command.stdin(OwnedFd::from(listener));
            }
            "stale" => {
                drop(UnixListener::bind(&path).unwrap());
                command.args(geteuid().is_root().then_some(PRIVILEGED).iter().flatten());
                command.arg(&path);
            }
            _ => drop(command.arg(&path)),
        }
        let server = Server::attempt(self.daemon_dir.clone(), &mut command);
        let (mut model, mut _idle) = (Model::default(), None);
        if lives {
            if run.is_served {
                model = make_requests(&server, &self.destination);
            }
            // If this request failed because of the fault, the next one succeeds.
            let dump = model.count(get_dump(&path)).or_else(|| get_dump(&path).ok());
            let Some(dump) = dump else {
                let (code, lines) = server.end();
                return Outcome { code, lines, calls: calls(&trace), failed: usize::MAX };
            };
            let expected = self.own + dump.len();
            let right = model.allows_all(&dump) || !run.is_served;
            assert!(right, "{answers:?}: it holds other entries");
            drop(dump);
            let open = || descriptors(server.pid());
            // The number of calls before differs from run to run, so the fault may come later.
            let more = || if calls(&trace).iter().any(Call::is_injected) { more } else { 0 };
            let state =
                || format!("{answers:?}: {} are open, not {expected} and {}", open(), more());
            wait_until(state, || open() == expected + more());
            // An idle client.
            _idle = connect(&path).ok();
            server.signal(Signal::TERM);
        }
        let (code, lines) = server.end();
        Outcome { code, lines, calls: calls(&trace), failed: model.failed }
    }

    /// Runs a daemon with this fault, and returns a description of what is wrong, or an empty text. Returns
    /// `None` if the call was not made, or another call had its number, which differs from run to run.
    fn fail(&self, run: &Run, call: &Call, errno: i32, expected: Expected) -> Option<String> {
        let ends = matches!(expected, Ends(_));
        // If strace answers `close`, the descriptor stays open.
        let more = usize::from(call.name == "close");
        let Outcome { code, lines, calls, failed } =
            self.run(run, &[call.answered(errno, false)], !ends, more);
        let injected = calls.iter().find(|call| call.is_injected())?;
        let planned = rows(ROWS, run.name, injected, None).unwrap_or_default();
        if !planned.contains(&(errno, expected)) {
            return None;
        }
        let warnings: Vec<_> = lines.iter().filter(|line| line.contains(": warning: ")).collect();
        let is_named = warnings.iter().all(|line| line.ends_with(&format!(": {}", reason(errno))));
        let right = match expected {
            Never(_) => false,
            Ends(line) => {
                let line = self.fill(run, line).replace("REASON", &reason(errno));
                code == 111 && lines == [line]
            }
            Unnoticed => (code, failed, warnings.len()) == (0, 0, 0),
            Quiet => (code, failed / 2, warnings.len()) == (0, 0, 0),
            Named => (code, failed / 2, warnings.len()) == (0, 0, 1) && is_named,
            Warned => (code, failed, warnings.len()) == (0, 0, 1) && is_named,
            NoSelf => {
                let is_said =
                    warnings.iter().all(|line| line.ends_with(": no client is self by it"));
                (code, failed, warnings.len()) == (0, 0, 1) && is_said
            }
        };
        let unknown = calls.iter().find(|c| !ROWS.iter().any(|row| row.1 == c.name));
        Some(match unknown {
            Some(call) => format!("{} is not in the table", call.name),
            None if right => String::new(),
            None => format!("exit {code}, {failed} failed, {lines:?}"),
        })
    }
}

/// Gets the dump of a daemon.
fn get_dump(path: &Path) -> Result<Vec<Held>> {
    let (stream, mut all) = (connect(path)?, Vec::new());
    wire::send_frame(&stream, b"?", &[])?;
    wire::read_dump(&stream, |held| all.push(held)).map(|()| all)
}

/// Runs a daemon three times without a fault, and then once for each error of each call.
fn inject_each_fault(run: &Run) {
    let fixture = Fixture::new();
    let usual = || fixture.run(run, &[], true, 0);
    let runs = [usual(), usual(), usual()];
    for is in &runs {
        assert_eq!((is.code, is.failed), (0, 0), "{:?}", is.lines);
    }
    let all = common(runs.each_ref().map(|is| &is.calls[..]));
    // The first `ppoll` calls only check which numbers are free.
    let waits = |call: &Call| call.name == "ppoll" && call.line.contains("POLLIN");
    let start = all.iter().position(waits).unwrap();
    let end = if run.is_served { all.len() } else { start };
    let (mut count, mut tries, mut wrong) = (0, 0, Vec::new());
    for call in &all[..end] {
        let Some(answers) = rows(ROWS, run.name, call, Some(run.each)) else {
            wrong.push(format!("{} is not in the table", call.line));
            continue;
        };
        for (errno, expected) in answers {
            let why = loop {
                tries += 1;
                assert!(tries < 2 * count + 50, "{} cannot be made to fail", call.line);
                if let Some(why) = fixture.fail(run, call, errno, expected) {
                    break why;
                }
            };
            if !why.is_empty() {
                wrong.push(format!(
                    "{} {} {expected:?}: {why}",
                    call.answered(errno, false),
                    call.line
                ));
            }
            count += 1;
        }
    }
    eprintln!("{}: {count} faults in {end} calls, {tries} tries", run.name);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_daemon_with_a_rules_file_handles_every_fault() {
    inject_each_fault(&RUNS[0]);
}

#[test]
fn a_daemon_with_a_rules_directory_handles_every_fault() {
    inject_each_fault(&RUNS[1]);
}

#[test]
fn every_fault_at_a_stale_socket_is_handled_or_reported() {
    inject_each_fault(&RUNS[2]);
}

#[test]
fn every_row_applies_to_a_call_of_the_daemon() {
    let fixture = Fixture::new();
    let calls = RUNS.each_ref().map(|run| fixture.run(run, &[], true, 0).calls);
    for row in ROWS {
        let mut all = RUNS.iter().zip(&calls).flat_map(|(r, c)| c.iter().map(move |c| (r, c)));
        // An ordinary user drops no privileges, only the user 65534 reads the maps, and strace has one of two
        // names for SO_PASSRIGHTS.
        let is_used = all.any(|(run, call)| row.is_about(run.name, call))
            || !geteuid().is_root() && row.4 == PRIVILEGES
            || geteuid().as_raw() != 65534
                && (row.4 == NoSelf || row.2.contains("_map") || row.2 == ", 64)")
            || ["SOL_SOCKET, 0x53", "SO_PASSRIGHTS"].contains(&row.2)
            || row.1 == "getgroups";
        assert!(is_used, "{:?} {} {} applies to no call", row.0, row.1, row.2);
    }
}
