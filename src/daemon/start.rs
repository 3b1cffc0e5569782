//! Starting to serve: what has to be there, and what is said if it is not.

use super::access::{Gate, Source};
use super::closing::Closing;
use super::hash::Key;
use super::log::{Cause, Log};
use super::request::Service;
use super::room::{self, Room};
use super::seats::Seats;
use super::table::Table;
use super::{Accepting, Daemon, Settings, identity};
use crate::cli::exit::Exit;
use crate::cli::output::Writer;
use crate::process::Process;
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::message::Received;
use crate::sys::signal::Signals;
use crate::sys::time::{self, Time};
use crate::sys::{Errno, process, socket};
use core::ffi::CStr;

/// Why a daemon does not start.
enum Failure {
    /// Standard input is no listening socket.
    Listener(Errno),
    /// The clock cannot be read.
    Clock(Errno),
    /// Something else cannot be done.
    Unable(&'static str, Errno),
    /// The file of rules cannot be read.
    Rules(&'static CStr, Errno),
}

impl Failure {
    /// Says it.
    fn say(self, errors: &mut Writer) -> Exit {
        let line = errors.fatal();
        match self {
            Failure::Listener(errno) => {
                // C calls it wrong usage if it is no socket at all.
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

/// What there has to be before anything is said of it.
struct Parts {
    signals: Signals,
    seats: Seats,
    table: Table,
    gate: Gate,
    now: u32,
}

/// Serves on the listening socket that is standard input, until it is told to end. `source` is where the
/// rules are, as the settings have it.
pub fn serve(process: &mut Process, settings: &Settings, source: Source) -> Exit {
    // The name that `pidof` knows the C daemon by, whichever tool was called.
    process::set_name(c"s6-fdholderd");
    let listener = process.input;
    let listens = match socket::listens(listener) {
        Ok(listens) => listens,
        Err(errno) => return Failure::Listener(errno).say(&mut process.errors),
    };
    process.open_files.raise();
    let mut log = Log::new(settings.verbosity, &mut process.errors);
    if socket::refuses_descriptors(listener) {
        // That is what clients get that send one.
        log.note(None, "standard input has SO_PASSRIGHTS off", Cause::Ours(Errno::PERM));
    }
    let first = match first_client(listener, listens) {
        Ok(first) => first,
        Err(errno) => return Failure::Listener(errno).say(&mut process.errors),
    };
    let parts = prepare(settings, source, listener, process.auxiliary.random(), &mut log);
    let Parts { signals, seats, table, mut gate, now } = match parts {
        Ok(parts) => parts,
        Err(failure) => return failure.say(&mut process.errors),
    };
    gate.look_for_directory(&mut log);
    gate.own = identity::own(&mut log);
    // Nothing is held yet.
    if let Err(errno) = process::forbid_access() {
        let what = "others of this user can take what is held";
        log.note(None, what, Cause::Ours(errno));
    }
    if settings.says_ready {
        // A reader that does not want to know any more is no reason to stop.
        let _ = process.out.byte(b'\n').flush();
    }
    // Nothing more is written there, and a shell may wait for its end, as in `x=$(daemon &)`. The
    // listener takes its place: were that free, something that comes later would get the number. Where it
    // was free the listener has it already.
    let out = process.out.descriptor();
    if socket::listens(out) != Ok(true) {
        let _ = listener.put_at(out, true);
    }
    let frame = &mut *process.frame;
    let mut daemon = Daemon {
        settings,
        listener,
        out,
        signals,
        seats,
        waiting: None,
        accepting: Accepting { is_crowded: false, is_stuck: false, is_shut: false },
        ending_since: None,
        service: Service { now, frame, received: Received::NOTHING, table, gate, log },
    };
    if let Some(fd) = first {
        daemon.admit(fd);
    }
    daemon.run();
    Exit::SUCCESS
}

/// Accepts a client, if there is one, on a socket of which the kernel does not say that it listens: so
/// that is known.
fn first_client(listener: BorrowedFd, listens: bool) -> Result<Option<Fd>, Errno> {
    if listens {
        return Ok(None);
    }
    match socket::accept(listener) {
        Err(Errno::AGAIN) => Ok(None),
        accepted => accepted,
    }
}

/// Takes all memory and all descriptors, and reads the rules.
fn prepare(
    settings: &Settings,
    source: Source,
    listener: BorrowedFd,
    random: Option<Key>,
    log: &mut Log,
) -> Result<Parts, Failure> {
    // Without a clock nothing would ever expire.
    let time = time::now().map_err(Failure::Clock)?;
    let now = time::uptime().map_err(Failure::Clock)?;
    let spare = listener.duplicate().ok();
    let Some(Room { held, clients, descriptors }) = room::fit(settings, spare.is_some(), log)
    else {
        return Err(Failure::Unable("the open-file limit is too low", Errno::MFILE));
    };
    let signals = Signals::new();
    let signals = signals.map_err(|errno| Failure::Unable("unable to wait for signals", errno))?;
    // Another connection may wait for a place.
    let clients = 1 + clients;
    let no_memory = || Failure::Unable("unable to get memory for -n and -c", Errno::NOMEM);
    let closing = Closing::new(signals.descriptor()).ok_or_else(no_memory)?;
    let key = random.unwrap_or_else(|| weak_key(time, settings));
    let table = Table::new(held, key, closing).ok_or_else(no_memory)?;
    let seats = Seats::new(clients, descriptors).ok_or_else(no_memory)?;
    let mut gate = Gate::new(clients, source).ok_or_else(no_memory)?;
    gate.spare = spare;
    gate.reload().map_err(|(path, errno)| Failure::Rules(path, errno))?;
    Ok(Parts { signals, seats, table, gate, now })
}

/// A key for hashing where the kernel has given no random bytes.
fn weak_key(time: Time, settings: &Settings) -> Key {
    let stack = core::ptr::from_ref(settings).addr() as u64;
    [time.nanoseconds as u64, time.seconds as u64 ^ stack]
}
