//! How the daemon is started: command lines, sockets, users and groups, limits, and what it has
//! for standard descriptors.

use crate::kit::daemon::Generation::{self, Ours, S6_2_15};
use crate::kit::fake::fill;
use crate::kit::process::{descriptors, until};
use crate::kit::server::{Killed, Place, Server, answer, connect, status, through};
use crate::kit::tool::{Ended, PATIENCE, run, tool};
use crate::kit::wire::{self, Held, retrieve_request, store_request};
use crate::kit::{make_device, make_room, memfd};
use crate::limits::open_files::{closed, inherited};
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

/// Both names, with what stands behind the options on a right command line.
const TOOLS: [(&str, &[&str]); 2] =
    [("s6-fdholderd", &[]), ("s6-fdholder-daemon", &["/absent/socket"])];

/// Runs one of the two with nothing for standard input.
fn try_to_start(generation: Generation, name: &str, arguments: &[&str]) -> Ended {
    run(generation.command(name).args(arguments).stdin(Stdio::null()))
}

/// Checks that it ended with the usage line.
fn is_usage(what: &str, name: &str, ended: &Ended) {
    let right = ended.err.starts_with(&format!("{name}: usage: {name} ["))
        && ended.err.ends_with('\n')
        && ended.err.lines().count() == 1;
    assert!(right && ended.code == 100, "{what}: exit {} {:?}", ended.code, ended.err);
    assert_eq!(ended.out, b"", "{what}");
}

/// Checks that it ended with exit 111 and this message.
fn is_fatal(what: &str, ended: &Ended, message: &str) {
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
    // With what is missing for a right one, last.
    for generation in Generation::DAEMONS {
        for (name, operands) in TOOLS {
            let rules: &[&str] = &["-i", "/absent"];
            let own = own.iter().filter(|_| !operands.is_empty());
            for options in both.iter().chain(own) {
                let row = [options, rules, operands].concat();
                let ended = try_to_start(generation, name, &row);
                is_usage(&format!("{generation:?} {row:?}"), name, &ended);
            }
            for option in ["-t", "-T", "-c", "-n", "-v", "-i", "-x"] {
                for first in [&[][..], rules] {
                    let row = [first, &[option]].concat();
                    let ended = try_to_start(generation, name, &row);
                    is_usage(&format!("{generation:?} {row:?}"), name, &ended);
                }
            }
            // C has another line for this.
            let ended = try_to_start(generation, name, operands);
            assert_eq!(ended.code, 100, "{generation:?} {}", ended.err);
            if generation == Ours {
                assert!(ended.err.starts_with(&format!("{name}: ")), "{}", ended.err);
            }
        }
        let name = "s6-fdholder-daemon";
        for row in [&["-i", "/absent"][..], &["-1", "-x", "/absent", "--"]] {
            is_usage(
                &format!("{generation:?} {row:?}"),
                name,
                &try_to_start(generation, name, row),
            );
        }
    }
    // The daemon without a socket of its own has none to bind, and no user to become.
    for option in ["-d", "-D", "-U", "-b5", "-u0", "-g0", "-G0"] {
        for generation in Generation::DAEMONS {
            let ended = try_to_start(generation, "s6-fdholderd", &[option, "-i", "/absent"]);
            is_usage(&format!("{generation:?} {option}"), "s6-fdholderd", &ended);
        }
    }
}

#[test]
fn a_malformed_list_of_groups_or_environment_is_wrong_usage_and_binds_nothing() {
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
    let place = Place::open();
    let check = |what: &str, options: &[&str], environment: &[(&str, &str)]| {
        let command = place.daemon(options);
        let is_right_but_for_variables = options == ["-U"];
        // A shell would have its own idea of UID.
        let mut direct = tool("s6-fdholder-daemon");
        direct.args(command.get_args().skip(4)).envs(environment.iter().copied());
        for name in ["UID", "GID", "GIDLIST"] {
            if !environment.iter().any(|(other, _)| *other == name) {
                direct.env_remove(name);
            }
        }
        let ended = run(&mut direct);
        if is_right_but_for_variables {
            let text = "s6-fdholder-daemon: fatal: UID, GID or GIDLIST is not valid\n";
            assert_eq!(ended.err, text, "{what}");
        } else {
            is_usage(what, "s6-fdholder-daemon", &ended);
        }
        assert_eq!((ended.code, &ended.out[..]), (100, &b""[..]), "{what}");
        assert!(!place.socket().exists(), "{what}");
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
fn a_right_command_line_is_taken_as_getopt_does() {
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
            // It would be started if it were about a socket.
            [] => (&[][..], &Generation::DAEMONS[..], "fatal: "),
            // The C one does no more than execute others by their absolute paths.
            _ => (own, &[Ours][..], "fatal: unable to bind to /absent/socket: No such file"),
        };
        for generation in generations {
            for options in both.iter().chain(own) {
                let row = [options, operands].concat();
                let ended = try_to_start(*generation, name, &row);
                let begin = format!("{name}: {message}");
                assert!(ended.err.starts_with(&begin), "{generation:?} {row:?}: {}", ended.err);
                // Standard input is no socket, which is wrong usage.
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
fn ready_is_a_newline_and_the_end_of_standard_output() {
    for generation in Generation::DAEMONS {
        let mut server = Server::open(generation, &[]);
        server.serves();
    }
    let place = Place::open();
    let mut command = place.daemon(&[]);
    Server::start(place, &mut command).serves();
}

#[test]
fn ready_needs_a_standard_output_to_be_said_on() {
    // Whoever waits for it would wait for ever. C says 100 instead of 111, and goes on where another
    // program makes the socket.
    for (name, _) in TOOLS {
        let place = Place::open();
        let mut command = through(Ours, name, "", ">&-");
        command.arg("-1i").arg(place.rules()).arg(place.socket()).stdin(Stdio::null());
        let message = "unable to write to standard output: Bad file descriptor";
        is_fatal(name, &run(&mut command), &format!("{name}: fatal: {message}"));
        assert!(!place.socket().exists(), "{name}");
    }
}

#[test]
fn without_being_asked_to_it_writes_nothing_to_standard_output() {
    let place = Place::open();
    let mut command = through(Ours, "s6-fdholder-daemon", "", "");
    command.arg("-i").arg(place.rules()).arg(place.socket());
    let out = File::create(place.child("out")).unwrap();
    let child = Killed(command.stdout(out).stderr(Stdio::null()).spawn().unwrap());
    let begun = Instant::now();
    let client = loop {
        match UnixStream::connect(place.socket()) {
            Ok(client) => break client,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(status(&client, b"L", &[]), 0);
    drop(child);
    assert_eq!(fs::read(place.child("out")).unwrap(), b"");
}

#[test]
fn standard_input_has_to_be_a_listening_socket() {
    let place = Place::open();
    let (stream, _other) = UnixStream::pair().unwrap();
    let bound = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let bound = bound.unwrap();
    bind(&bound, &SocketAddrUnix::new(place.child("bound")).unwrap()).unwrap();
    let (pipe, _writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let packets = SocketType::SEQPACKET;
    let packets = socket_with(AddressFamily::UNIX, packets, SocketFlags::CLOEXEC, None).unwrap();
    bind(&packets, &SocketAddrUnix::new(place.child("packets")).unwrap()).unwrap();
    listen(&packets, 1).unwrap();
    let unbound = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    // What is no socket at all is wrong usage, as it is to C.
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
        command.arg("-1i").arg(place.rules()).stdin(stdin.unwrap());
        let ended = run(&mut command);
        let right = ended.err.starts_with("s6-fdholderd: fatal: ");
        assert!(right && ended.err.lines().count() == 1, "{what}: {}", ended.err);
        assert_eq!((ended.code, &ended.out[..]), (code, &b""[..]), "{what}");
    }
    let mut command = through(Ours, "s6-fdholderd", "", "<&-");
    let ended = run(command.arg("-1i").arg(place.rules()));
    assert!(ended.err.starts_with("s6-fdholderd: fatal: "), "{}", ended.err);
    assert_eq!((ended.code, &ended.out[..]), (111, &b""[..]));
}

#[test]
fn a_listening_socket_that_blocks_will_do() {
    let place = Place::open();
    let mut command = through(Ours, "s6-fdholderd", "", "");
    let listener = UnixListener::bind(place.socket()).unwrap();
    command.arg("-1i").arg(place.rules()).stdin(OwnedFd::from(listener));
    let mut server = Server::start(place, &mut command);
    let _idle = server.connect();
    server.serves();
}

#[test]
fn a_listening_socket_that_asks_for_credentials_will_do_and_costs_nobody_a_descriptor() {
    // The kernel would send process, user and group along with each request, in a control message. Taken
    // for descriptors, these numbers would be refused, and closed, whatever has them in the daemon.
    let place = Place::open();
    let listener = UnixListener::bind(place.socket()).unwrap();
    set_socket_passcred(&listener, true).unwrap();
    let shared = listener.try_clone().unwrap();
    let mut command = through(Ours, "s6-fdholderd", "", "");
    command.arg("-1i").arg(place.rules()).stdin(OwnedFd::from(listener));
    let server = Server::start(place, &mut command);
    let (client, file) = (server.connect(), memfd());
    assert_eq!(status(&client, &store_request(b"it", wire::never()), &[file.as_fd()]), 0);
    // Whoever has the socket as well can ask for them once more.
    set_socket_passcred(&shared, true).unwrap();
    let other = server.connect();
    assert_eq!(wire::list(&other).unwrap(), [b"it"]);
    let (reply, fds) = answer(&client, &retrieve_request(b"it", 0), &[]).unwrap();
    assert_eq!((&reply[..], wire::inode(&fds[0])), (&b"\0"[..], wire::inode(&file)));
    assert_eq!(server.stop(), [""; 0]);
}

/// Makes something at a path, and returns what has to stay.
type Make = fn(&Path) -> Option<OwnedFd>;

/// Runs `s6-fdholder-daemon` where it has to fail.
fn fails_to_bind(place: &Place, options: &[&str]) -> Ended {
    run(&mut place.daemon(options))
}

#[test]
fn a_socket_that_nobody_listens_on_is_replaced_and_nothing_else_is() {
    const IN_USE: &str = "Address already in use";
    const EXISTS: &str = "File exists";
    fn stale(path: &Path) -> Option<OwnedFd> {
        drop(UnixListener::bind(path).unwrap());
        None
    }
    fn live(path: &Path) -> Option<OwnedFd> {
        Some(UnixListener::bind(path).unwrap().into())
    }
    fn crowded(path: &Path) -> Option<OwnedFd> {
        let listener = UnixListener::bind(path).unwrap();
        listen(&listener, 0).unwrap();
        fill(path, usize::MAX);
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
    // What is there, and what is said about it by default and with -d; nothing if it is replaced.
    let rows: [(&str, Make, Option<&str>); 15] = [
        ("nothing", |_| None, None),
        ("a stale socket", stale, None),
        ("a live socket", live, Some(IN_USE)),
        ("a live socket with a full backlog", crowded, Some(IN_USE)),
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
            let place = Place::open();
            let kept = make(&place.socket());
            if what == "a device" && kept.is_none() {
                continue;
            }
            let what = format!("{what} {options:?}");
            let reason = match options.last() {
                Some(&"-D") if what.starts_with("nothing") => None,
                Some(&"-D") => Some(IN_USE),
                _ => reason,
            };
            let before = contents(place.path());
            let Some(reason) = reason else {
                let mut command = place.daemon(options);
                let mut server = Server::start(place, &mut command);
                server.serves();
                assert_eq!(contents(server.place.path()).len(), 2, "something beside the socket");
                continue;
            };
            let ended = fails_to_bind(&place, options);
            // Either is true of a link.
            let is_link_in_use =
                what.contains("link") && ended.err.contains(": Address already in use");
            let reason = if is_link_in_use { IN_USE } else { reason };
            // Who listens is named; of one with a full backlog the kernel does not tell who it is.
            let (by, own) = (" by a daemon that still serves what it holds", std::process::id());
            let reason = match kept.is_some() && what.contains("live") {
                true if what.contains("backlog") => format!("{reason}{by}"),
                true => format!("{reason}{by}, process {own}"),
                false => reason.into(),
            };
            let path = place.socket();
            let path = path.display();
            let message = format!("s6-fdholder-daemon: fatal: unable to bind to {path}: {reason}");
            is_fatal(&what, &ended, &message);
            assert_eq!(contents(place.path()), before, "{what}");
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

/// What is in a folder: names, inodes, modes, sizes, targets.
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
fn a_datagram_socket_is_left_alone() {
    for options in [&[][..], &["-d"], &["-D"]] {
        let place = Place::open();
        let kept = UnixDatagram::bind(place.socket()).unwrap();
        let before = contents(place.path());
        let ended = fails_to_bind(&place, options);
        assert_eq!(ended.code, 111, "{}", ended.err);
        assert_eq!(contents(place.path()), before);
        drop(kept);
    }
}

#[test]
fn a_live_daemon_is_not_disturbed_by_one_that_wants_its_place() {
    let place = Place::open();
    let mut command = place.daemon(&["-c1"]);
    let server = Server::start(place, &mut command);
    // Even while it has no time for anybody else, it is there.
    let client = server.connect();
    let file = memfd();
    assert_eq!(status(&client, &store_request(b"it", wire::never()), &[file.as_fd()]), 0);
    for options in [&[][..], &["-d"], &["-D"]] {
        let ended = fails_to_bind(&server.place, options);
        assert_eq!(ended.code, 111, "{}", ended.err);
        let by = "Address already in use by a daemon that still serves what it holds, process";
        assert!(ended.err.ends_with(&format!(": {by} {}\n", server.pid())), "{}", ended.err);
    }
    drop(client);
    assert_eq!(wire::list(&server.connect()).unwrap(), [b"it"]);
}

#[test]
fn a_daemon_that_was_killed_leaves_a_socket_that_the_next_one_replaces() {
    let mut place = Place::open();
    for _ in 0..3 {
        let mut command = place.daemon(&[]);
        let mut server = Server::start(place, &mut command);
        server.serves();
        server.signal(Signal::KILL);
        // The folder has to outlive the daemon.
        place = std::mem::replace(&mut server.place, Place::new());
        assert_eq!(server.end().0, 1009);
    }
}

#[test]
fn everybody_may_connect_whatever_the_umask() {
    for umask in ["077", "000", "777"] {
        let place = Place::open();
        let mut command = place.daemon_through(&format!("umask {umask} &&"), "", &[]);
        let mut server = Server::start(place, &mut command);
        let data = fs::metadata(server.place.socket()).unwrap();
        assert!(data.file_type().is_socket());
        assert_eq!(data.permissions().mode() & 0o7777, 0o777, "umask {umask}");
        server.serves();
    }
}

#[test]
fn a_path_may_be_relative_and_has_107_bytes_at_most() {
    let place = Place::open();
    let started = |path: &Path| {
        let mut command = through(Ours, "s6-fdholder-daemon", "", "");
        command.current_dir(place.path()).args(["-1", "-i", "rules"]).arg(path);
        command
    };
    let fatal = |path: &Path, reason: &str| {
        let ended = run(&mut started(path));
        let path = path.display();
        let message = format!("s6-fdholder-daemon: fatal: unable to bind to {path}: {reason}");
        is_fatal(reason, &ended, &message);
    };
    let length = place.path().as_os_str().len();
    let longest = place.child("x".repeat(107 - 1 - length));
    assert_eq!(longest.as_os_str().len(), 107);
    fatal(&place.child("x".repeat(107 - length)), "File name too long");
    fatal(Path::new(&"y".repeat(108)), "File name too long");
    fatal(Path::new(""), "No such file or directory");
    fatal(&place.child("absent/s"), "No such file or directory");
    fs::write(place.child("file"), "").unwrap();
    fatal(&place.child("file/s"), "Not a directory");
    assert_eq!(contents(place.path()).len(), 2);

    for path in [longest, PathBuf::from("relative"), PathBuf::from("y".repeat(107))] {
        // It has a folder of its own for the log, but this one for the socket.
        let _server = Server::start(Place::new(), &mut started(&path));
        // Seen from here, the last one is too long.
        let data = fs::metadata(place.path().join(&path)).unwrap();
        assert!(data.file_type().is_socket());
        if path.as_os_str().len() < 107 || path.is_absolute() {
            assert_eq!(status(&connect(&place.path().join(&path)), b"L", &[]), 0);
        }
    }
    assert_eq!(contents(place.path()).len(), 5);
}

#[test]
fn a_folder_that_may_not_be_written_to_is_said() {
    // Root may write anywhere but below /proc.
    let (folder, reason) = match geteuid().is_root() {
        true => ("/proc/self", "No such file or directory"),
        false => ("/", "Permission denied"),
    };
    let path = format!("{folder}/fdholder-test-socket");
    let ended = try_to_start(Ours, "s6-fdholder-daemon", &["-i", "/absent", &path]);
    let message = format!("s6-fdholder-daemon: fatal: unable to bind to {path}: {reason}");
    is_fatal(folder, &ended, &message);
}

#[test]
fn as_many_wait_in_the_backlog_as_it_was_told() {
    for (backlog, room) in [("0", 1), ("3", 4), ("50", 51)] {
        let place = Place::open();
        let mut command = place.daemon(&["-c1", "-b", backlog]);
        let server = Server::start(place, &mut command);
        let client = server.connect();
        assert_eq!(status(&client, b"L", &[]), 0);
        // The only one it has time for is there. It accepts one more, which waits for a place, and the
        // kernel lets one more wait than it was told.
        let mut waiting = fill(&server.place.socket(), usize::MAX);
        if waiting.len() == room {
            let is_accepted = || {
                waiting.extend(fill(&server.place.socket(), usize::MAX));
                waiting.len() > room
            };
            until(|| format!("-b {backlog}: one is accepted"), is_accepted);
        }
        assert_eq!(waiting.len(), 1 + room, "-b {backlog}");
        // A client that goes makes room at once.
        drop(client);
        let first = UnixStream::from(waiting.into_iter().next().unwrap());
        first.set_nonblocking(false).unwrap();
        first.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(status(&first, b"L", &[]), 0);
    }
}

#[test]
fn the_default_backlog_is_ample() {
    let place = Place::open();
    let mut command = place.daemon(&["-c1"]);
    let server = Server::start(place, &mut command);
    let client = server.connect();
    assert_eq!(status(&client, b"L", &[]), 0);
    let waiting = fill(&server.place.socket(), 20);
    assert_eq!(waiting.len(), 20);
    assert_eq!(status(&client, b"L", &[]), 0);
}

/// A line of /proc/PID/status.
fn process(pid: u32, name: &str) -> String {
    let all = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = all.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Options and variables, and who the daemon is then: user, group, other groups. Variables of
/// other names say what the shell does first.
type Identity<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], u32, u32, &'a str);

#[test]
fn users_and_groups_are_exactly_those_asked_for() {
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
        // Without -U they mean nothing.
        (&["-u7"], &[("UID", "1"), ("GID", "2"), ("GIDLIST", "8,9")], 7, 0, ""),
    ];
    if !geteuid().is_root() {
        return an_ordinary_user_stays_what_it_is();
    }
    for (options, environment, uid, gid, groups) in rows {
        let place = Place::open();
        // Not through a shell, which has its own idea of UID; with groups to get rid of.
        let words = place.daemon(options);
        let mut command = Command::new("setpriv");
        command.args(["--groups", "5,6", "--"]);
        command.args(words.get_args().skip(2)).stdin(Stdio::null());
        for name in ["UID", "GID", "GIDLIST"] {
            command.env_remove(name);
        }
        command.envs(environment.iter().copied());
        let mut server = Server::start(place, &mut command);
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
        server.serves();
    }
}

/// An ordinary user may ask for nothing else, and no daemon runs that did not get what it asked.
fn an_ordinary_user_stays_what_it_is() {
    let place = Place::open();
    let mut command = place.daemon(&[]);
    let server = Server::start(place, &mut command);
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    assert_eq!(process(server.pid(), "Uid"), format!("{uid} {uid} {uid} {uid}"));
    assert_eq!(process(server.pid(), "Gid"), format!("{gid} {gid} {gid} {gid}"));
    assert_eq!(
        process(server.pid(), "Groups").split(' ').count(),
        getgroups().unwrap().len().max(1)
    );
    for options in [&["-u", "0"][..], &["-g", "0"], &["-G", "0"], &["-u", "1", "-g", "1"]] {
        let place = Place::open();
        let ended = fails_to_bind(&place, options);
        let right = ended.err.starts_with("s6-fdholder-daemon: fatal: ")
            && ended.err.ends_with(": Operation not permitted\n")
            && ended.err.lines().count() == 1;
        assert!(right && ended.code == 111, "{options:?}: {}", ended.err);
        assert_eq!(ended.out, b"", "{options:?}");
    }
}

#[test]
fn the_number_that_means_no_change_to_the_kernel_is_refused() {
    // As a user or a group it would leave the daemon what it was, root perhaps.
    let none = "4294967295";
    for options in [&["-u", none][..], &["-g", none], &["-G", none], &["-G", "1,4294967295"]] {
        let place = Place::open();
        let ended = fails_to_bind(&place, options);
        assert!([100, 111].contains(&ended.code), "{options:?}: {} {}", ended.code, ended.err);
        assert_eq!((&ended.out[..], ended.err.lines().count()), (&b""[..], 1), "{options:?}");
    }
}

#[test]
fn a_long_list_of_groups_is_not_cut() {
    if !geteuid().is_root() {
        return an_ordinary_user_stays_what_it_is();
    }
    for count in [32, 33, 64, 65, 1000, 60_000] {
        // So that no argument is longer than the kernel takes.
        let groups: Vec<String> = (0..count).map(|n| (n % 10).to_string()).collect();
        let place = Place::open();
        let mut command = place.daemon(&["-G", &groups.join(",")]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if count <= 32 {
            let server = Server::start(place, &mut command);
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
        assert_eq!(found.split(' ').count(), count, "cut");
    }
}

#[test]
fn closed_standard_descriptors_are_no_place_for_what_it_holds_or_for_connections() {
    for (redirections, _) in closed() {
        // Standard input is what it serves on. Only our one makes itself one.
        let place = Place::open();
        let mut command = through(Ours, "s6-fdholder-daemon", "", &redirections);
        // Without a standard output nobody is told that it is ready.
        if !redirections.split(' ').any(|each| each == ">&-") {
            command.arg("-1");
        }
        command.args(["-v2", "-i"]).arg(place.rules()).arg(place.socket()).stdin(Stdio::null());
        let mut child = Killed(command.stdout(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        while UnixStream::connect(place.socket()).is_err() {
            assert!(begun.elapsed() < PATIENCE, "{redirections}");
            thread::sleep(Duration::from_millis(1));
        }
        let clients: Vec<_> = (0..3).map(|_| connect(&place.socket())).collect();
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

/// Stores until it is refused, and says how much was taken, and why no more.
fn fill_up(client: &UnixStream) -> (usize, i32) {
    let file = memfd();
    let mut count = 0;
    loop {
        let id = format!("thing-{count}");
        match status(client, &store_request(id.as_bytes(), wire::never()), &[file.as_fd()]) {
            0 => count += 1,
            error => return (count, error),
        }
    }
}

const ENFILE: i32 = 23;

#[test]
fn extreme_numbers_are_cut_to_what_can_be_had() {
    make_room();
    for (options, held) in
        [(&["-n0"][..], 1), (&["-n", "1"], 1), (&["-n7"], 7), (&["-n9", "-n7", "-c4294967295"], 7)]
    {
        let server = Server::open(Ours, options);
        assert_eq!(fill_up(&server.connect()), (held, ENFILE), "{options:?}");
        assert_eq!(server.stop(), [""; 0], "{options:?}");
    }
    // So many clients, and the next one once one of them has gone.
    for (option, count) in [("-c0", 1), ("-c1", 1), ("-c3", 3), ("-c300", 256), ("-c256", 256)] {
        let server = Server::open(Ours, &[option]);
        let mut clients: Vec<_> = (0..count).map(|_| server.connect()).collect();
        for client in &clients {
            assert_eq!(status(client, b"L", &[]), 0, "{option}");
        }
        let next = server.connect();
        wire::send_frame(&next, b"L", &[]).unwrap();
        // All the others are served, so it had the time.
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
    // The longest times are no short ones.
    for option in ["-t4294967295", "-T4294967295", "-t0", "-T0"] {
        let mut server = Server::open(Ours, &[option]);
        let half = server.connect();
        wire::send(&half, &[0], &[]).unwrap();
        server.serves();
        wire::send(&half, &wire::frame(b"L", 0)[1..], &[]).unwrap();
        assert_eq!(wire::receive_frame(&half).unwrap().0[0], 0, "{option}");
        drop(half);
        assert_eq!(server.stop(), [""; 0], "{option}");
    }
}

/// The redirections that close what a daemon might have besides from whoever runs the tests.
fn without_others() -> String {
    let others = inherited().into_iter().filter(|number| *number > 2);
    others.map(|number| format!("{number}>&-")).collect::<Vec<_>>().join(" ")
}

#[test]
fn more_than_the_open_file_limit_allows_is_cut_with_a_warning_and_works() {
    let close = without_others();
    for (limit, maxfds, maxconn) in [(64, "1000", 16), (64, "4294967295", 1), (300, "290", 16)] {
        let place = Place::open();
        let options = ["-n", maxfds, "-c", &maxconn.to_string()];
        let first = format!("ulimit -n {limit} &&");
        let mut command = place.fdholderd_through(Ours, &first, &close, &options);
        let server = Server::start(place, &mut command);
        let warning = server.line();
        assert!(warning.starts_with("s6-fdholderd: warning: "), "{warning}");
        let usual = descriptors(server.pid());
        let (count, error) = fill_up(&server.connect());
        assert_eq!(error, ENFILE);
        // What another test starts has a copy of the connection until it executes its program.
        until(|| "the client has gone".into(), || descriptors(server.pid()) == usual + count);
        let most = limit - maxconn;
        assert!((most - 16..most).contains(&count), "{count} under {limit} with {maxconn}");
        // There is still room for every client, and for what one of them sends.
        let clients: Vec<_> = (0..maxconn).map(|_| server.connect()).collect();
        let file = memfd();
        for client in &clients {
            assert_eq!(
                status(client, &store_request(b"x", wire::never()), &[file.as_fd()]),
                ENFILE
            );
            assert_eq!(wire::retrieve(client, b"thing-0").map(|_| ()).ok(), Some(()));
        }
        assert_eq!(server.stop(), [""; 0], "it was said once");
    }
}

#[test]
fn the_soft_limit_on_open_files_is_raised_to_the_hard_one() {
    let place = Place::open();
    let first = "ulimit -Sn 20 && ulimit -Hn 400 &&";
    let mut command = place.fdholderd_through(Ours, first, "", &["-n300"]);
    let server = Server::start(place, &mut command);
    assert_eq!(fill_up(&server.connect()), (300, ENFILE));
    assert_eq!(server.stop(), [""; 0]);
}

#[test]
fn a_limit_that_leaves_nothing_ends_clearly_or_works() {
    let (close, mut useless) = (without_others(), Vec::new());
    for limit in 3..40 {
        let place = Place::open();
        // The shell itself needs numbers for redirections.
        let first = format!("exec {close}; ulimit -n {limit} &&");
        let mut command = place.fdholderd_through(Ours, &first, "", &["-n1000"]);
        command.stderr(File::create(place.child("log")).unwrap()).stdout(Stdio::piped());
        let mut child = Killed(command.spawn().unwrap());
        command.stdin(Stdio::null());
        let mut ready = Vec::new();
        let mut out = child.0.stdout.take().unwrap();
        std::io::Read::read_to_end(&mut out, &mut ready).unwrap();
        let said = || fs::read_to_string(place.child("log")).unwrap();
        if ready.is_empty() {
            assert_eq!(child.0.wait().unwrap().code(), Some(111), "limit {limit}: {}", said());
            assert!(said().contains("s6-fdholderd: fatal: "), "limit {limit}: {}", said());
            continue;
        }
        let client = connect(&place.socket());
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
        assert!(said().starts_with("s6-fdholderd: warning: "), "limit {limit}: {}", said());
    }
    assert!(useless.is_empty(), "limits {useless:?}: it says that it is ready, but answers nobody");
}

#[test]
fn a_table_that_cannot_be_had_is_said_at_the_start() {
    let most = make_room().to_string();
    let mut refused = 0;
    // Kilobytes of address space. The program itself needs some hundreds, its table thousands.
    for limit in [800, 1000, 1200, 1500] {
        let place = Place::open();
        let first = format!("ulimit -v {limit} &&");
        let options = ["-n", &most, "-c256"];
        let mut command = place.fdholderd_through(Ours, &first, "", &options);
        let (out, err) = (place.child("out"), place.child("log"));
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
            assert!(begun.elapsed() < PATIENCE);
            thread::sleep(Duration::from_millis(1));
        };
        let Some(code) = code else { continue };
        let said = fs::read_to_string(&err).unwrap();
        assert_eq!(code, 111, "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.starts_with("s6-fdholderd: fatal: "), "{said}");
        assert!(last.ends_with(": Cannot allocate memory"), "{said}");
        refused += 1;
    }
    assert!(refused > 0, "raise the hard limit on open files: the table for {most} is small");
}

#[test]
fn after_the_start_the_kernel_is_asked_for_no_memory() {
    let place = Place::open();
    let trace = place.child("trace");
    let inner = place.fdholderd(Ours, &["-n1000", "-c256", "-v2"]);
    let mut command = Command::new("strace");
    command.arg("-o").arg(&trace).arg(inner.get_program()).args(inner.get_args());
    let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let listener = listener.unwrap();
    // The one that the command has is not for us to take.
    fs::remove_file(place.socket()).unwrap();
    bind(&listener, &SocketAddrUnix::new(place.socket()).unwrap()).unwrap();
    listen(&listener, 100).unwrap();
    drop(inner);
    let mut server = Server::start(place, command.stdin(listener));
    let path = server.place.socket();
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
    server.serves();
    // The signal is for the daemon, which is the child of strace.
    let strace = server.pid();
    let children = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap();
    let daemon = children.trim().parse().unwrap();
    let daemon = rustix::process::Pid::from_raw(daemon).unwrap();
    rustix::process::kill_process(daemon, Signal::TERM).unwrap();
    // Its folder has the trace.
    let place = std::mem::replace(&mut server.place, Place::new());
    assert_eq!(server.end().0, 0);
    let trace = fs::read_to_string(place.child("trace")).unwrap();
    let all: Vec<_> = trace.lines().collect();
    let start = all.iter().rposition(|call| call.starts_with("execve(")).unwrap();
    let served = all.iter().position(|call| call.starts_with("accept")).unwrap();
    // It gives it back at the end.
    let is_for_memory =
        |call: &&&str| ["mmap", "brk(", "mremap"].iter().any(|name| call.starts_with(name));
    let before = all[start..served].iter().filter(is_for_memory).count();
    assert!(before <= 9, "{before} mappings at the start");
    assert_eq!(all[served..].iter().find(is_for_memory), None);
}

#[test]
fn the_rules_directory_is_named_on_the_command_line_last() {
    // Of several rules the last one on the command line counts, whatever kind it is.
    let place = Place::open();
    place.compile(S6_2_15, &place.child("file"));
    let nothing = place.child("nothing");
    fs::create_dir(&nothing).unwrap();
    let (file, rules) = (place.child("file"), place.rules());
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
            let _ = fs::remove_file(place.socket());
            let mut command = place.fdholderd(generation, &options);
            let _server = Server::start(Place::new(), &mut command);
            let client = connect(&place.socket());
            let reply = answer(&client, b"L", &[]);
            assert_eq!(reply.is_ok(), served, "{generation:?} {options:?}");
        }
    }
}

#[test]
fn permissions_of_the_rules_are_those_of_the_user_it_becomes() {
    // What only root may read is refused once it is not root any more.
    let place = Place::open();
    let key = place.rules().join("uid/default");
    fs::set_permissions(key.join("env"), Permissions::from_mode(0o000)).unwrap();
    let options: &[&str] = if geteuid().is_root() { &["-u65534", "-g65534"] } else { &[] };
    let mut command = place.daemon(options);
    let server = Server::start(place, &mut command);
    assert!(answer(&server.connect(), b"L", &[]).is_err());
    fs::set_permissions(key.join("env"), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(status(&server.connect(), b"L", &[]), 0);
}
