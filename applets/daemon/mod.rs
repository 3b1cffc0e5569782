//! `s6-fdholder-daemon`: a listening socket, fewer privileges, and then the daemon.

use crate::applets::fdholderd;
use crate::applets::options::daemon as option;
use crate::daemon::listener::{self, Failure, GROUPS, Privileges};
use crate::daemon::{self, Settings};
use crate::exit::{self, Exit};
use crate::getopt::Arguments;
use crate::sys::text::Text;
use crate::text::text;

/// How many connections may wait unless -b says it. The kernel cuts it to its own limit.
const BACKLOG: u32 = 4096;

pub fn run(arguments: &mut Arguments) -> ! {
    let mut settings = Settings::DEFAULT;
    let mut privileges = Privileges::UNCHANGED;
    let (mut backlog, mut replaces) = (BACKLOG, true);
    while let Some(letter) = arguments.option() {
        match letter {
            option::REPLACE => replaces = true,
            option::NO_REPLACE => replaces = false,
            option::BACKLOG => backlog = arguments.number(),
            option::USER | option::GROUP | option::GROUPS => {
                if !privileges.set(place(letter), arguments.value) {
                    arguments.applet.wrong_usage();
                }
            }
            option::ENVIRONMENT => from_environment(&mut privileges, arguments),
            _ => fdholderd::set(&mut settings, letter, arguments),
        }
    }
    let path = arguments.operand();
    if settings.rules.is_none() {
        arguments.applet.wrong_usage();
    }
    if let Err(Failure { errno, served_by }) = listener::listen(path, backlog, replaces) {
        let line = exit::fatal().text(text!("unable to bind to ")).quoted(path);
        line.reason(errno.number());
        if let Some(process) = served_by {
            line.text(text!(" by a daemon that still serves what it holds"));
            if process > 0 {
                line.text(text!(", process ")).number(process);
            }
        }
        line.end(Exit::SYSTEM)
    }
    if let Err(errno) = privileges.assume() {
        daemon::fail(text!("unable to drop privileges"), Text::EMPTY, errno);
    }
    fdholderd::serve(&settings, arguments)
}

/// Which of the privileges an option is about.
fn place(letter: u8) -> usize {
    match letter {
        option::USER => 0,
        option::GROUP => 1,
        _ => GROUPS,
    }
}

/// Takes user, group and groups from the environment. Of groups there may be none.
fn from_environment(privileges: &mut Privileges, arguments: &Arguments) {
    for (place, name) in [c"UID=", c"GID=", c"GIDLIST="].into_iter().enumerate() {
        let value = arguments.environment.value(Text::new(name)).unwrap_or(Text::EMPTY);
        if !privileges.set(place, value) {
            exit::fatal().text(text!("UID, GID or GIDLIST is not valid")).end(Exit::USAGE);
        }
    }
}
