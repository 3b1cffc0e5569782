//! Starting the daemon, and what it reports if it cannot start.

use super::access::{Gate, Source};
use super::capacity::{self, Capacity};
use super::clients::Clients;
use super::closing::Closing;
use super::hash::Key;
use super::log::{Cause, Log};
use super::request::Service;
use super::table::Table;
use super::{Accepting, Daemon, Settings, identity};
use crate::cli::exit::Exit;
use crate::cli::output::Writer;
use crate::process::Process;
use crate::protocol::frame::Frame;
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::message::Received;
use crate::sys::signal::Signals;
use crate::sys::time::{self, Time};
use crate::sys::{Errno, process, socket};
use core::ffi::CStr;

/// Why the daemon does not start.
enum Failure {
    /// Standard input is no listening socket.
    Listener(Errno),
    /// The clock cannot be read.
    Clock(Errno),
    /// A step failed; the text names it.
    Unable(&'static str, Errno),
    /// The database of rules cannot be read.
    Rules(&'static CStr, Errno),
}

impl Failure {
    /// Prints the message and returns the exit code.
    fn report(self, errors: &mut Writer) -> Exit {
        let line = errors.fatal();
        match self {
            Failure::Listener(errno) => {
                // The C daemon calls it wrong usage if it is no socket.
                let exit = if errno == Errno::NOTSOCK { Exit::USAGE } else { Exit::SYSTEM };
                line.text("standard input is not a listening socket").reason(errno).end(exit)
            }
            Failure::Clock(errno) => {
                line.text("unable to read the clock").reason(errno).end(Exit::SYSTEM)
            }
            Failure::Unable(what, errno) => line.text(what).reason(errno).end(Exit::SYSTEM),
            Failure::Rules(path, errno) => {
                line.text("unable to read rules from ").quoted(path.to_bytes());
                line.reason(errno).end(Exit::SYSTEM)
            }
        }
    }
}

/// Serves on the listening socket that is standard input, until SIGTERM. `source` is that of the
/// settings.
pub fn serve(process: &mut Process, settings: &Settings, source: Source) -> Exit {
    match begin(process, settings, source) {
        Ok(()) => Exit::SUCCESS,
        Err(failure) => failure.report(&mut process.errors),
    }
}

/// Starts the daemon and runs it.
fn begin(process: &mut Process, settings: &Settings, source: Source) -> Result<(), Failure> {
    // The name of the C daemon, for `pidof`, whichever tool was called.
    process::set_name(c"s6-fdholderd");
    let listener = process.input;
    let listens = socket::listens(listener).map_err(Failure::Listener)?;
    process.open_files.raise();
    let mut log = Log::new(settings.verbosity, &mut process.errors);
    if socket::refuses_descriptors(listener) {
        // A client that sends a descriptor gets this error.
        log.note(None, "standard input has SO_PASSRIGHTS off", Cause::Ours(Errno::PERM));
    }
    let first = first_client(listener, listens).map_err(Failure::Listener)?;
    let out = process.out.descriptor();
    let random = process.auxiliary.random();
    let mut daemon = prepare(settings, source, [listener, out], random, process.frame, log)?;
    let Service { gate, log, .. } = &mut daemon.service;
    gate.look_for_directory(log);
    gate.own = identity::own(log);
    // Nothing is held yet.
    if let Err(errno) = process::forbid_access() {
        let what = "others of this user can take what is held";
        log.note(None, what, Cause::Ours(errno));
    }
    if settings.says_ready {
        // A reader that has gone is no reason to stop.
        let _ = process.out.byte(b'\n').flush();
    }
    // Nothing more is written to standard output, and a shell may wait for its end, as in `x=$(daemon
    // &)`. The listener takes its place, so that no later descriptor gets the number. If standard
    // output was closed, the listener already has it.
    if socket::listens(out) != Ok(true) {
        let _ = listener.put_at(out, true);
    }
    if let Some(fd) = first {
        daemon.admit(fd);
    }
    daemon.run();
    Ok(())
}

/// Accepts a client on a socket of which the kernel does not tell that it listens: `accept` tells.
fn first_client(listener: BorrowedFd, listens: bool) -> Result<Option<Fd>, Errno> {
    if listens {
        return Ok(None);
    }
    match socket::accept(listener) {
        Err(Errno::AGAIN) => Ok(None),
        accepted => accepted,
    }
}

/// Takes all memory and all descriptors, and reads the rules. `out` is the descriptor that becomes the
/// listener's later.
fn prepare<'p>(
    settings: &'p Settings,
    source: Source,
    [listener, out]: [BorrowedFd<'static>; 2],
    random: Option<Key>,
    frame: &'p mut Frame,
    mut log: Log<'p>,
) -> Result<Daemon<'p>, Failure> {
    // Without a clock nothing would expire.
    let time = time::now().map_err(Failure::Clock)?;
    let now = time::uptime().map_err(Failure::Clock)?;
    let spare = listener.duplicate().ok();
    let Some(Capacity { held, clients, descriptors }) =
        capacity::fit(settings, spare.is_some(), &mut log)
    else {
        return Err(Failure::Unable("the open-file limit is too low", Errno::MFILE));
    };
    let signals = Signals::of_a_daemon();
    let signals = signals.map_err(|errno| Failure::Unable("unable to wait for signals", errno))?;
    // One more, for a connection that waits for a place.
    let clients = 1 + clients;
    let closing = Closing::new(signals.descriptor());
    let key = random.unwrap_or_else(|| weak_key(time, settings));
    let mut daemon = Daemon {
        settings,
        listener,
        out,
        signals,
        clients: Clients::new(clients, descriptors),
        waiting: None,
        accepting: Accepting { has_rejected: false, must_retry: false, is_shut: false },
        ending_since: None,
        service: Service {
            now,
            date: None,
            frame,
            received: Received::NOTHING,
            table: Table::new(held, key, closing),
            gate: Gate::new(clients, source, spare),
            log,
        },
    };
    let Service { table, gate, .. } = &mut daemon.service;
    if !(daemon.clients.has_memory() && table.has_memory() && gate.has_memory()) {
        return Err(Failure::Unable("unable to get memory for -n and -c", Errno::NOMEM));
    }
    gate.reload().map_err(|(path, errno)| Failure::Rules(path, errno))?;
    Ok(daemon)
}

/// A key for hashing, if the kernel has provided no random bytes.
fn weak_key(time: Time, settings: &Settings) -> Key {
    let stack = core::ptr::from_ref(settings).addr() as u64;
    [time.nanoseconds as u64, time.seconds as u64 ^ stack]
}
