//! Command lines of both daemons.

use super::*;
use crate::kit::daemon::Generation::{self, Ours, S6_2_15};
use crate::kit::server::{DaemonDir, Server, answer, connect};
use crate::kit::tool::{run, tool};
use rustix::process::{getgid, getuid};
use std::fs;

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
