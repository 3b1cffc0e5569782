//! The variables in which a dump goes from one program to another: `S6_FD#` says how many
//! descriptors there are, and for each of them, counted from 0, `S6_FD_0` is its number, `S6_FDID_0`
//! its identifier and `S6_FDLIMIT_0`, unless it never expires, `@` and its expiry in hexadecimal
//! digits (the documentation of `s6-fdholder-getdump`).

use crate::sys::text::Text;

/// The names by kind, each up to the number behind it.
static NAMES: [Text; 4] =
    [Text::new(c"S6_FD_"), Text::new(c"S6_FDID_"), Text::new(c"S6_FDLIMIT_"), Text::new(c"S6_FD#")];
/// The kind that has the number of a descriptor.
pub const FD: usize = 0;
/// The kind that has an identifier.
pub const ID: usize = 1;
/// The kind that has an expiry.
pub const LIMIT: usize = 2;
/// The kind of which there is one: how many descriptors there are.
pub const COUNT: usize = 3;

/// The name of a kind.
pub fn name(kind: usize) -> Text {
    // There are no others; saying so leaves no panic in the code.
    NAMES[kind % NAMES.len()]
}

/// One of them.
pub struct Variable {
    /// Its kind.
    pub kind: usize,
    /// The number behind its name; of `S6_FD#`, which has none, 0.
    pub index: usize,
    /// What it is set to.
    pub value: Text,
}

/// What a string of the environment is, if it is one of them. A number is written without zeros in
/// front.
pub fn parse(string: Text) -> Option<Variable> {
    for (kind, name) in NAMES.iter().enumerate() {
        if let Some(mut digits) = string.behind(*name) {
            let (index, mut value) = digits.decimal();
            let (end, first) = (value.pop(), digits.pop());
            let is_plain = first != b'0' || digits.first() == b'=';
            if end == b'=' && is_plain && (first == b'=') == (kind == COUNT) {
                return Some(Variable { kind, index: index as usize, value });
            }
        }
    }
    None
}
