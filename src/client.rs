//! A session with a daemon, from the client's side.

use crate::deadline::Deadline;
use crate::fd::{Fd, make_room};
use crate::message::{self, ENTRIES_MAX, FRAME_MAX, HEADER, Header};
use crate::pool::{DESCRIPTORS, Window};
use crate::socket::{Error, Stream};
use crate::sys::Errno;

/// The bytes of a reply that says no more than yes or no.
const STATUS: usize = HEADER + 1;

/// A connection to a daemon.
pub struct Session<'d> {
    stream: Stream<'d>,
}

impl<'d> Session<'d> {
    /// Connects to the daemon at `path`, or goes on with the connection that
    /// [`crate::socket::connect_at_once`] made.
    pub fn connect(
        early: Option<Fd>,
        path: &[u8],
        deadline: &'d mut Deadline,
    ) -> Result<Session<'d>, Error> {
        let stream = match early {
            Some(fd) => Stream::adopt(fd, deadline),
            None => Stream::connect(path, deadline),
        };
        stream.map(|stream| Session { stream }).map_err(Error::Unreachable)
    }

    /// Reads a reply as long as `reply`: header, status and what comes behind a favourable one.
    fn reply(&mut self, reply: &mut [u8]) -> Result<(), Error> {
        let extra = reply.len() - STATUS;
        let mut have = 0;
        loop {
            let missing = missing(reply.get(..have).unwrap_or_default(), extra)?;
            if missing == 0 {
                return Ok(());
            }
            let part = reply.get_mut(have..have + missing).unwrap_or_default();
            self.stream.receive_exactly(part)?;
            have += missing;
        }
    }

    /// Sends a request of at most 5 bytes.
    fn request(&mut self, payload: &[u8]) -> Result<(), Error> {
        let mut frame = [0; HEADER + 5];
        let length = payload.len();
        let head = Header { length, descriptors: 0 }.bytes();
        for (to, from) in frame.iter_mut().zip(head.iter().chain(payload)) {
            *to = *from;
        }
        self.stream.send(frame.get(..HEADER + length).unwrap_or_default(), None)
    }

    /// Asks for a dump. The answer is read by [`Session::dump`].
    pub fn ask_for_dump(&mut self) -> Result<(), Error> {
        self.request(b"?").map_err(refused)
    }

    /// Reads how large the dump is that was asked for.
    ///
    /// Without `careful`, all that has come is taken, the first frame and its descriptors
    /// perhaps among it: that fails with [`Error::Truncated`] if the open-file limit has no room
    /// for one frame.
    pub fn dump(mut self, window: &mut Window, careful: bool) -> Result<Dump<'d>, Error> {
        loop {
            let missing = missing(window.unchecked(), 8)?;
            if missing == 0 {
                break;
            }
            self.receive(window, if careful { missing } else { usize::MAX }).map_err(refused)?;
        }
        let numbers = window.unchecked().get(STATUS..).unwrap_or_default();
        // The number of frames says nothing: s6 2.11 counts frames of 255, which it cannot send.
        let (_frames, rest) = message::number(numbers)?;
        let (total, _) = message::number(rest)?;
        window.pass(STATUS + 8);
        Ok(Dump::new(self, total as usize, window.descriptors(), careful))
    }

    /// Receives one or more bytes into the window, `limit` at the most.
    fn receive(&mut self, window: &mut Window, limit: usize) -> Result<(), Error> {
        let n = self.stream.receive(window.inbox(limit))?;
        window.received(n);
        Ok(())
    }

    /// Announces `total` entries, one at the least, that the daemon is to hold, in place of those
    /// it has of the same identifiers.
    pub fn set_dump(mut self, total: usize) -> Result<Delivery<'d>, Error> {
        let [a, b, c, d] = (total as u32).to_be_bytes();
        self.request(&[b'!', a, b, c, d]).map_err(refused)?;
        // The reply says how many frames the daemon expects; as above, it is not relied on.
        self.reply(&mut [0; STATUS + 4]).map_err(refused)?;
        Ok(Delivery { destination: self, total, acknowledged: 0, sent: Ring::default() })
    }
}

/// A daemon that hangs up on the first request may have meant the user.
fn refused(error: Error) -> Error {
    if error == Error::Closed { Error::Refused } else { error }
}

/// How many bytes of a reply have to come yet: all of the status, and if that is favourable,
/// `extra` bytes behind it. An unfavourable status is [`Error::Denied`].
fn missing(reply: &[u8], extra: usize) -> Result<usize, Error> {
    let Some(header) = Header::parse(reply) else { return Ok(STATUS - reply.len()) };
    let payload = reply.get(HEADER..).unwrap_or_default();
    if header.descriptors != 0 || payload.is_empty() {
        return if header.descriptors == 0 { Ok(1) } else { Err(Error::Invalid) };
    }
    let length = header.length;
    let rest = message::status(payload.get(..length).unwrap_or(payload))?.map_err(Error::Denied)?;
    if length == 1 + extra { Ok(extra.saturating_sub(rest.len())) } else { Err(Error::Invalid) }
}

/// A dump that is being received.
pub struct Dump<'d> {
    source: Session<'d>,
    total: usize,
    /// Entries that have not been received and checked yet.
    missing: usize,
    /// How many of its descriptors may be open at a time.
    room: usize,
    /// The limit on open files, and how many were open before; once it has been looked at.
    limit: Option<(usize, usize)>,
}

impl<'d> Dump<'d> {
    fn new(source: Session<'d>, total: usize, held: usize, careful: bool) -> Dump<'d> {
        let mut dump = Dump { source, total, missing: total, room: DESCRIPTORS, limit: None };
        // A frame or less is simply tried: most transfers need no look at limits.
        if careful || total > ENTRIES_MAX {
            let (free, limit) = make_room(DESCRIPTORS);
            dump.room = (free + held).min(DESCRIPTORS);
            dump.limit = Some((limit, limit.saturating_sub(free + held)));
        }
        dump
    }

    /// How many entries were announced.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether all entries have been received and checked.
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Adds to the loss of descriptors what is known of the open-file limit.
    fn explained(&self, error: Error) -> Error {
        match (error, self.limit) {
            (Error::Truncated, Some((limit, open))) => {
                Error::Limit { limit, needed: open + self.total.min(ENTRIES_MAX) }
            }
            _ => error,
        }
    }

    /// Receives frames and checks them, until the dump is complete or the next one has no room.
    /// What the window held before and has left it is gone.
    pub fn fill(&mut self, window: &mut Window) -> Result<(), Error> {
        window.recycle();
        while self.missing > 0 {
            let bytes = window.unchecked();
            let needed = match Header::parse(bytes) {
                None => {
                    // A header brings its descriptors along, so there must be room for them.
                    let frame = self.missing.min(ENTRIES_MAX);
                    let room =
                        window.descriptors() + frame <= self.room && window.space() >= FRAME_MAX;
                    if window.has_frames() && !room {
                        return Ok(());
                    }
                    HEADER
                }
                Some(head) => {
                    if !head.is_entries() || head.descriptors > window.unclaimed().min(self.missing)
                    {
                        return Err(Error::Invalid);
                    }
                    let whole = HEADER + head.length;
                    if let Some(payload) = bytes.get(HEADER..whole) {
                        if message::count_entries(payload)? != head.descriptors {
                            return Err(Error::Invalid);
                        }
                        window.claim(whole, head.descriptors);
                        self.missing -= head.descriptors;
                        continue;
                    }
                    whole
                }
            };
            let fits = self.total <= self.room;
            let limit = if fits { usize::MAX } else { needed - bytes.len() };
            self.source.receive(window, limit).map_err(|error| self.explained(error))?;
        }
        // Behind the last frame nothing may come.
        if window.unchecked().is_empty() && window.unclaimed() == 0 {
            Ok(())
        } else {
            Err(Error::Invalid)
        }
    }
}

/// How many frames may be on their way to a daemon without an answer.
const UNANSWERED: usize = crate::pool::FRAMES;

/// The numbers of entries in the frames that are on their way.
#[derive(Default)]
struct Ring {
    entries: [usize; UNANSWERED],
    begin: usize,
    length: usize,
}

/// A dump that is being delivered.
pub struct Delivery<'d> {
    destination: Session<'d>,
    total: usize,
    acknowledged: usize,
    sent: Ring,
}

impl Delivery<'_> {
    /// How many entries the daemon has said that it holds now.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// Sends the frames of a window on and waits until all of them are answered.
    pub fn send(&mut self, window: &mut Window) -> Result<(), Error> {
        while let Some(frame) = window.outgoing() {
            if self.sent.length == UNANSWERED {
                self.answer()?;
            }
            while let Err(error) = self.destination.stream.send(frame.bytes, Some(frame.control)) {
                match error {
                    // The kernel bounds the descriptors that a user has in flight. What the
                    // daemon has answered it has received.
                    Error::Local(Errno::TOOMANYREFS) if self.sent.length > 0 => self.answer()?,
                    // Before the daemon hung up it may have said why.
                    Error::Closed => return self.answers().and(Err(error)),
                    _ => return Err(error),
                }
            }
            let at = (self.sent.begin + self.sent.length) % UNANSWERED;
            if let Some(slot) = self.sent.entries.get_mut(at) {
                *slot = frame.entries;
                self.sent.length += 1;
            }
        }
        self.answers()
    }

    /// Reads the answers to all frames on their way.
    fn answers(&mut self) -> Result<(), Error> {
        while self.sent.length > 0 {
            self.answer()?;
        }
        Ok(())
    }

    /// Reads the answer to the frame that has been on its way the longest: `EAGAIN` while more
    /// is due, 0 when the dump is complete.
    fn answer(&mut self) -> Result<(), Error> {
        let answered = self.destination.reply(&mut [0; STATUS]);
        let entries = self.sent.entries.get(self.sent.begin).copied().unwrap_or(0);
        let complete = self.acknowledged + entries == self.total;
        match answered {
            Ok(()) if complete => {}
            Err(Error::Denied(Errno::AGAIN)) if !complete => {}
            Ok(()) | Err(Error::Denied(Errno::AGAIN)) => return Err(Error::Invalid),
            refused => return refused,
        }
        self.sent.begin = (self.sent.begin + 1) % UNANSWERED;
        self.sent.length -= 1;
        self.acknowledged += entries;
        Ok(())
    }
}
