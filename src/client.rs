//! A session with a daemon, from the client's side. What fails ends the process, with a message;
//! who wants an error instead talks through [`crate::socket`].

use crate::deadline::Deadline;
use crate::exit::{self, Exit, Output};
use crate::fd::{self, Fd};
use crate::message::{
    self, ENTRIES_MAX, EXTRA_MAX, Expected, HEADER, Header, IDENTIFIER_MAX, STATUS,
};
use crate::pool::{Composer, DESCRIPTORS, Window};
use crate::socket::{Error, Stream};
use crate::sys::text::Text;
use crate::sys::{self, CONTROL_HEADER, Errno};
use crate::text::{Phrase, text};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How a message speaks of a daemon, and what it is to blame for.
pub struct Side {
    /// What failed if there was no connecting to it, up to its path.
    pub connect: Phrase,
    /// What failed later, up to its path or to the identifier.
    pub transfer: Phrase,
    /// How far it came: what stands behind the numbers of a dump, or what there is to say of a
    /// request whose answer does not come.
    pub progress: Phrase,
    /// The right that a user needs, an environment variable in the daemon's rules, where it is to
    /// be named.
    pub right: Option<Phrase>,
    /// The exit code if it is the daemon that failed.
    pub exit: Exit,
}

impl Side {
    /// The one daemon that a tool talks to, with what failed once there was a connection.
    pub const fn only(transfer: Phrase) -> Side {
        Side {
            connect: text!("connect to a fd-holder daemon at "),
            transfer,
            progress: text!(""),
            right: None,
            exit: Exit::DENIED,
        }
    }
}

/// How far the process has come with delivering a dump. Whichever daemon fails, the message says
/// it.
struct Progress {
    /// How many entries the destination has agreed to take; 0 as long as it has not.
    total: AtomicUsize,
    /// How many of them it has said that it holds.
    acknowledged: AtomicUsize,
}

static PROGRESS: Progress =
    Progress { total: AtomicUsize::new(0), acknowledged: AtomicUsize::new(0) };

/// A daemon and the connection to it.
pub struct Peer {
    stream: Stream,
    path: Text,
    /// What it is talked to about: an identifier, the path again, or nothing.
    object: Text,
    side: &'static Side,
}

impl Peer {
    /// The daemon at `path`, to be talked to within that many milliseconds, about an identifier,
    /// or about nothing in particular.
    #[inline(never)]
    pub fn new(side: &'static Side, path: Text, milliseconds: u32, object: Text) -> Peer {
        let stream = Stream::new(Deadline::from_milliseconds(milliseconds));
        Peer { stream, path, object, side }
    }

    /// Begins a message that says what failed and why. The second value is the exit code.
    fn complain(&self, error: Error) -> (Output, Exit) {
        let (doing, object) = if error.is_unreachable() {
            (self.side.connect, self.path)
        } else {
            (self.side.transfer, self.object)
        };
        let line = exit::fatal().text(text!("unable to ")).text(doing).quoted(object);
        error.explain(line);
        if error == Error::CLOSED && !self.stream.has_heard() {
            line.text(text!(" without an answer: is this user allowed to connect?"));
            // It has done nothing, or is gone with all that it held.
            exit::remark(None);
        }
        if let (true, Some(right)) = (error == Error::failed(Errno::PERM), self.side.right) {
            line.text(text!(" (the right ")).text(right).text(text!(" is missing)"));
        }
        (line, error.exit(self.side.exit))
    }

    /// Says what failed, why, and how far it went, and ends the process.
    pub fn fail(&self, error: Error) -> ! {
        let (line, exit) = self.complain(error);
        let total = PROGRESS.total.load(Relaxed);
        if total > 0 {
            line.text(text!("; ")).number(PROGRESS.acknowledged.load(Relaxed) as u32);
            line.text(text!(" of ")).number(total as u32);
            line.text(self.side.progress);
        }
        line.end(exit)
    }

    /// Connects, waiting for a place in the daemon's backlog.
    pub fn connect(&mut self) {
        self.begin_turn();
        if let Err(errno) = self.stream.connect(self.path) {
            self.fail(Error::unreachable(errno));
        }
    }

    /// It is this daemon's turn from now on.
    fn begin_turn(&mut self) {
        self.stream.begin_turn().unwrap_or_else(|errno| exit::no_clock(errno));
    }

    /// There is something else to wait for from now on.
    fn end_turn(&mut self) {
        self.stream.end_turn().unwrap_or_else(|error| self.fail(error));
    }

    /// Sends a frame.
    fn send(&mut self, frame: &[u8], control: &[i32]) {
        if let Err(error) = self.stream.send(frame, control) {
            self.fail(error);
        }
    }

    /// Completes a request with the identifier that it is about, and connects.
    fn connect_for(&mut self, request: &mut Composer, id: Text) {
        if let Err(errno) = request.identifier(id) {
            // No daemon holds anything under such a name: that counts as denied, as it does in C.
            self.fail(Error::failed(errno));
        }
        self.connect();
    }

    /// Completes and sends a request that is answered with yes or no, and ends the process.
    pub fn settle(&mut self, request: &mut Composer, id: Text) -> ! {
        self.connect_for(request, id);
        self.ask(request);
        exit::remark(Some(self.side.progress));
        self.reply(0, 0);
        exit::success()
    }

    /// Sends a frame that was made here.
    fn ask(&mut self, request: &mut Composer) {
        let (frame, control) = request.frame();
        self.send(frame, control);
    }

    /// Completes and sends a request, and receives the descriptor that is the answer. The daemon is
    /// not asked before it is certain that there is room for it. If that `deletes` it there, any failure
    /// from then on has to say so.
    pub fn retrieve(&mut self, request: &mut Composer, id: Text, deletes: bool) -> Fd {
        self.connect_for(request, id);
        fd::reserve(self.stream.number()).unwrap_or_else(|errno| self.fail(Error::local(errno)));
        self.ask(request);
        if deletes {
            exit::remark(Some(self.side.progress));
        }
        let mut control = [0; CONTROL_HEADER + 1];
        let expected = Expected { extra: 0, more: false, descriptors: 1 };
        self.reply_as(expected, 0, &mut [0; STATUS + EXTRA_MAX], &mut control);
        Fd::own(control[CONTROL_HEADER] as usize).unwrap_or_else(|| self.fail(Error::INVALID))
    }

    /// Receives some bytes of a reply, and descriptors if there is a place for them. That there are
    /// more is a mistake of the daemon's; that there are fewer is not.
    fn receive(&mut self, bytes: &mut [u8], control: &mut [i32]) -> usize {
        match self.stream.receive(bytes, control) {
            Ok(received) => received,
            Err(Error::CROWDED) if sys::control_length(control) == control.len() => {
                self.fail(Error::INVALID)
            }
            Err(Error::CROWDED) => self.fail(self.loss()),
            Err(error) => self.fail(error),
        }
    }

    /// Why descriptors are lost that have just been received, if there was a place for them: there is
    /// no room for another one now, or there is, and somebody has withheld them.
    fn loss(&self) -> Error {
        match sys::duplicate(self.stream.number()) {
            Ok(number) => {
                drop(Fd::own(number));
                Error::DROPPED
            }
            Err(errno) => Error::local(errno),
        }
    }

    /// Reads a reply that has to have this status, and behind a favourable one `extra` bytes. The
    /// last four of these are a number, the result, which means nothing if there are none.
    pub fn reply(&mut self, extra: usize, status: usize) -> usize {
        let mut bytes = [0; STATUS + EXTRA_MAX];
        let expected = Expected { extra, more: false, descriptors: 0 };
        self.reply_as(expected, status, &mut bytes, &mut []);
        message::number(&bytes, extra + STATUS - 4)
    }

    /// The same for replies of any form. Both places must be zeros before: `bytes` gets the reply
    /// with its header, as far as its length is known beforehand, and `control`, if it has room for
    /// one, the control message with the descriptors.
    fn reply_as(
        &mut self,
        expected: Expected,
        status: usize,
        bytes: &mut [u8; STATUS + EXTRA_MAX],
        control: &mut [i32],
    ) {
        let mut have = 0;
        loop {
            let Some(whole) = message::reply_length(bytes, have, expected) else {
                self.fail(Error::INVALID);
            };
            let Some(rest @ [_, ..]) = bytes.get_mut(have..whole) else { break };
            // Where descriptors are not due there is no place for them, and the kernel closes them.
            let place = if have == 0 { &mut control[..] } else { &mut [] };
            have += self.receive(rest, place);
        }
        let answer = usize::from(bytes[HEADER]);
        // What the header says of descriptors must be true.
        let has_control = sys::control_length(control) == control.len();
        if !control.is_empty() && has_control != (answer == status) {
            self.fail(Error::INVALID);
        }
        if answer != status {
            // The frames of a set dump are answered with `EAGAIN`, the last one with 0. Either at the
            // wrong time is no refusal: the daemon has not counted right.
            if answer == 0 || expected.extra == 0 && answer == Errno::AGAIN.number() {
                self.fail(Error::INVALID);
            }
            exit::remark(None);
            self.fail(Error::failed(Errno::new(answer)));
        }
    }

    /// Asks for the identifiers of all that the daemon holds, and prints them, one a line.
    pub fn list(&mut self, out: Output) {
        self.connect();
        self.send(&message::LIST, &[]);
        let expected = Expected { extra: 4, more: true, descriptors: 0 };
        let mut reply = [0; STATUS + EXTRA_MAX];
        self.reply_as(expected, 0, &mut reply, &mut []);
        let number = message::number(&reply, STATUS);
        // The status and the number belong to the payload, which has that many bytes at the least.
        let mut missing = message::number(&reply, 0).saturating_sub(STATUS + 4 - HEADER);
        // No waiting for what cannot be right.
        let longest = number.saturating_mul(IDENTIFIER_MAX + 1);
        if missing > longest || missing < number.saturating_mul(2) {
            self.fail(Error::INVALID);
        }
        let mut complete = 0;
        let mut length = 0;
        let mut buffer = [0; 1024];
        while missing > 0 {
            let room = buffer.len().min(missing);
            let received = self.receive(&mut buffer[..room], &mut []);
            missing -= received;
            for byte in buffer.iter().take(received) {
                if *byte != 0 {
                    length += 1;
                } else if length == 0 || length > IDENTIFIER_MAX {
                    self.fail(Error::INVALID);
                } else {
                    length = 0;
                    complete += 1;
                }
                if !out.has_room() {
                    // Who reads it may be slow: that is not the daemon's fault.
                    self.end_turn();
                    out.flush();
                    self.begin_turn();
                }
                if *byte == 0 { out.byte(b'\n') } else { out.quoted_byte(*byte) }
            }
        }
        if complete != number || length != 0 {
            self.fail(Error::INVALID);
        }
    }
}

/// A dump that is received.
pub struct Dump<'a> {
    source: &'a mut Peer,
    /// Entries that have not been received and checked yet.
    missing: usize,
    /// How many of its descriptors may be open at a time.
    room: usize,
}

impl<'a> Dump<'a> {
    /// Nothing yet.
    pub fn new(source: &'a mut Peer) -> Dump<'a> {
        Dump { source, missing: 0, room: DESCRIPTORS }
    }

    /// Asks the daemon for its dump and receives as much of it as there is room for: all of it,
    /// unless it is very large. The result is how many entries were announced.
    ///
    /// After asking, and before it reads the answer, it connects to where the dump is to be
    /// delivered, if that can be had without waiting.
    pub fn get(&mut self, window: &mut Window, mut delivery: Option<&mut Delivery>) -> usize {
        loop {
            self.source.connect();
            self.source.send(&message::GET_DUMP, &[]);
            let reserve = delivery.as_mut().map_or(0, |delivery| delivery.connect_early());
            // In front of it stands the number of frames, which says nothing: s6 2.11 counts
            // frames of 255, which it cannot send.
            let total = self.source.reply(8, 0);
            self.missing = total;
            if self.try_fill(window) {
                return total;
            }
            // Most transfers need no look at the limit. Asking again costs the source nothing.
            self.make_room(window.descriptors(), reserve);
            window.clear();
            self.source.stream.hang_up();
        }
    }

    /// Adapts to the process having had room for no more than `held` descriptors, which are still
    /// there: raises the limit, or else receives so many at a time, less the `reserve` that the
    /// delivery still needs. If that will not do either, says what the limit would have to be and ends
    /// the process; so it does if lack of room was not the reason.
    fn make_room(&mut self, held: usize, reserve: usize) {
        let loss = self.source.loss();
        if loss != Error::CROWDED {
            self.source.fail(loss);
        }
        if fd::raise_limit() {
            return;
        }
        let room = held.saturating_sub(reserve);
        let frame = self.missing.min(ENTRIES_MAX);
        if room < frame || room >= self.room {
            let limit = sys::open_file_limit().soft as usize;
            let (line, exit) = self.source.complain(Error::CROWDED);
            line.text(text!(": the open-file limit is ")).number(limit as u32);
            // The limit may have been lowered since these were received.
            let needed = limit.max(held) - held + reserve + frame;
            line.text(text!(", but has to be ")).number(needed as u32);
            line.text(text!(" at least")).end(exit);
        }
        self.room = room;
    }

    /// Says that it failed, and ends the process.
    pub fn fail(&self, error: Error) -> ! {
        self.source.fail(error)
    }

    /// Whether all entries have been received and checked.
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Receives frames into the window and checks them, until the dump is complete or there is
    /// no room for the next one. What the window held is gone.
    pub fn fill(&mut self, window: &mut Window) {
        self.source.begin_turn();
        if !self.try_fill(window) {
            self.source.fail(self.source.loss());
        }
    }

    /// The same; false if descriptors were lost for lack of room.
    fn try_fill(&mut self, window: &mut Window) -> bool {
        window.clear();
        while self.missing > 0 {
            // A header brings its descriptors along, so there must be room for them.
            let room = self.room.saturating_sub(window.descriptors());
            let most = self.missing.min(ENTRIES_MAX);
            // A frame of which a part is here has to be received whole.
            if room < most && window.rest().is_empty() && window.descriptors() > 0 {
                break;
            }
            // Where there is room for all that is missing, whatever has come can be taken.
            let all = self.missing <= room;
            if !self.receive(window, HEADER, all) {
                return false;
            }
            let Some(header) = Header::parse(window.rest()) else { break };
            if !header.is_entries(most) || header.descriptors != window.next_descriptors() {
                self.source.fail(Error::INVALID);
            }
            // That is the length of entries, which no sum with it exceeds.
            let whole = HEADER + header.length;
            if !self.receive(window, whole, all) {
                return false;
            }
            let payload = window.rest().get(HEADER..whole).unwrap_or_default();
            if message::count_entries(payload) != header.descriptors {
                self.source.fail(Error::INVALID);
            }
            window.advance(whole, header.descriptors);
            self.missing -= header.descriptors;
        }
        // Behind the last frame nothing may come.
        if window.rest().len() + window.next_descriptors() > 0 {
            self.source.fail(Error::INVALID);
        }
        window.rewind();
        if self.missing > 0 {
            self.source.end_turn();
        }
        true
    }

    /// Receives until there are `length` bytes from the next frame on, and no more unless it may
    /// be `all` that comes; false if descriptors were lost for lack of room.
    fn receive(&mut self, window: &mut Window, length: usize, all: bool) -> bool {
        while window.rest().len() < length {
            match window.receive(&mut self.source.stream, length, all) {
                Ok(()) => {}
                Err(Error::CROWDED) => return false,
                Err(error) => self.source.fail(error),
            }
        }
        true
    }
}

/// A dump that is delivered.
pub struct Delivery<'a> {
    destination: &'a mut Peer,
}

impl<'a> Delivery<'a> {
    /// Nothing yet.
    pub fn new(destination: &'a mut Peer) -> Delivery<'a> {
        Delivery { destination }
    }

    /// Connects to the daemon if that can be had without waiting. What comes of it counts only
    /// when [`Delivery::begin`] is called; how many descriptors that will need is the result.
    fn connect_early(&mut self) -> usize {
        let Peer { stream, path, .. } = self.destination;
        let _ = stream.try_connect(*path);
        usize::from(!stream.is_connected())
    }

    /// Connects to the daemon and announces `total` entries that it is to hold, in place of those
    /// it has of the same identifiers. With none there is nothing to announce.
    pub fn begin(&mut self, total: usize) {
        self.destination.connect();
        if total > 0 {
            self.destination.send(&message::set_dump(total as u32), &[]);
            // The reply says how many frames the daemon expects, by 255 again in s6 2.11.
            self.destination.reply(4, 0);
            PROGRESS.total.store(total, Relaxed);
        }
    }

    /// Sends the frames of a window on.
    pub fn send(&mut self, window: &mut Window) {
        self.destination.begin_turn();
        while let Some((frame, control, entries)) = window.take() {
            self.destination.send(frame, control);
            self.confirm(entries);
        }
        if PROGRESS.acknowledged.load(Relaxed) < PROGRESS.total.load(Relaxed) {
            // The rest has to come from the source first.
            self.destination.end_turn();
        }
    }

    /// Sends a frame that was made here.
    pub fn send_composed(&mut self, frame: &mut Composer) {
        self.destination.ask(frame);
        self.confirm(frame.descriptors());
    }

    /// Waits for the answer to a frame: `EAGAIN` while more is due, 0 when the dump is complete.
    fn confirm(&mut self, entries: usize) {
        let acknowledged = PROGRESS.acknowledged.load(Relaxed) + entries;
        let is_complete = acknowledged == PROGRESS.total.load(Relaxed);
        self.destination.reply(0, if is_complete { 0 } else { Errno::AGAIN.number() });
        PROGRESS.acknowledged.store(acknowledged, Relaxed);
    }
}
