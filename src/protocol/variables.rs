//! The environment variables that carry a dump from one program to another. `S6_FD#` is the number of
//! descriptors. For each of them, counted from 0, `S6_FD_0` is its number, `S6_FDID_0` its identifier,
//! and `S6_FDLIMIT_0` its expiry: `@` and hexadecimal digits, unset if it never expires. (Source: the
//! documentation of `s6-fdholder-getdump`.)

use crate::cli::number;
use crate::sys::strings::tail;
use core::ffi::CStr;

/// What a variable contains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The number of a descriptor.
    Fd,
    /// An identifier.
    Identifier,
    /// An expiry.
    Expiry,
    /// The number of descriptors. There is one such variable.
    Count,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Fd, Kind::Identifier, Kind::Expiry, Kind::Count];

    /// The name, without the index at its end.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Fd => "S6_FD_",
            Kind::Identifier => "S6_FDID_",
            Kind::Expiry => "S6_FDLIMIT_",
            Kind::Count => "S6_FD#",
        }
    }
}

/// A variable of a dump.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Variable {
    /// What it contains.
    pub kind: Kind,
    /// The index at the end of its name; 0 for `S6_FD#`, which has none.
    pub index: usize,
    /// Its value.
    pub value: &'static CStr,
}

/// Parses a string of the environment. `None` if it is no variable of a dump. An index has no leading
/// zeros.
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
