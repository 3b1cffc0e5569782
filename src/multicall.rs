//! From the name that the program was called by to the applet of that name.

use crate::applets::APPLETS;
use crate::exit::{self, Exit, Output};
use crate::getopt::{Applet, Arguments};
use crate::sys::text::Text;
use crate::sys::vector::{Auxiliary, Vector};
use crate::sys::{self, Errno, PathBuffer};
use crate::text::{Phrase, text};
use core::ffi::CStr;

/// What the program is called when it is nobody in particular.
const SELF: Text = Text::new(c"fdholder");

const USAGE: Phrase =
    text!("usage: fdholder [ --list | --help | --version | --install dir | name args... ]");
const HELP: Phrase = text!(
    "

Runs the tool called name, or the one it is called as:

"
);
const MORE: Phrase = text!(
    "
'name --help' explains each. --install makes links in dir.
"
);

const VERSION: Text = match CStr::from_bytes_with_nul(
    concat!("fdholder ", env!("CARGO_PKG_VERSION"), "\n\0").as_bytes(),
) {
    Ok(version) => Text::new(version),
    Err(_) => panic!("the version has a NUL"),
};

/// Runs the applet that `argv[0]` names, or, called `fdholder`, the one its first argument names.
pub fn run(mut arguments: Vector, environment: Vector, auxiliary: Auxiliary) -> ! {
    let called = arguments.next().unwrap_or(Text::EMPTY);
    // The name is what lies behind the last slash.
    let (mut name, mut rest) = (called, called);
    while let Some(byte) = rest.next() {
        if byte == b'/' {
            name = rest;
        }
    }
    exit::speak_as(SELF);
    let by_argument = name == SELF;
    if by_argument {
        name = arguments.next().unwrap_or_else(|| wrong_usage());
        let out = exit::answer();
        if name == Text::new(c"--help") {
            out.text(USAGE).text(HELP);
            names(out).text(MORE).close(Exit::SUCCESS);
        }
        if name == Text::new(c"--list") {
            names(out).close(Exit::SUCCESS);
        }
        if name == Text::new(c"--version") {
            out.name(VERSION).close(Exit::SUCCESS);
        }
        if name == Text::new(c"--install") {
            let path = arguments.next().unwrap_or_else(|| wrong_usage());
            install(path, called);
        }
    }
    for applet in APPLETS {
        if answers_to(applet, name, by_argument) {
            exit::speak_as(applet.name);
            (applet.run)(&mut Arguments::new(applet, arguments, environment, auxiliary));
        }
    }
    exit::fatal().text(text!("no tool is called ")).quoted(name).end(Exit::USAGE)
}

/// Says how the program is to be called.
fn wrong_usage() -> ! {
    exit::message().text(USAGE).end(Exit::USAGE)
}

/// Adds the names of all applets, one a line.
fn names(out: Output) -> Output {
    for applet in APPLETS {
        out.name(applet.name).byte(b'\n');
    }
    out
}

/// Whether an applet is meant: by its name, with or without the `s6-` in front; as an argument the
/// `fdholder-` may be missing as well.
fn answers_to(applet: &Applet, name: Text, by_argument: bool) -> bool {
    let mut tail = applet.name;
    let mut may_be_missing = 1 + usize::from(by_argument);
    while tail != name {
        // To look for a dash is to take off all up to it.
        if may_be_missing == 0 || !tail.any(|byte| byte == b'-') {
            return false;
        }
        may_be_missing -= 1;
    }
    true
}

/// Makes a link to this very file in a directory, for each applet. A link that is already right
/// stays; if anything else is in the way, nothing is made at all.
fn install(path: Text, called: Text) -> ! {
    const SELF_LINK: Text = Text::new(c"/proc/self/exe");
    let fail = move |what: Text, errno: Errno| -> ! {
        let line = exit::fatal();
        line.text(text!("unable to make links in ")).quoted(path).text(text!(": "));
        line.name(what).reason(errno.number()).end(Exit::SYSTEM)
    };
    let mut target = PathBuffer::EMPTY;
    let read = match target.read_link(SELF_LINK) {
        // Without /proc an absolute name of the program is as good.
        Err(Errno::NOENT) if called.first() == b'/' => {
            target.text(called);
            Ok(())
        }
        result => result,
    };
    read.and(target.check()).unwrap_or_else(|errno| fail(SELF_LINK, errno));
    sys::change_directory(path).unwrap_or_else(|errno| fail(Text::new(c"the directory"), errno));
    for applet in APPLETS {
        let mut found = PathBuffer::EMPTY;
        match found.read_link(applet.name) {
            Ok(()) if found == target => {}
            // What is no link at all is `EINVAL`.
            Ok(()) | Err(Errno::INVAL) => fail(applet.name, Errno::EXIST),
            Err(Errno::NOENT) => {}
            Err(errno) => fail(applet.name, errno),
        }
    }
    for applet in APPLETS {
        match target.link(applet.name) {
            // One that was there is right, as has just been seen.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => fail(applet.name, errno),
        }
    }
    exit::success()
}
