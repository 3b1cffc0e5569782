//! A client gets only its share of the connections, the time and the descriptors of a daemon. Silent
//! clients, incomplete requests, and connections whose both ends the daemon holds do not exclude others.

use crate::kit::daemon::Generation::Ours;
use crate::kit::daemon::{GETDUMP, LIST, RETRIEVE, SETDUMP, STORE};
use crate::kit::process::{descriptors, wait_for_hangup, wait_until_read};
use crate::kit::server::{DaemonDir, Server, answer, assert_disconnects, connect, status};
use crate::kit::wire::{
    self, FRAME_ENTRIES, Held, entry, frame, retrieve_request, set_dump_request, store_request,
};
use crate::kit::{memfd, raise_open_file_limit, random_cases};
use fdholder::daemon::connection::Connection;
use fdholder::daemon::eviction::candidate;
use proptest::prelude::*;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Resource, Rlimit, geteuid, getrlimit, prlimit};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Errors that the daemon answers with.
const EPERM: i32 = 1;
const EAGAIN: i32 = 11;
const EBUSY: i32 = 16;
const ENFILE: i32 = 23;
const EPROTO: i32 = 71;

/// The milliseconds without activity after which a client may be evicted.
const SILENCE: u32 = 1000;

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

/// Calls a function as another user. Only root can do that.
fn as_user<T: Send>(uid: u32, act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let (user, group) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(uid));
            // These calls change only this thread.
            set_thread_res_gid(group, group, group).unwrap();
            set_thread_res_uid(user, user, user).unwrap();
            act()
        });
        other.join().unwrap()
    })
}

/// Sends the daemon the client's end of its connection, so that only the daemon holds both ends.
const SEND_OWN_END: [fn(&UnixStream); 4] = [
    // With a part of a header.
    |client| wire::send(client, &[0], &[client.as_fd()]).unwrap(),
    // With a part of a request.
    |client| {
        let request = frame(&store_request(b"own end", wire::never()), 1);
        wire::send(client, &request[..10], &[client.as_fd()]).unwrap();
    },
    // With a request that waits behind answers that the client does not read.
    |client| {
        let request = frame(&store_request(b"own end", wire::never()), 1);
        client.set_nonblocking(true).unwrap();
        while wire::send(client, &frame(b"L", 0).repeat(100), &[]).is_ok() {}
        let _ = wire::send(client, &request, &[client.as_fd()]);
        client.set_nonblocking(false).unwrap();
    },
    // With a complete request, so that the daemon holds the end in its table.
    |client| {
        let id = format!("own end {}", client.as_raw_fd());
        let request = store_request(id.as_bytes(), wire::never());
        let _ = status(client, &request, &[client.as_fd()]);
    },
];

#[test]
fn connections_that_only_the_daemon_holds_do_not_exclude_other_clients() {
    for send_own_end in SEND_OWN_END {
        let mut server = Server::open(Ours, &["-c4", "-v0"]);
        let kept: Vec<_> = (0..4).map(|_| server.connect()).collect();
        for client in &kept {
            assert_eq!(status(client, b"L", &[]), 0);
        }
        kept.iter().for_each(send_own_end);
        drop(kept);
        server.assert_serves();
    }
}

#[test]
fn idle_connections_do_not_exclude_other_clients() {
    let mut server = Server::open(Ours, &["-c4", "-v0"]);
    let never_asked: Vec<_> = (0..4).map(|_| server.connect()).collect();
    server.assert_serves();
    drop(never_asked);
    let asked: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &asked {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    server.assert_serves();
    // One connection was evicted, and the others remain.
    drop(server.connect());
    let gone = asked.iter().filter(|client| answer(client, b"L", &[]).is_err()).count();
    assert_eq!(gone, 1);
}

#[test]
fn the_client_that_has_been_silent_for_longest_is_evicted() {
    let server = Server::open(Ours, &["-c3", "-v0"]);
    let clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for at in [1, 2, 0] {
        assert_eq!(status(&clients[at], b"L", &[]), 0);
        thread::sleep(Duration::from_millis(20));
    }
    let new = server.connect();
    assert_eq!(status(&new, b"L", &[]), 0);
    assert_disconnects(&clients[1]);
    for client in [&clients[0], &clients[2], &new] {
        assert_eq!(status(client, b"L", &[]), 0);
    }
}

#[test]
fn an_active_client_is_not_evicted_for_another_of_the_same_user() {
    let server = Server::open(Ours, &["-c3", "-v0"]);
    let (busy, dump) = (server.connect(), server.connect());
    assert_eq!(status(&dump, &set_dump_request(1000), &[]), 0);
    let half = server.connect();
    let request = frame(&store_request(&[b'x'; 200], wire::never()), 1);
    wire::send(&half, &request[..1], &[memfd().as_fd()]).unwrap();
    // This client waits for a free connection, and has sent its request.
    let waiting = server.connect();
    wire::send_frame(&waiting, b"L", &[]).unwrap();
    let begun = Instant::now();
    let mut count = 1;
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(status(&busy, b"L", &[]), 0);
        let entry = [b".", &entry(format!("{count}").as_bytes(), wire::never())[..]].concat();
        assert_eq!(status(&dump, &entry, &[memfd().as_fd()]), EAGAIN);
        wire::send(&half, &request[count..count + 1], &[]).unwrap();
        count += 1;
        thread::sleep(Duration::from_millis(50));
    }
    // The daemon serves it when a client disconnects, and not before.
    assert!(!is_readable(&waiting));
    drop((half, dump));
    assert_eq!(wire::receive_frame(&waiting).unwrap().0[0], 0);
    assert_eq!(status(&busy, b"L", &[]), 0);
}

#[test]
fn a_new_client_has_time_to_send_a_request() {
    let server = Server::open(Ours, &["-c2", "-v0"]);
    let (first, second) = (server.connect(), server.connect());
    let flood: Vec<_> = (0..20).map(|_| server.connect()).collect();
    thread::sleep(Duration::from_millis(400));
    for client in [&first, &second] {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    drop(flood);
}

#[test]
fn a_full_daemon_waits_without_polling() {
    let server = Server::open(Ours, &["-c2", "-v0"]);
    let clients: Vec<_> = (0..2).map(|_| server.connect()).collect();
    let stop = &std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for client in &clients {
            scope.spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(status(client, b"L", &[]), 0);
                    thread::sleep(Duration::from_millis(100));
                }
            });
        }
        let waiting: Vec<_> = (0..2).map(|_| server.connect()).collect();
        // Both clients are active, so none is evicted, and the daemon must not poll for a silent one.
        assert_waits(server.pid());
        drop(waiting);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// A daemon to which all users may connect. `None` if the test does not run as root, which is needed to
/// have clients of several users.
fn for_users(options: &[&str]) -> Option<Server> {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can have clients of several users");
        return None;
    }
    let server = Server::open(Ours, options);
    fs::set_permissions(server.daemon_dir.socket(), Permissions::from_mode(0o777)).unwrap();
    Some(server)
}

#[test]
fn a_user_with_many_active_clients_keeps_only_its_share_of_the_connections() {
    let Some(server) = for_users(&["-c8", "-v0"]) else { return };
    let path = server.daemon_dir.socket();
    // Each client sends a byte of a request every 200 ms. That needs no right.
    let request = frame(&retrieve_request(&[b'x'; 250], 0), 0);
    let slow: Vec<_> = as_user(12001, || (0..20).map(|_| connect(&path)).collect());
    let over = &std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for byte in &request {
                for client in &slow {
                    let _ = wire::send(client, &[*byte], &[]);
                }
                if over.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                thread::sleep(Duration::from_millis(200));
            }
        });
        let begun = Instant::now();
        let others: Vec<_> = as_user(12002, || (0..4).map(|_| connect(&path)).collect());
        for other in &others {
            assert_eq!(status(other, b"L", &[]), 0);
        }
        let spent = begun.elapsed();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(spent < Duration::from_secs(30), "{spent:?}");
    });
}

#[test]
fn a_silent_client_within_its_share_is_not_evicted_for_clients_of_another_user() {
    let Some(server) = for_users(&["-c4", "-v0"]) else { return };
    let path = server.daemon_dir.socket();
    let quiet = server.connect();
    assert_eq!(status(&quiet, b"L", &[]), 0);
    let flood: Vec<_> = as_user(12001, || (0..12).map(|_| connect(&path)).collect());
    // The last of these is accepted after two rounds of evictions, of a second each.
    assert_eq!(status(&flood[11], b"L", &[]), 0);
    assert_eq!(status(&quiet, b"L", &[]), 0);
}

#[test]
fn a_client_without_access_evicts_no_other_client() {
    let Some(server) = for_users(&["-c2", "-v0"]) else { return };
    let (path, daemon_dir) = (server.daemon_dir.socket(), &server.daemon_dir);
    daemon_dir.refuse("uid/12001");
    let inside = [server.connect(), server.connect()];
    for client in &inside {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    thread::sleep(Duration::from_millis(1100));
    for _ in 0..3 {
        as_user(12001, || assert_disconnects(&connect(&path)));
    }
    for client in &inside {
        assert_eq!(status(client, b"L", &[]), 0);
    }
}

/// Connections as user and milliseconds of silence. The first one waits to be accepted.
fn connections() -> impl Strategy<Value = Vec<(u32, u32)>> {
    prop::collection::vec((0..4u32, 0..3000u32), 2..40)
}

proptest! {
#![proptest_config(random_cases(256))]

#[test]
fn only_a_client_of_a_user_above_its_share_is_evicted(all in connections(), now in any::<u32>()) {
        let mut clients = Vec::new();
        for (uid, silence) in &all {
            let mut client = Connection::NONE;
            client.session.who.uid = *uid;
            client.last_active = now.wrapping_sub(*silence);
            clients.push(client);
        }
        let mut counts = BTreeMap::new();
        all.iter().for_each(|(uid, _)| *counts.entry(*uid).or_insert(0) += 1);
        let share = (all.len() - 1) / counts.len();
        let has_too_many = |uid: &u32| counts[uid] > share;
        let is_entitled = !has_too_many(&all[0].0);
        let longest = all[1..].iter().filter(|one| has_too_many(&one.0)).map(|one| one.1).max();
        match candidate(&clients, 0, now) {
            Ok(number) => {
                prop_assert!(number > 0 && has_too_many(&all[number].0));
                prop_assert_eq!(Some(all[number].1), longest);
                prop_assert!(all[number].1 >= SILENCE || is_entitled && all[0].1 >= SILENCE);
            }
            Err(pause) => {
                // No client can be evicted now, and the pause ends when the first one can.
                let silence = longest.unwrap_or(0).max(if is_entitled { all[0].1 } else { 0 });
                prop_assert_eq!(pause, SILENCE - silence);
            }
        }
    }
}

/// Gives all users exactly these rights from now on.
fn rights(daemon_dir: &DaemonDir, rights: &[&str]) {
    let env = daemon_dir.rules().join("uid/default/env");
    for right in [GETDUMP, SETDUMP, LIST, STORE, RETRIEVE] {
        let _ = fs::remove_file(env.join(right));
    }
    for right in rights {
        fs::write(env.join(right), "\n").unwrap();
    }
}

/// A request that must be refused: its payload, the number of its descriptors, and the answer.
type Refused = (Vec<u8>, usize, i32);

#[test]
fn descriptors_of_a_refused_request_are_closed_when_its_header_arrives() {
    let server = Server::open(Ours, &["-v0"]);
    let entries = |count: usize| [b".", &entry(b"x", wire::never()).repeat(count)[..]].concat();
    let store = store_request(b"x", wire::never());
    let wrong: Vec<Refused> = vec![
        (store.clone(), 2, EPROTO),
        (store.clone(), FRAME_ENTRIES, EPROTO),
        ([&store[..], &[0; 300]].concat(), 1, EPROTO),
        (store[..10].to_vec(), 1, EPROTO),
        (retrieve_request(b"x", 0), 1, EPROTO),
        (b"L\0".to_vec(), 3, EPROTO),
        (b"?\0".to_vec(), 1, EPROTO),
        (set_dump_request(3), 1, EPROTO),
        (b"Xyz".to_vec(), 5, EPROTO),
        (b"\0\0".to_vec(), 5, EPROTO),
        // No set dump is open.
        (entries(2), 2, EPROTO),
        (entries(FRAME_ENTRIES), FRAME_ENTRIES, EPROTO),
    ];
    let denied: Vec<Refused> = vec![(store, 1, EPERM)];
    for (granted, all) in [(&[STORE, SETDUMP, LIST][..], wrong), (&[LIST, RETRIEVE], denied)] {
        rights(&server.daemon_dir, granted);
        for (payload, count, errno) in all {
            let (client, (end, fds)) = (server.connect(), pipes(count));
            let bytes = frame(&payload, count as u16);
            // The header and the letter of the request.
            send_and_close(&client, &bytes[..7], fds);
            assert!(wait_for_hangup(&end), "{count} descriptors are kept for {payload:?}");
            // The daemon answers when the whole request has arrived, and the connection stays open.
            wire::send(&client, &bytes[7..], &[]).unwrap();
            let reply = wire::receive_frame(&client).unwrap().0;
            assert_eq!(reply, [errno as u8], "{payload:?}");
            assert_eq!(status(&client, b"L", &[]), 0);
        }
    }
    // More entries than are missing.
    rights(&server.daemon_dir, &[SETDUMP]);
    let (client, (end, fds)) = (server.connect(), pipes(3));
    assert_eq!(status(&client, &set_dump_request(2), &[]), 0);
    send_and_close(&client, &frame(&entries(3), 3)[..7], fds);
    assert!(wait_for_hangup(&end));
}

#[test]
fn descriptors_from_a_client_without_the_right_to_store_are_closed_at_once() {
    let server = Server::open(Ours, &["-v0"]);
    rights(&server.daemon_dir, &[LIST, GETDUMP, RETRIEVE]);
    for count in [1, FRAME_ENTRIES] {
        let (client, (end, fds)) = (server.connect(), pipes(count));
        // Less than a header.
        send_and_close(&client, &[0], fds);
        assert!(wait_for_hangup(&end), "{count}");
        let request = frame(&store_request(b"x", wire::never()), count as u16);
        wire::send(&client, &[&request[1..]].concat(), &[]).unwrap();
        let errno = if count == 1 { EPERM } else { EPROTO };
        assert_eq!(wire::receive_frame(&client).unwrap().0, [errno as u8]);
    }
}

/// A daemon with a low limit on open files.
fn under_a_limit(limit: usize, options: &[&str]) -> Server {
    let daemon_dir = DaemonDir::open();
    let first = format!("ulimit -n {limit} &&");
    let mut command = daemon_dir.fdholderd_through(Ours, &first, "", options);
    Server::start(daemon_dir, &mut command)
}

#[test]
fn descriptors_of_incomplete_requests_leave_room_for_other_requests() {
    // With and without the right to store, after one byte and after a header.
    for granted in [&[LIST][..], &[STORE, SETDUMP, LIST]] {
        for length in [1, 6] {
            let server = under_a_limit(400, &["-n250", "-v0"]);
            rights(&server.daemon_dir, granted);
            let header = &frame(&[b'.'; 4000], FRAME_ENTRIES as u16)[..length];
            let incomplete: Vec<_> = (0..10).map(|_| server.connect()).collect();
            for client in &incomplete {
                send_and_close(client, header, (0..FRAME_ENTRIES).map(|_| memfd()).collect());
                wait_until_read(client);
            }
            rights(&server.daemon_dir, &[STORE, LIST]);
            let client = server.connect();
            for number in 0..150 {
                assert_eq!(store(&client, &format!("{number}")), 0, "{granted:?} {length}");
            }
            for client in &incomplete {
                assert!(!is_readable(client), "{granted:?} {length}");
            }
        }
    }
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

/// Sets the limit on open files of a running daemon. Returns the limit before.
fn limit(server: &Server, current: u64) -> Option<u64> {
    let pid = Pid::from_raw(server.pid() as i32).unwrap();
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(current), maximum })
        .unwrap()
        .current
}

/// The `count` lowest descriptor numbers that are free in a daemon.
fn free_numbers(server: &Server, count: usize) -> Vec<u64> {
    let folder = format!("/proc/{}/fd", server.pid());
    let is_free = |number: &u64| !Path::new(&folder).join(number.to_string()).is_symlink();
    (0..).filter(is_free).take(count).collect()
}

#[test]
fn a_store_beyond_the_limit_on_open_files_is_refused_and_the_daemon_goes_on() {
    let server = Server::open(Ours, &["-v1"]);
    let client = server.connect();
    assert_eq!(store(&client, "first"), 0);
    // Before the second answer, the daemon has checked for new clients.
    assert_eq!(status(&client, b"L", &[]), 0);
    let before = limit(&server, free_numbers(&server, 1)[0]).unwrap();
    for _ in 0..3 {
        assert_eq!(store(&client, "second"), ENFILE);
        let line = server.line();
        assert!(line.contains(": store: Too many open files"), "{line}");
    }
    // If there is room for only a part of a set dump, the daemon stores none of it.
    assert_eq!(status(&client, &set_dump_request(3), &[]), 0);
    limit(&server, free_numbers(&server, 2)[1]);
    let three: Vec<u8> =
        ["a", "b", "c"].iter().flat_map(|id| entry(id.as_bytes(), wire::never())).collect();
    let (end, fds) = pipes(3);
    send_and_close(&client, &frame(&[b".", &three[..]].concat(), 3), fds);
    assert_eq!(wire::receive_frame(&client).unwrap().0, [ENFILE as u8]);
    assert!(wait_for_hangup(&end));
    limit(&server, before);
    assert_eq!(wire::list(&client).unwrap(), [b"first"]);
    assert_eq!(store(&client, "second"), 0);
}

#[test]
fn the_spare_descriptor_is_used_to_read_a_rule_at_the_limit() {
    let server = Server::open(Ours, &["-v1"]);
    let first = server.connect();
    (0..2).for_each(|_| assert_eq!(status(&first, b"L", &[]), 0));
    // The limit leaves room for the connection only.
    let free = free_numbers(&server, 1)[0];
    let before = limit(&server, free + 1).unwrap();
    for _ in 0..2 {
        // In the second round the daemon has its spare descriptor again.
        let second = server.connect();
        assert_eq!(status(&second, b"L", &[]), 0);
        drop(second);
        // Before the last answer, the daemon has closed the connection and checked for new clients.
        (0..3).for_each(|_| assert_eq!(status(&first, b"L", &[]), 0));
    }
    limit(&server, before);
    let lines = server.stop();
    assert!(!lines.iter().any(|line| line.contains("rule")), "{lines:?}");
}

#[test]
fn inherited_descriptors_above_a_gap_count_against_the_limit() {
    let daemon_dir = DaemonDir::open();
    let first = "ulimit -n 300 && for n in {100..179}; do eval \"exec $n</dev/null\"; done;";
    let mut command = daemon_dir.fdholderd_through(Ours, first, "", &["-n250"]);
    let server = Server::start(daemon_dir, &mut command);
    let line = server.line();
    assert!(line.starts_with("s6-fdholderd: warning: the open-file limit is 300"), "{line}");
    let client = server.connect();
    let mut count = 0;
    while store(&client, &format!("{count}")) == 0 {
        count += 1;
    }
    assert!((170..220).contains(&count), "{count}");
    let clients: Vec<_> = (0..15).map(|_| server.connect()).collect();
    for client in &clients {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_limit_below_the_number_of_clients_does_not_make_the_daemon_poll() {
    let server = Server::open(Ours, &["-v0"]);
    let clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &clients {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    let before = limit(&server, 4).unwrap();
    assert_waits(server.pid());
    for client in &clients {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    limit(&server, before);
}

#[test]
fn one_message_may_carry_the_descriptors_of_several_requests() {
    let server = Server::open(Ours, &["-v0"]);
    let client = server.connect();
    let store = |id: &str| frame(&store_request(id.as_bytes(), wire::never()), 1);
    let files = [memfd(), memfd(), memfd(), memfd()];
    let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let bytes = [
        store("a"),
        frame(b"L", 0),
        store("b"),
        frame(&set_dump_request(2), 0),
        frame(&[b".", &entry(b"c", wire::never())[..], &entry(b"d", wire::never())].concat(), 2),
        frame(b"L", 0)[..3].to_vec(),
    ];
    wire::send(&client, &bytes.concat(), &fds).unwrap();
    for _ in 0..5 {
        assert_eq!(wire::receive_frame(&client).unwrap().0[0], 0);
    }
    wire::send(&client, &frame(b"L", 0)[3..], &[]).unwrap();
    assert_eq!(wire::receive_frame(&client).unwrap().0[0], 0);
    for (id, file) in ["a", "b", "c", "d"].iter().zip(&files) {
        let fd = wire::retrieve(&client, id.as_bytes()).unwrap();
        assert_eq!(wire::inode(fd), wire::inode(file), "{id}");
    }
    // The number of descriptors differs from the number announced: the daemon stores none of them.
    for (count, behind) in [(1, 0), (3, 0), (3, 7), (1, 7)] {
        let (client, (end, fds)) = (server.connect(), pipes(count));
        let bytes = [store("e"), store("f"), frame(b"L", 0)[..behind].to_vec()].concat();
        send_and_close(&client, &bytes, fds);
        assert_disconnects(&client);
        assert!(wait_for_hangup(&end));
    }
    assert_eq!(wire::list(&client).unwrap().len(), 4);
}
