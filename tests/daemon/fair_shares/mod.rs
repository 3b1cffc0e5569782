//! A client gets only its share of the connections, the time and the descriptors of a daemon. Silent
//! clients, incomplete requests, and connections whose both ends the daemon holds do not exclude others.

mod connections;
mod descriptors;
mod open_file_limit;
mod slow_readers;

use crate::kit::memfd;
use crate::kit::server::status;
use crate::kit::wire::{self, store_request};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

/// Errors that the daemon answers with.
const EPERM: i32 = 1;
const EAGAIN: i32 = 11;
const EBUSY: i32 = 16;
const ENFILE: i32 = 23;
const EPROTO: i32 = 71;

fn store(client: &UnixStream, id: &str) -> i32 {
    status(client, &store_request(id.as_bytes(), wire::never()), &[memfd().as_fd()])
}

/// `count` copies of one end of a pipe, and the other end, which reports a hangup when all copies are
/// closed.
fn pipes(count: usize) -> (OwnedFd, Vec<OwnedFd>) {
    let (end, fd) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (end, (0..count).map(|_| fd.try_clone().unwrap()).collect())
}

/// Sends bytes with these descriptors, and closes the descriptors on this side.
fn send_and_close(client: &UnixStream, bytes: &[u8], fds: Vec<OwnedFd>) {
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    wire::send(client, bytes, &fds).unwrap();
}

/// The processor time that a process has used, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let all = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, behind) = all.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = behind.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Checks that a process waits and does not poll. A process that polls uses much more processor time in two
/// seconds, even on a busy machine.
fn assert_waits(pid: u32) {
    let before = ticks(pid);
    thread::sleep(Duration::from_secs(2));
    let spent = ticks(pid) - before;
    assert!(spent < 12, "{spent} hundredths of a second");
}

/// Whether bytes have arrived or the daemon has disconnected.
fn is_readable(client: &UnixStream) -> bool {
    client.set_nonblocking(true).unwrap();
    let read = wire::receive(client, &mut [0]);
    client.set_nonblocking(false).unwrap();
    !read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}
