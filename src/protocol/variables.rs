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
    Kind::ALL.into_iter().find_map(|kind| {
        let digits = string.to_bytes().strip_prefix(kind.name().as_bytes())?;
        let mut rest = digits;
        let index = number::take(&mut rest);
        let value = rest.strip_prefix(b"=")?;
        let is_plain = match (kind, digits.len() - rest.len()) {
            (Kind::Count, length) => length == 0,
            (_, 0) => false,
            (_, 1) => true,
            _ => !digits.starts_with(b"0"),
        };
        let value = tail(string, string.count_bytes() - value.len());
        is_plain.then_some(Variable { kind, index: index as usize, value })
    })
}
