//! The shares of descriptors: those of refused and of incomplete requests leave room for other clients.

use super::{EPERM, EPROTO, is_readable, pipes, send_and_close, store};
use crate::kit::daemon::Generation::Ours;
use crate::kit::daemon::{GETDUMP, LIST, RETRIEVE, SETDUMP, STORE};
use crate::kit::memfd;
use crate::kit::process::{wait_for_hangup, wait_until_read};
use crate::kit::server::{DaemonDir, Server, assert_disconnects, status};
use crate::kit::wire::{
    self, FRAME_ENTRIES, entry, frame, retrieve_request, set_dump_request, store_request,
};
use std::fs;
use std::os::fd::AsFd;

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
