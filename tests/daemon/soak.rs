//! Endurance: clients that do random things and are killed at random moments, some of them real
//! processes, compared with a model of what is held.
//!
//! Each worker has identifiers of its own and knows for each what may be held under it. That is one
//! thing or nothing, but for what was under way when a client was killed: there both before and
//! after are possible, until somebody looks. Some things expire, not before they are due and not
//! much later.
//!
//! `FDHOLDER_SOAK_SECONDS` says for how long, 20 unless set.

use crate::daemon::hostile_clients::Siege;
use crate::kit::daemon::Generation::{self, Ours, S6_2_15};
use crate::kit::daemon::Setup;
use crate::kit::memfd;
use crate::kit::server::connect;
use crate::kit::tool::{Ended, run, tool};
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

/// How many are at work, and how many identifiers each has.
const WORKERS: usize = 6;
const IDENTIFIERS: usize = 24;

/// How much later than due something may be gone: the daemon looks at the clock once for all
/// requests that have come.
const LATE: Duration = Duration::from_millis(50);

const NOT_FOUND: i32 = 2;
const BUSY: i32 = 16;

/// A xorshift generator: the same seed, the same numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The high bits are the better ones.
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit as u64) as usize
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Something that may be held.
#[derive(Clone, PartialEq, Debug)]
struct Thing {
    file: (u64, u64),
    /// Its label, unless a tool has chosen it.
    expiry: Option<[u8; 12]>,
    /// When it is due at the earliest, and at the latest, unless it stays.
    due: Option<(SystemTime, SystemTime)>,
}

/// What somebody has seen of an identifier.
#[derive(Clone, Copy, Debug)]
enum Sight {
    Absent,
    Present,
    Found((u64, u64), Option<[u8; 12]>),
}

/// An identifier, and everything that may be held under it.
#[derive(Clone)]
struct Slot {
    id: Vec<u8>,
    may: Vec<Option<Thing>>,
}

impl Slot {
    /// What may be held after it was seen like this between these two moments.
    fn after(&self, sight: Sight, asked: SystemTime, answered: SystemTime) -> Vec<Option<Thing>> {
        let fits = |state: &Option<Thing>| {
            let Some(thing) = state else {
                return matches!(sight, Sight::Absent).then_some(None);
            };
            let may_be_gone = thing.due.is_some_and(|(earliest, _)| answered >= earliest);
            let may_be_there = thing.due.is_none_or(|(_, latest)| asked < latest + LATE);
            match sight {
                Sight::Absent => may_be_gone.then_some(None),
                Sight::Present => may_be_there.then(|| state.clone()),
                Sight::Found(file, expiry) => {
                    let same = file == thing.file
                        && (thing.expiry.is_none() || expiry.is_none() || thing.expiry == expiry);
                    let thing = Thing { expiry: thing.expiry.or(expiry), ..thing.clone() };
                    (may_be_there && same).then_some(Some(thing))
                }
            }
        };
        self.may.iter().filter_map(fits).collect()
    }
}

/// How a client ends that is killed.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Killed {
    /// When it has sent so many bytes of its request.
    Sending(usize),
    /// When it has read so many bytes of the reply.
    Reading(usize),
}

/// A dump that was asked for and not read.
struct Unread {
    stream: UnixStream,
    dumps: usize,
    /// What may have been held then.
    slots: Vec<Slot>,
    asked: SystemTime,
    answered: SystemTime,
}

struct Worker {
    random: Random,
    path: PathBuf,
    /// Where transfers go.
    sink: PathBuf,
    /// Whether everything is done that the C daemon does not survive: half requests with
    /// descriptors, expiries under load, dumps of what is deleted before they are read.
    everything: bool,
    stream: Option<UnixStream>,
    slots: Vec<Slot>,
    /// All files that were ever to be held under each identifier.
    past: HashSet<(usize, (u64, u64))>,
    unread: Option<Unread>,
    /// What was done last, for whoever has to find out why this has failed.
    trail: VecDeque<String>,
    operations: usize,
}

impl Worker {
    fn new(number: usize, seed: u64, siege: &Siege, sink: &Path, everything: bool) -> Worker {
        let mut random = Random(seed.wrapping_add(number as u64 + 1).wrapping_mul(0x9E37_79B9) | 1);
        // The first ones of seeds that are alike are alike.
        (0..20).for_each(|_| _ = random.below(2));
        let mut slot = |at: usize| {
            let length = [5, 30, 240][at % 3] + random.below(10);
            let id = format!("{number}-{at}-{:x<length$}", "");
            Slot { id: id.into_bytes(), may: vec![None] }
        };
        let slots = (0..IDENTIFIERS).map(&mut slot).collect();
        Worker {
            random,
            path: siege.path().to_owned(),
            sink: sink.to_owned(),
            everything,
            stream: None,
            slots,
            past: HashSet::new(),
            unread: None,
            trail: VecDeque::new(),
            operations: 0,
        }
    }

    fn note(&mut self, text: String) {
        self.trail.push_back(text);
        if self.trail.len() > 40 {
            self.trail.pop_front();
        }
    }

    fn fail(&self, what: &str) -> ! {
        for line in &self.trail {
            eprintln!("{line}");
        }
        panic!("{what}");
    }

    /// Takes account of what was seen between then and now.
    fn see(&mut self, at: usize, sight: Sight, asked: SystemTime) {
        let now = SystemTime::now();
        let slot = &self.slots[at];
        let may = slot.after(sight, asked, now);
        if may.is_empty() {
            let may = &slot.may;
            self.fail(&format!("slot {at} between {asked:?} and {now:?}: {sight:?}, not {may:?}"));
        }
        self.note(format!("  slot {at}: {sight:?}"));
        self.slots[at].may = may;
    }

    /// Takes account of something that was done, or, if a client was killed, may have been.
    fn becomes(&mut self, at: usize, state: Option<Thing>, certainly: bool) {
        if let Some(thing) = &state {
            self.past.insert((at, thing.file));
        }
        let may = &mut self.slots[at].may;
        if certainly {
            may.clear();
        }
        if !may.contains(&state) {
            may.push(state);
        }
    }

    /// A connection, a new one or that of before.
    fn stream(&mut self) -> UnixStream {
        let old = self.stream.take();
        old.filter(|_| self.random.percent(70)).unwrap_or_else(|| connect(&self.path))
    }

    /// When something new is to expire: its label and the moment.
    fn expiry(&mut self) -> ([u8; 12], Option<(SystemTime, SystemTime)>) {
        if !self.everything || self.random.percent(70) {
            return match self.random.percent(50) {
                true => (wire::never(), None),
                false => (wire::expiry_in(Duration::from_secs(3600)), None),
            };
        }
        let then = SystemTime::now() + Duration::from_millis(self.random.below(700) as u64);
        // Some are due before they come.
        let then = then - Duration::from_millis(50);
        let time = then.duration_since(UNIX_EPOCH).unwrap();
        (label((1 << 62) + 37 + time.as_secs(), time.subsec_nanos()), Some((then, then)))
    }

    /// Something new to hold.
    fn thing(&mut self) -> (OwnedFd, Thing) {
        let (file, (expiry, due)) = (memfd(), self.expiry());
        let thing = Thing { file: inode(&file), expiry: Some(expiry), due };
        (file, thing)
    }

    /// Waits until the daemon has done with everybody who is gone: it serves all who have come by
    /// turns, so nobody who came before is served later than the second request of this one.
    fn settle(&self) {
        let stream = connect(&self.path);
        for _ in 0..3 {
            wire::list(&stream).unwrap();
        }
    }

    /// Sends a request and is killed, and says whether all of the request was sent.
    fn be_killed(&mut self, stream: UnixStream, payload: &[u8], fds: &[BorrowedFd]) -> bool {
        let bytes = frame(payload, fds.len() as u16);
        let halves = fds.is_empty() || self.everything;
        let how = match halves && self.random.percent(50) {
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
                    // As much of it as has come.
                    let mut place = vec![0; length];
                    let read = retry_on_intr(|| read(&stream, &mut place[..])).unwrap();
                    assert!(read > 0, "the daemon has hung up");
                }
            }
        }
        drop(stream);
        self.settle();
        matches!(how, Killed::Reading(_))
    }

    /// Sends a request and gets the status, or is killed.
    fn ask(&mut self, payload: &[u8], fds: &[BorrowedFd]) -> Answer {
        let stream = self.stream();
        if self.random.percent(15) {
            return match self.be_killed(stream, payload, fds) {
                true => Answer::Unknown,
                false => Answer::NeverAsked,
            };
        }
        wire::send_frame(&stream, payload, fds).unwrap();
        let result = wire::answer(&stream);
        self.stream = Some(stream);
        Answer::of(result.map(|(_, mut fds)| fds.pop()))
    }

    fn store(&mut self, at: usize) {
        let (file, thing) = self.thing();
        let (id, asked) = (self.slots[at].id.clone(), SystemTime::now());
        self.note(format!("store {at} {thing:?}"));
        let request = store_request(&id, thing.expiry.unwrap());
        match self.ask(&request, &[file.as_fd()]) {
            Answer::Yes(_) => {
                self.see(at, Sight::Absent, asked);
                self.becomes(at, Some(thing), true);
            }
            Answer::No(BUSY) => self.see(at, Sight::Present, asked),
            Answer::No(status) => self.fail(&format!("store: {status}")),
            Answer::Unknown => self.may_be_stored(at, thing, asked),
            Answer::NeverAsked => {}
        }
    }

    /// Somebody was killed who stored something.
    fn may_be_stored(&mut self, at: usize, thing: Thing, asked: SystemTime) {
        if !self.slots[at].after(Sight::Absent, asked, SystemTime::now()).is_empty() {
            self.becomes(at, Some(thing), false);
        }
    }

    fn delete(&mut self, at: usize) {
        let (request, asked) = (delete_request(&self.slots[at].id), SystemTime::now());
        self.note(format!("delete {at}"));
        match self.ask(&request, &[]) {
            Answer::Yes(_) => {
                self.see(at, Sight::Present, asked);
                self.becomes(at, None, true);
            }
            Answer::No(NOT_FOUND) => self.see(at, Sight::Absent, asked),
            Answer::No(status) => self.fail(&format!("delete: {status}")),
            Answer::Unknown => self.becomes(at, None, false),
            Answer::NeverAsked => {}
        }
    }

    fn retrieve(&mut self, at: usize, flag: u8) {
        let (request, asked) = (retrieve_request(&self.slots[at].id, flag), SystemTime::now());
        self.note(format!("retrieve {at} {flag}"));
        match self.ask(&request, &[]) {
            Answer::Yes(fd) => {
                self.see(at, Sight::Found(inode(fd.expect("a descriptor")), None), asked);
                if flag == 1 {
                    self.becomes(at, None, true);
                }
            }
            Answer::No(NOT_FOUND) => self.see(at, Sight::Absent, asked),
            Answer::No(status) => self.fail(&format!("retrieve: {status}")),
            Answer::Unknown if flag == 1 => self.becomes(at, None, false),
            Answer::Unknown | Answer::NeverAsked => {}
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
            let there = listed.contains(&self.slots[at].id);
            self.see(at, if there { Sight::Present } else { Sight::Absent }, asked);
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
            let sight = sight_in(dump, &self.slots[at].id);
            self.see(at, sight, asked);
        }
    }

    /// Asks for dumps and does not read them for a while.
    fn ask_for_dumps(&mut self) {
        self.note(String::from("ask for dumps"));
        let (stream, asked) = (connect(&self.path), SystemTime::now());
        let dumps = 1 + self.random.below(2);
        wire::send(&stream, &frame(b"?", 0).repeat(dumps), &[]).unwrap();
        self.settle();
        let (slots, answered) = (self.slots.clone(), SystemTime::now());
        self.unread = Some(Unread { stream, dumps, slots, asked, answered });
    }

    /// Reads them: the first has what was held when it was asked for, the others may have been made
    /// later.
    fn read_dumps(&mut self, unread: Unread) {
        self.note(String::from("read dumps"));
        for number in 0..unread.dumps {
            let mut dump = Vec::new();
            wire::read_dump(&unread.stream, |held| dump.push(held.identity())).unwrap();
            for (at, slot) in unread.slots.iter().enumerate() {
                let sight = sight_in(&dump, &slot.id);
                if number == 0 && slot.after(sight, unread.asked, unread.answered).is_empty() {
                    self.fail(&format!("slot {at} in a late dump: {sight:?} not {:?}", slot.may));
                }
                if let Sight::Found(file, _) = sight {
                    assert!(self.past.contains(&(at, file)), "slot {at} has never been that");
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
            let (mut payload, mut files, mut things) = (vec![b'.'], Vec::new(), Vec::new());
            for _ in 0..count {
                let at = self.random.below(IDENTIFIERS);
                let (file, thing) = self.thing();
                payload.extend(entry(&self.slots[at].id, thing.expiry.unwrap()));
                self.note(format!("  {at} {thing:?}"));
                files.push(file);
                // The last of equal ones counts.
                things.retain(|(other, _)| *other != at);
                things.push((at, thing));
            }
            let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
            if self.random.percent(15) {
                if self.be_killed(stream, &payload, &fds) {
                    things.into_iter().for_each(|(at, thing)| self.becomes(at, Some(thing), false));
                }
                return;
            }
            left -= count;
            let status = wire::exchange(&stream, &payload, &fds).unwrap();
            if status != if left == 0 { 0 } else { AGAIN } {
                self.fail(&format!("set dump: {status}"));
            }
            things.into_iter().for_each(|(at, thing)| self.becomes(at, Some(thing), true));
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
        self.settle();
        // What the tool would have printed is lost.
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
        let mut thing = Thing { file: inode(&file), expiry: None, due: None };
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
            "transferdump" => drop(command.arg(&self.path).arg(&self.sink)),
            _ => drop(command.arg(&self.path)),
        }
        self.note(format!("{command:?} {thing:?}"));
        let ended = self.tool(&mut command);
        let now = SystemTime::now();
        thing.due = span.map(|span| (asked + span, now + span));
        let known = ended.is_some();
        let code = ended.as_ref().map_or(0, |ended| ended.code);
        // The only reasons to be denied here.
        let denied = code == 1 && ["store", "retrieve", "delete"].contains(&name);
        if code != 0 && !denied {
            self.fail(&format!("{name}: {ended:?}"));
        }
        let sight = if denied == (name == "store") { Sight::Present } else { Sight::Absent };
        match name {
            "store" if !known => self.may_be_stored(at, thing, asked),
            "setdump" => self.becomes(at, Some(thing), known),
            "delete" if !known => self.becomes(at, None, false),
            "retrieve" if !known && delete => self.becomes(at, None, false),
            "store" | "delete" | "retrieve" if known => {
                self.see(at, sight, asked);
                let out = ended.map(|ended| String::from_utf8(ended.out).unwrap());
                let mut numbers = out.iter().flat_map(|out| out.split_whitespace());
                if let (Some(device), Some(number)) = (numbers.next(), numbers.next()) {
                    let file = (device.parse().unwrap(), number.parse().unwrap());
                    self.see(at, Sight::Found(file, None), asked);
                }
                match name {
                    "store" if !denied => self.becomes(at, Some(thing), true),
                    "delete" => self.becomes(at, None, true),
                    "retrieve" if delete => self.becomes(at, None, true),
                    _ => {}
                }
            }
            "list" => {
                let out = ended.map_or(Vec::new(), |ended| ended.out);
                let list: Vec<_> = out.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
                // One that was killed may have ended well, unheard.
                if list.len() > 1 {
                    self.see_list(&list, asked);
                }
            }
            _ => {}
        }
    }

    /// Does something.
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
                // Some are killed before they have read it.
                Some(_) if self.random.percent(20) => self.settle(),
                Some(unread) => self.read_dumps(unread),
            },
        }
    }
}

/// What became of a request.
enum Answer {
    Yes(Option<OwnedFd>),
    No(i32),
    /// It was sent, and nobody knows more.
    Unknown,
    /// It was not sent whole.
    NeverAsked,
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

/// What a dump says of an identifier.
fn sight_in(dump: &[wire::Identity], id: &[u8]) -> Sight {
    let found = dump.iter().find(|(other, ..)| other == id);
    found.map_or(Sight::Absent, |(_, expiry, file)| Sight::Found(*file, Some(*expiry)))
}

fn soak(generation: Generation, time: Duration, everything: bool) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = u64::from(now.subsec_nanos()) << 20;
    let setup = Setup { maxconn: 64, ..Setup::default() };
    let mut siege = Siege::of(generation, setup, Vec::new());
    let mut sink = Siege::of(generation, setup, Vec::new());
    let begun = Instant::now();
    let mut workers: Vec<Worker> = thread::scope(|scope| {
        let start = |number| {
            let (siege, sink) = (&siege, sink.path());
            scope.spawn(move || {
                let mut worker = Worker::new(number, seed, siege, sink, everything);
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
    assert!(operations.iter().all(|count| *count > 50), "that is no soak");

    for last in [false, true] {
        if last {
            // Until everything is due that expires.
            thread::sleep(Duration::from_millis(750) + LATE);
        }
        let asked = SystemTime::now();
        let dump = wire::get_dump(siege.path()).unwrap();
        let found = wire::identities(&dump);
        workers.iter_mut().for_each(|worker| worker.see_dump(&found, asked));
        let owned = |id: &Vec<u8>| {
            let mut slots = workers.iter().flat_map(|worker| &worker.slots);
            slots.any(|slot| slot.id == *id)
        };
        assert!(found.iter().all(|(id, ..)| owned(id)), "something that nobody has stored");
        siege.things = dump;
    }
    siege.over();
    sink.things = wire::get_dump(sink.path()).unwrap();
    sink.over();
}

/// For how long.
fn time() -> Duration {
    let seconds = std::env::var("FDHOLDER_SOAK_SECONDS").ok();
    Duration::from_secs(seconds.map_or(20, |seconds| seconds.parse().expect("a number")))
}

#[test]
fn random_clients_that_are_killed_leave_what_they_should() {
    soak(Ours, time(), true);
}

/// The model is right about the C daemon as well, as far as that survives.
#[test]
fn the_model_is_right_about_c() {
    soak(S6_2_15, time().min(Duration::from_secs(4)), false);
}
