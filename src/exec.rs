//! Executing a program.

use crate::cli::exit::Exit;
use crate::io::path::PathBuffer;
use crate::process::Process;
use crate::sys::Errno;
use crate::sys::process;
use crate::sys::strings::Strings;
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
    let errno = search(name, arguments, environment);
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
fn search(name: &'static CStr, arguments: Strings, environment: Strings) -> Errno {
    if name.to_bytes().contains(&b'/') {
        return process::execute(name, arguments, environment);
    }
    let mut errno = Errno::NOENT;
    for directory in environment.value(b"PATH=").unwrap_or(PATH).split(|byte| *byte == b':') {
        let mut file = PathBuffer::EMPTY;
        // An empty element is the working directory.
        if !directory.is_empty() {
            file.push(directory).push(b"/");
        }
        file.push(name.to_bytes());
        let failed = file.path().map(|path| process::execute(path, arguments, environment));
        match failed.unwrap_or_else(|errno| errno) {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => {}
            Errno::ACCES => errno = Errno::ACCES,
            other => return other,
        }
    }
    errno
}
