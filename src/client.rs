//! A session with a daemon, from the client's side.

use crate::deadline::Deadline;
use crate::fd;
use crate::message::{self, ENTRIES_MAX, EXTRA_MAX, HEADER, Header, STATUS};
use crate::pool::{DESCRIPTORS, Window};
use crate::socket::{Error, Stream};
use crate::sys::{self, Errno};

/// Reads a reply: the status, and behind a favourable one `extra` bytes, of which the last four
/// are a number, the result.
fn reply(stream: &mut Stream, extra: usize) -> Result<usize, Error> {
    let mut bytes = [0; STATUS + EXTRA_MAX];
    let mut have = 0;
    loop {
        let whole = message::reply(&bytes, have, extra).map_err(Error::failed)?;
        let rest = &mut bytes[have..whole];
        if rest.is_empty() {
            let [a, b, c, d] = *bytes[whole - 4..].first_chunk().ok_or(Error::INVALID)?;
            return Ok(u32::from_be_bytes([a, b, c, d]) as usize);
        }
        // Descriptors are not due here, and the kernel closes them.
        have += stream.receive(rest, None).map_err(|error| match error {
            Error::CROWDED => Error::INVALID,
            other => other,
        })?;
    }
}

/// A dump that is received.
pub struct Dump {
    source: Stream,
    total: usize,
    /// Entries that have not been received and checked yet.
    missing: usize,
    /// How many of its descriptors may be open at a time.
    room: usize,
    /// What the limit on open files would have to be, where it has no room for a frame.
    limit: usize,
}

impl Dump {
    /// Nothing yet, to be received within the deadline.
    pub fn new(deadline: Deadline) -> Dump {
        let source = Stream::new(deadline);
        Dump { source, total: 0, missing: 0, room: DESCRIPTORS, limit: 0 }
    }

    /// Asks the daemon at `path` for its dump and receives as much of it as there is room for:
    /// all of it, unless it is very large.
    ///
    /// After asking, and before it reads the answer, it does something else, the result of which
    /// is how many descriptors that will need later.
    pub fn get(
        &mut self,
        path: &[u8],
        window: &mut Window,
        mut meanwhile: impl FnMut() -> usize,
    ) -> Result<(), Error> {
        loop {
            self.source.connect(path)?;
            self.source.send(&message::GET_DUMP, None)?;
            let reserve = meanwhile();
            // In front of it stands the number of frames, which says nothing: s6 2.11 counts
            // frames of 255, which it cannot send.
            self.total = reply(&mut self.source, 8)?;
            self.missing = self.total;
            match self.fill(window) {
                // Most transfers need no look at the limit. Asking again costs the source nothing.
                Err(Error::CROWDED) if self.make_room(reserve) => self.source.hang_up(),
                result => return result,
            }
        }
    }

    /// Finds out how many descriptors can be open at a time, after that proved to be too few.
    /// False if nothing can be gained: then it is known what the limit would have to be.
    fn make_room(&mut self, reserve: usize) -> bool {
        let raised = fd::raise_limit();
        let free = fd::room(DESCRIPTORS);
        let room = free.saturating_sub(reserve);
        let frame = self.missing.min(ENTRIES_MAX);
        self.limit = sys::open_file_limit().soft as usize - free + reserve + frame;
        let gain = raised || room < self.room;
        self.room = room;
        gain && room >= frame
    }

    /// How many entries were announced.
    pub fn total(&self) -> usize {
        self.total
    }

    /// What the limit on open files would have to be, where it has no room for a frame.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether all entries have been received and checked.
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Receives frames into the window and checks them, until the dump is complete or there is
    /// no room for the next one. What the window held is gone, and after an error everything is.
    pub fn fill(&mut self, window: &mut Window) -> Result<(), Error> {
        window.clear();
        let filled = self.fill_empty(window);
        if filled.is_err() {
            window.clear();
        }
        filled
    }

    fn fill_empty(&mut self, window: &mut Window) -> Result<(), Error> {
        while self.missing > 0 {
            // A header brings its descriptors along, so there must be room for them.
            let room = self.room.saturating_sub(window.descriptors());
            let bytes = window.unchecked();
            let mut whole = HEADER;
            if let Some(header) = Header::parse(bytes) {
                let due = window.unchecked_descriptors().min(self.missing);
                if !header.is_entries(due) {
                    return Err(Error::INVALID);
                }
                whole += header.length;
                if let Some(payload) = bytes.get(HEADER..whole) {
                    if message::count_entries(payload) != header.descriptors {
                        return Err(Error::INVALID);
                    }
                    window.claim(whole, header.descriptors);
                    self.missing -= header.descriptors;
                    continue;
                }
            } else if window.descriptors() > 0 && room < self.missing.min(ENTRIES_MAX) {
                return Ok(());
            }
            // Where there is room for all that is missing, whatever has come can be taken.
            let limit = if self.missing <= room { usize::MAX } else { whole - bytes.len() };
            window.receive(&mut self.source, limit)?;
        }
        // Behind the last frame nothing may come.
        let rest = window.unchecked().len() + window.unchecked_descriptors();
        if rest == 0 { Ok(()) } else { Err(Error::INVALID) }
    }
}

/// A dump that is delivered.
pub struct Delivery {
    destination: Stream,
    total: usize,
    acknowledged: usize,
}

impl Delivery {
    /// Nothing yet, to be delivered within the deadline.
    pub fn new(deadline: Deadline) -> Delivery {
        Delivery { destination: Stream::new(deadline), total: 0, acknowledged: 0 }
    }

    /// The connection.
    pub fn destination(&mut self) -> &mut Stream {
        &mut self.destination
    }

    /// Announces `total` entries, one at the least, that the daemon is to hold, in place of those
    /// it has of the same identifiers.
    pub fn begin(&mut self, total: usize) -> Result<(), Error> {
        self.destination.send(&message::set_dump(total as u32), None)?;
        // The reply says how many frames the daemon expects; as above, it is not relied on.
        let _frames = reply(&mut self.destination, 4)?;
        self.total = total;
        Ok(())
    }

    /// Whether the daemon has agreed to take a dump.
    pub fn has_begun(&self) -> bool {
        self.total > 0
    }

    /// How many entries the daemon has said that it holds now.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// Sends the frames of a window on and waits for the answer to each: `EAGAIN` while more is
    /// due, 0 when the dump is complete.
    pub fn send(&mut self, window: &mut Window) -> Result<(), Error> {
        const MORE: Error = Error::failed(Errno::AGAIN);
        while let Some((frame, control, entries)) = window.next() {
            let mut sent = self.destination.send(frame, Some(control));
            // The kernel bounds the descriptors that a user has in flight by the soft limit.
            if sent == Err(Error::local(Errno::TOOMANYREFS)) && fd::raise_limit() {
                sent = self.destination.send(frame, Some(control));
            }
            match sent {
                // Before the daemon hung up it may have said why.
                Ok(()) | Err(Error::CLOSED) => {}
                failed => return failed,
            }
            let acknowledged = self.acknowledged + entries;
            match reply(&mut self.destination, 0) {
                Ok(_) if acknowledged == self.total => {}
                Err(MORE) if acknowledged < self.total => {}
                Ok(_) | Err(MORE) => return Err(Error::INVALID),
                Err(error) => return Err(error),
            }
            self.acknowledged = acknowledged;
        }
        Ok(())
    }
}
