//! The shares of connections: silent clients are evicted if others wait.

use super::{EAGAIN, assert_waits, is_readable};
use crate::kit::daemon::Generation::Ours;
use crate::kit::server::{Server, answer, assert_disconnects, connect, status};
use crate::kit::wire::{self, entry, frame, retrieve_request, set_dump_request, store_request};
use crate::kit::{memfd, random_cases};
use fdholder::daemon::connection::Connection;
use fdholder::daemon::eviction::candidate;
use proptest::prelude::*;
use rustix::process::geteuid;
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// The milliseconds without activity after which a client may be evicted.
const SILENCE: u32 = 1000;

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
