//! The process: its end, the program that takes its place, and the user that it acts as.

use super::arch::word;
use super::call3;
use super::errno::Errno;
use super::strings::Strings;
use core::ffi::CStr;

/// Ends the process; the kernel closes what it holds. For `main` and [`super::bug`] alone.
pub fn exit(code: u8) -> ! {
    loop {
        // SAFETY: touches no memory.
        let _ = unsafe { call3(libc::SYS_exit_group, code.into(), 0, 0) };
    }
}

/// Replaces the process by the program at `path`. If that comes back it has failed.
pub fn execute(path: &CStr, arguments: Strings, environment: Strings) -> Errno {
    let (path, arguments) = (path.as_ptr() as usize, arguments.as_ptr() as usize);
    let environment = environment.as_ptr() as usize;
    // SAFETY: the kernel reads a C string and two vectors of them.
    let done = unsafe { call3(libc::SYS_execve, path, arguments, environment) };
    done.err().unwrap_or(Errno::NOEXEC)
}

/// From now on the process makes files with the modes that are asked for.
#[cfg(feature = "fdholderd")]
pub fn clear_umask() {
    // SAFETY: touches no memory.
    let _ = unsafe { call3(libc::SYS_umask, 0, 0, 0) };
}

/// A number of the process that no error can stand in for.
#[cfg(feature = "fdholderd")]
fn get(call: libc::c_long) -> u32 {
    // SAFETY: touches no memory, and cannot fail.
    unsafe { call3(call, 0, 0, 0) }.unwrap_or(usize::MAX) as u32
}

/// The user that the process acts as.
#[cfg(feature = "fdholderd")]
pub fn effective_user() -> u32 {
    get(word::SYS_geteuid)
}

/// The group that the process acts as.
#[cfg(feature = "fdholderd")]
pub fn effective_group() -> u32 {
    get(word::SYS_getegid)
}

/// Sets the groups besides the main one.
#[cfg(feature = "fdholderd")]
pub fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the kernel reads the numbers.
    unsafe { call3(word::SYS_setgroups, groups.len(), groups.as_ptr() as usize, 0) }.map(drop)
}

/// Sets all group numbers of the process.
#[cfg(feature = "fdholderd")]
pub fn set_group(gid: u32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { call3(word::SYS_setgid, gid as usize, 0, 0) }.map(drop)
}

/// Sets all user numbers of the process.
#[cfg(feature = "fdholderd")]
pub fn set_user(uid: u32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { call3(word::SYS_setuid, uid as usize, 0, 0) }.map(drop)
}
