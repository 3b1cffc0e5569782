//! The s6 fd-holding tools.
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
