//! Who gets a place when all are taken.

use super::SILENCE;
use super::connection::Connection;

/// The connection that waits for a place.
#[derive(Clone, Copy)]
pub struct Waiting {
    /// Its number among the connections.
    pub number: usize,
    /// When it was looked whether a client has to make way for it, in milliseconds of uptime.
    pub looked: u32,
    /// After how many milliseconds it can be of use to look again.
    pub pause: u32,
}

impl Waiting {
    /// How many milliseconds are left until it can be of use to look again.
    pub fn left(&self, now: u32) -> u32 {
        self.pause.saturating_sub(now.wrapping_sub(self.looked))
    }
}

/// Which client has to make way for the connection of the number `waiting`, when all places are taken;
/// or else after how many milliseconds it can be of use to look again.
///
/// The places are shared among the users that are there, the waiting one included, whose connection
/// counts as one more. Of those who have more than their share the client goes that has been silent for
/// longest, if it is silent at all, which is for [`SILENCE`]. It need not be if the user that waits has
/// no more than its share, and has waited for that long: so nobody keeps more by sending bytes.
pub fn who_makes_way(connections: &[Connection], waiting: usize, now: u32) -> Result<usize, u32> {
    let user = |connection: &Connection| connection.session.who.uid;
    let is_first = |(number, connection): (usize, &Connection)| {
        !connections.iter().take(number).any(|other| user(other) == user(connection))
    };
    let users = connections.iter().enumerate().filter(|one| is_first(*one)).count();
    let share = connections.len().saturating_sub(1) / users.max(1);
    let has_too_many = |connection: &Connection| {
        connections.iter().filter(|other| user(other) == user(connection)).count() > share
    };
    let mut pause = SILENCE;
    if let Some(connection) = connections.get(waiting).filter(|one| !has_too_many(one)) {
        pause = SILENCE.saturating_sub(connection.silence(now));
    }
    let others = connections.iter().enumerate().filter(|(number, _)| *number != waiting);
    let others = others.filter(|(_, connection)| has_too_many(connection));
    let Some((number, connection)) = others.max_by_key(|(_, one)| one.silence(now)) else {
        return Err(pause);
    };
    match pause.min(SILENCE.saturating_sub(connection.silence(now))) {
        0 => Ok(number),
        pause => Err(pause),
    }
}
