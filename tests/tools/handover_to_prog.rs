//! What retrieve and getdump pass to the program that they execute: descriptors, variables, and the state of
//! the caller.

use crate::kit::clients::Implementation::{self, Ours};
use crate::kit::clients::{End, REPORT_SCRIPT, Report, file, hold, same_dump, succeeded, words};
use crate::kit::daemon::{Daemon, Generation, Setup};
use crate::kit::fake::{self, Fake};
use crate::kit::process::{closed, inherited};
use crate::kit::raise_open_file_limit;
use crate::kit::tool::run;
use crate::kit::wire::{self, Held, Identity, identities, inode, label};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use temp_dir::TempDir;

for_each_implementation! {
    the_retrieved_descriptor_is_standard_input_of_prog
    prog_gets_no_other_descriptor
    prog_gets_its_arguments_unchanged
    prog_gets_the_environment_of_retrieve_unchanged
    prog_is_found_in_path_like_in_a_shell
    a_program_that_cannot_be_executed_is_exit_126_or_127
    retrieve_deletes_only_with_option_d
    prog_gets_the_signals_and_limits_of_the_caller
    the_tools_work_with_closed_standard_descriptors
    getdump_describes_its_open_descriptors_in_variables
    getdump_replaces_stale_variables_of_its_entries_only
}

/// Descriptors that the tests were started with may have numbers above this one. They do not matter for these
/// limits.
const LOW: usize = 10;

/// Daemons that hold a file with this text under `held`, each with the device and inode of the file.
fn holding(of: Implementation, text: &str) -> Vec<(Daemon, (u64, u64))> {
    let start = |daemon: Daemon| {
        let mut all = hold(["held"]);
        all[0].fd = file(text);
        wire::set_dump(&daemon.path, &all).unwrap();
        (daemon, inode(&all[0].fd))
    };
    of.daemons(Setup::default()).into_iter().map(start).collect()
}

/// A command that retrieves `held` and executes a program.
fn retrieve(of: Implementation, daemon: &Daemon, prog: &[&str]) -> Command {
    let mut command = of.command("retrieve");
    command.arg(&daemon.path).arg("held").args(prog);
    command
}

/// Both tools that execute a program, each with its operands in front of the program.
fn both(daemon: &Daemon) -> [(&'static str, Vec<OsString>); 2] {
    let path = daemon.path.as_os_str();
    [("retrieve", vec![path.into(), "held".into()]), ("getdump", vec![path.into()])]
}

fn the_retrieved_descriptor_is_standard_input_of_prog(of: Implementation) {
    for (daemon, inode) in holding(of, "some text\n") {
        for _ in 0..2 {
            let ended = run(&mut retrieve(of, &daemon, &["sh", "-c", REPORT_SCRIPT]));
            succeeded(&ended);
            assert_eq!(Report::parse(&ended.out).inode(0), inode);
        }
        // The tool does not move the position of the file: the second program reads on after the first.
        for expected in [&b"some text\n"[..], b""] {
            let ended = run(&mut retrieve(of, &daemon, &["cat"]));
            succeeded(&ended);
            assert_eq!(ended.out, expected);
        }
        assert_eq!(wire::get_dump(&daemon.path).unwrap().len(), 1);
    }
}

/// The numbers of the open descriptors.
fn numbers(report: &Report) -> Vec<u32> {
    report.open.iter().map(|(number, _)| *number).collect()
}

/// The report of a program that the test starts without a tool.
fn without_tool() -> Report {
    Report::parse(&run(Command::new("sh").args(["-c", REPORT_SCRIPT]).stdin(Stdio::null())).out)
}

fn prog_gets_no_other_descriptor(of: Implementation) {
    let report = |command: &mut Command| {
        let ended = run(command);
        succeeded(&ended);
        Report::parse(&ended.out)
    };
    let before = without_tool();
    for (daemon, _) in holding(of, "") {
        let after = report(&mut retrieve(of, &daemon, &["sh", "-c", REPORT_SCRIPT]));
        assert_eq!(numbers(&after), numbers(&before));
        let after =
            report(of.command("getdump").arg(&daemon.path).args(["sh", "-c", REPORT_SCRIPT]));
        assert_eq!(after.open.len(), before.open.len() + 1);
        assert_eq!(after.inode(0), before.inode(0));
    }
}

fn prog_gets_its_arguments_unchanged(of: Implementation) {
    let arguments =
        [&b"%s|"[..], b"-D", b"", b"--", b"two  words\n", b"\xff\xfe", b"-t5", b"--help"];
    let arguments = arguments.map(OsStr::from_bytes);
    for (daemon, _) in holding(of, "") {
        for (name, front) in both(&daemon) {
            let mut command = of.command(name);
            let ended = run(command.args(front).arg("printf").args(arguments));
            succeeded(&ended);
            assert_eq!(ended.out, b"-D||--|two  words\n|\xff\xfe|-t5|--help|", "{name}");
        }
    }
}

/// The environment of `env -0`, sorted.
fn environment(out: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = out.split_inclusive(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    all.iter_mut().for_each(|variable| variable.truncate(variable.len() - 1));
    all.sort();
    all
}

/// The command with exactly these variables, and `LD_LIBRARY_PATH` if it is a C program.
fn with_environment(mut command: Command, variables: &[(&[u8], &[u8])]) -> Command {
    let libraries = "LD_LIBRARY_PATH";
    let own = command.get_envs().find(|(name, _)| *name == libraries);
    let own = own.and_then(|(_, value)| value).map(OsStr::to_os_string);
    command.env_clear();
    if let Some(value) = own {
        command.env(libraries, value);
    }
    let variables = variables.iter();
    command.envs(variables.map(|(n, v)| (OsStr::from_bytes(n), OsStr::from_bytes(v))));
    command
}

/// Variables of every kind.
const VARIABLES: [(&[u8], &[u8]); 7] = [
    (b"PATH", b"/nowhere:/usr/bin:/bin"),
    (b"EMPTY", b""),
    (b"LINES", b"a\nb=c\n"),
    (b"BYTES", b"\xff\xfe\x01"),
    (b"odd name", b"x"),
    (b"S6_FDX", b"1"),
    (b"S6_FDHOLDER", b"2"),
];

fn prog_gets_the_environment_of_retrieve_unchanged(of: Implementation) {
    let own = [&VARIABLES[..], &[(b"S6_FD#", b"9"), (b"S6_FD_0", b"3")]].concat();
    for (daemon, _) in holding(of, "") {
        let mut expected = with_environment(Command::new("/usr/bin/env"), &own);
        if let Implementation::C(generation) = of {
            expected.env("LD_LIBRARY_PATH", generation.libraries());
        }
        let expected = environment(&run(expected.arg("-0")).out);
        let mut command = with_environment(retrieve(of, &daemon, &["env", "-0"]), &own);
        let ended = run(&mut command);
        succeeded(&ended);
        assert_eq!(environment(&ended.out), expected);
    }
}

fn prog_is_found_in_path_like_in_a_shell(of: Implementation) {
    let dir = TempDir::new().unwrap();
    let put = |path: &str, mode| {
        let path = dir.child(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\necho {}\n", path.display())).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    put("a/one", 0o755);
    put("b/one", 0o755);
    put("b/two", 0o755);
    put("closed/two", 0o644);
    put("one", 0o755);
    fs::create_dir_all(dir.child("folder/two")).unwrap();
    // PATH, the name of the program, and the file that is executed. DIR is the directory of the test. A name
    // with a slash is not searched in PATH.
    let rows = [
        ("DIR/a:DIR/b", "one", "a/one"),
        ("DIR/b:DIR/a", "one", "b/one"),
        ("DIR/a:DIR/b", "two", "b/two"),
        ("/nowhere:DIR/a/one:DIR/b", "two", "b/two"),
        ("DIR/closed:DIR/b", "two", "b/two"),
        ("DIR/folder:DIR/b", "two", "b/two"),
        ("DIR/a", "./one", "one"),
        ("DIR/a", "b/one", "b/one"),
        ("/nowhere", "DIR/b/two", "b/two"),
    ];
    for (daemon, _) in holding(of, "") {
        for (name, front) in both(&daemon) {
            for (path, prog, found) in rows {
                let here = dir.path().to_str().unwrap();
                let [path, prog] = [path, prog].map(|text| text.replace("DIR", here));
                let mut command = of.command(name);
                command.args(&front).arg(&prog).env("PATH", &path).current_dir(dir.path());
                let ended = run(&mut command);
                succeeded(&ended);
                let out = format!("{}\n", dir.child(found).display());
                assert_eq!(String::from_utf8(ended.out).unwrap(), out, "{name} {path} {prog}");
            }
        }
    }
}

fn a_program_that_cannot_be_executed_is_exit_126_or_127(of: Implementation) {
    let dir = TempDir::new().unwrap();
    let put = |path: &str, text: &str, mode| {
        fs::write(dir.child(path), text).unwrap();
        fs::set_permissions(dir.child(path), Permissions::from_mode(mode)).unwrap();
    };
    put("plain", "text\n", 0o644);
    put("text", "text\n", 0o755);
    put("lost", "#!/nowhere/sh\n", 0o755);
    fs::create_dir(dir.child("folder")).unwrap();
    let rows: [(&str, End); 9] = [
        ("absent", (127, "No such file or directory")),
        ("./absent", (127, "No such file or directory")),
        ("./lost", (127, "No such file or directory")),
        ("folder/absent", (127, "No such file or directory")),
        ("./plain", (126, "Permission denied")),
        ("plain", (126, "Permission denied")),
        ("./folder", (126, "Permission denied")),
        ("./text", (126, "Exec format error")),
        ("./plain/below", (126, "Not a directory")),
    ];
    for (daemon, _) in holding(of, "") {
        for (name, front) in both(&daemon) {
            for (prog, (code, reason)) in rows {
                let mut command = of.command(name);
                command.args(&front).arg(prog).current_dir(dir.path());
                // A missing folder in PATH does not change the reason.
                command.env("PATH", format!("/nowhere:{}:/bin", dir.path().display()));
                let ended = run(&mut command);
                let line = format!("s6-fdholder-{name}: fatal: unable to exec {prog}: {reason}\n");
                assert_eq!(
                    (ended.code, &ended.err[..], &ended.out[..]),
                    (code, &line[..], &b""[..])
                );
            }
        }
    }
}

fn retrieve_deletes_only_with_option_d(of: Implementation) {
    let rows: [(&[&str], usize); 6] = [
        (&[], 1),
        (&["-t500"], 1),
        (&["--"], 1),
        (&["-D"], 0),
        (&["-Dt500"], 0),
        (&["-t", "500", "-D", "--"], 0),
    ];
    for (options, left) in rows {
        for (daemon, _) in holding(of, "text") {
            let mut command = of.command("retrieve");
            let operands = words(&["PATH", "held", "cat", "-"], &daemon.path);
            let ended = run(command.args(options).args(operands));
            succeeded(&ended);
            assert_eq!(ended.out, b"text");
            assert_eq!(wire::get_dump(&daemon.path).unwrap().len(), left, "{options:?}");
        }
    }
}

/// A shell command that prints the blocked and ignored signals, and the limits on open files.
const STATE: &str = "grep -hE '^(Sig(Blk|Ign)|Max open files)' /proc/self/status /proc/self/limits";

fn prog_gets_the_signals_and_limits_of_the_caller(of: Implementation) {
    const ENV: [&str; 4] = ["env", "--block-signal=USR1,TERM", "--ignore-signal=PIPE,HUP", "sh"];
    for (daemon, _) in holding(of, "") {
        for limit in ["ulimit -Sn 64;", "ulimit -n 77;", ""] {
            let first = format!("{limit} exec \"$0\" \"$@\"");
            let mut other = ENV.to_vec();
            other.extend(["-c", &first]);
            let state = ["sh", "-c", STATE];
            let mut expected = Command::new(other[0]);
            let expected = run(expected.args(&other[1..]).args(state)).out;
            assert_eq!(expected.iter().filter(|byte| **byte == b'\n').count(), 3);
            for (name, front) in both(&daemon) {
                let ended = run(of.behind(&other, name).args(front).args(state));
                succeeded(&ended);
                let text = String::from_utf8_lossy;
                assert_eq!(text(&ended.out), text(&expected), "{name} {limit}");
            }
        }
    }
}

fn the_tools_work_with_closed_standard_descriptors(of: Implementation) {
    for (daemon, held) in holding(of, "") {
        for (redirections, _) in closed() {
            let dir = TempDir::new().unwrap();
            let script = format!("{{ {REPORT_SCRIPT}; }} >\"$0\"");
            let out = dir.child("out");
            for (name, front) in both(&daemon) {
                // The shell redirects the output of the script to a file.
                let mut command = of.through("", &redirections, name);
                command.args(front).args(["sh", "-c", &script]).arg(&out);
                assert_eq!(run(&mut command).code, 0, "{name} {redirections}");
                let report = Report::parse(&fs::read(&out).unwrap());
                let found = match name {
                    "retrieve" => report.inode(0) == held,
                    // Its number may be one that the shell has redirected.
                    _ => report.open.iter().any(|(_, inode)| *inode == held),
                };
                assert!(found, "{of:?} {name} {redirections}: {:?}", report.open);
            }
        }
    }
}

/// A label that counts as never, different for each number.
fn never(number: usize) -> [u8; 12] {
    label((1 << 62) + (1 << 61) + 4_000_000_000, number as u32)
}

/// `count` entries with all kinds of identifiers. Every third one never expires.
fn various_entries(count: usize, longest: usize) -> Vec<Held> {
    raise_open_file_limit();
    let id = |number: usize| match number % 5 {
        0 => format!("{number:0>longest$}").into_bytes(),
        1 => format!("two  spaces, and one behind {number} ").into_bytes(),
        2 => format!("\n{number}=\n\tlines\r\n").into_bytes(),
        3 => [&[0xff, 0xfe, 0xc3, 0x28, 0x80], number.to_string().as_bytes()].concat(),
        _ => format!("{number}").into_bytes(),
    };
    let mut entries = hold((0..count).map(id));
    for (number, held) in entries.iter_mut().enumerate().step_by(3) {
        held.expiry = never(number);
    }
    entries
}

/// The entries that the variables describe. The variables are removed from the report.
fn take_described(report: &mut Report) -> Vec<Identity> {
    let mut variables = BTreeMap::new();
    for variable in &report.environment {
        let at = variable.iter().position(|byte| *byte == b'=').unwrap();
        variables.insert(variable[..at].to_vec(), variable[at + 1..].to_vec());
    }
    let text = |value: Vec<u8>| String::from_utf8(value).unwrap();
    let mut take = |name: String| variables.remove(name.as_bytes());
    let count = text(take("S6_FD#".into()).expect("S6_FD#"));
    let mut all = Vec::new();
    for at in 0..count.parse().unwrap() {
        let number = text(take(format!("S6_FD_{at}")).expect("a number"));
        let id = take(format!("S6_FDID_{at}")).expect("an identifier");
        let expiry = match take(format!("S6_FDLIMIT_{at}")).map(text) {
            None => never(0),
            Some(limit) => {
                let digits = limit.strip_prefix('@').expect("an @");
                assert!(digits.len() == 24 && digits == digits.to_lowercase(), "{limit}");
                let value = u128::from_str_radix(digits, 16).unwrap();
                *value.to_be_bytes().last_chunk().unwrap()
            }
        };
        all.push((id, expiry, report.inode(number.parse().unwrap())));
    }
    report.environment = variables.into_iter().map(|(n, v)| [&n[..], b"=", &v].concat()).collect();
    all.sort();
    all
}

fn getdump_describes_its_open_descriptors_in_variables(of: Implementation) {
    // The C tool crashes with long identifiers.
    let longest = if of == Ours { 255 } else { 40 };
    for generation in of.generations() {
        for count in [0, 1, 2, 253, 254, 900] {
            if !of.can_receive_dump(count, generation) {
                continue;
            }
            let daemon = Daemon::start(generation);
            // A C daemon that cannot send a frame in one piece sends it twice.
            let is_in_one_piece = count <= 253 || generation == Generation::Ours;
            let longest = if is_in_one_piece { longest } else { longest.min(100) };
            let entries = various_entries(count, longest);
            wire::set_dump(&daemon.path, &entries).unwrap();
            // With the limit of the tests, and with a lower soft limit, which the tool has to raise.
            for limit in [String::new(), format!("ulimit -Sn {};", count + 40)] {
                let mut command = of.through(&limit, "", "getdump");
                command.arg(&daemon.path).args(["sh", "-c", REPORT_SCRIPT]);
                let ended = run(&mut with_environment(command, &VARIABLES));
                succeeded(&ended);
                let mut report = Report::parse(&ended.out);
                let open = report.open.len();
                assert!(same_dump(&take_described(&mut report), &identities(&entries)), "{count}");
                assert_eq!(open, without_tool().open.len() + count, "{limit}");
                let mut names = VARIABLES.map(|(name, value)| [name, b"=", value].concat());
                names.sort();
                // The shell that sets the limit drops the variable with a space in its name.
                let own = |name: &&Vec<u8>| VARIABLES.iter().any(|(n, _)| name.starts_with(n));
                let found: Vec<_> = report.environment.iter().filter(own).collect();
                assert!(found.into_iter().eq(names.iter().filter(|n| !n.starts_with(b"odd"))));
            }
        }
    }
}

fn getdump_replaces_stale_variables_of_its_entries_only(of: Implementation) {
    // There are three entries, of which the first never expires. Variables of further entries stay.
    let stale: &[(&[u8], &[u8])] = &[
        (b"PATH", b"/usr/bin:/bin"),
        (b"S6_FD#", b"77"),
        (b"S6_FD_0", b"stale"),
        (b"S6_FDID_0", b"stale"),
        (b"S6_FDLIMIT_0", b"@stale"),
        (b"S6_FDLIMIT_1", b"@stale"),
        (b"S6_FDLIMIT_2", b"@stale"),
        (b"S6_FD_3", b"stays"),
        (b"S6_FDID_3", b"stays"),
        (b"S6_FDLIMIT_3", b"stays"),
        (b"S6_FDLIMIT_00", b"stays"),
        (b"S6_FD_", b"stays"),
    ];
    for daemon in of.daemons(Setup::default()) {
        let entries = various_entries(3, 40);
        wire::set_dump(&daemon.path, &entries).unwrap();
        let mut command = of.command("getdump");
        command.arg(&daemon.path).args(["sh", "-c", REPORT_SCRIPT]);
        let ended = run(&mut with_environment(command, stale));
        succeeded(&ended);
        let mut report = Report::parse(&ended.out);
        // No variable is set twice.
        let mut names: Vec<_> =
            report.environment.iter().map(|v| v.split(|byte| *byte == b'=').next()).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(same_dump(&take_described(&mut report), &identities(&entries)));
        let stays: Vec<_> = report.environment.iter().filter(|v| v.ends_with(b"=stays")).collect();
        assert_eq!(stays.len(), 5, "{stays:?}");
        assert!(!report.environment.iter().any(|v| v.ends_with(b"stale")));
    }
}

#[test]
fn a_low_soft_limit_is_raised_to_receive_and_restored_for_prog() {
    let limits = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        let line = text.lines().find(|line| line.starts_with("Max open files"));
        line.unwrap_or_else(|| panic!("{text}")).to_string()
    };
    let open = inherited().into_iter().filter(|number| *number < LOW).count();
    for daemon in Ours.daemons(Setup::default()) {
        let entries = various_entries(250, 40);
        wire::set_dump(&daemon.path, &entries).unwrap();
        let id = OsString::from_vec(entries[3].id.clone());
        // The limits leave room for only the connection, and for a part of the dump.
        for (name, soft) in [("retrieve", open + 1), ("getdump", 100)] {
            let limit = format!("ulimit -Sn {soft};");
            let cat = ["cat", "/proc/self/limits"];
            let expected = run(Command::new("sh")
                .args(["-c", &format!("{limit} exec \"$0\" \"$@\"")])
                .args(cat));
            let mut command = Ours.through(&limit, "", name);
            command.arg(&daemon.path);
            if name == "retrieve" {
                command.arg(&id);
            }
            let ended = run(command.args(cat));
            succeeded(&ended);
            assert_eq!(limits(&ended.out), limits(&expected.out), "{name}");
        }
    }
}

#[test]
fn a_soft_limit_of_0_is_restored_for_prog() {
    // A shell that cannot load its C library prints nothing.
    let prog = ["sh", "-c", "ulimit -Sn"];
    let limit = "ulimit -Sn 0;";
    let expected =
        run(Command::new("sh").args(["-c", &format!("{limit} exec \"$0\" \"$@\"")]).args(prog));
    for (daemon, _) in holding(Ours, "") {
        let mut command = Ours.through(limit, "", "retrieve");
        let ended = run(command.arg(&daemon.path).arg("held").args(prog));
        assert_eq!((ended.code, &ended.out), (expected.code, &expected.out), "{}", ended.err);
    }
}

#[test]
fn retrieve_deletes_nothing_that_it_cannot_receive() {
    // The C tool deletes the entry and cannot receive the descriptor, so it is lost.
    let open = inherited().into_iter().filter(|number| *number < LOW).count();
    for hard in open..=open + 4 {
        for (daemon, _) in holding(Ours, "text") {
            let limit = format!("ulimit -n {hard};");
            let mut command = Ours.through(&limit, "", "retrieve");
            command.arg("-D").args(words(&["PATH", "held", "cat"], &daemon.path));
            let ended = run(&mut command);
            let left = wire::get_dump(&daemon.path).unwrap().len();
            if hard >= open + 2 {
                succeeded(&ended);
                assert_eq!((&ended.out[..], left), (&b"text"[..], 0));
                continue;
            }
            assert_eq!((ended.code, left), (111, 1), "limit {hard}: {}", ended.err);
            let begin = "s6-fdholder-retrieve: fatal: unable to ";
            let right = ended.err.starts_with(begin) && ended.err.contains(": Too many open files");
            assert!(right && ended.out.is_empty(), "{}", ended.err);
        }
    }
}

#[test]
fn a_dump_above_the_hard_limit_is_exit_111() {
    for daemon in Ours.daemons(Setup::default()) {
        wire::set_dump(&daemon.path, &various_entries(200, 40)).unwrap();
        for hard in [20, 100, 200] {
            let mut command = Ours.through(&format!("ulimit -n {hard};"), "", "getdump");
            let ended = run(command.arg(&daemon.path).args(["echo", "executed"]));
            assert_eq!((ended.code, &ended.out[..]), (111, &b""[..]), "{}", ended.err);
            let begin = "s6-fdholder-getdump: fatal: unable to get dump: Too many open files";
            assert!(ended.err.starts_with(begin), "{}", ended.err);
        }
    }
}

#[test]
fn variables_may_be_as_large_as_the_kernel_allows() {
    raise_open_file_limit();
    // The kernel allows a quarter of the stack limit, but at least 128 KiB.
    for (count, stack, fits) in [(900, 8192, true), (300, 256, true), (900, 256, false)] {
        let all = fake::files_to_hold(count, 255);
        let daemon = Fake::start(fake::source(&all));
        let mut command = Ours.through(&format!("ulimit -s {stack};"), "", "getdump");
        command.arg(&daemon.path).args(["sh", "-c", REPORT_SCRIPT]);
        let ended = run(&mut with_environment(command, &VARIABLES));
        assert!(!daemon.seen().bytes.is_empty());
        if fits {
            succeeded(&ended);
            let found = take_described(&mut Report::parse(&ended.out));
            assert!(found == identities(&all), "{count}");
        } else {
            let line = "s6-fdholder-getdump: fatal: unable to exec sh: Argument list too long\n";
            assert_eq!((ended.code, &ended.err[..], &ended.out[..]), (111, line, &b""[..]));
        }
    }
}

#[test]
fn a_tool_that_fails_executes_nothing() {
    for daemon in Ours.daemons(Setup::default()) {
        let row = words(&["PATH", "absent", "echo", "executed"], &daemon.path);
        let ended = run(Ours.command("retrieve").args(row));
        assert_eq!((ended.code, &ended.out[..]), (1, &b""[..]));
        let row = words(&["PATH", "echo", "executed"], Path::new("/absent"));
        let ended = run(Ours.command("getdump").args(row));
        assert_eq!((ended.code, &ended.out[..]), (111, &b""[..]));
    }
}
