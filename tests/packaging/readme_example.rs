//! Runs the example of a daemon in the README.

use crate::kit::process::wait_until;
use crate::kit::tool::{TIMEOUT, run};
use crate::kit::{program, source};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use temp_dir::TempDir;

/// The only block of code in the README that contains these words.
fn block(words: &str) -> String {
    let readme = fs::read_to_string(source().join("README.md")).unwrap();
    let blocks = readme.split("```\n").skip(1).step_by(2).filter(|block| block.contains(words));
    let [block] = blocks.collect::<Vec<_>>()[..] else { panic!("not one block with {words}") };
    block.to_string()
}

/// A shell that runs commands in `folder` and finds the tools in `folder/bin`.
fn shell(folder: &Path, commands: &str) -> Command {
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-euc", commands]).env("PATH", path).current_dir(folder).stdin(Stdio::null());
    shell
}

/// A process in a group of its own. The group is terminated when this is dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

#[test]
fn the_example_of_the_readme_gives_its_user_all_rights() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path();
    fs::create_dir(folder.join("bin")).unwrap();
    let tools = run(Command::new(program()).arg("--list")).out;
    for tool in String::from_utf8(tools).unwrap().lines() {
        symlink(program(), folder.join("bin").join(tool)).unwrap();
    }

    let example = block("S6_FDHOLDER_");
    let mut daemon = Group(shell(folder, &example).process_group(0).spawn().unwrap());
    let connect = || UnixStream::connect(folder.join("fdholder/s"));
    wait_until(
        || format!("no daemon after {example}"),
        || {
            assert_eq!(daemon.0.try_wait().unwrap(), None, "{example}");
            connect().is_ok()
        },
    );

    for command in [
        "store fdholder/s one",
        "store -T 3600000 fdholder/s two",
        "list fdholder/s",
        "getdump fdholder/s env s6-fdholder-setdump fdholder/s",
        "retrieve fdholder/s one true",
        "delete fdholder/s one",
        "retrieve -D fdholder/s two true",
    ] {
        let ended = run(&mut shell(folder, &format!("s6-fdholder-{command}")));
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{command}");
    }

    // The daemon is not a child of this process. It has ended when it has disconnected.
    let mut last = connect().unwrap();
    last.set_read_timeout(Some(TIMEOUT)).unwrap();
    drop(daemon);
    last.read_to_end(&mut Vec::new()).unwrap();
}
