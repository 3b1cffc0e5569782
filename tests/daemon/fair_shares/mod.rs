//! A client gets only its share of the connections, the time and the descriptors of a daemon. Silent
//! clients, incomplete requests, and connections whose both ends the daemon holds do not exclude others.

mod connections;
mod descriptors;
mod open_file_limit;

use crate::kit::daemon::Generation::Ours;
use crate::kit::process::{descriptors, wait_until_read};
use crate::kit::server::{Server, status};
use crate::kit::wire::{self, FRAME_ENTRIES, Held, entry, set_dump_request, store_request};
use crate::kit::{memfd, raise_open_file_limit};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::{self};
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

#[test]
fn a_refused_request_does_not_disconnect_a_slow_reader() {
    const MOST: usize = 900;
    raise_open_file_limit();
    let server = Server::open(Ours, &["-n900", "-v1"]);
    let path = server.daemon_dir.socket();
    let ids: Vec<_> = (0..MOST).map(|number| format!("{number:0>255}")).collect();
    let hold = |id: &String| Held::new(id, wire::never(), memfd());
    let client = server.connect();
    assert_eq!(status(&client, b"L", &[]), 0);
    let own = descriptors(server.pid());
    wire::set_each(&path, MOST, ids.iter().map(hold)).unwrap();
    // Add slow readers until their dumps leave no room for a request with the largest number of
    // descriptors.
    let (mut readers, mut free) = (Vec::new(), usize::MAX);
    for _ in 0..8 {
        let reader = server.connect();
        wire::send_frame(&reader, b"?", &[]).unwrap();
        wait_until_read(&reader);
        readers.push(reader);
        for id in &ids {
            free = 2 * MOST - (descriptors(server.pid()) - own - readers.len());
            if free < 100 {
                break;
            }
            wire::delete(&client, id.as_bytes()).unwrap();
            wire::store(&client, &hold(id)).unwrap();
        }
    }
    assert!(free < 100, "{free}");
    let fds: Vec<_> = (0..FRAME_ENTRIES).map(|_| memfd()).collect();
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let entries = |id: &String| entry(id.as_bytes(), wire::never());
    let many: Vec<u8> = ids[..FRAME_ENTRIES].iter().flat_map(entries).collect();
    let new: Vec<u8> = (0..FRAME_ENTRIES).flat_map(|n| entries(&format!("new {n}"))).collect();
    assert_eq!(status(&client, b"x", &fds), EPROTO);
    assert_eq!(status(&client, &[b".", &many[..]].concat(), &fds), EPROTO);
    assert_eq!(status(&client, &set_dump_request(MOST), &[]), 0);
    assert_eq!(status(&client, &[b".", &new[..]].concat(), &fds), ENFILE);
    assert_eq!(store(&client, &ids[0]), EBUSY);
    for reader in readers {
        let mut count = 0;
        wire::read_dump(&reader, |_| count += 1).unwrap();
        assert_eq!(count, MOST);
    }
    let lines = server.stop();
    assert!(!lines.iter().any(|line| line.contains("disconnect")), "{lines:?}");
}
