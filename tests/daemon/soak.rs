//! Endurance: clients make random requests and are killed at random moments. Some of them are tools. The
//! answers are compared with a model of what the daemon holds.
//!
//! Each worker has identifiers of its own, and knows the possible states of each. Usually that is one state:
//! a descriptor or none. If a client is killed during a request, the states before and after the request are
//! both possible, until an answer shows which is true. Some entries expire, never early and only a little
//! late.
//!
//! `FDHOLDER_SOAK_SECONDS` is the duration in seconds, 20 by default.

use crate::kit::daemon::Generation::{self, Ours, S6_2_15};
use crate::kit::daemon::Setup;
use crate::kit::memfd;
use crate::kit::server::connect;
use crate::kit::tool::{Ended, run, tool};
use crate::kit::watched::WatchedDaemon;
use crate::kit::wire::{
    self, AGAIN, delete_request, entry, frame, inode, label, retrieve_request, set_dump_request,
    store_request,
};
use rustix::io::{read, retry_on_intr};
use std::collections::{HashSet, VecDeque};
use std::io::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The number of workers, and of the identifiers of each.
const WORKERS: usize = 6;
const IDENTIFIERS: usize = 24;

/// How long after its expiry an entry may still be served: the daemon reads the clock once for all requests
/// that have arrived.
const LATE: Duration = Duration::from_millis(50);

const NOT_FOUND: i32 = 2;
const BUSY: i32 = 16;

/// A xorshift generator. The same seed gives the same numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The high bits are more random.
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit as u64) as usize
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// An entry that may be held.
#[derive(Clone, PartialEq, Debug)]
struct Stored {
    file: (u64, u64),
    /// Its label, unless a tool has set it.
    expiry: Option<[u8; 12]>,
    /// When it expires at the earliest and at the latest. `None` if it does not expire during the test.
    expires: Option<(SystemTime, SystemTime)>,
}

/// What an answer shows of an identifier.
#[derive(Clone, Copy, Debug)]
enum Observation {
    Absent,
    Present,
    Found((u64, u64), Option<[u8; 12]>),
}

/// An identifier and its possible states.
#[derive(Clone)]
struct Slot {
    id: Vec<u8>,
    states: Vec<Option<Stored>>,
}

impl Slot {
    /// The states that are possible after this observation between these two moments.
    fn after(
        &self,
        seen: Observation,
        asked: SystemTime,
        answered: SystemTime,
    ) -> Vec<Option<Stored>> {
        let fits = |state: &Option<Stored>| {
            let Some(stored) = state else {
                return matches!(seen, Observation::Absent).then_some(None);
            };
            let may_be_absent = stored.expires.is_some_and(|(earliest, _)| answered >= earliest);
            let may_be_present = stored.expires.is_none_or(|(_, latest)| asked < latest + LATE);
            match seen {
                Observation::Absent => may_be_absent.then_some(None),
                Observation::Present => may_be_present.then(|| state.clone()),
                Observation::Found(file, expiry) => {
                    let same = file == stored.file
                        && (stored.expiry.is_none() || expiry.is_none() || stored.expiry == expiry);
                    let stored = Stored { expiry: stored.expiry.or(expiry), ..stored.clone() };
                    (may_be_present && same).then_some(Some(stored))
                }
            }
        };
        self.states.iter().filter_map(fits).collect()
    }
}

/// When a client is killed.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Killed {
    /// When it has sent this many bytes of its request.
    Sending(usize),
    /// When it has read at most this many bytes of the reply.
    Reading(usize),
}

/// Dumps that were requested and not read yet.
struct Unread {
    stream: UnixStream,
    dumps: usize,
    /// The possible states at the time of the request.
    slots: Vec<Slot>,
    asked: SystemTime,
    answered: SystemTime,
}

struct Worker {
    random: Random,
    path: PathBuf,
    /// The socket of the daemon that is the destination of transfers.
    destination: PathBuf,
    /// Whether the worker also does what the C daemon does not survive: incomplete requests with
    /// descriptors, expiries under load, and dumps of entries that are deleted before they are read.
    everything: bool,
    stream: Option<UnixStream>,
    slots: Vec<Slot>,
    /// All files that were ever stored under each identifier.
    past: HashSet<(usize, (u64, u64))>,
    unread: Option<Unread>,
    /// The last steps, which are printed if the test fails.
    history: VecDeque<String>,
    operations: usize,
}

impl Worker {
    fn new(
        number: usize,
        seed: u64,
        watched: &WatchedDaemon,
        destination: &Path,
        everything: bool,
    ) -> Worker {
        let mut random = Random(seed.wrapping_add(number as u64 + 1).wrapping_mul(0x9E37_79B9) | 1);
        // Similar seeds have similar first numbers.
        (0..20).for_each(|_| _ = random.below(2));
        let mut slot = |at: usize| {
            let length = [5, 30, 240][at % 3] + random.below(10);
            let id = format!("{number}-{at}-{:x<length$}", "");
            Slot { id: id.into_bytes(), states: vec![None] }
        };
        let slots = (0..IDENTIFIERS).map(&mut slot).collect();
        Worker {
            random,
            path: watched.path().to_owned(),
            destination: destination.to_owned(),
            everything,
            stream: None,
            slots,
            past: HashSet::new(),
            unread: None,
            history: VecDeque::new(),
            operations: 0,
        }
    }

    fn note(&mut self, text: String) {
        self.history.push_back(text);
        if self.history.len() > 40 {
            self.history.pop_front();
        }
    }

    fn fail(&self, what: &str) -> ! {
        for line in &self.history {
            eprintln!("{line}");
        }
        panic!("{what}");
    }

    /// Updates the possible states after an observation between `asked` and now.
    fn observe(&mut self, at: usize, seen: Observation, asked: SystemTime) {
        let now = SystemTime::now();
        let slot = &self.slots[at];
        let states = slot.after(seen, asked, now);
        if states.is_empty() {
            let states = &slot.states;
            self.fail(&format!(
                "slot {at} between {asked:?} and {now:?}: {seen:?}, not {states:?}"
            ));
        }
        self.note(format!("  slot {at}: {seen:?}"));
        self.slots[at].states = states;
    }

    /// Adds the state after a request. With `certainly`, the request has been done, so that no other state
    /// is possible. Otherwise the client was killed, and the request may have been done.
    fn add_state(&mut self, at: usize, state: Option<Stored>, certainly: bool) {
        if let Some(stored) = &state {
            self.past.insert((at, stored.file));
        }
        let states = &mut self.slots[at].states;
        if certainly {
            states.clear();
        }
        if !states.contains(&state) {
            states.push(state);
        }
    }

    /// A connection: a new one, or the one of the previous request.
    fn stream(&mut self) -> UnixStream {
        let old = self.stream.take();
        old.filter(|_| self.random.percent(70)).unwrap_or_else(|| connect(&self.path))
    }

    /// The expiry of a new entry: its label and the moment.
    fn expiry(&mut self) -> ([u8; 12], Option<(SystemTime, SystemTime)>) {
        if !self.everything || self.random.percent(70) {
            return match self.random.percent(50) {
                true => (wire::never(), None),
                false => (wire::expiry_in(Duration::from_secs(3600)), None),
            };
        }
        let then = SystemTime::now() + Duration::from_millis(self.random.below(700) as u64);
        // Some have expired when they arrive.
        let then = then - Duration::from_millis(50);
        let time = then.duration_since(UNIX_EPOCH).unwrap();
        (label((1 << 62) + 37 + time.as_secs(), time.subsec_nanos()), Some((then, then)))
    }

    /// A new file to store, and its entry.
    fn new_entry(&mut self) -> (OwnedFd, Stored) {
        let (file, (expiry, expires)) = (memfd(), self.expiry());
        let stored = Stored { file: inode(&file), expiry: Some(expiry), expires };
        (file, stored)
    }

    /// Waits until the daemon has handled all requests of clients that are gone. It serves all clients in
    /// turn, so requests that arrived before are handled before the second request of this client.
    fn wait_for_earlier_requests(&self) {
        let stream = connect(&self.path);
        for _ in 0..3 {
            wire::list(&stream).unwrap();
        }
    }

    /// Sends a request as a client that is killed. Returns whether the whole request was sent.
    fn be_killed(&mut self, stream: UnixStream, payload: &[u8], fds: &[BorrowedFd]) -> bool {
        let bytes = frame(payload, fds.len() as u16);
        let may_be_incomplete = fds.is_empty() || self.everything;
        let how = match may_be_incomplete && self.random.percent(50) {
            true => Killed::Sending(self.random.below(bytes.len())),
            false => Killed::Reading(self.random.below(40)),
        };
        self.note(format!("  killed: {how:?}"));
        match how {
            Killed::Sending(0) => {}
            Killed::Sending(length) => wire::send(&stream, &bytes[..length], fds).unwrap(),
            Killed::Reading(length) => {
                wire::send(&stream, &bytes, fds).unwrap();
                if length > 0 {
                    // A part of the reply may have arrived.
                    let mut reply = vec![0; length];
                    let read = retry_on_intr(|| read(&stream, &mut reply[..])).unwrap();
                    assert!(read > 0, "the daemon has disconnected");
                }
            }
        }
        drop(stream);
        self.wait_for_earlier_requests();
        matches!(how, Killed::Reading(_))
    }

    /// Sends a request and receives the status, or is killed.
    fn ask(&mut self, payload: &[u8], fds: &[BorrowedFd]) -> Answer {
        let stream = self.stream();
        if self.random.percent(15) {
            return match self.be_killed(stream, payload, fds) {
                true => Answer::Unknown,
                false => Answer::NotSent,
            };
        }
        wire::send_frame(&stream, payload, fds).unwrap();
        let result = wire::answer(&stream);
        self.stream = Some(stream);
        Answer::of(result.map(|(_, mut fds)| fds.pop()))
    }

    fn store(&mut self, at: usize) {
        let (file, stored) = self.new_entry();
        let (id, asked) = (self.slots[at].id.clone(), SystemTime::now());
        self.note(format!("store {at} {stored:?}"));
        let request = store_request(&id, stored.expiry.unwrap());
        match self.ask(&request, &[file.as_fd()]) {
            Answer::Yes(_) => {
                self.observe(at, Observation::Absent, asked);
                self.add_state(at, Some(stored), true);
            }
            Answer::No(BUSY) => self.observe(at, Observation::Present, asked),
            Answer::No(status) => self.fail(&format!("store: {status}")),
            Answer::Unknown => self.may_be_stored(at, stored, asked),
            Answer::NotSent => {}
        }
    }

    /// Updates the possible states if a client that stores an entry was killed.
    fn may_be_stored(&mut self, at: usize, stored: Stored, asked: SystemTime) {
        if !self.slots[at].after(Observation::Absent, asked, SystemTime::now()).is_empty() {
            self.add_state(at, Some(stored), false);
        }
    }

    fn delete(&mut self, at: usize) {
        let (request, asked) = (delete_request(&self.slots[at].id), SystemTime::now());
        self.note(format!("delete {at}"));
        match self.ask(&request, &[]) {
            Answer::Yes(_) => {
                self.observe(at, Observation::Present, asked);
                self.add_state(at, None, true);
            }
            Answer::No(NOT_FOUND) => self.observe(at, Observation::Absent, asked),
            Answer::No(status) => self.fail(&format!("delete: {status}")),
            Answer::Unknown => self.add_state(at, None, false),
            Answer::NotSent => {}
        }
    }

    fn retrieve(&mut self, at: usize, flag: u8) {
        let (request, asked) = (retrieve_request(&self.slots[at].id, flag), SystemTime::now());
        self.note(format!("retrieve {at} {flag}"));
        match self.ask(&request, &[]) {
            Answer::Yes(fd) => {
                self.observe(at, Observation::Found(inode(fd.expect("a descriptor")), None), asked);
                if flag == 1 {
                    self.add_state(at, None, true);
                }
            }
            Answer::No(NOT_FOUND) => self.observe(at, Observation::Absent, asked),
            Answer::No(status) => self.fail(&format!("retrieve: {status}")),
            Answer::Unknown if flag == 1 => self.add_state(at, None, false),
            Answer::Unknown | Answer::NotSent => {}
        }
    }

    fn list(&mut self) {
        self.note(String::from("list"));
        let stream = self.stream();
        if self.random.percent(15) {
            self.be_killed(stream, b"L", &[]);
            return;
        }
        let asked = SystemTime::now();
        let list = wire::list(&stream).unwrap();
        self.stream = Some(stream);
        self.see_list(&list, asked);
    }

    fn see_list(&mut self, list: &[Vec<u8>], asked: SystemTime) {
        let listed: HashSet<_> = list.iter().collect();
        assert_eq!(listed.len(), list.len(), "an identifier twice");
        for at in 0..self.slots.len() {
            let is_listed = listed.contains(&self.slots[at].id);
            self.observe(
                at,
                if is_listed { Observation::Present } else { Observation::Absent },
                asked,
            );
        }
    }

    fn get_dump(&mut self) {
        self.note(String::from("get dump"));
        let stream = self.stream();
        if self.random.percent(15) {
            self.be_killed(stream, b"?", &[]);
            return;
        }
        let (asked, mut dump) = (SystemTime::now(), Vec::new());
        wire::send_frame(&stream, b"?", &[]).unwrap();
        wire::read_dump(&stream, |held| dump.push(held.identity())).unwrap();
        self.stream = Some(stream);
        self.see_dump(&dump, asked);
    }

    fn see_dump(&mut self, dump: &[wire::Identity], asked: SystemTime) {
        for at in 0..self.slots.len() {
            let seen = observation_in(dump, &self.slots[at].id);
            self.observe(at, seen, asked);
        }
    }

    /// Requests dumps and does not read them for a while.
    fn ask_for_dumps(&mut self) {
        self.note(String::from("ask for dumps"));
        let (stream, asked) = (connect(&self.path), SystemTime::now());
        let dumps = 1 + self.random.below(2);
        wire::send(&stream, &frame(b"?", 0).repeat(dumps), &[]).unwrap();
        self.wait_for_earlier_requests();
        let (slots, answered) = (self.slots.clone(), SystemTime::now());
        self.unread = Some(Unread { stream, dumps, slots, asked, answered });
    }

    /// Reads dumps that were requested before. The first one contains what was held at the request. The
    /// others may be newer.
    fn read_dumps(&mut self, unread: Unread) {
        self.note(String::from("read dumps"));
        for number in 0..unread.dumps {
            let mut dump = Vec::new();
            wire::read_dump(&unread.stream, |held| dump.push(held.identity())).unwrap();
            for (at, slot) in unread.slots.iter().enumerate() {
                let seen = observation_in(&dump, &slot.id);
                if number == 0 && slot.after(seen, unread.asked, unread.answered).is_empty() {
                    self.fail(&format!("slot {at} in a late dump: {seen:?} not {:?}", slot.states));
                }
                if let Observation::Found(file, _) = seen {
                    assert!(self.past.contains(&(at, file)), "slot {at} never had this file");
                }
            }
        }
    }

    fn set_dump(&mut self) {
        let total = 1 + self.random.below(IDENTIFIERS);
        self.note(format!("set dump of {total}"));
        let (stream, mut left) = (self.stream(), total);
        assert_eq!(wire::exchange(&stream, &set_dump_request(total), &[]).unwrap(), 0);
        while left > 0 {
            let count = 1 + self.random.below(left);
            let (mut payload, mut files, mut sent) = (vec![b'.'], Vec::new(), Vec::new());
            for _ in 0..count {
                let at = self.random.below(IDENTIFIERS);
                let (file, stored) = self.new_entry();
                payload.extend(entry(&self.slots[at].id, stored.expiry.unwrap()));
                self.note(format!("  {at} {stored:?}"));
                files.push(file);
                // Of equal identifiers the last one counts.
                sent.retain(|(other, _)| *other != at);
                sent.push((at, stored));
            }
            let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
            if self.random.percent(15) {
                if self.be_killed(stream, &payload, &fds) {
                    sent.into_iter()
                        .for_each(|(at, stored)| self.add_state(at, Some(stored), false));
                }
                return;
            }
            left -= count;
            let status = wire::exchange(&stream, &payload, &fds).unwrap();
            if status != if left == 0 { 0 } else { AGAIN } {
                self.fail(&format!("set dump: {status}"));
            }
            sent.into_iter().for_each(|(at, stored)| self.add_state(at, Some(stored), true));
        }
        self.stream = Some(stream);
    }

    /// Runs a tool to its end, or kills it.
    fn tool(&mut self, command: &mut Command) -> Option<Ended> {
        if !self.random.percent(40) {
            return Some(run(command));
        }
        let begun = Instant::now();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_micros(self.random.below(3000) as u64));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        self.note(format!("  killed: {status:?}"));
        self.wait_for_earlier_requests();
        // The output of a killed tool is unknown.
        status.code().filter(|_| status.signal().is_none()).map(|code| Ended {
            code,
            out: Vec::new(),
            err: String::new(),
            wall: begun.elapsed(),
        })
    }

    fn run_tool(&mut self, at: usize) {
        let tools = if self.everything { 8 } else { 5 };
        let id = String::from_utf8(self.slots[at].id.clone()).unwrap();
        let name = ["store", "retrieve", "retrieve", "delete", "list", "getdump", "setdump"];
        let which = self.random.below(tools);
        let name = name.get(which).copied().unwrap_or("transferdump");
        let delete = which == 2;
        let mut command = tool(&format!("s6-fdholder-{name}"));
        command.stdin(Stdio::null());
        let (file, asked) = (memfd(), SystemTime::now());
        let mut stored = Stored { file: inode(&file), expiry: None, expires: None };
        let mut span = None;
        match name {
            "store" => {
                if self.everything && self.random.percent(40) {
                    let milliseconds = 1 + self.random.below(700) as u64;
                    span = Some(Duration::from_millis(milliseconds));
                    command.args(["-T", &milliseconds.to_string()]);
                }
                command.arg(&self.path).arg(&id).stdin(file);
            }
            "retrieve" => {
                command.args(delete.then_some("-D")).arg(&self.path).arg(&id);
                command.args(["stat", "-L", "-c", "%d %i", "-"]);
            }
            "delete" => drop(command.arg(&self.path).arg(&id)),
            "getdump" => drop(command.arg(&self.path).arg("true")),
            "setdump" => {
                command.arg(&self.path).stdin(file);
                command.envs([("S6_FD#", "1"), ("S6_FD_0", "0"), ("S6_FDID_0", &id)]);
                command.env_remove("S6_FDLIMIT_0");
            }
            "transferdump" => drop(command.arg(&self.path).arg(&self.destination)),
            _ => drop(command.arg(&self.path)),
        }
        self.note(format!("{command:?} {stored:?}"));
        let ended = self.tool(&mut command);
        let now = SystemTime::now();
        stored.expires = span.map(|span| (asked + span, now + span));
        let known = ended.is_some();
        let code = ended.as_ref().map_or(0, |ended| ended.code);
        // These tools exit 1 if the identifier is held already, or is not held.
        let denied = code == 1 && ["store", "retrieve", "delete"].contains(&name);
        if code != 0 && !denied {
            self.fail(&format!("{name}: {ended:?}"));
        }
        let seen =
            if denied == (name == "store") { Observation::Present } else { Observation::Absent };
        match name {
            "store" if !known => self.may_be_stored(at, stored, asked),
            "setdump" => self.add_state(at, Some(stored), known),
            "delete" if !known => self.add_state(at, None, false),
            "retrieve" if !known && delete => self.add_state(at, None, false),
            "store" | "delete" | "retrieve" if known => {
                self.observe(at, seen, asked);
                let out = ended.map(|ended| String::from_utf8(ended.out).unwrap());
                let mut numbers = out.iter().flat_map(|out| out.split_whitespace());
                if let (Some(device), Some(number)) = (numbers.next(), numbers.next()) {
                    let file = (device.parse().unwrap(), number.parse().unwrap());
                    self.observe(at, Observation::Found(file, None), asked);
                }
                match name {
                    "store" if !denied => self.add_state(at, Some(stored), true),
                    "delete" => self.add_state(at, None, true),
                    "retrieve" if delete => self.add_state(at, None, true),
                    _ => {}
                }
            }
            "list" => {
                let out = ended.map_or(Vec::new(), |ended| ended.out);
                let list: Vec<_> = out.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
                // A tool that was killed may have ended before; then its output is unknown.
                if list.len() > 1 {
                    self.see_list(&list, asked);
                }
            }
            _ => {}
        }
    }

    /// Makes a random request.
    fn step(&mut self) {
        self.operations += 1;
        let at = self.random.below(IDENTIFIERS);
        match self.random.below(if self.everything { 100 } else { 73 }) {
            0..25 => self.store(at),
            25..35 => self.delete(at),
            35..50 => self.retrieve(at, 0),
            50..60 => self.retrieve(at, 1),
            60..68 => self.list(),
            68..73 => self.run_tool(at),
            73..81 => self.get_dump(),
            81..92 => self.set_dump(),
            _ => match self.unread.take() {
                None => self.ask_for_dumps(),
                // Some clients are killed before they have read their dumps.
                Some(_) if self.random.percent(20) => self.wait_for_earlier_requests(),
                Some(unread) => self.read_dumps(unread),
            },
        }
    }
}

/// The outcome of a request.
enum Answer {
    Yes(Option<OwnedFd>),
    No(i32),
    /// It was sent, and the client was killed before it read the answer.
    Unknown,
    /// It was not sent as a whole.
    NotSent,
}

impl Answer {
    fn of(result: Result<Option<OwnedFd>>) -> Answer {
        match result.map_err(|error: Error| (error.raw_os_error(), error)) {
            Ok(fd) => Answer::Yes(fd),
            Err((Some(status), _)) => Answer::No(status),
            Err((None, error)) => panic!("no answer: {error}"),
        }
    }
}

/// What a dump shows of an identifier.
fn observation_in(dump: &[wire::Identity], id: &[u8]) -> Observation {
    let found = dump.iter().find(|(other, ..)| other == id);
    found.map_or(Observation::Absent, |(_, expiry, file)| Observation::Found(*file, Some(*expiry)))
}

fn soak(generation: Generation, time: Duration, everything: bool) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = u64::from(now.subsec_nanos()) << 20;
    let setup = Setup { maxconn: 64, ..Setup::default() };
    let mut watched = WatchedDaemon::start(generation, setup, Vec::new());
    let mut destination = WatchedDaemon::start(generation, setup, Vec::new());
    let begun = Instant::now();
    let mut workers: Vec<Worker> = thread::scope(|scope| {
        let start = |number| {
            let (watched, destination) = (&watched, destination.path());
            scope.spawn(move || {
                let mut worker = Worker::new(number, seed, watched, destination, everything);
                while begun.elapsed() < time {
                    worker.step();
                }
                if let Some(unread) = worker.unread.take() {
                    worker.read_dumps(unread);
                }
                worker.stream = None;
                worker
            })
        };
        let threads: Vec<_> = (0..WORKERS).map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("a worker")).collect()
    });
    let operations: Vec<_> = workers.iter().map(|worker| worker.operations).collect();
    eprintln!("{generation:?}: seed {seed}, operations {operations:?}");
    assert!(operations.iter().all(|count| *count > 50), "too few operations");

    for last in [false, true] {
        if last {
            // Wait until all expiries have passed.
            thread::sleep(Duration::from_millis(750) + LATE);
        }
        let asked = SystemTime::now();
        let dump = wire::get_dump(watched.path()).unwrap();
        let found = wire::identities(&dump);
        workers.iter_mut().for_each(|worker| worker.see_dump(&found, asked));
        let owned = |id: &Vec<u8>| {
            let mut slots = workers.iter().flat_map(|worker| &worker.slots);
            slots.any(|slot| slot.id == *id)
        };
        assert!(found.iter().all(|(id, ..)| owned(id)), "an entry that no worker has stored");
        watched.expected = dump;
    }
    watched.check_unchanged();
    destination.expected = wire::get_dump(destination.path()).unwrap();
    destination.check_unchanged();
}

/// The duration of the test.
fn time() -> Duration {
    let seconds = std::env::var("FDHOLDER_SOAK_SECONDS").ok();
    Duration::from_secs(seconds.map_or(20, |seconds| seconds.parse().expect("a number")))
}

#[test]
fn a_daemon_holds_the_right_entries_after_random_requests_of_killed_clients() {
    soak(Ours, time(), true);
}

/// The C daemon confirms the model, with the requests that it survives.
#[test]
fn the_model_is_right_for_the_c_daemon() {
    soak(S6_2_15, time().min(Duration::from_secs(4)), false);
}
