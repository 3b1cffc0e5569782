//! A connection: requests out of any pieces that they come in, and answers into a socket that has
//! room for them or not.
//!
//! Everybody is served with the same [`Buffer`]. Only a client of which something is left in it, the
//! beginning of a request, or what of an answer there was no room for, keeps it, until that is over;
//! the next one gets the buffer that the client would have had otherwise. What is left of an answer
//! is no bytes but a list of slots of the [`Table`], so every piece of it is made when it can be
//! sent, out of what was held when it was asked for.

use super::request::{Answer, Descriptors, Request, Service, Session, frames};
use super::table::{Need, Table};
use crate::fd::Fd;
use crate::message::{ENTRIES_MAX, FRAME_MAX, HEADER, Header, IDENTIFIER_MAX};
use crate::pool::Composer;
use crate::sys::memory::{Memory, PAGE_MAX, Pages};
use crate::sys::{self, CONTROL_HEADER, CONTROL_MAX, Errno, Message};
use core::mem;

/// Bytes of the longest request: a frame of a set dump.
const REQUEST_MAX: usize = FRAME_MAX + 1;
/// The same without its header.
const PAYLOAD_MAX: usize = REQUEST_MAX - HEADER;
/// How many pieces of an answer go out before it is somebody else's turn.
const PIECES: usize = 8;

/// What a client is served with.
pub struct Buffer {
    /// What has come of requests.
    bytes: Pages<u8>,
    /// The control message that came with it, and behind [`CONTROL_MAX`] the slots that an answer
    /// is about.
    words: Pages<i32>,
}

/// Bytes of the first part.
const BYTES: usize = REQUEST_MAX.next_multiple_of(PAGE_MAX);

/// Numbers of the second part, if so many descriptors may be held.
fn words(most: usize) -> usize {
    (CONTROL_MAX + most).next_multiple_of(PAGE_MAX / size_of::<i32>())
}

impl Buffer {
    /// Bytes of memory for one, if so many descriptors may be held.
    pub fn size(most: usize) -> usize {
        words(most).saturating_mul(size_of::<i32>()).saturating_add(BYTES)
    }

    /// One, out of memory from which nothing else is taken: it consists of whole pages.
    pub fn new(memory: &mut Memory, most: usize) -> Buffer {
        Buffer { bytes: memory.pages(BYTES), words: memory.pages(words(most)) }
    }

    /// Gives the memory back until it is used again. There must be nothing in it.
    pub fn give_back(&mut self) {
        self.bytes.give_back();
        self.words.give_back();
    }

    /// The slots of an answer.
    fn slots(&mut self) -> &mut [i32] {
        self.words.get_mut(CONTROL_MAX..).unwrap_or_default()
    }
}

/// A client.
pub struct Client {
    fd: Fd,
    /// Who it is, and what it is doing.
    pub session: Session,
    /// How many bytes of requests there are, and how many descriptors that came with them.
    have: usize,
    descriptors: usize,
    reply: Reply,
    /// When it has sent or taken something for the last time, in milliseconds.
    pub moved: u64,
    /// Why it is to be hung up on, if it is.
    pub doom: Option<Errno>,
    /// Whether something of it is left in its buffer.
    pub is_kept: bool,
    /// Whether the kernel takes no more descriptors of this user's at the moment. Nothing tells when
    /// that is over, only trying again does.
    pub is_crowded: bool,
}

impl Client {
    /// One that has just connected.
    pub fn new(fd: Fd, session: Session, moved: u64) -> Client {
        Client {
            fd,
            session,
            have: 0,
            descriptors: 0,
            reply: Reply::NOTHING,
            moved,
            doom: None,
            is_kept: false,
            is_crowded: false,
        }
    }

    /// The number of its descriptor.
    pub fn number(&self) -> i32 {
        self.fd.number()
    }

    /// Whether an answer is on its way.
    pub fn is_answered(&self) -> bool {
        self.reply.answer.is_some()
    }

    /// Whether something has to be left in its buffer.
    pub fn has_rest(&self) -> bool {
        self.is_answered() || self.have > 0
    }

    /// Whether it is in the middle of an operation.
    pub fn is_busy(&self) -> bool {
        self.has_rest() || self.session.missing > 0
    }

    /// Whether an answer refers to slots of the table.
    pub fn needs_slots(&self) -> bool {
        self.reply.is_needed
    }

    /// Whether there is a whole request, or what can never become one, so that there is nothing to
    /// wait for.
    pub fn has_request(&self, buffer: &Buffer) -> bool {
        let bytes = buffer.bytes.get(..self.have).unwrap_or_default();
        Header::parse(bytes).is_some_and(|header| {
            header.length > PAYLOAD_MAX || bytes.len() >= HEADER + header.length
        })
    }

    /// How many descriptors came with what has been received.
    pub fn descriptors(&self) -> usize {
        self.descriptors
    }

    /// Receives what has come; false if nothing has.
    pub fn receive(&mut self, buffer: &mut Buffer) -> Result<bool, Errno> {
        let Buffer { bytes, words } = buffer;
        let (mut end, mut control) =
            (REQUEST_MAX, words.get_mut(..CONTROL_MAX).unwrap_or_default());
        if self.have > 0 {
            // No more than belongs to this request is received, and descriptors would come too
            // late: so there is never more than one control message.
            let header = bytes.get(..self.have).and_then(Header::parse);
            end = header.map_or(HEADER, |header| HEADER + header.length);
            control = &mut [];
        }
        if let Some(length) = control.first_mut() {
            *length = 0;
        }
        let place = bytes.get_mut(self.have..end).unwrap_or_default();
        let received = Message::incoming(place, control).exchange(self.fd.number());
        if self.have == 0 {
            self.descriptors = sys::control_length(words).saturating_sub(CONTROL_HEADER);
        }
        match received {
            Ok(0) => Err(Errno::PIPE),
            Ok(received) => {
                self.have += received;
                Ok(true)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Has a request done, if it is there whole. The table needs a slot for each descriptor that
    /// came with it, or for as many as may be held.
    pub fn take(&mut self, buffer: &mut Buffer, service: &mut Service) -> Result<(), Errno> {
        let Buffer { bytes, words } = buffer;
        let Some(bytes) = bytes.get_mut(..self.have) else { return Ok(()) };
        let Some(header) = Header::parse(bytes) else { return Ok(()) };
        let whole = HEADER + header.length;
        // It has all descriptors that have come, unless they belong to what comes behind it.
        let is_for_next = header.descriptors == 0 && self.have > whole;
        if header.length > PAYLOAD_MAX || header.descriptors != self.descriptors && !is_for_next {
            return Err(Errno::PROTO);
        }
        let Some(payload) = bytes.get(HEADER..whole) else { return Ok(()) };
        let mut descriptors = 0;
        if !is_for_next {
            descriptors = mem::take(&mut self.descriptors);
        }
        let request = Request {
            service,
            session: &mut self.session,
            payload,
            descriptors: own(words, descriptors),
            identifier: &[],
            answer: Answer::Status(0),
        };
        let answer = request.handle();
        // What came behind it is the beginning of the next request.
        self.have -= whole;
        if self.have > 0 {
            bytes.copy_within(whole.., 0);
        }
        self.reply.begin(answer, &mut service.table, buffer.slots());
        Ok(())
    }

    /// Sends what there is room for; false if that was nothing.
    pub fn send(
        &mut self,
        buffer: &mut Buffer,
        out: &mut Composer,
        table: &mut Table,
    ) -> Result<bool, Errno> {
        let mut has_moved = false;
        self.is_crowded = false;
        for _ in 0..PIECES {
            let Some(end) = self.reply.compose(out, table, buffer.slots()) else {
                return Ok(has_moved);
            };
            // Behind the first piece of a list nothing is a frame; what is in front is skipped.
            let skip = self.reply.sent + if self.reply.is_list() { HEADER } else { 0 };
            let (bytes, mut control) = out.frame();
            if self.reply.sent > 0 {
                control = &[];
            }
            let bytes = bytes.get(skip..).unwrap_or_default();
            let mut message = Message::outgoing(bytes, control);
            while message.remaining() > 0 {
                match message.exchange(self.fd.number()) {
                    Ok(sent) => {
                        self.reply.sent += sent;
                        has_moved = true;
                    }
                    Err(errno @ (Errno::AGAIN | Errno::TOOMANYREFS)) => {
                        self.is_crowded = errno == Errno::TOOMANYREFS;
                        self.reply.need(buffer.slots(), table);
                        return Ok(has_moved);
                    }
                    Err(errno) => return Err(errno),
                }
            }
            self.reply.advance(end, buffer.slots(), table, true);
        }
        self.reply.need(buffer.slots(), table);
        Ok(has_moved)
    }

    /// Lets go of all that it has, but for the connection itself.
    pub fn leave(&mut self, buffer: &mut Buffer, table: &mut Table) {
        drop(own(&mut buffer.words, self.descriptors));
        self.reply.advance(self.reply.end, buffer.slots(), table, false);
    }
}

/// The first so many descriptors of a control message.
fn own(control: &mut [i32], number: usize) -> Descriptors<'_> {
    let end = CONTROL_HEADER + number;
    Descriptors(control.get_mut(CONTROL_HEADER..end).unwrap_or_default().iter_mut())
}

/// An answer, as far as it has not been sent.
struct Reply {
    /// What it is; nothing if all has been sent.
    answer: Option<Answer>,
    /// Bytes of all identifiers in a list.
    length: usize,
    /// Whether its beginning has been sent.
    is_begun: bool,
    /// How much of the next piece has been sent.
    sent: usize,
    /// The slots that it is still about.
    next: usize,
    end: usize,
    /// Whether the table has been told so.
    is_needed: bool,
}

impl Reply {
    const NOTHING: Reply = Reply {
        answer: None,
        length: 0,
        is_begun: false,
        sent: 0,
        next: 0,
        end: 0,
        is_needed: false,
    };

    /// Begins to give an answer; the slots that it is about go into `slots`.
    fn begin(&mut self, answer: Answer, table: &mut Table, slots: &mut [i32]) {
        *self = Reply { answer: Some(answer), ..Reply::NOTHING };
        let one;
        let about = match answer {
            Answer::Status(_) | Answer::Expect(_) => return,
            Answer::Descriptor(slot) | Answer::LastDescriptor(slot) => {
                one = [slot];
                &one
            }
            Answer::List | Answer::Dump => table.held(),
        };
        for (to, from) in slots.iter_mut().zip(about) {
            *to = *from as i32;
        }
        self.end = about.len();
        if answer == Answer::List {
            for slot in slots.iter().take(self.end) {
                self.length += table.slot(*slot as u32).identifier().len() + 1;
            }
        }
    }

    /// Whether it is a list.
    fn is_list(&self) -> bool {
        self.answer == Some(Answer::List)
    }

    /// Makes the next piece, if there is one, and says up to which slot it goes. That of a list has
    /// a place for a header in front, but no header.
    fn compose(&self, out: &mut Composer, table: &mut Table, slots: &[i32]) -> Option<usize> {
        let answer = self.answer?;
        let (is_list, is_dump) = (self.is_list(), answer == Answer::Dump);
        let mut most = if is_list { usize::MAX } else { ENTRIES_MAX };
        out.clear();
        if !self.is_begun {
            let count = self.end as u32;
            if is_list {
                let head = Header { length: 5 + self.length, descriptors: 0 };
                out.bytes(&head.bytes());
            }
            out.byte(if let Answer::Status(errno) = answer { errno as u8 } else { 0 });
            match answer {
                Answer::Expect(frames) => out.number(frames),
                Answer::List => out.number(count),
                Answer::Dump => {
                    out.number(frames(self.end));
                    out.number(count);
                    most = 0;
                }
                _ => {}
            }
        }
        let mut at = self.next;
        for slot in slots.get(at..self.end).unwrap_or_default().iter().take(most) {
            if is_list && out.room() <= IDENTIFIER_MAX {
                break;
            }
            let slot = table.slot(*slot as u32);
            if !is_list {
                out.descriptor(slot.descriptor() as u32);
            }
            if is_dump {
                out.bytes(&slot.expiry);
                out.byte(slot.identifier().len() as u8);
            }
            if is_list || is_dump {
                out.bytes(slot.identifier());
                out.byte(0);
            }
            at += 1;
        }
        Some(at)
    }

    /// Goes on behind a piece, up to a slot; it `is_sent`, or there is nobody to take it any more.
    fn advance(&mut self, end: usize, slots: &[i32], table: &mut Table, is_sent: bool) {
        for slot in slots.get(self.next..end).unwrap_or_default() {
            let slot = *slot as u32;
            if is_sent && self.answer == Some(Answer::LastDescriptor(slot)) {
                table.forget(slot);
            }
            if self.is_needed {
                table.release(slot, self.needs());
            }
        }
        (self.is_begun, self.sent, self.next) = (true, 0, end);
        if end == self.end {
            (self.answer, self.is_needed) = (None, false);
        }
    }

    /// What it needs of its slots.
    fn needs(&self) -> Need {
        if self.is_list() { Need::Identifier } else { Need::Descriptor }
    }

    /// Needs its slots until it has been sent.
    fn need(&mut self, slots: &[i32], table: &mut Table) {
        if !mem::replace(&mut self.is_needed, self.answer.is_some()) {
            for slot in slots.get(self.next..self.end).unwrap_or_default() {
                table.need(*slot as u32, self.needs());
            }
        }
    }
}
