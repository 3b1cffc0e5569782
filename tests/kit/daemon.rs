//! Starts daemons: ours, and those of three generations of s6, whose programs `tests/peers.sh` unpacks.
//! All are started in the same way, for tests of what they have in common. `server` starts a daemon with
//! any command line and reads its messages.

use super::process::allow_inspection;
use super::tool::{TIMEOUT, tool};
use super::{program, target};
use rustix::process::geteuid;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use temp_dir::TempDir;

/// The right to get a dump.
pub const GETDUMP: &str = "S6_FDHOLDER_GETDUMP";
/// The right to set a dump.
pub const SETDUMP: &str = "S6_FDHOLDER_SETDUMP";
/// The right to list the identifiers.
pub const LIST: &str = "S6_FDHOLDER_LIST";
/// The right to store.
pub const STORE: &str = "S6_FDHOLDER_STORE_REGEX";
/// The right to retrieve.
pub const RETRIEVE: &str = "S6_FDHOLDER_RETRIEVE_REGEX";

/// Selects a daemon: one of three versions of s6 that distributions ship, or ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Generation {
    /// Of Debian 12. It announces frames of 255 entries and cannot send a dump of more than 253.
    S6_2_11,
    /// Of Debian 13.
    S6_2_13,
    /// The newest.
    S6_2_15,
    /// The program under test.
    Ours,
}

impl Generation {
    /// The daemons of s6.
    pub const ALL: [Generation; 3] =
        [Generation::S6_2_11, Generation::S6_2_13, Generation::S6_2_15];

    /// The daemons of s6, and ours.
    pub const DAEMONS: [Generation; 4] =
        [Generation::S6_2_11, Generation::S6_2_13, Generation::S6_2_15, Generation::Ours];

    /// The folder of its C programs. Our daemon is tested with the newest ones.
    fn folder(self) -> PathBuf {
        let peers = std::env::var_os("FDHOLDER_PEERS").map(PathBuf::from);
        let peers = peers.unwrap_or_else(|| target().join("peers"));
        peers.join(match self {
            Generation::S6_2_11 => "2.11",
            Generation::S6_2_13 => "2.13",
            Generation::S6_2_15 | Generation::Ours => "2.15",
        })
    }

    /// The folder of its libraries.
    pub fn libraries(self) -> PathBuf {
        self.folder().join("lib")
    }

    /// A command that runs one of its programs.
    pub fn command(self, program: &str) -> Command {
        if self == Generation::Ours {
            return tool(program);
        }
        let mut command = Command::new(self.program(program));
        command.env("LD_LIBRARY_PATH", self.libraries());
        command
    }

    /// The path of one of its programs.
    fn program(self, name: &str) -> PathBuf {
        let path = self.folder().join("bin").join(name);
        let missing = "is missing: `sh tests/peers.sh` fetches the C tools that the tests talk to";
        assert!(path.exists(), "{} {missing}", path.display());
        path
    }
}

/// How to start a daemon.
#[derive(Clone, Copy)]
pub struct Setup {
    /// How many descriptors it may hold.
    pub maxfds: usize,
    /// How many clients may be connected at the same time.
    pub maxconn: usize,
    /// The rights of all users. With `None` there is no rule, and all users are refused.
    pub rights: Option<&'static [&'static str]>,
    /// Its limit on open files. `None` leaves the limit of the tests.
    pub open_files: Option<usize>,
    /// Shell commands that set other limits.
    pub limits: &'static str,
    /// Whether it runs as an ordinary user, also if root runs the tests.
    pub unprivileged: bool,
    /// Whether it may forbid other processes of its user to inspect it. The tests cannot inspect it then.
    pub forbids_inspection: bool,
    /// More options.
    pub options: &'static [&'static str],
}

impl Default for Setup {
    fn default() -> Setup {
        let rights = Some(&[GETDUMP, SETDUMP, LIST, STORE, RETRIEVE][..]);
        Setup {
            maxfds: 1000,
            maxconn: 16,
            rights,
            open_files: None,
            limits: "true",
            unprivileged: false,
            forbids_inspection: false,
            options: &[],
        }
    }
}

/// A running daemon. It ends when this is dropped.
pub struct Daemon {
    /// The path of its socket.
    pub path: PathBuf,
    /// Which one it is.
    pub generation: Generation,
    child: Child,
    dir: TempDir,
}

impl Daemon {
    /// Starts a daemon that allows all requests and holds up to 1000 descriptors.
    pub fn start(generation: Generation) -> Daemon {
        Daemon::start_with(generation, Setup::default())
    }

    /// Starts a daemon. Clients can connect at once, because the test has made the listening socket.
    pub fn start_with(generation: Generation, setup: Setup) -> Daemon {
        let dir = TempDir::new().unwrap();
        let path = dir.child("s");
        let rules = dir.child("rules");
        fs::create_dir(&rules).unwrap();
        if let Some(rights) = setup.rights {
            let env = rules.join("uid/default/env");
            fs::create_dir_all(&env).unwrap();
            File::create(rules.join("uid/default/allow")).unwrap();
            for right in rights {
                // An empty line sets the variable to an empty text, which as an expression matches any
                // identifier. An empty file would unset the variable.
                fs::write(env.join(right), "\n").unwrap();
            }
        }
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();

        // The C daemons have a table of thousands of descriptors on the stack.
        let mut command = Command::new("sh");
        let limits = match setup.open_files {
            Some(limit) => format!("ulimit -s unlimited && ulimit -n {limit} && "),
            None => String::new(),
        };
        let limits = limits + setup.limits;
        let start = if setup.unprivileged && geteuid().is_root() {
            // That user may have no access to the folders of the program and its libraries.
            let link = dir.child("fdholder");
            symlink("/proc/self/fd/9", &link).unwrap();
            let user = "setpriv --reuid=65534 --regid=65534 --clear-groups";
            let libraries = match generation {
                Generation::Ours => "",
                _ => "exec 8<\"$LD_LIBRARY_PATH\" && LD_LIBRARY_PATH=/proc/self/fd/8 && ",
            };
            format!("{libraries}exec {user} {} \"$@\" 9<\"$0\"", link.display())
        } else {
            "exec \"$0\" \"$@\"".to_string()
        };
        command.arg("-c").arg(format!("{limits} && {start}"));
        if generation == Generation::Ours {
            command.arg(program()).arg("s6-fdholderd");
        } else {
            command.arg(generation.program("s6-fdholderd"));
            command.env("LD_LIBRARY_PATH", generation.libraries());
        }
        command.args(["-n", &setup.maxfds.to_string(), "-c", &setup.maxconn.to_string()]);
        command.args(setup.options).arg("-i").arg(&rules);
        command.stdin(OwnedFd::from(listener)).stdout(Stdio::null());
        command.stderr(File::create(dir.child("log")).unwrap());
        if !setup.forbids_inspection {
            allow_inspection(&mut command);
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Daemon { path, generation, child, dir }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its rules directory.
    pub fn rules(&self) -> PathBuf {
        self.dir.child("rules")
    }

    /// What it has written to standard error so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.child("log")).unwrap()).into_owned()
    }

    /// Waits for its end. Returns the exit code, or `None` if a signal ended it.
    pub fn wait(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < TIMEOUT {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("{:?} does not end; its log: {}", self.generation, self.log());
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// A command that runs a client tool of the given generation with this daemon.
    pub fn client(&self, generation: Generation, name: &str) -> Command {
        let mut command = generation.command(name);
        command.arg(&self.path);
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let ended = self.child.try_wait();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // The log helps to see why a test failed.
        let log = fs::read(self.dir.child("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        if !log.is_empty() || !matches!(ended, Ok(None)) {
            eprintln!("log of {:?} ({ended:?}): {log}", self.generation);
        }
    }
}
