//! A connection: receives requests in whatever pieces they come, and sends answers as far as the socket
//! has room.
//!
//! All requests are received in one shared buffer. The start of an incomplete request is copied to a
//! buffer of the connection's own, and the rest is received there.

use super::answer::{Answer, Piece};
use super::closing::Closing;
use super::log::Cause;
use super::request::{self, Descriptors, Outcome, Service, Session};
use crate::protocol::frame::{FRAME_MAX, HEADER, Header};
use crate::slice::{part, part_mut};
use crate::sys::Errno;
use crate::sys::fd::{BorrowedFd, Fd};
use crate::sys::message;

mod timeout;

/// Bytes of the longest request: a frame of a set dump.
pub const REQUEST_MAX: usize = FRAME_MAX + 1;
/// The most pieces of an answer that are sent before other clients are served.
const PIECES: usize = 8;

/// A refused request whose end has not come. The rest is received and discarded, then the request is
/// answered.
#[derive(Clone, Copy)]
struct Refusal {
    /// The letter of the request; 0 if it has not come.
    letter: u8,
    /// Why it is refused.
    cause: Cause,
    /// The number of bytes that have not come.
    left: usize,
}

/// Why serving a client stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The client is disconnected.
    Disconnect(Errno),
    /// The request needs this number of free slots in the table, or as many as may be held.
    NeedsSlots(usize),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Disconnect(errno)
    }
}

/// What has come from a client: bytes, with requests at the start, and descriptors.
pub struct Inbox<'a> {
    /// The bytes.
    pub bytes: &'a mut [u8],
    /// The descriptors.
    pub fds: &'a mut Descriptors,
}

/// A connection, or a free place for one.
pub struct Connection {
    /// The connection; `None` if the place is free.
    pub fd: Option<Fd>,
    /// When the client last sent or took something, in milliseconds of uptime.
    pub last_active: u32,
    /// The number of bytes of requests that have come.
    buffered: usize,
    /// The number of descriptors that came with them. Those that the client had no right to send count,
    /// although they have been closed.
    descriptor_count: usize,
    /// True if descriptors that came with them have been lost or closed for lack of room. A request
    /// with descriptors is then refused.
    has_lost: bool,
    /// The refused request whose end has not come, if there is one.
    refusal: Option<Refusal>,
    /// True if the connection waits for a place. It is not served before that.
    pub is_waiting: bool,
    /// True if the client has sent anything.
    has_sent: bool,
    /// The part of an answer that has not been sent.
    answer: Answer,
    /// The number of bytes of the next piece that have been sent.
    sent: usize,
    /// Why the client is to be disconnected, if it is.
    pub disconnect_reason: Option<Errno>,
    /// True if the kernel refused the descriptors of the answer, since this user has too many in
    /// flight. The kernel does not report when that is over, so sending is repeated.
    has_to_retry: bool,
    /// The user, its rights, and its open set dump.
    pub session: Session,
}

impl Connection {
    /// A free place.
    pub const NONE: Connection = Connection {
        fd: None,
        last_active: 0,
        buffered: 0,
        descriptor_count: 0,
        has_lost: false,
        refusal: None,
        is_waiting: false,
        has_sent: false,
        answer: Answer::Nothing,
        sent: 0,
        disconnect_reason: None,
        has_to_retry: false,
        session: Session::NONE,
    };

    /// The descriptor of the connection; `EBADF` if the place is free.
    fn fd(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.fd.as_ref().map(Fd::borrow).ok_or(Errno::BADF)
    }

    /// True in the middle of an operation.
    fn is_busy(&self) -> bool {
        let is_asking = self.buffered > 0 || self.refusal.is_some();
        is_asking || self.is_answering() || self.session.missing > 0
    }

    /// True if an answer has not been sent whole.
    pub fn is_answering(&self) -> bool {
        self.answer.is_pending()
    }

    /// True if the table keeps slots for an answer.
    pub fn needs_slots(&self) -> bool {
        self.answer.needs_slots()
    }

    /// True if the start of a request is kept.
    pub fn has_partial_request(&self) -> bool {
        self.buffered > 0
    }

    /// The number of bytes of requests that have come.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// The header of the request; `None` if it is not complete.
    fn header(&self, bytes: &[u8]) -> Option<Header> {
        Header::parse(bytes).filter(|_| self.buffered >= HEADER)
    }

    /// The number of bytes that must have come before anything can be done: a header, then the whole
    /// request. 0 for a request that is too long: the client can be disconnected at once.
    fn whole(&self, bytes: &[u8]) -> usize {
        match self.header(bytes) {
            None => HEADER,
            Some(Header { length, .. }) if length > REQUEST_MAX - HEADER => 0,
            Some(Header { length, .. }) => HEADER + length,
        }
    }

    /// The number of open descriptors of requests that have not been carried out.
    pub fn pending_descriptors(&self) -> usize {
        if self.session.may_send_descriptors() { self.descriptor_count } else { 0 }
    }

    /// Closes these descriptors. Their requests will be refused.
    pub fn close_descriptors(&mut self, fds: &mut Descriptors, closing: &mut Closing) {
        closing.close_first(fds, self.descriptor_count);
        (self.descriptor_count, self.has_lost) = (0, true);
    }

    /// Receives bytes and descriptors, unless a whole request has come or an answer is being sent. On
    /// an error the client is to be disconnected.
    pub fn receive(&mut self, inbox: &mut Inbox, service: &mut Service) -> Result<(), Errno> {
        if let Some(errno) = self.disconnect_reason {
            return Err(errno);
        }
        let whole = self.whole(inbox.bytes);
        if self.is_answering() || self.buffered >= whole {
            return Ok(());
        }
        // After the start of a request only the rest of that request is received. Descriptors that
        // come with it break the protocol.
        let is_first = self.buffered == 0 && self.refusal.is_none();
        let end = match self.refusal {
            Some(Refusal { left, .. }) => left,
            None if is_first => REQUEST_MAX,
            None => whole,
        };
        let end = end.min(inbox.bytes.len());
        let place = part_mut(inbox.bytes, self.buffered..end);
        let Service { received, table, now, .. } = service;
        let length = match received.receive(self.fd()?, place) {
            Err(Errno::AGAIN) => return Ok(()),
            length => length?,
        };
        let (count, has_lost) = (received.descriptors(), received.is_truncated);
        if is_first {
            (self.descriptor_count, self.has_lost) = (count, false);
            // The queue of a client that sends no descriptors is not touched, so it takes no memory.
            if count > 0 {
                inbox.fds.clear();
                received.for_each(|fd| inbox.fds.push(fd));
            }
        } else if count > 0 || has_lost {
            received.for_each(|fd| table.closing.close(fd));
            return Err(Errno::PROTO);
        }
        if length == 0 {
            // The peer has disconnected and nothing is left unread, so closing does not block.
            self.fd = None;
            return Err(Errno::PIPE);
        }
        match &mut self.refusal {
            Some(refusal) => refusal.left -= length,
            None => self.buffered += length,
        }
        (self.last_active, self.has_sent) = (*now, true);
        if has_lost {
            self.close_descriptors(inbox.fds, &mut table.closing);
        } else if !self.session.may_send_descriptors() {
            // They still count when the header is checked.
            table.closing.close_first(inbox.fds, count);
        }
        Ok(())
    }

    /// Carries out a request, if one has come whole and all earlier ones have been answered. Then sends
    /// as much of the answer as there is room for.
    pub fn answer(&mut self, inbox: &mut Inbox, service: &mut Service) -> Result<(), Stop> {
        if !self.is_answering() {
            self.take_request(inbox, service)?;
        }
        Ok(self.send(service)?)
    }

    /// Carries out a request, if one has come whole, and starts to answer it. A request that cannot be
    /// valid is refused as soon as its header or its letter shows that.
    fn take_request(&mut self, inbox: &mut Inbox, service: &mut Service) -> Result<(), Stop> {
        let (whole, have) = (self.whole(inbox.bytes), self.buffered);
        if self.refusal.is_some() {
            self.continue_refusal(service);
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
        } else if !adds_up(bytes, whole, count, self.descriptor_count) {
            return Err(Errno::PROTO.into());
        } else if have < whole {
            let checked = letter.map_or(Ok(()), |letter| self.session.check_header(letter, header));
            match checked {
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
        self.descriptor_count -= count;
        self.begin(answer, service.now);
        Ok(())
    }

    /// Removes bytes from the front of the buffer. The next request follows them.
    fn skip(&mut self, count: usize, inbox: &mut Inbox) {
        let count = count.min(self.buffered);
        inbox.bytes.copy_within(count..self.buffered, 0);
        self.buffered -= count;
    }

    /// Starts to send an answer.
    fn begin(&mut self, answer: Answer, now: u32) {
        (self.answer, self.sent, self.last_active) = (answer, 0, now);
    }

    /// Refuses the request with the present header: closes its descriptors, discards its bytes, and
    /// answers once all of it has come.
    fn refuse(
        &mut self,
        letter: Option<u8>,
        cause: Cause,
        inbox: &mut Inbox,
        service: &mut Service,
    ) {
        let (whole, have) = (self.whole(inbox.bytes), self.buffered);
        service.table.closing.close_first(inbox.fds, self.descriptor_count);
        self.descriptor_count = 0;
        self.skip(whole, inbox);
        let left = whole.saturating_sub(have);
        self.refusal = Some(Refusal { letter: letter.unwrap_or(0), cause, left });
        self.continue_refusal(service);
    }

    /// Answers the refused request, if all of it has come.
    fn continue_refusal(&mut self, service: &mut Service) {
        let Some(Refusal { letter, cause, left: 0 }) = self.refusal else { return };
        self.refusal = None;
        self.session.refuse(letter, &[], cause, &mut service.log);
        if let Cause::Ours(errno) | Cause::Theirs(errno) = cause {
            self.begin(Answer::refusal(errno), service.now);
        }
    }

    /// Sends as much of the answer as there is room for.
    fn send(&mut self, service: &mut Service) -> Result<(), Errno> {
        self.has_to_retry = false;
        for _ in 0..PIECES {
            if !self.is_answering() {
                break;
            }
            let mut piece = Piece::empty();
            self.answer.compose(&mut piece, service.frame, &service.table);
            let count = piece.count;
            while let Some(rest @ [_, ..]) = piece.bytes.get(self.sent..) {
                // The descriptors travel with the first byte.
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

    /// Discards the rest of an answer.
    pub fn cancel_answer(&mut self, service: &mut Service) {
        self.answer.cancel(&mut service.table);
    }

    /// Disconnects the client for a reason, and releases all that it has.
    pub fn disconnect(&mut self, fds: &mut Descriptors, service: &mut Service, errno: Errno) {
        self.cancel_answer(service);
        let closing = &mut service.table.closing;
        self.close_descriptors(fds, closing);
        if let Some(fd) = self.fd.take() {
            closing.hang_up(fd);
        }
        let cause = match errno {
            Errno::PIPE | Errno::CONNRESET => Cause::Nothing,
            errno => Cause::Theirs(errno),
        };
        service.log.note(Some(&self.session.who), "disconnect", cause);
        *self = Connection::NONE;
    }
}

/// True if the number of received descriptors can be right. `bytes` begins with a frame of `whole`
/// bytes and `descriptors`; more frames may follow, and `come` descriptors came with all of them. They
/// came in one message, which began in any of the frames, and are in the frames' order.
fn adds_up(bytes: &[u8], whole: usize, descriptors: usize, come: usize) -> bool {
    if descriptors == 0 {
        return come == 0 || bytes.len() > whole;
    }
    let (mut rest, mut sum) = (bytes, 0);
    while let Some(Header { length, descriptors }) = Header::parse(rest) {
        sum += descriptors;
        rest = rest.get(HEADER.saturating_add(length)..).unwrap_or_default();
    }
    // An incomplete header follows: the descriptors of its frame are not known.
    sum == come || sum < come && !rest.is_empty()
}
