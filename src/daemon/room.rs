//! How many descriptors and clients there is room for under the limit on open files.

use super::log::Log;
use super::{CLIENTS_MAX, Settings};
use crate::sys::limit::OpenFileLimit;
use crate::sys::time::{self, Poll};

/// Descriptors that the daemon itself needs besides those that are open when it counts them: one for
/// signals and one for a connection that waits. Rules are read with the spare one if need be.
const OWN_DESCRIPTORS: usize = 2;

/// What there is room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// How many descriptors may be held.
    pub held: usize,
    /// How many clients there may be.
    pub clients: usize,
    /// How many descriptors may be open for clients, besides their connections: what is held, and what
    /// comes with requests.
    pub descriptors: usize,
}

/// What is asked for, or less; nothing if the limit is too low for anything. A warning says so if it is
/// fewer descriptors. `has_spare` is whether a descriptor could be opened at all.
pub fn fit(settings: &Settings, has_spare: bool, log: &mut Log) -> Option<Room> {
    // The kernel lets it be no more than 2^31.
    let limit = OpenFileLimit::get().soft as u32;
    let clients = settings.clients.min(CLIENTS_MAX as u32).max(1) as usize;
    let wanted = (settings.held.max(1) as usize).saturating_add(clients + OWN_DESCRIPTORS);
    let free = if has_spare { count_free(limit as usize, wanted) } else { 0 };
    let room = free.saturating_sub(OWN_DESCRIPTORS);
    if room < 2 {
        return None;
    }
    let clients = clients.min(room / 2);
    let held = (settings.held.max(1) as usize).min(room - clients);
    if held < settings.held as usize {
        log.warn(|line| {
            line.text("the open-file limit is ").number(limit);
            line.text(": it leaves room for ").number(held as u32).text(" descriptors");
        });
    }
    Some(Room { held, clients, descriptors: room - clients })
}

/// How many numbers below the limit are free for descriptors. What was inherited can have any numbers:
/// they are looked at from 0 on until as many as are wanted are free, and those behind them, where
/// nothing is needed, count as free.
fn count_free(limit: usize, wanted: usize) -> usize {
    let mut polls = [Poll::NOTHING; 256];
    let (mut next, mut free) = (0, 0);
    while next < limit && free < wanted {
        let count = polls.len().min(limit - next);
        let polls = polls.get_mut(..count).unwrap_or_default();
        for (number, poll) in (next..).zip(polls.iter_mut()) {
            *poll = Poll::on_number(number as u32);
        }
        // What the kernel does not look at counts as free.
        let _ = time::poll(polls, Some(0));
        free += polls.iter().filter(|poll| poll.is_closed()).count();
        next += count;
    }
    free + (limit - next)
}
