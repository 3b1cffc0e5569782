//! The client tools with daemons whose answers are invalid, slow or missing.

use crate::kit::clients::Implementation::{self, Ours};
use crate::kit::clients::{TOOLS, succeeded, words};
use crate::kit::fake::{
    Fake,
    Step::{self, AcceptDump, HangUp, Receive, Reset, Send, SendSlowly},
    after_request, bytes, files_to_hold, frame_with, frames, granted, opened, source, status,
};
use crate::kit::memfd;
use crate::kit::tool::{Ended, run};
use crate::kit::wire::{entry, frame, label};
use std::iter::repeat_with;
use std::thread;
use std::time::Duration;

for_each_implementation! {
    a_silent_daemon_is_waited_for_exactly_as_long_as_the_limit
    an_error_of_the_daemon_is_reported
}

const CLOSED: &str = "connection closed";
const NO_ANSWER: &str = "connection closed without an answer: is this user allowed to connect?";
const PROTOCOL: &str = "Protocol error";
const TIMEOUT: &str = "Connection timed out";

/// The case of a daemon that answers with `EPROTO`, which the tool reports like a protocol error of its own.
const DENIAL: &str = "answers that it is a protocol error";

/// A tool, what the daemon does, its script, and the reason that the tool must report.
type Case = (&'static str, &'static str, Vec<Step>, &'static str);

/// The operands of a tool. If it executes a program, the program prints a line.
fn operands(name: &str) -> &'static [&'static str] {
    match name {
        "retrieve" => &["PATH", "held", "echo", "executed"],
        "getdump" => &["PATH", "echo", "executed"],
        _ => TOOLS.iter().find(|(tool, _)| *tool == name).unwrap().1,
    }
}

/// Runs a tool with a daemon that follows this script.
fn against(of: Implementation, name: &str, options: &[&str], script: Vec<Step>) -> Ended {
    let fake = Fake::start(script);
    let mut command = of.command(name);
    let mut ended = run(command.args(options).args(words(operands(name), &fake.path)));
    if of != Ours && name == "delete" {
        // The older C tools name the socket instead of the identifier.
        let path = fake.path.to_str().unwrap();
        ended.err = ended.err.replace(path, "held");
    }
    drop(fake.seen());
    ended
}

/// Compares the end of a tool with the expected reason. Returns a description of a difference. If it is not
/// `is_clear` that the daemon has refused the request, the message must say that it may have been done.
fn wrong(name: &str, ended: &Ended, reason: &str, is_clear: bool) -> Option<String> {
    let doing = match name {
        "store" => "unable to store fd",
        "retrieve" => "unable to retrieve fd for id held",
        "delete" => "unable to delete fd for id held",
        "list" => "unable to get fd list",
        "getdump" => "unable to get dump",
        _ => "unable to set dump",
    };
    let begin = format!("s6-fdholder-{name}: fatal: {doing}: {reason}");
    let behind = ended.err.strip_prefix(&begin);
    // A setdump that has begun reports how many descriptors were acknowledged.
    let reached = "; 0 of 1 descriptors acknowledged\n";
    let in_doubt = ["store", "delete"].contains(&name) && !is_clear && reason != NO_ANSWER;
    let end = if in_doubt { "; it may have been done\n" } else { "\n" };
    let right = behind.is_some_and(|b| b == end || name == "setdump" && b == reached);
    // A list may have been printed in part.
    let silent = name == "list" || ended.out.is_empty();
    (!(right && silent && ended.code == 1)).then(|| {
        format!("{name}: exit {} {:?} {:?}, not {reason}", ended.code, ended.out, ended.err)
    })
}

/// The payload of a list that announces `count` identifiers and contains `ids`.
fn listing(count: u32, ids: &[u8]) -> Vec<u8> {
    [&[0], &count.to_be_bytes()[..], ids].concat()
}

/// The bytes and the number of descriptors of the first frame of a valid answer for each tool.
fn first_reply(name: &str) -> (Vec<u8>, usize) {
    match name {
        "store" | "delete" => (status(0), 0),
        "retrieve" => (frame(&[0], 1), 1),
        "list" => (frame(&listing(3, b"one\0two\0\xff\xfe\0"), 0), 0),
        "getdump" => (granted(1, 1), 0),
        _ => (opened(1), 0),
    }
}

/// The script of a valid conversation for each tool.
fn valid(name: &str) -> Vec<Step> {
    match name {
        "getdump" => source(&files_to_hold(2, 20)),
        "setdump" => vec![AcceptDump],
        _ => {
            let (bytes, count) = first_reply(name);
            after_request([Send(bytes, repeat_with(memfd).take(count).collect())])
        }
    }
}

/// Cases that apply to every tool.
fn for_each(name: &'static str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |what, script, reason| cases.push((name, what, script, reason));
    case("disconnects at once", vec![HangUp], NO_ANSWER);
    case("disconnects after the request", after_request([HangUp]), NO_ANSWER);
    case("resets the connection", vec![Reset], NO_ANSWER);
    case("answers with an empty frame", after_request([bytes(frame(&[], 0))]), PROTOCOL);
    case("denies in two bytes", after_request([bytes(frame(&[1, 0], 0))]), PROTOCOL);
    case("denies in five bytes", after_request([bytes(frame(&[1, 0, 0, 0, 0], 0))]), PROTOCOL);
    case("denies with a descriptor", after_request([frame_with(&[1], 1, 1)]), PROTOCOL);
    case(
        "denies with a descriptor that is not announced",
        after_request([frame_with(&[1], 0, 1)]),
        PROTOCOL,
    );
    case(
        "denies with a descriptor that is missing",
        after_request([frame_with(&[1], 1, 0)]),
        PROTOCOL,
    );
    case("announces 255 descriptors", after_request([frame_with(&[0], 255, 0)]), PROTOCOL);
    case(DENIAL, after_request([bytes(status(71))]), PROTOCOL);
    for length in [(1u32 << 28), (1 << 28) + 1, u32::MAX] {
        let head = [&length.to_be_bytes()[..], &[0, 0, 0]].concat();
        // A list may be long, but then it must not be empty.
        let list = [&head[..], &[0; 4]].concat();
        let head = if name == "list" { list } else { head };
        case("announces a huge reply", after_request([bytes(head)]), PROTOCOL);
    }
    let (reply, count) = first_reply(name);
    for length in 1..reply.len() {
        let fds = repeat_with(memfd).take(count).collect();
        case(
            "disconnects inside the reply",
            after_request([Send(reply[..length].into(), fds), HangUp]),
            CLOSED,
        );
    }
    let payload = [&reply[6..], &[0][..]].concat();
    case(
        "sends a byte too many",
        after_request([frame_with(&payload, count as u16, count)]),
        PROTOCOL,
    );
    if count == 0 {
        case(
            "succeeds with a descriptor",
            after_request([frame_with(&reply[6..], 1, 1)]),
            PROTOCOL,
        );
        case(
            "succeeds with a descriptor that is not announced",
            after_request([frame_with(&reply[6..], 0, 1)]),
            PROTOCOL,
        );
    }
    cases
}

/// Cases that apply to some tools only.
fn for_some() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, what, script, reason| cases.push((name, what, script, reason));
    for (said, real) in [(0, 0), (0, 1), (1, 0), (1, 2), (2, 1), (2, 2), (253, 253)] {
        case(
            "retrieve",
            "other than one descriptor",
            after_request([frame_with(&[0], said, real)]),
            PROTOCOL,
        );
    }
    let lists: [(u32, &[u8]); 10] = [
        (0, b"\0"),
        (0, b"one\0"),
        (1, b""),
        (1, b"one"),
        (1, b"one\0two\0"),
        (2, b"one\0"),
        (2, b"one\0two"),
        (2, b"one\0two\0\0"),
        (u32::MAX, b"one\0two\0"),
        (1 << 24, b"one\0"),
    ];
    for (count, ids) in lists {
        let script = after_request([bytes(frame(&listing(count, ids), 0))]);
        case("list", "has another number of identifiers than announced", script, PROTOCOL);
    }
    for length in 2..5 {
        let script = after_request([bytes(frame(&listing(0, b"")[..length], 0))]);
        case("list", "has no count", script, PROTOCOL);
    }

    let expiry = label((1 << 62) + 4_000_000_000, 7);
    let (a, b) = (entry(b"a", expiry), entry(b"b", expiry));
    let both = [&a[..], &b].concat();
    let nul = [&expiry[..], &[3], b"a\0b\0"].concat();
    let dump = |total, steps: Vec<Step>| {
        after_request([bytes(granted(1, total))].into_iter().chain(steps))
    };
    let dumps = [
        ("disconnects", dump(1, vec![HangUp]), CLOSED),
        ("disconnects after 2 of 3", dump(3, vec![frame_with(&both, 2, 2), HangUp]), CLOSED),
        ("sends more entries than announced", dump(1, vec![frame_with(&both, 2, 2)]), PROTOCOL),
        (
            "has a byte behind an entry",
            dump(1, vec![frame_with(&[&a[..], &[0]].concat(), 1, 1)]),
            PROTOCOL,
        ),
        ("has no descriptor", dump(1, vec![frame_with(&a, 1, 0)]), PROTOCOL),
        ("has two descriptors", dump(1, vec![frame_with(&a, 2, 2)]), PROTOCOL),
        ("has one descriptor for two", dump(2, vec![frame_with(&both, 1, 1)]), PROTOCOL),
        ("sends an empty frame", dump(1, vec![frame_with(&[], 0, 0)]), PROTOCOL),
        ("has a NUL in an identifier", dump(1, vec![frame_with(&nul, 1, 1)]), PROTOCOL),
        ("has no identifier", dump(1, vec![frame_with(&entry(b"", expiry), 1, 1)]), PROTOCOL),
    ];
    dumps.into_iter().for_each(|(what, script, reason)| case("getdump", what, script, reason));

    let taken =
        |steps: Vec<Step>| after_request([bytes(opened(1)), Receive].into_iter().chain(steps));
    let answers = [
        ("disconnects after a frame", taken(vec![HangUp]), CLOSED),
        ("expects another frame after the last", taken(vec![bytes(status(11))]), PROTOCOL),
        ("answers a frame with a byte too many", taken(vec![bytes(frame(&[0, 0], 0))]), PROTOCOL),
        ("answers a frame with an empty frame", taken(vec![bytes(frame(&[], 0))]), PROTOCOL),
        ("answers with a descriptor", taken(vec![frame_with(&[0], 1, 1)]), PROTOCOL),
        (
            "is full after the opening",
            taken(vec![bytes(status(23))]),
            "Too many open files in system",
        ),
    ];
    answers.into_iter().for_each(|(what, script, reason)| case("setdump", what, script, reason));
    cases
}

#[test]
fn an_invalid_answer_is_exit_1_without_a_timeout() {
    let mut wrongs = Vec::new();
    for options in [&[][..], &["-t", "5000"]] {
        let each = TOOLS.iter().flat_map(|(name, _)| for_each(name));
        for (name, what, script, reason) in each.chain(for_some()) {
            let ended = against(Ours, name, options, script);
            let is_clear = what == DENIAL;
            let wrong = wrong(name, &ended, reason, is_clear);
            wrongs.extend(wrong.map(|text| format!("{what}: {text}")));
        }
    }
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
}

#[test]
fn an_answer_may_arrive_byte_by_byte() {
    let pause = Duration::from_micros(300);
    for (name, _) in TOOLS {
        let (reply, count) = first_reply(name);
        let fds = repeat_with(memfd).take(count).collect();
        let mut script = after_request([SendSlowly(reply, fds, pause)]);
        if name == "getdump" {
            let (bytes, fds) = frames(&files_to_hold(1, 20), 253).pop().unwrap();
            script.push(SendSlowly(bytes, fds, pause));
        }
        if name == "setdump" {
            script.extend([Receive, SendSlowly(status(0), Vec::new(), pause)]);
        }
        for options in [&[][..], &["-t", "5000"]] {
            // A script can be used only once.
            let script = if options.is_empty() { std::mem::take(&mut script) } else { valid(name) };
            let ended = against(Ours, name, options, script);
            succeeded(&ended);
            let out: &[u8] = match name {
                "list" => b"one\ntwo\n\\0xff\\0xfe\n",
                "retrieve" | "getdump" => b"executed\n",
                _ => b"",
            };
            assert_eq!(ended.out, out, "{name}");
        }
    }
}

/// How much longer than its limit a tool may take on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

fn a_silent_daemon_is_waited_for_exactly_as_long_as_the_limit(of: Implementation) {
    let limit = Duration::from_millis(200);
    // All cases wait at the same time.
    let wrongs: Vec<_> = thread::scope(|scope| {
        let mut running = Vec::new();
        for (name, _) in TOOLS {
            for options in [&["-t", "200"][..], &["-t1", "-t200"]] {
                let (reply, _) = first_reply(name);
                let mut scripts = vec![after_request([])];
                if of == Ours {
                    scripts.push(after_request([bytes(&reply[..3])]));
                    scripts.push(after_request([SendSlowly(
                        reply,
                        Vec::new(),
                        Duration::from_millis(60),
                    )]));
                }
                running.extend(scripts.into_iter().map(|script| {
                    scope.spawn(move || {
                        let ended = against(of, name, options, script);
                        let in_time = (limit..limit + SLACK).contains(&ended.wall);
                        let late = format!("{name}: {:?}", ended.wall);
                        wrong(name, &ended, TIMEOUT, of != Ours).or((!in_time).then_some(late))
                    })
                }));
            }
        }
        running.into_iter().filter_map(|run| run.join().expect("a run")).collect()
    });
    assert!(wrongs.is_empty(), "{of:?}: {}", wrongs.join("\n"));
}

fn an_error_of_the_daemon_is_reported(of: Implementation) {
    let rows = [
        (1, "Operation not permitted", None),
        (2, "No such file or directory", None),
        (16, "Device or resource busy", None),
        (22, "Invalid argument", None),
        (23, "Too many open files in system", None),
        (36, "File name too long", None),
        (71, "Protocol error", None),
        // This number is no error of Linux.
        (255, "error 255", Some("Unknown error 255")),
    ];
    for (name, _) in TOOLS {
        for (number, reason, c) in rows {
            let reason = if of == Ours { reason } else { c.unwrap_or(reason) };
            let ended = against(of, name, &[], after_request([bytes(status(number))]));
            assert_eq!(wrong(name, &ended, reason, true), None, "{of:?}");
        }
    }
}

#[test]
fn a_tool_waits_for_a_daemon_with_a_full_backlog() {
    // The C tools fail at once.
    let (limit, duration) = (Duration::from_millis(200), Duration::from_millis(500));
    thread::scope(|scope| {
        for (name, _) in TOOLS {
            scope.spawn(move || {
                let fake = Fake::with_full_backlog(Duration::from_secs(10), Vec::new());
                let mut command = Ours.command(name);
                let ended =
                    run(command.args(["-t", "200"]).args(words(operands(name), &fake.path)));
                let line = format!(
                    "s6-fdholder-{name}: fatal: unable to connect to a fd-holder daemon at {}: \
                     {TIMEOUT}\n",
                    fake.path.display()
                );
                assert_eq!((ended.code, &ended.err[..]), (111, &line[..]));
                assert!((limit..limit + SLACK).contains(&ended.wall), "{name} {:?}", ended.wall);
                drop(fake.seen());
            });
            for options in [&[][..], &["-t", "5000"]] {
                scope.spawn(move || {
                    let fake = Fake::with_full_backlog(duration, valid(name));
                    let mut command = Ours.command(name);
                    let ended = run(command.args(options).args(words(operands(name), &fake.path)));
                    succeeded(&ended);
                    assert!(fake.seen().connected, "{name}");
                });
            }
        }
    });
}

#[test]
fn a_tool_sends_exactly_one_request() {
    // The exact bytes of the requests.
    let rows: [(&str, &[u8]); 4] = [
        ("retrieve", b"\0\0\0\x08\0\0R\0\x04held\0"),
        ("delete", b"\0\0\0\x07\0\0D\x04held\0"),
        ("list", b"\0\0\0\x01\0\0L"),
        ("getdump", b"\0\0\0\x01\0\0?"),
    ];
    for (name, request) in rows {
        let fake = Fake::start(valid(name));
        let ended = run(Ours.command(name).args(words(operands(name), &fake.path)));
        succeeded(&ended);
        let seen = fake.seen();
        assert_eq!(seen.bytes, request, "{name}");
        assert!(seen.files.is_empty(), "{name}");
    }
}
