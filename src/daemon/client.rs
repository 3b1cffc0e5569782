//! A connection: requests out of any pieces that they come in, and answers into a socket that has
//! room for them or not.
//!
//! Requests of all clients are received in the same [`Space`]. Only a client of which the beginning of
//! a request is left in it keeps it, and the others get the one that it would have had otherwise.
//! What is left of an answer is no bytes but which slots of the [`Table`] it is about, so every piece
//! of it is made when it can be sent, out of what was held when it was asked for.

use super::log;
use super::request::{Answer, Descriptors, Kind, Request, Service, Session, frames};
use super::table::{Need, Table};
use super::{MOMENT, SILENCE};
use crate::fd::Fd;
use crate::message::{ENTRIES_MAX, ENTRY_MAX, FRAME_MAX, HEADER, Header};
use crate::pool::Composer;
use crate::sys::memory::Space;
use crate::sys::{self, CONTROL_HEADER, CONTROL_LENGTH_AT, Errno, Message, Poll};
use crate::text::text;

/// Bytes of the longest request: a frame of a set dump.
const REQUEST_MAX: usize = FRAME_MAX + 1;
/// How many pieces of an answer go out before it is somebody else's turn.
const PIECES: usize = 8;

/// A request that has been refused before all of it has come: what is still to come of it is read and
/// not kept, and then it is answered.
#[derive(Clone, Copy)]
struct Refusal {
    /// What it is called by, 0 if that has not come.
    letter: u8,
    /// Why, as [`log::event`] takes it; the lowest byte is answered.
    errno: usize,
    /// How many bytes are still to come.
    left: usize,
}

/// What becomes of a client that could be attended to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// All that can be done without waiting has been done.
    Done,
    /// Its request is to be done as soon as the table has so many free slots, or as many as may be held.
    NeedsSlots(usize),
}

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
    /// Whether more descriptors came with them than there was room for, which are lost: a request that
    /// has some is refused.
    has_lost: bool,
    /// The request that is refused while it comes, if one is.
    refusal: Option<Refusal>,
    /// Whether it waits for a place, and nothing is done for it before it has one.
    pub is_waiting: bool,
    /// Whether it has sent anything yet.
    has_asked: bool,
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
        has_lost: false,
        refusal: None,
        is_waiting: false,
        has_asked: false,
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
        let is_asking = self.have > 0 || self.refusal.is_some();
        is_asking || self.is_answered() || self.session.missing > 0
    }

    /// For how many milliseconds it has sent and taken nothing.
    pub fn silence(&self, now: u32) -> u32 {
        now.wrapping_sub(self.last_active)
    }

    /// After how many milliseconds of silence it is to be hung up on: in the middle of an operation
    /// after the `timeout`, if that is not 0; by a daemon that `is_ending` after [`SILENCE`], or at once
    /// if it has asked for something and all of that is done.
    fn patience(&self, timeout: u32, is_ending: bool) -> Option<u32> {
        let is_busy = self.is_busy();
        let timeout = Some(timeout).filter(|timeout| is_busy && *timeout > 0);
        if !is_ending {
            return timeout;
        }
        let silence = if is_busy || !self.has_asked { SILENCE } else { 0 };
        Some(timeout.map_or(silence, |timeout| timeout.min(silence)))
    }

    /// Whether slots of the table are kept for an answer.
    pub fn needs_slots(&self) -> bool {
        self.reply.left > 0
    }

    /// Says what is to be waited for, if anything, and for how many milliseconds. A client that has been
    /// silent for too long is to be hung up on.
    #[inline(never)]
    pub fn prepare(&mut self, poll: &mut Poll, now: u32, timeout: u32, is_ending: bool) -> u32 {
        if self.is_waiting {
            return u32::MAX;
        }
        let mut left = u32::MAX;
        if let Some(patience) = self.patience(timeout, is_ending) {
            left = patience.saturating_sub(self.silence(now));
            if left == 0 {
                self.doom = Some(if self.is_busy() { Errno::TIMEDOUT } else { Errno::PIPE });
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

    /// How many descriptors are kept for requests that have not been done yet.
    pub fn parked(&self) -> usize {
        if self.session.may_send_descriptors() { self.descriptors } else { 0 }
    }

    /// Whether descriptors that are kept for it have to make way for those of others: it has not even
    /// sent a header and a letter with them, or it is silent.
    pub fn has_to_make_way(&self, now: u32) -> bool {
        self.parked() > 0 && (self.have <= HEADER || self.silence(now) >= SILENCE)
    }

    /// Closes the descriptors that are kept for it. The requests that they came with are refused.
    pub fn make_way(&mut self) {
        if let Some(space) = &mut self.space {
            drop(own(&mut space.control, self.descriptors));
        }
        (self.descriptors, self.has_lost) = (0, true);
    }

    /// Receives what has come, unless there is a whole request already, or an answer on its way. An
    /// error if it is to be hung up on.
    pub fn receive(&mut self, now: u32) -> Result<(), Errno> {
        if let Some(errno) = self.doom {
            return Err(errno);
        }
        let (whole, number) = (self.whole(), self.number());
        if self.is_answered() || self.have >= whole {
            return Ok(());
        }
        let Some(space) = &mut self.space else { return Ok(()) };
        // Behind its beginning no more is received than belongs to the request, and descriptors
        // would come too late: so there is never more than one control message.
        let is_first = self.have == 0 && self.refusal.is_none();
        let (mut end, mut control) = (whole, 0);
        if let Some(Refusal { left, .. }) = self.refusal {
            end = left;
        } else if is_first {
            (end, control) = (REQUEST_MAX, space.control.len());
            space.control[CONTROL_LENGTH_AT] = 0;
        }
        let place = space.bytes.get_mut(self.have..end).unwrap_or_default();
        let control = space.control.get_mut(..control).unwrap_or_default();
        let offered = place.len();
        let mut message = Message::incoming(place, control);
        let mut received = message.exchange(number);
        // Bytes have come, and not all descriptors that they brought.
        let has_lost = received == Err(Errno::MFILE);
        if has_lost {
            received = if is_first { Ok(offered - message.remaining()) } else { Err(Errno::PROTO) };
        }
        // The last word of the header says what it is about. Who shares the listening socket can have
        // the kernel add what is no descriptors.
        if is_first && space.control[CONTROL_HEADER - 1] == libc::SCM_RIGHTS {
            self.descriptors = sys::control_length(&space.control).saturating_sub(CONTROL_HEADER);
        }
        match received {
            Ok(0) => return Err(Errno::PIPE),
            Err(Errno::AGAIN) => return Ok(()),
            received => {
                let received = received?;
                match &mut self.refusal {
                    Some(refusal) => refusal.left -= received,
                    None => self.have += received,
                }
                (self.last_active, self.has_asked) = (now, true);
            }
        }
        if is_first {
            self.has_lost = false;
            if has_lost {
                self.make_way();
            } else if !self.session.may_send_descriptors() {
                // That they came still counts, but they are for nothing.
                close(&mut space.control, self.descriptors);
            }
        }
        Ok(())
    }

    /// Has a request done, if it is there whole and all before it have been answered, and sends what
    /// there is room for.
    pub fn answer(&mut self, service: &mut Service) -> Result<Progress, Errno> {
        if !self.is_answered() {
            let progress = self.take(service)?;
            if progress != Progress::Done {
                return Ok(progress);
            }
        }
        self.send(service).map(|()| Progress::Done)
    }

    /// Has a request done, if it is there whole, and begins to answer it. One that cannot be right is
    /// refused as soon as that is known.
    fn take(&mut self, service: &mut Service) -> Result<Progress, Errno> {
        let (whole, have) = (self.whole(), self.have);
        if let Some(refusal) = self.refusal {
            self.go_on_refusing(refusal, service);
            return Ok(Progress::Done);
        }
        let Some(header) = self.header() else { return Ok(Progress::Done) };
        let Some(space) = &mut self.space else { return Ok(Progress::Done) };
        let Some(bytes) = space.bytes.get_mut(..have) else { return Ok(Progress::Done) };
        let letter = bytes.get(HEADER).copied();
        let descriptors = header.descriptors;
        if whole == 0 {
            return Err(Errno::PROTO);
        }
        if descriptors > 0 && self.has_lost {
            self.refuse(letter, log::OURS + Errno::NFILE.number(), service);
            return Ok(Progress::Done);
        }
        if !adds_up(bytes, whole, descriptors, self.descriptors) {
            return Err(Errno::PROTO);
        }
        if have < whole {
            let vetted = letter.map_or(Ok(()), |letter| self.session.vet(letter, header));
            if let Err(errno) = vetted {
                self.refuse(letter, errno.number(), service);
            }
            return Ok(Progress::Done);
        }
        let mut request = Request {
            service,
            session: &mut self.session,
            payload: bytes.get(HEADER..whole).unwrap_or_default(),
            descriptors: own(&mut space.control, descriptors),
            identifier: &[],
            answer: Answer::DONE,
        };
        let Ok(answer) = request.handle() else {
            return Ok(Progress::NeedsSlots(descriptors));
        };
        drop(request);
        // What came behind it is the beginning of the next request.
        bytes.copy_within(whole.., 0);
        self.have = have - whole;
        let behind = CONTROL_HEADER + descriptors..CONTROL_HEADER + self.descriptors;
        space.control.copy_within(behind, CONTROL_HEADER);
        self.descriptors -= descriptors;
        self.begin(answer, service);
        Ok(Progress::Done)
    }

    /// Begins to give an answer.
    fn begin(&mut self, answer: Answer, service: &mut Service) {
        self.last_active = service.now;
        self.reply.begin(answer, &mut service.table);
    }

    /// Refuses the request of which the header is there: closes its descriptors, forgets what has come
    /// of it and answers when all of it has.
    fn refuse(&mut self, letter: Option<u8>, errno: usize, service: &mut Service) {
        let (whole, have) = (self.whole(), self.have);
        if let Some(space) = &mut self.space {
            drop(own(&mut space.control, self.descriptors));
            space.bytes.copy_within(whole.min(have)..have, 0);
        }
        (self.descriptors, self.have) = (0, have.saturating_sub(whole));
        let left = whole.saturating_sub(have);
        self.go_on_refusing(Refusal { letter: letter.unwrap_or(0), errno, left }, service);
    }

    /// Answers a request that is refused, if all of it has come.
    fn go_on_refusing(&mut self, refusal: Refusal, service: &mut Service) {
        let Refusal { letter, errno, left } = refusal;
        self.refusal = Some(refusal).filter(|_| left > 0);
        if left == 0 {
            self.session.refuse(letter, &[], errno);
            self.begin(Answer { kind: Kind::Status, number: errno as u32 }, service);
        }
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
        self.make_way();
        let is_expected = matches!(errno, Errno::PIPE | Errno::CONNRESET);
        let reason = if is_expected { 0 } else { errno.number() };
        log::note(self.session.who, text!("disconnect"), reason);
        *self = Client { space: self.space.take(), ..Client::NOBODY };
    }
}

/// Whether the descriptors that have come are those of the frames that are there: `bytes` begins with
/// one that has `whole` bytes and `descriptors`, and `come` have come with it and those behind it. All
/// of them came with one message, which begins in any of these frames, and are in order.
fn adds_up(bytes: &[u8], whole: usize, descriptors: usize, come: usize) -> bool {
    if descriptors == 0 {
        return come == 0 || bytes.len() > whole;
    }
    let (mut rest, mut left) = (bytes, Some(come));
    while let Some(Header { length, descriptors }) = Header::parse(rest) {
        left = left.and_then(|left| left.checked_sub(descriptors));
        rest = HEADER.checked_add(length).and_then(|end| rest.get(end..)).unwrap_or_default();
    }
    // What is behind the last header is not known if the next one has not come whole.
    left.is_some_and(|left| left == 0 || !rest.is_empty())
}

/// The first so many descriptors of a control message.
#[inline(never)]
fn own(control: &mut [i32], number: usize) -> Descriptors<'_> {
    let end = CONTROL_HEADER + number;
    Descriptors(control.get_mut(CONTROL_HEADER..end).unwrap_or_default().iter_mut())
}

/// Closes the first so many descriptors of a control message. In their places are numbers that
/// [`Descriptors`] takes for none.
fn close(control: &mut [i32], number: usize) {
    let end = CONTROL_HEADER + number;
    for number in control.get_mut(CONTROL_HEADER..end).unwrap_or_default() {
        drop(Fd::own(*number as usize));
        *number = 0;
    }
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
