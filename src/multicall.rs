//! From the name that the program was called by to the applet of that name.

use crate::applets::APPLETS;
use crate::exit::{self, Exit, Output};
use crate::getopt::{Applet, Arguments};
use crate::sys::text::Text;
use crate::sys::vector::Vector;
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
pub fn run(mut arguments: Vector, environment: Vector) -> ! {
    let called = arguments.next().unwrap_or(Text::EMPTY);
    // The name is what lies behind the last slash.
    let (mut name, mut rest) = (called, called);
    while let Some(byte) = rest.next() {
        if byte == b'/' {
            name = rest;
        }
    }
    exit::speak_as(SELF);
    // Others put a byte in front: `-` says that it is a login shell, systemd's initrd spares a process
    // whose name begins with `@`, and wrappers hide what they execute, as `.NAME-wrapped`.
    let mut plain = name;
    if matches!(name.first(), b'-' | b'@' | b'.') {
        plain.pop();
    }
    let mut found = find(plain, false);
    if found.is_none() && plain.behind(SELF).is_some_and(|rest| is_end(rest, false)) {
        name = arguments.next().unwrap_or_else(|| wrong_usage());
        options(name, called, &mut arguments);
        found = find(name, true);
    }
    if let Some(applet) = found {
        exit::speak_as(applet.name);
        (applet.run)(&mut Arguments::new(applet, arguments, environment));
    }
    exit::fatal().text(text!("no tool is called ")).quoted(name).end(Exit::USAGE)
}

/// Does what the first argument asks of the program itself, if it does.
fn options(name: Text, called: Text, arguments: &mut Vector) {
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

/// The applet that is meant by a name.
fn find(name: Text, by_argument: bool) -> Option<&'static Applet> {
    APPLETS.iter().find(|applet| answers_to(applet, name, by_argument))
}

/// Whether an applet is meant: by its name, with or without the `s6-` in front; as an argument the
/// `fdholder-` may be missing as well.
fn answers_to(applet: &Applet, name: Text, by_argument: bool) -> bool {
    let mut tail = applet.name;
    for _ in 0..2 + usize::from(by_argument) {
        if name.behind(tail).is_some_and(|rest| is_end(rest, by_argument)) {
            return true;
        }
        // To look for a dash is to take off all up to it.
        if !tail.any(|byte| byte == b'-') {
            break;
        }
    }
    false
}

/// Whether a name may go on like this. Packagers and wrappers add to the name of a program:
/// `-x86_64`, `-1.2`, `.static`, `-wrapped`; what does not begin with a letter is no other word. (No
/// tool has the name of another with a dash and more behind it.) Nothing is added to an argument.
fn is_end(rest: Text, by_argument: bool) -> bool {
    rest.is_empty() || !by_argument && !rest.first().is_ascii_alphabetic()
}

/// Makes a link to this very file in a directory, for each applet. A link that is already right
/// stays; if anything else is in the way, nothing is made at all, nor if the file is not there any
/// more: of a program that has been replaced the kernel names the path with ` (deleted)` behind it.
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
    target.find().unwrap_or_else(|errno| fail(Text::new(c"the program itself"), errno));
    // Whether the right link is there. Anything else that is there is an error.
    let is_there = |applet: &Applet| {
        let mut found = PathBuffer::EMPTY;
        match found.read_link(applet.name) {
            Ok(()) if found == target => true,
            // What is no link at all is `EINVAL`.
            Ok(()) | Err(Errno::INVAL) => fail(applet.name, Errno::EXIST),
            Err(Errno::NOENT) => false,
            Err(errno) => fail(applet.name, errno),
        }
    };
    for applet in APPLETS {
        is_there(applet);
    }
    for applet in APPLETS {
        match target.link(applet.name) {
            Ok(()) => {}
            // It was there before, or somebody has just made it.
            Err(Errno::EXIST) if is_there(applet) => {}
            Err(errno) => fail(applet.name, errno),
        }
    }
    exit::success()
}
