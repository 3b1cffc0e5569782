//! Every call that the daemon makes of the kernel fails in turn, while clients make their rounds. At
//! the start it may end, with one line that says why. Later it goes on, holds what it held and what
//! it has told somebody that it holds, serves the next client and leaves nothing open. What is due
//! for which error stands in a table, and a call that is not in the table fails the test.

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

/// What the daemon is to make of an error.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Due {
    /// It cannot happen, because of this.
    Never(&'static str),
    /// The daemon ends with 111 and this line.
    Ends(&'static str),
    /// All goes on as if it had not happened.
    Unnoticed,
    /// One client at the most is hung up on, and it is not said why: it is gone, or never was.
    Quiet,
    /// The same, and a warning names the reason.
    Named,
    /// Every client is served, and a warning names the reason.
    Warned,
    /// Every client is served, and a warning says who is nobody's self.
    Doubted,
}
use Due::{Doubted, Ends, Named, Never, Quiet, Unnoticed, Warned};

/// The calls of the daemon. `TOOL` is its name, `PATH` that of its socket, `FILE` that of its rules.
const ROWS: &[Row<Due>] = &[
    Row("", "exit_group", "", &[], Never("it does not come back")),
    // Without clocks it does not start; later they are tried again.
    Row("", "clock_gettime", "#1", CLOCK, NO_CLOCK),
    Row("", "clock_gettime", "#2", CLOCK, NO_CLOCK),
    Row("", "clock_gettime", "", CLOCK, Unnoticed),
    Row("", "umask", "", &[], Never("there always is one")),
    Row("", "geteuid", "", &[], Never("there always is one")),
    Row("", "getegid", "", &[], Never("there always is one")),
    Row("", "getpid", "", &[], Never("it always is one")),
    Row("", "rt_sigprocmask", "", &[], Never("the set is one, and a place for it")),
    // Somebody wants to know when it is ready.
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
    // Somebody may listen: then it is not replaced,
    Row("stale", "connect", "", &[EACCES, ENOENT, ENOMEM, EPROTOTYPE], IN_USE),
    Row("stale", "connect", "", &[EAGAIN], SERVED),
    Row("stale", "newfstatat", "", &[EINTR], Unnoticed),
    // and what may be no socket is not either.
    Row("stale", "newfstatat", "", PATH, BIND),
    Row("", "unlinkat", "", PATH, BIND),
    Row("", "unlinkat", "", &[EBUSY, EIO, EISDIR, EPERM, EROFS], BIND),
    // From here on it leaves a socket on which nobody listens: the next start replaces that.
    Row("", "listen", "", &[EADDRINUSE], BIND),
    Row("", "dup3", "", &[EINTR], Unnoticed),
    // Whoever waits for standard output to be closed has had a newline.
    Row("", "dup3", "(0, 1,", &[EBUSY, EMFILE], Unnoticed),
    Row("", "dup3", "", &[EBUSY, EMFILE], BIND),
    // a user,
    Row("", "setgroups", "", &[EINVAL, ENOMEM, EPERM], PRIVILEGES),
    Row("", "getgroups", "", &[], Never("it is only asked for when setgroups has failed")),
    Row("", "setgid", "", &[EINVAL, EPERM], PRIVILEGES),
    Row("", "setuid", "", &[EAGAIN, EINVAL, EPERM], PRIVILEGES),
    // limits and memory,
    Row("", "prctl", "PR_SET_NAME", &[EPERM], Unnoticed),
    // What is no socket is another exit code: tests/daemon/startup.rs.
    Row("", "getsockname", "#1", &[EBADF, ENOBUFS], LISTENING),
    Row("", "getsockname", "", &[EBADF, ENOBUFS], Unnoticed),
    Row("", "getsockopt", "SO_TYPE", &[EBADF, ENOBUFS, ENOMEM], LISTENING),
    // It is tried then.
    Row("", "getsockopt", "SO_ACCEPTCONN", &[EBADF, ENOBUFS, ENOMEM, EPERM], Unnoticed),
    // It is asked what else it is, which matters to clients alone.
    Row("", "getsockopt", "SO_PROTOCOL", &[ENOPROTOOPT, EPERM], Unnoticed),
    // That is 83, which strace may not know.
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
    // Whether all have numbers of their own matters to one who may not.
    // A kernel without user namespaces has no such file.
    Row("", "openat", "_map\"", &[EINTR, ENOENT], Unnoticed),
    Row("", "openat", "_map\"", &[EACCES, ELOOP, EMFILE, ENFILE, ENOMEM, ENOTDIR, EPERM], Doubted),
    Row("", "read", ", 64)", &[EINTR], Unnoticed),
    Row("", "read", ", 64)", &[0, EIO, ENOMEM], Doubted),
    Row("", "openat", "/overflow", OPEN, Unnoticed),
    Row("", "openat", "/overflow", &[EINTR, EPERM], Unnoticed),
    Row("", "read", ", 32)", &[0, EINTR, EIO, ENOMEM], Unnoticed),
    // and the rules in a file. When they are read again the old ones stay.
    // Where no other descriptor can be had there is the spare one.
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
    // The folder of rules may come later.
    Row("", "faccessat", "/.\"", &[EACCES, EIO, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR], Warned),
    Row("", "prctl", "PR_SET_DUMPABLE", &[EINVAL, EPERM], Warned),
    // What it lives on.
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
    // What does not say what it is may take long to close. If there can be no closer the daemon
    // closes it; if it cannot tell what has become of it, it asks again.
    Row("", "statx", "", &[EACCES, ENOMEM, ENOSYS, EPERM], Unnoticed),
    Row("", "fcntl", "F_GET_SEALS", &[EINVAL, EPERM], Unnoticed),
    Row("", "clone", "", &[EAGAIN, ENOMEM, ENOSYS, EPERM], Unnoticed),
    Row("", "fcntl", "F_GETFD", &[EBADF], Unnoticed),
    Row("", "kill", "", &[EPERM, ESRCH], Unnoticed),
    Row("", "wait4", "", &[EINTR, EPERM], Unnoticed),
    Row("", "madvise", "", &[EAGAIN, EINVAL, EIO, ENOMEM], Unnoticed),
    // The signal is still there.
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
const NO_CLOCK: Due = Ends("s6-fdholderd: fatal: unable to read the clock: REASON");
const BIND: Due = Ends("s6-fdholder-daemon: fatal: unable to bind to PATH: REASON");
const IN_USE: Due =
    Ends("s6-fdholder-daemon: fatal: unable to bind to PATH: Address already in use");
const SERVED: Due = Ends(
    "s6-fdholder-daemon: fatal: unable to bind to PATH: Address already in use by a daemon that \
     still serves what it holds",
);
const PRIVILEGES: Due = Ends("s6-fdholder-daemon: fatal: unable to drop privileges: REASON");
const LISTENING: Due =
    Ends("s6-fdholderd: fatal: standard input is not a listening socket: REASON");
const LIMIT: Due = Ends("s6-fdholderd: fatal: the open-file limit is too low: Too many open files");
const MEMORY: Due = Ends("s6-fdholderd: fatal: unable to get memory for -n and -c: REASON");
const SIGNALS: Due = Ends("s6-fdholderd: fatal: unable to wait for signals: REASON");
const RULES: Due = Ends("s6-fdholderd: fatal: unable to read rules from FILE: REASON");

/// A daemon and what is done to it.
struct Round {
    name: &'static str,
    tool: &'static str,
    options: &'static [&'static str],
    /// Whether clients make their rounds; or else it is only the start that fails.
    is_served: bool,
    /// Of calls that come often, every so many fail.
    each: usize,
}

const ROUNDS: [Round; 3] = [
    Round {
        name: "file",
        tool: "s6-fdholderd",
        options: &["-x", "FILE"],
        is_served: true,
        each: 1,
    },
    Round {
        name: "directory",
        tool: "s6-fdholder-daemon",
        options: &["-v2", "-i", "FILE"],
        is_served: true,
        // Each client has the same rules read, and the rest is the same as with a file.
        each: 7,
    },
    Round {
        name: "stale",
        tool: "s6-fdholder-daemon",
        options: &["-i", "FILE"],
        is_served: false,
        each: 1,
    },
];

/// What only root has to drop.
const PRIVILEGED: [&str; 3] = ["-u65534", "-g65534", "-G65533"];

/// What something is that is held: its date, and device and inode.
type Thing = ([u8; 12], (u64, u64));

/// What may be held under each identifier, by what clients have been told.
#[derive(Default)]
struct Model {
    may: BTreeMap<Vec<u8>, Vec<Option<Thing>>>,
    /// How many clients have not got what they wanted.
    lost: usize,
}

fn thing(held: &Held) -> Thing {
    (held.expiry, wire::inode(&held.fd))
}

impl Model {
    /// A client has asked for something to become this under each of these identifiers, and has been
    /// told this; without an answer nobody knows.
    fn becomes<T>(&mut self, ids: &[&[u8]], things: &[Option<Thing>], told: &Result<T>) {
        let is_open = match told {
            Ok(_) => false,
            Err(error) if is_no_answer(error) => true,
            Err(_) => return,
        };
        for (id, thing) in ids.iter().zip(things) {
            let may = self.may.entry(id.to_vec()).or_insert_with(|| vec![None]);
            if !is_open {
                may.clear();
            }
            may.push(*thing);
        }
    }

    /// Counts one who has not got what he wanted, unless it need not be there.
    fn count_for<T>(&mut self, id: &[u8], told: Result<T>) -> Option<T> {
        let is_absent = told.as_ref().is_err_and(|error| error.raw_os_error() == Some(ENOENT));
        if is_absent && self.allows(id, None) { None } else { self.count(told) }
    }

    /// Counts one who has not got what he wanted.
    fn count<T>(&mut self, told: Result<T>) -> Option<T> {
        self.lost += usize::from(told.is_err());
        told.ok()
    }

    /// Whether that may be held under an identifier.
    fn allows(&self, id: &[u8], is: Option<(u64, u64)>) -> bool {
        let nothing = vec![None];
        let may = self.may.get(id).unwrap_or(&nothing);
        may.iter().any(|thing| thing.map(|(_, file)| file) == is)
    }

    /// Whether that may be all that is held.
    fn allows_all(&self, all: &[Held]) -> bool {
        let is: BTreeMap<_, _> = all.iter().map(|held| (held.id.clone(), thing(held))).collect();
        let known = self.may.iter().all(|(id, may)| may.contains(&is.get(id).copied()));
        known && is.len() == all.len() && is.keys().all(|id| self.may.contains_key(id))
    }
}

/// Whether it says no more than that the daemon has hung up.
fn is_no_answer(error: &Error) -> bool {
    let gone = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    gone.contains(&error.kind())
}

/// A new client, who does not wait for ever.
fn connect(path: &Path) -> Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Some clients, each of whom wants something else. In the end it is known what may be held.
fn make_rounds(server: &Server, sink: &Daemon) -> Model {
    let (path, mut model) = (server.daemon_dir.socket(), Model::default());
    let all = files_to_hold(6, 20);
    let ids: Vec<_> = all.iter().map(|held| &held.id[..]).collect();
    let is: Vec<_> = all.iter().map(|held| Some(thing(held))).collect();

    // A set dump in two frames.
    let frames = [&all[..3], &all[3..5]];
    let mut told = connect(&path).and_then(|stream| {
        wire::send_frame(&stream, &set_dump_request(5), &[])?;
        wire::answer(&stream).map(|_| stream)
    });
    for (at, frame) in frames.iter().enumerate() {
        if let Ok(stream) = &told {
            let entries = frame.iter().flat_map(|held| entry(&held.id, held.expiry));
            let payload: Vec<u8> = [b'.'].into_iter().chain(entries).collect();
            let fds: Vec<_> = frame.iter().map(|held| held.fd.as_fd()).collect();
            let status = wire::exchange(stream, &payload, &fds);
            let status = status.and_then(|status| match status {
                0 | EAGAIN if (status == 0) == (at == 1) => Ok(()),
                _ => Err(Error::from_raw_os_error(status)),
            });
            let range = if at == 0 { 0..3 } else { 3..5 };
            model.becomes(&ids[range.clone()], &is[range], &status);
            if let Err(error) = status {
                told = Err(error);
            }
        }
    }
    model.count(told);

    let told = connect(&path).and_then(|stream| wire::store(&stream, &all[5]));
    model.becomes(&ids[5..], &is[5..], &told);
    model.count(told);
    let told = connect(&path).and_then(|stream| wire::delete(&stream, ids[0]));
    model.becomes(&ids[..1], &[None], &told);
    model.count_for(ids[0], told);

    let told = connect(&path).and_then(|stream| wire::retrieve(&stream, ids[1]));
    if let Some(fd) = model.count_for(ids[1], told) {
        assert!(model.allows(ids[1], Some(wire::inode(fd))));
    }
    let told = connect(&path).and_then(|stream| wire::take(&stream, ids[2]));
    if let Ok(fd) = &told {
        assert!(model.allows(ids[2], Some(wire::inode(fd))));
    }
    model.becomes(&ids[2..3], &[None], &told);
    model.count_for(ids[2], told);

    // One who is slow with a request, in place of something else.
    let late = Held::new(&all[3].id, expiry_in(Duration::from_secs(9000)), memfd());
    let told = connect(&path).and_then(|stream| {
        wire::send_frame(&stream, &set_dump_request(1), &[])?;
        wire::answer(&stream)?;
        let payload = [b".", &entry(&late.id, late.expiry)[..]].concat();
        let bytes = frame(&payload, 1);
        wire::send(&stream, &bytes[..10], &[late.fd.as_fd()])?;
        wait_until_read(&stream);
        wire::send(&stream, &bytes[10..], &[])?;
        wire::answer(&stream).map(drop)
    });
    model.becomes(&ids[3..4], &[Some(thing(&late))], &told);
    model.count(told);

    // A socket that takes a second to close, which the daemon does not do itself.
    let (far, _peer) = lingering(Duration::from_secs(1));
    let (socket, id) = (Held::new("socket", wire::never(), far), &b"socket"[..]);
    let told = connect(&path).and_then(|stream| wire::store(&stream, &socket));
    model.becomes(&[id], &[Some(thing(&socket))], &told);
    drop(socket);
    model.count(told);
    let told = connect(&path).and_then(|stream| wire::delete(&stream, id));
    model.becomes(&[id], &[None], &told);
    model.count_for(id, told);

    server.signal(Signal::HUP);
    let told = connect(&path).and_then(|stream| wire::list(&stream));
    for id in model.count(told).into_iter().flatten() {
        assert!(model.may[&id].iter().any(Option::is_some), "{id:?} is listed");
    }

    let ended = transfer(&[], &path, &sink.path);
    let arrived = wire::get_dump(&sink.path).unwrap();
    if ended.code == 0 {
        assert!(model.allows_all(&arrived), "a transfer brings something else");
    } else {
        model.lost += 1;
        let line = "s6-fdholder-transferdump: fatal: unable to ";
        assert!(ended.err.starts_with(line) && arrived.is_empty(), "{ended:?}");
    }
    let stream = connect(&sink.path).unwrap();
    arrived.iter().for_each(|held| wire::delete(&stream, &held.id).unwrap());
    model
}

/// What a round has come to.
struct Outcome {
    code: i32,
    lines: Vec<String>,
    calls: Vec<Call>,
    /// How many clients have not got what they wanted.
    lost: usize,
}

/// A place for daemons and one that does not fail.
struct World {
    daemon_dir: DaemonDir,
    sink: Daemon,
    /// How many descriptors a daemon has open besides what it holds.
    own: usize,
}

impl World {
    fn new() -> World {
        let daemon_dir = DaemonDir::open();
        daemon_dir.compile(S6_2_15, &daemon_dir.child("file"));
        // A length that nothing else that is read has: the table knows the call by it.
        File::options().write(true).open(daemon_dir.child("file")).unwrap().set_len(4096).unwrap();
        let sink = Daemon::start(Ours);
        let stream = connect(&sink.path).unwrap();
        assert!(wire::list(&stream).unwrap().is_empty());
        let own = descriptors(sink.pid()) - 1;
        World { daemon_dir, sink, own }
    }

    /// The options of a round, with what is in this world put in.
    fn fill(&self, round: &Round, text: &str) -> String {
        let file = if round.name == "file" {
            self.daemon_dir.child("file")
        } else {
            self.daemon_dir.rules()
        };
        let text = text.replace("TOOL", round.tool).replace("FILE", file.to_str().unwrap());
        text.replace("PATH", self.daemon_dir.socket().to_str().unwrap())
    }

    /// Starts a daemon with these answers in the kernel's place, does to it what is to be done if it
    /// `lives`, and ends it. So many descriptors more than usual may be open by then.
    fn run(&self, round: &Round, answers: &[String], lives: bool, more: usize) -> Outcome {
        let (path, trace) = (self.daemon_dir.socket(), self.daemon_dir.child("trace"));
        let _ = fs::remove_file(&path);
        let mut command = strace_detached(&trace, answers);
        command.arg(round.tool).arg("-1").stdin(Stdio::null());
        command.args(round.options.iter().map(|option| self.fill(round, option)));
        match round.name {
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
            if round.is_served {
                model = make_rounds(&server, &self.sink);
            }
            // If it was this one's turn to get no answer, it is not that of the next one.
            let dump = model.count(get_dump(&path)).or_else(|| get_dump(&path).ok());
            let Some(dump) = dump else {
                let (code, lines) = server.end();
                return Outcome { code, lines, calls: calls(&trace), lost: usize::MAX };
            };
            let due = self.own + dump.len();
            let right = model.allows_all(&dump) || !round.is_served;
            assert!(right, "{answers:?}: it holds something else");
            drop(dump);
            let open = || descriptors(server.pid());
            // How many calls come before depends on who is faster, so it may be one of those after.
            let more = || if calls(&trace).iter().any(Call::is_injected) { more } else { 0 };
            let state = || format!("{answers:?}: {} are open, not {due} and {}", open(), more());
            wait_until(state, || open() == due + more());
            // One who has nothing to do.
            _idle = connect(&path).ok();
            server.signal(Signal::TERM);
        }
        let (code, lines) = server.end();
        Outcome { code, lines, calls: calls(&trace), lost: model.lost }
    }

    /// Runs a daemon with a call of it answered like this, and says what is wrong with what comes of
    /// it; nothing if the call has not come, or another one in its place: which comes when depends
    /// on who is faster.
    fn fail(&self, round: &Round, call: &Call, errno: i32, due: Due) -> Option<String> {
        let ends = matches!(due, Ends(_));
        // Of what strace answers the kernel hears nothing: that is not closed then.
        let more = usize::from(call.name == "close");
        let Outcome { code, lines, calls, lost } =
            self.run(round, &[call.answered(errno, false)], !ends, more);
        let failed = calls.iter().find(|call| call.is_injected())?;
        let planned = rows(ROWS, round.name, failed, None).unwrap_or_default();
        if !planned.contains(&(errno, due)) {
            return None;
        }
        let warnings: Vec<_> = lines.iter().filter(|line| line.contains(": warning: ")).collect();
        let is_named = warnings.iter().all(|line| line.ends_with(&format!(": {}", reason(errno))));
        let right = match due {
            Never(_) => false,
            Ends(line) => {
                let line = self.fill(round, line).replace("REASON", &reason(errno));
                code == 111 && lines == [line]
            }
            Unnoticed => (code, lost, warnings.len()) == (0, 0, 0),
            Quiet => (code, lost / 2, warnings.len()) == (0, 0, 0),
            Named => (code, lost / 2, warnings.len()) == (0, 0, 1) && is_named,
            Warned => (code, lost, warnings.len()) == (0, 0, 1) && is_named,
            Doubted => {
                let is_said =
                    warnings.iter().all(|line| line.ends_with(": no client is self by it"));
                (code, lost, warnings.len()) == (0, 0, 1) && is_said
            }
        };
        let unknown = calls.iter().find(|c| !ROWS.iter().any(|row| row.1 == c.name));
        Some(match unknown {
            Some(call) => format!("{} is not in the table", call.name),
            None if right => String::new(),
            None => format!("exit {code}, {lost} lost, {lines:?}"),
        })
    }
}

/// Asks for all that is held.
fn get_dump(path: &Path) -> Result<Vec<Held>> {
    let (stream, mut all) = (connect(path)?, Vec::new());
    wire::send_frame(&stream, b"?", &[])?;
    wire::read_dump(&stream, |held| all.push(held)).map(|()| all)
}

/// Lets a daemon fail in every way.
fn fails_as_it_should(round: &Round) {
    let world = World::new();
    let usual = || world.run(round, &[], true, 0);
    let runs = [usual(), usual(), usual()];
    for is in &runs {
        assert_eq!((is.code, is.lost), (0, 0), "{:?}", is.lines);
    }
    let all = common(runs.each_ref().map(|is| &is.calls[..]));
    // At the start it only asks which numbers are free.
    let waits = |call: &Call| call.name == "ppoll" && call.line.contains("POLLIN");
    let start = all.iter().position(waits).unwrap();
    let end = if round.is_served { all.len() } else { start };
    let (mut count, mut tries, mut wrong) = (0, 0, Vec::new());
    for call in &all[..end] {
        let Some(answers) = rows(ROWS, round.name, call, Some(round.each)) else {
            wrong.push(format!("{} is not in the table", call.line));
            continue;
        };
        for (errno, due) in answers {
            let why = loop {
                tries += 1;
                assert!(tries < 2 * count + 50, "{} cannot be made to fail", call.line);
                if let Some(why) = world.fail(round, call, errno, due) {
                    break why;
                }
            };
            if !why.is_empty() {
                wrong.push(format!("{} {} {due:?}: {why}", call.answered(errno, false), call.line));
            }
            count += 1;
        }
    }
    eprintln!("{}: {count} faults in {end} calls, {tries} tries", round.name);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn with_rules_in_a_file_it_bears_every_fault() {
    fails_as_it_should(&ROUNDS[0]);
}

#[test]
fn with_rules_in_a_directory_it_bears_every_fault() {
    fails_as_it_should(&ROUNDS[1]);
}

#[test]
fn every_fault_on_the_way_to_its_place_is_borne_or_named() {
    fails_as_it_should(&ROUNDS[2]);
}

#[test]
fn every_row_is_about_a_call_that_the_daemon_makes() {
    let world = World::new();
    let calls = ROUNDS.each_ref().map(|round| world.run(round, &[], true, 0).calls);
    for row in ROWS {
        let mut all = ROUNDS.iter().zip(&calls).flat_map(|(r, c)| c.iter().map(move |c| (r, c)));
        // Others have nothing to drop, only one user may be another, and strace has one name for each.
        let is_used = all.any(|(round, call)| row.is_about(round.name, call))
            || !geteuid().is_root() && row.4 == PRIVILEGES
            || geteuid().as_raw() != 65534
                && (row.4 == Doubted || row.2.contains("_map") || row.2 == ", 64)")
            || ["SOL_SOCKET, 0x53", "SO_PASSRIGHTS"].contains(&row.2)
            || row.1 == "getgroups";
        assert!(is_used, "{:?} {} {} is about nothing", row.0, row.1, row.2);
    }
}
