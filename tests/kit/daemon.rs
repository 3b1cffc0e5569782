//! Daemons: ours, and those of three generations of s6, whose programs `tests/peers.sh` unpacks. Here
//! they are started alike, for tests of what all of them do; for what our own is told on its command
//! line and says, there is `server`.

use super::process::can_be_looked_into;
use super::tool::{PATIENCE, tool};
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

/// The right to read everything out.
pub const GETDUMP: &str = "S6_FDHOLDER_GETDUMP";
/// The right to put many things in at once.
pub const SETDUMP: &str = "S6_FDHOLDER_SETDUMP";
/// The right to see what there is.
pub const LIST: &str = "S6_FDHOLDER_LIST";
/// The right to store.
pub const STORE: &str = "S6_FDHOLDER_STORE_REGEX";
/// The right to retrieve.
pub const RETRIEVE: &str = "S6_FDHOLDER_RETRIEVE_REGEX";

/// Whose daemon: that of a version of s6 that distributions ship, or ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Generation {
    /// Of Debian 12. It announces frames of 255 and cannot send more than 253 descriptors.
    S6_2_11,
    /// Of Debian 13.
    S6_2_13,
    /// The newest.
    S6_2_15,
    /// The program under test.
    Ours,
}

impl Generation {
    /// Those of s6.
    pub const ALL: [Generation; 3] =
        [Generation::S6_2_11, Generation::S6_2_13, Generation::S6_2_15];

    /// All of them.
    pub const DAEMONS: [Generation; 4] =
        [Generation::S6_2_11, Generation::S6_2_13, Generation::S6_2_15, Generation::Ours];

    /// Where its C programs lie; with our daemon go those of the newest.
    fn folder(self) -> PathBuf {
        let peers = std::env::var_os("FDHOLDER_PEERS").map(PathBuf::from);
        let peers = peers.unwrap_or_else(|| target().join("peers"));
        peers.join(match self {
            Generation::S6_2_11 => "2.11",
            Generation::S6_2_13 => "2.13",
            Generation::S6_2_15 | Generation::Ours => "2.15",
        })
    }

    /// Where its libraries lie.
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
    /// How many clients it may have at a time.
    pub maxconn: usize,
    /// The rights of everybody; with `None` there is no rule, and everybody is refused.
    pub rights: Option<&'static [&'static str]>,
    /// Its limit on open files, if it is to have one of its own.
    pub open_files: Option<usize>,
    /// Other limits, as a shell sets them.
    pub limits: &'static str,
    /// Whether it runs as an ordinary user, whoever runs the tests.
    pub unprivileged: bool,
    /// Whether it keeps others of its user from looking into it; the tests cannot either then.
    pub is_closed: bool,
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
            is_closed: false,
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
    /// Starts one that allows everything, for up to 1000 descriptors.
    pub fn start(generation: Generation) -> Daemon {
        Daemon::start_with(generation, Setup::default())
    }

    /// Starts one. Clients can connect at once, since its socket is listening already.
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
                // An empty line sets the variable to nothing, which as an expression matches all.
                // An empty file would unset it.
                fs::write(env.join(right), "\n").unwrap();
            }
        }
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();

        // Those of C have a table of thousands of descriptors on the stack.
        let mut command = Command::new("sh");
        let limits = match setup.open_files {
            Some(limit) => format!("ulimit -s unlimited && ulimit -n {limit} && "),
            None => String::new(),
        };
        let limits = limits + setup.limits;
        let start = if setup.unprivileged && geteuid().is_root() {
            // The program and its libraries may lie where that user may not go.
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
        if !setup.is_closed {
            can_be_looked_into(&mut command);
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Daemon { path, generation, child, dir }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The directory of its rules.
    pub fn rules(&self) -> PathBuf {
        self.dir.child("rules")
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.child("log")).unwrap()).into_owned()
    }

    /// How it ends, which is waited for: its exit code, or nothing if a signal ends it.
    pub fn wait(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("{:?} does not end; it said: {}", self.generation, self.log());
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// A command that runs a client of some generation on this daemon.
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
        // What it said helps to understand why a test has failed.
        let log = fs::read(self.dir.child("log")).unwrap_or_default();
        let said = String::from_utf8_lossy(&log);
        if !said.is_empty() || !matches!(ended, Ok(None)) {
            eprintln!("{:?} ({ended:?}) said: {said}", self.generation);
        }
    }
}
