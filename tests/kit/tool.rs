//! Runs a tool until it ends or the timeout passes.

use super::program;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any step of a test takes. A program that needs more hangs.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// How a tool ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code, or 1000 and the signal's number if a signal ended it.
    pub code: i32,
    /// What it wrote to standard output.
    pub out: Vec<u8>,
    /// What it wrote to standard error.
    pub err: String,
    /// How long it took.
    pub wall: Duration,
}

/// The tool of that name in the program under test.
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(program());
    command.arg0(name);
    command
}

/// Runs `command` and collects its output.
///
/// Panics if it has not ended after [`TIMEOUT`]; then it is killed.
pub fn run(command: &mut Command) -> Ended {
    Running::start(command).wait()
}

/// Runs the test of that name in a process of its own, in which no other test opens descriptors or starts
/// programs. Tests that run the product inside the test program need that: the descriptor that a closer
/// puts in place of another is not closed on exec, and a daemon makes its process uninspectable. `module` is
/// the value of `module_path!`.
pub fn in_own_process(module: &str, name: &str, test: impl FnOnce()) {
    const ALONE: &str = "FDHOLDER_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return test();
    }
    let (_, module) = module.split_once("::").unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", &format!("{module}::{name}"), "--nocapture"]).env(ALONE, "yes");
    let ended = run(&mut again);
    let out = String::from_utf8_lossy(&ended.out);
    assert!(ended.code == 0 && out.contains("1 passed"), "{out}{}", ended.err);
}

/// A running tool.
pub struct Running {
    /// The command, for messages.
    command: String,
    child: Child,
    out: thread::JoinHandle<Vec<u8>>,
    err: thread::JoinHandle<Vec<u8>>,
    begun: Instant,
}

impl Running {
    /// Starts `command`. It inherits standard input unless the caller has set another one.
    pub fn start(command: &mut Command) -> Running {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // If it hangs, its whole process group is killed.
        command.process_group(0);
        let begun = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let out = collect(child.stdout.take().unwrap());
        let err = collect(child.stderr.take().unwrap());
        Running { command: format!("{command:?}"), child, out, err, begun }
    }

    /// Waits for the end of the tool, as [`run`] does.
    pub fn wait(mut self) -> Ended {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.begun.elapsed() > TIMEOUT {
                kill_process_group(Pid::from_child(&self.child), Signal::KILL).unwrap();
                self.child.wait().unwrap();
                let err = String::from_utf8_lossy(&self.err.join().unwrap()).into_owned();
                panic!("{} hangs; it wrote {err:?}", self.command);
            }
            thread::sleep(Duration::from_millis(1));
        };
        let wall = self.begun.elapsed();
        let code = status.code().unwrap_or_else(|| 1000 + status.signal().unwrap());
        let err = String::from_utf8(self.err.join().unwrap()).expect("messages are ASCII");
        Ended { code, out: self.out.join().unwrap(), err, wall }
    }
}

/// Reads to the end in another thread.
fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    })
}
