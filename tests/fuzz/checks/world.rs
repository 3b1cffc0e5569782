//! What checks have of the product that cannot be made anew for each: memory, and rules.

use super::model::{ROLES, Role};
use crate::kit::cdb;
use fdholder::daemon::closing::{self, Closing};
use fdholder::daemon::gate::{self, Gate, Source};
use fdholder::daemon::log::Log;
use fdholder::daemon::request::{Service, Session};
use fdholder::daemon::rules::Identity;
use fdholder::daemon::table::{self, NOW, Table};
use fdholder::pool::Composer;
use fdholder::sys::memory::{Memory, Space};
use fdholder::sys::text::Text;
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use temp_dir::TempDir;

/// The most clients that there are.
pub const SEATS: usize = 3;
/// The most that a table holds.
pub const MOST: usize = 12;

/// What a thread has of the product for all its checks.
pub struct World {
    gate: Option<Gate>,
    /// Places to receive in, one for each client and one more.
    pub spaces: Vec<&'static mut Space>,
    memory: Memory,
    start: *mut [u8],
}

impl World {
    /// What a thread needs once.
    pub fn new() -> World {
        let dir = TempDir::new().unwrap();
        let rule = |role: &Role| {
            let strings = role.rule.iter().map(|name| format!("S6_FDHOLDER_{name}\0"));
            let value = cdb::allow(strings.collect::<String>().as_bytes(), b"");
            (format!("uid/{}", role.uid), value)
        };
        let path = dir.child("rules");
        std::fs::write(&path, cdb::file(&ROLES.each_ref().map(rule), 2)).unwrap();
        let path = CString::new(path.into_os_string().into_vec()).unwrap();
        let source = Source::File(Text::new(Box::leak(path.into_boxed_c_str())));
        let spaces = SEATS + 1;
        let size = spaces * (size_of::<Space>() + gate::BYTES_EACH) + 64;
        let mut memory = Memory::map(size).unwrap();
        let spaces = memory.zeros(spaces).iter_mut().collect();
        let mut gate = Gate::new(&mut memory, SEATS, source);
        gate.reload().unwrap();
        let size = closing::BYTES + MOST * table::BYTES_EACH + 64;
        let mut memory = Memory::map(size).unwrap();
        // Where it begins; a reference to nothing is not allowed to reach what comes behind it.
        let start = memory.zeros::<u32>(0).as_ptr() as usize as *mut u8;
        let start = std::ptr::slice_from_raw_parts_mut(start, size);
        World { gate: Some(gate), spaces, memory, start }
    }

    /// What a daemon begins with: an empty table for so many, in the same memory as the one before.
    pub fn service(&mut self, most: usize, seed: u8, out: &'static mut Composer) -> Service {
        // SAFETY: nobody has the table before any more, so all of its memory can be handed out
        // again, by a copy of what has not handed out anything.
        let table = unsafe {
            (*self.start).fill(0);
            let memory = &mut std::ptr::read(&raw const self.memory);
            // What it closes is not open.
            let closing = Closing::new(memory, 0);
            Table::new(memory, most, [seed.into(), 0], closing)
        };
        let (space, gate) = (self.spaces.pop(), self.gate.take().unwrap());
        Service { now: 0, space, out, log: Log::new(0), table, gate }
    }

    /// Takes back what can be used again, when nothing needs the table any more, which must be empty
    /// as soon as what it holds is forgotten.
    pub fn end(&mut self, service: Service) -> &'static mut Composer {
        let Service { space, out, mut table, gate, .. } = service;
        let mut at = 0;
        while table.after(&mut at, NOW).is_some() {
            table.forget(at - 1);
        }
        assert_eq!(table.free_slots(), 2 * table.most(), "slots are lost");
        // What closers have taken over is open until it has been noticed.
        while table.closing.is_busy() {
            table.closing.tend();
        }
        self.spaces.extend(space);
        assert_eq!(self.spaces.len(), SEATS + 1, "spaces are lost");
        self.spaces.iter_mut().for_each(|space| space.give_back());
        self.gate = Some(gate);
        out
    }
}

/// A session of a client of that role, at a place where nobody else is.
pub fn session(service: &mut Service, seat: usize, role: &Role) -> Session {
    let who = Identity { uid: role.uid, gid: role.uid };
    let access = service.gate.admit(&mut service.log, seat, who).expect("a client that is let in");
    Session { who, missing: 0, access }
}
