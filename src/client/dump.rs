//! Dumps: receiving one in windows, and delivering one.

use super::Connection;
use crate::io::error::Error;
use crate::io::pool::{DESCRIPTORS, Window};
use crate::protocol::entry::Entries;
use crate::protocol::frame::{ENTRIES_MAX, HEADER, Header};
use crate::protocol::reply::{self, Expected};
use crate::protocol::request::{GET_DUMP, open_set_dump};
use crate::sys::Errno;
use crate::sys::fd::BorrowedFd;
use crate::sys::limit::OpenFileLimit;

/// A dump that is being received.
pub struct Dump<'c, 'a> {
    /// The daemon that sends it.
    pub source: &'c mut Connection<'a>,
    /// The number of entries that have not been received and checked.
    missing: usize,
    /// The most descriptors of the dump that may be open at a time.
    room: usize,
}

impl<'c, 'a> Dump<'c, 'a> {
    /// A dump that has not been requested.
    pub fn new(source: &'c mut Connection<'a>) -> Self {
        Dump { source, missing: 0, room: DESCRIPTORS }
    }

    /// Requests the dump and receives as much of it as fits into the window: all, unless it is very
    /// large. Returns the number of entries that the daemon announces.
    ///
    /// Before it reads the reply, it connects `delivery` to its daemon, if that is possible without
    /// waiting.
    pub fn get(
        &mut self,
        window: &mut Window,
        mut delivery: Option<&mut Delivery>,
    ) -> Result<usize, Error> {
        loop {
            self.source.connect()?;
            self.source.stream.send(&GET_DUMP, &[])?;
            let reserve = delivery.as_mut().map_or(0, |delivery| delivery.connect_early());
            // The number of frames comes first. It is not checked: s6 2.11 counts frames of 255
            // entries, which it cannot send.
            self.source.reply(Expected::DUMP, 0)?;
            let total = reply::number(&self.source.head, 4) as usize;
            self.missing = total;
            match self.try_fill(window) {
                Ok(()) => return Ok(total),
                Err(Error::Truncated) => {}
                Err(error) => return Err(error),
            }
            // The limit is checked only now, since most transfers stay below it. A second request
            // changes nothing at the source.
            self.make_room(window.descriptors(), reserve)?;
            window.clear();
            self.source.stream.hang_up();
        }
    }

    /// Reacts to lost descriptors. The process had room for `held`, which are still open. Raises the
    /// limit on open files, or else limits each window to `held` descriptors, less the `reserve` that
    /// the delivery needs. If that is not enough for a frame, the error is [`Error::LimitTooLow`] with the
    /// limit that would be. [`Error::Withheld`] if the process does have room.
    fn make_room(&mut self, held: usize, reserve: usize) -> Result<(), Error> {
        let loss = self.source.loss();
        if !matches!(loss, Error::Truncated) {
            return Err(loss);
        }
        if self.source.stream.open_files().raise() {
            return Ok(());
        }
        let room = held.saturating_sub(reserve);
        let frame = self.missing.min(ENTRIES_MAX);
        if room < frame || room >= self.room {
            let limit = OpenFileLimit::get().soft as usize;
            // The limit may have been lowered since, to less than `held`.
            let needed = limit.saturating_sub(held) + reserve + frame;
            return Err(Error::LimitTooLow(needed));
        }
        self.room = room;
        Ok(())
    }

    /// True if all entries have been received and checked.
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Receives frames into the window and checks them, until the dump is complete or the window has no
    /// room for the next frame. Closes what the window held before.
    pub fn fill(&mut self, window: &mut Window) -> Result<(), Error> {
        match self.try_fill(window) {
            Err(Error::Truncated) => Err(self.source.loss()),
            filled => filled,
        }
    }

    /// As [`Dump::fill`], with [`Error::Truncated`] for all lost descriptors.
    fn try_fill(&mut self, window: &mut Window) -> Result<(), Error> {
        window.clear();
        self.source.stream.begin_turn()?;
        while self.missing > 0 {
            // A frame's descriptors come with its header, so there must be room for them first.
            let room = self.room.saturating_sub(window.descriptors());
            let most = self.missing.min(ENTRIES_MAX);
            // A frame of which a part is here must be received whole.
            if room < most && window.rest().is_empty() {
                break;
            }
            // With room for all missing entries, the window can take every byte that has come.
            self.take_frame(window, most, self.missing <= room)?;
        }
        // Nothing may follow the last frame.
        if !window.rest().is_empty() || window.next_descriptors() > 0 {
            return Err(Error::Protocol);
        }
        window.rewind();
        if self.missing > 0 {
            self.source.stream.end_turn()?;
        }
        Ok(())
    }

    /// Receives a frame of at most `most` entries and checks it. With `all`, bytes of later frames may
    /// come with it.
    fn take_frame(&mut self, window: &mut Window, most: usize, all: bool) -> Result<(), Error> {
        loop {
            let rest = window.rest();
            let mut whole = HEADER;
            if let Some(header) = Header::parse(rest) {
                if !header.is_entries(most) || header.descriptors != window.next_descriptors() {
                    return Err(Error::Protocol);
                }
                whole += header.length;
                if let Some(payload) = rest.get(HEADER..whole) {
                    let entries = Entries::parse(payload).ok_or(Error::Protocol)?;
                    if entries.len() != header.descriptors {
                        return Err(Error::Protocol);
                    }
                    window.advance(whole);
                    self.missing -= header.descriptors;
                    return Ok(());
                }
            }
            window.receive(&mut self.source.stream, whole, all)?;
        }
    }
}

/// A dump that is being delivered.
pub struct Delivery<'c, 'a> {
    /// The daemon that receives it.
    pub destination: &'c mut Connection<'a>,
    /// The number of entries that the daemon has agreed to take; 0 before it has.
    pub total: usize,
    /// The number of entries that the daemon has acknowledged.
    pub acknowledged: usize,
}

impl<'c, 'a> Delivery<'c, 'a> {
    /// A delivery that has not begun.
    pub fn new(destination: &'c mut Connection<'a>) -> Self {
        Delivery { destination, total: 0, acknowledged: 0 }
    }

    /// Connects to the daemon if that is possible without waiting. Returns the number of descriptors
    /// that [`Delivery::begin`] will need; that function also reports an error.
    fn connect_early(&mut self) -> usize {
        let Connection { stream, path, .. } = self.destination;
        let _ = stream.try_connect(path);
        usize::from(!stream.is_connected())
    }

    /// Connects to the daemon and opens a set dump of `total` entries. The daemon will hold them in
    /// place of those with the same identifiers. A dump without entries is not announced.
    pub fn begin(&mut self, total: usize) -> Result<(), Error> {
        self.destination.connect()?;
        if total > 0 {
            self.destination.stream.send(&open_set_dump(total as u32), &[])?;
            // The reply has the number of frames that the daemon expects. It is ignored: s6 2.11 again
            // counts 255 entries per frame.
            self.destination.reply(Expected::FRAMES, 0)?;
            self.total = total;
        }
        Ok(())
    }

    /// Sends the frames of a window.
    pub fn send(&mut self, window: &mut Window) -> Result<(), Error> {
        self.destination.stream.begin_turn()?;
        while let Some((frame, descriptors)) = window.take() {
            self.send_frame(frame, descriptors)?;
        }
        if self.acknowledged < self.total {
            // The next window comes from the source first.
            self.destination.stream.end_turn()?;
        }
        Ok(())
    }

    /// Sends a frame and reads its answer: `EAGAIN` if more is due, 0 if the dump is complete.
    pub fn send_frame(&mut self, frame: &[u8], descriptors: &[BorrowedFd]) -> Result<(), Error> {
        self.destination.stream.send(frame, descriptors)?;
        let acknowledged = self.acknowledged + descriptors.len();
        let is_complete = acknowledged == self.total;
        let status = if is_complete { 0 } else { Errno::AGAIN.number() as u8 };
        self.destination.reply(Expected::STATUS, status)?;
        self.acknowledged = acknowledged;
        Ok(())
    }
}
