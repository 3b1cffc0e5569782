//! Command lines of the program and of transferdump, the names of the program, installed links, and sockets
//! that cannot be connected to: messages and exit codes.

use crate::kit::fake::{Fake, Step, files_to_hold, source, status, transfer};
use crate::kit::strace::strace;
use crate::kit::tool::{Ended, run, tool};
use crate::kit::{program, random_cases};
use argh::FromArgs;
use proptest::prelude::*;
use rustix::process::geteuid;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use temp_dir::TempDir;

/// The definition of the command line, from which the build makes the option table of the program.
mod cli {
    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/applets/transferdump/cli.rs"));
}

const NAME: &str = "s6-fdholder-transferdump";
const USAGE: &str = "s6-fdholder-transferdump: usage: s6-fdholder-transferdump \
                     [ -t timeoutfrom:timeoutto ] socketfrom socketto\n";

/// Exit code, standard output and standard error.
fn ending(ended: &Ended) -> (i32, &str, &str) {
    (ended.code, std::str::from_utf8(&ended.out).unwrap(), &ended.err)
}

/// The message if there is no source at this path.
fn no_source(path: &str) -> String {
    format!(
        "{NAME}: fatal: unable to connect to a source fd-holder daemon at {path}: No such file or \
         directory\n"
    )
}

#[test]
fn a_valid_command_line_is_parsed_like_getopt() {
    // The last column is the operand that is the source. The file does not exist. The program reports that
    // only if it accepts the command line.
    let cases: &[(&[&str], &str)] = &[
        (&["a", "b"], "a"),
        (&["-t", "5", "a", "b"], "a"),
        (&["-t5", "a", "b"], "a"),
        (&["-t", "5:", "a", "b"], "a"),
        (&["-t5:", "a", "b"], "a"),
        (&["-t", ":5", "a", "b"], "a"),
        (&["-t:5", "a", "b"], "a"),
        (&["-t", ":", "a", "b"], "a"),
        (&["-t", "5:6", "a", "b"], "a"),
        (&["-t5:6", "a", "b"], "a"),
        (&["-t", "0", "a", "b"], "a"),
        (&["-t", "0:0", "a", "b"], "a"),
        (&["-t", "4294967295:4294967295", "a", "b"], "a"),
        (&["--timeout", "5:6", "a", "b"], "a"),
        (&["--timeout=5:6", "a", "b"], "a"),
        (&["--timeout=:", "a", "b"], "a"),
        (&["-t", "1:2", "--timeout=3", "-t4", "a", "b"], "a"),
        (&["--", "a", "b"], "a"),
        (&["-t", "5", "--", "a", "b"], "a"),
        (&["--", "-x", "b"], "-x"),
        (&["--", "--help", "b"], "--help"),
        (&["--", "--", "b"], "--"),
        (&["-", "b"], "-"),
        (&["a", "-t"], "a"),
        (&["a", "-x"], "a"),
        (&["a", "--help"], "a"),
        (&["a", "--"], "a"),
        (&["a", "b", "c"], "a"),
        (&["a", "b", "-x", "--nonsense", "--help"], "a"),
    ];
    let empty = TempDir::new().unwrap();
    for (arguments, path) in cases {
        let ended = run(tool(NAME).args(*arguments).current_dir(empty.path()));
        assert_eq!(ending(&ended), (111, "", &no_source(path)[..]), "{arguments:?}");
    }
}

#[test]
fn a_wrong_command_line_gets_the_usage_line_and_exit_100() {
    let cases: &[&[&str]] = &[
        &[],
        &["a"],
        &["--"],
        &["--", "a"],
        &["--", "--help"],
        &["-t", "5"],
        &["-t", "5", "a"],
        &["-t5", "a"],
        &["-t"],
        &["--timeout"],
        &["--timeout="],
        &["-t", "a", "b"],
        &["-t", "--", "a", "b"],
        &["-t", "--help", "a", "b"],
        &["-t", "", "a", "b"],
        &["--timeout=", "a", "b"],
        &["-t", "x", "a", "b"],
        &["-tx", "a", "b"],
        &["-t", "5x", "a", "b"],
        &["-t", "5:x", "a", "b"],
        &["-t", "0x5", "a", "b"],
        &["-t", "5:6:7", "a", "b"],
        &["-t", "::", "a", "b"],
        &["-t", "5,6", "a", "b"],
        &["-t", "4294967296", "a", "b"],
        &["-t", "4294967296:", "a", "b"],
        &["-t", ":4294967296", "a", "b"],
        &["-t", "18446744073709551616", "a", "b"],
        &["-t", "-5", "a", "b"],
        &["-t-5", "a", "b"],
        &["-t", "5:-6", "a", "b"],
        &["-t", "+5", "a", "b"],
        &["-t", " 5", "a", "b"],
        &["-t", "5 ", "a", "b"],
        &["-t", "5.0", "a", "b"],
        &["-t", "5", "-t", "x", "a", "b"],
        &["-t", "5", "-t", "", "a", "b"],
        &["-x", "a", "b"],
        &["-h", "a", "b"],
        &["-T", "5", "a", "b"],
        &["-xt5", "a", "b"],
        &["-t", "5", "-x", "a", "b"],
        &["--nonsense", "a", "b"],
        &["--nonsense=1", "a", "b"],
        &["--timeouts", "5", "a", "b"],
        &["--help=x", "a", "b"],
        &["--help=", "a", "b"],
        &["---help", "a", "b"],
        &["-help", "a", "b"],
        &["--nonsense", "--help"],
    ];
    for arguments in cases {
        let ended = run(tool(NAME).args(*arguments));
        assert_eq!(ending(&ended), (100, "", USAGE), "{arguments:?}");
    }
}

#[test]
fn an_option_that_is_not_utf_8_is_wrong_usage() {
    for argument in [&b"-\xff"[..], b"--\xff", b"-t\xff"] {
        let ended = run(tool(NAME).arg(OsStr::from_bytes(argument)).args(["a", "b"]));
        assert_eq!(ending(&ended), (100, "", USAGE), "{argument:?}");
    }
}

#[test]
fn help_is_printed_if_it_stands_among_the_options() {
    let cases: &[&[&str]] = &[
        &["--help"],
        &["--help", "a", "b"],
        &["--help", "--nonsense"],
        &["-t", "5", "--help"],
        &["-t5", "--timeout=6", "--help", "a"],
    ];
    for arguments in cases {
        let ended = run(tool(NAME).args(*arguments));
        let (code, out, err) = ending(&ended);
        assert_eq!((code, err), (0, ""), "{arguments:?}");
        let usage = USAGE.strip_prefix("s6-fdholder-transferdump: ").unwrap();
        assert!(out.starts_with(usage), "{out}");
        for part in [
            "\n  -t timeoutfrom:timeoutto, --timeout\n",
            "\n  socketfrom\n",
            "\n  socketto\n",
            "\nexit:\n  0   ",
            "\n  1   ",
            "\n  2   ",
            "\n  100",
            "\n  111",
            "\nexample:\n  s6-fdholder-transferdump ",
        ] {
            assert!(out.contains(part), "{part:?} is missing in\n{out}");
        }
        assert!(out.ends_with('\n') && out.lines().skip(1).all(|line| line.len() < 80), "{out}");
    }
}

/// Runs the program under this name.
fn called(name: &str, arguments: &[&str]) -> Ended {
    run(Command::new(program()).arg0(name).args(arguments))
}

#[test]
fn a_tool_is_selected_by_each_of_its_names() {
    for name in [
        NAME,
        "fdholder-transferdump",
        "/no/such/s6-fdholder-transferdump",
        "./fdholder-transferdump",
        "//s6-fdholder-transferdump",
    ] {
        assert_eq!(ending(&called(name, &[])), (100, "", USAGE), "{name}");
        assert_eq!(ending(&called(name, &["/no/a", "/no/b"])), (111, "", &no_source("/no/a")[..]));
    }
    for name in ["fdholder", "/usr/bin/fdholder", "../fdholder"] {
        for first in [NAME, "fdholder-transferdump", "transferdump"] {
            assert_eq!(ending(&called(name, &[first])), (100, "", USAGE), "{name} {first}");
            let ended = called(name, &[first, "-t5", "--", "/no/a", "/no/b"]);
            assert_eq!(ending(&ended), (111, "", &no_source("/no/a")[..]), "{name} {first}");
            assert_eq!(called(name, &[first, "--help"]).code, 0, "{name} {first}");
        }
    }
}

#[test]
fn a_name_may_have_a_prefix_character_and_a_suffix() {
    // Login shells, programs that systemd does not kill in an initramfs, wrappers and packages use such
    // names.
    for name in [
        "-s6-fdholder-transferdump",
        "-fdholder-transferdump",
        "@s6-fdholder-transferdump",
        "@/usr/bin/s6-fdholder-transferdump",
        "/usr/bin/@s6-fdholder-transferdump",
        ".s6-fdholder-transferdump-wrapped",
        "/bin/.s6-fdholder-transferdump-wrapped__",
        ".s6-fdholder-transferdump-real",
        "s6-fdholder-transferdump.static",
        "fdholder-transferdump-1.2",
        "s6-fdholder-transferdump-x86_64",
    ] {
        assert_eq!(ending(&called(name, &[])), (100, "", USAGE), "{name}");
        assert_eq!(ending(&called(name, &["/no/a", "/no/b"])), (111, "", &no_source("/no/a")[..]));
    }
    for name in [
        "-fdholder",
        "@fdholder",
        ".fdholder-wrapped",
        "fdholder-x86_64",
        "/opt/fdholder-1.2",
        "fdholder.static",
        "fdholder_64",
        "fdholder2",
        "@/bin/fdholder.old",
    ] {
        assert_eq!(ending(&called(name, &["transferdump"])), (100, "", USAGE), "{name}");
        let ended = called(name, &["transferdump", "/no/a", "/no/b"]);
        assert_eq!(ending(&ended), (111, "", &no_source("/no/a")[..]), "{name}");
        assert_eq!(called(name, &["--list"]).out, called("fdholder", &["--list"]).out, "{name}");
    }
}

#[test]
fn an_unknown_name_is_reported_in_one_line_with_exit_100() {
    // The name, the arguments, and what the message must name. Newer kernels turn an empty argument list
    // into one empty name, so the empty name stands for both.
    let cases: &[(&str, &[&str], &str)] = &[
        ("", &[], ""),
        ("", &["transferdump", "/no/a", "/no/b"], ""),
        ("/", &[], ""),
        ("fdholder/", &["transferdump"], ""),
        ("transferdump", &["/no/a", "/no/b"], "transferdump"),
        ("s6-transferdump", &[], "s6-transferdump"),
        ("s6-s6-fdholder-transferdump", &[], "s6-s6-fdholder-transferdump"),
        ("s6-fdholder-transferdumps", &[], "s6-fdholder-transferdumps"),
        ("s6-fdholder-transferdum", &[], "s6-fdholder-transferdum"),
        ("S6-fdholder-transferdump", &[], "S6-fdholder-transferdump"),
        ("s6-fdholder", &["--list"], "s6-fdholder"),
        ("a\nb", &[], "a\\nb"),
        ("fdholders", &["--list"], "fdholders"),
        ("fdholderx.static", &["transferdump"], "fdholderx.static"),
        ("--s6-fdholder-list", &[], "--s6-fdholder-list"),
        ("-", &[], "-"),
        ("@", &["transferdump"], "@"),
        (".s6-fdholder-lists-wrapped", &[], ".s6-fdholder-lists-wrapped"),
        ("s6-fdholder-x86_64", &[], "s6-fdholder-x86_64"),
        ("fdholder", &["transferdump.static"], "transferdump.static"),
        ("fdholder", &["@transferdump"], "@transferdump"),
        ("fdholder-1.2", &["-transferdump"], "-transferdump"),
        ("fdholder", &["unknown"], "unknown"),
        ("fdholder", &[""], ""),
        ("fdholder", &["fdholder"], "fdholder"),
        ("fdholder", &["s6-transferdump"], "s6-transferdump"),
        ("fdholder", &["/bin/transferdump"], "/bin/transferdump"),
        ("fdholder", &["--nonsense"], "--nonsense"),
        ("fdholder", &["-t", "5"], "-t"),
    ];
    for (name, arguments, named) in cases {
        let ended = called(name, arguments);
        let (code, out, err) = ending(&ended);
        assert_eq!((code, out), (100, ""), "{name:?} {arguments:?}: {err}");
        let line = err.strip_prefix("fdholder: ").and_then(|line| line.strip_suffix('\n'));
        let line = line.unwrap_or_else(|| panic!("{name:?} {arguments:?}: {err:?}"));
        assert!(!line.contains('\n') && line.contains(named), "{name:?} {arguments:?}: {line}");
    }
}

/// The lines that `fdholder --list` prints.
fn list() -> Vec<String> {
    let ended = called("fdholder", &["--list"]);
    let (code, out, err) = ending(&ended);
    assert_eq!((code, err), (0, ""));
    out.lines().map(str::to_string).collect()
}

#[test]
fn list_version_and_help_describe_the_program() {
    let list = list();
    assert!(list.iter().any(|name| name == NAME), "{list:?}");
    let is_ours =
        |name: &String| ["s6-fdholder", "fdholder-"].iter().any(|mark| name.starts_with(mark));
    assert!(list.iter().all(is_ours), "{list:?}");
    let version = format!("fdholder {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(ending(&called("fdholder", &["--version"])), (0, &version[..], ""));

    let ended = called("fdholder", &["--help"]);
    let (code, help, err) = ending(&ended);
    assert_eq!((code, err), (0, ""));
    assert!(help.starts_with("usage: fdholder "), "{help}");
    for part in ["--list", "--help", "--version", "--install"]
        .into_iter()
        .chain(list.iter().map(|name| &name[..]))
    {
        assert!(help.contains(part), "{part} is missing in\n{help}");
    }
    // Without a request, the program prints the first line of the help.
    let usage = format!("fdholder: {}\n", help.lines().next().unwrap());
    for arguments in [&[][..], &["--install"]] {
        assert_eq!(ending(&called("fdholder", arguments)), (100, "", &usage[..]), "{arguments:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_exit_111() {
    for arguments in [&["--list"][..], &["--help"], &["--version"], &["transferdump", "--help"]] {
        let mut command = Command::new(program());
        command.arg0("fdholder").args(arguments);
        let output = command.stdout(File::create("/dev/full").unwrap()).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(111), "{arguments:?}: {err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(
            err.contains("standard output") && err.ends_with(": No space left on device\n"),
            "{err}"
        );
    }
}

#[test]
fn a_list_without_a_standard_output_is_exit_111() {
    // The tool reports that before it connects.
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" list /absent/socket >&-"]).arg(program());
    let line = "s6-fdholder-list: fatal: unable to write to standard output: Bad file descriptor\n";
    assert_eq!(ending(&run(&mut shell)), (111, "", line));
}

/// Runs `fdholder --install`.
fn install(dir: &Path) -> Ended {
    run(Command::new(program()).arg0("fdholder").arg("--install").arg(dir))
}

/// The names in a directory, sorted, and the targets of links.
fn contents(dir: &Path) -> Vec<(OsString, Option<PathBuf>)> {
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name(), fs::read_link(entry.path()).ok())
    };
    let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(entry).collect();
    all.sort();
    all
}

#[test]
fn installed_links_lead_to_the_program_and_work() {
    let dir = TempDir::new().unwrap();
    let target = program().canonicalize().unwrap();
    let mut links: Vec<_> =
        list().into_iter().map(|name| (OsString::from(name), Some(target.clone()))).collect();
    links.sort();
    for time in ["first", "second"] {
        assert_eq!(ending(&install(dir.path())), (0, "", ""), "the {time} time");
        assert_eq!(contents(dir.path()), links, "the {time} time");
    }
    // A relative path of the directory does not make the links relative.
    fs::remove_file(dir.child(NAME)).unwrap();
    let mut command = Command::new(program());
    command.arg0("fdholder").args(["--install", "."]).current_dir(dir.path());
    assert_eq!(ending(&run(&mut command)), (0, "", ""));
    assert_eq!(contents(dir.path()), links);

    let ended = run(Command::new(dir.child(NAME)).args(["/no/a", "/no/b"]));
    assert_eq!(ending(&ended), (111, "", &no_source("/no/a")[..]));
}

/// Something that occupies the path of a link: its name, and the function that makes it.
type Obstacle = (&'static str, fn(&Path));

#[test]
fn if_the_path_of_a_link_is_occupied_it_is_named_and_nothing_changes() {
    let obstacles: [Obstacle; 5] = [
        ("another link", |path| symlink("/bin/true", path).unwrap()),
        ("a link to nowhere", |path| symlink("nowhere", path).unwrap()),
        ("a link that begins in the same way", |path| {
            let mut target = program().canonicalize().unwrap().into_os_string();
            target.push("x");
            symlink(target, path).unwrap();
        }),
        ("a file", |path| fs::write(path, "precious").unwrap()),
        ("a directory", |path| fs::create_dir(path).unwrap()),
    ];
    // If only the path of the last link is occupied, the tool could make the others. It must not.
    let names = list();
    for (name, put) in obstacles {
        for link in [names.first().unwrap(), names.last().unwrap()] {
            let dir = TempDir::new().unwrap();
            put(&dir.child(link));
            let before = contents(dir.path());
            let ended = install(dir.path());
            let (code, out, err) = ending(&ended);
            assert_eq!((code, out, err.lines().count()), (111, "", 1), "{name}: {err}");
            assert!(err.starts_with("fdholder: fatal: "), "{name}: {err}");
            let named = err.contains(dir.path().to_str().unwrap()) && err.contains(link);
            assert!(named, "{name}: {err}");
            assert!(err.ends_with(": File exists\n"), "{name}: {err}");
            assert_eq!(contents(dir.path()), before, "{name}");
            if name == "a file" {
                assert_eq!(fs::read(dir.child(link)).unwrap(), b"precious");
            }
        }
    }
}

#[test]
fn no_link_is_made_to_a_program_that_has_been_removed() {
    let dir = TempDir::new().unwrap();
    let (old, links) = (dir.child("fdholder"), dir.child("links"));
    for replaced in [false, true] {
        fs::create_dir(&links).unwrap();
        fs::copy(program(), &old).unwrap();
        // The program is replaced or removed while it runs. It is executed by its open descriptor.
        let rest = if replaced { "touch \"$0\"" } else { "true" };
        let script = format!(
            "exec 3<\"$0\"; rm \"$0\"; {rest}; exec -a fdholder /proc/self/fd/3 --install \"$1\""
        );
        let ended = run(Command::new("bash").arg("-c").arg(script).arg(&old).arg(&links));
        let (code, out, err) = ending(&ended);
        assert_eq!((code, out), (111, ""), "{err}");
        let line = "fdholder: fatal: unable to make links in ";
        assert!(err.starts_with(line), "{err}");
        assert!(err.ends_with(": the program itself: No such file or directory\n"), "{err}");
        assert!(contents(&links).is_empty(), "{:?}", contents(&links));
        fs::remove_dir(&links).unwrap();
    }
}

#[test]
fn a_file_that_appears_just_before_a_link_is_made_is_reported() {
    // The injection says that the path is free, as if the file were made after the check.
    let answer = ["readlinkat:error=ENOENT:when=2".to_string()];
    let first = &list()[0];
    let rows: [(Obstacle, i32); 3] = [
        (("a file", |path| fs::write(path, "precious").unwrap()), 111),
        (("another link", |path| symlink("/bin/true", path).unwrap()), 111),
        (("the right link", |path| symlink(program().canonicalize().unwrap(), path).unwrap()), 0),
    ];
    for ((what, put), code) in rows {
        let dir = TempDir::new().unwrap();
        let links = dir.child("links");
        fs::create_dir(&links).unwrap();
        put(&links.join(first));
        let mut command = strace(&dir.child("trace"), &answer);
        let ended = run(command.arg("--install").arg(&links));
        assert_eq!(ended.code, code, "{what}: {}", ended.err);
        if code != 0 {
            assert!(ended.err.ends_with(&format!(": {first}: File exists\n")), "{}", ended.err);
        }
    }
}

#[test]
fn installing_links_needs_an_existing_directory() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.child("file"), "").unwrap();
    for (name, reason) in [("absent", "No such file or directory"), ("file", "Not a directory")] {
        let ended = install(&dir.child(name));
        let (code, out, err) = ending(&ended);
        assert_eq!((code, out, err.lines().count()), (111, "", 1), "{err}");
        assert!(err.contains(dir.child(name).to_str().unwrap()), "{err}");
        assert!(err.ends_with(&format!(": {reason}\n")), "{err}");
    }
    assert_eq!(contents(dir.path()).len(), 1);
}

/// A path in `dir` that is `length` bytes long.
fn long(dir: &TempDir, length: usize) -> PathBuf {
    let rest = length - dir.path().as_os_str().len() - 1;
    dir.child("x".repeat(rest))
}

#[test]
fn a_socket_that_cannot_be_connected_to_is_named_with_the_reason() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.child("file"), "").unwrap();
    symlink("loop", dir.child("loop")).unwrap();
    drop(UnixListener::bind(dir.child("stale")).unwrap());
    let forbidden = UnixListener::bind(dir.child("forbidden")).unwrap();
    fs::set_permissions(dir.child("forbidden"), Permissions::from_mode(0o000)).unwrap();

    let refused = "Connection refused";
    let mut cases = vec![
        (dir.child("absent"), "No such file or directory"),
        (PathBuf::new(), "No such file or directory"),
        (dir.child("file"), refused),
        (dir.path().to_path_buf(), refused),
        (dir.child("stale"), refused),
        (dir.child("file").join("below"), "Not a directory"),
        (dir.child("loop"), "Too many levels of symbolic links"),
        (long(&dir, 108), "File name too long"),
        (long(&dir, 109), "File name too long"),
        (long(&dir, 3000), "File name too long"),
    ];
    // The permissions of a file do not restrict root.
    if !geteuid().is_root() {
        cases.push((dir.child("forbidden"), "Permission denied"));
    }
    for (path, reason) in &cases {
        for options in [&[][..], &["-t", "5000:5000"]] {
            let shown = path.display();
            let to = Fake::start(vec![]);
            let message = format!(
                "{NAME}: fatal: unable to connect to a source fd-holder daemon at {shown}: {reason}\n"
            );
            let ended = transfer(options, path, &to.path);
            assert_eq!(ending(&ended), (111, "", &message[..]));
            assert_eq!(to.seen().bytes, b"");

            // With and without entries to transfer.
            for count in [0, 2] {
                let from = Fake::start(source(&files_to_hold(count, 5)));
                let message = format!(
                    "{NAME}: fatal: unable to connect to a destination fd-holder daemon at \
                     {shown}: {reason}\n"
                );
                let ended = transfer(options, &from.path, path);
                assert_eq!(ending(&ended), (111, "", &message[..]));
                assert_eq!(from.seen().bytes, b"\0\0\0\x01\0\0?");
            }
        }
    }
    drop(forbidden);
}

#[test]
fn the_path_of_a_socket_may_have_107_bytes() {
    let (dirs, held) = ([TempDir::new().unwrap(), TempDir::new().unwrap()], files_to_hold(2, 5));
    let from = Fake::start_at(long(&dirs[0], 107), source(&held));
    let to = Fake::start_at(long(&dirs[1], 107), vec![Step::AcceptDump]);
    assert_eq!(ending(&transfer(&[], &from.path, &to.path)), (0, "", ""));
    assert_eq!(to.seen().files.len(), 2);
    drop(from.seen());
}

#[test]
fn unprintable_bytes_of_a_path_are_quoted_in_a_message() {
    let dir = TempDir::new().unwrap();
    let odd = b"\x01a \x07\x08\t\n\x0b\x0c\r\\\"'$~\x7f\x80\xff\xc3\xa4";
    let shown = r#"\0x01a \a\b\t\n\v\f\r\\"'$~\0x7f\0x80\0xff\0xc3\0xa4"#;
    let path = dir.path().join(OsString::from_vec(odd.to_vec()));
    let shown = format!("{}/{shown}", dir.path().display());
    let ended = transfer(&[], &path, &path);
    assert_eq!(ending(&ended), (111, "", &no_source(&shown)[..]));

    // The tool connects to the path with the bytes as they are.
    let from = Fake::start_at(path, vec![Step::Receive, Step::Send(status(1), Vec::new())]);
    let message = format!(
        "{NAME}: fatal: unable to get dump from the source fd-holder daemon at {shown}: Operation \
         not permitted (the right S6_FDHOLDER_GETDUMP is missing)\n"
    );
    assert_eq!(ending(&transfer(&[], &from.path, dir.path())), (1, "", &message[..]));
    drop(from.seen());
}

#[test]
fn a_source_that_denies_is_reported_even_if_the_destination_is_missing() {
    let denies = vec![Step::Receive, Step::Send(status(1), Vec::new())];
    let from = Fake::start(denies);
    let ended = transfer(&[], &from.path, Path::new("/no/destination"));
    assert_eq!(ended.code, 1, "{}", ended.err);
    drop(from.seen());
}

/// Whether a value of `-t` is valid. This code is independent of the product.
fn is_timeout(value: &str) -> bool {
    let numbers: Vec<_> = value.split(':').collect();
    let is_number = |digits: &&str| {
        let value = digits.parse::<u64>();
        digits.is_empty()
            || digits.bytes().all(|b| b.is_ascii_digit()) && value.is_ok_and(|n| n >> 32 == 0)
    };
    !value.is_empty() && numbers.len() <= 2 && numbers.iter().all(is_number)
}

/// Options in the forms that both parsers accept, with valid and invalid values.
fn options() -> impl Strategy<Value = Vec<String>> {
    let number = "[0-9]{0,3}|42949672(9[4-7]|[0-9]{3})|[0-9]{20}";
    let value = prop_oneof![
        6 => proptest::string::string_regex(&format!("({number})(:({number}))?")).unwrap(),
        1 => proptest::string::string_regex("[-+ x:0-9]{0,4}").unwrap(),
    ];
    let option = prop_oneof![Just("-t".to_string()), Just("--timeout".to_string())];
    prop_oneof![
        2 => Just(Vec::new()),
        6 => (option.clone(), value).prop_map(|(option, value)| vec![option, value]),
        1 => option.prop_map(|option| vec![option]),
        1 => prop_oneof![Just("-x"), Just("--nonsense"), Just("--timeou"), Just("-T")]
            .prop_map(|option| vec![option.to_string()]),
    ]
}

/// At most two operands: argh refuses more.
fn operands() -> impl Strategy<Value = Vec<String>> {
    let operand = "[a-g/._]{0,6}".prop_map(|name| format!("/no/{name}"));
    prop_oneof![
        6 => prop::collection::vec(operand.clone(), 2),
        1 => prop::collection::vec(operand, 0..2),
    ]
}

proptest! {
    #![proptest_config(random_cases(500))]

    #[test]
    fn the_program_accepts_the_command_lines_that_argh_accepts(
        options in options(),
        end in any::<bool>(),
        operands in operands(),
    ) {
        let end = end.then(|| "--".to_string());
        let line: Vec<String> = options.into_iter().chain(end).chain(operands).collect();
        let words: Vec<&str> = line.iter().map(|word| &word[..]).collect();
        let argh = cli::Cli::from_args(&[NAME], &words);
        let right = argh.ok().filter(|cli| cli.timeout.as_deref().is_none_or(is_timeout));
        let ended = run(tool(NAME).args(&line));
        match right {
            // Both parsers must find the same source.
            Some(cli) => {
                prop_assert!(cli.socketto.starts_with("/no/"));
                let message = no_source(&cli.socketfrom);
                prop_assert_eq!(ending(&ended), (111, "", &message[..]), "{:?}", line)
            }
            None => prop_assert_eq!(ending(&ended), (100, "", USAGE), "{:?}", line),
        }
    }
}
