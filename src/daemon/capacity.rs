//! How many descriptors and clients fit under the limit on open files.

use super::log::Log;
use super::{CLIENTS_MAX, Settings};
use crate::sys::limit::OpenFileLimit;
use crate::sys::time::{self, Poll};

/// Descriptors that the daemon opens later for itself: one for signals, one for a connection that
/// waits. Reading rules takes the spare one if necessary.
const OWN_DESCRIPTORS: usize = 2;

/// What fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// The most descriptors that may be held.
    pub held: usize,
    /// The most clients.
    pub clients: usize,
    /// The most descriptors that may be open for clients besides their connections: held ones, and
    /// those of requests.
    pub descriptors: usize,
}

/// Fits the settings to the limit on open files. Logs a warning if it allows fewer held descriptors.
/// `None` if it is too low for one client and one descriptor, or if not even the spare descriptor could
/// be opened.
pub fn fit(settings: &Settings, has_spare: bool, log: &mut Log) -> Option<Capacity> {
    // The kernel's maximum is 2^31.
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
    Some(Capacity { held, clients, descriptors: room - clients })
}

/// The number of free descriptor numbers below the limit. Inherited descriptors can have any numbers,
/// so numbers are examined from 0 on. After `wanted` free ones all further numbers count as free.
fn count_free(limit: usize, wanted: usize) -> usize {
    let mut polls = [Poll::NOTHING; 256];
    let (mut next, mut free) = (0, 0);
    while next < limit && free < wanted {
        let count = polls.len().min(limit - next);
        let polls = polls.get_mut(..count).unwrap_or_default();
        for (number, poll) in (next..).zip(polls.iter_mut()) {
            *poll = Poll::on_number(number as u32);
        }
        // If `poll` fails, the numbers count as free.
        let _ = time::poll(polls, Some(0));
        free += polls.iter().filter(|poll| poll.is_closed()).count();
        next += count;
    }
    free + (limit - next)
}
