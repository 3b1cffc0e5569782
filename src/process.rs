//! What a tool gets: all that belongs to its process.

use crate::cli::getopt::Arguments;
use crate::cli::output::Writer;
use crate::io::open_files::OpenFiles;
use crate::io::pool::{Pool, Window};
use crate::protocol::frame::Frame;
use crate::sys::fd::{BorrowedFd, STDERR, STDIN, STDOUT};
use crate::sys::strings::{Auxiliary, Strings};

/// A process, or a thread that stands for one. It contains everything that a tool uses. `main` makes
/// one; a test may make several.
pub struct Process {
    /// The part of the command line that has not been parsed.
    pub arguments: Arguments,
    /// The environment.
    pub environment: Strings,
    /// Standard input.
    pub input: BorrowedFd<'static>,
    /// Standard output, for answers.
    pub out: Writer,
    /// Standard error, for messages.
    pub errors: Writer,
    /// The limit on open files.
    pub open_files: OpenFiles,
    /// The auxiliary vector.
    pub auxiliary: Auxiliary,
    /// The window for a dump.
    pub window: &'static mut Window,
    /// The buffer for a frame.
    pub frame: &'static mut Frame,
}

impl Process {
    /// A process with descriptors 0, 1 and 2.
    pub fn new(arguments: Strings, environment: Strings, pool: &'static mut Pool) -> Process {
        Process::with_descriptors(arguments, environment, pool, [STDIN, STDOUT, STDERR])
    }

    /// A process with other descriptors in place of 0, 1 and 2.
    pub fn with_descriptors(
        arguments: Strings,
        environment: Strings,
        pool: &'static mut Pool,
        [input, out, errors]: [BorrowedFd<'static>; 3],
    ) -> Process {
        Process {
            arguments: Arguments::new(arguments),
            environment,
            input,
            out: Writer::answers(out, &mut pool.answers),
            errors: Writer::messages(errors, &mut pool.messages),
            open_files: OpenFiles::new(),
            auxiliary: Auxiliary::NONE,
            window: &mut pool.window,
            frame: &mut pool.frame,
        }
    }

    /// Closes the descriptors that a tool has left in the window. At the end of a real process the
    /// kernel does that.
    pub fn end(self) {
        self.window.clear();
    }
}
