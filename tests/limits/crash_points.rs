//! Tools and daemons that are killed at each of their system calls. After that a source still holds all its
//! entries, a destination holds only complete entries, other daemons keep no descriptors of the killed
//! client, and a second run completes.

use crate::kit::daemon::Generation::{self, Ours, S6_2_15};
use crate::kit::daemon::Setup;
use crate::kit::fake::{files_to_hold, transfer};
use crate::kit::program;
use crate::kit::server::{DaemonDir, Server};
use crate::kit::strace::{Call, calls, common, strace_detached};
use crate::kit::tool::Ended;
use crate::kit::watched::WatchedDaemon;
use crate::kit::wire::{self, Held, Identity, identities};
use crate::limits::tool_faults::{Fixture, RUNS, is_between};
use rustix::process::Signal;
use std::process::{Command, Stdio};

/// More entries than fit into one frame.
const MANY: usize = wire::FRAME_ENTRIES + 1;

/// The exit code that stands for an end by SIGKILL.
const KILLED: i32 = 1009;

/// The runs of tools that make several changes, one after the other.
const SEVERAL_CHANGES: [&str; 3] = ["activate -D", "activate -wD", "import"];

/// Kills a tool at each of its calls.
fn kill_at_each_call(fixture: &mut Fixture, name: &str) {
    let run = RUNS.iter().find(|run| run.name == name).unwrap();
    let before = fixture.state();
    let mut usual = || {
        let is = fixture.run(run, &[]);
        assert_eq!((is.ended.code, &is.ended.err[..]), (0, ""), "{name}");
        fixture.restore();
        is
    };
    let runs = [usual(), usual(), usual()];
    let all = common(runs.each_ref().map(|is| &is.calls[..]));
    let [normal, ..] = runs;
    let mut tries = 0;
    for call in &all {
        let is = loop {
            let is = fixture.run(run, &[call.kill_injection()]);
            if is.ended.code == KILLED {
                break is;
            }
            tries += 1;
            assert!(
                is.ended.code == 0 && tries < 2 * all.len() + 50,
                "{name} {}: {:?}",
                call.line,
                is.ended
            );
            fixture.restore();
        };
        assert_eq!(is.ended.err, "", "{name}: {}", call.line);
        assert!(is_between(&is.state, &before, &normal.state), "{name}: {}", call.line);
        let again = fixture.run(run, &[]);
        match again.ended.code {
            0 => assert!(again.state == normal.state, "{name}: {}", call.line),
            // The killed run had done all of it, or some of several requests.
            code => {
                let is_done = is.state == normal.state || SEVERAL_CHANGES.contains(&name);
                assert!(code == 1 && is_done, "{name}: {:?}", again.ended);
            }
        }
        fixture.restore();
    }
    eprintln!("{name}: {} kills, {tries} not reached", all.len());
}

/// Kills transfers between two daemons of this generation.
fn kill_transfers(generation: Generation) {
    let mut fixture = Fixture::new(generation, MANY);
    kill_at_each_call(&mut fixture, "transferdump");
    kill_at_each_call(&mut fixture, "transferdump -t");
}

#[test]
fn a_killed_transfer_can_be_repeated() {
    kill_transfers(Ours);
}

#[test]
fn a_killed_transfer_between_c_daemons_can_be_repeated() {
    kill_transfers(S6_2_15);
}

#[test]
fn a_killed_client_has_done_its_request_completely_or_not_at_all() {
    let mut fixture = Fixture::new(Ours, 3);
    for name in ["store", "retrieve", "retrieve -D", "delete", "list", "getdump", "setdump"] {
        kill_at_each_call(&mut fixture, name);
    }
    kill_at_each_call(&mut fixture, "--install");
}

#[test]
fn a_killed_listen_or_adopt_can_be_repeated() {
    let mut fixture = Fixture::new(Ours, 3);
    for name in ["listen", "listen stale", "listen held", "adopt", "adopt -n"] {
        kill_at_each_call(&mut fixture, name);
    }
}

#[test]
fn a_killed_activate_or_import_loses_no_descriptor() {
    let mut fixture = Fixture::new(Ours, 3);
    let names = [
        "activate",
        "activate -p",
        "activate -e",
        "activate -D",
        "activate -wD",
        "import",
        "import -r",
    ];
    for name in names {
        kill_at_each_call(&mut fixture, name);
    }
}

/// The daemon of a transfer that is killed.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Side {
    Source,
    Destination,
}
use Side::{Destination, Source};

/// A daemon that is killed, the entries of the source, and the other daemon, which survives.
struct Pair {
    killed: Side,
    daemon_dir: DaemonDir,
    all: Vec<Held>,
    survivor: WatchedDaemon,
}

impl Pair {
    fn new(killed: Side) -> Pair {
        let daemon_dir = DaemonDir::open();
        daemon_dir.compile(S6_2_15, &daemon_dir.child("file"));
        let all = files_to_hold(MANY, 20);
        let mine = if killed == Source { Vec::new() } else { files_to_hold(MANY, 20) };
        let setup = Setup { maxfds: MANY, ..Setup::default() };
        Pair { killed, daemon_dir, all, survivor: WatchedDaemon::start(Ours, setup, mine) }
    }

    /// Starts the daemon, fills it if it is the source, makes the transfer, and ends the daemon. Returns its
    /// exit code, how the transfer ended, and what the daemon held in the end.
    fn run(&self, mut command: Command) -> (i32, Ended, Vec<Identity>) {
        command.args(["s6-fdholder-daemon", "-1", "-x"]).arg(self.daemon_dir.child("file"));
        command.arg(self.daemon_dir.socket()).stdin(Stdio::null());
        let server = Server::attempt(self.daemon_dir.clone(), &mut command);
        let (mine, other) = (self.daemon_dir.socket(), self.survivor.path());
        let ended = match self.killed {
            Source => {
                // The daemon may have been killed already.
                let _ = wire::set_dump(&mine, &self.all);
                transfer(&[], &mine, other)
            }
            Destination => transfer(&[], other, &mine),
        };
        let held = wire::get_dump(&mine).unwrap_or_default();
        server.signal(Signal::TERM);
        (server.end().0, ended, identities(&held))
    }

    /// What the surviving daemon holds.
    fn held_by_survivor(&self) -> Vec<Identity> {
        identities(&wire::get_dump(self.survivor.path()).unwrap())
    }

    /// Kills the daemon at this call. Returns false if it has not reached the call.
    fn kill(&mut self, call: &Call) -> bool {
        let trace = self.daemon_dir.child("trace");
        let (code, ended, _) = self.run(strace_detached(&trace, &[call.kill_injection()]));
        let (expected, is_dead) = (identities(&self.all), code == KILLED);
        assert!(is_dead || code == 0, "exit {code}");
        let what = if self.killed == Source {
            "get dump from the source"
        } else {
            "set dump in the destination"
        };
        let failed = if self.killed == Source { 1 } else { 2 };
        let lines = ["connect to a ", what]
            .map(|what| format!("s6-fdholder-transferdump: fatal: unable to {what}"));
        let is_named = match ended.code {
            0 => ended.err.is_empty(),
            111 => ended.err.starts_with(&lines[0]),
            code => code == failed && ended.err.starts_with(&lines[1]),
        };
        let is_line = ended.err.lines().count() <= 1;
        assert!(is_named && is_line, "{:?} {}: {ended:?}", self.killed, call.line);
        if self.killed == Source {
            // The tool checks the whole dump before it connects to the destination.
            let arrived = self.held_by_survivor();
            let right = if ended.code == 0 { arrived == expected } else { arrived.is_empty() };
            assert!(right, "{}: {} have arrived", call.line, arrived.len());
        }
        self.survivor.check_unchanged();
        // A new daemon can replace it at its path.
        let (code, ended, held) = self.run(Command::new(program()));
        assert_eq!((code, ended.code, &ended.err[..]), (0, 0, ""), "{}", call.line);
        let right = held == self.held_by_survivor() && held.len() == MANY;
        assert!(right, "{:?} {}: {} are held", self.killed, call.line, held.len());
        self.survivor.check_unchanged();
        is_dead
    }
}

fn kill_daemon_at_each_call(killed: Side) {
    let mut pair = Pair::new(killed);
    let trace = pair.daemon_dir.child("trace");
    let runs = [(); 3].map(|()| {
        let (code, ended, _) = pair.run(strace_detached(&trace, &[]));
        assert_eq!((code, ended.code, &ended.err[..]), (0, 0, ""));
        pair.survivor.check_unchanged();
        calls(&trace)
    });
    let (all, mut tries) = (common(runs.each_ref().map(|calls| &calls[..])), 0);
    for call in &all {
        while !pair.kill(call) {
            tries += 1;
            assert!(tries < 2 * all.len() + 50, "{} cannot be reached", call.line);
        }
    }
    eprintln!("{killed:?}: {} kills, {tries} not reached", all.len());
}

#[test]
fn a_source_killed_during_a_transfer_leaves_the_destination_with_all_entries_or_none() {
    kill_daemon_at_each_call(Source);
}

#[test]
fn a_destination_killed_during_a_transfer_costs_the_source_nothing() {
    kill_daemon_at_each_call(Destination);
}
