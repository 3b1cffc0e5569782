//! What a daemon answers. Each row is a conversation. It is held with our daemon and with the C daemons.
//! With ours, it is repeated with other splits of the bytes.

mod pieces;
mod rights;
mod rows;

use crate::kit::clients::hold;
use crate::kit::daemon::{Daemon, Generation, Setup};
use crate::kit::process::{wait_for_hangup, wait_until_read};
use crate::kit::server::connect;
use crate::kit::wire::{
    self, Held, delete_request, entry, expiry_in, frame, inode, retrieve_request, set_dump_request,
};
use rows::{broken_frames, invalid, valid};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Error numbers that daemons answer with.
const EPERM: u8 = 1;
const ENOENT: u8 = 2;
const EAGAIN: u8 = 11;
const EBUSY: u8 = 16;
const ENFILE: u8 = 23;
const EPROTO: u8 = 71;

/// The longest payload of a request: a frame of a set dump that is full of the longest entries.
const PAYLOAD_MAX: u32 = 1 + 253 * 269;

/// Identifies a descriptor by its origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Origin {
    /// Held from the start: 0 is the descriptor of `a`, 1 that of `b`.
    Old(usize),
    /// Sent in the conversation: 0 is the first descriptor, 1 the second, and so on.
    New(usize),
}
use Origin::{New, Old};

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Answer {
    /// Only a status byte.
    Status(u8),
    /// Status 0 and a descriptor.
    Descriptor(Origin),
    /// The identifiers, sorted.
    List(Vec<Vec<u8>>),
    /// The dump, sorted.
    Dump(Vec<(Vec<u8>, Origin)>),
    /// A set dump is accepted, in this number of frames.
    Frames(u32),
    /// The end of the connection.
    HangUp,
}
use Answer::{Descriptor, Dump, Frames, HangUp, List, Status};

/// What is sent for one answer: pieces, each with the number of descriptors on its first byte.
#[derive(Clone)]
struct Request(Vec<(Vec<u8>, usize)>);

/// A frame with this payload that announces and carries `descriptors` descriptors.
fn payload(payload: &[u8], descriptors: usize) -> Request {
    Request(vec![(frame(payload, descriptors as u16), descriptors)])
}

/// These bytes without a header in front, with `descriptors` descriptors on the first byte.
fn raw(bytes: &[u8], descriptors: usize) -> Request {
    Request(vec![(bytes.to_vec(), descriptors)])
}

/// An entry that does not expire during the test.
fn lasting(id: &[u8]) -> Vec<u8> {
    // Equal dates corrupt the table of the C daemons.
    let span = id.iter().fold(3600, |sum, byte| sum * 7 % 100_000 + u64::from(*byte));
    entry(id, expiry_in(Duration::from_secs(span)))
}

fn store(id: impl AsRef<[u8]>) -> Request {
    payload(&[b"S", &lasting(id.as_ref())[..]].concat(), 1)
}

fn delete(id: impl AsRef<[u8]>) -> Request {
    payload(&delete_request(id.as_ref()), 0)
}

fn retrieve(flag: u8, id: impl AsRef<[u8]>) -> Request {
    payload(&retrieve_request(id.as_ref(), flag), 0)
}

fn list() -> Request {
    payload(b"L", 0)
}

fn get_dump() -> Request {
    payload(b"?", 0)
}

/// The opening of a set dump of `count` entries.
fn opening(count: usize) -> Request {
    payload(&set_dump_request(count), 0)
}

/// A frame of a set dump.
fn of_dump<I: AsRef<[u8]>>(ids: impl IntoIterator<Item = I>) -> Request {
    let entries: Vec<_> = ids.into_iter().map(|id| lasting(id.as_ref())).collect();
    payload(&[b".", &entries.concat()[..]].concat(), entries.len())
}

/// A conversation with a daemon that holds `a` and `b`.
struct Row {
    what: &'static str,
    /// How many descriptors the daemon may hold.
    maxfds: usize,
    /// The requests and the answers of our daemon.
    exchanges: Vec<(Request, Answer)>,
    /// What is held afterwards. All other descriptors must be closed, whether or not the connection is.
    left: Vec<(Vec<u8>, Origin)>,
    /// How the C daemons differ.
    c: C,
}

/// How the C daemons differ from ours in a conversation.
#[derive(Clone)]
enum C {
    /// They answer the same.
    Same,
    /// They disconnect where ours answers with a protocol error. What they hold afterwards is not
    /// checked.
    HangUp,
    /// They give these answers and then disconnect; and the reason.
    Answers(Vec<Answer>, &'static str),
    /// The conversation is not held with them; and the reason.
    Skipped(&'static str),
}

/// A conversation that does not change what is held.
fn row(what: &'static str, exchanges: Vec<(Request, Answer)>) -> Row {
    let left = vec![(b"a".to_vec(), Old(0)), (b"b".to_vec(), Old(1))];
    Row { what, maxfds: 5, exchanges, left, c: C::Same }
}

impl Row {
    /// The same with a daemon that is full.
    fn full(self) -> Row {
        Row { maxfds: 2, ..self }
    }

    /// The same, where the daemon holds these entries in the end.
    fn leaves<I: AsRef<[u8]>>(self, left: impl IntoIterator<Item = (I, Origin)>) -> Row {
        let left = left.into_iter().map(|(id, origin)| (id.as_ref().to_vec(), origin));
        let mut left: Vec<_> = left.collect();
        left.sort();
        Row { left, ..self }
    }

    /// The same, where the C daemons differ.
    fn c(self, c: C) -> Row {
        Row { c, ..self }
    }

    /// The expected answers, and whether only the answers are checked. `None` if the conversation is not
    /// held with this daemon.
    fn answers(&self, generation: Generation) -> Option<(Vec<Answer>, bool)> {
        let ours = self.exchanges.iter().map(|(_, answer)| answer.clone());
        let of_c = |answers: Vec<Answer>| {
            let ends = std::iter::repeat(HangUp);
            Some((answers.into_iter().chain(ends).take(self.exchanges.len()).collect(), true))
        };
        match &self.c {
            _ if generation == Generation::Ours => Some((ours.collect(), false)),
            C::Same => Some((ours.collect(), false)),
            C::HangUp => of_c(ours.take_while(|answer| *answer != Status(EPROTO)).collect()),
            C::Answers(answers, _) => of_c(answers.clone()),
            C::Skipped(why) => {
                println!("skipped with {generation:?}: {}: {why}", self.what);
                None
            }
        }
    }
}

/// A list of these.
fn listed<I: AsRef<[u8]>>(ids: impl IntoIterator<Item = I>) -> Answer {
    List(ids.into_iter().map(|id| id.as_ref().to_vec()).collect())
}

/// How the bytes of the requests arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Arrival {
    /// Each request after the answer to the one before.
    InTurn,
    /// The same, and each byte separately.
    Bytewise,
    /// All requests have arrived before the daemon reads the first.
    Together,
}

/// A conversation with a daemon that holds `a` and `b`. It tracks every descriptor.
struct Conversation {
    daemon: Daemon,
    stream: UnixStream,
    /// The origin of each file.
    origins: HashMap<(u64, u64), Origin>,
    /// The other ends of the pipes. An end reports a hangup when all copies of the descriptor are closed.
    ends: Vec<(Origin, OwnedFd)>,
    sent: usize,
}

impl Conversation {
    fn start(generation: Generation, maxfds: usize) -> Conversation {
        let daemon = Daemon::start_with(generation, Setup { maxfds, ..Setup::default() });
        let mut conversation = Conversation {
            stream: connect(&daemon.path),
            daemon,
            origins: HashMap::new(),
            ends: Vec::new(),
            sent: 0,
        };
        let mut held = hold(["a", "b"]);
        for (number, held) in held.iter_mut().enumerate() {
            held.fd = conversation.descriptor(Old(number));
        }
        wire::set_dump(&conversation.daemon.path, &held).unwrap();
        conversation
    }

    /// A new descriptor, which is the end of a pipe.
    fn descriptor(&mut self, origin: Origin) -> OwnedFd {
        let (end, fd) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        self.origins.insert(inode(&fd), origin);
        self.ends.push((origin, end));
        fd
    }

    /// Sends a request. Errors are ignored, since the daemon may have disconnected.
    fn send(&mut self, request: &Request, arrival: Arrival) {
        for (bytes, count) in &request.0 {
            let fds: Vec<_> = (0..*count).map(|_| self.next()).collect();
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            if arrival != Arrival::Bytewise {
                let _ = wire::send(&self.stream, bytes, &fds);
                if request.0.len() > 1 && arrival == Arrival::InTurn {
                    wait_until_read(&self.stream);
                }
                continue;
            }
            for (at, byte) in bytes.iter().enumerate() {
                let _ = wire::send(&self.stream, &[*byte], if at == 0 { &fds } else { &[] });
                // Waiting after each byte of a long request would take too long. The short requests
                // have all boundaries between fields.
                if bytes.len() < 1000 {
                    wait_until_read(&self.stream);
                }
            }
        }
    }

    /// The next descriptor to send.
    fn next(&mut self) -> OwnedFd {
        self.sent += 1;
        self.descriptor(New(self.sent - 1))
    }

    /// The answer to a request.
    fn answer(&self, request: &Request) -> Answer {
        let Ok((payload, fds)) = wire::receive_frame(&self.stream) else { return HangUp };
        let origins: Vec<_> = fds.iter().map(|fd| self.origins[&inode(fd)]).collect();
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match (&payload[..], &origins[..]) {
            ([status], []) => Status(*status),
            ([0], [origin]) => Descriptor(*origin),
            ([0, ..], []) => match request.0[0].0[6] {
                b'L' => {
                    let ids = payload[5..].split_inclusive(|byte| *byte == 0);
                    let mut ids: Vec<_> =
                        ids.map(|id| id.strip_suffix(&[0]).unwrap().to_vec()).collect();
                    assert_eq!(ids.len(), number(1) as usize, "identifiers in a list");
                    ids.sort();
                    List(ids)
                }
                b'?' => {
                    assert_eq!(payload.len(), 9);
                    let mut all = Vec::new();
                    for _ in 0..number(1) {
                        let (payload, fds) = wire::receive_frame(&self.stream).unwrap();
                        all.extend(wire::entries(&payload, fds));
                    }
                    assert_eq!(all.len(), number(5) as usize, "entries in a dump");
                    Dump(self.known(&all))
                }
                _ => {
                    assert_eq!(payload.len(), 5);
                    Frames(number(1))
                }
            },
            _ => panic!("{payload:?} with {origins:?}"),
        }
    }

    /// Identifiers and origins of these entries, sorted.
    fn known(&self, all: &[Held]) -> Vec<(Vec<u8>, Origin)> {
        let mut all: Vec<_> =
            all.iter().map(|held| (held.id.clone(), self.origins[&inode(&held.fd)])).collect();
        all.sort();
        all
    }

    /// Whether all but these are closed.
    fn open_except(&self, left: &[(Vec<u8>, Origin)]) -> Vec<Origin> {
        let gone = |origin| !left.iter().any(|(_, other)| *other == origin);
        let open = self.ends.iter().filter(|(origin, end)| gone(*origin) && !wait_for_hangup(end));
        open.map(|(origin, _)| *origin).collect()
    }
}

/// Holds a conversation, and returns a description of what went wrong.
fn check(generation: Generation, row: &Row, arrival: Arrival) -> Option<String> {
    let (mut expected, answers_only) = row.answers(generation)?;
    let mut requests: Vec<_> = row.exchanges.iter().map(|(request, _)| request.clone()).collect();
    // A connection that stays open must still answer a request.
    if expected.last().is_some_and(|answer| *answer != HangUp) && !answers_only {
        requests.push(list());
        expected.push(listed(row.left.iter().map(|(id, _)| id)));
    }
    let mut conversation = Conversation::start(generation, row.maxfds);
    let pid = Pid::from_raw(conversation.daemon.pid() as i32).unwrap();
    if arrival == Arrival::Together {
        kill_process(pid, Signal::STOP).unwrap();
        requests.iter().for_each(|request| conversation.send(request, arrival));
        kill_process(pid, Signal::CONT).unwrap();
    }
    let mut answers = Vec::new();
    for request in &requests {
        if arrival != Arrival::Together {
            conversation.send(request, arrival);
        }
        answers.push(conversation.answer(request));
    }
    let mut wrong = String::new();
    if answers != expected {
        wrong += &format!("\n  answers {answers:?}\n      not {expected:?}");
    }
    if !answers_only {
        let left = wire::get_dump(&conversation.daemon.path).map(|left| conversation.known(&left));
        if !left.as_ref().is_ok_and(|left| *left == row.left) {
            wrong += &format!("\n  leaves {left:?}\n     not {:?}", row.left);
        }
        let open = conversation.open_except(&row.left);
        if !open.is_empty() {
            wrong += &format!("\n  still open: {open:?}");
        }
    }
    if wrong.is_empty() { None } else { Some(format!("{generation:?}: {}{wrong}", row.what)) }
}

/// Holds all these conversations, each with a new daemon.
fn check_all(generation: Generation, rows: Vec<Row>, arrival: Arrival) {
    let wrong: Vec<_> = rows.iter().filter_map(|row| check(generation, row, arrival)).collect();
    assert!(
        wrong.is_empty(),
        "{arrival:?}, {} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_daemon_answers_valid_requests_alike() {
    for generation in Generation::DAEMONS {
        check_all(generation, valid(), Arrival::InTurn);
    }
}

#[test]
fn an_invalid_request_is_refused_and_changes_nothing() {
    for generation in Generation::DAEMONS {
        check_all(generation, invalid(), Arrival::InTurn);
    }
}

#[test]
fn a_broken_frame_ends_only_its_connection() {
    for generation in Generation::DAEMONS {
        check_all(generation, broken_frames(), Arrival::InTurn);
    }
}

#[test]
fn the_answers_are_the_same_if_bytes_arrive_one_by_one() {
    // The C daemons disconnect if a header arrives in pieces.
    for rows in [valid(), invalid(), broken_frames()] {
        check_all(Generation::Ours, rows, Arrival::Bytewise);
    }
}

#[test]
fn the_answers_are_the_same_if_all_requests_arrive_at_once() {
    // If two pieces are in the socket before the daemon reads, it cannot know on which byte each
    // descriptor arrived. Requests in one piece do not depend on that.
    let whole = |row: &Row| row.exchanges.iter().all(|(request, _)| request.0.len() == 1);
    for rows in [valid(), invalid(), broken_frames()] {
        let rows = rows.into_iter().filter(whole).collect();
        check_all(Generation::Ours, rows, Arrival::Together);
    }
}
