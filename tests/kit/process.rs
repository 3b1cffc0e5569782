//! What the kernel says of a process and of a connection to it, and waiting until it says that.

use super::tool::PATIENCE;
use rustix::ioctl::{Getter, Opcode, ioctl};
use std::ffi::c_int;
use std::fs;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// How many descriptors it has open.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("a process that runs").count()
}

/// How much memory it has got, in kilobytes: what VmRSS in its status is about, but exact. That
/// one may be off by 64 pages for each processor. `field` is `Rss`, or `Pss`, in which pages that
/// several processes share count as their part of them.
pub fn memory(pid: u32, field: &str) -> u64 {
    let all = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a process that runs");
    let line = all.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.strip_suffix("kB")).expect("a line in kilobytes");
    number.trim().parse().unwrap()
}

/// Waits for something that announces itself to nobody. `what` says what is missing if it does not
/// come.
pub fn until(what: impl Fn() -> String, is: impl FnMut() -> bool) {
    let (begun, mut is) = (Instant::now(), is);
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {}", what());
        thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until the other side has read everything that was sent to it.
pub fn until_read(stream: &UnixStream) {
    const OUTQ: Opcode = libc::TIOCOUTQ as Opcode;
    until(
        || String::from("the other side reads"),
        || {
            // SAFETY: this call writes one int and nothing else.
            let unread = unsafe { ioctl(stream, Getter::<OUTQ, c_int>::new()) };
            unread.unwrap() == 0
        },
    );
}
