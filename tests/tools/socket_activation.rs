//! fdholder-activate gives a program exactly the requested descriptors, from number 3 on, and describes them
//! in each convention. It gives all of them or executes nothing.

use crate::kit::clients::{REPORT_SCRIPT, Report, hold, succeeded};
use crate::kit::daemon::{Daemon, GETDUMP, Generation, LIST, RETRIEVE, SETDUMP, STORE, Setup};
use crate::kit::fake::{Fake, Step, status};
use crate::kit::process::{closed, has_unique_id};
use crate::kit::tool::{Ended, run, tool};
use crate::kit::wire::{self, Held, expiry_in, frame, inode};
use crate::kit::{memfd, program, raise_open_file_limit};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use temp_dir::TempDir;

const NAME: &str = "fdholder-activate";

/// A command with these options. Its environment has stale variables of every convention.
fn activate(options: &[&str]) -> Command {
    let mut command = tool(NAME);
    command.args(options).stdin(Stdio::null()).env_clear();
    command.envs([("PATH", "/usr/bin:/bin"), ("NGINXES", "kept"), ("UPSTART_JOB", "kept")]);
    for name in STALE {
        command.env(name, "stale");
    }
    command
}

const STALE: [&str; 12] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "NGINX",
    "SERVER_STARTER_PORT",
    "SERVER_STARTER_GENERATION",
    "EINHORN_FD_COUNT",
    "EINHORN_FD_7",
    "EINHORN_SOCK_PATH",
    "UPSTART_FDS",
    "UPSTART_EVENTS",
];

/// Runs a command and returns the report of prog, and the variables of the conventions in its environment,
/// sorted.
fn report(command: &mut Command) -> (Report, Vec<String>) {
    let ended = run(command.args(["--", "sh", "-c", REPORT_SCRIPT]));
    succeeded(&ended);
    let report = Report::parse(&ended.out);
    let all: Vec<_> =
        report.environment.iter().map(|v| String::from_utf8(v.clone()).unwrap()).collect();
    let kept = ["NGINXES=kept", "PATH=/usr/bin:/bin", "UPSTART_JOB=kept"];
    assert!(kept.iter().all(|one| all.iter().any(|other| other == one)), "{all:?}");
    let mut own: Vec<_> = all.into_iter().filter(|one| !kept.contains(&&one[..])).collect();
    own.sort();
    (report, own)
}

/// Stores a file under each of these identifiers. Returns device and inode of each.
fn store(daemon: &Daemon, ids: &[&[u8]]) -> Vec<(u64, u64)> {
    let all = hold(ids);
    wire::set_dump(&daemon.path, &all).unwrap();
    all.iter().map(|held| inode(&held.fd)).collect()
}

/// The identifiers of a daemon, sorted.
fn ids(daemon: &Daemon) -> Vec<Vec<u8>> {
    let mut all: Vec<_> =
        wire::get_dump(&daemon.path).unwrap().into_iter().map(|held| held.id).collect();
    all.sort();
    all
}

/// The value of LISTEN_FDNAMES.
fn names(variables: &[String]) -> &str {
    variables.iter().find_map(|one| one.strip_prefix("LISTEN_FDNAMES=")).unwrap()
}

/// Exit code, standard output and standard error.
fn ending(ended: &Ended) -> (i32, &str, &str) {
    (ended.code, std::str::from_utf8(&ended.out).unwrap(), &ended.err)
}

#[test]
fn prog_gets_exactly_the_requested_descriptors_from_number_3_on() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let files = store(&daemon, &[b"a", b"b", b"c"]);
        for options in [&[][..], &["-w"], &["-t", "20000"], &["-wt20000"]] {
            let command = &mut activate(options);
            let (report, variables) = self::report(command.arg(&daemon.path).args(["c", "a", "c"]));
            let open: Vec<_> =
                report.open.iter().filter(|(number, _)| *number > 2).copied().collect();
            assert_eq!(open, [(3, files[2]), (4, files[0]), (5, files[2])], "{generation:?}");
            assert_eq!(names(&variables), "c:a:c");
        }
        assert_eq!(ids(&daemon), [b"a", b"b", b"c"]);
    }
}

/// A shell prints its variables and waits until its standard input ends. Meanwhile the test inspects its
/// process.
#[test]
fn the_variables_name_the_process_by_its_number_and_its_unique_number() {
    let daemon = Daemon::start(Generation::Ours);
    store(&daemon, &[b"a"]);
    let mut command = activate(&[]);
    command.arg(&daemon.path).args(["a", "--", "sh", "-c"]);
    command.arg("tr '\\0' ' ' </proc/$$/environ; echo; exec cat").stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
    let word = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name));
    assert_eq!(word("LISTEN_PID="), Some(&child.id().to_string()[..]));
    let expected = has_unique_id().then(|| inode(&pidfd).1.to_string());
    assert_eq!(word("LISTEN_PIDFDID=").map(str::to_string), expected, "{line}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn every_convention_describes_all_descriptors() {
    let dir = TempDir::new().unwrap();
    let path = dir.child("so;c=k");
    let abstract_name = format!("fdholder-{}", std::process::id());
    let abstract_name = abstract_name.as_bytes();
    let (four, udp) = (TcpListener::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
    let (four, udp) = (four.unwrap(), udp.unwrap());
    let six = TcpListener::bind("[::1]:0").unwrap();
    let by_name = SocketAddr::from_abstract_name(abstract_name).unwrap();
    let (unix, by_name) =
        (UnixListener::bind(&path).unwrap(), UnixListener::bind_addr(&by_name).unwrap());
    let unbound = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let unbound = unbound.unwrap();
    let address = |socket: &TcpListener| socket.local_addr().unwrap().to_string();
    let addresses = format!(
        "{}=3;{}=4;{}=5;{}=6;@{}=7;{}=8;a pipe=9",
        address(&four),
        address(&six),
        udp.local_addr().unwrap(),
        path.to_str().unwrap().replace([';', '='], "_"),
        std::str::from_utf8(abstract_name).unwrap(),
        "f",
    );
    let fds: [OwnedFd; 7] = [
        four.into(),
        six.into(),
        udp.into(),
        unix.into(),
        by_name.into(),
        unbound,
        std::io::pipe().unwrap().0.into(),
    ];
    let all: Vec<_> = fds
        .iter()
        .zip(["a", "b", "c", "d", "e", "f", "a pipe"])
        .zip(0..)
        .map(|((fd, id), at)| Held::new(id, expiry_in(Duration::from_secs(3600 + at)), fd))
        .collect();
    let parent = std::process::id();
    let process = "LISTEN_PID";
    let nginx = ["NGINX=3;4;5;6;7;8;9;".to_string()];
    let starter =
        ["SERVER_STARTER_GENERATION=1".into(), format!("SERVER_STARTER_PORT={addresses}")];
    let upstart = ["UPSTART_EVENTS=socket".to_string(), "UPSTART_FDS=3 4 5 6 7 8 9".into()];
    let mut einhorn = vec!["EINHORN_FD_COUNT=7".into(), format!("EINHORN_MASTER_PID={parent}")];
    let families = ["AF_INET", "AF_INET6", "AF_INET", "AF_UNIX", "AF_UNIX"];
    einhorn.extend((0..7).map(|at| format!("EINHORN_FD_{at}={}", at + 3)));
    einhorn.extend(
        families.iter().zip(0..).map(|(name, at)| format!("EINHORN_FD_FAMILY_{at}={name}")),
    );
    einhorn.sort();
    let systemd = ["LISTEN_FDNAMES=a:b:c:d:e:f:a pipe".to_string(), "LISTEN_FDS=7".into()];
    let conventions: [(&[&str], &[String]); 6] = [
        (&[], &systemd),
        (&["-e", "systemd"], &systemd),
        (&["-e", "nginx"], &nginx),
        (&["-e", "starter"], &starter),
        (&["-e", "einhorn"], &einhorn),
        (&["--convention=upstart"], &upstart),
    ];
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        wire::set_dump(&daemon.path, &all).unwrap();
        for (options, expected) in conventions {
            let command = &mut activate(options);
            command.arg(&daemon.path).args(all.iter().map(|held| OsStr::from_bytes(&held.id)));
            let (report, mut variables) = self::report(command);
            variables.retain(|one| !one.starts_with(process));
            assert_eq!(variables, expected, "{options:?}");
            for (number, held) in (3..).zip(&all) {
                assert_eq!(report.inode(number), inode(&held.fd), "{options:?}");
            }
        }
    }
}

#[test]
fn invalid_bytes_in_names_are_replaced() {
    let long = [b'x'; 255];
    // An identifier, and the name that prog gets.
    let cases: &[(&[u8], &str)] = &[
        (b"a:b", "a_b"),
        (b"a b~!", "a b~!"),
        (b"\x01\x1f\x7f\x80\xff", "_____"),
        ("é".as_bytes(), "__"),
        (b"a\nb", "a_b"),
        (b"same#2", "same#2"),
        (&long, std::str::from_utf8(&long).unwrap()),
    ];
    let daemon = Daemon::start(Generation::Ours);
    let all: Vec<_> = cases.iter().map(|(id, _)| *id).collect();
    store(&daemon, &all);
    let mut command = activate(&[]);
    command.arg(&daemon.path).args(all.iter().map(|id| OsStr::from_bytes(id)));
    let expected: Vec<_> = cases.iter().map(|(_, name)| *name).collect();
    assert_eq!(names(&self::report(&mut command).1), expected.join(":"));
    // Names on the command line are separated by a colon, which no name may contain.
    let given: [(&[u8], &str); 6] = [
        (b"http", "http"),
        (b"", "unknown"),
        (b"\xff", "_"),
        (b"http", "http"),
        (&[b'y'; 300], std::str::from_utf8(&[b'y'; 255]).unwrap()),
        (b"same#2", "same#2"),
    ];
    let (value, expected): (Vec<_>, Vec<_>) = given.into_iter().unzip();
    let mut command = activate(&["-n"]);
    command.arg(OsStr::from_bytes(&value.join(&b':'))).arg(&daemon.path);
    command.args(all[..6].iter().map(|id| OsStr::from_bytes(id)));
    assert_eq!(names(&self::report(&mut command).1), expected.join(":"));
}

#[test]
fn a_prefix_selects_all_identifiers_that_begin_with_it_sorted_by_name_and_number() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let ids: [&[u8]; 9] =
            [b"w:b", b"other", b"w:", b"w:a", b"w:a#2", b"w:a#10", b"w:\xff", b"w", b"w:a#01"];
        let files = store(&daemon, &ids);
        let file = |id: &[u8]| files[ids.iter().position(|other| *other == id).unwrap()];
        // Options and operands, and the identifiers and names that prog gets.
        type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a [u8]], &'a str);
        let cases: &[Case] = &[
            (
                &["-p", "w:"],
                &[],
                &[b"w:", b"w:a", b"w:a#2", b"w:a#10", b"w:a#01", b"w:b", b"w:\xff"],
                "unknown:a:a:a:a#01:b:_",
            ),
            (&["-p", "w:b"], &[], &[b"w:b"], "unknown"),
            (&["-p", "w:a#1"], &[], &[b"w:a#10"], "0"),
            (
                &["-p", "w:a", "-n", "first:second"],
                &["w:b", "w:a#2"],
                &[b"w:b", b"w:a#2", b"w:a", b"w:a#10", b"w:a#01"],
                "first:second:unknown:unknown:#01",
            ),
        ];
        for (options, operands, expected, expected_names) in cases {
            let command = &mut activate(options);
            let (report, variables) = self::report(command.arg(&daemon.path).args(*operands));
            let open: Vec<_> = report
                .open
                .iter()
                .filter(|(number, _)| *number > 2)
                .map(|(_, file)| *file)
                .collect();
            let expected: Vec<_> = expected.iter().map(|id| file(id)).collect();
            assert_eq!(open, expected, "{options:?}");
            assert_eq!(names(&variables), *expected_names, "{options:?}");
        }
        let (report, variables) = self::report(activate(&["-p", ""]).arg(&daemon.path));
        assert_eq!(report.open.iter().filter(|(number, _)| *number > 2).count(), ids.len());
        assert_eq!(names(&variables), "other:w:w_:w_a:w_a:w_a:w_a#01:w_b:w__");
        let ended = run(activate(&["-p", "x"]).arg(&daemon.path).args(["--", "echo", "executed"]));
        assert_eq!(ending(&ended), (1, "", &fatal("no identifier begins with x")[..]));
        let ended = run(activate(&["-p", "x"]).arg(&daemon.path).args(["w", "--", "true"]));
        assert_eq!(ended.code, 0, "the identifiers on the command line suffice");
    }
}

/// The message of an error.
fn fatal(what: &str) -> String {
    format!("{NAME}: fatal: {what}\n")
}

/// fdholder-import numbers equal names. Sorted by bytes, `#10` would come before `#2`.
#[test]
fn numbered_names_are_sorted_by_number() {
    let daemon = Daemon::start(Generation::Ours);
    let numbered = |at: u32| if at == 1 { "p:web".into() } else { format!("p:web#{at}") };
    let all: Vec<String> = (1..=120).map(numbered).collect();
    let all: Vec<_> = all.iter().map(|id| id.as_bytes()).chain([&b"p:web!"[..]]).collect();
    let files = store(&daemon, &all);
    let (report, variables) = self::report(activate(&["-p", "p:"]).arg(&daemon.path));
    let open = report.open.iter().filter(|(number, _)| *number > 2).map(|(_, file)| *file);
    assert_eq!(open.collect::<Vec<_>>(), files);
    assert_eq!(names(&variables), format!("{}web!", "web:".repeat(120)));
}

#[test]
fn a_prefix_needs_the_rights_to_list_and_to_retrieve() {
    for generation in Generation::DAEMONS {
        for (rights, expected) in [
            (&[SETDUMP, LIST, RETRIEVE][..], ""),
            (&[SETDUMP, GETDUMP, RETRIEVE, STORE], "get fd list: LIST"),
            (&[SETDUMP, GETDUMP, LIST, STORE], "retrieve fd for id a: RETRIEVE_REGEX"),
        ] {
            let setup = Setup { rights: Some(rights), ..Setup::default() };
            let daemon = Daemon::start_with(generation, setup);
            store(&daemon, &[b"a"]);
            let mut command = activate(&["-p", ""]);
            let ended = run(command.arg(&daemon.path).args(["--", "echo", "executed"]));
            match expected {
                "" => assert_eq!(ending(&ended), (0, "executed\n", "")),
                expected => {
                    let (what, right) = expected.split_once(": ").unwrap();
                    let line = format!(
                        "unable to {what}: Operation not permitted (the right S6_FDHOLDER_{right} is \
                         missing)"
                    );
                    assert_eq!(ending(&ended), (1, "", &fatal(&line)[..]));
                }
            }
        }
    }
}

#[test]
fn if_an_entry_cannot_be_retrieved_nothing_is_executed_or_deleted() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        store(&daemon, &[b"a", b"b"]);
        let long = "x".repeat(256);
        let cases = [
            ("absent", "absent: No such file or directory".to_string()),
            ("", ": Invalid argument".into()),
            (&long, format!("{long}: File name too long")),
        ];
        for (id, reason) in cases {
            for options in [&[][..], &["-D"], &["-w"], &["-Dp", "a"]] {
                let mut command = activate(options);
                command.arg(&daemon.path).args(["b", id, "a", "--", "echo", "executed"]);
                let line = fatal(&format!("unable to retrieve fd for id {reason}"));
                assert_eq!(ending(&run(&mut command)), (1, "", &line[..]), "{generation:?}");
            }
        }
        assert_eq!(ids(&daemon), [b"a", b"b"]);
    }
}

#[test]
fn entries_are_deleted_only_with_option_d() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let files = store(&daemon, &[b"a", b"b", b"c", b"d"]);
        let (report, _) = self::report(activate(&["-D"]).arg(&daemon.path).args(["a", "c"]));
        assert_eq!((report.inode(3), report.inode(4)), (files[0], files[2]));
        assert_eq!(ids(&daemon), [b"b", b"d"]);
        succeeded(&run(activate(&["-wDp", ""]).arg(&daemon.path).args(["--", "true"])));
        assert!(ids(&daemon).is_empty());
    }
}

/// Both tools may retrieve the entries before one of them deletes them. Then both execute their program.
#[test]
fn of_two_tools_that_delete_the_same_entries_at_least_one_executes_its_program() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        for _ in 0..20 {
            store(&daemon, &[b"a", b"b"]);
            let begin = || {
                let mut command = activate(&["-D"]);
                command.arg(&daemon.path).args(["a", "b", "--", "echo", "executed"]);
                crate::kit::tool::Running::start(&mut command)
            };
            let all = [begin(), begin()].map(|running| running.wait());
            let is_executed = |ended: &Ended| ending(ended) == (0, "executed\n", "");
            let is_late = |ended: &Ended| {
                // A C daemon disconnects if a descriptor that it is about to send has been deleted.
                let is_absent = ended.err.ends_with(": No such file or directory\n");
                ended.code == 1 && (is_absent || generation != Generation::Ours)
            };
            let is_right = all.iter().all(|ended| is_executed(ended) || is_late(ended));
            assert!(is_right && all.iter().any(is_executed), "{generation:?} {all:?}");
            assert!(ids(&daemon).is_empty());
        }
    }
}

#[test]
fn if_the_deletion_is_refused_nothing_is_executed_or_deleted() {
    for generation in Generation::DAEMONS {
        let rights = Some(&[GETDUMP, SETDUMP, LIST, RETRIEVE][..]);
        let daemon = Daemon::start_with(generation, Setup { rights, ..Setup::default() });
        store(&daemon, &[b"a", b"b"]);
        let mut command = activate(&["-D"]);
        command.arg(&daemon.path).args(["b", "a", "--", "echo", "executed"]);
        let line = fatal(
            "unable to delete fd for id b: Operation not permitted (the right S6_FDHOLDER_STORE_REGEX is \
             missing)",
        );
        assert_eq!(ending(&run(&mut command)), (1, "", &line[..]), "{generation:?}");
        // After the wait, a missing right causes only a warning. Another daemon may hold the entries now.
        let mut command = activate(&["-wD"]);
        command.arg(&daemon.path).args(["b", "a", "--", "echo", "executed"]);
        let lines = ["b", "a"].map(|id| {
            format!("{NAME}: warning: unable to delete fd for id {id}: Operation not permitted\n")
        });
        assert_eq!(ending(&run(&mut command)), (0, "executed\n", &lines.concat()[..]));
        assert_eq!(ids(&daemon), [b"a", b"b"]);
    }
}

/// An answer with a descriptor.
fn granted() -> Step {
    Step::Send(frame(&[0], 1), vec![memfd()])
}

fn answers(number: u8) -> Step {
    Step::Send(status(number), Vec::new())
}

/// After a deletion, only this process has the descriptor, so the tool must go on.
#[test]
fn after_the_first_deletion_prog_is_executed_even_if_another_deletion_fails() {
    const BUSY: u8 = libc::EBUSY as u8;
    const NOENT: u8 = libc::ENOENT as u8;
    let retrieved = || [Step::Receive, granted(), Step::Receive, granted()];
    let warning =
        |id: &str, why: &str| format!("{NAME}: warning: unable to delete fd for id {id}: {why}\n");
    let lost = "; the daemon may still hold it and what comes behind it";
    let closed = format!("connection closed{lost}");
    let cases = [
        (vec![granted(), Step::Receive, answers(BUSY)], warning("b", "Device or resource busy")),
        // The daemon does not hold the entry any more, which needs no warning.
        (vec![answers(NOENT), Step::Receive, granted()], String::new()),
        (vec![granted(), Step::Receive, answers(NOENT)], String::new()),
        (vec![answers(NOENT), Step::Receive, answers(NOENT)], String::new()),
        (
            vec![answers(NOENT), Step::Receive, answers(BUSY)],
            warning("b", "Device or resource busy"),
        ),
        (vec![Step::HangUp], warning("a", &closed)),
        (vec![granted(), Step::Receive, Step::HangUp], warning("b", &closed)),
        (
            vec![Step::Send(b"xxxxxxx".to_vec(), vec![])],
            warning("a", &format!("Protocol error{lost}")),
        ),
        (vec![Step::StopReading], warning("a", &format!("Connection timed out{lost}"))),
    ];
    for (steps, expected) in cases {
        let script: Vec<_> = retrieved().into_iter().chain([Step::Receive]).chain(steps).collect();
        let fake = Fake::start(script);
        let mut command = activate(&["-D", "-t500"]);
        command.arg(&fake.path).args(["a", "b", "--", "echo", "executed"]);
        assert_eq!(ending(&run(&mut command)), (0, "executed\n", &expected[..]));
        fake.seen();
    }
}

/// Another client may replace the entry between the retrieval and the deletion. The tool then has the only
/// copy of the new descriptor.
#[test]
fn prog_gets_the_descriptor_that_was_deleted() {
    let files = [memfd(), memfd()];
    let expected = inode(&files[1]);
    let answers = files.map(|file| [Step::Receive, Step::Send(frame(&[0], 1), vec![file])]);
    let fake = Fake::start(answers.into_iter().flatten().collect());
    let (report, _) = report(activate(&["-D"]).arg(&fake.path).arg("a"));
    let open: Vec<_> = report.open.iter().filter(|(number, _)| *number > 2).copied().collect();
    assert_eq!(open, [(3, expected)]);
    fake.seen();
}

/// The entries are deleted by then, so only this process has the descriptors, and the program must get them.
#[test]
fn a_warning_that_cannot_be_written_does_not_end_the_tool() {
    let closed = || Stdio::from(std::io::pipe().unwrap().1);
    let full = || Stdio::from(memfd());
    for (first, stderr) in [("", &closed as &dyn Fn() -> Stdio), ("ulimit -f 0;", &full)] {
        for env in [&["sh", "-c"][..], &["env", "--block-signal=PIPE,XFSZ", "sh", "-c"]] {
            let begin = || {
                let mut command = Command::new(env[0]);
                command.args(&env[1..]).arg(format!("{first} exec \"$0\" \"$@\""));
                command
            };
            let expected = run(begin().args(STATE)).out;
            let denied = Step::Send(status(libc::EPERM as u8), vec![]);
            let granted = || [Step::Receive, granted()];
            let script = [granted(), granted(), granted(), [Step::Receive, denied]];
            let fake = Fake::start(script.into_iter().flatten().collect());
            let mut command = begin();
            command.arg(program()).args([NAME, "-D"]).arg(&fake.path).args(["a", "b", "--"]);
            let output =
                command.args(STATE).stdin(Stdio::null()).stderr(stderr()).output().unwrap();
            assert_eq!(
                (output.status.code(), output.stdout),
                (Some(0), expected),
                "{first} {env:?}"
            );
            fake.seen();
        }
    }
}

#[test]
fn a_program_that_cannot_be_executed_is_reported_before_anything_is_done() {
    let daemon = Daemon::start(Generation::Ours);
    store(&daemon, &[b"a"]);
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.child(name).to_str().unwrap().to_string();
    fs::write(path("file"), "").unwrap();
    symlink(path("nothing"), path("link")).unwrap();
    mknodat(CWD, path("fifo"), FileType::Fifo, Mode::from_raw_mode(0o777), 0).unwrap();
    let absent = (127, "No such file or directory");
    let refused = (126, "Permission denied");
    let cases = [
        ("no-such-program".to_string(), absent),
        ("/no/such/program".into(), absent),
        (path("link"), absent),
        (path("file"), refused),
        // The same file, found by PATH.
        ("file".into(), refused),
        (path("fifo"), refused),
        (path("."), refused),
    ];
    for options in [&[][..], &["-D"], &["-w"], &["-wD"]] {
        for (prog, (code, reason)) in &cases {
            let command = |path: &Path| {
                let mut command = activate(options);
                command.env("PATH", dir.path()).arg(path).args(["a", "--", prog]);
                run(&mut command)
            };
            let line = fatal(&format!("unable to exec {prog}: {reason}"));
            assert_eq!(ending(&command(&daemon.path)), (*code, "", &line[..]), "{options:?}");
            // The tool does not connect.
            let fake = Fake::start(vec![]);
            command(&fake.path);
            assert!(!fake.seen().connected);
        }
    }
    assert_eq!(ids(&daemon), [b"a"]);
}

/// An executable file with this content.
fn executable(dir: &TempDir, name: &str, content: &str) -> String {
    let path = dir.child(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_string()
}

/// Runs a command that deletes and fails. Checks its message, and that the daemon holds all entries again.
fn assert_stored_again(daemon: &Daemon, command: &mut Command, code: i32, what: &str) {
    let sorted = || {
        let mut held = wire::get_dump(&daemon.path).unwrap();
        held.sort_by(|one, other| one.id.cmp(&other.id));
        held.into_iter().map(|held| (held.id.clone(), inode(&held.fd), held.expiry))
    };
    let before: Vec<_> = sorted().collect();
    let line = fatal(&format!("{what}; what was deleted is stored again, without an expiry"));
    assert_eq!(ending(&run(command)), (code, "", &line[..]));
    let after: Vec<_> = sorted().collect();
    type One = (Vec<u8>, (u64, u64), [u8; 12]);
    let files =
        |all: &[One]| all.iter().map(|(id, file, _)| (id.clone(), *file)).collect::<Vec<_>>();
    assert_eq!(files(&after), files(&before));
    let lasting = expiry_in(Duration::from_secs(1 << 60));
    assert!(after.iter().all(|(.., expiry)| *expiry > lasting));
}

/// Some errors show only when the kernel executes the program.
#[test]
fn deleted_entries_are_stored_again_if_prog_cannot_be_executed() {
    let dir = TempDir::new().unwrap();
    let folder = format!("#!{}\n", dir.path().display());
    let cases = [
        (executable(&dir, "empty", ""), 126, "Exec format error"),
        (executable(&dir, "script", "#!/no/such/interpreter\n"), 127, "No such file or directory"),
        (executable(&dir, "folder", &folder), 126, "Permission denied"),
    ];
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        for (prog, code, reason) in &cases {
            let what = format!("unable to exec {prog}: {reason}");
            for option in ["-D", "-wD"] {
                store(&daemon, &[b"a", b"b"]);
                let mut command = activate(&[option]);
                // An identifier that is given twice is deleted and stored once.
                command.arg(&daemon.path).args(["b", "a", "b", "--", prog]);
                assert_stored_again(&daemon, &mut command, *code, &what);
            }
            let mut command = activate(&[]);
            let ended = run(command.arg(&daemon.path).args(["a", "--", prog]));
            assert_eq!(ending(&ended), (*code, "", &fatal(&what)[..]));
        }
        // The variables of the program are larger than those of the tool.
        let ids: Vec<_> = (0..40).map(|at| format!("{at:0>250}")).collect();
        let ids: Vec<_> = ids.iter().map(|id| id.as_bytes()).collect();
        for options in [["-D", "-p", "0"], ["-wD", "-p", "0"]] {
            store(&daemon, &ids);
            store(&daemon, &[b"a", b"b"]);
            let mut command = through("ulimit -s 256;", "", &options, &daemon.path);
            command.env_clear().envs([("PATH", "/usr/bin:/bin"), ("LONG", &"x".repeat(126_000))]);
            command.args(["a", "b", "--", "/bin/true"]);
            let what = "unable to exec /bin/true: Argument list too long";
            assert_stored_again(&daemon, &mut command, 111, what);
        }
    }
}

#[test]
fn the_message_counts_entries_that_could_not_be_stored_again() {
    let dir = TempDir::new().unwrap();
    let prog = executable(&dir, "empty", "");
    let [busy, perm, noent] = [libc::EBUSY, libc::EPERM, libc::ENOENT].map(|code| code as u8);
    let deleted = || vec![Step::Receive, granted()];
    let stored = || vec![Step::Receive, answers(0)];
    let all = "; what was deleted is stored again, without an expiry";
    let lost =
        |count: u32| format!("; of the deleted descriptors {count} could not be stored again");
    let closed = "connection closed; the daemon may still hold it and what comes behind it";
    let cases: Vec<(Vec<Step>, &str, String)> = vec![
        (vec![deleted(), deleted(), stored(), stored()].concat_steps(), "", all.into()),
        // Another client has stored an entry under the identifier meanwhile.
        (
            [deleted(), deleted(), vec![Step::Receive, answers(busy)], stored()].concat_steps(),
            "",
            lost(1),
        ),
        (
            [
                deleted(),
                deleted(),
                vec![Step::Receive, answers(perm), Step::Receive, answers(perm)],
            ]
            .concat_steps(),
            "",
            lost(2),
        ),
        ([deleted(), deleted(), vec![Step::Receive, Step::HangUp]].concat_steps(), "", lost(2)),
        (
            [deleted(), deleted(), stored(), vec![Step::Receive, Step::StopReading]].concat_steps(),
            "",
            lost(1),
        ),
        // An entry that the daemon did not hold is not stored.
        ([vec![Step::Receive, answers(noent)], deleted(), stored()].concat_steps(), "", all.into()),
        (vec![Step::Receive, answers(noent), Step::Receive, answers(noent)], "", String::new()),
        // The first is deleted, and the deletion of the second is unknown. The daemon still holds it, or stores
        // it again.
        (
            [
                deleted(),
                vec![Step::Receive, Step::HangUp, Step::Next],
                stored(),
                vec![Step::Receive, answers(busy)],
            ]
            .concat_steps(),
            closed,
            all.into(),
        ),
        (
            [deleted(), vec![Step::Receive, Step::HangUp, Step::Next], stored(), stored()]
                .concat_steps(),
            closed,
            all.into(),
        ),
    ];
    for (steps, warning, remark) in cases {
        let retrieved = vec![Step::Receive, granted(), Step::Receive, granted()];
        let fake = Fake::start([retrieved, steps].concat_steps());
        let mut command = activate(&["-D", "-t1000"]);
        let ended = run(command.arg(&fake.path).args(["a", "b", "--", &prog]));
        let mut expected = fatal(&format!("unable to exec {prog}: Exec format error{remark}"));
        if !warning.is_empty() {
            let what = "warning: unable to delete fd for id b";
            expected = format!("{NAME}: {what}: {warning}\n{expected}");
        }
        assert_eq!(ending(&ended), (126, "", &expected[..]));
        fake.seen();
    }
}

/// Concatenates scripts.
trait Concat {
    fn concat_steps(self) -> Vec<Step>;
}

impl<I: IntoIterator<Item = Vec<Step>>> Concat for I {
    fn concat_steps(self) -> Vec<Step> {
        self.into_iter().flatten().collect()
    }
}

/// Another client may store an entry under the identifier between two deletions.
#[test]
fn an_identifier_that_is_given_twice_is_deleted_once() {
    let granted = || [Step::Receive, granted()];
    // Three entries are retrieved, and two are deleted.
    let fake = Fake::start((0..5).flat_map(|_| granted()).collect());
    let mut command = activate(&["-D"]);
    command.arg(&fake.path).args(["a", "b", "a", "--", "echo", "executed"]);
    assert_eq!(ending(&run(&mut command)), (0, "executed\n", ""));
    let requests =
        [&b"R\0\x01a\0"[..], b"R\0\x01b\0", b"R\0\x01a\0", b"R\x01\x01a\0", b"R\x01\x01b\0"];
    assert_eq!(fake.seen().bytes, requests.map(|request| frame(request, 0)).concat());
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        store(&daemon, &[b"a", b"b"]);
        for option in ["-D", "-wD"] {
            let mut command = activate(&[option]);
            command.arg(&daemon.path).args(["a", "b", "a", "--", "echo", "executed"]);
            assert_eq!(ending(&run(&mut command)), (0, "executed\n", ""), "{generation:?}");
            assert!(ids(&daemon).is_empty());
            store(&daemon, &[b"a", b"b"]);
        }
    }
}

/// A command that runs a shell, which runs `first`, redirects, and executes the tool.
fn through(first: &str, redirections: &str, options: &[&str], path: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{first} exec \"$0\" \"$@\" {redirections}"));
    command.arg(program()).arg(NAME).args(options).arg(path).stdin(Stdio::null());
    command
}

#[test]
fn an_open_descriptor_at_a_number_for_prog_is_an_error() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let files = store(&daemon, &[b"a", b"b"]);
        let open = |redirections: &str, options: &[&str], ids: &[&str]| {
            let mut command = through("", redirections, options, &daemon.path);
            run(command.args(ids).args(["--", "sh", "-c", REPORT_SCRIPT]))
        };
        for (redirections, number, id) in [("3</dev/null", 3, "b"), ("4</dev/null", 4, "a")] {
            for options in [&[][..], &["-D"], &["-p", "x"]] {
                let ended = open(redirections, options, &["b", "a"]);
                let line = format!("number {number} is open already, but is to be id {id}");
                assert_eq!(ending(&ended), (100, "", &fatal(&line)[..]));
            }
        }
        // The program inherits open descriptors at higher numbers.
        for redirections in ["5</dev/null 7</dev/null", "6</dev/null", "5</ 6</dev/null 7</ 8</"] {
            let ended = open(redirections, &[], &["b", "a"]);
            succeeded(&ended);
            let report = Report::parse(&ended.out);
            let expected = redirections.split(' ').map(|one| one[..1].parse::<u32>().unwrap());
            let expected: Vec<_> = expected.collect();
            let open: Vec<_> = report
                .open
                .iter()
                .map(|(number, _)| *number)
                .filter(|number| *number > 4)
                .collect();
            assert_eq!(open, expected, "{redirections}");
            assert_eq!((report.inode(3), report.inode(4)), (files[1], files[0]));
        }
        assert_eq!(ids(&daemon), [b"a", b"b"]);
    }
}

#[test]
fn closed_standard_descriptors_stay_closed() {
    let daemon = Daemon::start(Generation::Ours);
    let files = store(&daemon, &[b"a", b"b"]);
    for (redirections, _) in closed() {
        for options in [&[][..], &["-w"], &["-p", ""]] {
            let dir = TempDir::new().unwrap();
            // The shell checks its descriptors before it redirects.
            let script = "for n in 0 1 2 3 4 5 6 7; do [ -h /proc/$$/fd/$n ] && all=\"$all$n \"; done; \
                          { echo \"$all\"; stat -Lc%i /proc/$$/fd/3 /proc/$$/fd/4; } >\"$0\"";
            let out = dir.child("out");
            let mut command = through("", &redirections, options, &daemon.path);
            let ids: &[&str] = if options == ["-p", ""] { &[] } else { &["a", "b"] };
            command.args(ids).args(["--", "sh", "-c", script]).arg(&out);
            assert_eq!(run(&mut command).code, 0, "{redirections}");
            let is_open = |text: &str| !redirections.split(' ').any(|closed| closed == text);
            let standard = [("<&-", "0 "), (">&-", "1 "), ("2>&-", "2 ")];
            let standard = standard.iter().filter(|(text, _)| is_open(text));
            let standard: String = standard.map(|(_, number)| *number).collect();
            let expected = format!("{standard}3 4 \n{}\n{}\n", files[0].1, files[1].1);
            assert_eq!(fs::read_to_string(&out).unwrap(), expected, "{redirections} {options:?}");
        }
    }
}

/// A command that prints the blocked and ignored signals, and the limits on open files, of its own process. A
/// shell would change them.
const STATE: [&str; 5] =
    ["grep", "-hE", "^Sig(Blk|Ign)|open files", "/proc/self/status", "/proc/self/limits"];

#[test]
fn prog_gets_the_signals_and_limits_of_the_caller() {
    let daemon = Daemon::start(Generation::Ours);
    store(&daemon, &[b"a"]);
    for options in [&[][..], &["-w"], &["-wD"]] {
        for limit in ["ulimit -Sn 64;", "ulimit -n 77;", ""] {
            let env = ["env", "--block-signal=USR1,TERM", "--ignore-signal=PIPE,HUP", "sh", "-c"];
            for env in [&env[..], &["env", "sh", "-c"]] {
                let first = format!("{limit} exec \"$0\" \"$@\"");
                let begin = || {
                    let mut command = Command::new(env[0]);
                    command.args(&env[1..]).arg(&first);
                    command
                };
                let expected = run(begin().args(STATE)).out;
                assert_eq!(expected.iter().filter(|byte| **byte == b'\n').count(), 3);
                let mut command = begin();
                command.arg(program()).arg(NAME).args(options).arg(&daemon.path);
                let ended = run(command.args(["a", "--"]).args(STATE));
                succeeded(&ended);
                assert_eq!(ended.out, expected, "{options:?} {limit}");
                store(&daemon, &[b"a"]);
            }
        }
    }
}

#[test]
fn prog_can_get_three_hundred_descriptors() {
    raise_open_file_limit();
    let all: Vec<_> = (0..300).map(|at| format!("{at:0>5}{}", "x".repeat(250))).collect();
    let all: Vec<_> = all.iter().map(|id| id.as_bytes()).collect();
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let files = store(&daemon, &all);
        for options in [&["-p", ""][..], &["-wp", ""], &["-p", "", "-e", "einhorn"], &[]] {
            let mut command = activate(options);
            command.arg(&daemon.path);
            if options.is_empty() {
                command.args(all.iter().map(|id| OsStr::from_bytes(id)));
            }
            let ended = run(command.args(["--", "sh", "-c", REPORT_SCRIPT]));
            succeeded(&ended);
            let report = Report::parse(&ended.out);
            let open: Vec<_> =
                report.open.iter().filter(|(number, _)| *number > 2).copied().collect();
            let expected: Vec<_> = (3..).zip(files.iter().copied()).collect();
            assert!(open == expected, "{generation:?} {options:?}");
            let has = |text: &str| report.environment.iter().any(|one| one == text.as_bytes());
            assert!(has("LISTEN_FDS=300") || has("EINHORN_FD_COUNT=300"));
        }
    }
}

/// The kernel limits the length of a variable. The tool checks that before it deletes.
#[test]
fn if_the_names_are_too_long_for_a_variable_nothing_is_deleted() {
    raise_open_file_limit();
    let all: Vec<_> = (0..600).map(|at| format!("{at:0>5}{}", "x".repeat(250))).collect();
    let all: Vec<_> = all.iter().map(|id| id.as_bytes()).collect();
    let daemon = Daemon::start(Generation::S6_2_15);
    store(&daemon, &all);
    let mut command = activate(&["-Dp", ""]);
    let ended = run(command.arg(&daemon.path).args(["--", "echo", "executed"]));
    let line = fatal("unable to prepare what prog gets: Argument list too long");
    assert_eq!(ending(&ended), (111, "", &line[..]));
    let stream = UnixStream::connect(&daemon.path).unwrap();
    assert_eq!(wire::list(&stream).unwrap().len(), all.len());
    // A convention without names needs less room.
    let mut command = activate(&["-De", "nginx", "-p", ""]);
    let ended = run(command.arg(&daemon.path).args(["--", "echo", "executed"]));
    assert_eq!(ending(&ended), (0, "executed\n", ""));
    assert!(wire::list(&stream).unwrap().is_empty());
}

#[test]
fn a_low_soft_limit_is_raised_for_prog_too_and_a_low_hard_limit_is_reported() {
    raise_open_file_limit();
    let all: Vec<_> = (0..30).map(|at| format!("{at:0>3}")).collect();
    let all: Vec<_> = all.iter().map(|id| id.as_bytes()).collect();
    let daemon = Daemon::start(Generation::Ours);
    store(&daemon, &all);
    // The standard descriptors, the entries, and two more. Without -D, one more is enough if the limit is hard.
    let needed = 3 + all.len() + 2;
    for (limit, is_hard) in (5..needed + 3).flat_map(|limit| [(limit, false), (limit, true)]) {
        for options in [&["-p", ""][..], &["-wDp", ""], &["-Dp", ""], &[]] {
            let first = format!("ulimit -{}n {limit};", if is_hard { "" } else { "S" });
            let deletes = options.first().is_some_and(|option| option.contains('D'));
            let needed = needed - usize::from(is_hard && !deletes);
            let mut command = through(&first, "", options, &daemon.path);
            if options.is_empty() {
                command.args(all.iter().map(|id| OsStr::from_bytes(id)));
            }
            let ended = run(command.args(["--", "sh", "-c", "ulimit -Sn"]));
            if is_hard && limit < needed {
                let line = format!(
                    "unable to prepare what prog gets: Too many open files: the open-file limit is \
                     {limit}, but has to be {needed} at least"
                );
                assert_eq!(ending(&ended), (111, "", &fatal(&line)[..]));
                assert_eq!(ids(&daemon).len(), all.len());
            } else {
                let expected = format!("{}\n", limit.max(needed));
                assert_eq!(ending(&ended), (0, &expected[..], ""), "{limit} {is_hard} {options:?}");
                store(&daemon, &all);
            }
        }
    }
}

/// The message names no limit that is lower than the present one.
#[test]
fn an_error_for_lack_of_descriptor_numbers_names_no_lower_limit() {
    let daemon = Daemon::start(Generation::Ours);
    store(&daemon, &[b"a"]);
    let from_5 = "5</dev/null 6</dev/null 7</dev/null";
    let from_4 = format!("4</dev/null {from_5}");
    for (options, redirections) in [(&[][..], &from_4[..]), (&["-D"], from_5), (&["-w"], from_5)] {
        let mut command = through("ulimit -n 8;", redirections, options, &daemon.path);
        let ended = run(command.args(["a", "--", "echo", "executed"]));
        let line = fatal("unable to prepare what prog gets: Too many open files");
        assert_eq!(ending(&ended), (111, "", &line[..]), "{options:?}");
    }
    assert_eq!(ids(&daemon), [b"a"]);
}

/// The daemon may break the protocol.
#[test]
fn after_an_invalid_answer_nothing_is_executed() {
    let send = |bytes: Vec<u8>, count: usize| {
        Step::Send(bytes, std::iter::repeat_with(memfd).take(count).collect())
    };
    let list = |count: u32, ids: &[u8]| frame(&[&[0], &count.to_be_bytes()[..], ids].concat(), 0);
    let received = |step| vec![Step::Receive, step];
    let retrieve = "retrieve fd for id a: Protocol error";
    let second = "retrieve fd for id b: connection closed";
    let listed = "get fd list: Protocol error";
    let cut = "get fd list: connection closed";
    let cases: Vec<(&[&str], Vec<Step>, &str)> = vec![
        (&[], received(send(frame(&[0], 0), 0)), retrieve),
        (&[], received(send(frame(&[0], 0), 1)), retrieve),
        (&[], received(send(frame(&[0], 1), 0)), retrieve),
        (&[], received(send(frame(&[0], 2), 2)), retrieve),
        (&[], received(send(frame(&[0], 1), 2)), retrieve),
        (&[], received(send(frame(&[0, 0], 1), 1)), retrieve),
        (&[], received(send(frame(&[2], 1), 1)), retrieve),
        (&[], received(send(frame(b"", 1), 1)), retrieve),
        (&[], vec![Step::Receive, granted(), Step::Receive, Step::HangUp], second),
        (&["-p", "a"], received(send(list(2, b"a\0"), 0)), listed),
        (&["-p", "a"], received(send(list(1, b"a\0b\0"), 0)), listed),
        (&["-p", "a"], received(send(list(2, b"a\0\0"), 0)), listed),
        (&["-p", "a"], received(send(list(1, b"a"), 0)), listed),
        (&["-p", "a"], received(send(list(1, b"a\0"), 1)), listed),
        (&["-p", "a"], received(send(list(0x0800_0000, b"a\0"), 0)), listed),
        (
            &["-p", "a"],
            vec![Step::Receive, send(list(1, b"a\0")[..12].to_vec(), 0), Step::HangUp],
            cut,
        ),
    ];
    for (options, script, what) in cases {
        let fake = Fake::start(script);
        let mut command = activate(options);
        command.arg(&fake.path);
        if options.is_empty() {
            command.args(["a", "b"]);
        }
        let ended = run(command.args(["--", "echo", "executed"]));
        assert_eq!(ending(&ended), (1, "", &fatal(&format!("unable to {what}"))[..]));
        fake.seen();
    }
}

/// A list may have more identifiers than the limit on open files.
#[test]
fn a_list_beyond_the_open_file_limit_is_refused() {
    let ids: Vec<u8> =
        (0..200_000u32).rev().flat_map(|id| format!("{id:06}\0").into_bytes()).collect();
    let reply = frame(&[&[0], &200_000u32.to_be_bytes()[..], &ids].concat(), 0);
    let fake = Fake::start(vec![Step::Receive, Step::Send(reply, vec![]), Step::StopReading]);
    let mut command = through("ulimit -n 1000;", "", &["-p", "", "-t20000"], &fake.path);
    let ended = run(command.args(["--", "true"]));
    let line = "unable to prepare what prog gets: Too many open files: the open-file limit is 1000, \
                but has to be 200004 at least";
    assert_eq!(ending(&ended), (111, "", &fatal(line)[..]));
    fake.seen();
}

#[test]
fn a_valid_command_line_is_parsed_like_getopt() {
    let cases: &[&[&str]] = &[
        &["PATH", "a", "--", "true"],
        &["PATH", "a", "b", "--", "true", "--", "-x"],
        &["--", "PATH", "a", "--", "true"],
        &["-t5", "-n", "x", "PATH", "a", "--", "true"],
        &["-n", "x:y", "PATH", "a", "b", "--", "true"],
        &["-nx:y", "-p", "p", "PATH", "a", "b", "--", "true"],
        &["-DwDw", "PATH", "a", "--", "true"],
        &["-Dwt", "5", "PATH", "a", "--", "true"],
        &["-p", "", "PATH", "--", "true"],
        &["-pp", "PATH", "--", "true"],
        &["-e", "nginx", "-e", "starter", "PATH", "a", "--", "true"],
        &["--delete", "--wait", "--convention=einhorn", "--names", "x", "PATH", "a", "--", "true"],
        &["--prefix=p", "--timeout=5", "PATH", "--", "true"],
        &["PATH", "-D", "--help", "--", "true"],
    ];
    let dir = TempDir::new().unwrap();
    let path = dir.child("absent");
    let path = path.to_str().unwrap();
    for case in cases {
        let ended = run(activate(&[]).args(case.iter().map(|word| word.replace("PATH", path))));
        let what =
            format!("unable to connect to a fd-holder daemon at {path}: No such file or directory");
        assert_eq!(ending(&ended), (111, "", &fatal(&what)[..]), "{case:?}");
    }
}

#[test]
fn a_wrong_command_line_gets_the_usage_line_and_exit_100() {
    let cases: &[&[&str]] = &[
        &[],
        &["PATH"],
        &["PATH", "--"],
        &["PATH", "a"],
        &["PATH", "a", "true"],
        &["PATH", "a", "--"],
        &["PATH", "--", "true"],
        &["--", "PATH", "--", "true"],
        &["-p", "p", "PATH", "--"],
        &["-p", "p", "PATH", "true"],
        &["-p"],
        &["-n", "x:y", "PATH", "a", "--", "true"],
        &["-n", "x", "PATH", "a", "b", "--", "true"],
        &["-n", "", "-p", "p", "PATH", "--", "true"],
        &["-n", "x", "-p", "p", "PATH", "--", "true"],
        &["-e", "", "PATH", "a", "--", "true"],
        &["-e", "Systemd", "PATH", "a", "--", "true"],
        &["-e", "systemd2", "PATH", "a", "--", "true"],
        &["-t", "x", "PATH", "a", "--", "true"],
        &["-x", "PATH", "a", "--", "true"],
        &["--deleted", "PATH", "a", "--", "true"],
    ];
    let usage = format!(
        "{NAME}: usage: {NAME} [ -D ] [ -w ] [ -e convention ] [ -n names ] [ -p prefix ] \
         [ -t timeout ] socket [ id... ] -- prog...\n"
    );
    for case in cases {
        assert_eq!(ending(&run(activate(&[]).args(*case))), (100, "", &usage[..]), "{case:?}");
    }
}

#[test]
fn prog_gets_its_arguments_unchanged() {
    let daemon = Daemon::start(Generation::Ours);
    store(&daemon, &[b"a", b"-D", b"-"]);
    let words = [&b"%s|"[..], b"-D", b"", b"--", b"two  words\n", b"\xff\xfe", b"--help"];
    let mut command = activate(&[]);
    command.arg(&daemon.path).args(["a", "-D", "-", "--", "printf"]);
    let ended = run(command.args(words.map(OsStr::from_bytes)));
    succeeded(&ended);
    assert_eq!(ended.out, b"-D||--|two  words\n|\xff\xfe|--help|");
}

#[test]
fn prog_gets_the_same_open_file() {
    let daemon = Daemon::start(Generation::Ours);
    let (reader, writer) = std::io::pipe().unwrap();
    let expiry = expiry_in(Duration::from_secs(3600));
    wire::set_dump(&daemon.path, &[Held::new("pipe", expiry, &writer)]).unwrap();
    drop(writer);
    let mut command = activate(&["-D"]);
    command.arg(&daemon.path).args(["pipe", "--", "sh", "-c", "echo through >&3"]);
    succeeded(&run(&mut command));
    let mut text = String::new();
    { reader }.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through\n");
}
