//! From a tool to the program that it executes.

use crate::exit::{self, Exit};
use crate::sys::text::Text;
use crate::sys::vector::Vector;
use crate::sys::{self, Errno, PathBuffer};
use crate::text::text;

/// Where programs are looked for without a `PATH`.
const PATH: Text = Text::new(c"/usr/bin:/bin");

/// Replaces the process by the program that is named first in `arguments`, as `execvp` finds it. If
/// that fails the process ends with a message.
pub fn execute(arguments: Vector, environment: Vector) -> ! {
    let name = arguments.first().unwrap_or(Text::EMPTY);
    let errno = if name.clone().any(|byte| byte == b'/') {
        sys::execute_at(name, arguments, environment)
    } else {
        search(name, arguments, environment)
    };
    let exit = if errno == Errno::NOENT { Exit::ABSENT } else { Exit::NOT_EXECUTABLE };
    let exit = if errno == Errno::TOOBIG { Exit::SYSTEM } else { exit };
    exit::fatal()
        .text(text!("unable to "))
        .text(text!("exec "))
        .quoted(name)
        .reason(errno.number())
        .end(exit)
}

/// Tries each directory in `PATH`. One that is not there is passed over; that a file may not be
/// executed is only said if there is no other.
fn search(name: Text, arguments: Vector, mut environment: Vector) -> Errno {
    let all = environment;
    let path = environment.find_map(|variable| variable.behind(Text::new(c"PATH=")));
    let mut path = path.unwrap_or(PATH);
    let mut errno = Errno::NOENT;
    loop {
        let mut file = PathBuffer::EMPTY;
        let mut is_empty = true;
        let mut is_last = true;
        // An empty entry is the working directory.
        let entry = path.by_ref().take_while(|byte| {
            is_last = *byte != b':';
            is_empty &= !is_last;
            is_last
        });
        let joined = file.push(entry).and_then(|()| {
            let slash = if is_empty { Text::EMPTY } else { Text::new(c"/") };
            file.push(slash.chain(name))
        });
        match joined.err().unwrap_or_else(|| file.execute(arguments, all)) {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => {}
            Errno::ACCES => errno = Errno::ACCES,
            other => return other,
        }
        if is_last {
            return errno;
        }
    }
}
