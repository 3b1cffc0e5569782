//! From a tool to the program that it executes.

use crate::exit::{self, Exit};
use crate::fd;
use crate::sys::text::Text;
use crate::sys::vector::Vector;
use crate::sys::{self, Errno, PathBuffer};
use crate::text::text;

/// Where programs are looked for without a `PATH`.
const PATH: Text = Text::new(c"/usr/bin:/bin");

/// Replaces the process by the program that is named first in `arguments`, as `execvp` finds it,
/// with the limit on open files that the process was started with. If that fails the process ends
/// with a message.
pub fn execute(arguments: Vector, environment: Vector) -> ! {
    let name = arguments.first().unwrap_or(Text::EMPTY);
    fd::restore_limit();
    let errno = search(name, arguments, environment);
    let exit = match errno {
        Errno::NOENT => Exit::ABSENT,
        Errno::TOOBIG => Exit::SYSTEM,
        _ => Exit::NOT_EXECUTABLE,
    };
    let line = exit::fatal().text(text!("unable to exec "));
    line.quoted(name).reason(errno.number()).end(exit)
}

/// Tries each directory in `PATH`, unless the name has a slash, and says why none would do. One that
/// is not there is passed over; that a file may not be executed is only said if there is no other.
fn search(name: Text, arguments: Vector, environment: Vector) -> Errno {
    for byte in name {
        if byte == b'/' {
            return sys::execute_at(name, arguments, environment);
        }
    }
    let mut path = environment.value(Text::new(c"PATH=")).unwrap_or(PATH);
    let mut errno = Errno::NOENT;
    loop {
        let mut file = PathBuffer::EMPTY;
        let mut byte = path.pop();
        while byte != b':' && byte != 0 {
            file.byte(byte);
            byte = path.pop();
        }
        // An empty entry is the working directory.
        if !file.is_empty() {
            file.byte(b'/');
        }
        file.text(name);
        match file.execute(arguments, environment) {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => {}
            Errno::ACCES => errno = Errno::ACCES,
            other => return other,
        }
        if byte == 0 {
            return errno;
        }
    }
}
