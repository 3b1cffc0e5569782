//! From the name that the program was called by to the applet of that name.

use crate::applets::APPLETS;
use crate::exit::{Exit, Output};
use crate::fd::Fd;
use crate::getopt::{Applet, Arguments};
use crate::sys::vector::Vector;
use crate::sys::{self, Errno};
use core::ffi::CStr;

/// What the program is called when it is nobody in particular.
const SELF: &[u8] = b"fdholder";

const USAGE: &str =
    "usage: fdholder [ --list | --help | --version | --install dir | name args... ]";
const HELP: &str = "

Runs the tool called name, or the one whose name it is called by:

";
const MORE: &str = "
'name --help' explains a tool. --install makes a link in dir for each.
";
const VERSION: &str = concat!("fdholder ", env!("CARGO_PKG_VERSION"), "\n");

/// Runs the applet that `argv[0]` names, or, called `fdholder`, the one its first argument names.
pub fn run(mut arguments: Vector, environment: Vector) -> ! {
    let called = arguments.first_c().unwrap_or_default();
    arguments.advance();
    let mut name = called.to_bytes();
    if let Some(slash) = name.iter().rposition(|byte| *byte == b'/') {
        name = &name[slash + 1..];
    }
    let by_argument = name == SELF;
    if by_argument {
        name = arguments.next().unwrap_or_else(|| wrong(USAGE, b""));
        let is = |option: &str| name == option.as_bytes();
        let mut out = Output::new(1, SELF);
        if is("--help") {
            names(out.text(USAGE).text(HELP)).text(MORE).close(Exit::SUCCESS);
        }
        if is("--list") {
            names(&mut out).close(Exit::SUCCESS);
        }
        if is("--version") {
            out.text(VERSION).close(Exit::SUCCESS);
        }
        if is("--install") {
            install(arguments, called);
        }
    }
    for applet in APPLETS {
        if answers_to(applet, name, by_argument) {
            sys::exit((applet.run)(&mut Arguments::new(applet, arguments, environment)).0);
        }
    }
    wrong("fatal: there is no tool of this name: ", name)
}

/// Says what is wrong with the way the program was called.
fn wrong(what: &str, name: &[u8]) -> ! {
    Output::message(SELF).text(what).quoted(name).end(Exit::USAGE)
}

/// Adds the names of all applets, one a line.
fn names(out: &mut Output) -> &mut Output {
    for applet in APPLETS {
        out.put(applet.name()).text("\n");
    }
    out
}

/// Whether an applet is meant: by its name, with or without the `s6-` in front; as an argument the
/// `fdholder-` may be missing as well.
fn answers_to(applet: &Applet, name: &[u8], by_argument: bool) -> bool {
    const S6: usize = "s6-".len();
    const FDHOLDER: usize = "s6-fdholder-".len();
    let full = applet.name();
    let missing = full.len().wrapping_sub(name.len());
    (missing == 0 || missing == S6 || missing == FDHOLDER && by_argument)
        && full.get(missing..) == Some(name)
}

/// Makes a link to this very file in a directory, for each applet. A link that is already right
/// stays; if anything else is in the way, nothing is made at all.
fn install(arguments: Vector, called: &CStr) -> ! {
    let path = arguments.first_c().unwrap_or_else(|| wrong(USAGE, b""));
    let mut what: &[u8] = b"";
    if let Err(errno) = make_links(path, called, &mut what) {
        let mut line = Output::fatal(SELF);
        line.text("unable to make links in ").quoted(path.to_bytes()).text(": ").put(what);
        line.reason(errno).end(Exit::SYSTEM);
    }
    sys::exit(Exit::SUCCESS.0)
}

/// Keeps in `what` the file that it is busy with, to be named if that fails.
fn make_links(path: &CStr, called: &CStr, what: &mut &[u8]) -> Result<(), Errno> {
    const SELF_LINK: &CStr = c"/proc/self/exe";
    let (mut buffer, mut found) = ([0; 2048], [0; 2048]);
    *what = SELF_LINK.to_bytes();
    let target = match sys::read_link(None, SELF_LINK, &mut buffer) {
        // Without /proc an absolute name of the program is as good.
        Err(Errno::NOENT) if called.to_bytes().first() == Some(&b'/') => called,
        target => target?,
    };
    *what = b"the directory";
    let directory = sys::open_directory(path).map(|number| Fd::own(number as i32))?;
    for check in [true, false] {
        for applet in APPLETS {
            *what = applet.name();
            match sys::read_link(directory.as_ref(), applet.link, &mut found) {
                Ok(found) if found == target => {}
                Ok(_) | Err(Errno::INVAL) => return Err(Errno::EXIST),
                Err(Errno::NOENT) if check => {}
                Err(Errno::NOENT) => sys::symlink(target, directory.as_ref(), applet.link)?,
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}
