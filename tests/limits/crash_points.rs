//! Tools and daemons that are killed between any two calls that they make of the kernel. A source
//! still holds everything then, a destination whole entries only, no other daemon has anything left
//! over, and what is begun again completes.

use crate::daemon::hostile_clients::Siege;
use crate::kit::daemon::Generation::{self, Ours, S6_2_15};
use crate::kit::daemon::Setup;
use crate::kit::fake::{things, transfer};
use crate::kit::program;
use crate::kit::server::{Place, Server};
use crate::kit::strace::{Call, calls, common, strace_aside};
use crate::kit::tool::Ended;
use crate::kit::wire::{self, Held, Identity, identities};
use crate::limits::tool_faults::{RUNS, World, is_between};
use rustix::process::Signal;
use std::process::{Command, Stdio};

/// More than one frame has.
const MANY: usize = wire::FRAME_ENTRIES + 1;

/// What an exit code is if that signal ended the process.
const KILLED: i32 = 1009;

/// The tools that make several changes, one after the other.
const SEVERAL: [&str; 3] = ["activate -D", "activate -wD", "import"];

/// Kills a tool on its way into each of its calls.
fn dies_between_any_two_calls(world: &mut World, name: &str) {
    let run = RUNS.iter().find(|run| run.name == name).unwrap();
    let before = world.state();
    let mut usual = || {
        let is = world.run(run, &[]);
        assert_eq!((is.ended.code, &is.ended.err[..]), (0, ""), "{name}");
        world.restore();
        is
    };
    let runs = [usual(), usual(), usual()];
    let all = common(runs.each_ref().map(|is| &is.calls[..]));
    let [normal, ..] = runs;
    let mut tries = 0;
    for call in &all {
        let is = loop {
            let is = world.run(run, &[call.deadly()]);
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
            world.restore();
        };
        assert_eq!(is.ended.err, "", "{name}: {}", call.line);
        assert!(is_between(&is.state, &before, &normal.state), "{name}: {}", call.line);
        let again = world.run(run, &[]);
        match again.ended.code {
            0 => assert!(again.state == normal.state, "{name}: {}", call.line),
            // It had been done by then, or a part of what are several requests.
            code => {
                let is_done = is.state == normal.state || SEVERAL.contains(&name);
                assert!(code == 1 && is_done, "{name}: {:?}", again.ended);
            }
        }
        world.restore();
    }
    eprintln!("{name}: {} kills, {tries} not reached", all.len());
}

/// The source is one of the daemons that [`World::restore`] looks after.
fn a_transfer_dies(generation: Generation) {
    let mut world = World::new(generation, MANY);
    dies_between_any_two_calls(&mut world, "transferdump");
    dies_between_any_two_calls(&mut world, "transferdump -t");
}

#[test]
fn a_transfer_that_is_killed_can_be_made_again() {
    a_transfer_dies(Ours);
}

#[test]
fn a_transfer_between_daemons_of_c_that_is_killed_can_be_made_again() {
    a_transfer_dies(S6_2_15);
}

#[test]
fn clients_that_are_killed_leave_all_or_nothing() {
    let mut world = World::new(Ours, 3);
    for name in ["store", "retrieve", "retrieve -D", "delete", "list", "getdump", "setdump"] {
        dies_between_any_two_calls(&mut world, name);
    }
    dies_between_any_two_calls(&mut world, "--install");
}

#[test]
fn what_is_killed_while_it_makes_a_socket_or_adopts_some_can_be_begun_again() {
    let mut world = World::new(Ours, 3);
    for name in ["listen", "listen stale", "listen held", "adopt", "adopt -n"] {
        dies_between_any_two_calls(&mut world, name);
    }
}

#[test]
fn socket_activation_that_is_killed_leaves_each_descriptor_or_none() {
    let mut world = World::new(Ours, 3);
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
        dies_between_any_two_calls(&mut world, name);
    }
}

/// Which of the two daemons of a transfer is killed.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Victim {
    Source,
    Destination,
}
use Victim::{Destination, Source};

/// A daemon that is to be killed, what it is about, and one that lives.
struct Pair {
    victim: Victim,
    place: Place,
    all: Vec<Held>,
    survivor: Siege,
}

impl Pair {
    fn new(victim: Victim) -> Pair {
        let place = Place::open();
        place.compile(S6_2_15, &place.child("file"));
        let all = things(MANY, 20);
        let mine = if victim == Source { Vec::new() } else { things(MANY, 20) };
        let setup = Setup { maxfds: MANY, ..Setup::default() };
        Pair { victim, place, all, survivor: Siege::of(Ours, setup, mine) }
    }

    /// Starts the daemon, fills it if it is the source, makes the transfer and ends it: its exit code,
    /// how the transfer ended, and what the daemon has held in the end.
    fn run(&self, mut command: Command) -> (i32, Ended, Vec<Identity>) {
        command.args(["s6-fdholder-daemon", "-1", "-x"]).arg(self.place.child("file"));
        command.arg(self.place.socket()).stdin(Stdio::null());
        let server = Server::attempt(self.place.clone(), &mut command);
        let (mine, other) = (self.place.socket(), self.survivor.path());
        let ended = match self.victim {
            Source => {
                // It may be dead by now.
                let _ = wire::set_dump(&mine, &self.all);
                transfer(&[], &mine, other)
            }
            Destination => transfer(&[], other, &mine),
        };
        let held = wire::get_dump(&mine).unwrap_or_default();
        server.signal(Signal::TERM);
        (server.end().0, ended, identities(&held))
    }

    /// What the one holds that lives.
    fn rest(&self) -> Vec<Identity> {
        identities(&wire::get_dump(self.survivor.path()).unwrap())
    }

    /// Kills the daemon on its way into that call; false if it has not come to that.
    fn kill(&mut self, call: &Call) -> bool {
        let trace = self.place.child("trace");
        let (code, ended, _) = self.run(strace_aside(&trace, &[call.deadly()]));
        let (due, is_dead) = (identities(&self.all), code == KILLED);
        assert!(is_dead || code == 0, "exit {code}");
        let what = if self.victim == Source {
            "get dump from the source"
        } else {
            "set dump in the destination"
        };
        let side = if self.victim == Source { 1 } else { 2 };
        let lines = ["connect to a ", what]
            .map(|what| format!("s6-fdholder-transferdump: fatal: unable to {what}"));
        let is_named = match ended.code {
            0 => ended.err.is_empty(),
            111 => ended.err.starts_with(&lines[0]),
            code => code == side && ended.err.starts_with(&lines[1]),
        };
        let is_line = ended.err.lines().count() <= 1;
        assert!(is_named && is_line, "{:?} {}: {ended:?}", self.victim, call.line);
        if self.victim == Source {
            // It was checked whole before the destination heard of it.
            let arrived = self.rest();
            let right = if ended.code == 0 { arrived == due } else { arrived.is_empty() };
            assert!(right, "{}: {} have arrived", call.line, arrived.len());
        }
        self.survivor.over();
        // Whatever it has left at its path, another can take its place.
        let (code, ended, held) = self.run(Command::new(program()));
        assert_eq!((code, ended.code, &ended.err[..]), (0, 0, ""), "{}", call.line);
        let right = held == self.rest() && held.len() == MANY;
        assert!(right, "{:?} {}: {} are held", self.victim, call.line, held.len());
        self.survivor.over();
        is_dead
    }
}

fn a_daemon_dies(victim: Victim) {
    let mut pair = Pair::new(victim);
    let trace = pair.place.child("trace");
    let runs = [(); 3].map(|()| {
        let (code, ended, _) = pair.run(strace_aside(&trace, &[]));
        assert_eq!((code, ended.code, &ended.err[..]), (0, 0, ""));
        pair.survivor.over();
        calls(&trace)
    });
    let (all, mut tries) = (common(runs.each_ref().map(|calls| &calls[..])), 0);
    for call in &all {
        while !pair.kill(call) {
            tries += 1;
            assert!(tries < 2 * all.len() + 50, "{} cannot be reached", call.line);
        }
    }
    eprintln!("{victim:?}: {} kills, {tries} not reached", all.len());
}

#[test]
fn a_source_that_is_killed_during_a_transfer_gives_all_or_nothing() {
    a_daemon_dies(Source);
}

#[test]
fn a_destination_that_is_killed_during_a_transfer_costs_the_source_nothing() {
    a_daemon_dies(Destination);
}
