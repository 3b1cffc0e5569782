//! Executing a program.

use crate::cli::exit::Exit;
use crate::cli::output::Writer;
use crate::io::open_files::OpenFiles;
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
    let errno = attempt(&process.open_files, arguments, environment);
    let (line, exit) = report(&mut process.errors, arguments, errno);
    line.text(remark).end(exit)
}

/// The same, but returns the reason for failure and prints no message: see [`report`].
pub fn attempt(open_files: &OpenFiles, arguments: Strings, environment: Strings) -> Errno {
    let name = arguments.first().unwrap_or_default();
    open_files.restore();
    search(name, environment, &|path| process::execute(path, arguments, environment))
}

/// Checks whether the program can be executed, as far as the kernel tells before. If it cannot, a message
/// says so, and the tool has not done anything yet.
pub fn require(errors: &mut Writer, environment: Strings, arguments: Strings) -> Result<(), Exit> {
    let name = arguments.first().unwrap_or_default();
    let found = |path: &CStr| file::is_executable(path).err().unwrap_or(Errno::EXIST);
    match search(name, environment, &found) {
        errno @ (Errno::NOENT | Errno::ACCES) => {
            let (line, exit) = report(errors, arguments, errno);
            Err(line.end(exit))
        }
        // The kernel may not tell, and execute it nevertheless.
        _ => Ok(()),
    }
}

/// Begins the message that the program cannot be executed. The caller ends it with the exit code.
pub fn report(errors: &mut Writer, arguments: Strings, errno: Errno) -> (&mut Writer, Exit) {
    let exit = match errno {
        Errno::NOENT => Exit::ABSENT,
        Errno::TOOBIG => Exit::SYSTEM,
        _ => Exit::NOT_EXECUTABLE,
    };
    let name = arguments.first().unwrap_or_default().to_bytes();
    (errors.fatal().text("unable to exec ").quoted(name).reason(errno), exit)
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
