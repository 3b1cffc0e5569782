//! What the clients make of answers: hostile ones, slow ones, and none.

use crate::kit::clients::Implementation::{self, Ours};
use crate::kit::clients::{TOOLS, succeeded, words};
use crate::kit::fake::{
    Fake,
    Step::{self, AcceptDump, HangUp, Receive, Reset, Send, SendSlowly},
    files_to_hold, frames, granted, opened, source, status,
};
use crate::kit::memfd;
use crate::kit::tool::{Ended, run};
use crate::kit::wire::{entry, frame, label};
use std::iter::repeat_with;
use std::thread;
use std::time::Duration;

for_each_implementation! {
    a_daemon_that_is_mute_is_waited_for_as_long_as_was_said
    other_errors_are_passed_on
}

const CLOSED: &str = "connection closed";
const NO_ANSWER: &str = "connection closed without an answer: is this user allowed to connect?";
const PROTOCOL: &str = "Protocol error";
const TIMEOUT: &str = "Connection timed out";

/// Denying something for a reason that a tool could have had itself.
const DENIAL: &str = "says that it is a protocol error";

/// What a daemon does to which tool, and the reason to be given.
type Case = (&'static str, &'static str, Vec<Step>, &'static str);

/// The operands of a tool that does something only if all is well.
fn operands(name: &str) -> &'static [&'static str] {
    match name {
        "retrieve" => &["PATH", "held", "echo", "executed"],
        "getdump" => &["PATH", "echo", "executed"],
        _ => TOOLS.iter().find(|(tool, _)| *tool == name).unwrap().1,
    }
}

/// Runs a tool against this.
fn against(of: Implementation, name: &str, options: &[&str], script: Vec<Step>) -> Ended {
    let fake = Fake::start(script);
    let mut command = of.command(name);
    let mut ended = run(command.args(options).args(words(operands(name), &fake.path)));
    if of != Ours && name == "delete" {
        // The older ones of C name the socket instead of the identifier.
        let path = fake.path.to_str().unwrap();
        ended.err = ended.err.replace(path, "held");
    }
    drop(fake.seen());
    ended
}

/// What is wrong with a tool that ended like this, where it should have given a reason; and unless
/// it `is_clear` that the daemon has not done what it was asked to, have said that it may have.
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
    // A setdump that has begun says how far it has come.
    let reached = "; 0 of 1 descriptors acknowledged\n";
    let in_doubt = ["store", "delete"].contains(&name) && !is_clear && reason != NO_ANSWER;
    let end = if in_doubt { "; it may have been done\n" } else { "\n" };
    let right = behind.is_some_and(|b| b == end || name == "setdump" && b == reached);
    // A list may have begun.
    let silent = name == "list" || ended.out.is_empty();
    (!(right && silent && ended.code == 1)).then(|| {
        format!("{name}: exit {} {:?} {:?}, not {reason}", ended.code, ended.out, ended.err)
    })
}

/// Bytes alone, as a step.
fn bytes(bytes: impl AsRef<[u8]>) -> Step {
    Send(bytes.as_ref().to_vec(), Vec::new())
}

/// A frame whose header says how many descriptors it has, and that really has so many.
fn with(payload: &[u8], said: u16, real: usize) -> Step {
    Send(frame(payload, said), repeat_with(memfd).take(real).collect())
}

/// A script that reads the request and then does this.
fn asked(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    [Receive].into_iter().chain(steps).collect()
}

/// The payload of a list that says it has so many identifiers, and has these.
fn listing(count: u32, ids: &[u8]) -> Vec<u8> {
    [&[0], &count.to_be_bytes()[..], ids].concat()
}

/// An answer that each tool is content with, as the bytes and the number of descriptors of the
/// first frame.
fn first_reply(name: &str) -> (Vec<u8>, usize) {
    match name {
        "store" | "delete" => (status(0), 0),
        "retrieve" => (frame(&[0], 1), 1),
        "list" => (frame(&listing(3, b"one\0two\0\xff\xfe\0"), 0), 0),
        "getdump" => (granted(1, 1), 0),
        _ => (opened(1), 0),
    }
}

/// Everything that each tool is content with.
fn good(name: &str) -> Vec<Step> {
    match name {
        "getdump" => source(&files_to_hold(2, 20)),
        "setdump" => vec![AcceptDump],
        _ => {
            let (bytes, count) = first_reply(name);
            asked([Send(bytes, repeat_with(memfd).take(count).collect())])
        }
    }
}

/// What may happen to every tool.
fn for_each(name: &'static str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |what, script, reason| cases.push((name, what, script, reason));
    case("hangs up at once", vec![HangUp], NO_ANSWER);
    case("hangs up on the request", asked([HangUp]), NO_ANSWER);
    case("resets the connection", vec![Reset], NO_ANSWER);
    case("answers nothing, in a frame", asked([bytes(frame(&[], 0))]), PROTOCOL);
    case("denies in two bytes", asked([bytes(frame(&[1, 0], 0))]), PROTOCOL);
    case("denies in five bytes", asked([bytes(frame(&[1, 0, 0, 0, 0], 0))]), PROTOCOL);
    case("denies with a descriptor", asked([with(&[1], 1, 1)]), PROTOCOL);
    case("denies with a descriptor that it hides", asked([with(&[1], 0, 1)]), PROTOCOL);
    case("denies with a descriptor that is not there", asked([with(&[1], 1, 0)]), PROTOCOL);
    case("says 255 descriptors", asked([with(&[0], 255, 0)]), PROTOCOL);
    case(DENIAL, asked([bytes(status(71))]), PROTOCOL);
    for length in [(1u32 << 28), (1 << 28) + 1, u32::MAX] {
        let head = [&length.to_be_bytes()[..], &[0, 0, 0]].concat();
        // A list may be as long as it likes, but not say that it has nothing.
        let list = [&head[..], &[0; 4]].concat();
        let head = if name == "list" { list } else { head };
        case("announces a huge reply", asked([bytes(head)]), PROTOCOL);
    }
    let (reply, count) = first_reply(name);
    for length in 1..reply.len() {
        let fds = repeat_with(memfd).take(count).collect();
        case("hangs up in the reply", asked([Send(reply[..length].into(), fds), HangUp]), CLOSED);
    }
    let payload = [&reply[6..], &[0][..]].concat();
    case("says too much", asked([with(&payload, count as u16, count)]), PROTOCOL);
    if count == 0 {
        case("succeeds with a descriptor", asked([with(&reply[6..], 1, 1)]), PROTOCOL);
        case("succeeds with one that it hides", asked([with(&reply[6..], 0, 1)]), PROTOCOL);
    }
    cases
}

/// What may happen to some tools only.
fn for_some() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, what, script, reason| cases.push((name, what, script, reason));
    for (said, real) in [(0, 0), (0, 1), (1, 0), (1, 2), (2, 1), (2, 2), (253, 253)] {
        case("retrieve", "other than one descriptor", asked([with(&[0], said, real)]), PROTOCOL);
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
        let script = asked([bytes(frame(&listing(count, ids), 0))]);
        case("list", "does not add up", script, PROTOCOL);
    }
    for length in 2..5 {
        let script = asked([bytes(frame(&listing(0, b"")[..length], 0))]);
        case("list", "has no count", script, PROTOCOL);
    }

    let sometime = label((1 << 62) + 4_000_000_000, 7);
    let (a, b) = (entry(b"a", sometime), entry(b"b", sometime));
    let both = [&a[..], &b].concat();
    let nul = [&sometime[..], &[3], b"a\0b\0"].concat();
    let dump = |total, steps: Vec<Step>| asked([bytes(granted(1, total))].into_iter().chain(steps));
    let dumps = [
        ("hangs up", dump(1, vec![HangUp]), CLOSED),
        ("hangs up after 2 of 3", dump(3, vec![with(&both, 2, 2), HangUp]), CLOSED),
        ("sends more than it said", dump(1, vec![with(&both, 2, 2)]), PROTOCOL),
        (
            "has a byte behind an entry",
            dump(1, vec![with(&[&a[..], &[0]].concat(), 1, 1)]),
            PROTOCOL,
        ),
        ("has no descriptor", dump(1, vec![with(&a, 1, 0)]), PROTOCOL),
        ("has two descriptors", dump(1, vec![with(&a, 2, 2)]), PROTOCOL),
        ("has one descriptor for two", dump(2, vec![with(&both, 1, 1)]), PROTOCOL),
        ("sends nothing", dump(1, vec![with(&[], 0, 0)]), PROTOCOL),
        ("has a NUL in an identifier", dump(1, vec![with(&nul, 1, 1)]), PROTOCOL),
        ("has no identifier", dump(1, vec![with(&entry(b"", sometime), 1, 1)]), PROTOCOL),
    ];
    dumps.into_iter().for_each(|(what, script, reason)| case("getdump", what, script, reason));

    let taken = |steps: Vec<Step>| asked([bytes(opened(1)), Receive].into_iter().chain(steps));
    let answers = [
        ("hangs up on a frame", taken(vec![HangUp]), CLOSED),
        ("wants more than there is", taken(vec![bytes(status(11))]), PROTOCOL),
        ("says too much of a frame", taken(vec![bytes(frame(&[0, 0], 0))]), PROTOCOL),
        ("says nothing of a frame", taken(vec![bytes(frame(&[], 0))]), PROTOCOL),
        ("answers with a descriptor", taken(vec![with(&[0], 1, 1)]), PROTOCOL),
        ("is full halfway", taken(vec![bytes(status(23))]), "Too many open files in system"),
    ];
    answers.into_iter().for_each(|(what, script, reason)| case("setdump", what, script, reason));
    cases
}

#[test]
fn answers_that_cannot_be_right_are_exit_1_and_never_waited_for() {
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
fn an_answer_may_come_byte_by_byte() {
    let pause = Duration::from_micros(300);
    for (name, _) in TOOLS {
        let (reply, count) = first_reply(name);
        let fds = repeat_with(memfd).take(count).collect();
        let mut script = asked([SendSlowly(reply, fds, pause)]);
        if name == "getdump" {
            let (bytes, fds) = frames(&files_to_hold(1, 20), 253).pop().unwrap();
            script.push(SendSlowly(bytes, fds, pause));
        }
        if name == "setdump" {
            script.extend([Receive, SendSlowly(status(0), Vec::new(), pause)]);
        }
        for options in [&[][..], &["-t", "5000"]] {
            // A script is for one time.
            let script = if options.is_empty() { std::mem::take(&mut script) } else { good(name) };
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

/// How much longer than its limit something may take on a busy machine.
const SLACK: Duration = Duration::from_secs(1);

fn a_daemon_that_is_mute_is_waited_for_as_long_as_was_said(of: Implementation) {
    let limit = Duration::from_millis(200);
    // All at the same time.
    let wrongs: Vec<_> = thread::scope(|scope| {
        let mut running = Vec::new();
        for (name, _) in TOOLS {
            for options in [&["-t", "200"][..], &["-t1", "-t200"]] {
                let (reply, _) = first_reply(name);
                let mut scripts = vec![asked([])];
                if of == Ours {
                    scripts.push(asked([bytes(&reply[..3])]));
                    scripts.push(asked([SendSlowly(reply, Vec::new(), Duration::from_millis(60))]));
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

fn other_errors_are_passed_on(of: Implementation) {
    let rows = [
        (1, "Operation not permitted", None),
        (2, "No such file or directory", None),
        (16, "Device or resource busy", None),
        (22, "Invalid argument", None),
        (23, "Too many open files in system", None),
        (36, "File name too long", None),
        (71, "Protocol error", None),
        // There is no such number.
        (255, "error 255", Some("Unknown error 255")),
    ];
    for (name, _) in TOOLS {
        for (number, reason, c) in rows {
            let reason = if of == Ours { reason } else { c.unwrap_or(reason) };
            let ended = against(of, name, &[], asked([bytes(status(number))]));
            assert_eq!(wrong(name, &ended, reason, true), None, "{of:?}");
        }
    }
}

#[test]
fn a_daemon_that_is_crowded_is_waited_for() {
    // C fails at once.
    let (limit, while_) = (Duration::from_millis(200), Duration::from_millis(500));
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
                    let fake = Fake::with_full_backlog(while_, good(name));
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
fn nothing_is_asked_twice_and_nothing_is_said_behind_it() {
    // The requests, to the byte. What is sent is in one piece, or C's daemon hangs up.
    let rows: [(&str, &[u8]); 4] = [
        ("retrieve", b"\0\0\0\x08\0\0R\0\x04held\0"),
        ("delete", b"\0\0\0\x07\0\0D\x04held\0"),
        ("list", b"\0\0\0\x01\0\0L"),
        ("getdump", b"\0\0\0\x01\0\0?"),
    ];
    for (name, request) in rows {
        let fake = Fake::start(good(name));
        let ended = run(Ours.command(name).args(words(operands(name), &fake.path)));
        succeeded(&ended);
        let seen = fake.seen();
        assert_eq!(seen.bytes, request, "{name}");
        assert!(seen.files.is_empty(), "{name}");
    }
}
