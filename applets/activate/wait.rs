//! Waiting for the first client.

use crate::protocol::activation::FIRST;
use crate::sys::Errno;
use crate::sys::fd::BorrowedFd;
use crate::sys::memory::List;
use crate::sys::signal::Signals;
use crate::sys::time::{self, Event, Poll};

/// Waits until one of `count` descriptors, from number 3 on, is readable or has hung up. False if SIGTERM
/// has come.
pub fn wait(count: usize, signals: &Signals) -> Result<bool, Errno> {
    let mut polls = List::new(count + 1);
    if polls.capacity() == 0 {
        return Err(Errno::NOMEM);
    }
    polls.push(Poll::on(signals.descriptor(), Event::Readable));
    for number in (FIRST..).take(count) {
        polls.push(Poll::on(BorrowedFd::named(number), Event::Readable));
    }
    time::poll(&mut polls, None)?;
    Ok(signals.next().is_none())
}
