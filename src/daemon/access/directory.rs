//! Rules in files below a directory. The daemon reads them whenever a client connects. (The format is
//! from the documentation of `s6-ipcserver-access`, and from running `s6-fdholderd`.)

use super::Right;
use super::rules::{PREFIX, Rule};
use crate::io::path::PathBuffer;
use crate::sys::{Errno, file};
use core::ffi::CStr;

/// The longest value, in bytes.
pub const VALUE_MAX: usize = 2048;

/// The path of the rule with this key.
pub fn rule(directory: &CStr, key: &[u8]) -> PathBuffer {
    let mut path = PathBuffer::EMPTY;
    path.push(directory.to_bytes()).push(b"/").push(key);
    path
}

/// An error if the directory does not exist or may not be searched.
pub fn check(directory: &CStr) -> Result<(), Errno> {
    // Looking up `.` needs both.
    match file::exists(rule(directory, b".").path()?)? {
        true => Ok(()),
        false => Err(Errno::NOENT),
    }
}

/// Decides by a rule: the file `allow` allows, otherwise the file `deny` refuses, otherwise there is no
/// rule.
pub fn decide(rule: &mut PathBuffer) -> Result<Rule, Errno> {
    if has(rule, b"/allow")? {
        return Ok(Rule::Allowed);
    }
    Ok(if has(rule, b"/deny")? { Rule::Refused } else { Rule::Absent })
}

/// True if the rule has a file of this name.
fn has(rule: &mut PathBuffer, name: &[u8]) -> Result<bool, Errno> {
    let length = rule.bytes().len();
    let found = rule.push(name).path().and_then(file::exists);
    rule.truncate(length);
    found
}

/// The value of the variable of a right: the first line of the file of that name in `env`, without
/// blanks at its end. `None` if the file does not exist or is empty.
pub fn value<'a>(
    rule: &mut PathBuffer,
    right: Right,
    bytes: &'a mut [u8; VALUE_MAX],
) -> Result<Option<&'a [u8]>, Errno> {
    let length = rule.bytes().len();
    rule.push(b"/env/").push(PREFIX).push(right.variable());
    let opened = rule.path().and_then(file::open);
    rule.truncate(length);
    let opened = match opened {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened?,
    };
    let mut have = 0;
    loop {
        // A full buffer ends the loop: then the slice is empty and `read` returns 0.
        match file::read(opened.borrow(), bytes.get_mut(have..).unwrap_or_default())? {
            0 => break,
            read => have += read,
        }
    }
    match have {
        0 => Ok(None),
        // The value of these variables does not matter.
        _ if !right.has_expression() => Ok(Some(&[])),
        have => first_line(bytes, have).map(Some),
    }
}

/// The first line of the `read` bytes that a file begins with, without blanks at its end. `E2BIG` if
/// the line fills the buffer, since it may go on.
fn first_line(bytes: &[u8; VALUE_MAX], read: usize) -> Result<&[u8], Errno> {
    let read = bytes.get(..read).unwrap_or_default();
    let mut line = read.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.len() == VALUE_MAX {
        return Err(Errno::TOOBIG);
    }
    while let [rest @ .., b' ' | b'\t' | b'\r'] = line {
        line = rest;
    }
    Ok(line)
}
