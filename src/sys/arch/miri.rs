//! System calls under Miri. Miri interprets Rust to find undefined behaviour and has no system call
//! instruction. The calls that `tests/miri.sh` needs become calls of C functions that Miri knows; their
//! errors all become `EINVAL`. Every other call fails with `ENOSYS`.

/// Flags of `open` that Miri does not know. They have no effect on a regular file.
const UNKNOWN: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

/// A system call of up to five arguments.
///
/// # Safety
/// The arguments must be what the call numbered `number` expects.
pub unsafe fn syscall5(number: usize, a: usize, b: usize, c: usize, _: usize, _: usize) -> isize {
    // SAFETY: the caller vouches for the arguments.
    let result = unsafe {
        match number as libc::c_long {
            libc::SYS_exit_group => libc::exit(a as i32),
            libc::SYS_close => libc::close(a as i32) as isize,
            libc::SYS_openat => libc::open(b as *const libc::c_char, c as i32 & !UNKNOWN) as isize,
            libc::SYS_lseek => libc::lseek64(a as i32, b as i64, c as i32) as isize,
            libc::SYS_read => libc::read(a as i32, b as *mut libc::c_void, c),
            libc::SYS_munmap => libc::munmap(a as *mut libc::c_void, b) as isize,
            libc::SYS_clock_gettime => {
                libc::clock_gettime(a as i32, b as *mut libc::timespec) as isize
            }
            _ => return -libc::ENOSYS as isize,
        }
    };
    if result < 0 { -libc::EINVAL as isize } else { result }
}

/// `mmap`, the one call of six arguments.
///
/// # Safety
/// The arguments must be what the call expects.
pub unsafe fn mmap([a, b, c, d, e, f]: [usize; 6]) -> isize {
    // SAFETY: the caller vouches for the arguments, and the kernel picks an address that is not in use.
    unsafe {
        libc::mmap(a as *mut libc::c_void, b, c as i32, d as i32, e as i32, f as i64) as isize
    }
}
