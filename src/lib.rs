//! The s6 fd-holding tools, as functions of a process.
//!
//! # Map
//!
//! Read from the top. A module uses only the modules below it, and a test holds that. There are two
//! exceptions: the rows of the table in [`applets`] have a type of [`multicall`], and [`sys`] uses
//! [`slice`](mod@slice).
//!
//! | module | subject |
//! |---|---|
//! | [`multicall`] | selects the applet by `argv[0]` or by the first argument |
//! | `applets/NAME/mod.rs` ([`applets`]) | what one tool does, and its messages |
//! | [`client`] | a connection to a daemon: store, delete, retrieve, list; storing several; receiving and delivering a dump |
//! | [`daemon`] | the daemon: its loop, clients, requests, answers, the table, access rules |
//! | [`exec`] | executing a program |
//! | [`process`] | what a tool gets: arguments, environment, input, output, errors, buffers |
//! | [`io`] | a stream with a deadline, sockets at an address, the static buffers, the limit on open files, paths |
//! | [`protocol`] | frames, entries, requests, replies, dates, variables, addresses: bytes to values and back |
//! | [`cli`] | options, numbers, the writer for answers and messages, exit codes |
//! | [`slice`](mod@slice) | parts of slices, at positions that the program has computed |
//! | [`sys`] | system calls, one file for each subject: the only unsafe code |
//!
//! `main.rs` makes a [`process::Process`] and ends with the exit code of the tool. Nothing else ends the
//! process, except [`sys::bug`], for a bug in the program, and [`exec::execute`], which replaces it. No
//! state is process-wide: two tools can run in one address space (`tests/places/one_process.rs`).
//!
//! Some files in `src` do not belong to the library: `build` belongs to `build.rs`, and `sys/start.rs` and
//! `sys/runtime.rs` belong to the program.
//!
//! # The way of a descriptor
//!
//! A transfer copies descriptors from one daemon to another. Each descriptor has an owner at every step.
//!
//! 1. `transfer` in `applets/transferdump/mod.rs` calls [`client::dump::Dump::get`], which sends `?` and
//!    reads the number of entries.
//! 2. [`client::dump::Dump::get`], and [`client::dump::Dump::fill`] for all windows after the first, call
//!    [`io::pool::Window::receive`]. That calls [`io::socket::Stream::receive`], which waits within the
//!    deadline.
//! 3. [`sys::message::Received::receive`] makes the system call `recvmsg`. The kernel puts descriptor
//!    numbers into the control message. The `Received` owns them: as an iterator it returns each as a
//!    [`sys::fd::Fd`], and it closes the others when it is dropped.
//! 4. The window moves each `Fd` into its [`sys::fd::FdQueue`]. The bytes stay in the window as they came.
//! 5. The frame is checked: its [`protocol::frame::Header`], and its entries by
//!    [`protocol::entry::Entries`]. After a mistake nothing of the window is sent, and the tool ends with
//!    a message.
//! 6. [`client::dump::Delivery::send`] takes the frames one by one with [`io::pool::Window::take`], which
//!    lends the descriptors as [`sys::fd::BorrowedFd`], and sends them with [`io::socket::Stream::send`].
//! 7. The answer of the destination is read. The window still owns the descriptors. The next
//!    [`io::pool::Window::clear`] closes them, or the end of the process does.
//!
//! In the daemon, `daemon/connection` receives a descriptor into the queue of its client.
//! `daemon/request.rs` moves it into the table. `daemon/closing.rs` closes it, in another process if that
//! may block.
//!
//! # How to add
//!
//! **An option.** Add a field to `Cli` in `applets/NAME/cli.rs`, with a sentence of documentation. An
//! option of ours on a tool called `s6-something` has a long name and no letter. The build fails with
//! "non-exhaustive patterns" at the `match` in `applets/NAME/mod.rs`: add the arm there. Help, man page and
//! completions follow by themselves; the date of the pages is in `src/build/docs.rs`. An option of the
//! daemon is in `applets/fdholderd/cli.rs` and `applets/daemon/cli.rs`. Add a row to the command lines of
//! the tool, and a test of what the option does:
//!
//! | tool | its command lines |
//! |---|---|
//! | transferdump | `tests/tools/command_lines.rs`: the cases, and `USAGE` |
//! | another client | `tests/tools/usage_and_refusals.rs`: `ONLY_OURS`; `OWN_OPTIONS` in `tests/kit/clients.rs` |
//! | the daemon | `tests/daemon/startup/command_lines.rs` |
//!
//! **An applet.** Copy the folder `applets/delete`. In `cli.rs`, change the name of the tool (one of our
//! own is called `fdholder-something`), what it does, exit codes and an example; in `mod.rs`, the name of
//! the folder after `options` and what `run` does. Add the folder's name to `applets/list.rs` and a feature
//! of that name, on by default, to `Cargo.toml`. `build.rs` says what is missing. Then
//! `cargo test --test tests -- packaging::source` says where else the tool has to be named, and
//! `places::empty_container` which link is new. In `tests/limits/tool_faults.rs` the tool gets runs in
//! `RUNS`, what its messages say in `PHRASES`, and a test that has each of its calls fail. Its other tests
//! are a file in `tests/tools`. `cargo bench --bench bytes` prints the size tables of the README, and
//! `packaging::executable` says whether all tools together are still small enough.
//!
//! **A request letter.** Add a variant to [`protocol::request::Request`] and its line to `parse`. The
//! compiler then names each `match` that lacks it: the identifier and the descriptors of the request, and in
//! `perform` of `daemon/request.rs` the rights that its identifier needs, and what is done. Add the letter to
//! `name` and to `Session::check_header` there, which the compiler does not know to be missing:
//! `check_header` refuses a request by its header, and every letter that it does not name. A new form of
//! answer is a variant of
//! `Answer` in `daemon/answer.rs`. A client makes its request in `protocol/request.rs`, and
//! `protocol/reply.rs` says which replies it takes. C daemons hang up on letters that they do not know. The
//! letter gets rows in `tests/protocol/daemon_conformance/rows.rs`, with what C does, and an arm in the model of
//! the fuzz targets, `tests/fuzz/checks/model.rs`.
//!
//! **A processor.** Write `src/sys/arch/NAME.rs` after the model of `riscv64.rs`: the entry, a system call
//! of five arguments, `mmap`. An error is the negative number of it; `mips.rs` is the model where the
//! kernel says it otherwise, and where assembly is unstable in Rust: then `src/lib.rs` and `src/main.rs`
//! ask for it. Add a line to `src/sys/arch/mod.rs`. A processor with pointers of 32 bits is also named in
//! `src/build/processor.rs`. In `tests/cross.sh` add what the compiler and the emulator call it to `name`,
//! and its name to the list near the end. `sh tests/cross.sh NAME` then builds for it and runs the tests on
//! it. The README says how large the programs are there and which kernel they need, and the packages of
//! Alpine, Buildroot and OpenWrt in `tests/packaging` name their processors.
//!
//! **A test.** A test names what it protects. `tests/main.rs` says what is in which folder. Most are rows of
//! a table:
//!
//! | what | where |
//! |---|---|
//! | a command line | see above |
//! | a reply that a tool gets | `tests/tools/hostile_replies.rs` |
//! | a request that a daemon gets | `tests/protocol/daemon_conformance/rows.rs` |
//! | an access rule | `tests/daemon/access_control/` |
//! | a system call that fails | `tests/limits/tool_faults.rs`, `socket_faults.rs` and `daemon_faults.rs` there |
//!
//! What is listed in `for_each_implementation!` runs against the C tools of three generations as well. A
//! new file is named in the `mod.rs` of its folder and in `tests/cross.sh`, which says so if it is not.
//! Break the code once, and see the test fail.
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
