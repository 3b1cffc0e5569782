//! The users and groups of clients, and of the daemon itself.

use crate::kit::daemon::LIST;
use crate::kit::program;
use crate::kit::server::{DaemonDir, Server};
use crate::kit::tool::run;
use rustix::process::{geteuid, getgid, getuid};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Runs our list tool as another user and group. Returns whether the daemon allows it.
fn may_list(server: &Server, uid: u32, gid: u32) -> bool {
    let copy = server.daemon_dir.child("fdholder");
    if !copy.exists() {
        // Another process makes the copy. If this process had it open for writing, a program that
        // another test starts at that moment would inherit it, and the copy could not be executed.
        assert!(Command::new("cp").arg(program()).arg(&copy).status().unwrap().success());
    }
    let mut command = Command::new(copy);
    command.args(["list", "-t60000"]).arg(server.daemon_dir.socket());
    let (own_uid, own_gid) = (getuid().as_raw(), getgid().as_raw());
    if (uid, gid) != (own_uid, own_gid) {
        command.uid(uid).gid(gid);
    }
    let ended = run(&mut command);
    assert!([0, 1].contains(&ended.code), "{uid} {gid}: {} {}", ended.code, ended.err);
    ended.code == 0
}

#[test]
fn user_and_group_of_a_client_are_those_that_the_kernel_reports() {
    let (own_uid, own_gid) = (getuid().as_raw(), getgid().as_raw());
    // Only root can run clients of other users. The daemon runs as the user of this test.
    let clients = match geteuid().is_root() {
        true => {
            vec![(own_uid, own_gid), (1234, 5678), (1234, own_gid), (own_uid, 5678), (5678, 1234)]
        }
        false => vec![(own_uid, own_gid)],
    };
    let own = (own_uid, own_gid);
    type Allowed = fn((u32, u32), (u32, u32)) -> bool;
    // The keys that allow, the keys that refuse, and which client is allowed, given the daemon's own
    // numbers.
    let (uid, gid) = (format!("uid/{own_uid}"), format!("gid/{own_gid}"));
    let rows: [(&[&str], &[&str], Allowed); 14] = [
        (&["uid/default"], &[], |_, _| true),
        (&["gid/default"], &[], |_, _| false),
        (&["uid/self"], &[], |client, own| client.0 == own.0),
        (&["gid/self"], &[], |client, own| client.1 == own.1),
        (&[&uid], &[], |client, own| client.0 == own.0),
        (&[&gid], &[], |client, own| client.1 == own.1),
        (&["uid/1234"], &[], |client, _| client.0 == 1234),
        (&["gid/5678"], &[], |client, _| client.1 == 5678),
        (&["gid/1234"], &["uid/default"], |client, _| client.1 == 1234),
        (&["uid/default"], &["uid/self"], |client, own| client.0 != own.0),
        (&["uid/default"], &["gid/self"], |client, own| client.1 != own.1),
        (&["uid/1234"], &["gid/self", "gid/5678"], |client, _| client.0 == 1234),
        (&["gid/5678", "uid/self"], &["uid/1234"], |client, own| {
            client.0 != 1234 && (client.1 == 5678 || client.0 == own.0)
        }),
        (&["uid/01234", "uid/1234 ", "gid/+5678"], &[], |_, _| false),
    ];
    for (allow, deny, is_allowed) in rows {
        let daemon_dir = DaemonDir::new();
        allow.iter().for_each(|key| daemon_dir.allow(key, &[(LIST, "x")]));
        deny.iter().for_each(|key| daemon_dir.refuse(key));
        // This socket lets all users connect.
        let mut command = daemon_dir.daemon(&["-v0"]);
        let server = Server::start(daemon_dir, &mut command);
        for client in &clients {
            let found = may_list(&server, client.0, client.1);
            assert_eq!(found, is_allowed(*client, own), "{allow:?} {deny:?} {client:?}");
        }
    }
}

#[test]
fn self_is_the_user_and_group_that_the_daemon_has_changed_to() {
    if !geteuid().is_root() {
        return user_and_group_of_a_client_are_those_that_the_kernel_reports();
    }
    let daemon_dir = DaemonDir::new();
    daemon_dir.allow("uid/self", &[(LIST, "x")]);
    daemon_dir.allow("gid/self", &[(LIST, "x")]);
    let mut command = daemon_dir.daemon(&["-v0", "-u1234", "-g5678"]);
    let server = Server::start(daemon_dir, &mut command);
    for (uid, gid, expected) in
        [(1234, 1, true), (1, 5678, true), (0, 0, false), (5678, 1234, false)]
    {
        assert_eq!(may_list(&server, uid, gid), expected, "{uid} {gid}");
    }
}
