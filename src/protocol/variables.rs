//! The variables in which a dump goes from one program to another: `S6_FD#` says how many
//! descriptors there are, and for each of them, counted from 0, `S6_FD_0` is its number, `S6_FDID_0`
//! its identifier and `S6_FDLIMIT_0`, unless it never expires, `@` and its expiry in hexadecimal
//! digits (the documentation of `s6-fdholder-getdump`).

use crate::cli::number;
use crate::sys::strings::tail;
use core::ffi::CStr;

/// What a variable is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The number of a descriptor.
    Fd,
    /// An identifier.
    Identifier,
    /// An expiry.
    Expiry,
    /// How many descriptors there are; there is one of it.
    Count,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Fd, Kind::Identifier, Kind::Expiry, Kind::Count];

    /// The name, up to the number behind it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Fd => "S6_FD_",
            Kind::Identifier => "S6_FDID_",
            Kind::Expiry => "S6_FDLIMIT_",
            Kind::Count => "S6_FD#",
        }
    }
}

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Variable {
    /// What it is about.
    pub kind: Kind,
    /// The number behind its name; of `S6_FD#`, which has none, 0.
    pub index: usize,
    /// What it is set to.
    pub value: &'static CStr,
}

/// What a string of the environment is, if it is one of them. A number is written without zeros in
/// front.
pub fn parse(string: &'static CStr) -> Option<Variable> {
    let text = string.to_bytes();
    for kind in Kind::ALL {
        let Some(digits) = text.strip_prefix(kind.name().as_bytes()) else { continue };
        let mut rest = digits;
        let index = number::take(&mut rest) as usize;
        let is_plain = match digits.len() - rest.len() {
            0 => kind == Kind::Count,
            1 => kind != Kind::Count,
            _ => kind != Kind::Count && !digits.starts_with(b"0"),
        };
        if is_plain && rest.starts_with(b"=") {
            let value = tail(string, text.len() - rest.len() + 1);
            return Some(Variable { kind, index, value });
        }
    }
    None
}
