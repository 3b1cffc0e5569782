//! The s6 fd-holding tools, as functions of a process.
//!
//! # Map
//!
//! Read from the top. Arrows point down: nothing calls a module above its own line.
//!
//! | module | what it knows |
//! |---|---|
//! | [`multicall`] | `argv[0]` or the first argument, and from that the applet |
//! | `applets/NAME/mod.rs` ([`applets`]) | what one tool does, and what it says if that fails |
//! | [`client`] | a connection to a daemon: store, delete, retrieve, list; a dump and its delivery |
//! | [`daemon`] | the server: its loop, places for clients, requests, answers, the table, access rules |
//! | [`exec`] | the program to go on with |
//! | [`io`] | a stream with a deadline, the static buffers, the limit on open files, paths |
//! | [`cli`] | options, numbers, the writer for answers and messages, exit codes |
//! | [`process`] | what a tool gets: arguments, environment, input, output, errors, buffers |
//! | [`protocol`] | frames, entries, requests, replies, dates, variables: bytes in, values out, and back |
//! | [`sys`] | system calls, in a file for each subject: the only unsafe code |
//!
//! `main.rs` makes a [`process::Process`] and ends with the exit code that comes back. Nothing else ends
//! the process but [`sys::bug`], for what cannot happen, and [`exec::execute`], which replaces it. There
//! is no process-wide state: two tools can run in one address space (`tests/places/one_process.rs`).
//!
//! Not of the library, though they lie here: `build` is what `build.rs` is made of; `sys/start.rs` and
//! `sys/runtime.rs` belong to the program.
//!
//! # The way of a descriptor
//!
//! In a transfer a descriptor goes from one daemon to another and has an owner at each step.
//!
//! 1. `transfer` in `applets/transferdump/mod.rs` calls [`client::dump::Dump::get`]. That sends `?` and
//!    reads how many entries there are.
//! 2. [`client::dump::Dump::fill`] has [`io::pool::Window::receive`] take what comes, by way of
//!    [`io::socket::Stream::receive`], which waits within the deadline.
//! 3. [`sys::message::Received::receive`] makes the call `recvmsg`. The kernel puts numbers into its
//!    control message. From here on the `Received` owns them: its iterator hands out [`sys::fd::Fd`], and
//!    what nobody takes is closed when it is dropped.
//! 4. The window moves each `Fd` into its [`sys::fd::FdQueue`]. The bytes lie in front of it as they came.
//! 5. [`client::dump::Dump::fill`] checks the frame: [`protocol::frame::Header`], and
//!    [`protocol::entry::Entries`] for the entries. One mistake, and the window is cleared: all is closed.
//! 6. [`client::dump::Delivery::send`] takes the frames one by one with [`io::pool::Window::take`], which
//!    lends the descriptors as [`sys::fd::BorrowedFd`], and sends them with [`sys::message::send`].
//! 7. The destination's answer is read. The window still owns its descriptors; the next
//!    [`io::pool::Window::clear`] closes them, or the end of the process does.
//!
//! In the daemon it ends in the table: `daemon/connection` receives it into the queue of its client,
//! `daemon/request.rs` takes it out and gives it to [`daemon`]'s table, and `daemon/closing.rs` closes it
//! where nobody waits for that.
//!
//! # How to add
//!
//! **An option.** Add a field to `Cli` in `applets/NAME/cli.rs`, with a sentence of documentation. An
//! option of ours on a tool called `s6-something` has a long name and no letter. The build fails with
//! "non-exhaustive patterns" at the `match` in `applets/NAME/mod.rs`: add the arm there. Help, man page and
//! completions follow by themselves. Add a row to `tests/tools/command_lines.rs`.
//!
//! **An applet.** Make a folder in `applets` with `cli.rs` (copy `applets/delete/cli.rs`; exit codes and an
//! example are required) and `mod.rs` with
//! `pub fn run(process: &mut Process) -> Result<Exit, Stop>`. Add its name to `applets/list.rs` and a
//! feature of that name, on by default, to `Cargo.toml`. `build.rs` says what is missing. The size tables
//! of the README list every tool.
//!
//! **A request letter.** Add a variant to [`protocol::request::Request`] and its line to `parse`; what the
//! compiler then misses is in `daemon/request.rs`: `perform`, which checks whether it can be done and does
//! it. Add the letter to `name` and to `Session::vet` there, which refuses a request by its header. A new
//! form of answer is a variant of `Answer` in `daemon/answer.rs`. C daemons hang up on letters that they do
//! not know.
//!
//! **A processor.** Write `src/sys/arch/NAME.rs` after the model of `riscv64.rs`: the entry, a system call
//! of five arguments, `mmap`. Add a line to `src/sys/arch/mod.rs`, and the names of the processor to
//! `tests/cross.sh`, which then builds for it and runs the tests on it.
//!
//! **A test.** A test names what it protects. `tests/main.rs` says what is in which folder. A command line
//! is a row in `tests/tools/command_lines.rs`, a reply of a daemon one in `tests/tools/hostile_replies.rs`,
//! an access rule one in `tests/daemon/access_control.rs`, a system call that fails one in
//! `tests/limits/tool_faults.rs`. What is listed in `for_each_implementation!` runs against the C tools of
//! three generations as well. Break the code once, and see it fail.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(target_arch = "mips", feature(asm_experimental_arch))]

pub mod cli;
pub mod client;
#[cfg(feature = "fdholderd")]
pub mod daemon;
pub mod exec;
pub mod io;
pub mod multicall;
pub mod process;
pub mod protocol;
pub mod slice;
#[allow(unsafe_code, reason = "nothing else asks the kernel, or makes references of addresses")]
pub mod sys;

/// The applets that were built in: the modules, their options, and the table.
pub mod applets {
    include!(concat!(env!("OUT_DIR"), "/applets.rs"));
}
