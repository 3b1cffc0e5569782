//! The first process of an initramfs without a shell, which contains only this program and the rules of the
//! daemons. The program contains the tools too, by way of the library.
//!
//! A daemon gets a listening socket and a pipe. A second daemon takes over, and the first one ends. Then the
//! pipe still has its data, the socket answers, and the machine is switched off. Under the name `listen`, the
//! program binds a socket for another program, which the initramfs with a shell needs.
#![no_std]
#![no_main]

mod os;
// The memory functions that the program has in place of a C library.
#[path = "../../src/sys/runtime.rs"]
mod runtime;

use core::ffi::CStr;
use fdholder::cli::exit::Exit;
use fdholder::cli::output::{Buffer, Writer};
use fdholder::client::Connection;
use fdholder::client::failure::Wording;
use fdholder::io::deadline::Deadline;
use fdholder::io::error::Error;
use fdholder::io::open_files::OpenFiles;
use fdholder::io::pool::Pool;
use fdholder::io::socket::{self, Stream};
use fdholder::process::Process;
use fdholder::protocol::tai;
use fdholder::sys::fd::{BorrowedFd, Fd, STDERR, STDIN, STDOUT};
use fdholder::sys::message::{self, Received};
use fdholder::sys::strings::{Builder, Strings};
use fdholder::sys::take_once::TakeOnce;
use fdholder::sys::time::{self, Event, Poll};
use fdholder::sys::{file, process, socket as call};
use fdholder::{exec, multicall};

/// The timeout for each answer of a daemon.
const MILLISECONDS: u32 = 20_000;

/// The buffers. Each process can take them once.
static POOL: TakeOnce<Pool> = TakeOnce::new(Pool::EMPTY);

const STORE: Wording = Wording::only("store fd", "");
const RETRIEVE: Wording = Wording::only("retrieve fd for id ", "");

fdholder::start!(begin);

/// Continues after `_entry`.
///
/// # Safety
/// Only `_entry` may call it.
unsafe extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: `stack` is the initial stack pointer, and the strings live as long as the process.
    let (arguments, environment) = unsafe { Strings::from_stack(stack) };
    if os::process() == 1 {
        init(environment);
    }
    let listens = arguments.first() == Some(c"listen");
    let mut process = Process::new(arguments, environment, POOL.take());
    let exit = if listens { listen(&mut process) } else { multicall::run(&mut process) };
    process::exit(exit.0)
}

/// Executes a program that has a listening socket as standard input: `listen path prog...`.
fn listen(process: &mut Process) -> Exit {
    let _ = process.arguments.operand();
    let listener = bound(process.arguments.operand().unwrap_or_default());
    must(listener.borrow().put_at(STDIN, false).is_ok(), c"the socket is standard input");
    let program = process.arguments.program();
    exec::execute(
        process,
        program.unwrap_or_else(|_| failed(c"a program")),
        process.environment,
        "",
    )
}

/// A socket that listens at this path.
fn bound(path: &CStr) -> Fd {
    let listener =
        socket::open(call::UNIX, call::STREAM, &OpenFiles::new()).ok().filter(|listener| {
            let listener = listener.borrow();
            call::bind_path(listener, path).is_ok() && call::listen(listener, 5).is_ok()
        });
    listener.unwrap_or_else(|| failed(c"bind a socket"))
}

fn init(environment: Strings) -> ! {
    let tools = Tools { environment };

    let old = tools.daemon(c"/old");
    let listener = bound(c"/service");
    let stored = os::child(|| store(c"/old", c"the service", listener.borrow()));
    must(os::wait(stored) == 0, c"store a listening socket");
    drop(listener);
    let (reader, writer) = pipe();
    must(file::write(writer.borrow(), TEXT) == Ok(TEXT.len()), c"fill a pipe");
    let words = [c"s6-fdholder-store", c"/old", c"a pipe"];
    must(os::wait(tools.start(&words, Some(reader), None)) == 0, c"store a pipe");
    drop(writer);

    let new = tools.daemon(c"/new");
    let transfer = tools.start(&[c"s6-fdholder-transferdump", c"/old", c"/new"], None, None);
    must(os::wait(transfer) == 0, c"transfer");
    os::terminate(old);
    must(os::wait(old) == 0, c"end the old daemon");

    let read = os::child(|| read_pipe(&retrieve(c"/new", c"a pipe")));
    must(os::wait(read) == 0, c"read from the pipe");
    // A socket without a listener would refuse the connection. A socket without a server would not answer.
    let service = os::child(|| serve(&retrieve(c"/new", c"the service")));
    let open_files = OpenFiles::new();
    let mut connection = Stream::new(Deadline::from_milliseconds(MILLISECONDS), &open_files);
    must(connection.connect(c"/service").is_ok(), c"connect to the service");
    let mut answer = [0; TEXT.len()];
    let mut descriptors = Received::NOTHING;
    let is_whole = connection.receive(&mut answer, &mut descriptors).is_ok() && answer == *TEXT;
    must(is_whole, c"an answer of the service");
    must(os::wait(service) == 0, c"end the service");
    os::terminate(new);
    must(os::wait(new) == 0, c"end the new daemon");

    print(&[b"pass"]);
    os::switch_off()
}

/// The data of the pipe, and the answer of the service.
const TEXT: &[u8; 17] = b"something to read";

/// Prints a line.
fn print(parts: &[&[u8]]) {
    for part in [&[&b"no shell: "[..]], parts, &[&b"\n"[..]]].into_iter().flatten() {
        let _ = file::write(STDERR, part);
    }
}

/// Fails if a step has failed. The first process prints each step, to show where it hangs.
fn must(is_done: bool, what: &'static CStr) {
    if !is_done {
        failed(what);
    }
    if os::process() == 1 {
        print(&[what.to_bytes()]);
    }
}

/// Ends the process. The first process switches the machine off.
fn failed(what: &'static CStr) -> ! {
    print(&[b"fatal: ", what.to_bytes()]);
    if os::process() == 1 {
        os::switch_off();
    }
    process::exit(Exit::SYSTEM.0)
}

/// A pipe: the end to read from, and the end to write to.
fn pipe() -> (Fd, Fd) {
    os::pipe().unwrap_or_else(|| failed(c"a pipe"))
}

/// Reads to the end, or until the buffer is full. Returns the number of bytes.
fn read(from: &Fd, bytes: &mut [u8]) -> usize {
    let mut have = 0;
    while let Ok(read @ 1..) = file::read(from.borrow(), &mut bytes[have..]) {
        have += read;
    }
    have
}

/// The writer for messages of a client.
fn errors(buffer: &'static mut Buffer) -> Writer {
    let mut errors = Writer::messages(STDERR, buffer);
    errors.set_name(c"no shell");
    errors
}

/// Stores a descriptor in a daemon.
fn store(path: &'static CStr, id: &'static CStr, fd: BorrowedFd) -> u8 {
    let (pool, open_files) = (POOL.take(), OpenFiles::new());
    let mut daemon = Connection::new(path, MILLISECONDS, &open_files);
    let expiry = time::now().map(|now| tai::after(0, now));
    let expiry = expiry.unwrap_or_else(|_| failed(c"read the clock"));
    let request = pool.frame.request(b'S').entry(&expiry, id.to_bytes());
    let stored =
        request.map_err(Error::Denied).and_then(|frame| daemon.change(frame.finish(1), &[fd]));
    match stored {
        Ok(()) => 0,
        Err(error) => daemon.fail(&mut errors(&mut pool.messages), &STORE, b"", error).0,
    }
}

/// Retrieves a descriptor from a daemon.
fn retrieve(path: &'static CStr, id: &'static CStr) -> Fd {
    let (pool, open_files) = (POOL.take(), OpenFiles::new());
    let mut daemon = Connection::new(path, MILLISECONDS, &open_files);
    daemon.retrieve(&mut pool.frame, id.to_bytes(), false).unwrap_or_else(|error| {
        let exit = daemon.fail(&mut errors(&mut pool.messages), &RETRIEVE, id.to_bytes(), error);
        process::exit(exit.0)
    })
}

fn read_pipe(pipe: &Fd) -> u8 {
    let mut bytes = [0; TEXT.len()];
    must(read(pipe, &mut bytes) == TEXT.len() && bytes == *TEXT, c"the same text");
    0
}

/// Serves one client.
fn serve(listener: &Fd) -> u8 {
    let listener = listener.borrow();
    let _ = time::poll(&mut [Poll::on(listener, Event::Readable)], Some(MILLISECONDS));
    let client = call::accept(listener).ok().flatten();
    let client = client.unwrap_or_else(|| failed(c"accept"));
    must(message::send(client.borrow(), TEXT, &[]) == Ok(TEXT.len()), c"answer");
    0
}

/// The tools that this program contains.
struct Tools {
    environment: Strings,
}

impl Tools {
    /// Runs a tool in a process of its own, with these descriptors as standard input and output, or with
    /// those of this process.
    fn start(&self, words: &[&'static CStr], input: Option<Fd>, output: Option<Fd>) -> os::Process {
        os::child(|| {
            for (fd, standard) in [(input, STDIN), (output, STDOUT)] {
                // The process executes nothing, so close-on-exec does not close these descriptors.
                if let Some(fd) = fd {
                    must(fd.borrow().put_at(standard, false).is_ok(), c"standard descriptors");
                }
            }
            let arguments = Builder::new(words.len());
            let mut arguments = arguments.unwrap_or_else(|| failed(c"memory"));
            words.iter().for_each(|word| arguments.add(word));
            let arguments = arguments.finish().unwrap_or_else(|_| failed(c"arguments"));
            let mut process = Process::new(arguments, self.environment, POOL.take());
            multicall::run(&mut process).0
        })
    }

    /// Starts a daemon, and waits until it is ready.
    fn daemon(&self, path: &'static CStr) -> os::Process {
        let (reader, writer) = pipe();
        let words = [c"s6-fdholder-daemon", c"-1", c"-i", c"/rules", path];
        let daemon = self.start(&words, None, Some(writer));
        let mut written = [0; 2];
        must(read(&reader, &mut written) == 1 && written[0] == b'\n', c"a daemon that is ready");
        daemon
    }
}
