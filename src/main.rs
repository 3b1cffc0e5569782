//! The program: entry and panic handler. Everything else is the library's.
#![no_std]
#![no_main]

use fdholder::sys::vector::Vector;

#[path = "sys/start.rs"]
mod start;

fn main(arguments: Vector, environment: Vector) -> u8 {
    fdholder::multicall::run(arguments, environment).0
}
