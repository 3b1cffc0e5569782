//! The process: its end, the program that replaces it, and its user and groups.

use super::arch::word;
use super::call3;
use super::errno::Errno;
use super::pidfd;
use super::strings::Strings;
use core::ffi::CStr;

/// Ends the process. The kernel closes its descriptors. Only `main` and [`super::bug`] call this.
pub fn exit(code: u8) -> ! {
    loop {
        // SAFETY: touches no memory.
        let _ = unsafe { call3(libc::SYS_exit_group, code.into(), 0, 0) };
    }
}

/// Replaces the process by the program at `path`. Returns only if that failed.
pub fn execute(path: &CStr, arguments: Strings, environment: Strings) -> Errno {
    let (path, arguments) = (path.as_ptr() as usize, arguments.as_ptr() as usize);
    let environment = environment.as_ptr() as usize;
    // SAFETY: the kernel reads a C string and two vectors of them.
    let done = unsafe { call3(libc::SYS_execve, path, arguments, environment) };
    done.err().unwrap_or(Errno::NOEXEC)
}

/// Sets the file mode creation mask.
pub fn set_umask(mask: u32) {
    // SAFETY: touches no memory.
    let _ = unsafe { call3(libc::SYS_umask, mask as usize, 0, 0) };
}

/// The number of the process.
pub fn id() -> u32 {
    get(libc::SYS_getpid)
}

/// The number of the parent.
pub fn parent() -> u32 {
    get(libc::SYS_getppid)
}

/// The number that no other process ever has; `None` if the kernel does not tell it.
pub fn unique_id() -> Option<usize> {
    pidfd::Process::open(id()).ok()?.unique_id()
}

/// The result of a call without arguments that cannot fail.
fn get(call: libc::c_long) -> u32 {
    // SAFETY: touches no memory, and cannot fail.
    unsafe { call3(call, 0, 0, 0) }.unwrap_or(usize::MAX) as u32
}

/// The effective user.
pub fn effective_user() -> u32 {
    get(word::SYS_geteuid)
}

/// The effective group.
#[cfg(feature = "fdholderd")]
pub fn effective_group() -> u32 {
    get(word::SYS_getegid)
}

/// The supplementary groups. `EINVAL` if `groups` is too short.
#[cfg(feature = "fdholderd")]
pub fn groups(groups: &mut [u32]) -> Result<&[u32], Errno> {
    let (place, length) = (groups.as_mut_ptr() as usize, groups.len());
    // SAFETY: the kernel writes at most `length` numbers.
    let count = unsafe { call3(word::SYS_getgroups, length, place, 0)? };
    Ok(groups.get(..count).unwrap_or_default())
}

/// Sets the supplementary groups.
#[cfg(feature = "fdholderd")]
pub fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the kernel reads the numbers.
    unsafe { call3(word::SYS_setgroups, groups.len(), groups.as_ptr() as usize, 0) }.map(drop)
}

/// Sets the group. A privileged process changes its real, effective and saved group.
#[cfg(feature = "fdholderd")]
pub fn set_group(gid: u32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { call3(word::SYS_setgid, gid as usize, 0, 0) }.map(drop)
}

/// Sets the user. A privileged process changes its real, effective and saved user.
#[cfg(feature = "fdholderd")]
pub fn set_user(uid: u32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { call3(word::SYS_setuid, uid as usize, 0, 0) }.map(drop)
}

/// Sets the name of the process that `ps` and `pidof` show, at most 15 bytes. Errors are ignored.
#[cfg(feature = "fdholderd")]
pub fn set_name(name: &CStr) {
    let option = libc::PR_SET_NAME as usize;
    // SAFETY: the kernel reads up to the NUL of a C string.
    let _ = unsafe { call3(libc::SYS_prctl, option, name.as_ptr() as usize, 0) };
}

/// Keeps other processes of the same user from copying descriptors and reading memory of this one. This
/// also disables core dumps.
#[cfg(feature = "fdholderd")]
pub fn forbid_access() -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { call3(libc::SYS_prctl, libc::PR_SET_DUMPABLE as usize, 0, 0) }.map(drop)
}
