//! What our daemon keeps to, whatever its clients do and whatever it runs out of. In each of these
//! the daemons of C fail: they lose, cross or keep descriptors, hang, or exit.

use crate::kit::clients::{hold, same_dump};
use crate::kit::daemon::{Daemon, Generation, Setup};
use crate::kit::fake::transfer;
use crate::kit::process::{until, until_read};
use crate::kit::server::connect;
use crate::kit::tool::PATIENCE;
use crate::kit::wire::{
    self, Held, delete_request, entry, expiry_in, frame, identities, inode, never,
    set_dump_request, store_request,
};
use crate::kit::{make_room, memfd};
use crate::protocol::daemon_conformance::hung_up;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Whose daemon promises all this.
const WHO: Generation = Generation::Ours;

/// `EAGAIN`, the answer of a set dump that wants more.
const EAGAIN: u8 = 11;

/// Starts a daemon.
fn start(setup: Setup) -> Daemon {
    Daemon::start_with(WHO, setup)
}

/// Something to hold, and a pipe's other end, which hangs up when nobody has it any more.
fn pipe(id: &str, expiry: [u8; 12]) -> (OwnedFd, Held) {
    let (end, fd) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (end, Held { id: id.into(), expiry, fd })
}

/// So many things with the longest identifiers: 900 of them are more than a socket holds.
fn large(count: usize) -> Vec<Held> {
    make_room();
    hold((0..count).map(|number| format!("{number:0>255}")))
}

/// Sends a frame.
fn send(stream: &UnixStream, payload: &[u8], fds: &[&OwnedFd]) {
    let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    wire::send_frame(stream, payload, &fds).unwrap();
}

/// The status that comes back.
fn status(stream: &UnixStream) -> u8 {
    let (payload, fds) = wire::receive_frame(stream).unwrap();
    assert!(fds.is_empty());
    payload[0]
}

/// Stores something and says how that was answered.
fn store(stream: &UnixStream, held: &Held) -> u8 {
    send(stream, &store_request(&held.id, held.expiry), &[&held.fd]);
    status(stream)
}

/// Opens a set dump of so many.
fn open_dump(stream: &UnixStream, count: usize) {
    send(stream, &set_dump_request(count), &[]);
    assert_eq!(status(stream), 0);
}

/// Sends a frame of a set dump with this in it, and says how that was answered.
fn put(stream: &UnixStream, held: &Held) -> u8 {
    send(stream, &[b".", &entry(&held.id, held.expiry)[..]].concat(), &[&held.fd]);
    status(stream)
}

/// Asks for a dump and reads no more than how much there will be.
fn ask_for_dump(daemon: &Daemon) -> (UnixStream, usize) {
    let stream = connect(&daemon.path);
    send(&stream, b"?", &[]);
    let (reply, _) = wire::receive_frame(&stream).unwrap();
    (stream, u32::from_be_bytes(reply[5..9].try_into().unwrap()) as usize)
}

/// Reads a dump of so many.
fn read_dump(stream: &UnixStream, total: usize) -> Vec<Held> {
    let mut all = Vec::new();
    while all.len() < total {
        let (payload, fds) = wire::receive_frame(stream).unwrap();
        all.extend(wire::entries(&payload, fds));
    }
    assert_eq!(all.len(), total);
    all
}

/// The identifiers of all that it holds, sorted.
fn list(daemon: &Daemon) -> Vec<Vec<u8>> {
    let mut ids = wire::list(&connect(&daemon.path)).unwrap();
    ids.sort();
    ids
}

/// Whether a daemon holds exactly these.
fn holds(daemon: &Daemon, all: &[Held]) -> bool {
    identities(&wire::get_dump(&daemon.path).unwrap()) == identities(all)
}

fn signal(daemon: &Daemon, signal: Signal) {
    kill_process(Pid::from_raw(daemon.pid() as i32).unwrap(), signal).unwrap();
}

#[test]
fn equal_dates_are_no_trouble() {
    let daemon = start(Setup::default());
    let stream = connect(&daemon.path);
    let date = never();
    let thing = |number: usize| Held::new(format!("{number}"), date, memfd());
    let mut all: Vec<_> = (0..200).map(thing).collect();
    wire::set_dump(&daemon.path, &all).unwrap();
    for number in 0..200 {
        // Some place in the middle, which is another one every time.
        let gone = all.remove(number * 37 % all.len());
        wire::delete(&stream, &gone.id).unwrap();
        all.push(thing(1000 + number));
        assert_eq!(store(&stream, &all[199]), 0);
        let found = wire::retrieve(&stream, &all[number].id).unwrap();
        assert_eq!(inode(found), inode(&all[number].fd));
    }
    assert!(holds(&daemon, &all));
}

#[test]
fn of_equal_dates_everything_expires() {
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
    ends.iter().for_each(|end| assert!(hung_up(end)));
    assert_eq!(list(&daemon), [b"last"]);
    drop(last);
}

#[test]
fn what_nobody_asked_for_is_closed_and_nothing_else() {
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
            until_read(&stream);
            drop((fds, stream));
            ends.iter().for_each(|end| assert!(hung_up(end)));
            // Now somebody else gets the numbers that are free.
            let yours = Held::new(format!("{round} {at} yours"), never(), memfd());
            assert_eq!(store(&connect(&daemon.path), &yours), 0);
            all.extend([mine, yours]);
            assert!(holds(&daemon, &all));
        }
    }
}

#[test]
fn a_dump_is_what_was_held_when_it_was_asked_for() {
    let daemon = start(Setup { maxfds: 3000, open_files: Some(9000), ..Setup::default() });
    let mut all = large(1990);
    let (end, fd) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    all[3].fd = fd;
    // They come last, which is still to be sent then.
    for (number, held) in all[1900..].iter_mut().enumerate() {
        held.expiry = expiry_in(Duration::from_millis(4000 + number as u64));
    }
    wire::set_dump(&daemon.path, &all).unwrap();
    let expected = identities(&all);
    let (reader, total) = ask_for_dump(&daemon);
    assert_eq!(total, 1990);

    // A third is deleted, and others get its numbers; a third is replaced; some expire.
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
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(10));
    }

    let dump = read_dump(&reader, total);
    assert!(identities(&dump) == expected);
    drop(dump);
    assert!(hung_up(&end), "what was deleted is open");
}

#[test]
fn what_only_a_dump_needs_is_closed_when_its_reader_hangs_up() {
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
    ends.iter().for_each(|end| assert!(hung_up(end)));
}

#[test]
fn readers_who_do_not_read_are_not_in_the_way_of_what_is_to_be_held() {
    // What they still need is not held any more, and there is room for so much of it.
    let daemon = start(Setup { maxfds: 1500, open_files: Some(9000), ..Setup::default() });
    make_room();
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
fn no_dump_crosses_descriptors_while_others_come_and_go() {
    // Each is named by its inode.
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
fn every_frame_comes_once_however_slowly_it_is_read() {
    let daemon = start(Setup::default());
    let all = large(1000);
    wire::set_dump(&daemon.path, &all).unwrap();
    let expected = identities(&all);
    for pause in [0, 1, 2] {
        let (reader, total) = ask_for_dump(&daemon);
        let mut found = Vec::new();
        while found.len() < total {
            // Whoever has had an answer comes after all that the daemon could send.
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
fn nothing_is_served_after_its_date_however_busy_the_daemon_is() {
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
                // What has expired is not there, in no answer, and takes no room.
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
fn what_expires_while_requests_wait_is_not_served() {
    let daemon = start(Setup::default());
    let stream = connect(&daemon.path);
    let span = Duration::from_millis(300);
    let begun = Instant::now();
    assert_eq!(store(&stream, &Held::new("a", expiry_in(span), memfd())), 0);
    // It looks at the clock before it waits; what counts is that it does so behind the wait as well.
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
fn the_limit_on_open_files_costs_new_clients_and_nothing_held() {
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
            assert!(hung_up(&connect(&daemon.path)), "a client that there is no room for");
            assert_eq!(wire::list(&old).unwrap().len(), 20);
        }
        assert!(daemon.is_running());
        let warnings = |log: &str| log.lines().filter(|line| line.contains("warning")).count();
        // It says so again only when it has worked in between, and a second has passed.
        until(|| daemon.log(), || warnings(&daemon.log()) >= round);
        assert_eq!(warnings(&daemon.log()), round, "{}", daemon.log());
        limit(before);
        assert!(holds(&daemon, &all));
    }
}

#[test]
fn a_limit_on_open_files_below_the_number_of_clients_leaves_it_at_work() {
    // The kernel does not wait for more descriptors than the limit, whatever their numbers are, nor
    // for so many places that nobody has.
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
fn who_is_silent_in_the_middle_of_something_is_hung_up_on() {
    let options = &["-t", "700"];
    let daemon = start(Setup { options, maxfds: 2100, open_files: Some(9000), ..Setup::default() });
    wire::set_dump(&daemon.path, &large(2000)).unwrap();
    let idle = connect(&daemon.path);
    let met = |stream: UnixStream| {
        // What is told only of the first request does not count.
        wire::retrieve(&stream, format!("{:0>255}", 7).as_bytes()).unwrap();
        stream
    };
    let idle = met(idle);
    let begun = Instant::now();

    let half = met(connect(&daemon.path));
    wire::send(&half, &frame(b"L", 0)[..3], &[]).unwrap();
    let empty = connect(&daemon.path);
    wire::send(&empty, &[0], &[]).unwrap();
    let opened = met(connect(&daemon.path));
    open_dump(&opened, 2);
    let between = met(connect(&daemon.path));
    open_dump(&between, 2);
    let new = &hold([format!("{:0>255}", 7)])[0];
    assert_eq!(put(&between, new), EAGAIN);
    let deaf = met(connect(&daemon.path));
    send(&deaf, b"?", &[]);
    for (at, stream) in [half, empty, opened, between, deaf].iter().enumerate() {
        assert!(hung_up(stream), "{at} is still there");
    }
    assert!(begun.elapsed() >= Duration::from_millis(700), "too early");
    assert_eq!(wire::list(&idle).unwrap().len(), 2000);

    // And slowly is not silent.
    let slow = met(connect(&daemon.path));
    let begun = Instant::now();
    for byte in frame(&delete_request(&[b'x'; 16]), 0) {
        wire::send(&slow, &[byte], &[]).unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() > Duration::from_millis(700));
    assert_eq!(status(&slow), 2);
}

#[test]
fn a_lame_duck_finishes_what_is_under_way() {
    let mut daemon = start(Setup::default());
    let [a, b, c] = ["a", "b", "c"].map(|id| pipe(id, never()));
    let idle = connect(&daemon.path);
    assert_eq!(wire::list(&idle).unwrap().len(), 0);
    let first = connect(&daemon.path);
    open_dump(&first, 1);
    let second = connect(&daemon.path);
    open_dump(&second, 2);
    assert_eq!(put(&second, &a.1), EAGAIN);
    let half = connect(&daemon.path);
    let whole = frame(&store_request(b"c", never()), 1);
    wire::send(&half, &whole[..8], &[c.1.fd.as_fd()]).unwrap();
    until_read(&half);

    signal(&daemon, Signal::TERM);
    assert!(hung_up(&idle));
    assert!(daemon.is_running());
    let late = UnixStream::connect(&daemon.path);
    let _ = late.as_ref().map(|late| send(late, b"L", &[]));
    wire::send(&half, &whole[8..], &[]).unwrap();
    assert_eq!(status(&half), 0);
    assert!(hung_up(&half));
    assert_eq!(put(&first, &b.1), 0);
    assert!(hung_up(&first));
    assert!(daemon.is_running());
    assert_eq!(put(&second, &b.1), 0);
    assert!(hung_up(&second));
    assert_eq!(daemon.wait(), Some(0), "{}", daemon.log());
    if let Ok(late) = late {
        assert!(wire::receive_frame(&late).is_err(), "it has taken a new client");
    }
}

#[test]
fn a_lame_duck_answers_what_came_before_the_signal() {
    let mut daemon = start(Setup::default());
    let clients: Vec<_> = (0..5).map(|_| connect(&daemon.path)).collect();
    clients.iter().for_each(|client| assert!(wire::list(client).unwrap().is_empty()));
    signal(&daemon, Signal::STOP);
    for client in &clients {
        (0..3).for_each(|_| send(client, b"L", &[]));
    }
    signal(&daemon, Signal::TERM);
    signal(&daemon, Signal::CONT);
    for client in &clients {
        (0..3).for_each(|_| assert_eq!(status(client), 0));
        assert!(hung_up(client));
    }
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn a_lame_duck_waits_no_longer_than_it_was_told() {
    let mut daemon = start(Setup { options: &["-T", "600"], ..Setup::default() });
    let client = connect(&daemon.path);
    open_dump(&client, 1);
    let begun = Instant::now();
    signal(&daemon, Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    assert!(begun.elapsed() >= Duration::from_millis(600));
    assert!(hung_up(&client));
}

#[test]
fn a_refused_frame_changes_nothing_and_ends_nothing_else() {
    // Whatever is wrong with it. In between, others get what would be free.
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
            ends.iter().for_each(|end| assert!(hung_up(end)));
            assert!(holds(&daemon, &all));
        }
        let new = Held::new(format!("new {round}"), expiry_in(Duration::from_secs(9000)), memfd());
        assert_eq!(store(&stream, &new), 0);
        all.push(new);
        assert!(holds(&daemon, &all));
    }
}

#[test]
fn a_large_table_needs_no_stack() {
    let limits = "ulimit -s 128";
    let daemon = start(Setup { maxfds: 15_000, limits, ..Setup::default() });
    let all = large(1500);
    wire::set_dump(&daemon.path, &all).unwrap();
    assert!(holds(&daemon, &all));
    assert_eq!(list(&daemon).len(), 1500);
}

#[test]
fn a_table_that_cannot_be_had_is_said_at_the_start() {
    let limits = "ulimit -v 3000";
    let mut daemon = start(Setup { maxfds: 19_000, limits, ..Setup::default() });
    assert_eq!(daemon.wait(), Some(111), "{}", daemon.log());
    let log = daemon.log();
    let right = log.starts_with("s6-fdholderd: fatal: ") && log.lines().count() == 1;
    assert!(right && log.contains("Cannot allocate memory"), "{log}");
}

#[test]
fn an_ordinary_user_s_limit_on_descriptors_in_flight_makes_a_reader_wait() {
    let open_files = Some(200);
    let daemon = start(Setup { maxfds: 120, unprivileged: true, open_files, ..Setup::default() });
    let all = hold((0..120).map(|number| format!("{number}")));
    wire::set_dump(&daemon.path, &all).unwrap();
    let readers: Vec<_> = (0..8).map(|_| ask_for_dump(&daemon)).collect();
    // Nobody else has to wait for them.
    let stream = connect(&daemon.path);
    let new = Held::new("new", never(), memfd());
    for _ in 0..20 {
        assert_eq!(wire::list(&stream).unwrap().len(), 120);
        wire::delete(&stream, &all[0].id).unwrap();
        assert_eq!(store(&stream, &new), 0);
        wire::delete(&stream, b"new").unwrap();
        assert_eq!(store(&stream, &all[0]), 0);
    }
    // Whose turn it is when there is room again nobody has promised.
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
fn a_huge_announcement_costs_no_memory() {
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
            assert!(hung_up(&stream), "{length}");
        }
    }
    assert!(memory() < before + 1000, "{before} and then {} kilobytes", memory());
}

#[test]
fn what_is_replaced_does_not_count_twice() {
    // As full as they may be, both of them, and with the same in them for the most part.
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
