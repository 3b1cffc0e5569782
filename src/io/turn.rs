//! Taking turns at an address.

use super::deadline::Deadline;
use super::open_files::OpenFiles;
use super::socket;
use crate::protocol::address::Address;
use crate::sys::fd::Fd;
use crate::sys::process;
use crate::sys::socket::{self as call, Name, STREAM, UNIX};
use crate::sys::time::Event;
use crate::sys::{Errno, time};

/// What the abstract name of a turn begins with, after the NUL. The end of the address follows.
const START: &[u8] = b"\0fdholder-listen ";

/// The number of attempts to find out who has the turn, and the milliseconds between two of them.
const TRIES: [u32; 2] = [20, 5];

/// The turn of this process at an address, until it is dropped. A process that makes and stores a socket
/// holds it from before `bind` until the daemon has answered.
///
/// The turn is a listening Unix socket with an abstract name made of the address. The kernel gives a name
/// to one process at a time, frees it when the process ends in any way, and then disconnects those who
/// wait. So it leaves no file and needs no polling. A lock on a file would let every user who can read
/// that file make others wait for ever; here it shows who has the turn.
pub struct Turn(
    /// `None` if the process goes on without it.
    #[expect(dead_code, reason = "it is there to be closed")]
    Option<Fd>,
);

impl Turn {
    /// Waits for the turn: `ETIMEDOUT` after the deadline. True if there was somebody to wait for. It
    /// waits only for processes of the same user or of root. If another user has the turn, or the kernel
    /// does not give it, this goes on without it: then two processes at a time may want the address.
    pub fn wait(
        address: &Address,
        deadline: &mut Deadline,
        open_files: &OpenFiles,
    ) -> Result<(Turn, bool), Errno> {
        let text = address.text();
        let mut name = Name::new(UNIX);
        // The start and the longest part of the address for which there is room.
        let room = call::PATH_MAX + 1 - START.len();
        let rest = text.bytes().len().saturating_sub(room);
        name.push(START).push(text.bytes().get(rest..).unwrap_or_default());
        let (mut has_waited, [mut tries, pause]) = (false, TRIES);
        deadline.begin()?;
        while tries > 0 {
            let Ok(fd) = socket::open(UNIX, STREAM, open_files) else { break };
            match call::bind(fd.borrow(), &name) {
                Ok(()) => {
                    let is_listening = call::listen(fd.borrow(), u32::MAX).is_ok();
                    return Ok((Turn(is_listening.then_some(fd)), has_waited));
                }
                Err(Errno::ADDRINUSE) => {}
                Err(_) => break,
            }
            if call::connect_to(fd.borrow(), &name).is_err() {
                // The other one does not listen yet, or has just ended.
                tries -= 1;
                let _ = time::poll(&mut [], Some(pause));
                continue;
            }
            let is_trusted = |uid| uid == 0 || uid == process::effective_user();
            if !call::peer(fd.borrow()).is_ok_and(|peer| is_trusted(peer.uid)) {
                break;
            }
            has_waited = true;
            deadline.wait(fd.borrow(), Event::Readable)?;
        }
        Ok((Turn(None), has_waited))
    }
}
