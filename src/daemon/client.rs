//! A connection: requests out of any pieces that they come in, and answers into a socket that has
//! room for them or not.
//!
//! Everybody shares one buffer for receiving and one for sending. Only what does not go through at
//! once is kept, in memory that belongs to the client and is given back as soon as that is over:
//! the beginning of a request, or of an answer what is still to be sent. That is no bytes but a list
//! of slots of the [`Table`], so a reply is made when it can be sent, out of what was held when it
//! was asked for.

use super::gate::Gate;
use super::log::Log;
use super::request::{self, Answer, Descriptors, Session, frames};
use super::table::{Need, Table};
use crate::fd::Fd;
use crate::message::{ENTRIES_MAX, FRAME_MAX, HEADER, Header, IDENTIFIER_MAX};
use crate::pool::Composer;
use crate::sys::memory::{Memory, PAGE_MAX, Pages};
use crate::sys::{self, CONTROL_HEADER, CONTROL_MAX, Errno, Message, Time};

/// Bytes of the longest request: a frame of a set dump.
const REQUEST_MAX: usize = FRAME_MAX + 1;
/// The same without its header.
const PAYLOAD_MAX: usize = REQUEST_MAX - HEADER;
/// Bytes of memory for what a client has sent of a request.
const REQUEST_PAGES: usize = 2 * PAGE_MAX;
/// Where in that memory the numbers of the descriptors are that came with it.
const DESCRIPTORS_AT: usize = REQUEST_PAGES - ENTRIES_MAX * size_of::<i32>();
const _: () = assert!(REQUEST_MAX <= DESCRIPTORS_AT);
/// How many pieces of an answer go out before it is somebody else's turn.
const PIECES: usize = 8;

/// Numbers in the memory for an answer about so many slots.
fn answer_pages(most: usize) -> usize {
    most.next_multiple_of(PAGE_MAX / size_of::<u32>())
}

/// Bytes of that memory for each client, if so many descriptors may be held.
pub fn bytes_each(most: usize) -> usize {
    answer_pages(most).saturating_mul(size_of::<u32>()).saturating_add(REQUEST_PAGES)
}

/// What a client has memory of its own for.
pub struct Own {
    request: Pages<u8>,
    slots: Pages<u32>,
}

impl Own {
    /// Such memory, out of what nothing else is taken from: it consists of whole pages.
    pub fn new(memory: &mut Memory, most: usize) -> Own {
        Own { request: memory.pages(REQUEST_PAGES), slots: memory.pages(answer_pages(most)) }
    }
}

/// What all clients share.
pub struct Shared {
    /// What has just been received.
    request: &'static mut [u8],
    /// The control message with its descriptors.
    control: [i32; CONTROL_MAX],
    /// What an answer is about, while all of it can be sent.
    slots: &'static mut [u32],
    /// A piece of an answer.
    out: &'static mut Composer,
}

/// Bytes of memory for that, if so many descriptors may be held.
pub const fn bytes_shared(most: usize) -> usize {
    REQUEST_MAX + size_of::<u32>() * most
}

impl Shared {
    /// Those buffers.
    pub fn new(memory: &mut Memory, most: usize, out: &'static mut Composer) -> Shared {
        let slots = memory.zeros(most);
        Shared { request: memory.zeros(REQUEST_MAX), control: [0; CONTROL_MAX], slots, out }
    }
}

/// What an answer consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// There is none.
    Nothing,
    /// Its first frame is all.
    Plain,
    /// With the first frame goes the descriptor of the one slot.
    Descriptor,
    /// The same, and then that is not held any more.
    LastDescriptor,
    /// Behind the first bytes come the identifiers of the slots, in the same frame.
    List,
    /// Behind the first frame come frames of entries, of the slots.
    Dump,
}

/// The first bytes of an answer: a frame, or the beginning of one. A header, a status, and two
/// numbers at the most.
const HEAD_MAX: usize = HEADER + 1 + 8;

/// An answer, as far as it has not been sent.
struct Reply {
    kind: Kind,
    /// What it begins with; nothing any more if that has been sent.
    head: [u8; HEAD_MAX],
    head_length: usize,
    /// How much of the next piece has been sent: of the head and what goes with it, or of a frame.
    sent: usize,
    /// The slots that it is still about.
    next: usize,
    end: usize,
    /// Whether they are in the memory of the client, and needed.
    is_kept: bool,
}

impl Reply {
    const NOTHING: Reply = Reply {
        kind: Kind::Nothing,
        head: [0; HEAD_MAX],
        head_length: 0,
        sent: 0,
        next: 0,
        end: 0,
        is_kept: false,
    };
}

/// A client.
pub struct Client {
    fd: Fd,
    /// Who it is, and what it is doing.
    pub session: Session,
    /// How many bytes of requests are kept, and how many descriptors that came with them.
    have: usize,
    descriptors: usize,
    /// Whether they have just been received and lie where all are received.
    is_fresh: bool,
    reply: Reply,
    /// When it has sent or taken something for the last time, if anybody asks.
    pub moved: Time,
    /// Whether the kernel takes no more descriptors of this user's at the moment. Nothing tells when
    /// that is over, only trying again does.
    pub is_crowded: bool,
}

/// Whether there is a whole request, or what can never become one.
fn is_whole(bytes: &[u8]) -> bool {
    let header = Header::parse(bytes);
    header
        .is_some_and(|header| header.length > PAYLOAD_MAX || bytes.len() >= HEADER + header.length)
}

impl Client {
    /// One that has just connected.
    pub fn new(fd: Fd, session: Session) -> Client {
        Client {
            fd,
            session,
            have: 0,
            descriptors: 0,
            is_fresh: false,
            reply: Reply::NOTHING,
            moved: Time { seconds: 0, nanoseconds: 0 },
            is_crowded: false,
        }
    }

    /// The number of its descriptor.
    pub fn number(&self) -> i32 {
        self.fd.number()
    }

    /// Whether an answer is on its way.
    pub fn is_answered(&self) -> bool {
        self.reply.kind != Kind::Nothing
    }

    /// Whether it is in the middle of an operation.
    pub fn is_busy(&self) -> bool {
        self.is_answered() || self.have > 0 || self.session.missing > 0
    }

    /// Whether an answer refers to slots of the table.
    pub fn needs_slots(&self) -> bool {
        self.reply.is_kept
    }

    /// Whether a whole request is kept, so that there is nothing to wait for.
    pub fn has_request(&self, own: &Own) -> bool {
        !self.is_answered() && is_whole(own.request.get(..self.have).unwrap_or_default())
    }

    /// How many descriptors came with what has been received.
    pub fn descriptors(&self) -> usize {
        self.descriptors
    }

    /// Receives what has come, unless a whole request is kept; false if nothing has come.
    pub fn receive(&mut self, own: &mut Own, shared: &mut Shared) -> Result<bool, Errno> {
        let kept = own.request.get(..self.have).unwrap_or_default();
        if is_whole(kept) {
            return Ok(true);
        }
        // Where something is kept, no more is received than belongs to it, and descriptors would
        // come too late: so there is never more than one control message to be kept.
        let whole = Header::parse(kept).map_or(HEADER, |header| HEADER + header.length);
        let number = self.number();
        let received = if self.have > 0 {
            let place = own.request.get_mut(self.have..whole).ok_or(Errno::PROTO)?;
            Message::incoming(place, &mut []).exchange(number)
        } else {
            shared.control[0] = 0;
            let received = Message::incoming(shared.request, &mut shared.control).exchange(number);
            let words = sys::control_length(&shared.control);
            self.descriptors = words.saturating_sub(CONTROL_HEADER);
            if received.is_err() {
                drop(own_descriptors(&mut shared.control, &mut self.descriptors));
            }
            received
        };
        match received {
            Ok(0) => Err(Errno::PIPE),
            Ok(received) => {
                self.have += received;
                self.is_fresh = self.have == received;
                Ok(true)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Has a request done, if it is there whole, and keeps what lies behind it. The table needs a
    /// slot for each descriptor that came with it, or for as many as may be held.
    pub fn take(
        &mut self,
        own: &mut Own,
        shared: &mut Shared,
        table: &mut Table,
        gate: &Gate,
        log: Log,
    ) -> Result<(), Errno> {
        let is_fresh = core::mem::take(&mut self.is_fresh);
        if !is_fresh {
            own.restore(&mut shared.control, self.descriptors);
        }
        // From here on nothing of it is left behind unless it is kept again.
        let mut left = own_descriptors(&mut shared.control, &mut self.descriptors);
        let have = core::mem::take(&mut self.have);
        let buffer = if is_fresh { &shared.request[..] } else { &own.request[..] };
        let bytes = buffer.get(..have).unwrap_or_default();
        let mut done = 0;
        if let Some(header) = Header::parse(bytes) {
            // A frame has all descriptors that have come, unless they belong to one behind it.
            let count = left.number();
            if header.length > PAYLOAD_MAX || ![0, count].contains(&header.descriptors) {
                return Err(Errno::PROTO);
            }
            let whole = HEADER + header.length;
            let payload = bytes.get(HEADER..whole);
            if header.descriptors != count && have <= whole {
                return Err(Errno::PROTO);
            }
            if let Some(payload) = payload {
                done = whole;
                let with_it = left.split_off(header.descriptors);
                let answer = request::handle(table, gate, &mut self.session, payload, with_it, log);
                self.reply.begin(answer, table, shared.slots);
            }
        }
        // What came behind it is the beginning of the next request.
        self.have = have - done;
        self.descriptors = left.number();
        if self.have == 0 {
            if !is_fresh {
                own.request.give_back();
            }
            return Ok(());
        }
        if is_fresh {
            let rest = shared.request.get(done..have).unwrap_or_default();
            if let Some(place) = own.request.get_mut(..rest.len()) {
                place.copy_from_slice(rest);
            }
        } else {
            own.request.copy_within(done..have, 0);
        }
        own.keep(left);
        Ok(())
    }

    /// Sends what there is room for; false if that was nothing.
    pub fn send(
        &mut self,
        own: &mut Own,
        shared: &mut Shared,
        table: &mut Table,
    ) -> Result<bool, Errno> {
        let number = self.number();
        let reply = &mut self.reply;
        let mut has_moved = false;
        self.is_crowded = false;
        for _ in 0..PIECES {
            let slots = if reply.is_kept { &own.slots[..] } else { &shared.slots[..] };
            let end = reply.compose(shared.out, table, slots);
            let is_raw = reply.kind == Kind::List;
            let (bytes, control) =
                if is_raw { (shared.out.payload(), &[][..]) } else { shared.out.frame() };
            let control = if reply.sent > 0 { &[] } else { control };
            let bytes = bytes.get(reply.sent..).unwrap_or_default();
            let mut message = Message::outgoing(bytes, control);
            while message.remaining() > 0 {
                match message.exchange(number) {
                    Ok(sent) => {
                        reply.sent += sent;
                        has_moved = true;
                    }
                    Err(errno @ (Errno::AGAIN | Errno::TOOMANYREFS)) => {
                        self.is_crowded = errno == Errno::TOOMANYREFS;
                        reply.keep(own, shared.slots, table);
                        return Ok(has_moved);
                    }
                    Err(errno) => return Err(errno),
                }
            }
            reply.advance(end, own, shared.slots, table);
            if reply.kind == Kind::Nothing {
                return Ok(has_moved);
            }
        }
        reply.keep(own, shared.slots, table);
        Ok(has_moved)
    }

    /// Lets go of all that it has, but for the connection itself.
    pub fn leave(&mut self, own: &mut Own, table: &mut Table) {
        let mut control = [0; CONTROL_MAX];
        own.restore(&mut control, self.descriptors);
        drop(own_descriptors(&mut control, &mut self.descriptors));
        if self.have > 0 {
            own.request.give_back();
        }
        // What was to be deleted when it had been sent stays.
        if self.reply.kind == Kind::LastDescriptor {
            self.reply.kind = Kind::Descriptor;
        }
        self.reply.advance(self.reply.end, own, &[], table);
    }
}

/// The descriptors of the control message, so many.
fn own_descriptors<'a>(control: &'a mut [i32], count: &mut usize) -> Descriptors<'a> {
    let end = CONTROL_HEADER + core::mem::take(count);
    Descriptors::own(control.get_mut(CONTROL_HEADER..end).unwrap_or_default())
}

impl Own {
    /// Keeps descriptors.
    fn keep(&mut self, descriptors: Descriptors) {
        let place = self.request.get_mut(DESCRIPTORS_AT..).unwrap_or_default();
        for (bytes, number) in place.chunks_exact_mut(4).zip(descriptors.leave()) {
            bytes.copy_from_slice(&number.to_ne_bytes());
        }
    }

    /// Puts so many of them where they were received.
    fn restore(&self, control: &mut [i32], count: usize) {
        let place = self.request.get(DESCRIPTORS_AT..).unwrap_or_default();
        let words = control.iter_mut().skip(CONTROL_HEADER).take(count);
        for (word, bytes) in words.zip(place.chunks_exact(4)) {
            *word = bytes.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        }
    }
}

impl Reply {
    /// Begins to give an answer; the slots that it is about go into `slots`.
    fn begin(&mut self, answer: Answer, table: &Table, slots: &mut [u32]) {
        let held = table.held();
        let count = held.len() as u32;
        let one;
        let (kind, payload, about): (_, &[u32], &[u32]) = match answer {
            Answer::Status(_) => (Kind::Plain, &[], &[]),
            Answer::Expect(frames) => (Kind::Plain, &[frames], &[]),
            Answer::Descriptor(slot) | Answer::LastDescriptor(slot) => {
                let is_last = answer == Answer::LastDescriptor(slot);
                one = [slot];
                (if is_last { Kind::LastDescriptor } else { Kind::Descriptor }, &[], &one)
            }
            Answer::List => (Kind::List, &[count], held),
            Answer::Dump => (Kind::Dump, &[frames(held.len()), count], held),
        };
        let status = if let Answer::Status(status) = answer { status } else { 0 };
        *self = Reply { kind, end: about.len(), ..Reply::NOTHING };
        for (to, from) in slots.iter_mut().zip(about) {
            *to = *from;
        }
        let mut put = |bytes: &[u8]| {
            for byte in bytes {
                if let Some(place) = self.head.get_mut(self.head_length) {
                    *place = *byte;
                    self.head_length += 1;
                }
            }
        };
        if kind == Kind::List {
            let length: usize = held.iter().map(|slot| table.identifier(*slot).len() + 1).sum();
            put(&Header { length: 5 + length, descriptors: 0 }.bytes());
        }
        put(&[status]);
        for number in payload {
            put(&number.to_be_bytes());
        }
    }

    /// Makes the next piece, and says up to which slot it goes.
    fn compose(&self, out: &mut Composer, table: &Table, slots: &[u32]) -> usize {
        out.clear();
        out.bytes(self.head.get(..self.head_length).unwrap_or_default());
        let is_head = self.head_length > 0;
        let most = match self.kind {
            Kind::Dump if is_head => 0,
            Kind::Dump => ENTRIES_MAX,
            _ => usize::MAX,
        };
        let mut at = self.next;
        for slot in slots.get(self.next..self.end).unwrap_or_default().iter().take(most) {
            let identifier = table.identifier(*slot);
            if self.kind == Kind::List {
                if out.room() <= IDENTIFIER_MAX {
                    break;
                }
                out.bytes(identifier);
                out.byte(0);
            } else {
                out.descriptor(table.descriptor(*slot) as u32);
                if self.kind == Kind::Dump {
                    out.bytes(table.expiry(*slot));
                    out.byte(identifier.len() as u8);
                    out.bytes(identifier);
                    out.byte(0);
                }
            }
            at += 1;
        }
        at
    }

    /// Goes on behind a piece that has been sent, up to a slot.
    fn advance(&mut self, end: usize, own: &mut Own, shared: &[u32], table: &mut Table) {
        let slots = if self.is_kept { &own.slots[..] } else { shared };
        let need = self.need();
        for slot in slots.get(self.next..end).unwrap_or_default() {
            if self.kind == Kind::LastDescriptor {
                table.forget(*slot);
            }
            if self.is_kept {
                table.release(*slot, need);
            }
        }
        (self.sent, self.head_length, self.next) = (0, 0, end);
        if self.next == self.end {
            self.kind = Kind::Nothing;
            if core::mem::take(&mut self.is_kept) {
                own.slots.give_back();
            }
        }
    }

    /// What it needs of its slots.
    fn need(&self) -> Need {
        if self.kind == Kind::List { Need::Identifier } else { Need::Descriptor }
    }

    /// Keeps what is still to be sent, until there is room for it.
    fn keep(&mut self, own: &mut Own, shared: &[u32], table: &mut Table) {
        if self.is_kept || self.next == self.end {
            return;
        }
        self.is_kept = true;
        let range = self.next..self.end;
        let (Some(to), Some(from)) = (own.slots.get_mut(range.clone()), shared.get(range)) else {
            return;
        };
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
            table.need(*from, self.need());
        }
    }
}
