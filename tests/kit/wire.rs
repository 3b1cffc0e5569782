//! The client side of the protocol for the tests, independent of the product: stores entries in a daemon
//! and reads them back.

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::borrow::Borrow;
use std::io::{Error, ErrorKind, IoSlice, IoSliceMut, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The kernel's limit on descriptors in a message.
pub const FRAME_ENTRIES: usize = 253;

/// `EAGAIN`, the answer to a frame of a set dump when more frames are expected.
pub const AGAIN: i32 = 11;

/// How long to retry while the kernel refuses more descriptors in flight.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An entry in a form that can be compared between daemons: identifier, expiry, and device and inode of
/// the descriptor.
pub type Identity = (Vec<u8>, [u8; 12], (u64, u64));

/// An entry that a daemon holds.
#[derive(Debug)]
pub struct Held {
    /// Its identifier.
    pub id: Vec<u8>,
    /// Its TAI64N label.
    pub expiry: [u8; 12],
    /// The descriptor.
    pub fd: OwnedFd,
}

impl Held {
    /// An entry with a copy of a descriptor.
    pub fn new(id: impl AsRef<[u8]>, expiry: [u8; 12], fd: impl AsFd) -> Held {
        let fd = fd.as_fd().try_clone_to_owned().unwrap();
        Held { id: id.as_ref().to_vec(), expiry, fd }
    }

    /// The entry in a form that can be compared.
    pub fn identity(&self) -> Identity {
        (self.id.clone(), self.expiry, inode(&self.fd))
    }
}

/// Device and inode of a descriptor.
pub fn inode(fd: impl AsFd) -> (u64, u64) {
    let stat = rustix::fs::fstat(fd).unwrap();
    (stat.st_dev, stat.st_ino)
}

/// The identities of these entries, sorted.
pub fn identities(all: &[Held]) -> Vec<Identity> {
    let mut list: Vec<_> = all.iter().map(Held::identity).collect();
    list.sort();
    list
}

/// The TAI64N label of the moment `span` from now. Since 2017, TAI is ahead of UTC by 37 seconds.
pub fn expiry_in(span: Duration) -> [u8; 12] {
    let then = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + span;
    label((1 << 62) + 37 + then.as_secs(), then.subsec_nanos())
}

/// The label of "never": now plus 2^61 seconds.
pub fn never() -> [u8; 12] {
    expiry_in(Duration::from_secs(1 << 61))
}

/// A TAI64N label.
pub fn label(seconds: u64, nanoseconds: u32) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&seconds.to_be_bytes());
    bytes[8..].copy_from_slice(&nanoseconds.to_be_bytes());
    bytes
}

/// An entry on the wire.
pub fn entry(id: &[u8], expiry: [u8; 12]) -> Vec<u8> {
    [&expiry[..], &[id.len() as u8], id, &[0]].concat()
}

/// A frame on the wire: header and payload.
pub fn frame(payload: &[u8], descriptors: u16) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[..], &descriptors.to_be_bytes(), payload].concat()
}

/// Sends bytes, and descriptors with the first of them. The kernel limits the descriptors in flight of an
/// ordinary user, in all tests together. At that limit, this function retries.
pub fn send(to: &UnixStream, mut bytes: &[u8], fds: &[BorrowedFd]) -> Result<()> {
    let begun = Instant::now();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FRAME_ENTRIES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
    while !bytes.is_empty() {
        let slices = [IoSlice::new(bytes)];
        match retry_on_intr(|| sendmsg(to, &slices, &mut control, SendFlags::NOSIGNAL)) {
            Ok(n) => {
                bytes = &bytes[n..];
                control.clear();
            }
            Err(Errno::TOOMANYREFS) if begun.elapsed() < TIMEOUT => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Sends a whole frame.
pub fn send_frame(to: &UnixStream, payload: &[u8], fds: &[BorrowedFd]) -> Result<()> {
    send(to, &frame(payload, fds.len() as u16), fds)
}

/// Receives at most `bytes.len()` bytes (0 at the end of the stream) and the descriptors with them.
pub fn receive(from: &UnixStream, bytes: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FRAME_ENTRIES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let slices = &mut [IoSliceMut::new(bytes)];
    let message =
        retry_on_intr(|| recvmsg(from, &mut *slices, &mut control, RecvFlags::CMSG_CLOEXEC))?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    assert!(!message.flags.contains(ReturnFlags::CTRUNC), "the kernel dropped descriptors");
    Ok((message.bytes, fds))
}

/// Receives exactly `bytes`.
fn receive_all(from: &UnixStream, mut bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<()> {
    while !bytes.is_empty() {
        let (n, more) = receive(from, bytes)?;
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        fds.extend(more);
        bytes = &mut bytes[n..];
    }
    Ok(())
}

/// Receives a whole frame: its payload and its descriptors.
pub fn receive_frame(from: &UnixStream) -> Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut header, mut fds) = ([0; 6], Vec::new());
    receive_all(from, &mut header, &mut fds)?;
    let length = u32::from_be_bytes(header[..4].try_into().unwrap()) as usize;
    let announced = u16::from_be_bytes(header[4..].try_into().unwrap()) as usize;
    let mut payload = vec![0; length];
    receive_all(from, &mut payload, &mut fds)?;
    assert_eq!(fds.len(), announced, "descriptors in a frame");
    Ok((payload, fds))
}

/// The entries of a frame's payload, with their descriptors.
pub fn entries(mut payload: &[u8], fds: Vec<OwnedFd>) -> Vec<Held> {
    let mut all = Vec::new();
    for fd in fds {
        let length = usize::from(payload[12]);
        let id = payload[13..13 + length].to_vec();
        assert_eq!(payload[13 + length], 0, "the NUL behind an identifier");
        all.push(Held { id, expiry: payload[..12].try_into().unwrap(), fd });
        payload = &payload[14 + length..];
    }
    assert!(payload.is_empty(), "bytes behind the last entry");
    all
}

/// Gets the dump of the daemon at `path`.
pub fn get_dump(path: &Path) -> Result<Vec<Held>> {
    let mut all = Vec::new();
    get_each(path, |held| all.push(held))?;
    Ok(all)
}

/// Gets the dump of the daemon at `path`, and passes each entry to `take` as it arrives. If `take` drops
/// the entry, only the descriptors of one frame are open at a time.
pub fn get_each(path: &Path, take: impl FnMut(Held)) -> Result<()> {
    let stream = UnixStream::connect(path)?;
    send_frame(&stream, b"?", &[])?;
    read_dump(&stream, take)
}

/// Reads the answer to a request for a dump, and passes each entry to `take` as it arrives.
pub fn read_dump(stream: &UnixStream, take: impl FnMut(Held)) -> Result<()> {
    let mut take = take;
    let reply = answer(stream)?.0;
    let total = u32::from_be_bytes(reply[5..9].try_into().unwrap()) as usize;
    let mut count = 0;
    while count < total {
        let (payload, fds) = receive_frame(stream)?;
        count += fds.len();
        entries(&payload, fds).into_iter().for_each(&mut take);
    }
    assert_eq!(count, total);
    Ok(())
}

/// Sets a dump of these entries in the daemon at `path`.
pub fn set_dump(path: &Path, all: &[Held]) -> Result<()> {
    set_each(path, all.len(), all.iter())
}

/// Sets a dump of the `total` entries of an iterator in the daemon at `path`. Each entry is dropped when
/// its frame has been sent.
pub fn set_each<H: Borrow<Held>>(
    path: &Path,
    total: usize,
    all: impl Iterator<Item = H>,
) -> Result<()> {
    let mut all = all;
    let stream = UnixStream::connect(path)?;
    let mut status = exchange(&stream, &set_dump_request(total), &[])?;
    let mut sent = 0;
    while sent < total && [0, AGAIN].contains(&status) {
        let frame: Vec<H> = all.by_ref().take(FRAME_ENTRIES).collect();
        assert!(!frame.is_empty(), "fewer than announced");
        let mut payload = vec![b'.'];
        frame.iter().map(H::borrow).for_each(|held| payload.extend(entry(&held.id, held.expiry)));
        let fds: Vec<_> = frame.iter().map(|held| held.borrow().fd.as_fd()).collect();
        status = exchange(&stream, &payload, &fds)?;
        sent += frame.len();
    }
    if status == 0 { Ok(()) } else { Err(Error::from_raw_os_error(status)) }
}

/// The identifiers of all entries of a daemon.
pub fn list(stream: &UnixStream) -> Result<Vec<Vec<u8>>> {
    send_frame(stream, b"L", &[])?;
    read_list(stream)
}

/// Reads the answer to a request for a list.
pub fn read_list(stream: &UnixStream) -> Result<Vec<Vec<u8>>> {
    let reply = answer(stream)?.0;
    let count = u32::from_be_bytes(reply[1..5].try_into().unwrap()) as usize;
    let ids: Vec<_> = reply[5..].split_inclusive(|byte| *byte == 0).collect();
    assert_eq!(ids.len(), count, "identifiers in a list");
    Ok(ids.iter().map(|id| id.strip_suffix(&[0]).expect("a final NUL").to_vec()).collect())
}

/// The payload of a request to store.
pub fn store_request(id: &[u8], expiry: [u8; 12]) -> Vec<u8> {
    [b"S", &entry(id, expiry)[..]].concat()
}

/// The payload of a request to retrieve `id`. A flag of 1 deletes it as well.
pub fn retrieve_request(id: &[u8], flag: u8) -> Vec<u8> {
    [&[b'R', flag, id.len() as u8], id, &[0]].concat()
}

/// The payload of a request to delete `id`.
pub fn delete_request(id: &[u8]) -> Vec<u8> {
    [&[b'D', id.len() as u8], id, &[0]].concat()
}

/// The payload of the request that opens a set dump of `total` entries.
pub fn set_dump_request(total: usize) -> Vec<u8> {
    [b"!", &(total as u32).to_be_bytes()[..]].concat()
}

/// Stores an entry.
pub fn store(stream: &UnixStream, held: &Held) -> Result<()> {
    send_frame(stream, &store_request(&held.id, held.expiry), &[held.fd.as_fd()])?;
    answer(stream).map(|_| ())
}

/// Retrieves the descriptor of `id`.
pub fn retrieve(stream: &UnixStream, id: &[u8]) -> Result<OwnedFd> {
    fetch(stream, &retrieve_request(id, 0))
}

/// Retrieves the descriptor of `id` and deletes the entry.
pub fn take(stream: &UnixStream, id: &[u8]) -> Result<OwnedFd> {
    fetch(stream, &retrieve_request(id, 1))
}

fn fetch(stream: &UnixStream, request: &[u8]) -> Result<OwnedFd> {
    send_frame(stream, request, &[])?;
    let fd = answer(stream)?.1.pop();
    Ok(fd.expect("a descriptor with status 0"))
}

/// Deletes the entry `id`.
pub fn delete(stream: &UnixStream, id: &[u8]) -> Result<()> {
    send_frame(stream, &delete_request(id), &[])?;
    answer(stream).map(|_| ())
}

/// Reads a reply. A status other than 0 becomes an error.
pub fn answer(stream: &UnixStream) -> Result<(Vec<u8>, Vec<OwnedFd>)> {
    let reply = receive_frame(stream)?;
    match reply.0[0] {
        0 => Ok(reply),
        number => Err(Error::from_raw_os_error(number.into())),
    }
}

/// Sends a request and returns the status byte of the reply.
pub fn exchange(stream: &UnixStream, payload: &[u8], fds: &[BorrowedFd]) -> Result<i32> {
    send_frame(stream, payload, fds)?;
    Ok(receive_frame(stream)?.0[0].into())
}
