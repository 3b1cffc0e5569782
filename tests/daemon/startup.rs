//! The start of the daemon: command lines, sockets, users and groups, limits, and standard descriptors.

use crate::kit::daemon::Generation::{self, Ours, S6_2_15};
use crate::kit::fake::fill_backlog;
use crate::kit::process::{closed, inherited};
use crate::kit::process::{descriptors, wait_until};
use crate::kit::server::{DaemonDir, Killed, Server, answer, connect, status, through};
use crate::kit::tool::{Ended, TIMEOUT, run, tool};
use crate::kit::wire::{self, Held, retrieve_request, store_request};
use crate::kit::{make_device, memfd, raise_open_file_limit};
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, geteuid, getgid, getgroups, getuid};
use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The names of both daemons, with the operands of a valid command line.
const TOOLS: [(&str, &[&str]); 2] =
    [("s6-fdholderd", &[]), ("s6-fdholder-daemon", &["/absent/socket"])];

/// Runs a daemon with `/dev/null` as its standard input.
fn try_to_start(generation: Generation, name: &str, arguments: &[&str]) -> Ended {
    run(generation.command(name).args(arguments).stdin(Stdio::null()))
}

/// Checks that a daemon ended with the usage line and exit 100.
fn assert_usage(what: &str, name: &str, ended: &Ended) {
    let right = ended.err.starts_with(&format!("{name}: usage: {name} ["))
        && ended.err.ends_with('\n')
        && ended.err.lines().count() == 1;
    assert!(right && ended.code == 100, "{what}: exit {} {:?}", ended.code, ended.err);
    assert_eq!(ended.out, b"", "{what}");
}

/// Checks that a daemon ended with this message and exit 111.
fn assert_fatal(what: &str, ended: &Ended, message: &str) {
    let text = format!("{message}\n");
    assert_eq!((ended.code, &ended.err[..]), (111, &text[..]), "{what}");
    assert_eq!(ended.out, b"", "{what}");
}

#[test]
fn a_wrong_command_line_gets_the_usage_line_and_exit_100() {
    let both: &[&[&str]] = &[
        &["-z"],
        &["-1z"],
        &["-h"],
        &["--nonsense"],
        &["-t", ""],
        &["-t", "x"],
        &["-t5x"],
        &["-t", "-5"],
        &["-t", "+5"],
        &["-t", " 5"],
        &["-t", "5:6"],
        &["-t", "4294967296"],
        &["-t", "x", "-t", "5"],
        &["-Tx"],
        &["-T", "4294967296"],
        &["-c", "x"],
        &["-c", "-1"],
        &["-c4294967296"],
        &["-n", ""],
        &["-n", "0x10"],
        &["-n", "4294967296"],
        &["-v", "x"],
        &["-v-1"],
        &["-1v"],
    ];
    let own: &[&[&str]] = &[
        &["-b", "x"],
        &["-b", "-1"],
        &["-u", "x"],
        &["-u", ""],
        &["-u", "-1"],
        &["-u", "1x"],
        &["-u", "root"],
        &["-u", "4294967296"],
        &["-g", "x"],
        &["-g", "1,2"],
        &["-g", "4294967296"],
        &["-G", "x"],
        &["-G", "-1"],
        &["-Dz"],
        &["-dz"],
    ];
    // Rules and operands are added to each row, so that only the options are wrong.
    for generation in Generation::DAEMONS {
        for (name, operands) in TOOLS {
            let rules: &[&str] = &["-i", "/absent"];
            let own = own.iter().filter(|_| !operands.is_empty());
            for options in both.iter().chain(own) {
                let row = [options, rules, operands].concat();
                let ended = try_to_start(generation, name, &row);
                assert_usage(&format!("{generation:?} {row:?}"), name, &ended);
            }
            for option in ["-t", "-T", "-c", "-n", "-v", "-i", "-x"] {
                for first in [&[][..], rules] {
                    let row = [first, &[option]].concat();
                    let ended = try_to_start(generation, name, &row);
                    assert_usage(&format!("{generation:?} {row:?}"), name, &ended);
                }
            }
            // Without rules. The message of C is another one.
            let ended = try_to_start(generation, name, operands);
            assert_eq!(ended.code, 100, "{generation:?} {}", ended.err);
            if generation == Ours {
                assert!(ended.err.starts_with(&format!("{name}: ")), "{}", ended.err);
            }
        }
        let name = "s6-fdholder-daemon";
        for row in [&["-i", "/absent"][..], &["-1", "-x", "/absent", "--"]] {
            assert_usage(
                &format!("{generation:?} {row:?}"),
                name,
                &try_to_start(generation, name, row),
            );
        }
    }
    // fdholderd binds no socket and changes no user, so it does not have these options.
    for option in ["-d", "-D", "-U", "-b5", "-u0", "-g0", "-G0"] {
        for generation in Generation::DAEMONS {
            let ended = try_to_start(generation, "s6-fdholderd", &[option, "-i", "/absent"]);
            assert_usage(&format!("{generation:?} {option}"), "s6-fdholderd", &ended);
        }
    }
}

#[test]
fn malformed_groups_and_variables_are_wrong_usage_and_no_socket_is_bound() {
    let lists = [
        "1,",
        ",1",
        ",",
        "1,,2",
        "1,x",
        "1, 2",
        " 1",
        "1 ",
        "1;2",
        "+1",
        "0x1",
        "1,-1",
        "1:2",
        "4294967296",
        "1,4294967296",
    ];
    let daemon_dir = DaemonDir::open();
    let check = |what: &str, options: &[&str], environment: &[(&str, &str)]| {
        let command = daemon_dir.daemon(options);
        let only_variables_are_wrong = options == ["-U"];
        // The daemon is started without a shell, because some shells set UID.
        let mut direct = tool("s6-fdholder-daemon");
        direct.args(command.get_args().skip(4)).envs(environment.iter().copied());
        for name in ["UID", "GID", "GIDLIST"] {
            if !environment.iter().any(|(other, _)| *other == name) {
                direct.env_remove(name);
            }
        }
        let ended = run(&mut direct);
        if only_variables_are_wrong {
            let text = "s6-fdholder-daemon: fatal: UID, GID or GIDLIST is not valid\n";
            assert_eq!(ended.err, text, "{what}");
        } else {
            assert_usage(what, "s6-fdholder-daemon", &ended);
        }
        assert_eq!((ended.code, &ended.out[..]), (100, &b""[..]), "{what}");
        assert!(!daemon_dir.socket().exists(), "{what}");
    };
    let own = (getuid().as_raw().to_string(), getgid().as_raw().to_string());
    let own = [("UID", &own.0[..]), ("GID", &own.1[..])];
    for list in lists {
        check(list, &["-G", list], &[]);
        check(list, &["-U"], &[own[0], own[1], ("GIDLIST", list)]);
    }
    check("no variable", &["-U"], &[]);
    check("no UID", &["-U"], &own[1..]);
    check("no GID", &["-U"], &own[..1]);
    for wrong in ["", "x", "-1", "1x", " 1", "4294967296"] {
        check(wrong, &["-U"], &[("UID", wrong), own[1]]);
        check(wrong, &["-U"], &[own[0], ("GID", wrong)]);
    }
}

#[test]
fn a_valid_command_line_is_parsed_like_getopt() {
    let both: &[&[&str]] = &[
        &["-i", "/absent"],
        &["-i/absent"],
        &["-1i/absent"],
        &["-i", "/absent", "--"],
        &["-1", "-1", "-i", "/absent"],
        &["-1v2", "-i", "/absent"],
        &["-v", "0", "-v1", "-v", "00", "-i/absent"],
        &["-c", "16", "-n1000", "-t", "5", "-T0", "-i", "/absent"],
        &["-c0", "-n0", "-t4294967295", "-T4294967295", "-i", "/absent"],
        &["-v4294967295", "-i", "/absent"],
        &["-i", "/other", "-i", "/absent"],
    ];
    let own: &[&[&str]] = &[
        &["-d", "-i", "/absent"],
        &["-D", "-i", "/absent"],
        &["-dD1", "-i", "/absent"],
        &["-b0", "-b", "4294967295", "-i", "/absent"],
        &["-1db5", "-i/absent"],
    ];
    for (name, operands) in TOOLS {
        let (own, generations, message) = match operands {
            // The command line is valid, and standard input is no socket.
            [] => (&[][..], &Generation::DAEMONS[..], "fatal: "),
            // The C program only executes other programs by their absolute paths.
            _ => (own, &[Ours][..], "fatal: unable to bind to /absent/socket: No such file"),
        };
        for generation in generations {
            for options in both.iter().chain(own) {
                let row = [options, operands].concat();
                let ended = try_to_start(*generation, name, &row);
                let begin = format!("{name}: {message}");
                assert!(ended.err.starts_with(&begin), "{generation:?} {row:?}: {}", ended.err);
                // A standard input that is no socket counts as wrong usage.
                let code = if operands.is_empty() { 100 } else { 111 };
                assert_eq!((ended.code, ended.err.lines().count()), (code, 1), "{row:?}");
            }
        }
    }
}

#[test]
fn help_names_every_option() {
    for (name, letters) in [("s6-fdholderd", "1vcntTix"), ("s6-fdholder-daemon", "1vdDcnbGguUtTix")]
    {
        let ended = run(tool(name).arg("--help"));
        assert_eq!((ended.code, &ended.err[..]), (0, ""));
        let help = String::from_utf8(ended.out).unwrap();
        assert!(help.starts_with(&format!("usage: {name} [")), "{help}");
        for letter in letters.chars() {
            assert!(help.contains(&format!("\n  -{letter}")), "-{letter} is missing in\n{help}");
        }
        let short = run(&mut tool(name.strip_prefix("s6-").unwrap()));
        assert_eq!(short.code, 100, "{}", short.err);
    }
}

#[test]
fn a_ready_daemon_writes_a_newline_and_closes_standard_output() {
    for generation in Generation::DAEMONS {
        let mut server = Server::open(generation, &[]);
        server.assert_serves();
    }
    let daemon_dir = DaemonDir::open();
    let mut command = daemon_dir.daemon(&[]);
    Server::start(daemon_dir, &mut command).assert_serves();
}

#[test]
fn option_1_without_a_standard_output_is_fatal() {
    // A program that waits for the newline would wait for ever. The C fdholderd exits 100 instead, and the C
    // daemon, which executes other programs, starts.
    for (name, _) in TOOLS {
        let daemon_dir = DaemonDir::open();
        let mut command = through(Ours, name, "", ">&-");
        command.arg("-1i").arg(daemon_dir.rules()).arg(daemon_dir.socket()).stdin(Stdio::null());
        let message = "unable to write to standard output: Bad file descriptor";
        assert_fatal(name, &run(&mut command), &format!("{name}: fatal: {message}"));
        assert!(!daemon_dir.socket().exists(), "{name}");
    }
}

#[test]
fn without_option_1_the_daemon_writes_nothing_to_standard_output() {
    let daemon_dir = DaemonDir::open();
    let mut command = through(Ours, "s6-fdholder-daemon", "", "");
    command.arg("-i").arg(daemon_dir.rules()).arg(daemon_dir.socket());
    let out = File::create(daemon_dir.child("out")).unwrap();
    let child = Killed(command.stdout(out).stderr(Stdio::null()).spawn().unwrap());
    let begun = Instant::now();
    let client = loop {
        match UnixStream::connect(daemon_dir.socket()) {
            Ok(client) => break client,
            Err(error) => assert!(begun.elapsed() < TIMEOUT, "{error}"),
        }
        thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(status(&client, b"L", &[]), 0);
    drop(child);
    assert_eq!(fs::read(daemon_dir.child("out")).unwrap(), b"");
}

#[test]
fn standard_input_must_be_a_listening_socket() {
    let daemon_dir = DaemonDir::open();
    let (stream, _other) = UnixStream::pair().unwrap();
    let bound = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let bound = bound.unwrap();
    bind(&bound, &SocketAddrUnix::new(daemon_dir.child("bound")).unwrap()).unwrap();
    let (pipe, _writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let packets = SocketType::SEQPACKET;
    let packets = socket_with(AddressFamily::UNIX, packets, SocketFlags::CLOEXEC, None).unwrap();
    bind(&packets, &SocketAddrUnix::new(daemon_dir.child("packets")).unwrap()).unwrap();
    listen(&packets, 1).unwrap();
    let unbound = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    // A standard input that is no socket is wrong usage, as in C.
    let rows: [(&str, Option<OwnedFd>, i32); 9] = [
        ("/dev/null", Some(File::open("/dev/null").unwrap().into()), 100),
        ("a file", Some(memfd()), 100),
        ("a pipe", Some(pipe), 100),
        ("a connection", Some(stream.into()), 111),
        ("a socket that does not listen", Some(bound), 111),
        ("a socket without a name", Some(unbound.unwrap()), 111),
        ("a datagram socket", Some(UnixDatagram::unbound().unwrap().into()), 111),
        ("a listening socket of packets", Some(packets), 111),
        ("a listening TCP socket", Some(TcpListener::bind("127.0.0.1:0").unwrap().into()), 111),
    ];
    for (what, stdin, code) in rows {
        let mut command = through(Ours, "s6-fdholderd", "", "");
        command.arg("-1i").arg(daemon_dir.rules()).stdin(stdin.unwrap());
        let ended = run(&mut command);
        let right = ended.err.starts_with("s6-fdholderd: fatal: ");
        assert!(right && ended.err.lines().count() == 1, "{what}: {}", ended.err);
        assert_eq!((ended.code, &ended.out[..]), (code, &b""[..]), "{what}");
    }
    let mut command = through(Ours, "s6-fdholderd", "", "<&-");
    let ended = run(command.arg("-1i").arg(daemon_dir.rules()));
    assert!(ended.err.starts_with("s6-fdholderd: fatal: "), "{}", ended.err);
    assert_eq!((ended.code, &ended.out[..]), (111, &b""[..]));
}

#[test]
fn the_listening_socket_may_be_in_blocking_mode() {
    let daemon_dir = DaemonDir::open();
    let mut command = through(Ours, "s6-fdholderd", "", "");
    let listener = UnixListener::bind(daemon_dir.socket()).unwrap();
    command.arg("-1i").arg(daemon_dir.rules()).stdin(OwnedFd::from(listener));
    let mut server = Server::start(daemon_dir, &mut command);
    let _idle = server.connect();
    server.assert_serves();
}

#[test]
fn credentials_in_a_message_are_not_taken_for_descriptors() {
    // With `SO_PASSCRED`, the kernel adds the numbers of process, user and group to each request, in a control
    // message. If the daemon took them for descriptors, it would close its own descriptors with these
    // numbers.
    let daemon_dir = DaemonDir::open();
    let listener = UnixListener::bind(daemon_dir.socket()).unwrap();
    set_socket_passcred(&listener, true).unwrap();
    let shared = listener.try_clone().unwrap();
    let mut command = through(Ours, "s6-fdholderd", "", "");
    command.arg("-1i").arg(daemon_dir.rules()).stdin(OwnedFd::from(listener));
    let server = Server::start(daemon_dir, &mut command);
    let (client, file) = (server.connect(), memfd());
    assert_eq!(status(&client, &store_request(b"it", wire::never()), &[file.as_fd()]), 0);
    // Another process that has the socket can set the option again.
    set_socket_passcred(&shared, true).unwrap();
    let other = server.connect();
    assert_eq!(wire::list(&other).unwrap(), [b"it"]);
    let (reply, fds) = answer(&client, &retrieve_request(b"it", 0), &[]).unwrap();
    assert_eq!((&reply[..], wire::inode(&fds[0])), (&b"\0"[..], wire::inode(&file)));
    assert_eq!(server.stop(), [""; 0]);
}

/// Makes a file at a path, and returns a descriptor that must stay open.
type Make = fn(&Path) -> Option<OwnedFd>;

/// Runs `s6-fdholder-daemon`, which must fail.
fn fails_to_bind(daemon_dir: &DaemonDir, options: &[&str]) -> Ended {
    run(&mut daemon_dir.daemon(options))
}

#[test]
fn only_a_socket_without_a_listener_is_replaced() {
    const IN_USE: &str = "Address already in use";
    const EXISTS: &str = "File exists";
    fn stale(path: &Path) -> Option<OwnedFd> {
        drop(UnixListener::bind(path).unwrap());
        None
    }
    fn live(path: &Path) -> Option<OwnedFd> {
        Some(UnixListener::bind(path).unwrap().into())
    }
    fn with_full_backlog(path: &Path) -> Option<OwnedFd> {
        let listener = UnixListener::bind(path).unwrap();
        listen(&listener, 0).unwrap();
        fill_backlog(path, usize::MAX);
        Some(listener.into())
    }
    fn link_to(path: &Path, name: &str, make: Make) -> Option<OwnedFd> {
        let target = path.with_file_name(name);
        symlink(&target, path).unwrap();
        make(&target)
    }
    fn file(path: &Path) -> Option<OwnedFd> {
        fs::write(path, "text").unwrap();
        None
    }
    // What is at the path, and the reason for the refusal by default and with -d. `None` if it is replaced.
    let rows: [(&str, Make, Option<&str>); 15] = [
        ("no file", |_| None, None),
        ("a stale socket", stale, None),
        ("a live socket", live, Some(IN_USE)),
        ("a live socket with a full backlog", with_full_backlog, Some(IN_USE)),
        ("a file", file, Some(EXISTS)),
        ("an empty file", |path| Some(File::create(path).unwrap().into()), Some(EXISTS)),
        ("a directory", |path| fs::create_dir(path).map(|()| None).unwrap(), Some(EXISTS)),
        ("a pipe", |path| make_pipe(path), Some(EXISTS)),
        ("a device", |path| make_device(path).then(memfd), Some(EXISTS)),
        ("a dangling link", |path| link_to(path, "absent", |_| None), Some(EXISTS)),
        ("a link to a file", |path| link_to(path, "file", file), Some(EXISTS)),
        ("a link to a directory", |path| link_to(path, "rules", |_| None), Some(EXISTS)),
        ("a link to itself", |path| link_to(path, "s", |_| None), Some(EXISTS)),
        ("a link to a stale socket", |path| link_to(path, "stale", stale), Some(EXISTS)),
        ("a link to a live socket", |path| link_to(path, "live", live), Some(EXISTS)),
    ];
    for (what, make, reason) in rows {
        for options in [&[][..], &["-d"], &["-D"], &["-D", "-d"], &["-d", "-D"]] {
            let daemon_dir = DaemonDir::open();
            let kept = make(&daemon_dir.socket());
            // An ordinary user cannot make a device node.
            if what == "a device" && kept.is_none() {
                continue;
            }
            let what = format!("{what} {options:?}");
            let reason = match options.last() {
                Some(&"-D") if what.starts_with("no file") => None,
                Some(&"-D") => Some(IN_USE),
                _ => reason,
            };
            let before = contents(daemon_dir.path());
            let Some(reason) = reason else {
                let mut command = daemon_dir.daemon(options);
                let mut server = Server::start(daemon_dir, &mut command);
                server.assert_serves();
                assert_eq!(
                    contents(server.daemon_dir.path()).len(),
                    2,
                    "there is another file beside the socket"
                );
                continue;
            };
            let ended = fails_to_bind(&daemon_dir, options);
            // For a link, both reasons are true.
            let is_link_in_use =
                what.contains("link") && ended.err.contains(": Address already in use");
            let reason = if is_link_in_use { IN_USE } else { reason };
            // The message names the process that listens. With a full backlog the kernel does not tell which
            // process that is.
            let (by, own) = (" by a daemon that still serves what it holds", std::process::id());
            let reason = match kept.is_some() && what.contains("live") {
                true if what.contains("backlog") => format!("{reason}{by}"),
                true => format!("{reason}{by}, process {own}"),
                false => reason.into(),
            };
            let path = daemon_dir.socket();
            let path = path.display();
            let message = format!("s6-fdholder-daemon: fatal: unable to bind to {path}: {reason}");
            assert_fatal(&what, &ended, &message);
            assert_eq!(contents(daemon_dir.path()), before, "{what}");
            drop(kept);
        }
    }
}

/// Makes a named pipe.
fn make_pipe(path: &Path) -> Option<OwnedFd> {
    let status = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(status.success());
    None
}

/// The entries of a folder: names, inodes, modes, sizes, targets of links.
fn contents(folder: &Path) -> Vec<(PathBuf, String)> {
    use std::os::unix::fs::MetadataExt;
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let data = fs::symlink_metadata(&path).unwrap();
        let about = (data.ino(), data.mode(), data.size(), fs::read_link(&path).ok());
        (path, format!("{about:?}"))
    };
    let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(entry).collect();
    all.sort();
    all
}

#[test]
fn a_datagram_socket_is_not_replaced() {
    for options in [&[][..], &["-d"], &["-D"]] {
        let daemon_dir = DaemonDir::open();
        let kept = UnixDatagram::bind(daemon_dir.socket()).unwrap();
        let before = contents(daemon_dir.path());
        let ended = fails_to_bind(&daemon_dir, options);
        assert_eq!(ended.code, 111, "{}", ended.err);
        assert_eq!(contents(daemon_dir.path()), before);
        drop(kept);
    }
}

#[test]
fn a_running_daemon_is_not_disturbed_by_a_second_one_at_its_path() {
    let daemon_dir = DaemonDir::open();
    let mut command = daemon_dir.daemon(&["-c1"]);
    let server = Server::start(daemon_dir, &mut command);
    // The daemon is full, and still must be recognized.
    let client = server.connect();
    let file = memfd();
    assert_eq!(status(&client, &store_request(b"it", wire::never()), &[file.as_fd()]), 0);
    for options in [&[][..], &["-d"], &["-D"]] {
        let ended = fails_to_bind(&server.daemon_dir, options);
        assert_eq!(ended.code, 111, "{}", ended.err);
        let by = "Address already in use by a daemon that still serves what it holds, process";
        assert!(ended.err.ends_with(&format!(": {by} {}\n", server.pid())), "{}", ended.err);
    }
    drop(client);
    assert_eq!(wire::list(&server.connect()).unwrap(), [b"it"]);
}

#[test]
fn the_socket_of_a_killed_daemon_is_replaced() {
    let mut daemon_dir = DaemonDir::open();
    for _ in 0..3 {
        let mut command = daemon_dir.daemon(&[]);
        let mut server = Server::start(daemon_dir, &mut command);
        server.assert_serves();
        server.signal(Signal::KILL);
        // The folder must outlive the daemon.
        daemon_dir = std::mem::replace(&mut server.daemon_dir, DaemonDir::new());
        assert_eq!(server.end().0, 1009);
    }
}

#[test]
fn all_users_may_connect_with_any_umask() {
    for umask in ["077", "000", "777"] {
        let daemon_dir = DaemonDir::open();
        let mut command = daemon_dir.daemon_through(&format!("umask {umask} &&"), "", &[]);
        let mut server = Server::start(daemon_dir, &mut command);
        let data = fs::metadata(server.daemon_dir.socket()).unwrap();
        assert!(data.file_type().is_socket());
        assert_eq!(data.permissions().mode() & 0o7777, 0o777, "umask {umask}");
        server.assert_serves();
    }
}

#[test]
fn a_path_may_be_relative_and_at_most_107_bytes_long() {
    let daemon_dir = DaemonDir::open();
    let started = |path: &Path| {
        let mut command = through(Ours, "s6-fdholder-daemon", "", "");
        command.current_dir(daemon_dir.path()).args(["-1", "-i", "rules"]).arg(path);
        command
    };
    let fatal = |path: &Path, reason: &str| {
        let ended = run(&mut started(path));
        let path = path.display();
        let message = format!("s6-fdholder-daemon: fatal: unable to bind to {path}: {reason}");
        assert_fatal(reason, &ended, &message);
    };
    let length = daemon_dir.path().as_os_str().len();
    let longest = daemon_dir.child("x".repeat(107 - 1 - length));
    assert_eq!(longest.as_os_str().len(), 107);
    fatal(&daemon_dir.child("x".repeat(107 - length)), "File name too long");
    fatal(Path::new(&"y".repeat(108)), "File name too long");
    fatal(Path::new(""), "No such file or directory");
    fatal(&daemon_dir.child("absent/s"), "No such file or directory");
    fs::write(daemon_dir.child("file"), "").unwrap();
    fatal(&daemon_dir.child("file/s"), "Not a directory");
    assert_eq!(contents(daemon_dir.path()).len(), 2);

    for path in [longest, PathBuf::from("relative"), PathBuf::from("y".repeat(107))] {
        // The server has another folder, but the socket is in this one.
        let _server = Server::start(DaemonDir::new(), &mut started(&path));
        // The absolute path of the last one is too long to connect to.
        let data = fs::metadata(daemon_dir.path().join(&path)).unwrap();
        assert!(data.file_type().is_socket());
        if path.as_os_str().len() < 107 || path.is_absolute() {
            assert_eq!(status(&connect(&daemon_dir.path().join(&path)), b"L", &[]), 0);
        }
    }
    assert_eq!(contents(daemon_dir.path()).len(), 5);
}

#[test]
fn a_folder_without_write_permission_is_reported() {
    // Root can write to any folder except those in /proc.
    let (folder, reason) = match geteuid().is_root() {
        true => ("/proc/self", "No such file or directory"),
        false => ("/", "Permission denied"),
    };
    let path = format!("{folder}/fdholder-test-socket");
    let ended = try_to_start(Ours, "s6-fdholder-daemon", &["-i", "/absent", &path]);
    let message = format!("s6-fdholder-daemon: fatal: unable to bind to {path}: {reason}");
    assert_fatal(folder, &ended, &message);
}

#[test]
fn the_backlog_has_the_length_of_option_b() {
    for (backlog, room) in [("0", 1), ("3", 4), ("50", 51)] {
        let daemon_dir = DaemonDir::open();
        let mut command = daemon_dir.daemon(&["-c1", "-b", backlog]);
        let server = Server::start(daemon_dir, &mut command);
        let client = server.connect();
        assert_eq!(status(&client, b"L", &[]), 0);
        // The daemon is full. It accepts one more client, which waits for a free connection. The kernel lets
        // one more client wait than the backlog says.
        let mut waiting = fill_backlog(&server.daemon_dir.socket(), usize::MAX);
        if waiting.len() == room {
            let is_accepted = || {
                waiting.extend(fill_backlog(&server.daemon_dir.socket(), usize::MAX));
                waiting.len() > room
            };
            wait_until(|| format!("-b {backlog}: no client is accepted"), is_accepted);
        }
        assert_eq!(waiting.len(), 1 + room, "-b {backlog}");
        // When a client disconnects, the next one is served at once.
        drop(client);
        let first = UnixStream::from(waiting.into_iter().next().unwrap());
        first.set_nonblocking(false).unwrap();
        first.set_read_timeout(Some(TIMEOUT)).unwrap();
        assert_eq!(status(&first, b"L", &[]), 0);
    }
}

#[test]
fn the_default_backlog_is_at_least_20() {
    let daemon_dir = DaemonDir::open();
    let mut command = daemon_dir.daemon(&["-c1"]);
    let server = Server::start(daemon_dir, &mut command);
    let client = server.connect();
    assert_eq!(status(&client, b"L", &[]), 0);
    let waiting = fill_backlog(&server.daemon_dir.socket(), 20);
    assert_eq!(waiting.len(), 20);
    assert_eq!(status(&client, b"L", &[]), 0);
}

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
fn with_closed_standard_descriptors_no_message_goes_into_a_held_file() {
    for (redirections, _) in closed() {
        // Only our daemon makes a listening socket itself, so that standard input may be closed.
        let daemon_dir = DaemonDir::open();
        let mut command = through(Ours, "s6-fdholder-daemon", "", &redirections);
        // Option -1 needs a standard output.
        if !redirections.split(' ').any(|each| each == ">&-") {
            command.arg("-1");
        }
        command
            .args(["-v2", "-i"])
            .arg(daemon_dir.rules())
            .arg(daemon_dir.socket())
            .stdin(Stdio::null());
        let mut child = Killed(command.stdout(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        while UnixStream::connect(daemon_dir.socket()).is_err() {
            assert!(begun.elapsed() < TIMEOUT, "{redirections}");
            thread::sleep(Duration::from_millis(1));
        }
        let clients: Vec<_> = (0..3).map(|_| connect(&daemon_dir.socket())).collect();
        let file = memfd();
        for (at, client) in clients.iter().enumerate() {
            let request = store_request(&[b'a' + at as u8], wire::never());
            let (reply, _) = answer(client, &request, &[file.as_fd()]).unwrap();
            assert_eq!(reply, [0], "{redirections}");
        }
        for client in &clients {
            let (reply, fds) = answer(client, &retrieve_request(b"b", 0), &[]).unwrap();
            assert_eq!((&reply[..], wire::inode(&fds[0])), (&[0][..], wire::inode(&file)));
            assert_eq!(wire::list(client).unwrap().len(), 3);
        }
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        assert_eq!(rustix::fs::fstat(&file).unwrap().st_size, 0, "{redirections}");
    }
}

/// Stores entries until one is refused. Returns their number and the error.
fn store_until_refused(client: &UnixStream) -> (usize, i32) {
    let file = memfd();
    let mut count = 0;
    loop {
        let id = format!("id-{count}");
        match status(client, &store_request(id.as_bytes(), wire::never()), &[file.as_fd()]) {
            0 => count += 1,
            error => return (count, error),
        }
    }
}

const ENFILE: i32 = 23;

#[test]
fn extreme_numbers_are_limited_to_what_is_possible() {
    raise_open_file_limit();
    for (options, held) in
        [(&["-n0"][..], 1), (&["-n", "1"], 1), (&["-n7"], 7), (&["-n9", "-n7", "-c4294967295"], 7)]
    {
        let server = Server::open(Ours, options);
        assert_eq!(store_until_refused(&server.connect()), (held, ENFILE), "{options:?}");
        assert_eq!(server.stop(), [""; 0], "{options:?}");
    }
    // The daemon serves this number of clients, and the next one when one of them has disconnected.
    for (option, count) in [("-c0", 1), ("-c1", 1), ("-c3", 3), ("-c300", 256), ("-c256", 256)] {
        let server = Server::open(Ours, &[option]);
        let mut clients: Vec<_> = (0..count).map(|_| server.connect()).collect();
        for client in &clients {
            assert_eq!(status(client, b"L", &[]), 0, "{option}");
        }
        let next = server.connect();
        wire::send_frame(&next, b"L", &[]).unwrap();
        // After these answers it had time to serve the next client.
        for client in &clients {
            assert_eq!(status(client, b"L", &[]), 0, "{option}");
        }
        next.set_nonblocking(true).unwrap();
        let early = wire::receive(&next, &mut [0]).map(|(n, _)| n);
        assert_eq!(early.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "{option}");
        next.set_nonblocking(false).unwrap();
        clients.pop();
        assert_eq!(wire::receive_frame(&next).unwrap().0[0], 0, "{option}");
    }
    // The longest timeouts do not overflow to short ones.
    for option in ["-t4294967295", "-T4294967295", "-t0", "-T0"] {
        let mut server = Server::open(Ours, &[option]);
        let half = server.connect();
        wire::send(&half, &[0], &[]).unwrap();
        server.assert_serves();
        wire::send(&half, &wire::frame(b"L", 0)[1..], &[]).unwrap();
        assert_eq!(wire::receive_frame(&half).unwrap().0[0], 0, "{option}");
        drop(half);
        assert_eq!(server.stop(), [""; 0], "{option}");
    }
}

/// The redirections that close the descriptors that the tests themselves have inherited.
fn close_inherited() -> String {
    let others = inherited().into_iter().filter(|number| *number > 2);
    others.map(|number| format!("{number}>&-")).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_capacity_above_the_open_file_limit_is_lowered_with_a_warning() {
    let close = close_inherited();
    for (limit, maxfds, maxconn) in [(64, "1000", 16), (64, "4294967295", 1), (300, "290", 16)] {
        let daemon_dir = DaemonDir::open();
        let options = ["-n", maxfds, "-c", &maxconn.to_string()];
        let first = format!("ulimit -n {limit} &&");
        let mut command = daemon_dir.fdholderd_through(Ours, &first, &close, &options);
        let server = Server::start(daemon_dir, &mut command);
        let warning = server.line();
        assert!(warning.starts_with("s6-fdholderd: warning: "), "{warning}");
        let usual = descriptors(server.pid());
        let (count, error) = store_until_refused(&server.connect());
        assert_eq!(error, ENFILE);
        // A program that another test starts has a copy of the connection until it is executed.
        wait_until(
            || "the client is still connected".into(),
            || descriptors(server.pid()) == usual + count,
        );
        let most = limit - maxconn;
        assert!((most - 16..most).contains(&count), "{count} under {limit} with {maxconn}");
        // There is still room for every client, and for the descriptor of a request.
        let clients: Vec<_> = (0..maxconn).map(|_| server.connect()).collect();
        let file = memfd();
        for client in &clients {
            assert_eq!(
                status(client, &store_request(b"x", wire::never()), &[file.as_fd()]),
                ENFILE
            );
            assert_eq!(wire::retrieve(client, b"id-0").map(|_| ()).ok(), Some(()));
        }
        assert_eq!(server.stop(), [""; 0], "the warning is repeated");
    }
}

#[test]
fn the_soft_limit_on_open_files_is_raised_to_the_hard_one() {
    let daemon_dir = DaemonDir::open();
    let first = "ulimit -Sn 20 && ulimit -Hn 400 &&";
    let mut command = daemon_dir.fdholderd_through(Ours, first, "", &["-n300"]);
    let server = Server::start(daemon_dir, &mut command);
    assert_eq!(store_until_refused(&server.connect()), (300, ENFILE));
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn with_a_very_low_open_file_limit_the_daemon_works_or_ends_with_a_message() {
    let (close, mut useless) = (close_inherited(), Vec::new());
    for limit in 3..40 {
        let daemon_dir = DaemonDir::open();
        // The shell needs descriptors for redirections, so they come before the limit.
        let first = format!("exec {close}; ulimit -n {limit} &&");
        let mut command = daemon_dir.fdholderd_through(Ours, &first, "", &["-n1000"]);
        command.stderr(File::create(daemon_dir.child("log")).unwrap()).stdout(Stdio::piped());
        let mut child = Killed(command.spawn().unwrap());
        command.stdin(Stdio::null());
        let mut ready = Vec::new();
        let mut out = child.0.stdout.take().unwrap();
        std::io::Read::read_to_end(&mut out, &mut ready).unwrap();
        let log = || fs::read_to_string(daemon_dir.child("log")).unwrap();
        if ready.is_empty() {
            assert_eq!(child.0.wait().unwrap().code(), Some(111), "limit {limit}: {}", log());
            assert!(log().contains("s6-fdholderd: fatal: "), "limit {limit}: {}", log());
            continue;
        }
        let client = connect(&daemon_dir.socket());
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        if answer(&client, b"L", &[]).is_err() {
            useless.push(limit);
            continue;
        }
        let file = memfd();
        if !answer(&client, &store_request(b"it", wire::never()), &[file.as_fd()])
            .is_ok_and(|(reply, _)| reply == [0])
        {
            useless.push(limit);
        }
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        assert!(log().starts_with("s6-fdholderd: warning: "), "limit {limit}: {}", log());
    }
    assert!(useless.is_empty(), "limits {useless:?}: the daemon is ready, but does not answer");
}

#[test]
fn a_table_that_does_not_fit_into_memory_is_reported_at_the_start() {
    let most = raise_open_file_limit().to_string();
    let mut refused = 0;
    // Kilobytes of address space. The program needs some hundreds, the table thousands.
    for limit in [800, 1000, 1200, 1500] {
        let daemon_dir = DaemonDir::open();
        let first = format!("ulimit -v {limit} &&");
        let options = ["-n", &most, "-c256"];
        let mut command = daemon_dir.fdholderd_through(Ours, &first, "", &options);
        let (out, err) = (daemon_dir.child("out"), daemon_dir.child("log"));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let mut child = Killed(command.spawn().unwrap());
        command.stdin(Stdio::null());
        let begun = Instant::now();
        let code = loop {
            if let Some(status) = child.0.try_wait().unwrap() {
                break status.code();
            }
            if !fs::read(&out).unwrap().is_empty() {
                child.0.kill().unwrap();
                child.0.wait().unwrap();
                break None;
            }
            assert!(begun.elapsed() < TIMEOUT);
            thread::sleep(Duration::from_millis(1));
        };
        let Some(code) = code else { continue };
        let log = fs::read_to_string(&err).unwrap();
        assert_eq!(code, 111, "{log}");
        let last = log.lines().last().unwrap();
        assert!(last.starts_with("s6-fdholderd: fatal: "), "{log}");
        assert!(last.ends_with(": Cannot allocate memory"), "{log}");
        refused += 1;
    }
    assert!(refused > 0, "raise the hard limit on open files: the table for {most} is small");
}

#[test]
fn after_its_start_the_daemon_allocates_no_memory() {
    let daemon_dir = DaemonDir::open();
    let trace = daemon_dir.child("trace");
    let inner = daemon_dir.fdholderd(Ours, &["-n1000", "-c256", "-v2"]);
    let mut command = Command::new("strace");
    command.arg("-o").arg(&trace).arg(inner.get_program()).args(inner.get_args());
    let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let listener = listener.unwrap();
    // The socket of the command cannot be taken out of it, so another one is made.
    fs::remove_file(daemon_dir.socket()).unwrap();
    bind(&listener, &SocketAddrUnix::new(daemon_dir.socket()).unwrap()).unwrap();
    listen(&listener, 100).unwrap();
    drop(inner);
    let mut server = Server::start(daemon_dir, command.stdin(listener));
    let path = server.daemon_dir.socket();
    for count in [1, 300, 600] {
        let held = |number: usize| {
            let expiry = wire::expiry_in(Duration::from_secs(3600 + number as u64));
            Held::new(format!("{number:0>200}"), expiry, memfd())
        };
        let all: Vec<_> = (0..count).map(held).collect();
        wire::set_dump(&path, &all).unwrap();
        let clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
        for client in &clients {
            wire::send_frame(client, b"L", &[]).unwrap();
            wire::send_frame(client, b"L", &[]).unwrap();
        }
        assert_eq!(wire::get_dump(&path).unwrap().len(), count);
        for client in &clients {
            for _ in 0..2 {
                assert_eq!(wire::receive_frame(client).unwrap().0[0], 0);
            }
        }
    }
    server.assert_serves();
    // The daemon is the child of strace.
    let strace = server.pid();
    let children = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap();
    let daemon = children.trim().parse().unwrap();
    let daemon = rustix::process::Pid::from_raw(daemon).unwrap();
    rustix::process::kill_process(daemon, Signal::TERM).unwrap();
    // The trace is in the folder of the daemon.
    let daemon_dir = std::mem::replace(&mut server.daemon_dir, DaemonDir::new());
    assert_eq!(server.end().0, 0);
    let trace = fs::read_to_string(daemon_dir.child("trace")).unwrap();
    let all: Vec<_> = trace.lines().collect();
    let start = all.iter().rposition(|call| call.starts_with("execve(")).unwrap();
    let served = all.iter().position(|call| call.starts_with("accept")).unwrap();
    // The calls that allocate memory. `munmap` at the end does not count.
    let is_for_memory =
        |call: &&&str| ["mmap", "brk(", "mremap"].iter().any(|name| call.starts_with(name));
    let before = all[start..served].iter().filter(is_for_memory).count();
    assert!(before <= 9, "{before} mappings at the start");
    assert_eq!(all[served..].iter().find(is_for_memory), None);
}

#[test]
fn of_several_options_for_rules_the_last_one_counts() {
    // A directory and a file replace each other.
    let daemon_dir = DaemonDir::open();
    daemon_dir.compile(S6_2_15, &daemon_dir.child("file"));
    let nothing = daemon_dir.child("nothing");
    fs::create_dir(&nothing).unwrap();
    let (file, rules) = (daemon_dir.child("file"), daemon_dir.rules());
    let [file, rules, nothing] = [&file, &rules, &nothing].map(|path| path.to_str().unwrap());
    let rows = [
        (["-i", nothing, "-i", rules], true),
        (["-i", rules, "-i", nothing], false),
        (["-i", nothing, "-x", file], true),
        (["-x", file, "-i", nothing], false),
        (["-x", nothing, "-i", rules], true),
    ];
    for generation in [Ours, S6_2_15] {
        for (options, served) in rows {
            let _ = fs::remove_file(daemon_dir.socket());
            let mut command = daemon_dir.fdholderd(generation, &options);
            let _server = Server::start(DaemonDir::new(), &mut command);
            let client = connect(&daemon_dir.socket());
            let reply = answer(&client, b"L", &[]);
            assert_eq!(reply.is_ok(), served, "{generation:?} {options:?}");
        }
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
