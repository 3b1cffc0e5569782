//! Held sockets that no client reaches by their path any more. fdholder-listen asks the kernel which socket
//! the file at the path belongs to. An emulator does not answer that.

use super::listen::{KINDS, LOST, assert_fatal, held, listen, stale};
use crate::kit::clients::succeeded;
use crate::kit::daemon::{Daemon, Generation};
use crate::kit::strace::strace;
use crate::kit::tool::{run, tool};
use crate::kit::wire::inode;
use rustix::net::SocketType;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use temp_dir::TempDir;

#[test]
fn a_held_socket_whose_file_has_been_replaced_is_an_error() {
    type Make = fn(&Path) -> Option<OwnedFd>;
    let others: [Make; 5] = [
        |path| Some(UnixListener::bind(path).unwrap().into()),
        |path| Some(UnixDatagram::bind(path).unwrap().into()),
        |path| {
            stale(path, SocketType::STREAM);
            None
        },
        |path| fs::write(path, "text").map(|()| None).unwrap(),
        |path| {
            let other = path.with_file_name("other");
            symlink(&other, path).unwrap();
            Some(UnixListener::bind(other).unwrap().into())
        },
    ];
    for (kind, _) in KINDS {
        for (number, make) in others.into_iter().enumerate() {
            let (daemon, dir) = (Daemon::start(Generation::Ours), TempDir::new().unwrap());
            let address = format!("{kind}:{}", dir.child("s").display());
            succeeded(&listen(&daemon, &[], "it", &address));
            // Another path of the same file is accepted.
            fs::rename(dir.child("s"), dir.child("moved")).unwrap();
            symlink("moved", dir.child("s")).unwrap();
            succeeded(&listen(&daemon, &[], "it", &address));
            fs::remove_file(dir.child("s")).unwrap();
            let other = make(&dir.child("s"));
            let before = inode(held(&daemon, "it"));
            let ended = listen(&daemon, &[], "it", &address);
            let reason = format!("but its file has been replaced{LOST}");
            assert_fatal(&ended, 1, &format!("it is held at {address}, {reason}"));
            assert_eq!(inode(held(&daemon, "it")), before, "{kind} {number}");
            assert!(fs::symlink_metadata(dir.child("s")).is_ok());
            // After the entry is deleted as the message says, and the path is free, the socket is made anew.
            succeeded(&run(tool("s6-fdholder-delete").arg(&daemon.path).arg("it")));
            drop(other);
            fs::remove_file(dir.child("s")).unwrap();
            succeeded(&listen(&daemon, &[], "it", &address));
            succeeded(&listen(&daemon, &[], "it", &address));
        }
    }
}

#[test]
fn if_the_kernel_does_not_tell_the_socket_of_a_file_any_file_is_accepted() {
    let (daemon, dir) = (Daemon::start(Generation::Ours), TempDir::new().unwrap());
    let address = format!("unix:{}", dir.child("s").display());
    succeeded(&listen(&daemon, &[], "it", &address));
    fs::remove_file(dir.child("s")).unwrap();
    let _other = UnixListener::bind(dir.child("s")).unwrap();
    for answer in ["socket:error=EPROTONOSUPPORT:when=2", "write:error=EPERM", "read:retval=20"] {
        let mut command = strace(&dir.child("trace"), &[answer.into()]);
        succeeded(&run(command.arg("listen").arg(&daemon.path).args(["it", &address])));
    }
    assert_eq!(listen(&daemon, &[], "it", &address).code, 1);
}
