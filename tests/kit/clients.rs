//! The client tools that make one request, ours and those of C. This module hides how each is started.
//! Other differences between them are listed in the tests, with the reason.

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

/// Whose tools a test runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Implementation {
    /// The program under test.
    Ours,
    /// The C tools of s6. They show that the expectations of the tests are right.
    C(Generation),
}

/// The tools, each with the fewest operands that it accepts.
pub const TOOLS: [(&str, &[&str]); 6] = [
    ("store", &["PATH", "new"]),
    ("retrieve", &["PATH", "held", "true"]),
    ("delete", &["PATH", "held"]),
    ("list", &["PATH"]),
    ("getdump", &["PATH", "true"]),
    ("setdump", &["PATH"]),
];

impl Implementation {
    /// The daemons to run the tools with. Ours must work with all daemons, the C tools with their own
    /// daemon and with ours.
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

    /// Whether getdump can receive a dump of `count` entries from this daemon.
    pub fn can_receive_dump(self, count: usize, daemon: Generation) -> bool {
        // The daemon of 2.11 cannot send more than one frame. The client of 2.11 expects the number of
        // frames that 255 entries a frame result in, which no other daemon announces.
        let announced = count.div_ceil(253) == count.div_ceil(255);
        (count <= 253 || daemon != S6_2_11) && (announced || self != Implementation::C(S6_2_11))
    }

    /// The words of a command line that starts a tool from within another program.
    pub fn words(self, name: &str) -> Vec<OsString> {
        let name = format!("s6-fdholder-{name}");
        match self {
            Implementation::Ours => vec![program().into(), name.into()],
            Implementation::C(generation) => vec![generation.command(&name).get_program().into()],
        }
    }

    /// A command that runs a tool. Its standard input is `/dev/null`, and variables describe that
    /// descriptor for setdump.
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

    /// The same, started by another program, which executes the tool. Variables are not set, because
    /// shells drop names like `S6_FD#`.
    pub fn behind(self, other: &[&str], name: &str) -> Command {
        let mut command = Command::new(other[0]);
        command.args(&other[1..]).args(self.words(name)).stdin(Stdio::null());
        if let Implementation::C(generation) = self {
            command.env("LD_LIBRARY_PATH", generation.libraries());
        }
        command
    }

    /// The same, started by a shell that first runs `first`, with redirections.
    pub fn through(self, first: &str, redirections: &str, name: &str) -> Command {
        let script = format!("{first} exec \"$0\" \"$@\" {redirections}");
        self.behind(&["sh", "-c", &script], name)
    }

    /// The same, with its standard input moved to another number. Standard input is closed then.
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

/// The words of a case. `PATH` stands for the path of the socket, and `LONG` for an identifier that is
/// too long.
pub fn words(words: &[&str], path: &Path) -> Vec<OsString> {
    let word = |word: &&str| match *word {
        "PATH" => path.into(),
        "LONG" => long().into(),
        word => OsString::from(word),
    };
    words.iter().map(word).collect()
}

/// How a tool ends: its exit code, and its message behind `fatal: ` or an empty text. `usage` stands for
/// the usage line, `PATH` and `LONG` are replaced as in [`words`], and a `*` at the end matches any text.
pub type End = (i32, &'static str);

/// A case in which C tools end differently from ours: which generations, how, and why.
pub type Differs = (&'static [Generation], End, &'static str);

/// All generations of C.
pub const C: &[Generation] = &Generation::ALL;
/// The older generations of C.
pub const OLD: &[Generation] = &[S6_2_11, S6_2_13];

/// Checks how a tool of `of` has ended: as `end` says, or as the row of `not` for this generation says.
pub fn check(
    of: Implementation,
    name: &str,
    path: &Path,
    ended: &Ended,
    end: End,
    not: &[Differs],
) {
    let different = not.iter().find(|(who, ..)| match of {
        Implementation::Ours => false,
        Implementation::C(generation) => who.contains(&generation),
    });
    let ((code, text), why) = different.map_or((end, ""), |(_, end, why)| (*end, *why));
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

/// Checks that a tool succeeded and wrote nothing to standard error.
pub fn succeeded(ended: &Ended) {
    assert_eq!((ended.code, &ended.err[..]), (0, ""));
}

/// Options that only our tools have: the tool, and the part of its usage line in front of the operands, as
/// ` [ --option value ]`.
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

/// An entry for each identifier, with a file and an expiry of its own. Equal expiries corrupt the table of
/// the C daemons.
pub fn hold<I: AsRef<[u8]>>(ids: impl IntoIterator<Item = I>) -> Vec<Held> {
    let expiry = |at: u64| expiry_in(Duration::from_secs(3600 + at));
    ids.into_iter().zip(0..).map(|(id, at)| Held::new(id, expiry(at), memfd())).collect()
}

/// Whether two dumps are equal. The dates of entries that never expire are not compared.
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

/// A file with this text, with its position at the start.
pub fn file(text: &str) -> OwnedFd {
    let mut file = File::from(memfd());
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file.into()
}

/// A script for `sh -c`. It prints the open descriptors of the shell with device and inode, then `--`, then
/// the environment that the shell was executed with, including names that a shell drops. The descriptor by
/// which the shell reads the folder is closed before `stat` runs, so the test for a link drops it.
pub const REPORT_SCRIPT: &str = r#"
    for fd in /proc/$$/fd/*; do if [ -h $fd ]; then all="$all $fd"; fi; done
    stat -L -c '%n %d %i' $all; echo --; cat /proc/$$/environ"#;

/// What [`REPORT_SCRIPT`] printed.
pub struct Report {
    /// Number, device and inode of each open descriptor.
    pub open: Vec<(u32, (u64, u64))>,
    /// The environment, in order.
    pub environment: Vec<Vec<u8>>,
}

impl Report {
    /// Parses the output of the script.
    pub fn parse(out: &[u8]) -> Report {
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
        Report { open, environment }
    }

    /// Device and inode of a descriptor.
    pub fn inode(&self, number: u32) -> (u64, u64) {
        let found = self.open.iter().find(|(open, _)| *open == number);
        found.unwrap_or_else(|| panic!("{number} is not open")).1
    }
}

/// An identifier as `s6-fdholder-list` prints it.
pub fn quoted(id: &[u8]) -> String {
    let mut text = String::new();
    for byte in id {
        match byte {
            7..=13 => text.extend(['\\', char::from(b"abtnvfr"[usize::from(byte - 7)])]),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\0x{byte:02x}")),
        }
    }
    text
}
