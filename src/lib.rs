//! The s6 fd-holding tools: what all of them share, and the table of them.
//!
//! Read from the top: an applet in `applets/` is chosen by [`multicall`], its command line sorted
//! by [`getopt`]; it talks to a daemon through [`client`], which knows the protocol from
//! [`message`] and moves bytes and descriptors with [`socket`]. Below lie owned descriptors
//! ([`fd`]), deadlines ([`deadline`]), static buffers ([`pool`]), dates ([`tai`]), programs to go
//! on with ([`exec`]) and what they are told ([`variables`]), and the system calls ([`sys`]), the
//! only unsafe code. Nobody calls upwards. What is said to the user goes through [`exit`], out of
//! the texts that [`mod@text`] has, packed as [`pack`] explains. The server side, `daemon`, stands
//! beside `client`, on the same floor.
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
