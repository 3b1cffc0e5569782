//! `fdholder-activate -w`: the first client starts the program. Until then the process waits without a
//! connection to the daemon and with little memory. No client is lost.

use crate::kit::clients::hold;
use crate::kit::daemon::{Daemon, Generation};
use crate::kit::fake::{Fake, Step};
use crate::kit::process::{descriptors, memory, wait_until};
use crate::kit::tool::{Running, tool};
use crate::kit::wire::{self, Held, expiry_in, frame, inode};
use crate::kit::{memfd, program, raise_open_file_limit};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use temp_dir::TempDir;

const NAME: &str = "fdholder-activate";

/// A program that serves one client: it accepts on number 3, sends its answer, and ends.
const SERVE: [&str; 3] =
    ["perl", "-e", "open L, '+<&=', 3; accept C, L; syswrite C, 'served'; exit 7"];

/// A command that waits for a client.
fn waiting(daemon: &Daemon, options: &[&str], ids: &[&str], prog: &[&str]) -> Command {
    let mut command = tool(NAME);
    command.arg("-w").args(options).arg(&daemon.path).args(ids).arg("--").args(prog);
    command.stdin(Stdio::null());
    command
}

/// Stores a descriptor in a daemon.
fn store(daemon: &Daemon, id: &str, fd: impl AsFd) {
    let expiry = expiry_in(Duration::from_secs(3600 + u64::from(id.as_bytes()[0])));
    wire::set_dump(&daemon.path, &[Held::new(id, expiry, fd)]).unwrap();
}

/// A process that waits for a client.
struct Waiting(Child);

impl Waiting {
    /// Starts a process, and waits until it waits for a client. It has disconnected from the daemon then.
    fn start(command: &mut Command) -> Waiting {
        let waiting = Waiting(command.stdout(Stdio::null()).spawn().unwrap());
        let id = waiting.id();
        // It polls while it waits for the daemon too. But then the connection has the highest number.
        wait_until(
            || format!("{id} does not wait"),
            || waiting.polls() && waiting.highest().contains("signalfd"),
        );
        waiting
    }

    /// Whether it polls at the moment.
    fn polls(&self) -> bool {
        let call = fs::read_to_string(format!("/proc/{}/syscall", self.id()));
        call.is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_ppoll)))
    }

    /// The target of its descriptor with the highest number.
    fn highest(&self) -> String {
        let folder = format!("/proc/{}/fd", self.id());
        let numbers = fs::read_dir(&folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str().unwrap().parse::<u32>().ok());
        let link = fs::read_link(format!("{folder}/{}", numbers.max().unwrap()));
        link.map(|link| link.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn id(&self) -> u32 {
        self.0.id()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Waits for its end. Returns its exit code, or `None` if a signal ended it.
    fn wait(mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All that a server sends to a client.
fn answer(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_program_starts_at_its_first_client_and_serves_it() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let (tcp, dir) = (TcpListener::bind("127.0.0.1:0").unwrap(), TempDir::new().unwrap());
        let unix = UnixListener::bind(dir.child("u")).unwrap();
        let address = tcp.local_addr().unwrap();
        store(&daemon, "tcp", tcp);
        store(&daemon, "unix", unix);
        for options in [&[][..], &["-t5000"]] {
            let waiting = Waiting::start(&mut waiting(&daemon, options, &["tcp"], &SERVE));
            assert_eq!(answer(TcpStream::connect(address).unwrap()), "served");
            assert_eq!(waiting.wait(), Some(7));
        }
        let waiting = Waiting::start(&mut waiting(&daemon, &[], &["unix", "tcp"], &SERVE));
        assert_eq!(answer(UnixStream::connect(dir.child("u")).unwrap()), "served");
        assert_eq!(waiting.wait(), Some(7));
    }
}

#[test]
fn a_client_of_any_descriptor_starts_the_program() {
    let daemon = Daemon::start(Generation::Ours);
    let pipes: Vec<_> = (0..40).map(|_| std::io::pipe().unwrap()).collect();
    let ids: Vec<_> = (0..40).map(|at| format!("{at:02}")).collect();
    for ((reader, _), (id, at)) in pipes.iter().zip(ids.iter().zip(0..)) {
        let expiry = expiry_in(Duration::from_secs(3600 + at));
        wire::set_dump(&daemon.path, &[Held::new(id, expiry, reader)]).unwrap();
    }
    for (at, (_, mut writer)) in pipes.iter().map(|(r, w)| (r, w)).enumerate().take(40).step_by(13)
    {
        let script = format!("head -c4 <&{} >&2", at + 3);
        let mut command = waiting(&daemon, &["-p", ""], &[], &["bash", "-c", &script]);
        let running = Running::start(&mut command);
        writer.write_all(b"here").unwrap();
        let ended = running.wait();
        assert_eq!((ended.code, &ended.err[..]), (0, "here"));
    }
}

#[test]
fn a_hangup_starts_the_program_too() {
    let daemon = Daemon::start(Generation::Ours);
    let (reader, writer) = std::io::pipe().unwrap();
    store(&daemon, "pipe", reader);
    let waiting = Waiting::start(&mut waiting(&daemon, &[], &["pipe"], &["sh", "-c", "exit 7"]));
    drop(writer);
    assert_eq!(waiting.wait(), Some(7));
    // A file can always be read, so the tool does not wait.
    store(&daemon, "file", memfd());
    let mut command = self::waiting(&daemon, &[], &["file"], &["sh", "-c", "exit 7"]);
    assert_eq!(crate::kit::tool::run(&mut command).code, 7);
}

#[test]
fn a_waiting_process_has_no_connection_and_little_memory() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let ids: Vec<_> = (0..20).map(|at| format!("service:{at}")).collect();
        let listeners: Vec<_> =
            ids.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        for (id, (listener, at)) in ids.iter().zip(listeners.iter().zip(0..)) {
            let expiry = expiry_in(Duration::from_secs(3600 + at));
            wire::set_dump(&daemon.path, &[Held::new(id, expiry, listener)]).unwrap();
        }
        let options = ["-D", "-p", "service:"];
        let waiting = Waiting::start(&mut waiting(&daemon, &options, &[], &["true"]));
        // The standard descriptors, the listeners, and the descriptor for signals.
        assert_eq!(descriptors(waiting.id()), 3 + ids.len() + 1);
        // The pages of the program file are shared.
        let own = memory(waiting.id(), "Anonymous");
        assert!(own <= 64, "{own} KB");
        eprintln!("{own} KB of its own, {} in all", memory(waiting.id(), "Rss"));
    }
}

#[test]
fn sigterm_ends_the_wait_with_exit_0_and_nothing_is_deleted() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        store(&daemon, "a", listener);
        for signals in [&[Signal::TERM][..], &[Signal::TERM, Signal::TERM]] {
            let prog = ["sh", "-c", "echo executed >&2; exit 7"];
            let waiting = Waiting::start(&mut waiting(&daemon, &["-D"], &["a"], &prog));
            signals.iter().for_each(|signal| waiting.signal(*signal));
            assert_eq!(waiting.wait(), Some(0), "{generation:?}");
        }
        // Other signals neither end it nor start the program.
        let mut waiting = Waiting::start(&mut waiting(&daemon, &[], &["a"], &SERVE));
        for signal in [Signal::STOP, Signal::CONT, Signal::WINCH, Signal::CHILD] {
            waiting.signal(signal);
        }
        thread::sleep(Duration::from_millis(20));
        assert!(waiting.0.try_wait().unwrap().is_none());
        assert_eq!(answer(TcpStream::connect(address).unwrap()), "served");
        assert_eq!(waiting.wait(), Some(7));
        assert_eq!(wire::get_dump(&daemon.path).unwrap().len(), 1);
    }
}

/// A client that connects before the end stays in the backlog.
#[test]
fn sigterm_takes_precedence_over_a_client() {
    let daemon = Daemon::start(Generation::Ours);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    store(&daemon, "a", listener);
    let first = Waiting::start(&mut waiting(&daemon, &["-D"], &["a"], &SERVE));
    first.signal(Signal::STOP);
    let client = TcpStream::connect(address).unwrap();
    first.signal(Signal::TERM);
    first.signal(Signal::CONT);
    assert_eq!(first.wait(), Some(0));
    let second = Running::start(&mut waiting(&daemon, &["-D"], &["a"], &SERVE));
    assert_eq!(answer(client), "served");
    assert_eq!(second.wait().code, 7);
}

#[test]
fn entries_are_deleted_when_the_client_has_connected() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        store(&daemon, "a", listener);
        let waiting = Waiting::start(&mut waiting(&daemon, &["-D"], &["a"], &SERVE));
        assert_eq!(wire::get_dump(&daemon.path).unwrap().len(), 1);
        assert_eq!(answer(TcpStream::connect(address).unwrap()), "served");
        assert_eq!(waiting.wait(), Some(7));
        assert!(wire::get_dump(&daemon.path).unwrap().is_empty());
    }
}

/// The daemon has ended, so the program has the only copies of the descriptors.
#[test]
fn the_program_serves_its_client_even_if_the_daemon_has_ended() {
    for options in [&[][..], &["-D"]] {
        let daemon = Daemon::start(Generation::Ours);
        let path = daemon.path.to_str().unwrap().to_string();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        store(&daemon, "a", listener);
        let mut command = waiting(&daemon, options, &["a"], &SERVE);
        let mut waiting = Waiting::start(command.stderr(Stdio::piped()));
        drop(daemon);
        assert_eq!(answer(TcpStream::connect(address).unwrap()), "served");
        let mut messages = String::new();
        waiting.0.stderr.take().unwrap().read_to_string(&mut messages).unwrap();
        let warning = format!(
            "{NAME}: warning: unable to delete fd for id a: No such file or directory; the daemon \
             may still hold it and what comes behind it\n"
        );
        assert_eq!(messages, if options.is_empty() { "" } else { &warning }, "{path}");
        assert_eq!(waiting.wait(), Some(7));
    }
}

#[test]
fn the_program_gets_the_descriptors_that_were_retrieved_before_the_wait() {
    let daemon = Daemon::start(Generation::Ours);
    let (reader, _writer) = std::io::pipe().unwrap();
    let expected = inode(&reader);
    store(&daemon, "a", reader);
    let waiting = Waiting::start(&mut waiting(&daemon, &[], &["a"], &["true"]));
    let other = hold(["a"]);
    wire::set_dump(&daemon.path, &other).unwrap();
    let link = format!("/proc/{}/fd/3", waiting.id());
    let found = fs::metadata(link).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&found), expected.1);
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.wait(), Some(0));
}

/// A supervisor starts the tool again when the program has ended. Four clients connect repeatedly.
#[test]
fn a_thousand_starts_lose_no_client() {
    const STARTS: usize = 1000;
    const CLIENTS: usize = 4;
    let daemon = Daemon::start(Generation::Ours);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    store(&daemon, "a", listener);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            thread::spawn(move || {
                for _ in 0..STARTS / CLIENTS {
                    let stream = TcpStream::connect(address).expect("a connection");
                    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                    assert_eq!(answer(stream), "served");
                }
            })
        })
        .collect();
    for start in 0..STARTS {
        let mut command = waiting(&daemon, &[], &["a"], &SERVE);
        assert_eq!(command.status().unwrap().code(), Some(7), "start {start}");
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
}

/// Starts the tool with these options and a scripted daemon. `send` sends SIGTERM. The tool must end with exit
/// code 0 and without output.
fn assert_sigterm_ends_it(options: &[&str], fake: Fake, send: impl FnOnce(&Waiting)) {
    let mut command = tool(NAME);
    command.arg("-w").args(options).arg(&fake.path).args(["a", "--", "echo", "executed"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut waiting = Waiting(command.spawn().unwrap());
    send(&waiting);
    let (mut out, mut err) = (String::new(), String::new());
    waiting.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    waiting.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((waiting.wait(), &out[..], &err[..]), (Some(0), "", ""));
    fake.seen();
}

#[test]
fn sigterm_ends_the_tool_with_exit_0_while_it_waits_for_the_daemon() {
    let list = || Step::Send(frame(b"\0\0\0\0\x01ab\0", 0), vec![]);
    let granted = || Step::Send(frame(&[0], 1), vec![memfd()]);
    let stalled = |mut steps: Vec<Step>| {
        steps.extend([Step::Receive, Step::StopReading]);
        Fake::start(steps)
    };
    let terminate = |waiting: &Waiting| {
        wait_until(|| "it does not poll".into(), || waiting.polls());
        waiting.signal(Signal::TERM);
    };
    for more in [&[][..], &["-D"], &["-t60000"]] {
        assert_sigterm_ends_it(more, stalled(vec![]), terminate);
        let prefix = [&["-p", "a"], more].concat();
        assert_sigterm_ends_it(&prefix, stalled(vec![]), terminate);
        let fake = stalled(vec![Step::Receive, list(), Step::Receive, granted()]);
        assert_sigterm_ends_it(&prefix, fake, terminate);
        // The backlog of the daemon is full.
        let fake = Fake::with_full_backlog(Duration::from_secs(30), vec![]);
        assert_sigterm_ends_it(more, fake, terminate);
    }
}

/// The signal arrives during the start, and then the daemon answers at once.
#[test]
fn sigterm_before_the_wait_ends_the_tool_with_exit_0() {
    for _ in 0..5 {
        let (sent, signalled) = std::sync::mpsc::channel::<()>();
        let wait = Step::Do(Box::new(move || signalled.recv().unwrap()));
        let granted = Step::Send(frame(&[0], 1), vec![std::io::pipe().unwrap().0.into()]);
        let fake = Fake::start(vec![Step::Receive, wait, granted]);
        assert_sigterm_ends_it(&["-D"], fake, |waiting| {
            wait_until(|| "it does not poll".into(), || waiting.polls());
            waiting.signal(Signal::TERM);
            sent.send(()).unwrap();
        });
    }
}

/// A command that prints the blocked and the ignored signals.
const SIGNALS: [&str; 4] = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];

#[test]
fn sigterm_ends_the_wait_even_if_the_caller_ignores_it_and_the_program_still_ignores_it() {
    let daemon = Daemon::start(Generation::Ours);
    let (reader, mut writer) = std::io::pipe().unwrap();
    store(&daemon, "a", reader);
    for env in ["--ignore-signal=TERM", "--block-signal=TERM", "--ignore-signal=HUP"] {
        let mut command = Command::new("env");
        command.arg(env).arg(program()).arg(NAME).arg("-w").arg(&daemon.path);
        command.args(["a", "--", "true"]).stdin(Stdio::null());
        let waiting = Waiting::start(&mut command);
        waiting.signal(Signal::TERM);
        assert_eq!(waiting.wait(), Some(0), "{env}");
    }
    writer.write_all(b"x").unwrap();
    for env in ["--ignore-signal=TERM", "--block-signal=TERM", "--ignore-signal=HUP"] {
        let expected = crate::kit::tool::run(Command::new("env").arg(env).args(SIGNALS)).out;
        let mut command = Command::new("env");
        command.arg(env).arg(program()).arg(NAME).arg("-w").arg(&daemon.path);
        let ended = crate::kit::tool::run(command.args(["a", "--"]).args(SIGNALS));
        assert_eq!((ended.code, &ended.err[..], ended.out), (0, "", expected), "{env}");
    }
}

/// Starts a command that deletes, and waits until it waits for a client. Then `change` changes what is held,
/// and `client` connects. Returns what the command wrote to standard error.
fn after_a_change(
    daemon: &Daemon,
    ids: &[&str],
    client: impl FnOnce(),
    change: impl FnOnce(),
) -> String {
    let mut command = waiting(daemon, &["-D"], ids, &["sh", "-c", "exit 7"]);
    let mut waiting = Waiting::start(command.stderr(Stdio::piped()));
    change();
    client();
    let mut messages = String::new();
    waiting.0.stderr.take().unwrap().read_to_string(&mut messages).unwrap();
    assert_eq!(waiting.wait(), Some(7), "{messages}");
    messages
}

/// Entries may expire or be deleted during the wait.
#[test]
fn the_program_serves_its_client_even_if_the_daemon_no_longer_holds_an_entry() {
    for generation in Generation::DAEMONS {
        for gone in [&["a"][..], &["b"], &["a", "b"]] {
            let daemon = Daemon::start(generation);
            let (reader, writer) = std::io::pipe().unwrap();
            store(&daemon, "a", reader);
            store(&daemon, "b", memfd_that_waits());
            let messages = after_a_change(
                &daemon,
                &["a", "b"],
                || drop(writer),
                || {
                    let stream = UnixStream::connect(&daemon.path).unwrap();
                    gone.iter().for_each(|id| wire::delete(&stream, id.as_bytes()).unwrap());
                },
            );
            assert_eq!(messages, "", "{generation:?} {gone:?}");
            assert!(wire::get_dump(&daemon.path).unwrap().is_empty());
        }
    }
}

/// A descriptor that is never readable.
fn memfd_that_waits() -> std::os::fd::OwnedFd {
    TcpListener::bind("127.0.0.1:0").unwrap().into()
}

#[test]
fn an_entry_that_was_replaced_during_the_wait_is_not_deleted_and_causes_a_warning() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let (reader, writer) = std::io::pipe().unwrap();
        store(&daemon, "a", reader);
        store(&daemon, "b", memfd_that_waits());
        let other = hold(["a"]);
        let expected = inode(&other[0].fd);
        let replace = || {
            wire::set_dump(&daemon.path, &other).unwrap();
        };
        let messages = after_a_change(&daemon, &["a", "b"], || drop(writer), replace);
        let line =
            format!("{NAME}: warning: id a is another descriptor by now: the daemon keeps it\n");
        assert_eq!(messages, line, "{generation:?}");
        let held = wire::get_dump(&daemon.path).unwrap();
        assert_eq!(held.iter().map(|held| inode(&held.fd)).collect::<Vec<_>>(), [expected]);
        // An entry with the same file and another expiry counts as the same.
        let (reader, writer) = std::io::pipe().unwrap();
        store(&daemon, "a", &reader);
        let renew = || {
            let expiry = expiry_in(Duration::from_secs(9000));
            wire::set_dump(&daemon.path, &[Held::new("a", expiry, &reader)]).unwrap();
        };
        assert_eq!(after_a_change(&daemon, &["a"], || drop(writer), renew), "");
        assert!(wire::get_dump(&daemon.path).unwrap().is_empty());
    }
}

/// The identifiers are the longest that are possible. Only those with the prefix are in memory.
#[test]
fn a_waiting_process_needs_little_more_memory_than_its_identifiers() {
    raise_open_file_limit();
    let daemon = Daemon::start(Generation::Ours);
    let pipes: Vec<_> = (0..300).map(|_| std::io::pipe().unwrap()).collect();
    let all = pipes.iter().zip(0..).map(|((reader, _), at)| {
        let id = format!("{at:0>5}{}", "x".repeat(250));
        Held::new(&id, expiry_in(Duration::from_secs(3600 + at)), reader)
    });
    wire::set_dump(&daemon.path, &all.collect::<Vec<_>>()).unwrap();
    for (prefix, count, convention) in [
        ("", 300, "systemd"),
        ("", 300, "starter"),
        ("000", 100, "systemd"),
        ("0000", 10, "systemd"),
        ("00007", 1, "einhorn"),
    ] {
        let options = ["-D", "-e", convention, "-p", prefix];
        let waiting = Waiting::start(&mut waiting(&daemon, &options, &[], &["true"]));
        assert_eq!(descriptors(waiting.id()), 3 + count + 1);
        let (own, identifiers) = (memory(waiting.id(), "Anonymous"), count as u64 * 256 / 1024);
        assert!(own <= 64 + identifiers, "{own} KB for {identifiers} KB of identifiers");
        eprintln!("{own} KB of its own for {identifiers} KB of identifiers");
    }
}
