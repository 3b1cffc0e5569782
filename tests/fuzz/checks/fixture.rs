//! The parts of the product that are made once for many checks: buffers and rules.

use super::model::{ROLES, Role};
use crate::kit::cdb;
use fdholder::cli::output::{LINE_MAX, Writer};
use fdholder::daemon::access::{Gate, Identity, Source};
use fdholder::daemon::closing::Closing;
use fdholder::daemon::log::Log;
use fdholder::daemon::request::{Service, Session};
use fdholder::daemon::table::{NOW, Table};
use fdholder::protocol::frame::Frame;
use fdholder::sys::fd::{BorrowedFd, STDERR};
use fdholder::sys::message::Received;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::thread;
use temp_dir::TempDir;

/// The number of clients.
pub const CLIENTS: usize = 3;
/// The largest capacity of a table.
pub const MOST: usize = 12;

/// What all checks of a thread share.
pub struct Fixture {
    gate: Option<Gate>,
    frame: Box<Frame>,
    errors: Writer,
    /// The file that closers put in place of a socket.
    substitute: File,
}

impl Fixture {
    /// Makes the fixture of a thread.
    pub fn new() -> Fixture {
        let dir = TempDir::new().unwrap();
        let rule = |role: &Role| {
            let strings = role.rule.iter().map(|name| format!("S6_FDHOLDER_{name}\0"));
            let value = cdb::allow(strings.collect::<String>().as_bytes(), b"");
            (format!("uid/{}", role.uid), value)
        };
        let path = dir.child("rules");
        std::fs::write(&path, cdb::file(&ROLES.each_ref().map(rule), 2)).unwrap();
        let path = CString::new(path.into_os_string().into_vec()).unwrap();
        let source = Source::File(Box::leak(path.into_boxed_c_str()));
        let mut gate = Gate::new(CLIENTS, source, None);
        gate.reload().unwrap();
        let substitute = File::open("/dev/null").unwrap();
        let buffer = Box::leak(Box::new([0; LINE_MAX]));
        let (frame, errors) = (Box::new(Frame::EMPTY), Writer::messages(STDERR, buffer));
        Fixture { gate: Some(gate), frame, errors, substitute }
    }

    /// The state of a daemon at its start, with an empty table for `most` entries. It logs nothing.
    pub fn service(&mut self, most: usize, seed: u8) -> Service<'_> {
        let substitute = self.substitute.as_raw_fd() as u32;
        let closing = Closing::new(BorrowedFd::named(substitute));
        let table = Table::new(most, [seed.into(), 0], closing);
        let Fixture { gate, frame, errors, .. } = self;
        let (gate, log) = (gate.take().unwrap(), Log::new(0, errors));
        Service { now: 0, date: None, frame, received: Received::NOTHING, table, gate, log }
    }

    /// Takes back the rules for the next check.
    pub fn take_back(&mut self, gate: Gate) {
        self.gate = Some(gate);
    }
}

/// Removes all entries, checks that the table is empty then, and returns the rules.
pub fn end(service: Service) -> Gate {
    let Service { mut table, gate, .. } = service;
    let mut at = 0;
    while table.after(&mut at, NOW).is_some() {
        table.remove(at - 1);
    }
    assert_eq!(table.free_slots(), 2 * table.capacity(), "slots are lost");
    assert_eq!(table.used(), 0);
    let mut now = 0;
    while table.closing.is_busy() {
        table.closing.tick(now, false);
        now += 1;
        thread::yield_now();
    }
    gate
}

/// A new session of a client with this role.
pub fn session(service: &mut Service, client: usize, role: &Role) -> Session {
    let who = Identity { uid: role.uid, gid: role.uid };
    let access = service.gate.admit(client, who, &mut service.log);
    Session { who, missing: 0, access: access.expect("the client is refused") }
}
