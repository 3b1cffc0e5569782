//! What a tool gets: everything that belongs to the process it runs in.

use crate::cli::getopt::Arguments;
use crate::cli::output::Writer;
use crate::io::open_files::OpenFiles;
use crate::io::pool::{Pool, Window};
use crate::protocol::frame::Frame;
use crate::sys::fd::{BorrowedFd, STDERR, STDIN, STDOUT};
use crate::sys::strings::{Auxiliary, Strings};

/// A process, or a thread that stands for one: nothing that a tool uses lies outside of it. The
/// program's `main` makes one; a test may make several.
pub struct Process {
    /// The command line, as far as it has not been looked at.
    pub arguments: Arguments,
    /// The environment.
    pub environment: Strings,
    /// Standard input.
    pub input: BorrowedFd<'static>,
    /// Standard output.
    pub out: Writer,
    /// Standard error.
    pub errors: Writer,
    /// The limit on open files.
    pub open_files: OpenFiles,
    /// What else the kernel tells each process.
    pub auxiliary: Auxiliary,
    /// A window on a dump.
    pub window: &'static mut Window,
    /// A frame in the making.
    pub frame: &'static mut Frame,
}

impl Process {
    /// A process with the usual descriptors.
    pub fn new(arguments: Strings, environment: Strings, pool: &'static mut Pool) -> Process {
        Process::with_descriptors(arguments, environment, pool, [STDIN, STDOUT, STDERR])
    }

    /// One with other descriptors in place of standard input, output and error.
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

    /// Closes what a tool has left in the buffers. Where the process itself ends the kernel does that.
    pub fn end(self) {
        self.window.clear();
    }
}
