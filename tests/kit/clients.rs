//! The clients for one thing each, ours and those of C. How they are started is one difference
//! between them; the others are listed where they show, with the reason.

use super::daemon::Generation::{self, S6_2_11, S6_2_13, S6_2_15};
use super::daemon::{Daemon, Setup};
use super::tool::{Ended, tool};
use super::wire::{Held, Identity, expiry_in};
use super::{memfd, program};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Whose tools they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Implementation {
    /// Those of the program under test.
    Ours,
    /// Those of s6, on which the expectations themselves are checked.
    C(Generation),
}

/// All tools that these tests are about, with the least operands that each can do with.
pub const TOOLS: [(&str, &[&str]); 6] = [
    ("store", &["PATH", "new"]),
    ("retrieve", &["PATH", "held", "true"]),
    ("delete", &["PATH", "held"]),
    ("list", &["PATH"]),
    ("getdump", &["PATH", "true"]),
    ("setdump", &["PATH"]),
];

impl Implementation {
    /// Daemons to run the tools on: ours have to do with all of them, those of C with their own
    /// and with ours.
    pub fn generations(self) -> Vec<Generation> {
        match self {
            Implementation::Ours => Generation::DAEMONS.to_vec(),
            Implementation::C(generation) => vec![generation, Generation::Ours],
        }
    }

    /// A daemon of each of those generations.
    pub fn daemons(self, setup: Setup) -> Vec<Daemon> {
        let generations = self.generations().into_iter();
        generations.map(|generation| Daemon::start_with(generation, setup)).collect()
    }

    /// Whether getdump takes a dump of so many from a daemon.
    pub fn takes(self, count: usize, daemon: Generation) -> bool {
        // The daemon of 2.11 cannot send more than a frame, and the client of 2.11 wants frames of
        // 255 to be announced, which no other daemon sends.
        let announced = count.div_ceil(253) == count.div_ceil(255);
        (count <= 253 || daemon != S6_2_11) && (announced || self != Implementation::C(S6_2_11))
    }

    /// The words that start a tool from within another program.
    pub fn words(self, name: &str) -> Vec<OsString> {
        let name = format!("s6-fdholder-{name}");
        match self {
            Implementation::Ours => vec![program().into(), name.into()],
            Implementation::C(generation) => vec![generation.command(&name).get_program().into()],
        }
    }

    /// A command that runs a tool, with an empty standard input, and with variables that describe
    /// that one for setdump.
    pub fn command(self, name: &str) -> Command {
        let name = format!("s6-fdholder-{name}");
        let mut command = match self {
            Implementation::Ours => tool(&name),
            Implementation::C(generation) => generation.command(&name),
        };
        command.stdin(Stdio::null());
        describe(&mut command);
        command
    }

    /// The same behind another program, which is to execute it. Shells drop variables of names
    /// like `S6_FD#`.
    pub fn behind(self, other: &[&str], name: &str) -> Command {
        let mut command = Command::new(other[0]);
        command.args(&other[1..]).args(self.words(name)).stdin(Stdio::null());
        if let Implementation::C(generation) = self {
            command.env("LD_LIBRARY_PATH", generation.libraries());
        }
        command
    }

    /// The same behind a shell that does something first, and with redirections.
    pub fn through(self, first: &str, redirections: &str, name: &str) -> Command {
        let script = format!("{first} exec \"$0\" \"$@\" {redirections}");
        self.behind(&["sh", "-c", &script], name)
    }

    /// The same with what would be its standard input at another number, and none as standard
    /// input.
    pub fn moved(self, number: &str, name: &str) -> Command {
        let generation = match self {
            Implementation::Ours => S6_2_15,
            Implementation::C(generation) => generation,
        };
        let libraries = generation.libraries();
        let mover = libraries.with_file_name("usr/lib/execline/bin/fdmove");
        let mut command = self.behind(&[mover.to_str().unwrap(), number, "0"], name);
        command.env("LD_LIBRARY_PATH", libraries);
        command
    }
}

/// Sets the variables that describe standard input for setdump.
pub fn describe(command: &mut Command) {
    command.envs([("S6_FD#", "1"), ("S6_FD_0", "0"), ("S6_FDID_0", "new")]);
    command.env_remove("S6_FDLIMIT_0");
}

/// An identifier that is too long by one byte.
fn long() -> String {
    "x".repeat(256)
}

/// The words of a case, in which `PATH` is the path of the socket and `LONG` too long an
/// identifier.
pub fn words(words: &[&str], path: &Path) -> Vec<OsString> {
    let word = |word: &&str| match *word {
        "PATH" => path.into(),
        "LONG" => long().into(),
        word => OsString::from(word),
    };
    words.iter().map(word).collect()
}

/// How a tool ends: its exit code and what it says behind `fatal: `, or nothing. `PATH` is the
/// path of the socket, `LONG` as above, and a `*` at the end stands for anything.
pub type End = (i32, &'static str);

/// Where some of C's tools end in another way than ours: which, how, and why.
pub type Differs = (&'static [Generation], End, &'static str);

/// All generations differ from ours.
pub const C: &[Generation] = &Generation::ALL;
/// The older ones do.
pub const OLD: &[Generation] = &[S6_2_11, S6_2_13];

/// Checks how a tool has ended that `of` provides.
pub fn check(
    of: Implementation,
    name: &str,
    path: &Path,
    ended: &Ended,
    end: End,
    not: &[Differs],
) {
    let due = not.iter().find(|(who, ..)| match of {
        Implementation::Ours => false,
        Implementation::C(generation) => who.contains(&generation),
    });
    let ((code, text), why) = due.map_or((end, ""), |(_, end, why)| (*end, *why));
    let text = text.replace("PATH", path.to_str().unwrap_or_default()).replace("LONG", &long());
    let whole = match &text[..] {
        "" => String::new(),
        "usage" => format!("s6-fdholder-{name}: {}\n", usage(of, name)),
        text => format!("s6-fdholder-{name}: fatal: {text}\n"),
    };
    let right = match whole.strip_suffix("*\n") {
        Some(begin) => ended.err.starts_with(begin) && ended.err.ends_with('\n'),
        None => ended.err == whole,
    };
    assert!(
        right && ended.code == code,
        "{of:?} {name} {why}: exit {} {:?}, not {code} {whole:?}",
        ended.code,
        ended.err,
    );
}

/// Checks that it went well, of which nothing is said.
pub fn succeeded(ended: &Ended) {
    assert_eq!((ended.code, &ended.err[..]), (0, ""));
}

/// What stands in front of the operands in a usage line of ours and not in that of C: a tool, and its
/// options as ` [ --option value ]`.
const OWN_OPTIONS: &[(&str, &str)] = &[];

/// The usage line of a tool.
pub fn usage(of: Implementation, name: &str) -> String {
    let line = match name {
        "store" => "[ -d fd ] [ -t timeout ] [ -T fdtimeout ] socket id",
        "retrieve" => "[ -D ] [ -t timeout ] socket id prog...",
        "delete" => "[ -t timeout ] socket id",
        "getdump" => "[ -t timeout ] socket prog...",
        _ => "[ -t timeout ] socket",
    };
    let own = OWN_OPTIONS.iter().filter(|(tool, _)| *tool == name && of == Implementation::Ours);
    let own: String = own.map(|(_, options)| *options).collect();
    format!("usage: s6-fdholder-{name} {}", line.replace(" socket", &format!("{own} socket")))
}

/// A thing to hold for each identifier, with a file and an expiry of its own: equal ones corrupt
/// the table of the C daemons.
pub fn hold<I: AsRef<[u8]>>(ids: impl IntoIterator<Item = I>) -> Vec<Held> {
    let expiry = |at: u64| expiry_in(Duration::from_secs(3600 + at));
    ids.into_iter().zip(0..).map(|(id, at)| Held::new(id, expiry(at), memfd())).collect()
}

/// Whether two dumps are the same. What never expires has no date worth comparing.
pub fn same_dump(found: &[Identity], expected: &[Identity]) -> bool {
    let halfway = expiry_in(Duration::from_secs(1 << 60));
    let lasting = |all: &[Identity]| {
        let all = all.iter().map(|(id, expiry, inode)| {
            (id.clone(), (*expiry < halfway).then_some(*expiry), *inode)
        });
        let mut all: Vec<_> = all.collect();
        all.sort();
        all
    };
    lasting(found) == lasting(expected)
}

/// A file with this in it, to be read from the start.
pub fn file(text: &str) -> OwnedFd {
    let mut file = File::from(memfd());
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file.into()
}

/// The argument of `sh -c` that has a shell print which descriptors it has, with device and inode
/// of each; then `--`, and the environment it was executed with, which keeps names that a shell
/// drops. What the shell has open while it reads the folder is gone when it looks again.
pub const LOOK: &str = r#"
    for fd in /proc/$$/fd/*; do if [ -h $fd ]; then all="$all $fd"; fi; done
    stat -L -c '%n %d %i' $all; echo --; cat /proc/$$/environ"#;

/// What [`LOOK`] has seen.
pub struct Look {
    /// Number, device and inode of each open descriptor.
    pub open: Vec<(u32, (u64, u64))>,
    /// The environment, in order.
    pub environment: Vec<Vec<u8>>,
}

impl Look {
    /// Out of what it has written.
    pub fn new(out: &[u8]) -> Look {
        let at = out.windows(4).position(|bytes| bytes == b"\n--\n").expect("both parts");
        let line = |line: &str| {
            let fields = line.rsplit('/').next().unwrap();
            let numbers: Vec<u64> = fields.split(' ').map(|n| n.parse().unwrap()).collect();
            (numbers[0] as u32, (numbers[1], numbers[2]))
        };
        let mut open: Vec<_> = std::str::from_utf8(&out[..at]).unwrap().lines().map(line).collect();
        open.sort();
        let environment = out[at + 4..].split_inclusive(|byte| *byte == 0);
        let environment = environment.map(|v| v.strip_suffix(&[0]).unwrap().to_vec()).collect();
        Look { open, environment }
    }

    /// Device and inode of a descriptor.
    pub fn inode(&self, number: u32) -> (u64, u64) {
        let found = self.open.iter().find(|(open, _)| *open == number);
        found.unwrap_or_else(|| panic!("{number} is not open")).1
    }
}
