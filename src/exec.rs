//! Executing a program.

use crate::cli::exit::Exit;
use crate::io::path::PathBuffer;
use crate::process::Process;
use crate::sys::strings::Strings;
use crate::sys::{Errno, file, process};
use core::ffi::CStr;

/// The search path if `PATH` is not set.
const PATH: &[u8] = b"/usr/bin:/bin";

/// Replaces the process by the program `arguments[0]`, searched for as `execvp` does, with the original
/// limit on open files. If that fails, prints a message with `remark` at its end and returns the exit
/// code.
pub fn execute(
    process: &mut Process,
    arguments: Strings,
    environment: Strings,
    remark: &str,
) -> Exit {
    let name = arguments.first().unwrap_or_default();
    process.open_files.restore();
    let errno = search(name, environment, &|path| process::execute(path, arguments, environment));
    fail(process, name, errno, remark)
}

/// Makes sure that there is such a program, as far as that can be known before it is executed: a name
/// that nothing has is noticed while nothing has been done yet. If there is none a message says so.
pub fn require(process: &mut Process, arguments: Strings) -> Result<(), Exit> {
    let name = arguments.first().unwrap_or_default();
    let errno = search(name, process.environment, &|path| match file::exists(path) {
        Ok(true) => Errno::EXIST,
        Ok(false) => Errno::NOENT,
        Err(errno) => errno,
    });
    match errno {
        Errno::NOENT => Err(fail(process, name, errno, "")),
        _ => Ok(()),
    }
}

/// Says why a program cannot be executed.
fn fail(process: &mut Process, name: &CStr, errno: Errno, remark: &str) -> Exit {
    let exit = match errno {
        Errno::NOENT => Exit::ABSENT,
        Errno::TOOBIG => Exit::SYSTEM,
        _ => Exit::NOT_EXECUTABLE,
    };
    let line = process.errors.fatal().text("unable to exec ").quoted(name.to_bytes());
    line.reason(errno).text(remark).end(exit)
}

/// Tries each directory of `PATH`, or the name itself if it has a slash. Returns the reason for
/// failure. A missing file is skipped. `EACCES` is returned if no other directory has the program.
fn search(name: &CStr, environment: Strings, attempt: &dyn Fn(&CStr) -> Errno) -> Errno {
    if name.to_bytes().contains(&b'/') {
        return attempt(name);
    }
    let mut errno = Errno::NOENT;
    for directory in environment.value(b"PATH=").unwrap_or(PATH).split(|byte| *byte == b':') {
        let mut path = PathBuffer::EMPTY;
        // An empty element is the working directory.
        if !directory.is_empty() {
            path.push(directory).push(b"/");
        }
        path.push(name.to_bytes());
        match path.path().map_or_else(|errno| errno, attempt) {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => {}
            Errno::ACCES => errno = Errno::ACCES,
            other => return other,
        }
    }
    errno
}
