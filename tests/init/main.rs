//! The first process of an initramfs without a shell: there are this program and the rules of the
//! daemons, and nothing else. It is the tools as well, by way of the library.
//!
//! A daemon gets a listening socket and a pipe; a second one takes over; the first one ends; the
//! pipe has its data, and the socket answers. Then the machine is switched off. Called `listen` it
//! is what the initramfs with a shell lacks: it binds a socket for a program.
#![no_std]
#![no_main]

mod os;
// What the program itself brings along in place of a C library.
#[path = "../../src/sys/runtime.rs"]
mod runtime;

use core::ffi::CStr;
use fdholder::client::{Peer, Side};
use fdholder::deadline::Deadline;
use fdholder::fd::Fd;
use fdholder::socket::{self, Stream};
use fdholder::sys::text::Text;
use fdholder::sys::vector::{Auxiliary, Builder, Vector};
use fdholder::sys::{self, Message, Poll, server};
use fdholder::{exec, exit, multicall, pool, tai, text::text};

/// For each answer of a daemon.
const MILLISECONDS: u32 = 20_000;

static STORE: Side = Side::only(text!("store fd"));
static RETRIEVE: Side = Side::only(text!("retrieve fd for id "));

fdholder::start!(begin);

/// Goes on from `_entry`.
///
/// # Safety
/// Only `_entry` may call it.
unsafe extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: `stack` is the initial stack pointer, and the strings live as long as the process.
    let (mut arguments, environment) = unsafe { Vector::from_stack(stack) };
    if os::process() == 1 {
        init(environment);
    }
    if arguments.first() == Some(Text::new(c"listen")) {
        arguments.next();
        let listener = bound(arguments.next().unwrap_or(Text::EMPTY));
        let is_stdin = sys::become_stdin(listener.number()).is_ok();
        must(is_stdin, c"the socket is standard input");
        exec::execute(arguments, environment)
    }
    multicall::run(arguments, environment, Auxiliary::EMPTY)
}

/// A socket that listens there.
fn bound(path: Text) -> Fd {
    let listener = socket::open().ok().filter(|listener| {
        let number = listener.number();
        server::bind(number, path).is_ok() && server::listen(number, 5).is_ok()
    });
    listener.unwrap_or_else(|| failed(c"bind a socket"))
}

fn init(environment: Vector) -> ! {
    exit::speak_as(Text::new(c"no shell"));
    let tools = Tools { environment };

    let old = tools.daemon(c"/old");
    let listener = bound(Text::new(c"/service"));
    let stored = os::child(|| store(c"/old", c"the service", listener.number()));
    must(os::wait(stored) == 0, c"store a listening socket");
    drop(listener);
    let (reader, writer) = os::pipe();
    must(os::write(writer, TEXT) == TEXT.len(), c"fill a pipe");
    let words = [c"s6-fdholder-store", c"/old", c"a pipe"];
    must(os::wait(tools.start(&words, reader, 1)) == 0, c"store a pipe");
    sys::close(reader);
    sys::close(writer);

    let new = tools.daemon(c"/new");
    let transfer = tools.start(&[c"s6-fdholder-transferdump", c"/old", c"/new"], 0, 1);
    must(os::wait(transfer) == 0, c"transfer");
    os::terminate(old);
    must(os::wait(old) == 0, c"end the old daemon");

    let read = os::child(|| read_pipe(&retrieve(c"/new", c"a pipe")));
    must(os::wait(read) == 0, c"read from the pipe");
    // A socket that nobody listens on any more would refuse the connection, one that nobody serves
    // would not answer.
    let service = os::child(|| serve(&retrieve(c"/new", c"the service")));
    let mut connection = Stream::new(Deadline::from_milliseconds(MILLISECONDS));
    must(connection.connect(Text::new(c"/service")).is_ok(), c"connect to the service");
    let mut heard = [0; TEXT.len()];
    let is_whole = connection.receive(&mut heard, &mut []) == Ok(TEXT.len());
    must(is_whole && heard == *TEXT, c"an answer of the service");
    must(os::wait(service) == 0, c"end the service");
    os::terminate(new);
    must(os::wait(new) == 0, c"end the new daemon");

    exit::message().quoted(Text::new(c"pass")).say();
    os::switch_off()
}

/// What is in the pipe, and what the service says.
const TEXT: &[u8; 17] = b"something to read";

/// Goes on if it is true. How far the first process has come is said, in case it hangs.
fn must(is: bool, what: &'static CStr) {
    if !is {
        failed(what);
    }
    if os::process() == 1 {
        exit::message().quoted(Text::new(what)).say();
    }
}

/// Ends the process, and if it is the first one the machine.
fn failed(what: &'static CStr) -> ! {
    exit::fatal().quoted(Text::new(what)).say();
    if os::process() == 1 {
        os::switch_off();
    }
    sys::exit(exit::Exit::SYSTEM.0)
}

/// Gives a daemon a descriptor, and ends the process.
fn store(path: &'static CStr, id: &'static CStr, fd: i32) -> ! {
    let mut daemon = Peer::new(&STORE, Text::new(path), MILLISECONDS, Text::EMPTY);
    let request = pool::composer();
    request.begin(b'S');
    request.expiry(&tai::after(0, sys::now()));
    request.descriptor(fd as u32);
    daemon.settle(request, Text::new(id))
}

/// Asks a daemon for a descriptor.
fn retrieve(path: &'static CStr, id: &'static CStr) -> Fd {
    let id = Text::new(id);
    let mut daemon = Peer::new(&RETRIEVE, Text::new(path), MILLISECONDS, id);
    let request = pool::composer();
    request.begin(b'R');
    request.byte(0);
    daemon.retrieve(request, id, false)
}

fn read_pipe(pipe: &Fd) -> ! {
    let mut bytes = [0; TEXT.len()];
    must(os::read(pipe.number(), &mut bytes) == TEXT.len() && bytes == *TEXT, c"the same text");
    exit::success()
}

/// Answers one connection.
fn serve(listener: &Fd) -> ! {
    let fd = listener.number();
    server::wait(&mut [Poll { fd, events: Poll::IN, happened: 0 }], MILLISECONDS);
    let client = server::accept(fd).ok().and_then(Fd::own);
    let client = client.unwrap_or_else(|| failed(c"accept"));
    let said = Message::outgoing(TEXT, &[]).exchange(client.number());
    must(said == Ok(TEXT.len()), c"answer");
    exit::success()
}

/// The tools in this very program.
struct Tools {
    environment: Vector,
}

impl Tools {
    /// Runs one in a process of its own, with these descriptors as standard input and output.
    fn start(&self, words: &[&'static CStr], input: i32, output: i32) -> os::Process {
        os::child(|| {
            for (fd, standard) in [(input, 0), (output, 1)] {
                // Without others it is the console, from the kernel. Nothing is executed, so what
                // is to be closed has to be.
                if fd != standard {
                    must(server::put_at(fd, standard).is_ok(), c"standard descriptors");
                    sys::close(fd);
                }
            }
            let arguments = Builder::new().unwrap_or_else(|| failed(c"memory"));
            for word in words {
                arguments.add(Text::new(word));
            }
            let arguments = arguments.finish();
            multicall::run(
                arguments.unwrap_or_else(|_| failed(c"arguments")),
                self.environment,
                Auxiliary::EMPTY,
            )
        })
    }

    /// Starts a daemon, and waits until it is ready.
    fn daemon(&self, path: &'static CStr) -> os::Process {
        let (reader, writer) = os::pipe();
        let words = [c"s6-fdholder-daemon", c"-1", c"-i", c"/rules", path];
        let daemon = self.start(&words, 0, writer);
        sys::close(writer);
        let mut said = [0; 2];
        must(os::read(reader, &mut said) == 1 && said[0] == b'\n', c"a daemon that is ready");
        sys::close(reader);
        daemon
    }
}
