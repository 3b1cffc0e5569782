//! Dumps: one that is received in windows, and one that is delivered.

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

/// A dump that is received.
pub struct Dump<'c, 'a> {
    /// Where it comes from.
    pub source: &'c mut Connection<'a>,
    /// Entries that have not been received and checked yet.
    missing: usize,
    /// How many of its descriptors may be open at a time.
    room: usize,
}

impl<'c, 'a> Dump<'c, 'a> {
    /// Nothing yet.
    pub fn new(source: &'c mut Connection<'a>) -> Self {
        Dump { source, missing: 0, room: DESCRIPTORS }
    }

    /// Asks the daemon for its dump and receives as much of it as there is room for: all of it,
    /// unless it is very large. The result is how many entries were announced.
    ///
    /// After asking, and before it reads the answer, it connects to where the dump is to be
    /// delivered, if that can be had without waiting.
    pub fn get(
        &mut self,
        window: &mut Window,
        mut delivery: Option<&mut Delivery>,
    ) -> Result<usize, Error> {
        loop {
            self.source.connect()?;
            self.source.stream.send(&GET_DUMP, &[])?;
            let reserve = delivery.as_mut().map_or(0, |delivery| delivery.connect_early());
            // In front of it stands the number of frames, which says nothing: s6 2.11 counts
            // frames of 255, which it cannot send.
            self.source.reply(Expected::DUMP, 0)?;
            let total = reply::number(&self.source.head, 4) as usize;
            self.missing = total;
            match self.try_fill(window) {
                Ok(()) => return Ok(total),
                Err(Error::Truncated) => {}
                Err(error) => return Err(error),
            }
            // Most transfers need no look at the limit. Asking again costs the source nothing.
            self.make_room(window.descriptors(), reserve)?;
            window.clear();
            self.source.stream.hang_up();
        }
    }

    /// Adapts to the process having had room for no more than `held` descriptors, which are still
    /// there: raises the limit, or else receives that many at a time, less the `reserve` that the
    /// delivery still needs. The error, if that will not do either, says what the limit would have to
    /// be, or that lack of room was not the reason.
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
            // The limit may have been lowered since these were received.
            let needed = limit.saturating_sub(held) + reserve + frame;
            return Err(Error::Crowded(needed));
        }
        self.room = room;
        Ok(())
    }

    /// Whether all entries have been received and checked.
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Receives frames into the window and checks them, until the dump is complete or there is
    /// no room for the next one. What the window held is gone.
    pub fn fill(&mut self, window: &mut Window) -> Result<(), Error> {
        match self.try_fill(window) {
            Err(Error::Truncated) => Err(self.source.loss()),
            filled => filled,
        }
    }

    /// The same; [`Error::Truncated`] if descriptors were lost.
    fn try_fill(&mut self, window: &mut Window) -> Result<(), Error> {
        window.clear();
        self.source.stream.begin_turn()?;
        while self.missing > 0 {
            // A header brings its descriptors along, so there must be room for them.
            let room = self.room.saturating_sub(window.descriptors());
            let most = self.missing.min(ENTRIES_MAX);
            // A frame of which a part is here has to be received whole.
            if room < most && window.rest().is_empty() {
                break;
            }
            // Where there is room for all that is missing, whatever has come can be taken.
            self.take_frame(window, most, self.missing <= room)?;
        }
        // Behind the last frame nothing may come.
        if !window.rest().is_empty() || window.next_descriptors() > 0 {
            return Err(Error::Invalid);
        }
        window.rewind();
        if self.missing > 0 {
            self.source.stream.end_turn()?;
        }
        Ok(())
    }

    /// Receives a frame of at most that many entries and checks it. More may come along if `all` is fine.
    fn take_frame(&mut self, window: &mut Window, most: usize, all: bool) -> Result<(), Error> {
        loop {
            let rest = window.rest();
            let mut whole = HEADER;
            if let Some(header) = Header::parse(rest) {
                if !header.is_entries(most) || header.descriptors != window.next_descriptors() {
                    return Err(Error::Invalid);
                }
                whole += header.length;
                if let Some(payload) = rest.get(HEADER..whole) {
                    let entries = Entries::parse(payload).ok_or(Error::Invalid)?;
                    if entries.len() != header.descriptors {
                        return Err(Error::Invalid);
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

/// A dump that is delivered.
pub struct Delivery<'c, 'a> {
    /// Where it goes.
    pub destination: &'c mut Connection<'a>,
    /// How many entries the destination has agreed to take; 0 as long as it has not.
    pub total: usize,
    /// How many of them it has said that it holds.
    pub acknowledged: usize,
}

impl<'c, 'a> Delivery<'c, 'a> {
    /// Nothing yet.
    pub fn new(destination: &'c mut Connection<'a>) -> Self {
        Delivery { destination, total: 0, acknowledged: 0 }
    }

    /// Connects to the daemon if that can be had without waiting. What comes of it counts only
    /// when [`Delivery::begin`] is called; how many descriptors that will need is the result.
    fn connect_early(&mut self) -> usize {
        let Connection { stream, path, .. } = self.destination;
        let _ = stream.try_connect(path);
        usize::from(!stream.is_connected())
    }

    /// Connects to the daemon and announces `total` entries that it is to hold, in place of those
    /// it has of the same identifiers. With none there is nothing to announce.
    pub fn begin(&mut self, total: usize) -> Result<(), Error> {
        self.destination.connect()?;
        if total > 0 {
            self.destination.stream.send(&open_set_dump(total as u32), &[])?;
            // The reply says how many frames the daemon expects, by 255 again in s6 2.11.
            self.destination.reply(Expected::FRAMES, 0)?;
            self.total = total;
        }
        Ok(())
    }

    /// Sends the frames of a window on.
    pub fn send(&mut self, window: &mut Window) -> Result<(), Error> {
        self.destination.stream.begin_turn()?;
        while let Some((frame, descriptors)) = window.take() {
            self.send_frame(frame, descriptors)?;
        }
        if self.acknowledged < self.total {
            // The rest has to come from the source first.
            self.destination.stream.end_turn()?;
        }
        Ok(())
    }

    /// Sends a frame, and waits for its answer: `EAGAIN` while more is due, 0 when the dump is
    /// complete.
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
