//! Command lines of fdholder-listen and fdholder-adopt.

use crate::kit::target::{Target, with_high_number};
use crate::kit::tool::{run, tool};
use std::net::TcpListener;
use std::os::fd::AsFd;
use temp_dir::TempDir;

/// The command line of a tool: its usage behind its name, and valid operands. The socket does not exist. The
/// tool reports that only if it accepts the command line.
struct CommandLine {
    name: &'static str,
    usage: &'static str,
    operands: &'static [&'static str],
    /// Valid options, and invalid ones.
    right: &'static [&'static [&'static str]],
    wrong: &'static [&'static [&'static str]],
}

const TOOLS: &[CommandLine] = &[
    CommandLine {
        name: "fdholder-listen",
        usage: "[ -b backlog ] [ -m mode ] [ -T fdtimeout ] [ -t timeout ] socket id address",
        operands: &["absent", "id", "unix:never"],
        right: &[
            &["-b", "5"],
            &["-b0", "-b4294967295"],
            &["--backlog=5", "--mode", "600", "--expire=5"],
            &["-m", "0"],
            &["-m0777"],
            &["-m777", "-m", "660"],
            &["-T5", "-t5"],
        ],
        wrong: &[
            &["-b"],
            &["-b", "x"],
            &["-b-1"],
            &["-b4294967296"],
            &["-m", ""],
            &["-m8"],
            &["-m", "1000"],
            &["-m", "01777"],
            &["-m", "rwx"],
            &["-m", "-1"],
            &["-m77777777777"],
            &["-Tx"],
            &["-d0"],
            &["-D"],
            &["-n"],
        ],
    },
    CommandLine {
        name: "fdholder-adopt",
        usage: "[ -n ] [ -p prefix ] [ -t timeout ] socket pid [ address... ]",
        operands: &["absent", "PID"],
        right: &[&["-p", ""], &["-px", "-p", "y"], &["--prefix=x"]],
        wrong: &[&["-p"], &["-nx"], &["-T5"], &["-b5"], &["-m600"], &["--dry-run=1"]],
    },
];

#[test]
fn a_valid_command_line_is_parsed_like_getopt() {
    let dir = TempDir::new().unwrap();
    let all: &[&[&str]] =
        &[&[], &["--"], &["-t", "5"], &["-t5"], &["-t0", "--"], &["--timeout", "4294967295"]];
    let listener = with_high_number(TcpListener::bind("127.0.0.1:0").unwrap());
    let target = Target::start(&[(3, listener.as_fd())]);
    let pid = target.pid().to_string();
    for CommandLine { name, operands, right, .. } in TOOLS {
        for options in all.iter().chain(*right) {
            let operands = operands.iter().map(|word| if *word == "PID" { &pid } else { *word });
            let mut command = tool(name);
            command.current_dir(dir.path()).args(*options).args(operands);
            let ended = run(&mut command);
            let line = format!(
                "{name}: fatal: unable to connect to a fd-holder daemon at absent: No such file or \
                 directory\n"
            );
            assert_eq!((ended.code, &ended.err), (111, &line), "{options:?}");
            assert!(!dir.child("never").exists());
        }
    }
}

#[test]
fn a_wrong_command_line_gets_the_usage_line_and_exit_100() {
    let all: &[&[&str]] = &[
        &["-t"],
        &["-t", ""],
        &["-tx"],
        &["-t", "5:6"],
        &["-t-5"],
        &["-t4294967296"],
        &["-x"],
        &["-h"],
        &["--nonsense"],
        &["--timeouts=5"],
    ];
    let dir = TempDir::new().unwrap();
    for CommandLine { name, usage, operands, wrong, .. } in TOOLS {
        let rows = all.iter().chain(*wrong).map(|options| [*options, operands].concat());
        let too_few = (0..operands.len()).map(|length| operands[..length].to_vec());
        let mut rows: Vec<_> = rows.chain(too_few).collect();
        // An ignored operand could be an option that the caller relies on.
        if *name == "fdholder-listen" {
            rows.push([operands, &["-m600"][..]].concat());
        }
        for row in rows {
            let ended = run(tool(name).current_dir(dir.path()).args(&row));
            let line = format!("{name}: usage: {name} {usage}\n");
            assert_eq!((ended.code, &ended.err, &ended.out[..]), (100, &line, &b""[..]), "{row:?}");
        }
    }
    assert!(!dir.child("never").exists());
}

#[test]
fn an_invalid_process_number_is_exit_100() {
    for pid in ["", "x", "-1", "1x", "0", "00", "2147483648", "4294967295", "4294967296", "1 "] {
        for option in ["-t0", "-n"] {
            let ended = run(tool("fdholder-adopt").args([option, "s", pid]));
            let reason = "it is not a number from 1 to 2147483647";
            let line = format!("fdholder-adopt: fatal: no process id: {pid}: {reason}\n");
            assert_eq!((ended.code, &ended.err, &ended.out[..]), (100, &line, &b""[..]));
        }
    }
}

#[test]
fn an_invalid_address_is_exit_100_with_the_reason() {
    let dir = TempDir::new().unwrap();
    for (name, operands) in [("fdholder-listen", &["s", "id"][..]), ("fdholder-adopt", &["s", "1"])]
    {
        for (address, text, reason) in [
            ("tcp:80", "tcp:80", "it is not ADDRESS:PORT or [ADDRESS]:PORT in numbers"),
            ("udp:[::1]:0", "udp:[::1]:0", "there is no port 0"),
            ("unix:@", "unix:@", "there is no name behind the @"),
            (
                "\n\u{7f}",
                "\\n\\0x7f",
                "it does not begin with tcp:, udp:, unix:, unix-dgram: or unix-seqpacket:",
            ),
        ] {
            let ended = run(tool(name).current_dir(dir.path()).args(operands).arg(address));
            let line = format!("{name}: fatal: no address: {text}: {reason}\n");
            assert_eq!((ended.code, &ended.err), (100, &line));
        }
    }
}
