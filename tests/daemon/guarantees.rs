//! Guarantees of our daemon against any client and any shortage. In each of these tests the C daemons fail:
//! they lose, mix up or leak descriptors, hang, or exit.

use crate::kit::clients::{hold, same_dump};
use crate::kit::daemon::{Daemon, Generation, Setup};
use crate::kit::fake::transfer;
use crate::kit::process::{wait_for_hangup, wait_until, wait_until_read};
use crate::kit::server::connect;
use crate::kit::tool::TIMEOUT;
use crate::kit::wire::{
    self, Held, delete_request, entry, expiry_in, frame, identities, inode, never,
    set_dump_request, store_request,
};
use crate::kit::{memfd, raise_open_file_limit};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The daemon under test.
const DAEMON: Generation = Generation::Ours;

/// `EAGAIN`, the answer to a frame of a set dump when more frames are expected.
const EAGAIN: u8 = 11;

/// Starts the daemon under test.
fn start(setup: Setup) -> Daemon {
    Daemon::start_with(DAEMON, setup)
}

/// An end of a pipe to hold, and the other end, which reports a hangup when all copies are closed.
fn pipe(id: &str, expiry: [u8; 12]) -> (OwnedFd, Held) {
    let (end, fd) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (end, Held { id: id.into(), expiry, fd })
}

/// Entries with the longest identifiers. A dump of 900 of them is more than the buffer of a socket takes.
fn large(count: usize) -> Vec<Held> {
    raise_open_file_limit();
    hold((0..count).map(|number| format!("{number:0>255}")))
}

/// Sends a frame.
fn send(stream: &UnixStream, payload: &[u8], fds: &[&OwnedFd]) {
    let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    wire::send_frame(stream, payload, &fds).unwrap();
}

/// Receives a reply and returns its status.
fn status(stream: &UnixStream) -> u8 {
    let (payload, fds) = wire::receive_frame(stream).unwrap();
    assert!(fds.is_empty());
    payload[0]
}

/// Stores an entry and returns the status.
fn store(stream: &UnixStream, held: &Held) -> u8 {
    send(stream, &store_request(&held.id, held.expiry), &[&held.fd]);
    status(stream)
}

/// Opens a set dump of `count` entries.
fn open_dump(stream: &UnixStream, count: usize) {
    send(stream, &set_dump_request(count), &[]);
    assert_eq!(status(stream), 0);
}

/// Sends a frame of a set dump with this entry, and returns the status.
fn put(stream: &UnixStream, held: &Held) -> u8 {
    send(stream, &[b".", &entry(&held.id, held.expiry)[..]].concat(), &[&held.fd]);
    status(stream)
}

/// Requests a dump, and reads only the number of its entries.
fn ask_for_dump(daemon: &Daemon) -> (UnixStream, usize) {
    let stream = connect(&daemon.path);
    send(&stream, b"?", &[]);
    let (reply, _) = wire::receive_frame(&stream).unwrap();
    (stream, u32::from_be_bytes(reply[5..9].try_into().unwrap()) as usize)
}

/// Reads a dump of `total` entries.
fn read_dump(stream: &UnixStream, total: usize) -> Vec<Held> {
    let mut all = Vec::new();
    while all.len() < total {
        let (payload, fds) = wire::receive_frame(stream).unwrap();
        all.extend(wire::entries(&payload, fds));
    }
    assert_eq!(all.len(), total);
    all
}

/// The identifiers of all entries of a daemon, sorted.
fn list(daemon: &Daemon) -> Vec<Vec<u8>> {
    let mut ids = wire::list(&connect(&daemon.path)).unwrap();
    ids.sort();
    ids
}

/// Whether a daemon holds exactly these entries.
fn holds(daemon: &Daemon, all: &[Held]) -> bool {
    identities(&wire::get_dump(&daemon.path).unwrap()) == identities(all)
}

fn signal(daemon: &Daemon, signal: Signal) {
    kill_process(Pid::from_raw(daemon.pid() as i32).unwrap(), signal).unwrap();
}

#[test]
fn entries_with_equal_expiries_can_be_deleted_and_retrieved() {
    let daemon = start(Setup::default());
    let stream = connect(&daemon.path);
    let date = never();
    let held = |number: usize| Held::new(format!("{number}"), date, memfd());
    let mut all: Vec<_> = (0..200).map(held).collect();
    wire::set_dump(&daemon.path, &all).unwrap();
    for number in 0..200 {
        // An entry in the middle, at a different position each time.
        let gone = all.remove(number * 37 % all.len());
        wire::delete(&stream, &gone.id).unwrap();
        all.push(held(1000 + number));
        assert_eq!(store(&stream, &all[199]), 0);
        let found = wire::retrieve(&stream, &all[number].id).unwrap();
        assert_eq!(inode(found), inode(&all[number].fd));
    }
    assert!(holds(&daemon, &all));
}

#[test]
fn all_entries_with_an_equal_expiry_expire() {
    let daemon = start(Setup::default());
    let stream = connect(&daemon.path);
    let date = expiry_in(Duration::from_secs(2));
    let mut all: Vec<_> = (0..90).map(|number| pipe(&format!("{number}"), date)).collect();
    let (last, held) = pipe("last", never());
    all.iter().for_each(|(_, held)| assert_eq!(store(&stream, held), 0));
    assert_eq!(store(&stream, &held), 0);
    drop(held);
    for number in 0..30 {
        let (_, gone) = all.remove(number * 37 % all.len());
        wire::delete(&stream, &gone.id).unwrap();
    }
    let ends: Vec<_> = all.into_iter().map(|(end, _)| end).collect();
    ends.iter().for_each(|end| assert!(wait_for_hangup(end)));
    assert_eq!(list(&daemon), [b"last"]);
    drop(last);
}

#[test]
fn descriptors_of_incomplete_requests_are_closed_and_no_others() {
    let daemon = start(Setup::default());
    let whole = frame(&store_request(b"c", never()), 1);
    let garbage: [(&[u8], usize); 5] = [
        (&[0], 1),
        (&[0xff], 3),
        (&whole[..10], 1),
        (b"\0\0\0\x01\0\x05L", 5),
        (b"\0\x01\0\0\0\xfd.", 253),
    ];
    let mut all = Vec::new();
    for round in 0..4 {
        for (at, (bytes, count)) in garbage.iter().enumerate() {
            let mine = Held::new(format!("{round} {at} mine"), never(), memfd());
            let stream = connect(&daemon.path);
            assert_eq!(store(&stream, &mine), 0);
            let (ends, fds): (Vec<_>, Vec<_>) =
                (0..*count).map(|_| pipe_with(PipeFlags::CLOEXEC).unwrap()).unzip();
            let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            wire::send(&stream, bytes, &borrowed).unwrap();
            wait_until_read(&stream);
            drop((fds, stream));
            ends.iter().for_each(|end| assert!(wait_for_hangup(end)));
            // Another client's descriptor gets a number that is free now.
            let yours = Held::new(format!("{round} {at} yours"), never(), memfd());
            assert_eq!(store(&connect(&daemon.path), &yours), 0);
            all.extend([mine, yours]);
            assert!(holds(&daemon, &all));
        }
    }
}

#[test]
fn a_dump_contains_what_was_held_when_it_was_requested() {
    let daemon = start(Setup { maxfds: 3000, open_files: Some(9000), ..Setup::default() });
    let mut all = large(1990);
    let (end, fd) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    all[3].fd = fd;
    // These entries expire while the last frames are not yet sent.
    for (number, held) in all[1900..].iter_mut().enumerate() {
        held.expiry = expiry_in(Duration::from_millis(4000 + number as u64));
    }
    wire::set_dump(&daemon.path, &all).unwrap();
    let expected = identities(&all);
    let (reader, total) = ask_for_dump(&daemon);
    assert_eq!(total, 1990);

    // A third is deleted, and new entries get their descriptor numbers. A third is replaced. Some entries
    // expire.
    let stream = connect(&daemon.path);
    for held in &all[..600] {
        wire::delete(&stream, &held.id).unwrap();
    }
    let new = hold((0..600).map(|number| format!("new {number}")));
    new.iter().for_each(|held| assert_eq!(store(&stream, held), 0));
    let others: Vec<_> =
        all[600..1200].iter().map(|held| Held::new(&held.id, held.expiry, memfd())).collect();
    wire::set_dump(&daemon.path, &others).unwrap();
    drop(all);
    let begun = Instant::now();
    while list(&daemon).len() > 1900 {
        assert!(begun.elapsed() < TIMEOUT);
        thread::sleep(Duration::from_millis(10));
    }

    let dump = read_dump(&reader, total);
    assert!(identities(&dump) == expected);
    drop(dump);
    assert!(wait_for_hangup(&end), "a deleted descriptor is still open");
}

#[test]
fn descriptors_that_only_a_dump_needs_are_closed_when_its_reader_disconnects() {
    let daemon = start(Setup { maxfds: 2000, open_files: Some(8000), ..Setup::default() });
    let mut all = large(2000);
    let ends: Vec<_> = all
        .iter_mut()
        .step_by(100)
        .map(|held| {
            let (end, fd) = pipe_with(PipeFlags::CLOEXEC).unwrap();
            held.fd = fd;
            end
        })
        .collect();
    wire::set_dump(&daemon.path, &all).unwrap();
    let (reader, _) = ask_for_dump(&daemon);
    let stream = connect(&daemon.path);
    all.iter().for_each(|held| wire::delete(&stream, &held.id).unwrap());
    drop((all, reader));
    ends.iter().for_each(|end| assert!(wait_for_hangup(end)));
}

#[test]
fn readers_that_do_not_read_their_dump_are_disconnected_when_a_set_dump_needs_room() {
    // The descriptors that their dumps need are deleted from the table. The daemon has room for a limited
    // number of these.
    let daemon = start(Setup { maxfds: 1500, open_files: Some(9000), ..Setup::default() });
    raise_open_file_limit();
    let mut readers = Vec::new();
    let mut all = Vec::new();
    for round in 0..5 {
        let stream = connect(&daemon.path);
        all.iter().for_each(|held: &Held| wire::delete(&stream, &held.id).unwrap());
        all = hold((0..1500).map(|number| format!("{:0>255}", round * 10_000 + number)));
        wire::set_dump(&daemon.path, &all).unwrap();
        readers.push((ask_for_dump(&daemon), identities(&all)));
    }
    let mut served = 0;
    for ((reader, total), expected) in readers {
        let mut dump = Vec::new();
        while let Ok((payload, fds)) = wire::receive_frame(&reader) {
            dump.extend(wire::entries(&payload, fds));
            if dump.len() == total {
                assert!(identities(&dump) == expected);
                served += 1;
                break;
            }
        }
    }
    assert!((1..5).contains(&served), "{}", daemon.log());
    assert!(daemon.log().contains("disconnect: No buffer space available"), "{}", daemon.log());
    assert!(holds(&daemon, &all));
}

#[test]
fn a_dump_mixes_up_no_descriptors_while_entries_are_stored_and_deleted() {
    // The identifier of each entry is its inode.
    let daemon = start(Setup::default());
    let named = || {
        let fd = memfd();
        Held::new(format!("{}", inode(&fd).1), expiry_in(Duration::from_secs(3600)), fd)
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let stream = connect(&daemon.path);
                let mut all: Vec<Held> = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    all.push(named());
                    assert_eq!(store(&stream, &all[all.len() - 1]), 0);
                    if all.len() > 80 {
                        wire::delete(&stream, &all.remove(0).id).unwrap();
                    }
                }
            });
        }
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..60 {
                        for held in wire::get_dump(&daemon.path).unwrap() {
                            assert_eq!(held.id, inode(&held.fd).1.to_string().into_bytes());
                        }
                    }
                })
            })
            .collect();
        let results: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
}

#[test]
fn a_slow_reader_gets_every_frame_of_its_dump_exactly_once() {
    let daemon = start(Setup::default());
    let all = large(1000);
    wire::set_dump(&daemon.path, &all).unwrap();
    let expected = identities(&all);
    for pause in [0, 1, 2] {
        let (reader, total) = ask_for_dump(&daemon);
        let mut found = Vec::new();
        while found.len() < total {
            // Before it answers another client, the daemon has sent the reader as much as possible.
            for _ in 0..pause {
                wire::retrieve(&connect(&daemon.path), &all[0].id).unwrap();
            }
            let (payload, fds) = wire::receive_frame(&reader).unwrap();
            found.extend(wire::entries(&payload, fds));
        }
        assert!(identities(&found) == expected, "{pause}");
        assert_eq!(wire::list(&reader).unwrap().len(), total);
    }
}

#[test]
fn a_busy_daemon_serves_no_entry_after_its_expiry() {
    let daemon = start(Setup { maxfds: 3, ..Setup::default() });
    let done = AtomicBool::new(false);
    let ask = || {
        let stream = connect(&daemon.path);
        while !done.load(Ordering::Relaxed) {
            wire::list(&stream).unwrap();
        }
    };
    thread::scope(|scope| {
        scope.spawn(ask);
        scope.spawn(ask);
        let result = scope.spawn(|| {
            let stream = connect(&daemon.path);
            for round in 0..4 {
                let span = Duration::from_millis(200);
                let begun = Instant::now();
                let date = expiry_in(span);
                let ids = ["a", "b", "c"];
                let all: Vec<_> = ids.map(|id| Held::new(id, date, memfd())).into();
                wire::set_dump(&daemon.path, &all).unwrap();
                thread::sleep(span.saturating_sub(begun.elapsed()) + Duration::from_millis(1));
                // No answer contains an expired entry, and it does not count against the capacity.
                let gone = match round {
                    0 => wire::list(&stream).unwrap().is_empty(),
                    1 => wire::retrieve(&stream, b"b").is_err_and(|e| e.raw_os_error() == Some(2)),
                    2 => wire::get_dump(&daemon.path).unwrap().is_empty(),
                    _ => wire::delete(&stream, b"b").is_err_and(|e| e.raw_os_error() == Some(2)),
                };
                assert!(gone, "{round}");
                wire::set_dump(&daemon.path, &all).unwrap();
                let new = Held::new("new", never(), memfd());
                assert_eq!([store(&stream, &new), store(&stream, &new)], [0, 16]);
                wire::delete(&stream, b"new").unwrap();
            }
        });
        let result = result.join();
        done.store(true, Ordering::Relaxed);
        result.unwrap();
    });
}

#[test]
fn an_entry_that_expires_while_a_request_waits_is_not_served() {
    let daemon = start(Setup::default());
    let stream = connect(&daemon.path);
    let span = Duration::from_millis(300);
    let begun = Instant::now();
    assert_eq!(store(&stream, &Held::new("a", expiry_in(span), memfd())), 0);
    // The daemon reads the clock before it waits. It must read the clock after the wait as well.
    let stat = format!("/proc/{}/stat", daemon.pid());
    while !fs::read_to_string(&stat).unwrap().contains(") S ") {
        thread::yield_now();
    }
    signal(&daemon, Signal::STOP);
    send(&stream, b"R\0\x01a\0", &[]);
    thread::sleep(span.saturating_sub(begun.elapsed()) + Duration::from_millis(20));
    signal(&daemon, Signal::CONT);
    assert_eq!(status(&stream), 2);
}

#[test]
fn at_the_limit_on_open_files_new_clients_are_refused_and_all_entries_stay() {
    let mut daemon = start(Setup::default());
    let pid = Pid::from_raw(daemon.pid() as i32).unwrap();
    let all = hold((0..20).map(|number| format!("{number}")));
    wire::set_dump(&daemon.path, &all).unwrap();
    let old = connect(&daemon.path);
    assert_eq!(wire::list(&old).unwrap().len(), 20);

    let numbers = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    let open: Vec<u64> = numbers
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().parse().unwrap())
        .collect();
    let free = (0..).find(|number| !open.contains(number)).unwrap();
    let limit = |current| {
        let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
        prlimit(Some(pid), Resource::Nofile, Rlimit { current, maximum }).unwrap().current
    };
    for round in 1..=2 {
        let before = limit(Some(free));
        for _ in 0..5 {
            assert!(
                wait_for_hangup(&connect(&daemon.path)),
                "a client beyond the limit is not disconnected"
            );
            assert_eq!(wire::list(&old).unwrap().len(), 20);
        }
        assert!(daemon.is_running());
        let warnings = |log: &str| log.lines().filter(|line| line.contains("warning")).count();
        // The daemon repeats the warning only if it has accepted a client since, and after a second.
        wait_until(|| daemon.log(), || warnings(&daemon.log()) >= round);
        assert_eq!(warnings(&daemon.log()), round, "{}", daemon.log());
        limit(before);
        assert!(holds(&daemon, &all));
    }
}

#[test]
fn the_daemon_works_with_a_limit_on_open_files_below_the_number_of_its_descriptors() {
    // `ppoll` refuses more entries than the limit, even if their descriptor numbers are small or unused.
    let mut daemon = start(Setup::default());
    let pid = Pid::from_raw(daemon.pid() as i32).unwrap();
    let all = hold(["a".to_string(), "b".to_string()]);
    wire::set_dump(&daemon.path, &all).unwrap();
    let old = connect(&daemon.path);
    assert_eq!(wire::list(&old).unwrap().len(), 2);
    let (current, maximum) = (Some(4), rustix::process::getrlimit(Resource::Nofile).maximum);
    prlimit(Some(pid), Resource::Nofile, Rlimit { current, maximum }).unwrap();
    assert_eq!(wire::list(&old).unwrap().len(), 2);
    wire::retrieve(&old, b"a").unwrap();
    wire::delete(&old, b"b").unwrap();
    assert_eq!(wire::list(&old).unwrap().len(), 1);
    signal(&daemon, Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn a_client_that_is_silent_in_the_middle_of_a_request_is_disconnected() {
    let options = &["-t", "700"];
    let daemon = start(Setup { options, maxfds: 2100, open_files: Some(9000), ..Setup::default() });
    wire::set_dump(&daemon.path, &large(2000)).unwrap();
    let idle = connect(&daemon.path);
    let after_a_request = |stream: UnixStream| {
        // The timeout for the first request of a client must not apply here.
        wire::retrieve(&stream, format!("{:0>255}", 7).as_bytes()).unwrap();
        stream
    };
    let idle = after_a_request(idle);
    let begun = Instant::now();

    let half = after_a_request(connect(&daemon.path));
    wire::send(&half, &frame(b"L", 0)[..3], &[]).unwrap();
    let empty = connect(&daemon.path);
    wire::send(&empty, &[0], &[]).unwrap();
    let opened = after_a_request(connect(&daemon.path));
    open_dump(&opened, 2);
    let between = after_a_request(connect(&daemon.path));
    open_dump(&between, 2);
    let new = &hold([format!("{:0>255}", 7)])[0];
    assert_eq!(put(&between, new), EAGAIN);
    let unread = after_a_request(connect(&daemon.path));
    send(&unread, b"?", &[]);
    for (at, stream) in [half, empty, opened, between, unread].iter().enumerate() {
        assert!(wait_for_hangup(stream), "client {at} is still connected");
    }
    assert!(begun.elapsed() >= Duration::from_millis(700), "too early");
    assert_eq!(wire::list(&idle).unwrap().len(), 2000);

    // A client that sends slowly is not silent.
    let slow = after_a_request(connect(&daemon.path));
    let begun = Instant::now();
    for byte in frame(&delete_request(&[b'x'; 16]), 0) {
        wire::send(&slow, &[byte], &[]).unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() > Duration::from_millis(700));
    assert_eq!(status(&slow), 2);
}

#[test]
fn a_refused_frame_of_a_set_dump_changes_no_entry() {
    // Between the frames, new entries get the descriptor numbers that are free.
    let daemon = start(Setup { maxfds: 40, ..Setup::default() });
    let mut all = hold((0..10).map(|number| format!("{number}")));
    wire::set_dump(&daemon.path, &all).unwrap();
    let stream = connect(&daemon.path);
    for round in 0..10 {
        let same = entry(b"same", expiry_in(Duration::from_secs(9000)));
        let replaced = entry(&all[round].id, never());
        for begin in [[same.clone(), same.clone()].concat(), [replaced, same].concat()] {
            open_dump(&stream, 3);
            let (ends, fds): (Vec<_>, Vec<_>) =
                (0..3).map(|_| pipe_with(PipeFlags::CLOEXEC).unwrap()).unzip();
            let payload = [b".", &begin[..], b"\0\0\0"].concat();
            send(&stream, &payload, &fds.iter().collect::<Vec<_>>());
            drop(fds);
            assert_eq!(status(&stream), 71);
            ends.iter().for_each(|end| assert!(wait_for_hangup(end)));
            assert!(holds(&daemon, &all));
        }
        let new = Held::new(format!("new {round}"), expiry_in(Duration::from_secs(9000)), memfd());
        assert_eq!(store(&stream, &new), 0);
        all.push(new);
        assert!(holds(&daemon, &all));
    }
}

#[test]
fn a_large_table_does_not_need_a_large_stack() {
    let limits = "ulimit -s 128";
    let daemon = start(Setup { maxfds: 15_000, limits, ..Setup::default() });
    let all = large(1500);
    wire::set_dump(&daemon.path, &all).unwrap();
    assert!(holds(&daemon, &all));
    assert_eq!(list(&daemon).len(), 1500);
}

#[test]
fn at_the_limit_on_descriptors_in_flight_a_reader_waits_and_gets_its_whole_dump() {
    let open_files = Some(200);
    let daemon = start(Setup { maxfds: 120, unprivileged: true, open_files, ..Setup::default() });
    let all = hold((0..120).map(|number| format!("{number}")));
    wire::set_dump(&daemon.path, &all).unwrap();
    let readers: Vec<_> = (0..8).map(|_| ask_for_dump(&daemon)).collect();
    // Other clients do not wait for these readers.
    let stream = connect(&daemon.path);
    let new = Held::new("new", never(), memfd());
    for _ in 0..20 {
        assert_eq!(wire::list(&stream).unwrap().len(), 120);
        wire::delete(&stream, &all[0].id).unwrap();
        assert_eq!(store(&stream, &new), 0);
        wire::delete(&stream, b"new").unwrap();
        assert_eq!(store(&stream, &all[0]), 0);
    }
    // The order in which the readers go on is not defined.
    let expected = identities(&all);
    thread::scope(|scope| {
        for (reader, total) in &readers {
            scope.spawn(|| {
                assert!(same_dump(&identities(&read_dump(reader, *total)), &expected));
                assert_eq!(wire::list(reader).unwrap().len(), 120);
            });
        }
    });
}

#[test]
fn a_header_with_a_large_length_takes_no_memory() {
    let daemon = start(Setup::default());
    assert!(list(&daemon).is_empty());
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_string();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let before = memory();
    for length in [1 << 28, (1 << 28) - 1, u32::MAX, 1 << 20, 1 + 253 * 269 + 1] {
        for descriptors in [0u16, 1, 253] {
            let stream = connect(&daemon.path);
            let head = [&length.to_be_bytes()[..], &descriptors.to_be_bytes()].concat();
            wire::send(&stream, &head, &[]).unwrap();
            assert!(wait_for_hangup(&stream), "{length}");
        }
    }
    assert!(memory() < before + 1000, "{before} and then {} kilobytes", memory());
}

#[test]
fn a_replaced_entry_counts_only_once_against_the_capacity() {
    // Both daemons are nearly full, and have most identifiers in common.
    let setup = Setup { maxfds: 300, ..Setup::default() };
    let (source, destination) = (start(setup), start(setup));
    let all = hold((0..300).map(|number| format!("{number}")));
    wire::set_dump(&source.path, &all).unwrap();
    wire::set_dump(&destination.path, &all[50..]).unwrap();
    for _ in 0..2 {
        let ended = transfer(&[], &source.path, &destination.path);
        assert_eq!((ended.code, &ended.err[..]), (0, ""));
        assert!(holds(&destination, &all));
    }
}
