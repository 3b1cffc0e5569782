//! Places, time and descriptors that a client takes from others: it gets its share of them, and no
//! more for being silent, half done or in its own hands.

use crate::kit::daemon::Generation::Ours;
use crate::kit::daemon::{GETDUMP, LIST, RETRIEVE, SETDUMP, STORE};
use crate::kit::process::{descriptors, until_read};
use crate::kit::server::{Place, Server, answer, connect, hangs_up, status};
use crate::kit::wire::{
    self, FRAME_ENTRIES, Held, entry, frame, retrieve_request, set_dump_request, store_request,
};
use crate::kit::{make_room, memfd};
use crate::protocol::daemon_conformance::hung_up;
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

/// Errors that are answered.
const EPERM: i32 = 1;
const EAGAIN: i32 = 11;
const EBUSY: i32 = 16;
const ENFILE: i32 = 23;
const EPROTO: i32 = 71;

/// Milliseconds after which a client is silent.
const SILENCE: u32 = 1000;

fn store(client: &UnixStream, id: &str) -> i32 {
    status(client, &store_request(id.as_bytes(), wire::never()), &[memfd().as_fd()])
}

/// So many descriptors, and the end of a pipe that hangs up when the daemon has closed all of them.
fn pipes(count: usize) -> (OwnedFd, Vec<OwnedFd>) {
    let (end, fd) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (end, (0..count).map(|_| fd.try_clone().unwrap()).collect())
}

/// Sends bytes, and gives these descriptors away with them.
fn give(client: &UnixStream, bytes: &[u8], fds: Vec<OwnedFd>) {
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    wire::send(client, bytes, &fds).unwrap();
}

/// How much processor time a process has taken, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let all = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, behind) = all.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = behind.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Checks that a process waits: what does not gets much more in two seconds, however busy the machine.
fn is_waiting(pid: u32) {
    let before = ticks(pid);
    thread::sleep(Duration::from_secs(2));
    let spent = ticks(pid) - before;
    assert!(spent < 12, "{spent} hundredths of a second");
}

/// Does something as another user, which takes root.
fn as_user<T: Send>(uid: u32, act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let (user, group) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(uid));
            // Of this thread alone.
            set_thread_res_gid(group, group, group).unwrap();
            set_thread_res_uid(user, user, user).unwrap();
            act()
        });
        other.join().unwrap()
    })
}

/// Ways to have a connection that no process has an end of any more but the daemon.
const KEPT: [fn(&UnixStream); 4] = [
    // In less than a header.
    |client| wire::send(client, &[0], &[client.as_fd()]).unwrap(),
    // In a request that never comes whole.
    |client| {
        let request = frame(&store_request(b"own end", wire::never()), 1);
        wire::send(client, &request[..10], &[client.as_fd()]).unwrap();
    },
    // In one that waits behind answers that nobody reads.
    |client| {
        let request = frame(&store_request(b"own end", wire::never()), 1);
        client.set_nonblocking(true).unwrap();
        while wire::send(client, &frame(b"L", 0).repeat(100), &[]).is_ok() {}
        let _ = wire::send(client, &request, &[client.as_fd()]);
        client.set_nonblocking(false).unwrap();
    },
    // Held.
    |client| {
        let id = format!("own end {}", client.as_raw_fd());
        let request = store_request(id.as_bytes(), wire::never());
        let _ = status(client, &request, &[client.as_fd()]);
    },
];

#[test]
fn connections_that_only_the_daemon_has_lock_nobody_out() {
    for keep in KEPT {
        let mut server = Server::open(Ours, &["-c4", "-v0"]);
        let kept: Vec<_> = (0..4).map(|_| server.connect()).collect();
        for client in &kept {
            assert_eq!(status(client, b"L", &[]), 0);
        }
        kept.iter().for_each(keep);
        drop(kept);
        server.serves();
    }
}

#[test]
fn idle_connections_lock_nobody_out() {
    let mut server = Server::open(Ours, &["-c4", "-v0"]);
    let never_asked: Vec<_> = (0..4).map(|_| server.connect()).collect();
    server.serves();
    drop(never_asked);
    let asked: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &asked {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    server.serves();
    // One has made way, and the others are still there.
    drop(server.connect());
    let gone = asked.iter().filter(|client| answer(client, b"L", &[]).is_err()).count();
    assert_eq!(gone, 1);
}

#[test]
fn the_one_that_has_been_silent_for_longest_makes_way() {
    let server = Server::open(Ours, &["-c3", "-v0"]);
    let clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for at in [1, 2, 0] {
        assert_eq!(status(&clients[at], b"L", &[]), 0);
        thread::sleep(Duration::from_millis(20));
    }
    let new = server.connect();
    assert_eq!(status(&new, b"L", &[]), 0);
    hangs_up(&clients[1]);
    for client in [&clients[0], &clients[2], &new] {
        assert_eq!(status(client, b"L", &[]), 0);
    }
}

#[test]
fn who_is_at_work_does_not_make_way_for_others_of_the_same_user() {
    let server = Server::open(Ours, &["-c3", "-v0"]);
    let (busy, dump) = (server.connect(), server.connect());
    assert_eq!(status(&dump, &set_dump_request(1000), &[]), 0);
    let half = server.connect();
    let drip = frame(&store_request(&[b'x'; 200], wire::never()), 1);
    wire::send(&half, &drip[..1], &[memfd().as_fd()]).unwrap();
    // It waits, and has asked.
    let waiting: Vec<_> = (0..1).map(|_| server.connect()).collect();
    for client in &waiting {
        wire::send_frame(client, b"L", &[]).unwrap();
    }
    let begun = Instant::now();
    let mut count = 1;
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(status(&busy, b"L", &[]), 0);
        let entry = [b".", &entry(format!("{count}").as_bytes(), wire::never())[..]].concat();
        assert_eq!(status(&dump, &entry, &[memfd().as_fd()]), EAGAIN);
        wire::send(&half, &drip[count..count + 1], &[]).unwrap();
        count += 1;
        thread::sleep(Duration::from_millis(50));
    }
    // It is served when one of them goes, and not before.
    assert!(waiting.iter().all(|client| !is_hung_up(client)));
    drop((half, dump));
    for client in &waiting {
        assert_eq!(wire::receive_frame(client).unwrap().0[0], 0);
    }
    assert_eq!(status(&busy, b"L", &[]), 0);
}

#[test]
fn who_has_just_come_in_has_the_time_to_ask() {
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
fn a_full_house_is_waited_in() {
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
        // Both are at work, so nobody makes way, and nobody asks every millisecond.
        is_waiting(server.pid());
        drop(waiting);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// A daemon to which every user may connect, and two users who are not its own.
fn for_users(options: &[&str]) -> Option<Server> {
    if !geteuid().is_root() {
        eprintln!("only root can be several users: for others there is the property test");
        return None;
    }
    let server = Server::open(Ours, options);
    fs::set_permissions(server.place.socket(), Permissions::from_mode(0o777)).unwrap();
    Some(server)
}

#[test]
fn a_user_who_keeps_all_places_busy_keeps_no_more_than_its_share() {
    let Some(server) = for_users(&["-c8", "-v0"]) else { return };
    let path = server.place.socket();
    // Each sends a byte of a request now and then, which takes no right.
    let request = frame(&retrieve_request(&[b'x'; 250], 0), 0);
    let drips: Vec<_> = as_user(12001, || (0..20).map(|_| connect(&path)).collect());
    let over = &std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for byte in &request {
                for drip in &drips {
                    let _ = wire::send(drip, &[*byte], &[]);
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
fn a_flood_of_another_user_does_not_push_out_who_is_silent_within_its_share() {
    let Some(server) = for_users(&["-c4", "-v0"]) else { return };
    let path = server.place.socket();
    let quiet = server.connect();
    assert_eq!(status(&quiet, b"L", &[]), 0);
    let flood: Vec<_> = as_user(12001, || (0..12).map(|_| connect(&path)).collect());
    // The last of these gets in after two rounds, of a second each.
    assert_eq!(status(&flood[11], b"L", &[]), 0);
    assert_eq!(status(&quiet, b"L", &[]), 0);
}

#[test]
fn the_rule_is_read_before_anybody_makes_way() {
    let Some(server) = for_users(&["-c2", "-v0"]) else { return };
    let (path, place) = (server.place.socket(), &server.place);
    place.refuse("uid/12001");
    let inside = [server.connect(), server.connect()];
    for client in &inside {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    thread::sleep(Duration::from_millis(1100));
    for _ in 0..3 {
        as_user(12001, || hangs_up(&connect(&path)));
    }
    for client in &inside {
        assert_eq!(status(client, b"L", &[]), 0);
    }
}

/// Connections by user and by milliseconds of silence, the waiting one first.
fn crowd() -> impl Strategy<Value = Vec<(u32, u32)>> {
    prop::collection::vec((0..4u32, 0..3000u32), 2..40)
}

proptest! {
    #[test]
    fn who_makes_way_has_too_much_or_nobody_does(all in crowd(), now in any::<u32>()) {
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
                // Not now, but nothing can have changed before that.
                let silence = longest.unwrap_or(0).max(if is_entitled { all[0].1 } else { 0 });
                prop_assert_eq!(pause, SILENCE - silence);
            }
        }
    }
}

/// Gives everybody these rights from now on.
fn rights(place: &Place, rights: &[&str]) {
    let env = place.rules().join("uid/default/env");
    for right in [GETDUMP, SETDUMP, LIST, STORE, RETRIEVE] {
        let _ = fs::remove_file(env.join(right));
    }
    for right in rights {
        fs::write(env.join(right), "\n").unwrap();
    }
}

/// A request that cannot be right: its payload, how many descriptors it has, and what is answered.
type Wrong = (Vec<u8>, usize, i32);

#[test]
fn what_cannot_be_right_is_closed_as_soon_as_the_header_says_so() {
    let server = Server::open(Ours, &["-v0"]);
    let entries = |count: usize| [b".", &entry(b"x", wire::never()).repeat(count)[..]].concat();
    let store = store_request(b"x", wire::never());
    let wrong: Vec<Wrong> = vec![
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
    let denied: Vec<Wrong> = vec![(store, 1, EPERM)];
    for (granted, all) in [(&[STORE, SETDUMP, LIST][..], wrong), (&[LIST, RETRIEVE], denied)] {
        rights(&server.place, granted);
        for (payload, count, errno) in all {
            let (client, (end, fds)) = (server.connect(), pipes(count));
            let bytes = frame(&payload, count as u16);
            // The header and the letter.
            give(&client, &bytes[..7], fds);
            assert!(hung_up(&end), "{count} descriptors are kept for {payload:?}");
            // It is answered nevertheless, when all of it has come, and is no end.
            wire::send(&client, &bytes[7..], &[]).unwrap();
            let reply = wire::receive_frame(&client).unwrap().0;
            assert_eq!(reply, [errno as u8], "{payload:?}");
            assert_eq!(status(&client, b"L", &[]), 0);
        }
    }
    // More entries than are missing.
    rights(&server.place, &[SETDUMP]);
    let (client, (end, fds)) = (server.connect(), pipes(3));
    assert_eq!(status(&client, &set_dump_request(2), &[]), 0);
    give(&client, &frame(&entries(3), 3)[..7], fds);
    assert!(hung_up(&end));
}

#[test]
fn of_who_has_no_right_that_takes_descriptors_none_is_kept() {
    let server = Server::open(Ours, &["-v0"]);
    rights(&server.place, &[LIST, GETDUMP, RETRIEVE]);
    for count in [1, FRAME_ENTRIES] {
        let (client, (end, fds)) = (server.connect(), pipes(count));
        // Not even a header.
        give(&client, &[0], fds);
        assert!(hung_up(&end), "{count}");
        let request = frame(&store_request(b"x", wire::never()), count as u16);
        wire::send(&client, &[&request[1..]].concat(), &[]).unwrap();
        let errno = if count == 1 { EPERM } else { EPROTO };
        assert_eq!(wire::receive_frame(&client).unwrap().0, [errno as u8]);
    }
}

/// A daemon of which the limit on open files leaves little room.
fn under_a_limit(limit: usize, options: &[&str]) -> Server {
    let place = Place::open();
    let first = format!("ulimit -n {limit} &&");
    let mut command = place.fdholderd_through(Ours, &first, "", options);
    Server::start(place, &mut command)
}

#[test]
fn what_others_park_leaves_room_for_a_request() {
    // With rights or without, and however little of the request has come.
    for granted in [&[LIST][..], &[STORE, SETDUMP, LIST]] {
        for length in [1, 6] {
            let server = under_a_limit(400, &["-n250", "-v0"]);
            rights(&server.place, granted);
            let header = &frame(&[b'.'; 4000], FRAME_ENTRIES as u16)[..length];
            let parking: Vec<_> = (0..10).map(|_| server.connect()).collect();
            for client in &parking {
                give(client, header, (0..FRAME_ENTRIES).map(|_| memfd()).collect());
                until_read(client);
            }
            rights(&server.place, &[STORE, LIST]);
            let client = server.connect();
            for number in 0..150 {
                assert_eq!(store(&client, &format!("{number}")), 0, "{granted:?} {length}");
            }
            for client in &parking {
                assert!(!is_hung_up(client), "{granted:?} {length}");
            }
        }
    }
}

/// Whether somebody has hung up by now.
fn is_hung_up(client: &UnixStream) -> bool {
    client.set_nonblocking(true).unwrap();
    let read = wire::receive(client, &mut [0]);
    client.set_nonblocking(false).unwrap();
    !read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn a_refused_request_cuts_off_no_slow_reader() {
    const MOST: usize = 900;
    make_room();
    let server = Server::open(Ours, &["-n900", "-v1"]);
    let path = server.place.socket();
    let ids: Vec<_> = (0..MOST).map(|number| format!("{number:0>255}")).collect();
    let hold = |id: &String| Held::new(id, wire::never(), memfd());
    let client = server.connect();
    assert_eq!(status(&client, b"L", &[]), 0);
    let own = descriptors(server.pid());
    wire::set_each(&path, MOST, ids.iter().map(hold)).unwrap();
    // Slow readers, until what they need leaves no slot for a request of as many as there can be.
    let (mut readers, mut free) = (Vec::new(), usize::MAX);
    for _ in 0..8 {
        let reader = server.connect();
        wire::send_frame(&reader, b"?", &[]).unwrap();
        until_read(&reader);
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

/// Sets the limit on open files of a daemon, from outside, and says what it was.
fn limit(server: &Server, current: u64) -> Option<u64> {
    let pid = Pid::from_raw(server.pid() as i32).unwrap();
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(current), maximum })
        .unwrap()
        .current
}

/// The lowest numbers that a daemon has no descriptor of.
fn free_numbers(server: &Server, count: usize) -> Vec<u64> {
    let folder = format!("/proc/{}/fd", server.pid());
    let is_free = |number: &u64| !Path::new(&folder).join(number.to_string()).is_symlink();
    (0..).filter(is_free).take(count).collect()
}

#[test]
fn what_is_stored_beyond_the_limit_is_refused_and_ends_nothing() {
    let server = Server::open(Ours, &["-v1"]);
    let client = server.connect();
    assert_eq!(store(&client, "first"), 0);
    // By the second answer it has looked whether more connect.
    assert_eq!(status(&client, b"L", &[]), 0);
    let before = limit(&server, free_numbers(&server, 1)[0]).unwrap();
    for _ in 0..3 {
        assert_eq!(store(&client, "second"), ENFILE);
        let line = server.line();
        assert!(line.contains(": store: Too many open files"), "{line}");
    }
    // Of a set dump there is room for a part only, which is not held.
    assert_eq!(status(&client, &set_dump_request(3), &[]), 0);
    limit(&server, free_numbers(&server, 2)[1]);
    let three: Vec<u8> =
        ["a", "b", "c"].iter().flat_map(|id| entry(id.as_bytes(), wire::never())).collect();
    let (end, fds) = pipes(3);
    give(&client, &frame(&[b".", &three[..]].concat(), 3), fds);
    assert_eq!(wire::receive_frame(&client).unwrap().0, [ENFILE as u8]);
    assert!(hung_up(&end));
    limit(&server, before);
    assert_eq!(wire::list(&client).unwrap(), [b"first"]);
    assert_eq!(store(&client, "second"), 0);
}

#[test]
fn a_rule_is_read_with_the_spare_descriptor_where_there_is_no_other() {
    let server = Server::open(Ours, &["-v1"]);
    let first = server.connect();
    (0..2).for_each(|_| assert_eq!(status(&first, b"L", &[]), 0));
    // Room for the connection, and for nothing else.
    let free = free_numbers(&server, 1)[0];
    let before = limit(&server, free + 1).unwrap();
    for _ in 0..2 {
        // The second time the spare one is there again.
        let second = server.connect();
        assert_eq!(status(&second, b"L", &[]), 0);
        drop(second);
        // By then it has noticed, and looked whether more connect.
        (0..3).for_each(|_| assert_eq!(status(&first, b"L", &[]), 0));
    }
    limit(&server, before);
    let lines = server.stop();
    assert!(!lines.iter().any(|line| line.contains("rule")), "{lines:?}");
}

#[test]
fn descriptors_inherited_above_a_gap_are_counted() {
    let place = Place::open();
    let first = "ulimit -n 300 && for n in {100..179}; do eval \"exec $n</dev/null\"; done;";
    let mut command = place.fdholderd_through(Ours, first, "", &["-n250"]);
    let server = Server::start(place, &mut command);
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
fn a_limit_below_the_places_that_are_waited_for_costs_no_processor_time() {
    let server = Server::open(Ours, &["-v0"]);
    let clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &clients {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    let before = limit(&server, 4).unwrap();
    is_waiting(server.pid());
    for client in &clients {
        assert_eq!(status(client, b"L", &[]), 0);
    }
    limit(&server, before);
}

#[test]
fn the_descriptors_of_several_requests_may_come_with_one_message() {
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
    for due in [0, 0, 0, 0, 0] {
        assert_eq!(wire::receive_frame(&client).unwrap().0[0], due);
    }
    wire::send(&client, &frame(b"L", 0)[3..], &[]).unwrap();
    assert_eq!(wire::receive_frame(&client).unwrap().0[0], 0);
    for (id, file) in ["a", "b", "c", "d"].iter().zip(&files) {
        let fd = wire::retrieve(&client, id.as_bytes()).unwrap();
        assert_eq!(wire::inode(fd), wire::inode(file), "{id}");
    }
    // Numbers that do not add up: nothing is done with any of them.
    for (count, behind) in [(1, 0), (3, 0), (3, 7), (1, 7)] {
        let (client, (end, fds)) = (server.connect(), pipes(count));
        let bytes = [store("e"), store("f"), frame(b"L", 0)[..behind].to_vec()].concat();
        give(&client, &bytes, fds);
        hangs_up(&client);
        assert!(hung_up(&end));
    }
    assert_eq!(wire::list(&client).unwrap().len(), 4);
}
