//! Files by path, and reading and writing.

use super::arch::word;
use super::errno::Errno;
use super::fd::{BorrowedFd, Fd};
use super::{call3, call5};
use core::ffi::CStr;
use core::mem::offset_of;
use core::ptr;

/// The working directory, for calls that take a directory.
const AT_FDCWD: usize = libc::AT_FDCWD as usize;

/// Writes bytes and returns how many: at least one, if there are any. `EIO` if the kernel takes none.
pub fn write(to: BorrowedFd, bytes: &[u8]) -> Result<usize, Errno> {
    let (place, length) = (bytes.as_ptr() as usize, bytes.len());
    // SAFETY: the kernel reads `bytes` within its length.
    match unsafe { call3(libc::SYS_write, to.number(), place, length)? } {
        0 if length > 0 => Err(Errno::IO),
        written => Ok(written),
    }
}

/// Reads bytes and returns how many; 0 at the end of the file.
pub fn read(from: BorrowedFd, bytes: &mut [u8]) -> Result<usize, Errno> {
    let (place, length) = (bytes.as_mut_ptr() as usize, bytes.len());
    // SAFETY: the kernel writes into `bytes` within its length.
    unsafe { call3(libc::SYS_read, from.number(), place, length) }
}

/// Opens a file for reading, close-on-exec. A FIFO without a writer does not block it.
pub fn open(path: &CStr) -> Result<Fd, Errno> {
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    let place = path.as_ptr() as usize;
    // SAFETY: the kernel reads a C string.
    let number = unsafe { call5(libc::SYS_openat, AT_FDCWD, place, flags as usize, 0, 0)? };
    // SAFETY: the kernel has just opened it.
    match unsafe { Fd::own(number) } {
        Some(fd) => Ok(fd),
        // Standard input, output or error was closed. The file stays open in its place.
        None => BorrowedFd::named(number as u32).duplicate(),
    }
}

/// The length of a file in bytes. The file offset is 0 afterwards.
pub fn length(file: BorrowedFd) -> Result<usize, Errno> {
    // SAFETY: neither call touches memory.
    unsafe {
        let length = call3(libc::SYS_lseek, file.number(), 0, libc::SEEK_END as usize)?;
        call3(libc::SYS_lseek, file.number(), 0, libc::SEEK_SET as usize)?;
        Ok(length)
    }
}

/// True if a Unix socket is at the path. A symbolic link to a socket does not count.
///
/// This uses `fstatat`, because kernels before 4.11 and some sandboxes lack `statx`. To open the file
/// does not answer it: the kernel returns `ENXIO` for a socket, and for a device without a driver too.
pub fn is_socket(path: &CStr) -> Result<bool, Errno> {
    /// Where the mode is. The C libraries have it where the kernel has it, on all processors supported
    /// here.
    const MODE: usize = offset_of!(libc::stat64, st_mode) / size_of::<u32>();
    // Larger than the structure of any processor.
    let mut status = [0_u32; 40];
    let (place, flags) = (ptr::from_mut(&mut status) as usize, libc::AT_SYMLINK_NOFOLLOW as usize);
    // SAFETY: the kernel reads a C string and writes a `struct stat`.
    unsafe { call5(word::SYS_fstatat, AT_FDCWD, path.as_ptr() as usize, place, flags, 0)? };
    Ok(status[MODE] & libc::S_IFMT == libc::S_IFSOCK)
}

/// `EACCES` if the file at the path is no regular file or may not be executed, `ENOENT` if there is
/// none. The kernel uses the real user and group for this.
pub fn is_executable(path: &CStr) -> Result<(), Errno> {
    let mode = libc::X_OK as usize;
    // SAFETY: the kernel reads a C string.
    unsafe { call3(libc::SYS_faccessat, AT_FDCWD, path.as_ptr() as usize, mode)? };
    let status = status(AT_FDCWD, path, 0, libc::STATX_TYPE)?;
    let is_regular = u32::from(status.mode) & libc::S_IFMT == libc::S_IFREG;
    if is_regular { Ok(()) } else { Err(Errno::ACCES) }
}

/// True if a file exists at the path. Errors other than `ENOENT` are returned.
pub fn exists(path: &CStr) -> Result<bool, Errno> {
    // SAFETY: the kernel reads a C string.
    let found = unsafe {
        call3(libc::SYS_faccessat, AT_FDCWD, path.as_ptr() as usize, libc::F_OK as usize)
    };
    match found {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Removes a file.
pub fn remove(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel reads a C string.
    unsafe { call3(libc::SYS_unlinkat, AT_FDCWD, path.as_ptr() as usize, 0) }.map(drop)
}

/// Reads the target of the symbolic link at `path` and returns its length. A longer target is cut at
/// the length of `bytes`.
pub fn read_link(path: &CStr, bytes: &mut [u8]) -> Result<usize, Errno> {
    let (path, place, length) = (path.as_ptr() as usize, bytes.as_mut_ptr() as usize, bytes.len());
    // SAFETY: the kernel reads a C string and writes into `bytes` within its length.
    unsafe { call5(libc::SYS_readlinkat, AT_FDCWD, path, place, length, 0) }
}

/// Makes a symbolic link to `target` at `path`.
pub fn link(target: &CStr, path: &CStr) -> Result<(), Errno> {
    let (target, path) = (target.as_ptr() as usize, path.as_ptr() as usize);
    // SAFETY: the kernel reads two C strings.
    unsafe { call3(libc::SYS_symlinkat, target, AT_FDCWD, path) }.map(drop)
}

/// Changes the working directory.
pub fn change_directory(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel reads a C string.
    unsafe { call3(libc::SYS_chdir, path.as_ptr() as usize, 0, 0) }.map(drop)
}

/// Locks an open file until the last close. `EAGAIN` if another process has locked it.
pub fn try_lock(file: BorrowedFd) -> Result<(), Errno> {
    let operation = (libc::LOCK_EX | libc::LOCK_NB) as usize;
    // SAFETY: touches no memory.
    unsafe { call3(libc::SYS_flock, file.number(), operation, 0) }.map(drop)
}

/// Device and inode: no two files that exist at the same time have the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity([u32; 2], u64);

/// The identity of the file at a path. Symbolic links are not followed. `ENOSYS` before Linux 4.11.
pub fn identity(path: &CStr) -> Result<Identity, Errno> {
    let (flags, wanted) = (libc::AT_SYMLINK_NOFOLLOW, libc::STATX_INO);
    status(AT_FDCWD, path, flags, wanted).map(Status::identity)
}

/// The low 32 bits of the inode number of the file at a path, or of the file that a symbolic link there
/// leads to.
pub fn inode(path: &CStr) -> Result<u32, Errno> {
    status(AT_FDCWD, path, 0, libc::STATX_INO).map(|status| status.inode as u32)
}

/// The low 32 bits of the inode number of an open file.
pub fn inode_of(fd: BorrowedFd) -> Result<u32, Errno> {
    identity_of(fd).map(|Identity(_, inode)| inode as u32)
}

/// The identity of an open file.
pub fn identity_of(fd: BorrowedFd) -> Result<Identity, Errno> {
    status(fd.number(), c"", libc::AT_EMPTY_PATH, libc::STATX_INO).map(Status::identity)
}

/// The fields of the kernel's `struct statx` that matter, and its size.
#[repr(C)]
#[derive(Default)]
pub(super) struct Status {
    before: [u32; 7],
    pub mode: u16,
    spare: u16,
    inode: u64,
    size: u64,
    pub blocks: u64,
    pub attributes_mask: u64,
    times: [u64; 8],
    /// Major and minor number of the device that a special file stands for.
    pub special: [u32; 2],
    /// Major and minor number of the device that the file is on.
    pub device: [u32; 2],
    rest: [u64; 14],
}

const _: () = assert!(size_of::<Status>() == 256);

impl Status {
    fn identity(self) -> Identity {
        Identity(self.device, self.inode)
    }
}

/// Reads the status of a file, by its path in a directory.
pub(super) fn status(
    directory: usize,
    path: &CStr,
    flags: i32,
    wanted: u32,
) -> Result<Status, Errno> {
    let mut status = Status::default();
    let (path, place) = (path.as_ptr() as usize, ptr::from_mut(&mut status) as usize);
    // SAFETY: the kernel reads a C string and writes a status.
    unsafe { call5(libc::SYS_statx, directory, path, flags as usize, wanted as usize, place)? };
    Ok(status)
}
