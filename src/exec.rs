//! From a tool to the program that it executes.

use crate::cli::exit::Exit;
use crate::io::path::PathBuffer;
use crate::process::Process;
use crate::sys::Errno;
use crate::sys::process;
use crate::sys::strings::Strings;
use core::ffi::CStr;

/// Where programs are looked for without a `PATH`.
const PATH: &[u8] = b"/usr/bin:/bin";

/// Replaces the process by the program that is named first in `arguments`, as `execvp` finds it,
/// with the limit on open files that the process was started with. If that fails a message says so,
/// with `remark` at its end.
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

/// Tries each directory in `PATH`, unless the name has a slash, and says why none would do. One that
/// is not there is passed over; that a file may not be executed is only said if there is no other.
fn search(name: &'static CStr, arguments: Strings, environment: Strings) -> Errno {
    if name.to_bytes().contains(&b'/') {
        return process::execute(name, arguments, environment);
    }
    let mut errno = Errno::NOENT;
    for directory in environment.value(b"PATH=").unwrap_or(PATH).split(|byte| *byte == b':') {
        let mut file = PathBuffer::EMPTY;
        // An empty entry is the working directory.
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
