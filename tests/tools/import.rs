//! fdholder-import stores the descriptors of socket activation in a daemon: all of them or none, and only if
//! the variables name this process.

use crate::kit::clients::{hold, same_dump, succeeded};
use crate::kit::daemon::{Daemon, GETDUMP, Generation, LIST, RETRIEVE, SETDUMP, STORE, Setup};
use crate::kit::fake::{Fake, Step, opened, status};
use crate::kit::process::{closed, has_unique_id};
use crate::kit::strace::strace;
use crate::kit::tool::{Ended, run, tool};
use crate::kit::wire::{self, Held, expiry_in, identities, inode};
use crate::kit::{memfd, program, raise_open_file_limit};
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use temp_dir::TempDir;

const NAME: &str = "fdholder-import";

/// A command that runs a shell. It opens these files from number 3 on, sets LISTEN_PID to its own number, and
/// executes the tool. The caller adds options and operands.
fn import(files: &[OwnedFd], names: Option<&[u8]>) -> Command {
    import_through(files, names, "LISTEN_PID=$$", "")
}

/// The same with another command that the shell runs first, and with redirections.
fn import_through(
    files: &[OwnedFd],
    names: Option<&[u8]>,
    first: &str,
    redirections: &str,
) -> Command {
    let own = std::process::id();
    let open = files
        .iter()
        .zip(3..)
        .map(|(file, number)| format!("{number}<>/proc/{own}/fd/{} ", file.as_raw_fd()));
    let open: String = open.collect();
    let script = format!("{first} exec \"$0\" \"$@\" {open} {redirections}");
    let mut command = Command::new("bash");
    command.args(["-c", &script]).arg(program()).arg(NAME).stdin(Stdio::null());
    for variable in ["LISTEN_FDNAMES", "LISTEN_PID", "LISTEN_PIDFDID"] {
        command.env_remove(variable);
    }
    command.env("LISTEN_FDS", files.len().to_string());
    if let Some(names) = names {
        command.env("LISTEN_FDNAMES", OsStr::from_bytes(names));
    }
    command
}

/// Exit code, standard output and standard error.
fn ending(ended: &Ended) -> (i32, &str, &str) {
    (ended.code, std::str::from_utf8(&ended.out).unwrap(), &ended.err)
}

fn fatal(what: &str) -> String {
    format!("{NAME}: fatal: {what}\n")
}

fn memfds(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| memfd()).collect()
}

/// The identifiers and files of a daemon, sorted.
fn held(path: &Path) -> Vec<(Vec<u8>, (u64, u64))> {
    let all = wire::get_dump(path).unwrap();
    let mut all: Vec<_> = all.into_iter().map(|held| (held.id, inode(&held.fd))).collect();
    all.sort();
    all
}

/// The expected result of [`held`] for these identifiers and files.
fn expected(ids: &[&[u8]], files: &[OwnedFd]) -> Vec<(Vec<u8>, (u64, u64))> {
    assert_eq!(ids.len(), files.len());
    let mut all: Vec<_> = ids.iter().map(|id| id.to_vec()).zip(files.iter().map(inode)).collect();
    all.sort();
    all
}

#[test]
fn each_descriptor_is_stored_under_prefix_and_name() {
    let long = [b'x'; 253];
    let long_with_prefix = [&b"p:"[..], &long].concat();
    let names_of_long = [&b"a:"[..], &long].concat();
    // Names, and identifiers with the prefix `p:`.
    type Case<'a> = (Option<&'a [u8]>, &'a [&'a [u8]]);
    let cases: &[Case] = &[
        (None, &[b"p:unknown", b"p:unknown#2", b"p:unknown#3"]),
        (Some(b""), &[b"p:unknown"]),
        (Some(b"a"), &[b"p:a"]),
        (Some(b"a"), &[b"p:a", b"p:unknown"]),
        (Some(b"a:b"), &[b"p:a", b"p:b"]),
        (Some(b"b:a:b:b:a"), &[b"p:b", b"p:a", b"p:b#2", b"p:b#3", b"p:a#2"]),
        (Some(b":unknown:a"), &[b"p:unknown", b"p:unknown#2", b"p:a"]),
        (Some(b"a#2:a"), &[b"p:a#2", b"p:a"]),
        (Some(b"a b:\xff\x01:#"), &[b"p:a b", b"p:\xff\x01", b"p:#"]),
        (Some(&names_of_long), &[b"p:a", &long_with_prefix]),
    ];
    for generation in Generation::DAEMONS {
        for (names, ids) in cases {
            for options in [&["-p", "p:"][..], &["-r", "--prefix=p:"], &["-rp", "p:", "-t", "9000"]]
            {
                let daemon = Daemon::start(generation);
                let files = memfds(ids.len());
                let mut command = import(&files, *names);
                succeeded(&run(command.args(options).arg(&daemon.path)));
                assert_eq!(held(&daemon.path), expected(ids, &files), "{generation:?} {options:?}");
            }
        }
        let daemon = Daemon::start(generation);
        let files = memfds(1);
        succeeded(&run(import(&files, Some(b"bare")).arg(&daemon.path)));
        assert_eq!(held(&daemon.path), expected(&[b"bare"], &files));
    }
}

#[test]
fn expiries_follow_option_t_and_are_all_different() {
    for generation in Generation::DAEMONS {
        for options in [&["-T", "3600000"][..], &["-T3600000", "-r"], &["-T0"], &["-r"]] {
            let daemon = Daemon::start(generation);
            let early = expiry_in(Duration::from_secs(3599));
            let files = memfds(3);
            succeeded(&run(import(&files, None).args(options).arg(&daemon.path)));
            let late = expiry_in(Duration::from_secs(3601));
            let mut dates: Vec<_> =
                wire::get_dump(&daemon.path).unwrap().iter().map(|held| held.expiry).collect();
            dates.sort();
            dates.dedup();
            assert_eq!(dates.len(), 3);
            let is_never = dates.iter().all(|date| *date > expiry_in(Duration::from_secs(1 << 60)));
            let is_due = dates.iter().all(|date| (early..late).contains(date));
            assert!(if options[0] == "-r" || options[0] == "-T0" { is_never } else { is_due });
        }
    }
}

/// Equal expiries in the table of a C daemon make it loop for ever, or lose a descriptor.
#[test]
fn imported_entries_do_not_corrupt_a_c_daemon() {
    raise_open_file_limit();
    for generation in Generation::DAEMONS {
        for options in [&[][..], &["-r"], &["-T", "3600000"]] {
            let source = Daemon::start(Generation::Ours);
            let daemon = Daemon::start(generation);
            let all = hold((0..300).map(|at| format!("{at:03}")));
            wire::set_dump(&source.path, &all).unwrap();
            let mut command = tool("fdholder-activate");
            command.args(["-p", ""]).arg(&source.path).arg("--").arg(program()).arg(NAME);
            succeeded(&run(command.args(options).arg(&daemon.path).stdin(Stdio::null())));
            let stream = UnixStream::connect(&daemon.path).unwrap();
            for held in all.iter().step_by(3) {
                wire::delete(&stream, &held.id).unwrap();
                let expiry = expiry_in(Duration::from_secs(7200));
                wire::store(&stream, &Held::new(&held.id, expiry, &held.fd)).unwrap();
                wire::delete(&stream, &held.id).unwrap();
            }
            let expected: Vec<_> = all.iter().map(|held| held.id.clone()).collect();
            let expected: Vec<_> =
                expected.chunks(3).flat_map(|three| three[1..].to_vec()).collect();
            let mut found = wire::list(&stream).unwrap();
            found.sort();
            assert_eq!(found, expected, "{generation:?} {options:?}");
        }
    }
}

/// A process that is activated from the daemon gets the same names and files.
#[test]
fn fdholder_activate_restores_names_and_files() {
    for generation in Generation::DAEMONS {
        let [first, second] = [(); 2].map(|()| Daemon::start(generation));
        let files = memfds(5);
        let mut command = import(&files, Some(b"web:web::a b:web"));
        succeeded(&run(command.args(["-p", "x:"]).arg(&first.path)));
        let names = "printf '%s %s' $LISTEN_FDS \"$LISTEN_FDNAMES\"";
        let activate = |daemon: &Daemon| {
            let mut command = tool("fdholder-activate");
            command.args(["-p", "x:"]).arg(&daemon.path).arg("--").stdin(Stdio::null());
            command
        };
        let ended = run(activate(&first).args(["sh", "-c", names]));
        assert_eq!(ending(&ended), (0, "5 a b:unknown:web:web:web", ""));
        let mut command = activate(&first);
        succeeded(&run(command.arg(program()).args([NAME, "-p", "x:"]).arg(&second.path)));
        assert_eq!(held(&first.path), held(&second.path));
    }
}

#[test]
fn if_an_identifier_is_held_nothing_is_stored_except_with_option_r() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start(generation);
        let old = hold(["p:c", "other"]);
        wire::set_dump(&daemon.path, &old).unwrap();
        let before = identities(&wire::get_dump(&daemon.path).unwrap());
        let files = memfds(4);
        let mut command = import(&files, Some(b"a:b:c:d"));
        let ended = run(command.args(["-p", "p:"]).arg(&daemon.path));
        let line = fatal("unable to store fd for id p:c: Device or resource busy");
        assert_eq!(ending(&ended), (1, "", &line[..]), "{generation:?}");
        let after = identities(&wire::get_dump(&daemon.path).unwrap());
        assert!(same_dump(&after, &before));
        let mut command = import(&files, Some(b"a:b:c:d"));
        succeeded(&run(command.args(["-rp", "p:"]).arg(&daemon.path)));
        let mut due = expected(&[b"p:a", b"p:b", b"p:c", b"p:d"], &files);
        due.insert(0, (b"other".to_vec(), inode(&old[1].fd)));
        assert_eq!(held(&daemon.path), due);
    }
}

#[test]
fn a_full_daemon_stays_unchanged() {
    for generation in Generation::DAEMONS {
        let daemon = Daemon::start_with(generation, Setup { maxfds: 3, ..Setup::default() });
        let one = hold(["one"]);
        wire::set_dump(&daemon.path, &one).unwrap();
        let before = identities(&wire::get_dump(&daemon.path).unwrap());
        for (options, what) in [
            ("-t0", "store fd for id c: Too many open files in system"),
            ("-r", "replace what is held: Too many open files in system"),
        ] {
            let files = memfds(4);
            let mut command = import(&files, Some(b"a:b:c:d"));
            let ended = run(command.arg(options).arg(&daemon.path));
            let line = fatal(&format!("unable to {what}"));
            assert_eq!(ending(&ended), (1, "", &line[..]), "{generation:?}");
            assert!(same_dump(&identities(&wire::get_dump(&daemon.path).unwrap()), &before));
        }
    }
}

#[test]
fn storing_and_replacing_need_their_own_rights() {
    const DENIED: &str = "Operation not permitted";
    for generation in Generation::DAEMONS {
        for (rights, option, expected) in [
            (&[GETDUMP, STORE][..], "-t0", None),
            (&[GETDUMP, SETDUMP], "-r", None),
            (
                &[GETDUMP, SETDUMP, LIST, RETRIEVE],
                "-t0",
                Some(format!(
                    "store fd for id a: {DENIED} (the right S6_FDHOLDER_STORE_REGEX is missing)"
                )),
            ),
            (
                &[GETDUMP, STORE, LIST, RETRIEVE],
                "-r",
                Some(format!(
                    "replace what is held: {DENIED} (the right S6_FDHOLDER_SETDUMP is \
                     missing)"
                )),
            ),
        ] {
            let setup = Setup { rights: Some(rights), ..Setup::default() };
            let daemon = Daemon::start_with(generation, setup);
            let files = memfds(2);
            let ended = run(import(&files, Some(b"a:b")).arg(option).arg(&daemon.path));
            let count = wire::get_dump(&daemon.path).unwrap().len();
            match expected {
                None => assert_eq!((ending(&ended), count), ((0, "", ""), 2)),
                Some(expected) => {
                    let line = fatal(&format!("unable to {expected}"));
                    assert_eq!((ending(&ended), count), ((1, "", &line[..]), 0));
                }
            }
        }
    }
}

#[test]
fn invalid_variables_and_those_of_another_process_are_exit_100() {
    let own = "LISTEN_PID=$$";
    let missing = |name: &str| format!("{name} not set");
    let invalid = |name: &str| format!("invalid ${name}");
    let foreign = |name: &str| format!("${name} names another process");
    // A command for the shell, and the expected error.
    let cases: Vec<(String, String)> = [
        ("unset LISTEN_FDS;", missing("LISTEN_FDS")),
        ("LISTEN_FDS=", invalid("LISTEN_FDS")),
        ("LISTEN_FDS=0", invalid("LISTEN_FDS")),
        ("LISTEN_FDS=-1", invalid("LISTEN_FDS")),
        ("LISTEN_FDS=+1", invalid("LISTEN_FDS")),
        ("LISTEN_FDS=1x", invalid("LISTEN_FDS")),
        ("LISTEN_FDS=\\ 1", invalid("LISTEN_FDS")),
        ("LISTEN_FDS=2147483645", invalid("LISTEN_FDS")),
        ("LISTEN_FDS=4294967298", invalid("LISTEN_FDS")),
        ("LISTEN_FDS=18446744073709551618", invalid("LISTEN_FDS")),
        ("LISTEN_FDS=3", "$LISTEN_FDS is 3, but number 5 is not open".into()),
        ("LISTEN_FDS=2147483644", "$LISTEN_FDS is 2147483644, but number 5 is not open".into()),
        ("LISTEN_FDNAMES=a:b:c", invalid("LISTEN_FDNAMES")),
        ("LISTEN_FDNAMES=::", invalid("LISTEN_FDNAMES")),
        ("LISTEN_PIDFDID=1", foreign("LISTEN_PIDFDID")),
        ("LISTEN_PIDFDID=", foreign("LISTEN_PIDFDID")),
        ("LISTEN_PIDFDID=18446744073709551616", foreign("LISTEN_PIDFDID")),
        ("unset LISTEN_PID;", missing("LISTEN_PID")),
        ("LISTEN_PID=", invalid("LISTEN_PID")),
        ("LISTEN_PID=x", invalid("LISTEN_PID")),
        ("LISTEN_PID=1", foreign("LISTEN_PID")),
        ("LISTEN_PID=$PPID", foreign("LISTEN_PID")),
        ("LISTEN_PID=${$}0", foreign("LISTEN_PID")),
        (
            "LISTEN_FDNAMES=a:a:a#2 LISTEN_FDS=3",
            "$LISTEN_FDS is 3, but number 5 is not open".into(),
        ),
        ("LISTEN_FDNAMES=a#2:a", String::new()),
    ]
    .map(|(first, due)| {
        (format!("export {own}; export {first}").replace("export unset", "unset"), due)
    })
    .into();
    for (first, due) in cases {
        for option in ["-t0", "-r"] {
            let fake = Fake::start(vec![Step::HangUp]);
            let files = memfds(2);
            let mut command =
                import_through(&files, None, &format!("{first};").replace(";;", ";"), "");
            command.env("LISTEN_FDS", "2");
            let ended = run(command.arg(option).arg(&fake.path));
            let connected = fake.seen().connected;
            let is_unknown = due.contains("PIDFDID") && !has_unique_id();
            if due.is_empty() || is_unknown {
                assert!(connected, "{first}");
            } else {
                assert_eq!(ending(&ended), (100, "", &fatal(&due)[..]), "{first}");
                assert!(!connected, "{first}");
            }
        }
    }
}

#[test]
fn equal_or_too_long_identifiers_are_refused_before_anything_is_stored() {
    let long = |length| "x".repeat(length);
    let prefix = "p".repeat(3000);
    let cases = [
        ("a:a:a#2".to_string(), "", 100, "two descriptors would have id a#2".to_string()),
        ("a#2:a:a".to_string(), "p:", 100, "two descriptors would have id p:a#2".into()),
        (
            format!("a:{}", long(256)),
            "",
            1,
            format!("unable to store fd for id {}: File name too long", long(256)),
        ),
        (
            format!("a:{}", long(254)),
            "p:",
            1,
            format!("unable to store fd for id p:{}: File name too long", long(254)),
        ),
        (
            format!("{0}:{0}", long(254)),
            "",
            1,
            format!("unable to store fd for id {}#2: File name too long", long(254)),
        ),
        (
            format!("{}:a", long(3000)),
            "",
            1,
            format!("unable to store fd for id {}: File name too long", long(3000)),
        ),
        (
            format!("a:{}", long(2000)),
            "p:",
            1,
            format!("unable to store fd for id p:{}: File name too long", long(2000)),
        ),
        // The prefix alone is too long.
        (
            "a:b".into(),
            &prefix,
            1,
            format!("unable to store fd for id {prefix}a: File name too long"),
        ),
    ];
    for (names, prefix, code, expected) in cases {
        for option in ["-t0", "-r"] {
            let fake = Fake::start(vec![]);
            let files = memfds(names.split(':').count());
            let mut command = import(&files, Some(names.as_bytes()));
            let ended = run(command.args([option, "-p", prefix]).arg(&fake.path));
            assert_eq!(ending(&ended), (code, "", &fatal(&expected)[..]));
            assert!(!fake.seen().connected);
        }
    }
}

/// strace makes a call of the tool fail. The daemon does not notice that.
#[test]
fn entries_that_were_stored_are_deleted_if_a_call_fails() {
    for generation in Generation::DAEMONS {
        for (answer, why) in [
            ("recvmsg:error=ECONNRESET:when=3", "connection closed"),
            ("recvmsg:error=ENOMEM:when=3", "Cannot allocate memory"),
            ("sendmsg:error=ENOMEM:when=3", "Cannot allocate memory"),
        ] {
            let daemon = Daemon::start(generation);
            let dir = TempDir::new().unwrap();
            let answers = ["getpid:retval=77".to_string(), answer.into()];
            let traced = strace(&dir.child("trace"), &answers);
            let files = memfds(4);
            let mut command = import_through(&files, Some(b"a:b:c:d"), "LISTEN_PID=77", "");
            let mut shell = Command::new("bash");
            // The program and its name follow the script.
            let words: Vec<_> = command.get_args().map(OsStr::to_os_string).collect();
            shell.args(&words[..2]).arg(traced.get_program()).args(traced.get_args());
            shell.args(&words[3..]).arg(&daemon.path).stdin(Stdio::null());
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => shell.env(name, value),
                    None => shell.env_remove(name),
                };
            }
            command = shell;
            let ended = run(&mut command);
            let expected = |doubt| fatal(&format!("unable to store fd for id c: {why}{doubt}"));
            let left: Vec<_> = held(&daemon.path).into_iter().map(|(id, _)| id).collect();
            // The tool asks whether the daemon holds `c`, and deletes it then. The daemon may store it later.
            let is_deleted = ended.err == expected("") && left.is_empty();
            let is_in_doubt = ended.err == expected("; it may have been done")
                && (left.is_empty() || left == [b"c"]);
            assert!(is_deleted || is_in_doubt, "{generation:?} {left:?} {}", ended.err);
        }
    }
}

#[test]
fn after_a_disconnect_the_tool_connects_again_to_delete_its_entries() {
    let dir = TempDir::new().unwrap();
    let listener = UnixListener::bind(dir.child("s")).unwrap();
    let daemon = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        for _ in 0..2 {
            wire::receive_frame(&stream).unwrap();
            wire::send(&stream, &status(0), &[]).unwrap();
        }
        wire::receive_frame(&stream).unwrap();
        drop(stream);
        let (stream, _) = listener.accept().unwrap();
        [libc::ENOENT as u8, 0, 0].map(|answer| {
            let (request, _) = wire::receive_frame(&stream).unwrap();
            wire::send(&stream, &status(answer), &[]).unwrap();
            request
        })
    });
    let files = memfds(3);
    let ended = run(import(&files, Some(b"a:b:c")).arg("-t20000").arg(dir.child("s")));
    let line = fatal("unable to store fd for id c: connection closed; it may have been done");
    assert_eq!(ending(&ended), (1, "", &line[..]));
    // The tool deletes `c` only if the daemon holds it.
    let [a, b] = [&b"a"[..], b"b"].map(wire::delete_request);
    assert_eq!(daemon.join().unwrap(), [b"R\0\x01c\0".to_vec(), a, b]);
}

#[test]
fn the_message_counts_entries_that_could_not_be_deleted() {
    let answers = |number: i32| Step::Send(status(number as u8), Vec::new());
    let two = || vec![Step::Receive, answers(0), Step::Receive, answers(0), Step::Receive];
    let busy = "Device or resource busy";
    let cases: Vec<(Vec<Step>, String)> = vec![
        (
            vec![answers(libc::EBUSY), Step::Receive, answers(0), Step::Receive, answers(0)],
            busy.into(),
        ),
        (
            vec![
                answers(libc::EBUSY),
                Step::Receive,
                answers(libc::ENOENT),
                Step::Receive,
                answers(0),
            ],
            busy.into(),
        ),
        (
            vec![
                answers(libc::EBUSY),
                Step::Receive,
                answers(libc::EPERM),
                Step::Receive,
                answers(0),
            ],
            format!("{busy}; of those before it 1 may still be held"),
        ),
        (
            vec![answers(libc::EBUSY), Step::Receive, Step::HangUp],
            format!("{busy}; of those before it 2 may still be held"),
        ),
        (
            vec![answers(libc::EBUSY), Step::Receive, answers(0), Step::Receive, Step::StopReading],
            format!("{busy}; of those before it 1 may still be held"),
        ),
        (
            vec![Step::StopReading],
            "Connection timed out; it may have been done; of those before it 2 may still be held"
                .into(),
        ),
    ];
    for (steps, expected) in cases {
        let fake = Fake::start(two().into_iter().chain(steps).collect());
        let files = memfds(3);
        let mut command = import(&files, Some(b"a:b:c"));
        let ended = run(command.arg("-t500").arg(&fake.path));
        let line = fatal(&format!("unable to store fd for id c: {expected}"));
        assert_eq!(ending(&ended), (1, "", &line[..]));
        fake.seen();
    }
    // With -r, the message has the number of acknowledged descriptors.
    let script =
        vec![Step::Receive, Step::Send(opened(1), vec![]), Step::Receive, answers(libc::EPERM)];
    let fake = Fake::start(script);
    let files = memfds(3);
    let ended = run(import(&files, None).args(["-r", "-p", "p:"]).arg(&fake.path));
    let line = "unable to replace what is held: Operation not permitted (the right \
                S6_FDHOLDER_SETDUMP is missing); 0 of 3 descriptors acknowledged";
    assert_eq!(ending(&ended), (1, "", &fatal(line)[..]));
    fake.seen();
}

#[test]
fn the_tool_works_with_closed_standard_descriptors() {
    let daemon = Daemon::start(Generation::Ours);
    for (redirections, _) in closed() {
        for option in ["-r", "-t0"] {
            let files = memfds(3);
            let mut command =
                import_through(&files, Some(b"a:b:c"), "LISTEN_PID=$$", &redirections);
            assert_eq!(run(command.arg(option).arg(&daemon.path)).code, 0, "{redirections}");
            assert_eq!(held(&daemon.path), expected(&[b"a", b"b", b"c"], &files), "{redirections}");
            let stream = UnixStream::connect(&daemon.path).unwrap();
            [b"a", b"b", b"c"].iter().for_each(|id| wire::delete(&stream, *id).unwrap());
        }
    }
}

/// The limit leaves no number for the connection.
#[test]
fn a_low_soft_limit_is_raised_and_a_low_hard_limit_is_reported() {
    let daemon = Daemon::start(Generation::Ours);
    for (limit, expected) in [("ulimit -Sn 6", 0), ("ulimit -Sn 6; ulimit -Hn 6", 111)] {
        let first = format!("{limit}; LISTEN_PID=$$");
        let files = memfds(3);
        let mut command = import_through(&files, None, &first, "");
        let ended = run(command.arg("-r").arg(&daemon.path));
        let what = format!(
            "unable to connect to a fd-holder daemon at {}: Too many open files",
            daemon.path.to_str().unwrap()
        );
        let line = if expected == 0 { String::new() } else { fatal(&what) };
        assert_eq!(ending(&ended), (expected, "", &line[..]));
    }
    assert_eq!(held(&daemon.path).len(), 3);
}

#[test]
fn a_valid_command_line_is_parsed_like_getopt_and_a_wrong_one_is_exit_100() {
    let dir = TempDir::new().unwrap();
    let path = dir.child("absent").into_os_string().into_vec();
    let path = String::from_utf8(path).unwrap();
    let right: &[&[&str]] = &[
        &["PATH"],
        &["--", "PATH"],
        &["-r", "-p", "", "PATH"],
        &["-rrpx", "-T5", "-t", "5", "PATH"],
        &["--replace", "--prefix", "x", "--expire=1", "--timeout=1", "PATH"],
    ];
    for case in right {
        let files = memfds(1);
        let mut command = import(&files, None);
        let ended = run(command.args(case.iter().map(|word| word.replace("PATH", &path))));
        let what = "unable to connect to a fd-holder daemon at ";
        let line = fatal(&format!("{what}{path}: No such file or directory"));
        assert_eq!(ending(&ended), (111, "", &line[..]), "{case:?}");
    }
    let wrong: &[&[&str]] = &[
        &[],
        &["-r"],
        &["-T", "x", "s"],
        &["-t", "", "s"],
        &["-D", "s"],
        &["--expire", "s"],
        &["s", "more"],
        &["-p"],
    ];
    let usage = format!(
        "{NAME}: usage: {NAME} [ -p prefix ] [ -r ] [ -T fdtimeout ] [ -t timeout ] socket\n"
    );
    for case in wrong {
        // The command line is checked before the variables.
        let ended = run(tool(NAME).args(*case).env_remove("LISTEN_FDS"));
        assert_eq!(ending(&ended), (100, "", &usage[..]), "{case:?}");
    }
}
