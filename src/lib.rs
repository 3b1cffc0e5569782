//! The s6 fd-holding tools: what all of them share, and the table of them.
//!
//! Read from the top: an applet in `applets/` is chosen by [`multicall`], and [`getopt`] takes its
//! command line apart. It talks to a daemon through [`client`], or is one, `daemon`, on the same
//! floor. Both know the protocol from [`message`] and put frames together in the static buffers of
//! [`pool`]; a client moves them with [`socket`]. Below lie owned descriptors ([`fd`]), deadlines
//! ([`deadline`]), dates ([`tai`]), programs to go on with ([`exec`]) and what they are told
//! ([`variables`]), and the system calls ([`sys`]), the only unsafe code. Nobody calls upwards.
//! What is said to the user goes through [`exit`], out of the texts that [`mod@text`] has, packed
//! as [`pack`] explains.
//!
//! Not of the library, though they lie here: `packer`, `processor` and `docs` are parts of `build.rs`,
//! `sys/start` and `sys/runtime` of the program.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(target_arch = "mips", feature(asm_experimental_arch))]

pub mod client;
#[cfg(feature = "fdholderd")]
pub mod daemon;
pub mod deadline;
pub mod exec;
pub mod exit;
pub mod fd;
pub mod getopt;
pub mod message;
pub mod multicall;
pub mod pack;
pub mod pool;
pub mod socket;
#[allow(unsafe_code, reason = "nothing else asks the kernel, or makes references of addresses")]
pub mod sys;
pub mod tai;
pub mod text;
pub mod variables;

/// The applets that were built in: the modules, the numbers of their options, and the table.
pub mod applets {
    include!(concat!(env!("OUT_DIR"), "/applets.rs"));
}
