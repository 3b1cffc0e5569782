//! From the name that the program was called by to the applet of that name.

use crate::applets::APPLETS;
use crate::cli::exit::Exit;
use crate::cli::getopt::Stop;
use crate::io::path;
use crate::process::Process;
use crate::sys::Errno;
use crate::sys::file;
use core::ffi::CStr;

/// A tool: what it is called and what it does. Its row in the table is made by `build.rs`.
pub struct Applet {
    /// Its name, with the `s6-` in front.
    pub name: &'static CStr,
    /// How it is to be used, in one line.
    pub usage: &'static str,
    /// What `--help` prints below that.
    pub help: &'static str,
    /// What it does. A wrong command line stops it before it has done anything.
    pub run: fn(&mut Process) -> Result<Exit, Stop>,
}

/// What the program is called when it is no tool in particular.
const SELF: &str = "fdholder";

const USAGE: &str =
    "usage: fdholder [ --list | --help | --version | --install dir | name args... ]";
const HELP: &str = "

Runs the tool called name, or the one it is called as:

";
const MORE: &str = "
'name --help' explains each. --install makes links in dir.
";

/// What an option of the program itself does. The second parameter is what it is called.
type OwnOption = fn(&mut Process, &'static CStr) -> Exit;

/// What the program itself can be asked for, by its first argument.
static OWN_OPTIONS: [(&str, OwnOption); 4] = [
    ("--help", |process, _| {
        process.out.text(USAGE).text(HELP);
        names(process, MORE)
    }),
    ("--list", |process, _| names(process, "")),
    ("--version", |process, _| answer(process, VERSION)),
    ("--install", install),
];

const VERSION: &str = concat!("fdholder ", env!("CARGO_PKG_VERSION"), "\n");

/// Runs the applet that `argv[0]` names, or, called `fdholder`, the one its first argument names.
pub fn run(process: &mut Process) -> Exit {
    let called = process.arguments.operand().unwrap_or_default();
    let mut name = called.to_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    // Others put a byte in front: `-` says that it is a login shell, systemd's initrd spares a process
    // whose name begins with `@`, and wrappers hide what they execute, as `.NAME-wrapped`.
    let plain = match name {
        [b'-' | b'@' | b'.', plain @ ..] => plain,
        _ => name,
    };
    let mut found = find(plain, false);
    if found.is_none() && is_name(plain, SELF.as_bytes(), false) {
        let Ok(argument) = process.arguments.operand() else { return wrong_usage(process) };
        name = argument.to_bytes();
        for (option, run) in &OWN_OPTIONS {
            if option.as_bytes() == name {
                return run(process, called);
            }
        }
        found = find(name, true);
    }
    let Some(applet) = found else {
        return process.errors.fatal().text("no tool is called ").quoted(name).end(Exit::USAGE);
    };
    process.errors.speak_as(applet.name);
    match (applet.run)(process) {
        Ok(exit) => exit,
        Err(Stop) if process.arguments.asks_for_help() => {
            process.out.text(applet.usage);
            answer(process, applet.help)
        }
        Err(Stop) => process.errors.message().text(applet.usage).end(Exit::USAGE),
    }
}

/// The applet that is meant by a name: its own, with or without the `s6-` in front; as an argument the
/// `fdholder-` may be missing as well.
fn find(name: &[u8], by_argument: bool) -> Option<&'static Applet> {
    APPLETS.iter().find(|applet| {
        let whole = applet.name.to_bytes();
        let tail = whole.strip_prefix(b"s6-").unwrap_or(whole);
        let short = tail.strip_prefix(b"fdholder-").unwrap_or(tail);
        let is_meant = |tail| is_name(name, tail, by_argument);
        is_meant(whole) || is_meant(tail) || by_argument && is_meant(short)
    })
}

/// Whether a name is that of a tool. Packagers and wrappers add to the name of a program: `-x86_64`,
/// `-1.2`, `.static`, `-wrapped`; what does not begin with a letter is no other word. (No tool has the
/// name of another with a dash and more behind it.) Nothing is added to an argument.
fn is_name(name: &[u8], tool: &[u8], by_argument: bool) -> bool {
    match name.strip_prefix(tool) {
        Some([]) => true,
        Some([first, ..]) => !by_argument && !first.is_ascii_alphabetic(),
        None => false,
    }
}

/// Says how the program is to be called.
fn wrong_usage(process: &mut Process) -> Exit {
    process.errors.message().text(USAGE).end(Exit::USAGE)
}

/// Prints the names of all applets, one a line, and a text behind them.
fn names(process: &mut Process, text: &str) -> Exit {
    for applet in APPLETS {
        process.out.bytes(applet.name.to_bytes()).byte(b'\n');
    }
    answer(process, text)
}

/// Ends an answer with a text.
fn answer(process: &mut Process, text: &str) -> Exit {
    match process.out.text(text).flush() {
        Ok(()) => Exit::SUCCESS,
        Err(errno) => process.errors.no_output(errno),
    }
}

/// Makes links to this very file in a directory, for each applet.
fn install(process: &mut Process, called: &'static CStr) -> Exit {
    let Ok(path) = process.arguments.operand() else { return wrong_usage(process) };
    match make_links(path, called) {
        Ok(()) => Exit::SUCCESS,
        Err((what, errno)) => {
            let line = process.errors.fatal().text("unable to make links in ");
            line.quoted(path.to_bytes()).text(": ").bytes(what.to_bytes());
            line.reason(errno).end(Exit::SYSTEM)
        }
    }
}

/// A link that is already right stays; if anything else is in the way, nothing is made at all, nor if the
/// file is not there any more: of a program that has been replaced the kernel names the path with
/// ` (deleted)` behind it. The error says what failed.
fn make_links(directory: &CStr, called: &'static CStr) -> Result<(), (&'static CStr, Errno)> {
    const SELF_LINK: &CStr = c"/proc/self/exe";
    let mut buffer = [0; path::SIZE];
    let target = match path::read_link(SELF_LINK, &mut buffer) {
        // Without /proc an absolute name of the program is as good.
        Err(Errno::NOENT) if called.to_bytes().starts_with(b"/") => called,
        read => read.map_err(|errno| (SELF_LINK, errno))?,
    };
    file::change_directory(directory).map_err(|errno| (c"the directory", errno))?;
    if !file::exists(target).map_err(|errno| (c"the program itself", errno))? {
        return Err((c"the program itself", Errno::NOENT));
    }
    for make in [false, true] {
        for applet in APPLETS {
            link(target, applet.name, make).map_err(|errno| (applet.name, errno))?;
        }
    }
    Ok(())
}

/// Makes a link called `name`, unless it is there, or only looks whether that is possible.
fn link(target: &CStr, name: &CStr, make: bool) -> Result<(), Errno> {
    if is_linked(target, name)? || !make {
        return Ok(());
    }
    match file::link(target, name) {
        // Somebody has just made it.
        Err(Errno::EXIST) if is_linked(target, name)? => Ok(()),
        made => made,
    }
}

/// Whether the right link is there. Anything else that is there is an error.
fn is_linked(target: &CStr, name: &CStr) -> Result<bool, Errno> {
    let mut buffer = [0; path::SIZE];
    match path::read_link(name, &mut buffer) {
        Ok(found) if found == target => Ok(true),
        // What is no link at all is `EINVAL`.
        Ok(_) | Err(Errno::INVAL) => Err(Errno::EXIST),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}
