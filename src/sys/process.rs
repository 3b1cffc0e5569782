//! The process: its end, the program that takes its place, and the user that it acts as.

#[cfg(feature = "fdholderd")]
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

/// The groups besides the main one; `EINVAL` if there are more than fit into `groups`.
#[cfg(feature = "fdholderd")]
pub fn groups(groups: &mut [u32]) -> Result<&[u32], Errno> {
    let (place, length) = (groups.as_mut_ptr() as usize, groups.len());
    // SAFETY: the kernel writes no more numbers than there is room for.
    let count = unsafe { call3(word::SYS_getgroups, length, place, 0)? };
    Ok(groups.get(..count).unwrap_or_default())
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

/// Gives the process a name in place of that of its program: what `ps` and `pidof` go by.
#[cfg(feature = "fdholderd")]
pub fn set_name(name: &CStr) {
    let option = libc::PR_SET_NAME as usize;
    // SAFETY: the kernel reads up to the NUL of a C string.
    let _ = unsafe { call3(libc::SYS_prctl, option, name.as_ptr() as usize, 0) };
}

/// Keeps other processes of the same user from taking descriptors out of this one, and from reading its
/// memory. There is no core dump either.
#[cfg(feature = "fdholderd")]
pub fn forbid_access() -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { call3(libc::SYS_prctl, libc::PR_SET_DUMPABLE as usize, 0, 0) }.map(drop)
}
