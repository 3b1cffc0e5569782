//! `s6-fdholder-daemon`: a listening socket, fewer privileges, and then the daemon.

use crate::applets::fdholderd;
use crate::applets::options::daemon as option;
use crate::daemon::listener::{self, Privileges};
use crate::daemon::{self, Settings};
use crate::exit::{self, Exit};
use crate::getopt::{self, Arguments};
use crate::sys::text::Text;
use crate::text::text;

/// What the kernel cuts to its own limit.
const BACKLOG: u32 = 4096;

pub fn run(arguments: &mut Arguments) -> ! {
    let mut settings = Settings::DEFAULT;
    let mut privileges = Privileges::UNCHANGED;
    let (mut backlog, mut replaces) = (None, true);
    while let Some(letter) = arguments.option() {
        let number = match letter {
            option::BACKLOG => &mut backlog,
            option::USER => &mut privileges.uid,
            option::GROUP => &mut privileges.gid,
            _ => {
                match letter {
                    option::REPLACE => replaces = true,
                    option::NO_REPLACE => replaces = false,
                    option::GROUPS => groups(&mut privileges, arguments.value, arguments),
                    option::ENVIRONMENT => from_environment(&mut privileges, arguments),
                    _ => fdholderd::set(&mut settings, letter, arguments),
                }
                continue;
            }
        };
        *number = Some(arguments.number());
    }
    let backlog = backlog.unwrap_or(BACKLOG);
    let path = arguments.operand();
    if settings.rules.is_none() {
        arguments.applet.wrong_usage();
    }
    if let Err(errno) = listener::listen(path, backlog, replaces) {
        daemon::fail(text!("unable to bind to "), path, errno);
    }
    if let Err(errno) = privileges.assume() {
        daemon::fail(text!("unable to drop privileges"), Text::EMPTY, errno);
    }
    fdholderd::serve(&settings, arguments)
}

/// Takes a list of groups.
fn groups(privileges: &mut Privileges, list: Text, arguments: &Arguments) {
    if !privileges.set_groups(list) {
        arguments.applet.wrong_usage();
    }
}

/// Takes user and groups from the environment; there must be a user and a group.
fn from_environment(privileges: &mut Privileges, arguments: &Arguments) {
    groups(privileges, Text::EMPTY, arguments);
    (privileges.uid, privileges.gid) = (None, None);
    for variable in arguments.environment {
        if let Some(value) = variable.behind(Text::new(c"UID=")) {
            privileges.uid = getopt::number(value);
        } else if let Some(value) = variable.behind(Text::new(c"GID=")) {
            privileges.gid = getopt::number(value);
        } else if let Some(value) = variable.behind(Text::new(c"GIDLIST=")) {
            groups(privileges, value, arguments);
        }
    }
    if privileges.uid.is_none() || privileges.gid.is_none() {
        exit::fatal()
            .text(text!("UID and GID must be numbers in the environment"))
            .end(Exit::USAGE);
    }
}
