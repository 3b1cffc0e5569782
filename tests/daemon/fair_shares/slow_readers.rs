//! A refused request disconnects no client that reads its answers slowly.

use super::{EBUSY, ENFILE, EPROTO, store};
use crate::kit::daemon::Generation::Ours;
use crate::kit::process::{descriptors, wait_until_read};
use crate::kit::server::{Server, status};
use crate::kit::wire::{self, FRAME_ENTRIES, Held, entry, set_dump_request};
use crate::kit::{memfd, raise_open_file_limit};
use std::os::fd::AsFd;

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
