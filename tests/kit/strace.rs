//! Programs under strace: what they ask of the kernel, what is answered in the kernel's place, and
//! tables of what is due then.

use super::program;
use std::fs;
use std::io::Error;
use std::path::Path;
use std::process::Command;

/// A call of a program's.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it is called.
    pub name: String,
    /// How many of that name there were up to this one.
    pub nth: usize,
    /// As strace prints it, without most of the contents.
    pub line: String,
}

impl Call {
    /// Whether the kernel has never heard of it.
    pub fn is_injected(&self) -> bool {
        self.line.ends_with("(INJECTED)")
    }

    /// What it is about: the descriptor in most cases.
    pub fn object(&self) -> &str {
        let object = self.line.split(['(', ',', ')']).nth(1).unwrap_or_default();
        // Where memory lies differs from run to run, and so does the number of the process.
        if object.starts_with("0x") || self.name == "pidfd_open" { "" } else { object }
    }

    /// What strace is to be told so that this call, or if it `lasts` all of that name from this one
    /// on, gets this answer: an error, or 0 for a result of nothing.
    pub fn answered(&self, errno: i32, lasts: bool) -> String {
        let answer = if errno == 0 { "retval=0".into() } else { format!("error={errno}") };
        self.inject(&answer, lasts)
    }

    /// The same so that the process is killed on the way into this call.
    pub fn deadly(&self) -> String {
        self.inject("signal=KILL", false)
    }

    fn inject(&self, what: &str, lasts: bool) -> String {
        let Call { name, nth, .. } = self;
        format!("{name}:{what}:when={nth}{}", if lasts { "+" } else { "" })
    }
}

/// Begins a command that runs our program under strace, which writes down its calls, with these
/// answers in place of the kernel's. The words that follow are the program's. It is the child of
/// strace, whose exit code is that of the program.
pub fn strace(trace: &Path, answers: &[String]) -> Command {
    begin(&[], trace, answers)
}

/// The same, where the program is our child and strace is nobody's.
pub fn strace_aside(trace: &Path, answers: &[String]) -> Command {
    begin(&["-D"], trace, answers)
}

fn begin(options: &[&str], trace: &Path, answers: &[String]) -> Command {
    let mut command = Command::new("strace");
    command.args(options).args(["-s9", "-o"]).arg(trace);
    command.args(answers.iter().map(|answer| format!("-einject={answer}"))).arg(program());
    command
}

/// The calls of a program, up to one that replaces it by another program. That it was started is
/// none of them.
pub fn calls(trace: &Path) -> Vec<Call> {
    let trace = fs::read_to_string(trace).expect("is strace there?");
    let mut calls: Vec<Call> = Vec::new();
    // In front of others are signals and the end.
    for line in trace.lines().skip(1).filter(|line| !line.starts_with(['+', '-'])) {
        let name = line.split('(').next().unwrap_or_default();
        let nth = 1 + calls.iter().filter(|call| call.name == name).count();
        calls.push(Call { name: name.into(), nth, line: line.into() });
        if name == "execve" && line.ends_with(" = 0") {
            break;
        }
    }
    calls
}

/// Those of the first run that come in all of them: how often a program waits, and what for, depends
/// on who is faster.
pub fn common(runs: [&[Call]; 3]) -> Vec<Call> {
    let comes = |call: &Call| {
        let is_it = |other: &Call| other.name == call.name && other.nth == call.nth;
        runs.iter().all(|calls| calls.iter().any(is_it))
    };
    runs[0].iter().filter(|call| comes(call)).cloned().collect()
}

/// In which runs of a program, if not in all; which call; what stands in its line as strace prints
/// it, or which of that name it is; what can be answered, errors or 0 for a result of nothing; and
/// what is due then.
#[derive(Clone, Copy)]
pub struct Row<D: 'static>(
    pub &'static str,
    pub &'static str,
    pub &'static str,
    pub &'static [i32],
    pub D,
);

impl<D: Copy> Row<D> {
    /// Whether it is about a call in the run of that name.
    pub fn is_about(&self, run: &str, call: &Call) -> bool {
        let Row(part, name, with, ..) = *self;
        let is_it = call.line.contains(with) || format!("#{}", call.nth) == with;
        run.contains(part) && call.name == name && is_it
    }
}

/// What can be answered to a call and what is due then; nothing if no row is about it. Of rows that
/// have the same answer the first one counts. With `each` a call that comes often gets all answers
/// at first, and then every so many times the next of each row.
pub fn rows<D: Copy>(
    table: &[Row<D>],
    run: &str,
    call: &Call,
    each: Option<usize>,
) -> Option<Vec<(i32, D)>> {
    let (mut answers, mut seen) = (None::<Vec<(i32, D)>>, Vec::new());
    for Row(.., errnos, due) in table.iter().filter(|row| row.is_about(run, call)) {
        let answers = answers.get_or_insert_default();
        for (at, errno) in errnos.iter().enumerate() {
            let is_its_turn = each.is_none_or(|each| {
                call.nth < 3 || call.nth % each == 0 && call.nth / each % errnos.len() == at
            });
            if is_its_turn && !seen.contains(errno) {
                answers.push((*errno, *due));
            }
        }
        seen.extend(errnos.iter());
    }
    answers
}

/// What the C library says of an error. A result of nothing where there has to be something counts
/// as an error of the device.
pub fn reason(errno: i32) -> String {
    let errno = if errno == 0 { libc::EIO } else { errno };
    let text = Error::from_raw_os_error(errno).to_string();
    text.split(" (os error ").next().unwrap().into()
}
