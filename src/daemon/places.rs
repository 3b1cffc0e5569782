//! Who gets a place when all are taken.

use super::SILENCE;
use super::connection::Connection;

/// The connection that waits for a place.
#[derive(Clone, Copy)]
pub struct Waiting {
    /// Its number among the connections.
    pub number: usize,
    /// Since when there has been no place for it, or for those whose place it has taken, in milliseconds
    /// of uptime.
    pub since: u32,
    /// When it was looked whether a client has to make way for it.
    pub looked: u32,
    /// After how many milliseconds it can be of use to look again.
    pub pause: u32,
    /// Whether its user has more than its share of the places: then it must not keep those behind it
    /// from being seen.
    pub is_in_the_way: bool,
}

impl Waiting {
    /// How many milliseconds are left until it can be of use to look again.
    pub fn left(&self, now: u32) -> u32 {
        self.pause.saturating_sub(now.wrapping_sub(self.looked))
    }

    /// For how many milliseconds those behind it have to wait; `u32::MAX` if until it is let in.
    pub fn holds_up(&self, now: u32) -> u32 {
        let left = SILENCE.saturating_sub(now.wrapping_sub(self.since));
        if self.is_in_the_way { left } else { u32::MAX }
    }
}

/// The user at the other end.
fn user(connection: &Connection) -> u32 {
    connection.session.who.uid
}

/// How many places each user may have that is there, whether it has one or waits for one.
fn share(connections: &[Connection]) -> usize {
    let mut users = 0;
    let mut rest = connections;
    while let [connection, others @ ..] = rest {
        // The last one of each user counts.
        users += usize::from(!others.iter().any(|other| user(other) == user(connection)));
        rest = others;
    }
    connections.len().saturating_sub(1) / users.max(1)
}

/// Whether the user of a connection has more of them than its share.
pub fn has_too_many(connections: &[Connection], number: usize) -> bool {
    let who = connections.get(number).map(user);
    let count = connections.iter().filter(|connection| Some(user(connection)) == who).count();
    count > share(connections)
}

/// Which client has to make way for the connection of the number `waiting`, when all places are taken;
/// or else after how many milliseconds it can be of use to look again.
///
/// The connection that waits counts as one of its user's. Of those who have more than their share the
/// client goes that has been silent for longest, if it has been for [`SILENCE`]. It need not be if the
/// user that waits has no more than its share, and has waited for that long: so nobody keeps more by
/// being busy.
pub fn who_makes_way(connections: &[Connection], waiting: usize, now: u32) -> Result<usize, u32> {
    let (mut silent, mut silence) = (waiting, 0);
    for (number, connection) in connections.iter().enumerate() {
        let is_silent = number != waiting && connection.silence(now) >= silence;
        if is_silent && has_too_many(connections, number) {
            (silent, silence) = (number, connection.silence(now));
        }
    }
    let patient = connections.get(waiting).filter(|_| !has_too_many(connections, waiting));
    if let Some(connection) = patient {
        silence = silence.max(connection.silence(now));
    }
    if silence >= SILENCE { Ok(silent) } else { Err(SILENCE - silence) }
}

/// The number of the connection that has been silent for longest of those for which that holds.
pub fn longest_silent(
    connections: &[Connection],
    now: u32,
    is_meant: impl Fn(&Connection) -> bool,
) -> Option<usize> {
    let (mut silent, mut longest) = (None, 0);
    for (number, connection) in connections.iter().enumerate() {
        let silence = connection.silence(now);
        if is_meant(connection) && silence >= longest {
            (silent, longest) = (Some(number), silence);
        }
    }
    silent
}
