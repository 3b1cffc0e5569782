//! Eviction: which client is disconnected for another one when all places are taken.

use super::SILENCE;
use super::connection::Connection;

/// The connection that waits for a place.
#[derive(Clone, Copy)]
pub struct Waiting {
    /// The number of its place: the last one that was free.
    pub number: usize,
    /// Since when connections have waited without a break, in milliseconds of uptime. A connection that
    /// takes over the extra place takes over this time.
    pub since: u32,
    /// When the clients were last examined, in milliseconds of uptime.
    pub examined: u32,
    /// Milliseconds from then until examining them again can help.
    pub pause: u32,
    /// True if its user has more connections than its share. Then it may block the connections behind
    /// it for `SILENCE` at most.
    pub is_over_share: bool,
}

impl Waiting {
    /// Milliseconds until examining the clients again can help.
    pub fn left(&self, now: u32) -> u32 {
        self.pause.saturating_sub(now.wrapping_sub(self.examined))
    }

    /// Milliseconds for which it still blocks the connections behind it; `u32::MAX` until it gets a
    /// place.
    pub fn blocks_for(&self, now: u32) -> u32 {
        let left = SILENCE.saturating_sub(now.wrapping_sub(self.since));
        if self.is_over_share { left } else { u32::MAX }
    }
}

/// The user of a connection.
fn user(connection: &Connection) -> u32 {
    connection.session.who.uid
}

/// The number of places for each connected user, whether its connections have places or one of them
/// waits.
fn share(connections: &[Connection]) -> usize {
    let mut users = 0;
    let mut rest = connections;
    while let [connection, others @ ..] = rest {
        // Each user is counted at its last connection.
        users += usize::from(!others.iter().any(|other| user(other) == user(connection)));
        rest = others;
    }
    connections.len().saturating_sub(1) / users.max(1)
}

/// True if the user of a connection has more connections than its share.
pub fn is_over_share(connections: &[Connection], number: usize) -> bool {
    let who = connections.get(number).map(user);
    let count = connections.iter().filter(|connection| Some(user(connection)) == who).count();
    count > share(connections)
}

/// The number of the client to disconnect for the connection `waiting`, when all places are taken.
/// Otherwise the milliseconds until examining the clients again can help.
///
/// The waiting connection counts for its user. The clients of users with more than their share are
/// candidates. The one that has been silent for longest is chosen, if that is at least `SILENCE`. It
/// need not be if the user of `waiting` has no more than its share and `waiting` has waited for
/// `SILENCE`: so no user keeps more than its share by being busy.
pub fn candidate(connections: &[Connection], waiting: usize, now: u32) -> Result<usize, u32> {
    let (mut silent, mut silence) = (waiting, 0);
    for (number, connection) in connections.iter().enumerate() {
        let is_silent = number != waiting && connection.silence(now) >= silence;
        if is_silent && is_over_share(connections, number) {
            (silent, silence) = (number, connection.silence(now));
        }
    }
    let patient = connections.get(waiting).filter(|_| !is_over_share(connections, waiting));
    if let Some(connection) = patient {
        silence = silence.max(connection.silence(now));
    }
    if silence >= SILENCE { Ok(silent) } else { Err(SILENCE - silence) }
}

/// The number of the connection that has been silent for longest, among those for which `is_meant` is
/// true.
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
