//! From the name that the program was called by to the applet of that name.

use crate::applets::APPLETS;
use crate::exit::{Exit, Output, Part, complain};
use crate::getopt::{Applet, Arguments, Stop};
use crate::sys::vector::Vector;
use crate::sys::{self, Errno};
use core::ffi::CStr;

/// What the program is called when it is nobody in particular.
const SELF: &str = "fdholder";

/// Runs the applet that `argv[0]` names, or, called `fdholder`, the one its first argument names.
pub fn run(mut arguments: Vector, environment: Vector) -> Exit {
    let Some(called) = arguments.next() else { return unknown(b"") };
    let name = called.to_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let applet = if name == SELF.as_bytes() {
        let Some(first) = arguments.next() else { return usage() };
        match first.to_bytes() {
            b"--help" => return print(help),
            b"--list" => return print(list),
            b"--version" => {
                return print(|out| {
                    out.put(concat!("fdholder ", env!("CARGO_PKG_VERSION"), "\n").as_bytes())
                });
            }
            b"--install" => return install(arguments, called),
            name => find(name, true).ok_or(name),
        }
    } else {
        find(name, false).ok_or(name)
    };
    match applet {
        Ok(applet) => start(applet, arguments, environment),
        Err(name) => unknown(name),
    }
}

/// Runs an applet, unless its command line asks for help or makes no sense.
fn start(applet: &'static Applet, arguments: Vector, environment: Vector) -> Exit {
    match Arguments::parse(applet, arguments, environment) {
        Ok(mut arguments) => (applet.run)(&mut arguments).err().unwrap_or(Exit::SUCCESS),
        Err(Stop::Help) => print(|out| out.put(applet.help.as_bytes())),
        Err(Stop::Usage) => applet.usage(),
    }
}

/// The applet of a name, with or without the `s6-` in front; as an argument the `fdholder-` may
/// be missing as well.
fn find(name: &[u8], short: bool) -> Option<&'static Applet> {
    APPLETS.iter().find(|applet| {
        let full = applet.name.as_bytes();
        let plain = full.strip_prefix(b"s6-").unwrap_or(full);
        name == full || name == plain || short && Some(name) == plain.strip_prefix(b"fdholder-")
    })
}

/// Prints to standard output.
fn print(write: impl FnOnce(&mut Output)) -> Exit {
    let mut out = Output::new(1);
    write(&mut out);
    match out.finish() {
        Ok(()) => Exit::SUCCESS,
        Err(errno) => {
            fatal(&[Part::Text("unable to write to standard output: "), Part::Reason(errno)])
        }
    }
}

fn list(out: &mut Output) {
    for applet in APPLETS {
        out.put(applet.name.as_bytes());
        out.put(b"\n");
    }
}

const USAGE: &str =
    "usage: fdholder [ --list | --help | --version | --install dir | name args... ]";

fn help(out: &mut Output) {
    out.put(USAGE.as_bytes());
    out.put(b"\n\nRuns the tool called name, or the one whose name it is called by:\n\n");
    list(out);
    out.put(b"\n'name --help' explains a tool. --install makes a link in dir for each.\n");
}

fn usage() -> Exit {
    complain(SELF, ": ", &[&[Part::Text(USAGE)]]);
    Exit::USAGE
}

fn unknown(name: &[u8]) -> Exit {
    let parts = [Part::Text("there is no tool of this name: "), Part::Bytes(name)];
    complain(SELF, ": fatal: ", &[&parts]);
    Exit::USAGE
}

fn fatal(parts: &[Part<'_>]) -> Exit {
    complain(SELF, ": fatal: ", &[parts]);
    Exit::SYSTEM
}

/// A path that is put together from pieces.
struct Path([u8; 4096]);

impl Path {
    fn join(pieces: &[&[u8]]) -> Option<Path> {
        let mut path = [0; 4096];
        let mut rest: &mut [u8] = &mut path;
        for piece in pieces {
            let (place, behind) = rest.split_at_mut_checked(piece.len())?;
            place.copy_from_slice(piece);
            rest = behind;
        }
        // Room for the final NUL.
        rest.first()?;
        Some(Path(path))
    }

    fn as_c(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

/// Makes a link to this very file in a directory, for each applet. A link that is already right
/// stays; if anything else is in the way, nothing is made at all.
fn install(mut arguments: Vector, called: &CStr) -> Exit {
    let Some(directory) = arguments.next() else { return usage() };
    let mut buffer = [0; 4096];
    let target = match sys::read_link(c"/proc/self/exe", &mut buffer) {
        Ok(target) => target,
        Err(_) if called.to_bytes().starts_with(b"/") => called.to_bytes(),
        Err(errno) => {
            let unknown = "unable to find out where this program lies: /proc/self/exe: ";
            return fatal(&[Part::Text(unknown), Part::Reason(errno)]);
        }
    };
    let failed = |path: &CStr, errno| {
        let path = Part::Bytes(path.to_bytes());
        fatal(&[
            Part::Text("unable to make a link at "),
            path,
            Part::Text(": "),
            Part::Reason(errno),
        ])
    };
    let Some(target) = Path::join(&[target]) else { return failed(directory, Errno::NAMETOOLONG) };
    for check in [true, false] {
        for applet in APPLETS {
            let pieces = [directory.to_bytes(), b"/", applet.name.as_bytes()];
            let Some(path) = Path::join(&pieces) else {
                return failed(directory, Errno::NAMETOOLONG);
            };
            let path = path.as_c();
            let mut buffer = [0; 4096];
            let problem = match sys::read_link(path, &mut buffer) {
                Ok(found) if found == target.as_c().to_bytes() => continue,
                Ok(_) | Err(Errno::INVAL) => Err(Errno::EXIST),
                Err(Errno::NOENT) if check => Ok(()),
                Err(Errno::NOENT) => sys::symlink(target.as_c(), path),
                Err(errno) => Err(errno),
            };
            if let Err(errno) = problem {
                return failed(path, errno);
            }
        }
    }
    Exit::SUCCESS
}
