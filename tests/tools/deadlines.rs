//! `-t`: how long may be waited for whom.

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

/// How much longer than its limit something may take on a busy machine.
const SLACK: Duration = Duration::from_secs(1);

/// A transfer with its options.
struct Case {
    name: &'static str,
    options: &'static [&'static str],
    from: Fake,
    to: Fake,
    /// How long it takes at least, in milliseconds; at most it takes [`SLACK`] more.
    takes: u64,
    /// Who is waited for in vain, and what for.
    fails: Option<Fails>,
}

#[derive(Clone, Copy)]
enum Fails {
    /// The source cannot be connected to.
    ConnectFrom,
    /// The source does not deliver.
    From,
    /// The destination cannot be connected to.
    ConnectTo,
    /// The destination does not take it.
    To,
    /// The destination does not take it, after it has said that it would.
    ToHalfway,
}

impl Case {
    /// Runs it, and says what is wrong.
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
        let due = match self.fails {
            None => String::new(),
            Some(_) => format!(
                "s6-fdholder-transferdump: fatal: unable to {message}: Connection timed out"
            ),
        };
        let Ended { code: is, out, err, wall } =
            transfer(self.options, &self.from.path, &self.to.path);
        let behind = err.strip_prefix(&due).unwrap_or("another message");
        let ends_well = match self.fails {
            None => behind.is_empty(),
            Some(Fails::ToHalfway) => {
                let end = " descriptors acknowledged, the source still holds all\n";
                behind.starts_with("; ") && behind.ends_with(end)
            }
            Some(_) => behind == "\n",
        };
        let least = Duration::from_millis(self.takes);
        let in_time = (least..least + SLACK).contains(&wall);
        drop((self.from.seen(), self.to.seen()));
        let right = is == code && out.is_empty() && ends_well && in_time;
        (!right).then(|| format!("{}: exit {is} after {wall:?}, {err}", self.name))
    }
}

/// All in one test, so that all wait at the same time.
#[test]
fn each_side_is_waited_for_as_long_as_it_was_given_and_no_longer() {
    raise_open_file_limit();
    let slow = Duration::from_millis(700);
    let held = files_to_hold(3, 255);
    let full = files_to_hold(5 * 253, 255);
    let small = || frames(&held, 253).pop().unwrap();
    let good = || Fake::start(source(&held));
    let takes = || {
        let answer = Send(status(0), vec![]);
        Fake::start(vec![Receive, Send(opened(1), vec![]), Receive, answer])
    };
    let reply = || granted(1, 3);
    let mute = || Fake::start(vec![Receive]);
    let with_full_backlog = || Fake::with_full_backlog(Duration::from_secs(10), vec![]);
    let slow_source = || {
        let mut script = source(&held);
        script.insert(1, Pause(slow));
        Fake::start(script)
    };
    let slow_destination = || {
        let answer = Send(status(0), vec![]);
        Fake::start(vec![Receive, Pause(slow), Send(opened(1), vec![]), Receive, answer])
    };
    let drips = |bytes: Vec<u8>, pause| SendSlowly(bytes, vec![], Duration::from_millis(pause));
    // Twenty frames, each of which is answered in time.
    let many = files_to_hold(20, 255);
    let mut single = vec![Receive, Send(granted(20, 20), vec![])];
    single.extend(frames(&many, 1).into_iter().map(|(bytes, fds)| Send(bytes, fds)));
    let answers = repeat_with(|| [Receive, drips(status(11), 20)]).take(20).flatten();
    let dripping = [Receive, Send(opened(20), vec![])].into_iter().chain(answers).collect();

    let case =
        |name, options, from, to, takes, fails| Case { name, options, from, to, takes, fails };
    let cases = vec![
        case("mute source", &["-t", "300:"], mute(), takes(), 300, Some(Fails::From)),
        case("mute source, number alone", &["-t300"], mute(), takes(), 300, Some(Fails::From)),
        case(
            "source that does not even read",
            &["-t", "300:5000"],
            Fake::start(vec![StopReading]),
            takes(),
            300,
            Some(Fails::From),
        ),
        case(
            "source that drips its reply",
            &["-t", "300:5000"],
            Fake::start(vec![Receive, drips(reply(), 40)]),
            takes(),
            300,
            Some(Fails::From),
        ),
        case(
            "source that drips a frame",
            &["-t", "300:5000"],
            Fake::start(vec![
                Receive,
                Send(reply(), vec![]),
                SendSlowly(small().0, small().1, Duration::from_millis(20)),
            ]),
            takes(),
            300,
            Some(Fails::From),
        ),
        case(
            "with_full_backlog source",
            &["-t", "300:5000"],
            with_full_backlog(),
            takes(),
            300,
            Some(Fails::ConnectFrom),
        ),
        case("mute destination", &["-t", ":300"], good(), mute(), 300, Some(Fails::To)),
        case(
            "destination that does not answer a frame",
            &["-t", "5000:300"],
            good(),
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
            "destination that drips its reply",
            &["-t", "5000:300"],
            good(),
            Fake::start(vec![Receive, drips(opened(1), 40)]),
            300,
            Some(Fails::To),
        ),
        case(
            "destination that drips its answers",
            &["-t", "5000:300"],
            Fake::start(single),
            Fake::start(dripping),
            300,
            Some(Fails::ToHalfway),
        ),
        case(
            "with_full_backlog destination",
            &["-t", "5000:300"],
            good(),
            with_full_backlog(),
            300,
            Some(Fails::ConnectTo),
        ),
        case(
            "two slow sides, charged each for itself",
            &["-t", "1200:1200"],
            slow_source(),
            slow_destination(),
            1400,
            None,
        ),
        // These are crowded from now on, and the transfers begin a little later.
        case(
            "source that is with_full_backlog for a while, no option",
            &[],
            Fake::with_full_backlog(slow, source(&held)),
            takes(),
            100,
            None,
        ),
        case(
            "destination that is with_full_backlog for a while, no option",
            &[],
            good(),
            Fake::with_full_backlog(slow, vec![AcceptDump]),
            100,
            None,
        ),
        case(
            "both with_full_backlog for a while, in time",
            &["-t", "5000:5000"],
            Fake::with_full_backlog(slow, source(&held)),
            Fake::with_full_backlog(slow, vec![AcceptDump]),
            100,
            None,
        ),
        case(
            "source that is with_full_backlog and then mute",
            &["-t", "1500:"],
            Fake::with_full_backlog(Duration::from_millis(1200), vec![]),
            takes(),
            1500,
            Some(Fails::From),
        ),
        case("slow source, no option", &[], slow_source(), takes(), 700, None),
        case("slow source, 0", &["-t", "0:0"], slow_source(), takes(), 700, None),
        case("slow source, empty", &["-t", ":300"], slow_source(), takes(), 700, None),
        case("slow destination, empty", &["-t", "300:"], good(), slow_destination(), 700, None),
        case(
            "slow destination, number alone",
            &["-t", "300"],
            good(),
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
            takes(),
            700,
            None,
        ),
        case(
            "the last option wins: 300",
            &["-t", "0:0", "--timeout=300"],
            mute(),
            takes(),
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
