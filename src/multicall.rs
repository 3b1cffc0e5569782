//! Selects the applet by the name that the program was called by.

use crate::applets::APPLETS;
use crate::cli::exit::Exit;
use crate::cli::getopt::Stop;
use crate::io::path;
use crate::process::Process;
use crate::sys::Errno;
use crate::sys::file;
use core::ffi::CStr;

/// A tool: a row of the table that `build.rs` generates.
pub struct Applet {
    /// Its name, with `s6-` if it has that.
    pub name: &'static CStr,
    /// The usage line.
    pub usage: &'static str,
    /// What `--help` prints after the usage line.
    pub help: &'static str,
    /// Runs the tool. [`Stop`] if the command line is wrong or asks for help; the tool has done nothing
    /// then.
    pub run: fn(&mut Process) -> Result<Exit, Stop>,
}

/// The name of the program when it is called as no tool.
const SELF: &str = "fdholder";

const USAGE: &str =
    "usage: fdholder [ --list | --help | --version | --install dir | name args... ]";
const HELP: &str = "

Runs the tool called name, or the one it is called as:

";
const MORE: &str = "
'name --help' explains each. --install makes links in dir.
";

/// An option of the program itself. The second parameter is `argv[0]`.
type OwnOption = fn(&mut Process, &'static CStr) -> Exit;

/// The options of the program itself, as its first argument.
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

/// Runs the applet that `argv[0]` names. If that is `fdholder`, runs the applet that the first argument
/// names.
pub fn run(process: &mut Process) -> Exit {
    let called = process.arguments.operand().unwrap_or_default();
    let mut name = called.to_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    // Callers prepend a byte: `-` marks a login shell, `@` a process that systemd spares at the end of
    // an initrd, and wrappers rename the program to `.NAME-wrapped`.
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
    process.errors.set_name(applet.name);
    match (applet.run)(process) {
        Ok(exit) => exit,
        Err(Stop) if process.arguments.asks_for_help() => {
            process.out.text(applet.usage);
            answer(process, applet.help)
        }
        Err(Stop) => process.errors.message().text(applet.usage).end(Exit::USAGE),
    }
}

/// The applet of a name, with or without `s6-`. As an argument the name may also lack `fdholder-`.
fn find(name: &[u8], by_argument: bool) -> Option<&'static Applet> {
    APPLETS.iter().find(|applet| {
        let whole = applet.name.to_bytes();
        let tail = whole.strip_prefix(b"s6-").unwrap_or(whole);
        let short = tail.strip_prefix(b"fdholder-").unwrap_or(tail);
        let is_meant = |tail| is_name(name, tail, by_argument);
        is_meant(whole) || is_meant(tail) || by_argument && is_meant(short)
    })
}

/// True if `name` is that of the tool. Packagers and wrappers append `-x86_64`, `-1.2`, `.static` or
/// `-wrapped` to a program's name, so any suffix that does not begin with a letter is accepted. (No
/// tool's name is another tool's name with a dash and more.) An argument has no suffix.
fn is_name(name: &[u8], tool: &[u8], by_argument: bool) -> bool {
    match name.strip_prefix(tool) {
        Some([]) => true,
        Some([first, ..]) => !by_argument && !first.is_ascii_alphabetic(),
        None => false,
    }
}

/// Prints the usage line of the program.
fn wrong_usage(process: &mut Process) -> Exit {
    process.errors.message().text(USAGE).end(Exit::USAGE)
}

/// Prints the names of all applets, one a line, and then a text.
fn names(process: &mut Process, text: &str) -> Exit {
    for applet in APPLETS {
        process.out.bytes(applet.name.to_bytes()).byte(b'\n');
    }
    answer(process, text)
}

/// Appends a text to standard output and flushes it.
fn answer(process: &mut Process, text: &str) -> Exit {
    match process.out.text(text).flush() {
        Ok(()) => Exit::SUCCESS,
        Err(errno) => process.errors.output_failed(errno),
    }
}

/// Makes a symbolic link to this program for each applet, in a directory.
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

/// Makes the links. A link that is right already stays. If anything else has the name of a link, no
/// link is made. Nor is one made if the program's file does not exist: the kernel's path of a program
/// that has been replaced ends in `(deleted)`. The error says what failed.
fn make_links(directory: &CStr, called: &'static CStr) -> Result<(), (&'static CStr, Errno)> {
    const SELF_LINK: &CStr = c"/proc/self/exe";
    let mut buffer = [0; path::SIZE];
    let target = match path::read_link(SELF_LINK, &mut buffer) {
        // Without /proc, an absolute `argv[0]` will do.
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

/// With `make` makes a link, unless it exists; otherwise checks that this is possible.
fn link(target: &CStr, name: &CStr, make: bool) -> Result<(), Errno> {
    if is_linked(target, name)? || !make {
        return Ok(());
    }
    match file::link(target, name) {
        // Another process has just made it.
        Err(Errno::EXIST) if is_linked(target, name)? => Ok(()),
        made => made,
    }
}

/// True if the right link exists. `EEXIST` if something else does.
fn is_linked(target: &CStr, name: &CStr) -> Result<bool, Errno> {
    let mut buffer = [0; path::SIZE];
    match path::read_link(name, &mut buffer) {
        Ok(found) if found == target => Ok(true),
        // `readlink` returns `EINVAL` for anything but a link.
        Ok(_) | Err(Errno::INVAL) => Err(Errno::EXIST),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}
