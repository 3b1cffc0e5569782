//! The text of an address.

use super::Address;
use crate::slice::{append, part};
use crate::sys::bug;
use crate::sys::socket::{INET, INET6, PATH_MAX};
use core::slice::from_ref;

impl Address {
    /// Its text.
    pub fn text(&self) -> Text {
        let mut text = Text { start: 0, length: 0, bytes: [0; TEXT_MAX] };
        text.push(self.kind.prefix().as_bytes());
        text.start = text.length;
        let rest = self.name.rest();
        match self.family() {
            INET => {
                let (port, rest) = field(rest);
                let (host, _zeros) = field(rest);
                text.host4(host).port(port);
            }
            INET6 => {
                let (port, rest) = field(rest);
                let (_flow, rest) = field::<4>(rest);
                let (host, scope) = field(rest);
                text.push(b"[").host6(host);
                let scope = u32::from_ne_bytes(field(scope).0);
                if scope != 0 {
                    text.push(b"%").number(scope, 10);
                }
                text.push(b"]").port(port);
            }
            _ => {
                match rest {
                    // `@` for the NUL in front of an abstract name is usual.
                    [0, name @ ..] => text.push(b"@").escaped(name),
                    [b'@', ..] => text.push(b"./").push(rest),
                    path => text.push(path),
                };
            }
        }
        text
    }
}

/// Splits off the first bytes of an address. The kernel's addresses are never too short.
fn field<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    match bytes.split_first_chunk() {
        Some((field, rest)) => (*field, rest),
        None => bug(),
    }
}

/// The longest text, in bytes: `unix-seqpacket:@` and an abstract name of which every byte is escaped.
pub const TEXT_MAX: usize = 16 + 2 * PATH_MAX;

/// The text of an address.
#[derive(Clone)]
pub struct Text {
    start: usize,
    length: usize,
    bytes: [u8; TEXT_MAX],
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Text {
    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        part(&self.bytes, ..self.length)
    }

    /// The part behind the kind: `127.0.0.1:80`, `/run/x`, `@name`.
    pub fn place(&self) -> &[u8] {
        part(&self.bytes, self.start..self.length)
    }

    /// Adds bytes. Every text fits; bytes that do not fit are left out.
    fn push(&mut self, bytes: &[u8]) -> &mut Text {
        append(&mut self.bytes, &mut self.length, bytes);
        self
    }

    /// Adds an abstract name. An identifier has no NUL, so `%0` stands for that, and `%%` for `%`. Programs
    /// that give the size of the structure as the length of the name have many NULs in it.
    fn escaped(&mut self, name: &[u8]) -> &mut Text {
        for byte in name {
            self.push(match byte {
                0 => b"%0",
                b'%' => b"%%",
                byte => from_ref(byte),
            });
        }
        self
    }

    /// Adds a number in decimal or hexadecimal.
    fn number(&mut self, number: u32, base: u32) -> &mut Text {
        if number >= base {
            self.number(number / base, base);
        }
        let digit = (number % base) as u8;
        self.push(&[if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }])
    }

    /// Adds a port.
    fn port(&mut self, port: [u8; 2]) -> &mut Text {
        self.push(b":").number(u16::from_be_bytes(port).into(), 10)
    }

    /// Adds an IPv4 address.
    fn host4(&mut self, [a, b, c, d]: [u8; 4]) -> &mut Text {
        self.number(a.into(), 10);
        for byte in [b, c, d] {
            self.push(b".").number(byte.into(), 10);
        }
        self
    }

    /// Adds an IPv6 address by RFC 5952: `::` stands for the longest run of at least two zero segments,
    /// the first of several; an IPv4-mapped address ends in dotted decimals.
    fn host6(&mut self, host: [u8; 16]) -> &mut Text {
        if let [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] = host {
            return self.push(b"::ffff:").host4([a, b, c, d]);
        }
        let mut pairs = host.chunks_exact(2);
        let segments = [0_u16; 8].map(|_| match pairs.next() {
            Some([high, low]) => u16::from_be_bytes([*high, *low]),
            _ => bug(),
        });
        let (mut run, mut longest) = (0..0, 0..1);
        for (at, segment) in segments.iter().enumerate() {
            run = if *segment == 0 { run.start..at + 1 } else { at + 1..at + 1 };
            if run.len() > longest.len() {
                longest = run.clone();
            }
        }
        if longest.len() == 1 {
            return self.segments(&segments);
        }
        self.segments(part(&segments, ..longest.start)).push(b"::");
        self.segments(part(&segments, longest.end..))
    }

    /// Adds segments with `:` between them.
    fn segments(&mut self, segments: &[u16]) -> &mut Text {
        for (at, segment) in segments.iter().enumerate() {
            if at > 0 {
                self.push(b":");
            }
            self.number((*segment).into(), 16);
        }
        self
    }
}
