//! Rules in files below a directory, which are read when a client connects. (The form is from the
//! documentation of `s6-ipcserver-access`, and from running `s6-fdholderd`.)

use super::Right;
use super::rules::{PREFIX, Rule};
use crate::io::path::PathBuffer;
use crate::sys::{Errno, file};
use core::ffi::CStr;

/// Bytes of the longest value.
pub const VALUE_MAX: usize = 2048;

/// The path of the rule that has a key.
pub fn rule(directory: &CStr, key: &[u8]) -> PathBuffer {
    let mut path = PathBuffer::EMPTY;
    path.push(directory.to_bytes()).push(b"/").push(key);
    path
}

/// Whether nothing can be read in a directory, and why.
pub fn check(directory: &CStr) -> Result<(), Errno> {
    // For this there has to be a directory, and it has to be one that may be searched.
    match file::exists(rule(directory, b".").path()?)? {
        true => Ok(()),
        false => Err(Errno::NOENT),
    }
}

/// What a rule decides: if `allow` exists in it, it allows; else if `deny` exists it refuses; else there
/// is no rule.
pub fn decide(rule: &mut PathBuffer) -> Result<Rule, Errno> {
    if has(rule, b"/allow")? {
        return Ok(Rule::Allowed);
    }
    Ok(if has(rule, b"/deny")? { Rule::Refused } else { Rule::Absent })
}

/// Whether there is a file of that name in a rule.
fn has(rule: &mut PathBuffer, name: &[u8]) -> Result<bool, Errno> {
    let length = rule.bytes().len();
    let found = rule.push(name).path().and_then(file::exists);
    rule.truncate(length);
    found
}

/// The value of the variable that gives a right, if it is set in a rule: the first line of a file of
/// that name in `env`, without blanks at its end. An empty file unsets it.
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
        // Nothing is read into no room.
        match file::read(opened.borrow(), bytes.get_mut(have..).unwrap_or_default())? {
            0 => break,
            read => have += read,
        }
    }
    match have {
        0 => Ok(None),
        // It does not matter what these are set to.
        _ if !right.has_expression() => Ok(Some(&[])),
        have => first_line(bytes, have).map(Some),
    }
}

/// The first line of the `read` bytes that a file begins with, without blanks at its end; an error if it
/// may go on.
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
