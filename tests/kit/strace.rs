//! Runs programs under strace: traces their system calls, injects answers in place of the kernel's, and
//! has tables of the expected effects.

use super::program;
use std::fs;
use std::io::Error;
use std::path::Path;
use std::process::Command;

/// A system call in a trace.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// How many calls of that name the trace has up to and including this one.
    pub nth: usize,
    /// The line that strace prints. Contents of buffers are abbreviated.
    pub line: String,
}

impl Call {
    /// Whether strace has answered it, so that the kernel has not seen it.
    pub fn is_injected(&self) -> bool {
        self.line.ends_with("(INJECTED)")
    }

    /// Its first argument, which is the descriptor in most calls.
    pub fn object(&self) -> &str {
        let object = self.line.split(['(', ',', ')']).nth(1).unwrap_or_default();
        // Addresses and process numbers differ from run to run.
        if object.starts_with("0x") || self.name == "pidfd_open" { "" } else { object }
    }

    /// The injection for strace that makes this call fail with this error, or return 0 if `errno` is 0.
    /// With `lasts`, it applies to all later calls of that name as well.
    pub fn answered(&self, errno: i32, lasts: bool) -> String {
        let answer = if errno == 0 { "retval=0".into() } else { format!("error={errno}") };
        self.inject(&answer, lasts)
    }

    /// The injection that kills the process when it enters this call.
    pub fn kill_injection(&self) -> String {
        self.inject("signal=KILL", false)
    }

    fn inject(&self, what: &str, lasts: bool) -> String {
        let Call { name, nth, .. } = self;
        format!("{name}:{what}:when={nth}{}", if lasts { "+" } else { "" })
    }
}

/// Begins a command that runs our program under strace with these injections. strace writes the trace to
/// a file. The words that the caller adds are the arguments of the program. The program is the child of
/// strace, whose exit code is that of the program.
pub fn strace(trace: &Path, answers: &[String]) -> Command {
    begin(&[], trace, answers)
}

/// The same, but the program is the child of the test, and strace a detached process.
pub fn strace_detached(trace: &Path, answers: &[String]) -> Command {
    begin(&["-D"], trace, answers)
}

fn begin(options: &[&str], trace: &Path, answers: &[String]) -> Command {
    let mut command = Command::new("strace");
    command.args(options).args(["-s9", "-o"]).arg(trace);
    command.args(answers.iter().map(|answer| format!("-einject={answer}"))).arg(program());
    command
}

/// The calls of a program, without the `execve` that started it, and up to one that executes another
/// program.
pub fn calls(trace: &Path) -> Vec<Call> {
    let trace = fs::read_to_string(trace).expect("a trace (is strace installed?)");
    let mut calls: Vec<Call> = Vec::new();
    // Lines that begin with `+` or `-` are about signals and the end.
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

/// The calls of the first run that all three runs have in common. How often a program waits differs from
/// run to run.
pub fn common(runs: [&[Call]; 3]) -> Vec<Call> {
    let comes = |call: &Call| {
        let is_it = |other: &Call| other.name == call.name && other.nth == call.nth;
        runs.iter().all(|calls| calls.iter().any(is_it))
    };
    runs[0].iter().filter(|call| comes(call)).cloned().collect()
}

/// A row of a fault table. Its columns are:
///
/// 1. a part of the names of the runs that it applies to, or an empty text for all runs;
/// 2. the name of the call;
/// 3. a part of the line that strace prints, or `#3` for the third call of that name;
/// 4. the possible answers: errors, or 0 for a return value of 0;
/// 5. the expected effect.
#[derive(Clone, Copy)]
pub struct Row<D: 'static>(
    pub &'static str,
    pub &'static str,
    pub &'static str,
    pub &'static [i32],
    pub D,
);

impl<D: Copy> Row<D> {
    /// Whether it applies to this call in the run of that name.
    pub fn is_about(&self, run: &str, call: &Call) -> bool {
        let Row(part, name, with, ..) = *self;
        let is_it = call.line.contains(with) || format!("#{}", call.nth) == with;
        run.contains(part) && call.name == name && is_it
    }
}

/// The possible answers to a call with the expected effects. `None` if no row applies. If several rows have
/// the same answer, the first row counts. With `each`, the first two calls of a name get all answers. Of
/// the later ones, every `each`-th gets one answer of each row, in turn.
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

/// The text of the C library for an error. 0 stands for a return value of 0 where the program needs more,
/// which it reports as `EIO`.
pub fn reason(errno: i32) -> String {
    let errno = if errno == 0 { libc::EIO } else { errno };
    let text = Error::from_raw_os_error(errno).to_string();
    text.split(" (os error ").next().unwrap().into()
}
