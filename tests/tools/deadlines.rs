//! Option `-t` of transferdump: how long it waits for each side.

use crate::kit::fake::{
    Fake,
    Step::{AcceptDump, Pause, Receive, Send, SendSlowly, StopReading},
    files_to_hold, frames, granted, opened, source, status, transfer,
};
use crate::kit::raise_open_file_limit;
use crate::kit::tool::Ended;
use std::iter::repeat_with;
use std::thread;
use std::time::Duration;

/// How much longer than its limit a transfer may take on a busy machine. Slow peers take longer than that.
const SLACK: Duration = Duration::from_secs(2);

/// A transfer and its expected end.
struct Case {
    name: &'static str,
    options: &'static [&'static str],
    from: Fake,
    to: Fake,
    /// How long it takes at least, in milliseconds. It may take [`SLACK`] more.
    least: u64,
    /// The expected failure.
    fails: Option<Fails>,
}

#[derive(Clone, Copy)]
enum Fails {
    /// The source cannot be connected to.
    ConnectFrom,
    /// The source does not send its dump in time.
    From,
    /// The destination cannot be connected to.
    ConnectTo,
    /// The destination does not accept the dump in time.
    To,
    /// The destination accepts the dump, and then does not take all frames in time.
    ToHalfway,
}

impl Case {
    /// Runs the transfer. Returns a description of what is wrong.
    fn run(self) -> Option<String> {
        let (from, to) = (self.from.path.display(), self.to.path.display());
        let (code, message) = match self.fails {
            None => (0, String::new()),
            Some(Fails::ConnectFrom) => {
                (111, format!("connect to a source fd-holder daemon at {from}"))
            }
            Some(Fails::From) => {
                (1, format!("get dump from the source fd-holder daemon at {from}"))
            }
            Some(Fails::ConnectTo) => {
                (111, format!("connect to a destination fd-holder daemon at {to}"))
            }
            Some(Fails::To | Fails::ToHalfway) => {
                (2, format!("set dump in the destination fd-holder daemon at {to}"))
            }
        };
        let expected = match self.fails {
            None => String::new(),
            Some(_) => format!(
                "s6-fdholder-transferdump: fatal: unable to {message}: Connection timed out"
            ),
        };
        let Ended { code: is, out, err, wall } =
            transfer(self.options, &self.from.path, &self.to.path);
        let behind = err.strip_prefix(&expected).unwrap_or("another message");
        let ends_well = match self.fails {
            None => behind.is_empty(),
            Some(Fails::ToHalfway) => {
                let end = " descriptors acknowledged, the source still holds all\n";
                behind.starts_with("; ") && behind.ends_with(end)
            }
            Some(_) => behind == "\n",
        };
        let least = Duration::from_millis(self.least);
        let in_time = (least..least + SLACK).contains(&wall);
        drop((self.from.seen(), self.to.seen()));
        let right = is == code && out.is_empty() && ends_well && in_time;
        (!right).then(|| format!("{}: exit {is} after {wall:?}, {err}", self.name))
    }
}

/// All cases are in one test, so that they wait at the same time.
#[test]
fn a_transfer_waits_for_each_side_exactly_as_long_as_its_limit() {
    raise_open_file_limit();
    let slow = Duration::from_millis(700);
    let held = files_to_hold(3, 255);
    let full = files_to_hold(5 * 253, 255);
    let small = || frames(&held, 253).pop().unwrap();
    let source_in_time = || Fake::start(source(&held));
    let destination_in_time = || {
        let answer = Send(status(0), vec![]);
        Fake::start(vec![Receive, Send(opened(1), vec![]), Receive, answer])
    };
    let reply = || granted(1, 3);
    let silent = || Fake::start(vec![Receive]);
    let full_backlog = || Fake::with_full_backlog(Duration::from_secs(10), vec![]);
    let slow_source = || {
        let mut script = source(&held);
        script.insert(1, Pause(slow));
        Fake::start(script)
    };
    let slow_destination = || {
        let answer = Send(status(0), vec![]);
        Fake::start(vec![Receive, Pause(slow), Send(opened(1), vec![]), Receive, answer])
    };
    let slowly = |bytes: Vec<u8>, pause| SendSlowly(bytes, vec![], Duration::from_millis(pause));
    // Twenty frames. Each answer comes in time, but all together take longer than the limit.
    let many = files_to_hold(20, 255);
    let mut single = vec![Receive, Send(granted(20, 20), vec![])];
    single.extend(frames(&many, 1).into_iter().map(|(bytes, fds)| Send(bytes, fds)));
    let answers = repeat_with(|| [Receive, slowly(status(11), 30)]).take(20).flatten();
    let dripping = [Receive, Send(opened(20), vec![])].into_iter().chain(answers).collect();

    let case =
        |name, options, from, to, least, fails| Case { name, options, from, to, least, fails };
    let cases = vec![
        case(
            "silent source",
            &["-t", "300:"],
            silent(),
            destination_in_time(),
            300,
            Some(Fails::From),
        ),
        case(
            "silent source, number alone",
            &["-t300"],
            silent(),
            destination_in_time(),
            300,
            Some(Fails::From),
        ),
        case(
            "source that does not read the request",
            &["-t", "300:5000"],
            Fake::start(vec![StopReading]),
            destination_in_time(),
            300,
            Some(Fails::From),
        ),
        case(
            "source that sends its reply slowly",
            &["-t", "300:5000"],
            Fake::start(vec![Receive, slowly(reply(), 250)]),
            destination_in_time(),
            300,
            Some(Fails::From),
        ),
        case(
            "source that sends a frame slowly",
            &["-t", "300:5000"],
            Fake::start(vec![
                Receive,
                Send(reply(), vec![]),
                SendSlowly(small().0, small().1, Duration::from_millis(20)),
            ]),
            destination_in_time(),
            300,
            Some(Fails::From),
        ),
        case(
            "source with a full backlog",
            &["-t", "300:5000"],
            full_backlog(),
            destination_in_time(),
            300,
            Some(Fails::ConnectFrom),
        ),
        case(
            "silent destination",
            &["-t", ":300"],
            source_in_time(),
            silent(),
            300,
            Some(Fails::To),
        ),
        case(
            "destination that does not answer a frame",
            &["-t", "5000:300"],
            source_in_time(),
            Fake::start(vec![Receive, Send(opened(1), vec![]), Receive]),
            300,
            Some(Fails::ToHalfway),
        ),
        case(
            "destination that never reads",
            &["-t", "5000:300"],
            Fake::start(source(&full)),
            Fake::start(vec![Send(opened(5), vec![]), StopReading]),
            300,
            Some(Fails::ToHalfway),
        ),
        case(
            "destination that sends its reply slowly",
            &["-t", "5000:300"],
            source_in_time(),
            Fake::start(vec![Receive, slowly(opened(1), 250)]),
            300,
            Some(Fails::To),
        ),
        case(
            "destination that sends its answers slowly",
            &["-t", "5000:300"],
            Fake::start(single),
            Fake::start(dripping),
            300,
            Some(Fails::ToHalfway),
        ),
        case(
            "destination with a full backlog",
            &["-t", "5000:300"],
            source_in_time(),
            full_backlog(),
            300,
            Some(Fails::ConnectTo),
        ),
        case(
            "two slow sides, each within its own limit",
            &["-t", "1200:1200"],
            slow_source(),
            slow_destination(),
            1400,
            None,
        ),
        // The backlog is full from now on, and the transfers begin a little later.
        case(
            "source with a full backlog for a while, no option",
            &[],
            Fake::with_full_backlog(slow, source(&held)),
            destination_in_time(),
            100,
            None,
        ),
        case(
            "destination with a full backlog for a while, no option",
            &[],
            source_in_time(),
            Fake::with_full_backlog(slow, vec![AcceptDump]),
            100,
            None,
        ),
        case(
            "both with a full backlog for a while, in time",
            &["-t", "5000:5000"],
            Fake::with_full_backlog(slow, source(&held)),
            Fake::with_full_backlog(slow, vec![AcceptDump]),
            100,
            None,
        ),
        case(
            "source with a full backlog, and then silent",
            &["-t", "3000:"],
            // A limit that began anew after the connection would take 5.6 seconds.
            Fake::with_full_backlog(Duration::from_millis(2600), vec![]),
            destination_in_time(),
            3000,
            Some(Fails::From),
        ),
        case("slow source, no option", &[], slow_source(), destination_in_time(), 700, None),
        case("slow source, 0", &["-t", "0:0"], slow_source(), destination_in_time(), 700, None),
        case(
            "slow source, empty",
            &["-t", ":300"],
            slow_source(),
            destination_in_time(),
            700,
            None,
        ),
        case(
            "slow destination, empty",
            &["-t", "300:"],
            source_in_time(),
            slow_destination(),
            700,
            None,
        ),
        case(
            "slow destination, number alone",
            &["-t", "300"],
            source_in_time(),
            slow_destination(),
            700,
            None,
        ),
        case(
            "slow sides, the longest limit",
            &["-t", "4294967295:4294967295"],
            slow_source(),
            slow_destination(),
            1400,
            None,
        ),
        case(
            "the last option wins: none",
            &["-t", "300", "-t0"],
            slow_source(),
            destination_in_time(),
            700,
            None,
        ),
        case(
            "the last option wins: 300",
            &["-t", "0:0", "--timeout=300"],
            silent(),
            destination_in_time(),
            300,
            Some(Fails::From),
        ),
    ];
    let wrong: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = cases.into_iter().map(|case| scope.spawn(|| case.run())).collect();
        running.into_iter().filter_map(|case| case.join().expect("a case")).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
