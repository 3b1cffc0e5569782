//! A connection: requests out of any pieces that they come in, and answers into a socket that has
//! room for them or not.
//!
//! Requests of all clients are received in the same [`Space`]. Only a client of which the beginning of
//! a request is left in it keeps it, and the others get the one that it would have had otherwise.
//! What is left of an answer is no bytes but which slots of the [`Table`] it is about, so every piece
//! of it is made when it can be sent, out of what was held when it was asked for.

use super::MOMENT;
use super::request::{Answer, Descriptors, Kind, Request, Service, Session, frames};
use super::table::{Need, Table};
use crate::fd::Fd;
use crate::message::{ENTRIES_MAX, ENTRY_MAX, FRAME_MAX, HEADER, Header};
use crate::pool::Composer;
use crate::sys::memory::Space;
use crate::sys::{self, CONTROL_HEADER, CONTROL_LENGTH_AT, CONTROL_MAX, Errno, Message, Poll};
use crate::text::text;

/// Bytes of the longest request: a frame of a set dump.
const REQUEST_MAX: usize = FRAME_MAX + 1;
/// How many pieces of an answer go out before it is somebody else's turn.
const PIECES: usize = 8;

/// A client, or the place for one.
#[repr(C)]
pub struct Client {
    /// The connection; nothing if there is none.
    pub fd: Option<Fd>,
    /// When it has sent or taken something for the last time, in milliseconds of uptime.
    pub last_active: u32,
    /// How many bytes of requests there are.
    have: usize,
    /// How many descriptors came with them.
    descriptors: usize,
    /// What is still to be sent of an answer.
    reply: Reply,
    /// Why it is to be hung up on, if it is.
    pub doom: Option<Errno>,
    /// Where the beginning of a request is kept; nothing is in it otherwise.
    pub space: Option<&'static mut Space>,
    /// Whether the kernel would not take the descriptors of the answer, since this user has too many on
    /// their way. Nothing tells when that is over, only trying again does.
    has_to_retry: bool,
    /// Who it is, and what it is doing.
    pub session: Session,
}

impl Client {
    /// Nobody.
    pub const NOBODY: Client = Client {
        fd: None,
        last_active: 0,
        have: 0,
        descriptors: 0,
        reply: Reply::NOTHING,
        doom: None,
        space: None,
        has_to_retry: false,
        session: Session::NOBODY,
    };

    /// The number of its descriptor, for one who is there.
    fn number(&self) -> i32 {
        self.fd.as_ref().map_or(0, Fd::number)
    }

    /// Whether an answer is on its way.
    pub fn is_answered(&self) -> bool {
        self.reply.kind != Kind::Nothing
    }

    /// Whether it is in the middle of an operation.
    fn is_busy(&self) -> bool {
        self.is_answered() || self.have > 0 || self.session.missing > 0
    }

    /// Whether slots of the table are kept for an answer.
    pub fn needs_slots(&self) -> bool {
        self.reply.left > 0
    }

    /// Says what is to be waited for, if anything, and for how many milliseconds. One in the middle of
    /// something who has done nothing for as many milliseconds as the timeout is to be hung up on, unless
    /// that is 0; and so is one who has nothing to do when the daemon `is_ending`.
    #[inline(never)]
    pub fn prepare(&mut self, poll: &mut Poll, now: u32, timeout: u32, is_ending: bool) -> u32 {
        let mut left = u32::MAX;
        if !self.is_busy() {
            if is_ending {
                self.doom = Some(Errno::PIPE);
            }
        } else if timeout > 0 {
            left = timeout.saturating_sub(now.wrapping_sub(self.last_active));
            if left == 0 {
                self.doom = Some(Errno::TIMEDOUT);
            }
        }
        let is_answered = self.is_answered();
        // There may be a whole request, or what can never become one.
        if self.doom.is_some() || !is_answered && self.have >= self.whole() {
            return 0;
        }
        if self.has_to_retry {
            return left.min(MOMENT);
        }
        poll.fd = self.number();
        poll.events = if is_answered { Poll::OUT } else { Poll::IN };
        left
    }

    /// How many bytes have to be there before anything can be done: a header, then the whole request.
    /// None for one that is too long, which can be hung up on at once.
    fn whole(&self) -> usize {
        match self.header() {
            None => HEADER,
            Some(Header { length, .. }) if length > REQUEST_MAX - HEADER => 0,
            Some(Header { length, .. }) => HEADER + length,
        }
    }

    /// The header of the request, if it is there whole.
    fn header(&self) -> Option<Header> {
        let space = self.space.as_ref().filter(|_| self.have >= HEADER);
        space.and_then(|space| Header::parse(&space.bytes))
    }

    /// Whether the beginning of a request is kept.
    pub fn keeps_request(&self) -> bool {
        self.have > 0
    }

    /// How many descriptors came with the request that may be done next.
    pub fn descriptors(&self) -> usize {
        if self.is_answered() { 0 } else { self.descriptors }
    }

    /// Receives what has come, unless there is a whole request already, or an answer on its way. An
    /// error if it is to be hung up on.
    pub fn receive(&mut self, service: &mut Service) -> Result<(), Errno> {
        if let Some(errno) = self.doom {
            return Err(errno);
        }
        let (whole, number, is_first) = (self.whole(), self.number(), self.have == 0);
        if self.is_answered() || self.have >= whole {
            return Ok(());
        }
        let Some(space) = &mut self.space else { return Ok(()) };
        // Behind its beginning no more is received than belongs to the request, and descriptors come
        // too late. There is room for them all the same: the kernel would close them, and wait for it.
        let mut late = [0; CONTROL_MAX];
        let (mut end, mut control) = (whole, &mut late);
        if is_first {
            (end, control) = (REQUEST_MAX, &mut space.control);
            control[CONTROL_LENGTH_AT] = 0;
        }
        let place = space.bytes.get_mut(self.have..end).unwrap_or_default();
        let received = Message::incoming(place, control).exchange(number);
        if is_first {
            self.descriptors = carried(&space.control);
        }
        let count = carried(&late);
        if count > 0 {
            own(&mut late, count).close(&mut service.table.closing);
            return Err(Errno::PROTO);
        }
        match received {
            Ok(0) => {
                // Nothing is there any more, nor can come: to close it is to wait for nothing.
                self.fd = None;
                return Err(Errno::PIPE);
            }
            Err(Errno::AGAIN) => {}
            received => {
                self.have += received?;
                self.last_active = service.now;
            }
        }
        Ok(())
    }

    /// Has a request done, if it is there whole and all before it have been answered, and sends what
    /// there is room for. The table needs a slot for each of [`Client::descriptors`], or for as many
    /// as may be held.
    pub fn answer(&mut self, service: &mut Service) -> Result<(), Errno> {
        if !self.is_answered() {
            self.take(service)?;
        }
        self.send(service)
    }

    /// Has a request done, if it is there whole, and begins to answer it.
    fn take(&mut self, service: &mut Service) -> Result<(), Errno> {
        let (whole, have) = (self.whole(), self.have);
        let Some(Header { descriptors: announced, .. }) = self.header() else { return Ok(()) };
        let Some(space) = &mut self.space else { return Ok(()) };
        // It has all descriptors that have come, unless they belong to what comes behind it.
        let mut descriptors = self.descriptors;
        if announced == 0 && have > whole {
            descriptors = 0;
        }
        if whole == 0 || announced != descriptors {
            return Err(Errno::PROTO);
        }
        let Some(bytes) = space.bytes.get_mut(..have) else { return Ok(()) };
        let Some(payload) = bytes.get(HEADER..whole) else { return Ok(()) };
        self.descriptors -= descriptors;
        let request = Request {
            service,
            session: &mut self.session,
            payload,
            descriptors: own(&mut space.control, descriptors),
            identifier: &[],
            answer: Answer::DONE,
        };
        let answer = request.handle();
        self.last_active = service.now;
        self.reply.begin(answer, &mut service.table);
        // What came behind it is the beginning of the next request.
        self.have = have - whole;
        bytes.copy_within(whole.., 0);
        Ok(())
    }

    /// Sends what there is room for.
    fn send(&mut self, service: &mut Service) -> Result<(), Errno> {
        let (number, reply) = (self.number(), &mut self.reply);
        self.has_to_retry = false;
        for _ in 0..PIECES {
            if reply.kind == Kind::Nothing {
                break;
            }
            let out = &mut *service.out;
            let count = reply.compose(out, &mut service.table);
            // A list is one frame in many pieces, with a header of its own: the one that each piece has
            // in front is skipped.
            let skip = reply.sent + if reply.kind == Kind::List { HEADER } else { 0 };
            let (bytes, mut control) = out.frame();
            // They went with the first byte.
            if reply.sent > 0 {
                control = &[];
            }
            let mut message = Message::outgoing(bytes.get(skip..).unwrap_or_default(), control);
            while message.remaining() > 0 {
                match message.exchange(number) {
                    Err(errno @ (Errno::AGAIN | Errno::TOOMANYREFS)) => {
                        self.has_to_retry = errno == Errno::TOOMANYREFS;
                        return Ok(());
                    }
                    sent => {
                        reply.sent += sent?;
                        self.last_active = service.now;
                    }
                }
            }
            if reply.kind == Kind::LastDescriptor {
                service.table.forget(reply.next);
            }
            reply.advance(count, &mut service.table);
        }
        Ok(())
    }

    /// Gives the rest of an answer up.
    pub fn forget_answer(&mut self, table: &mut Table) {
        self.reply.advance(self.reply.left, table);
    }

    /// Hangs up for a reason, and lets go of all that it has.
    pub fn leave(&mut self, service: &mut Service, errno: Errno) {
        self.forget_answer(&mut service.table);
        let closing = &mut service.table.closing;
        if let Some(space) = &mut self.space {
            own(&mut space.control, self.descriptors).close(closing);
        }
        if let Some(fd) = self.fd.take() {
            closing.hang_up(fd);
        }
        (self.fd, self.doom, self.have, self.descriptors) = (None, None, 0, 0);
        let is_expected = matches!(errno, Errno::PIPE | Errno::CONNRESET);
        let reason = if is_expected { 0 } else { errno.number() };
        service.log.note(self.session.who, text!("disconnect"), reason);
    }
}

/// How many descriptors there are in a control message.
fn carried(control: &[i32; CONTROL_MAX]) -> usize {
    // The last word of the header says what it is about. Who shares the listening socket can have the
    // kernel add what is no descriptors.
    if control[CONTROL_HEADER - 1] != libc::SCM_RIGHTS {
        return 0;
    }
    sys::control_length(control).saturating_sub(CONTROL_HEADER)
}

/// The first so many descriptors of a control message.
#[inline(never)]
fn own(control: &mut [i32], number: usize) -> Descriptors<'_> {
    let end = CONTROL_HEADER + number;
    Descriptors(control.get_mut(CONTROL_HEADER..end).unwrap_or_default().iter_mut())
}

/// An answer, as far as it has not been sent.
#[repr(C)]
struct Reply {
    /// What it is; nothing if all has been sent.
    kind: Kind,
    /// Whether its beginning has been sent.
    is_begun: bool,
    /// A number in it: the status, how many frames, or of a list how many bytes of payload.
    number: u32,
    /// Where the slots begin that it is still about.
    next: u32,
    /// How many of them there are, the others aside that were not held at the moment.
    left: usize,
    /// When it was asked for, by the table.
    moment: u64,
    /// How many bytes of the next piece have been sent, behind what is skipped.
    sent: usize,
}

impl Reply {
    const NOTHING: Reply = Reply {
        kind: Kind::Nothing,
        is_begun: false,
        number: 0,
        next: 0,
        left: 0,
        moment: 0,
        sent: 0,
    };

    /// Begins to give an answer. The table keeps the slots that it is about.
    fn begin(&mut self, Answer { kind, number }: Answer, table: &mut Table) {
        *self = Reply { kind, number, moment: table.record(), ..Reply::NOTHING };
        let mut most = usize::MAX;
        if kind < Kind::List {
            (most, self.next) = (usize::from(kind >= Kind::Descriptor), number);
        }
        let mut at = self.next;
        // Of a list, the status and the number of entries.
        let mut length = 1 + size_of::<u32>();
        while self.left < most {
            let Some(slot) = table.after(&mut at, self.moment) else { break };
            slot.need(self.needs());
            length += slot.wire(false).len();
            self.left += 1;
        }
        match kind {
            Kind::List => self.number = length as u32,
            Kind::Dump => self.number = frames(self.left),
            _ => {}
        }
    }

    /// Makes the next piece and says how many slots it is about. As long as it is not sent whole, it is
    /// made anew each time, and comes out the same.
    fn compose(&self, out: &mut Composer, table: &mut Table) -> usize {
        let Reply { kind, number, left, .. } = *self;
        let (mut at, mut count) = (self.next, 0);
        let is_list = kind == Kind::List;
        let mut most = if is_list { left } else { left.min(ENTRIES_MAX) };
        out.clear();
        if !self.is_begun {
            if is_list {
                // The header: the length, and no descriptors.
                out.number(number);
                out.byte(0);
                out.byte(0);
            }
            out.byte(if kind == Kind::Status { number as u8 } else { 0 });
            if kind == Kind::Expect || kind == Kind::Dump {
                out.number(number);
            }
            if kind >= Kind::List {
                out.number(left as u32);
            }
            // What a dump is about comes behind that, in frames of its own.
            if kind == Kind::Dump {
                most = 0;
            }
        }
        while count < most && out.room() > ENTRY_MAX {
            let Some(slot) = table.after(&mut at, self.moment) else { break };
            if !is_list {
                out.descriptor(slot.descriptor());
            }
            if kind >= Kind::List {
                out.bytes(slot.wire(!is_list));
            }
            count += 1;
        }
        count
    }

    /// Goes on behind a piece that is about so many slots.
    fn advance(&mut self, count: usize, table: &mut Table) {
        for _ in 0..count {
            let _ = table.after(&mut self.next, self.moment);
            table.release(self.next - 1, self.needs());
            self.left -= 1;
        }
        (self.is_begun, self.sent) = (true, 0);
        if self.left == 0 {
            self.kind = Kind::Nothing;
        }
    }

    /// What it needs of its slots.
    fn needs(&self) -> Need {
        if self.kind == Kind::List { Need::Identifier } else { Need::Descriptor }
    }
}
