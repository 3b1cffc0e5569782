//! Asks the kernel about a process and its connections, and waits until it reports a given state.

use super::tool::{TIMEOUT, run};
use super::wire::inode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::ioctl::{Getter, Opcode, ioctl};
use rustix::process::{Pid, PidfdFlags, geteuid, getpid, pidfd_open};
use std::ffi::c_int;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The number of open descriptors of a process.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("a process that runs").count()
}

/// The memory of a process in kilobytes. `field` is `Rss`, or `Pss`, which divides a shared page by the
/// number of its processes. These values are exact, while `VmRSS` in `/proc/PID/status` may be off by 64
/// pages for each processor.
pub fn memory(pid: u32, field: &str) -> u64 {
    let all = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a process that runs");
    let line = all.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.strip_suffix("kB")).expect("a line in kilobytes");
    number.trim().parse().unwrap()
}

/// Whether a process can find a unique identifier of itself: the kernel gives each pidfd a number of its
/// own, and the number fits into a register.
pub fn has_unique_id() -> bool {
    let [own, first] =
        [getpid(), Pid::INIT].map(|pid| pidfd_open(pid, PidfdFlags::empty()).unwrap());
    let has_numbers = inode(own) != inode(first);
    has_numbers && cfg!(target_pointer_width = "64")
}

/// Polls for a state that no event announces. If it does not come in time, the test fails, and `what`
/// describes what is missing.
pub fn wait_until(what: impl Fn() -> String, is: impl FnMut() -> bool) {
    let (begun, mut is) = (Instant::now(), is);
    while !is() {
        assert!(begun.elapsed() < TIMEOUT, "not in time: {}", what());
        thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until the other side has read all that was sent to it.
pub fn wait_until_read(stream: &UnixStream) {
    const OUTQ: Opcode = libc::TIOCOUTQ as Opcode;
    wait_until(
        || String::from("the other side reads"),
        || {
            // SAFETY: this call writes one int and nothing else.
            let unread = unsafe { ioctl(stream, Getter::<OUTQ, c_int>::new()) };
            unread.unwrap() == 0
        },
    );
}

/// Allows an ordinary user to inspect the daemon that `command` starts, as [`descriptors`] does. Our daemon
/// calls `prctl(PR_SET_DUMPABLE)`, which allows that only to root. A seccomp filter that it inherits
/// answers this call with success, and the call has no effect.
pub fn allow_inspection(command: &mut Command) {
    if geteuid().is_root() {
        return;
    }
    // The offsets in `struct seccomp_data` of the number of a call and of the lower half of its first
    // argument.
    const NUMBER: u32 = 0;
    const ARGUMENT: u32 = if cfg!(target_endian = "big") { 20 } else { 16 };
    let load = |from| (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, from);
    let unless = |value, skip| (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, skip, value);
    let answer = |with| (libc::BPF_RET | libc::BPF_K, 0, with);
    let filter = [
        load(NUMBER),
        unless(libc::SYS_prctl as u32, 3),
        load(ARGUMENT),
        unless(libc::PR_SET_DUMPABLE as u32, 1),
        answer(libc::SECCOMP_RET_ERRNO),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let mut filter =
        filter.map(|(code, jf, k)| libc::sock_filter { code: code as u16, jt: 0, jf, k });
    let install = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: the kernel reads the filter, which lives as long as the calls.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
        };
        if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes two system calls and nothing else.
    unsafe { command.pre_exec(install) };
}

/// Waits until the other end of a pipe or socket is closed. False if the time is up.
pub fn wait_for_hangup(end: &impl AsFd) -> bool {
    let time = Timespec::try_from(TIMEOUT).unwrap();
    let mut end = [PollFd::new(end, PollFlags::empty())];
    retry_on_intr(|| poll(&mut end, Some(&time))).unwrap() > 0
}

/// The numbers of the descriptors that a program started by this test has from the start.
pub fn inherited() -> Vec<usize> {
    // The descriptor by which the shell reads the folder is closed before the test for a link.
    let script = "cd /proc/$$/fd && for fd in *; do if [ -h $fd ]; then echo $fd; fi; done";
    let ended = run(Command::new("sh").arg("-c").arg(script));
    let numbers = String::from_utf8(ended.out).unwrap();
    numbers.lines().map(|number| number.parse().unwrap()).collect()
}

/// Redirections that close each combination of the descriptors 0, 1 and 2, and whether 2 is closed.
pub fn closed() -> impl Iterator<Item = (String, bool)> {
    (1..8).map(|set| {
        let each = ["<&-", ">&-", "2>&-"].into_iter().zip([1, 2, 4]);
        let text: Vec<_> = each.filter(|(_, bit)| set & bit != 0).map(|(text, _)| text).collect();
        (text.join(" "), set & 4 != 0)
    })
}
