//! `fdholder-activate -w`: a program that is started by its first client. Until then there is a process
//! that holds no connection and hardly any memory, and no client is lost.

use crate::kit::clients::hold;
use crate::kit::daemon::{Daemon, Generation};
use crate::kit::memfd;
use crate::kit::process::{descriptors, memory, until};
use crate::kit::tool::{Running, tool};
use crate::kit::wire::{self, Held, expiry_in, inode};
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

/// A command that waits, with these options.
fn waiting(daemon: &Daemon, options: &[&str], ids: &[&str], prog: &[&str]) -> Command {
    let mut command = tool(NAME);
    command.arg("-w").args(options).arg(&daemon.path).args(ids).arg("--").args(prog);
    command.stdin(Stdio::null());
    command
}

/// Has a daemon hold this.
fn hold_this(daemon: &Daemon, id: &str, fd: impl AsFd) {
    let expiry = expiry_in(Duration::from_secs(3600 + u64::from(id.as_bytes()[0])));
    wire::set_dump(&daemon.path, &[Held::new(id, expiry, fd)]).unwrap();
}

/// A process that waits for a client.
struct Waiting(Child);

impl Waiting {
    /// Starts it, and waits until it waits: it has hung up then.
    fn start(command: &mut Command) -> Waiting {
        let waiting = Waiting(command.stdout(Stdio::null()).spawn().unwrap());
        let (id, wchan) = (waiting.id(), format!("/proc/{}/syscall", waiting.id()));
        let poll = format!("{} ", libc::SYS_ppoll);
        // It polls its descriptors only when it waits, since it waits for the daemon in other calls.
        until(
            || format!("{id} waits"),
            || fs::read_to_string(&wchan).is_ok_and(|call| call.starts_with(&poll)),
        );
        waiting
    }

    fn id(&self) -> u32 {
        self.0.id()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// How it ends: an exit code, or nothing if a signal ends it.
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

/// What a server says to a client.
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
        hold_this(&daemon, "tcp", tcp);
        hold_this(&daemon, "unix", unix);
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

/// The program finds whoever of its sockets has a client, and only then.
#[test]
fn any_of_the_descriptors_will_do() {
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
fn that_the_other_side_has_gone_starts_the_program_as_well() {
    let daemon = Daemon::start(Generation::Ours);
    let (reader, writer) = std::io::pipe().unwrap();
    hold_this(&daemon, "pipe", reader);
    let waiting = Waiting::start(&mut waiting(&daemon, &[], &["pipe"], &["sh", "-c", "exit 7"]));
    drop(writer);
    assert_eq!(waiting.wait(), Some(7));
    // What can always be read never waits.
    hold_this(&daemon, "file", memfd());
    let mut command = self::waiting(&daemon, &[], &["file"], &["sh", "-c", "exit 7"]);
    assert_eq!(crate::kit::tool::run(&mut command).code, 7);
}

#[test]
fn who_waits_holds_no_connection_and_hardly_any_memory() {
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
        // The first three, these, and where signals arrive.
        assert_eq!(descriptors(waiting.id()), 3 + ids.len() + 1);
        // The program itself is a file in memory, which all share.
        let own = memory(waiting.id(), "Anonymous");
        assert!(own <= 64, "{own} KB");
        eprintln!("{own} KB of its own, {} in all", memory(waiting.id(), "Rss"));
    }
}

#[test]
fn sigterm_ends_it_with_0_and_nothing_is_deleted() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        hold_this(&daemon, "a", listener);
        for signals in [&[Signal::TERM][..], &[Signal::TERM, Signal::TERM]] {
            let prog = ["sh", "-c", "echo executed >&2; exit 7"];
            let waiting = Waiting::start(&mut waiting(&daemon, &["-D"], &["a"], &prog));
            signals.iter().for_each(|signal| waiting.signal(*signal));
            assert_eq!(waiting.wait(), Some(0), "{generation:?}");
        }
        // What does not end it does not start anything either.
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

/// Whoever comes between the signal and the end stays in the backlog.
#[test]
fn sigterm_counts_more_than_a_client() {
    let daemon = Daemon::start(Generation::Ours);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    hold_this(&daemon, "a", listener);
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
fn what_is_deleted_is_deleted_when_the_client_has_come() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        hold_this(&daemon, "a", listener);
        let waiting = Waiting::start(&mut waiting(&daemon, &["-D"], &["a"], &SERVE));
        assert_eq!(wire::get_dump(&daemon.path).unwrap().len(), 1);
        assert_eq!(answer(TcpStream::connect(address).unwrap()), "served");
        assert_eq!(waiting.wait(), Some(7));
        assert!(wire::get_dump(&daemon.path).unwrap().is_empty());
    }
}

/// Then it has the only ones.
#[test]
fn a_daemon_that_is_gone_does_not_keep_the_program_from_its_client() {
    for options in [&[][..], &["-D"]] {
        let daemon = Daemon::start(Generation::Ours);
        let path = daemon.path.to_str().unwrap().to_string();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        hold_this(&daemon, "a", listener);
        let mut command = waiting(&daemon, options, &["a"], &SERVE);
        let mut waiting = Waiting::start(command.stderr(Stdio::piped()));
        drop(daemon);
        assert_eq!(answer(TcpStream::connect(address).unwrap()), "served");
        let mut said = String::new();
        waiting.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let warning = format!(
            "{NAME}: warning: unable to delete fd for id a: No such file or directory; the daemon \
             may still hold it and what comes behind it\n"
        );
        assert_eq!(said, if options.is_empty() { "" } else { &warning }, "{path}");
        assert_eq!(waiting.wait(), Some(7));
    }
}

/// What has taken its place under the same identifier is not deleted by mistake: all is as documented,
/// which is by the identifier.
#[test]
fn what_is_held_is_not_touched_while_it_waits() {
    let daemon = Daemon::start(Generation::Ours);
    let (reader, _writer) = std::io::pipe().unwrap();
    let due = inode(&reader);
    hold_this(&daemon, "a", reader);
    let waiting = Waiting::start(&mut waiting(&daemon, &[], &["a"], &["true"]));
    let other = hold(["a"]);
    wire::set_dump(&daemon.path, &other).unwrap();
    let link = format!("/proc/{}/fd/3", waiting.id());
    let found = fs::metadata(link).unwrap();
    assert_eq!((std::os::unix::fs::MetadataExt::ino(&found)), due.1);
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.wait(), Some(0));
}

/// A supervisor starts it again whenever the program has ended. Clients come one after the other and
/// four at a time.
#[test]
fn a_thousand_starts_at_a_client_each_lose_no_client() {
    const STARTS: usize = 1000;
    const CLIENTS: usize = 4;
    let daemon = Daemon::start(Generation::Ours);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    hold_this(&daemon, "a", listener);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            thread::spawn(move || {
                for _ in 0..STARTS / CLIENTS {
                    let stream = TcpStream::connect(address).expect("nobody is refused");
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
