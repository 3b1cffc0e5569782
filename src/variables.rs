//! The variables in which a dump goes from one program to another: `S6_FD#` says how many
//! descriptors there are, and for each of them, counted from 0, `S6_FD_0` is its number, `S6_FDID_0`
//! its identifier and `S6_FDLIMIT_0`, unless it never expires, `@` and its expiry in hexadecimal
//! digits (the documentation of `s6-fdholder-getdump`).

use crate::getopt::decimal;
use crate::sys::text::Text;

/// How many there are.
pub const COUNT: Text = Text::new(c"S6_FD#");
/// What stands in front of the number in the variables of each.
pub const NAMES: [Text; 3] =
    [Text::new(c"S6_FD_"), Text::new(c"S6_FDID_"), Text::new(c"S6_FDLIMIT_")];

/// The value of a variable of that name.
pub fn value(variable: Text, name: Text) -> Option<Text> {
    let mut behind = variable.behind(name)?;
    if behind.pop() == b'=' { Some(behind) } else { None }
}

/// Which descriptor a variable belongs to, if it has that name with a number behind it, and its
/// value. A number is written without zeros in front.
pub fn numbered(variable: Text, name: Text) -> Option<(usize, Text)> {
    let digits = variable.behind(name)?;
    let (index, mut behind) = decimal(digits);
    let is_plain = match digits.first() {
        b'0' => digits.clone().nth(1) == Some(b'='),
        first => first.is_ascii_digit(),
    };
    if is_plain && behind.pop() == b'=' { Some((index as usize, behind)) } else { None }
}
