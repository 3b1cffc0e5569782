//! Two tools and two daemons in one process, each on a thread with a [`Process`] of its own. They share no
//! buffers, messages or results.

use crate::kit::daemon::{GETDUMP, LIST, RETRIEVE, SETDUMP, STORE};
use crate::kit::process::wait_until;
use crate::kit::server::DaemonDir;
use crate::kit::tool::in_own_process;
use crate::kit::wire::{self, Held, never};
use crate::kit::{cdb, memfd};
use fdholder::io::pool::Pool;
use fdholder::multicall;
use fdholder::process::Process;
use fdholder::sys::fd::BorrowedFd;
use fdholder::sys::strings::Builder;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::thread::JoinHandleExt;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread::{self, JoinHandle};

/// How often the two tools run at the same time.
const ROUNDS: usize = 50;

#[test]
fn two_tools_and_two_daemons_do_not_disturb_each_other() {
    let name = "two_tools_and_two_daemons_do_not_disturb_each_other";
    in_own_process(module_path!(), name, two_tools_and_two_daemons);
}

/// A tool that runs on a thread.
struct Tool {
    thread: JoinHandle<u8>,
    out: File,
    err: File,
    /// Its standard descriptors.
    given: [OwnedFd; 3],
}

/// How a tool ended.
struct Ended {
    code: u8,
    out: String,
    err: String,
}

/// New buffers.
fn pool() -> &'static mut Pool {
    Box::leak(Box::new(Pool::EMPTY))
}

impl Tool {
    /// Starts a tool when all tools that share this barrier are ready to start.
    fn start(
        words: &[&dyn AsRef<OsStr>],
        input: impl Into<OwnedFd>,
        at_once: &'static Barrier,
    ) -> Tool {
        let [(out, their_out), (err, their_err)] =
            [(); 2].map(|()| pipe_with(PipeFlags::CLOEXEC).unwrap());
        let given = [input.into(), their_out, their_err];
        let numbers = given.each_ref().map(|fd| BorrowedFd::named(fd.as_raw_fd() as u32));
        let words: Vec<Vec<u8>> =
            words.iter().map(|word| word.as_ref().as_bytes().to_vec()).collect();
        let thread = thread::spawn(move || {
            let mut arguments = Builder::new(words.len()).unwrap();
            for word in words {
                // Arguments live as long as the process.
                arguments.add(Box::leak(CString::new(word).unwrap().into_boxed_c_str()));
            }
            let environment = Builder::new(0).unwrap().finish().unwrap();
            let arguments = arguments.finish().unwrap();
            let mut process = Process::with_descriptors(arguments, environment, pool(), numbers);
            at_once.wait();
            let exit = multicall::run(&mut process);
            process.end();
            exit.0
        });
        Tool { thread, out: out.into(), err: err.into(), given }
    }

    /// Waits until it has written a newline to standard output.
    fn wait_until_ready(&mut self) {
        let mut one = [0];
        assert_eq!((self.out.read(&mut one).unwrap(), one), (1, *b"\n"));
    }

    /// Sends its thread a signal.
    fn signal(&self, signal: libc::c_int) {
        // SAFETY: the thread has not been joined.
        assert_eq!(unsafe { libc::pthread_kill(self.thread.as_pthread_t(), signal) }, 0);
    }

    /// Appends what it has written to standard error since the last call.
    fn read_messages(&mut self, messages: &mut String) {
        let mut bytes = [0; 1 << 16];
        let length = self.err.read(&mut bytes).unwrap();
        messages.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
    }

    /// Waits for the end.
    fn wait(mut self) -> Ended {
        wait_until(|| String::from("a tool that ends"), || self.thread.is_finished());
        let code = self.thread.join().unwrap();
        drop(self.given);
        let [out, err] = [&mut self.out, &mut self.err].map(|from| {
            let mut all = String::new();
            from.read_to_string(&mut all).unwrap();
            all
        });
        Ended { code, out, err }
    }
}

/// The expected end of a tool: its exit code, its output and its messages.
type Expected<'a> = (u8, &'a str, String);

/// Runs two tools at the same time, each with its own buffers.
struct Pair {
    at_once: &'static Barrier,
}

impl Pair {
    fn new() -> Pair {
        Pair { at_once: barrier() }
    }

    fn run(&self, all: [(&[&dyn AsRef<OsStr>], Expected); 2]) {
        let [(words, right), (other_words, other_right)] = all;
        let input = || File::open("/dev/null").unwrap();
        let tool = Tool::start(words, input(), self.at_once);
        let other = Tool::start(other_words, input(), self.at_once);
        let (ended, other) = (tool.wait(), other.wait());
        assert_eq!((ended.code, &ended.out[..], ended.err), right);
        assert_eq!((other.code, &other.out[..], other.err), other_right);
    }
}

/// A barrier for two threads that start at the same time.
fn barrier() -> &'static Barrier {
    Box::leak(Box::new(Barrier::new(2)))
}

/// Makes a rules file that gives all users these rights.
fn rules_file(path: &Path, rights: &[&str]) {
    let strings: String = rights.iter().map(|right| format!("{right}=\0")).collect();
    let value = cdb::allow(strings.as_bytes(), b"");
    fs::write(path, cdb::file(&[("uid/default", value)], 2)).unwrap();
}

/// Whether a daemon holds exactly these entries.
fn holds(path: &Path, all: &[Held]) -> bool {
    wire::identities(&wire::get_dump(path).unwrap()) == wire::identities(all)
}

/// All open descriptors of this process, with the target of each.
fn open() -> Vec<(OsString, PathBuf)> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        // The descriptor of the folder itself is not in the result if it is closed by then.
        if let Ok(link) = fs::read_link(entry.path()) {
            all.push((entry.file_name(), link));
        }
    }
    all.sort();
    all
}

fn two_tools_and_two_daemons() {
    let before = open();
    // The two daemons differ in all options.
    let (first, second) = (DaemonDir::new(), DaemonDir::new());
    let (old, new, file) = (first.socket(), second.socket(), first.child("file"));
    rules_file(&file, &[STORE, GETDUMP, LIST]);
    second
        .allow("uid/default", &[(SETDUMP, "\n"), (GETDUMP, "\n"), (STORE, "^b"), (RETRIEVE, "^b")]);
    let words: [&dyn AsRef<OsStr>; 9] =
        [&"s6-fdholder-daemon", &"-1", &"-v2", &"-n3", &"-c40", &"-x", &file, &"-t9000", &old];
    let at_once = barrier();
    let mut source = Tool::start(&words, File::open("/dev/null").unwrap(), at_once);
    let listener = UnixListener::bind(&new).unwrap();
    let rules = second.rules();
    let words: [&dyn AsRef<OsStr>; 6] = [&"s6-fdholderd", &"-1", &"-v1", &"-n100", &"-i", &rules];
    let mut destination = Tool::start(&words, listener, at_once);
    source.wait_until_ready();
    destination.wait_until_ready();
    // A daemon makes its process uninspectable, and this test inspects itself.
    set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();

    let all = ["a", "b", "c"].map(|id| Held::new(id, never(), memfd()));
    let client = UnixStream::connect(&old).unwrap();
    all.iter().for_each(|held| wire::store(&client, held).unwrap());
    let other = UnixStream::connect(&new).unwrap();
    let status = |client, held: &Held| match wire::store(client, held) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap(),
    };
    let more = ["d", "bd"].map(|id| Held::new(id, never(), memfd()));
    // One daemon is full, the other allows other identifiers.
    assert_eq!(more.each_ref().map(|held| status(&client, held)), [libc::ENFILE; 2]);
    assert_eq!(more.each_ref().map(|held| status(&other, held)), [libc::EPERM, 0]);
    wire::delete(&other, b"bd").unwrap();
    assert_eq!(wire::retrieve(&client, b"a").unwrap_err().raw_os_error(), Some(libc::EPERM));
    drop((client, other, more));

    let pair = Pair::new();
    let absent = first.child("absent");
    let no_list = || {
        let message = "s6-fdholder-list: fatal: unable to get fd list: Operation not permitted\n";
        (1, "", String::from(message))
    };
    let list: &[&dyn AsRef<OsStr>] = &[&"s6-fdholder-list", &old];
    let transfer: &[&dyn AsRef<OsStr>] = &[&"s6-fdholder-transferdump", &old, &new];
    for _ in 0..ROUNDS {
        let done = |out| (0, out, String::new());
        pair.run([(transfer, done("")), (list, done("a\nb\nc\n"))]);
        assert!(holds(&new, &all));
        let no_transfer = format!(
            "s6-fdholder-transferdump: fatal: unable to connect to a destination fd-holder daemon at \
             {}: No such file or directory\n",
            absent.display()
        );
        pair.run([
            (&[&"s6-fdholder-transferdump", &old, &absent], (111, "", no_transfer)),
            (&[&"s6-fdholder-list", &new], no_list()),
        ]);
        let usage = "s6-fdholder-delete: usage: s6-fdholder-delete [ -t timeout ] socket id\n";
        pair.run([
            (
                &[&"fdholder", &"--version"],
                done(concat!("fdholder ", env!("CARGO_PKG_VERSION"), "\n")),
            ),
            (&[&"s6-fdholder-delete", &"-x"], (100, "", String::from(usage))),
        ]);
    }

    // Each daemon reads its own rules again. Only the first one logs it.
    rules_file(&file, &[GETDUMP]);
    for daemon in [&source, &destination] {
        daemon.signal(libc::SIGHUP);
    }
    let mut messages = String::new();
    while !messages.contains("rules read") {
        source.read_messages(&mut messages);
    }
    pair.run([
        (list, no_list()),
        (&[&"s6-fdholder-transferdump", &new, &old], {
            let message = format!(
                "s6-fdholder-transferdump: fatal: unable to set dump in the destination fd-holder \
                 daemon at {}: Operation not permitted (the right S6_FDHOLDER_SETDUMP is missing)\n",
                old.display()
            );
            (2, "", message)
        }),
    ]);

    // One daemon ends and closes its entries. The other goes on.
    source.signal(libc::SIGTERM);
    let ended = source.wait();
    messages.push_str(&ended.err);
    assert_eq!((ended.code, &ended.out[..]), (0, ""));
    assert_eq!(UnixStream::connect(&old).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(holds(&new, &all));
    let quiet = open();
    let mut hostile = UnixStream::connect(&new).unwrap();
    wire::send(&hostile, &[255; 6], &[]).unwrap();
    assert_eq!(hostile.read(&mut [0]).unwrap(), 0);
    drop(hostile);
    // A closer, which is a process that shares the descriptors, closes the connection. Earlier closers may
    // still be at work too.
    let is_quiet = || open().iter().all(|one| quiet.contains(one));
    wait_until(|| format!("{:?}, not {quiet:?}", open()), is_quiet);
    destination.signal(libc::SIGTERM);
    let ended = destination.wait();
    let who = |messages: &str| {
        let lines =
            messages.lines().map(|line| line.split_once(": uid ").map_or(line, |line| line.0));
        lines.map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!((ended.code, &ended.out[..]), (0, ""));
    assert_eq!(who(&ended.err), ["s6-fdholderd: warning"]);
    assert!(ended.err.ends_with(": disconnect: Protocol error\n"), "{}", ended.err);

    let info = |what: &str| messages.lines().filter(|line| line.ends_with(what)).count();
    assert_eq!((info(": get dump"), info(": list")), (2 * ROUNDS, ROUNDS));
    assert_eq!(
        (info(" rules read"), info(" lame duck"), info(" d: Too many open files in system")),
        (1, 1, 1)
    );
    assert!(messages.lines().all(|line| line.starts_with("s6-fdholderd: info: ")), "{messages}");

    drop(all);
    wait_until(|| format!("{:?}, not {before:?}", open()), || open() == before);
}
