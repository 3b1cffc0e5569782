//! A connection: requests out of any pieces that they come in, and answers into a socket that has room
//! for them or not.
//!
//! Requests of all clients are received in the same buffer. Only of one whose beginning is there is the
//! beginning copied into a buffer of the connection's own, and the rest received there.

use super::answer::{Answer, Piece};
use super::closing::Closing;
use super::log::Cause;
use super::request::{self, Descriptors, Outcome, Service, Session};
use crate::protocol::frame::{FRAME_MAX, HEADER, Header};
use crate::slice::{part, part_mut};
use crate::sys::Errno;
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::message;

mod patience;

/// Bytes of the longest request: a frame of a set dump.
pub const REQUEST_MAX: usize = FRAME_MAX + 1;
/// How many pieces of an answer go out before it is somebody else's turn.
const PIECES: usize = 8;

/// A request that has been refused before all of it has come: what is still to come of it is read and
/// not kept, and then it is answered.
#[derive(Clone, Copy)]
struct Refusal {
    /// What it is called by, 0 if that has not come.
    letter: u8,
    /// Why.
    cause: Cause,
    /// How many bytes are still to come.
    left: usize,
}

/// Why a client is not served any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It is to be hung up on.
    Leave(Errno),
    /// Its request is to be done as soon as the table has that many free slots, or as many as may be
    /// held.
    NeedsSlots(usize),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Leave(errno)
    }
}

/// Where what comes from a client is: bytes, the beginning of which are requests, and descriptors.
pub struct Inbox<'a> {
    /// The bytes.
    pub bytes: &'a mut [u8],
    /// The descriptors.
    pub fds: &'a mut Descriptors,
}

/// A client, or the place for one.
pub struct Connection {
    /// The connection; nothing if there is none.
    pub fd: Option<Fd>,
    /// When it has sent or taken something for the last time, in milliseconds of uptime.
    pub last_active: u32,
    /// How many bytes of requests there are.
    have: usize,
    /// How many descriptors came with them, those that were of no use and have been closed included.
    come: usize,
    /// Whether more descriptors came with them than there was room for, which are lost: a request that
    /// has some is refused.
    has_lost: bool,
    /// The request that is refused while it comes, if one is.
    refusal: Option<Refusal>,
    /// Whether it waits for a place, and nothing is done for it before it has one.
    pub is_waiting: bool,
    /// Whether it has sent anything yet.
    has_asked: bool,
    /// What is still to be sent of an answer, and how many bytes of the next piece of it have been.
    answer: Answer,
    sent: usize,
    /// Why it is to be hung up on, if it is.
    pub doom: Option<Errno>,
    /// Whether the kernel would not take the descriptors of the answer, since this user has too many on
    /// their way. Nothing tells when that is over, only trying again does.
    has_to_retry: bool,
    /// Who it is, and what it is doing.
    pub session: Session,
}

impl Connection {
    /// Nobody.
    pub const NOBODY: Connection = Connection {
        fd: None,
        last_active: 0,
        have: 0,
        come: 0,
        has_lost: false,
        refusal: None,
        is_waiting: false,
        has_asked: false,
        answer: Answer::Nothing,
        sent: 0,
        doom: None,
        has_to_retry: false,
        session: Session::NOBODY,
    };

    /// Its descriptor; `EBADF` if there is none.
    fn fd(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.fd.as_ref().map(Fd::borrow).ok_or(Errno::BADF)
    }

    /// Whether it is in the middle of an operation.
    fn is_busy(&self) -> bool {
        let is_asking = self.have > 0 || self.refusal.is_some();
        is_asking || self.is_answered() || self.session.missing > 0
    }

    /// Whether an answer is not sent whole yet.
    pub fn is_answered(&self) -> bool {
        self.answer.is_something()
    }

    /// Whether slots of the table are kept for an answer.
    pub fn needs_slots(&self) -> bool {
        self.answer.needs_slots()
    }

    /// Whether the beginning of a request is kept.
    pub fn keeps_request(&self) -> bool {
        self.have > 0
    }

    /// How many bytes of requests there are.
    pub fn kept(&self) -> usize {
        self.have
    }

    /// The header of the request, if it is there whole.
    fn header(&self, bytes: &[u8]) -> Option<Header> {
        Header::parse(bytes).filter(|_| self.have >= HEADER)
    }

    /// How many bytes have to be there before anything can be done: a header, then the whole request.
    /// None for one that is too long, which can be hung up on at once.
    fn whole(&self, bytes: &[u8]) -> usize {
        match self.header(bytes) {
            None => HEADER,
            Some(Header { length, .. }) if length > REQUEST_MAX - HEADER => 0,
            Some(Header { length, .. }) => HEADER + length,
        }
    }

    /// How many descriptors are kept for requests that have not been done yet.
    pub fn parked(&self) -> usize {
        if self.session.may_send_descriptors() { self.come } else { 0 }
    }

    /// Closes the descriptors that are kept for it. The requests that they came with are refused.
    pub fn make_way(&mut self, fds: &mut Descriptors, closing: &mut Closing) {
        closing.close_first(fds, self.come);
        (self.come, self.has_lost) = (0, true);
    }

    /// Receives what has come, unless there is a whole request already, or an answer on its way. An
    /// error if it is to be hung up on.
    pub fn receive(&mut self, inbox: &mut Inbox, service: &mut Service) -> Result<(), Errno> {
        if let Some(errno) = self.doom {
            return Err(errno);
        }
        let whole = self.whole(inbox.bytes);
        if self.is_answered() || self.have >= whole {
            return Ok(());
        }
        // Behind its beginning no more is received than belongs to the request, and descriptors come too
        // late.
        let is_first = self.have == 0 && self.refusal.is_none();
        let end = match self.refusal {
            Some(Refusal { left, .. }) => left,
            None if is_first => REQUEST_MAX,
            None => whole,
        };
        let end = end.min(inbox.bytes.len());
        let place = part_mut(inbox.bytes, self.have..end);
        let Service { received, table, now, .. } = service;
        let length = match received.receive(self.fd()?, place) {
            Err(Errno::AGAIN) => return Ok(()),
            length => length?,
        };
        let (count, has_lost) = (received.descriptors(), received.is_truncated);
        if is_first {
            (self.come, self.has_lost) = (count, false);
            // The place of one that never brings any is not touched, so it takes no memory.
            if count > 0 {
                inbox.fds.clear();
                received.for_each(|fd| inbox.fds.push(fd));
            }
        } else if count > 0 || has_lost {
            received.for_each(|fd| table.closing.close(fd));
            return Err(Errno::PROTO);
        }
        if length == 0 {
            // Nothing is there any more, nor can come: to close it is to wait for nothing.
            self.fd = None;
            return Err(Errno::PIPE);
        }
        match &mut self.refusal {
            Some(refusal) => refusal.left -= length,
            None => self.have += length,
        }
        (self.last_active, self.has_asked) = (*now, true);
        if has_lost {
            self.make_way(inbox.fds, &mut table.closing);
        } else if !self.session.may_send_descriptors() {
            // That they came still counts, but they are for nothing.
            table.closing.close_first(inbox.fds, count);
        }
        Ok(())
    }

    /// Has a request done, if it is there whole and all before it have been answered, and sends what
    /// there is room for.
    pub fn answer(&mut self, inbox: &mut Inbox, service: &mut Service) -> Result<(), Stop> {
        if !self.is_answered() {
            self.take(inbox, service)?;
        }
        Ok(self.send(service)?)
    }

    /// Has a request done, if it is there whole, and begins to answer it. One that cannot be right is
    /// refused as soon as that is known.
    fn take(&mut self, inbox: &mut Inbox, service: &mut Service) -> Result<(), Stop> {
        let (whole, have) = (self.whole(inbox.bytes), self.have);
        if self.refusal.is_some() {
            self.go_on_refusing(service);
            return Ok(());
        }
        let Some(header) = self.header(inbox.bytes) else { return Ok(()) };
        let bytes = part(inbox.bytes, ..have);
        let letter = bytes.get(HEADER).copied();
        let count = header.descriptors;
        if whole == 0 {
            return Err(Errno::PROTO.into());
        }
        let obstacle = if count > 0 && self.has_lost {
            Some(Cause::Ours(Errno::NFILE))
        } else if !adds_up(bytes, whole, count, self.come) {
            return Err(Errno::PROTO.into());
        } else if have < whole {
            let vetted = letter.map_or(Ok(()), |letter| self.session.vet(letter, header));
            match vetted {
                Ok(()) => return Ok(()),
                Err(errno) => Some(Cause::Theirs(errno)),
            }
        } else {
            None
        };
        if let Some(cause) = obstacle {
            self.refuse(letter, cause, inbox, service);
            return Ok(());
        }
        let payload = part(bytes, HEADER..whole);
        let session = &mut self.session;
        let answer = match request::handle(payload, count, inbox.fds, session, service) {
            Outcome::Answered(answer) => answer,
            Outcome::NeedsSlots(slots) => return Err(Stop::NeedsSlots(slots)),
        };
        self.skip(whole, inbox);
        self.come -= count;
        self.begin(answer, service.now);
        Ok(())
    }

    /// Takes bytes off the front: what came behind them is the beginning of the next request.
    fn skip(&mut self, count: usize, inbox: &mut Inbox) {
        let count = count.min(self.have);
        inbox.bytes.copy_within(count..self.have, 0);
        self.have -= count;
    }

    /// Begins to give an answer.
    fn begin(&mut self, answer: Answer, now: u32) {
        (self.answer, self.sent, self.last_active) = (answer, 0, now);
    }

    /// Refuses the request of which the header is there: closes its descriptors, forgets what has come
    /// of it and answers when all of it has.
    fn refuse(
        &mut self,
        letter: Option<u8>,
        cause: Cause,
        inbox: &mut Inbox,
        service: &mut Service,
    ) {
        let (whole, have) = (self.whole(inbox.bytes), self.have);
        service.table.closing.close_first(inbox.fds, self.come);
        self.come = 0;
        self.skip(whole, inbox);
        let left = whole.saturating_sub(have);
        self.refusal = Some(Refusal { letter: letter.unwrap_or(0), cause, left });
        self.go_on_refusing(service);
    }

    /// Answers the request that is refused, if all of it has come.
    fn go_on_refusing(&mut self, service: &mut Service) {
        let Some(Refusal { letter, cause, left: 0 }) = self.refusal else { return };
        self.refusal = None;
        self.session.refuse(letter, &[], cause, &mut service.log);
        if let Cause::Ours(errno) | Cause::Theirs(errno) = cause {
            self.begin(Answer::refusal(errno), service.now);
        }
    }

    /// Sends what there is room for.
    fn send(&mut self, service: &mut Service) -> Result<(), Errno> {
        self.has_to_retry = false;
        for _ in 0..PIECES {
            if !self.is_answered() {
                break;
            }
            let mut piece = Piece::empty();
            self.answer.compose(&mut piece, service.frame, &service.table);
            let count = piece.count;
            while let Some(rest @ [_, ..]) = piece.bytes.get(self.sent..) {
                // The descriptors go with the first byte.
                let fds = if self.sent == 0 { piece.descriptors() } else { &[] };
                match message::send(self.fd()?, rest, fds) {
                    Err(errno @ (Errno::AGAIN | Errno::TOOMANYREFS)) => {
                        self.has_to_retry = errno == Errno::TOOMANYREFS;
                        return Ok(());
                    }
                    sent => {
                        self.sent += sent?;
                        self.last_active = service.now;
                    }
                }
            }
            self.sent = 0;
            self.answer.advance(count, &mut service.table);
        }
        Ok(())
    }

    /// Gives the rest of an answer up.
    pub fn forget_answer(&mut self, service: &mut Service) {
        self.answer.give_up(&mut service.table);
    }

    /// Hangs up for a reason, and lets go of all that it has.
    pub fn leave(&mut self, fds: &mut Descriptors, service: &mut Service, errno: Errno) {
        self.forget_answer(service);
        let closing = &mut service.table.closing;
        self.make_way(fds, closing);
        if let Some(fd) = self.fd.take() {
            closing.hang_up(fd);
        }
        let cause = match errno {
            Errno::PIPE | Errno::CONNRESET => Cause::Nothing,
            errno => Cause::Theirs(errno),
        };
        service.log.note(Some(&self.session.who), "disconnect", cause);
        *self = Connection::NOBODY;
    }
}

/// Whether the descriptors that have come are those of the frames that are there: `bytes` begins with
/// one that has `whole` bytes and `descriptors`, and `come` have come with it and those behind it. All
/// of them came with one message, which begins in any of these frames, and are in order.
fn adds_up(bytes: &[u8], whole: usize, descriptors: usize, come: usize) -> bool {
    if descriptors == 0 {
        return come == 0 || bytes.len() > whole;
    }
    let (mut rest, mut sum) = (bytes, 0);
    while let Some(Header { length, descriptors }) = Header::parse(rest) {
        sum += descriptors;
        rest = rest.get(HEADER.saturating_add(length)..).unwrap_or_default();
    }
    // What is behind the last header is not known if the next one has not come whole.
    sum == come || sum < come && !rest.is_empty()
}
