//! The user and the groups of the daemon.

use super::*;
use crate::kit::server::{DaemonDir, Killed, Server, answer, status};
use rustix::process::{geteuid, getgid, getgroups, getuid};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// A line of /proc/PID/status.
fn process(pid: u32, name: &str) -> String {
    let all = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = all.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Options and variables, and the identity of the daemon that they result in: user, group, supplementary
/// groups.
type Identity<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], u32, u32, &'a str);

#[test]
fn user_and_groups_are_exactly_those_of_the_options() {
    let rows: &[Identity] = &[
        (&[], &[], 0, 0, "5 6"),
        (&["-u", "1234"], &[], 1234, 0, ""),
        (&["-g", "1235"], &[], 0, 1235, ""),
        (&["-G", "7"], &[], 0, 0, "7"),
        (&["-G", "9,7,8"], &[], 0, 0, "7 8 9"),
        (&["-G", ""], &[], 0, 0, ""),
        (&["-G", "7", "-G", "8"], &[], 0, 0, "8"),
        (&["-u1234", "-g1235", "-G7,0"], &[], 1234, 1235, "0 7"),
        (&["-u", "4294967294", "-g", "4294967294"], &[], 4294967294, 4294967294, ""),
        (&["-u", "0", "-g", "0"], &[], 0, 0, ""),
        (&["-U"], &[("UID", "1234"), ("GID", "1235")], 1234, 1235, ""),
        (&["-U"], &[("UID", "1234"), ("GID", "1235"), ("GIDLIST", "")], 1234, 1235, ""),
        (&["-U"], &[("UID", "1"), ("GID", "2"), ("GIDLIST", "8,9")], 1, 2, "8 9"),
        // Without -U the variables are ignored.
        (&["-u7"], &[("UID", "1"), ("GID", "2"), ("GIDLIST", "8,9")], 7, 0, ""),
    ];
    if !geteuid().is_root() {
        return check_as_ordinary_user();
    }
    for (options, environment, uid, gid, groups) in rows {
        let daemon_dir = DaemonDir::open();
        // The daemon is started without a shell, because some shells set UID, and with groups that it has to
        // drop.
        let words = daemon_dir.daemon(options);
        let mut command = Command::new("setpriv");
        command.args(["--groups", "5,6", "--"]);
        command.args(words.get_args().skip(2)).stdin(Stdio::null());
        for name in ["UID", "GID", "GIDLIST"] {
            command.env_remove(name);
        }
        command.envs(environment.iter().copied());
        let mut server = Server::start(daemon_dir, &mut command);
        let pid = server.pid();
        for (name, id) in [("Uid", uid), ("Gid", gid)] {
            // Real, effective, saved, and that of the file system.
            assert_eq!(process(pid, name), format!("{id} {id} {id} {id}"), "{name} {options:?}");
        }
        assert_eq!(process(pid, "Groups"), *groups, "{options:?}");
        if *uid != 0 {
            for set in ["CapEff", "CapPrm"] {
                assert_eq!(process(pid, set), "0".repeat(16), "{set} {options:?}");
            }
        }
        server.assert_serves();
    }
}

/// An ordinary user keeps its user and groups. If the options name others, the daemon does not start.
fn check_as_ordinary_user() {
    let daemon_dir = DaemonDir::open();
    let mut command = daemon_dir.daemon(&[]);
    let server = Server::start(daemon_dir, &mut command);
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    assert_eq!(process(server.pid(), "Uid"), format!("{uid} {uid} {uid} {uid}"));
    assert_eq!(process(server.pid(), "Gid"), format!("{gid} {gid} {gid} {gid}"));
    assert_eq!(
        process(server.pid(), "Groups").split(' ').count(),
        getgroups().unwrap().len().max(1)
    );
    for options in [&["-u", "0"][..], &["-g", "0"], &["-G", "0"], &["-u", "1", "-g", "1"]] {
        let daemon_dir = DaemonDir::open();
        let ended = fails_to_bind(&daemon_dir, options);
        let right = ended.err.starts_with("s6-fdholder-daemon: fatal: ")
            && ended.err.ends_with(": Operation not permitted\n")
            && ended.err.lines().count() == 1;
        assert!(right && ended.code == 111, "{options:?}: {}", ended.err);
        assert_eq!(ended.out, b"", "{options:?}");
    }
}

#[test]
fn the_user_and_group_number_minus_1_is_refused() {
    // To the kernel this number means no change, so the daemon would stay root.
    let none = "4294967295";
    for options in [&["-u", none][..], &["-g", none], &["-G", none], &["-G", "1,4294967295"]] {
        let daemon_dir = DaemonDir::open();
        let ended = fails_to_bind(&daemon_dir, options);
        assert!([100, 111].contains(&ended.code), "{options:?}: {} {}", ended.code, ended.err);
        assert_eq!((&ended.out[..], ended.err.lines().count()), (&b""[..], 1), "{options:?}");
    }
}

#[test]
fn a_long_list_of_groups_is_not_truncated() {
    if !geteuid().is_root() {
        return check_as_ordinary_user();
    }
    for count in [32, 33, 64, 65, 1000, 60_000] {
        // Short numbers keep the argument below the limit of the kernel.
        let groups: Vec<String> = (0..count).map(|n| (n % 10).to_string()).collect();
        let daemon_dir = DaemonDir::open();
        let mut command = daemon_dir.daemon(&["-G", &groups.join(",")]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if count <= 32 {
            let server = Server::start(daemon_dir, &mut command);
            assert_eq!(process(server.pid(), "Groups").split(' ').count(), count);
            continue;
        }
        let mut child = Killed(command.spawn().unwrap());
        let mut out = child.0.stdout.take().unwrap();
        let mut ready = Vec::new();
        std::io::Read::read_to_end(&mut out, &mut ready).unwrap();
        if ready.is_empty() {
            let code = child.0.wait().unwrap().code();
            assert!([Some(100), Some(111)].contains(&code), "{count}: {code:?}");
            continue;
        }
        let found = process(child.0.id(), "Groups");
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        assert_eq!(found.split(' ').count(), count, "the list is truncated");
    }
}

#[test]
fn rules_are_read_as_the_user_that_the_daemon_changes_to() {
    // Rules that only root can read refuse the client when the daemon is not root any more.
    let daemon_dir = DaemonDir::open();
    let key = daemon_dir.rules().join("uid/default");
    fs::set_permissions(key.join("env"), Permissions::from_mode(0o000)).unwrap();
    let options: &[&str] = if geteuid().is_root() { &["-u65534", "-g65534"] } else { &[] };
    let mut command = daemon_dir.daemon(options);
    let server = Server::start(daemon_dir, &mut command);
    assert!(answer(&server.connect(), b"L", &[]).is_err());
    fs::set_permissions(key.join("env"), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(status(&server.connect(), b"L", &[]), 0);
}
