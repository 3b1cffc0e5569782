//! Parsing the text of an address.

use super::{Address, Kind};
use crate::sys::socket::{INET, INET6, Name, PATH_MAX, UNIX};

impl Address {
    /// Parses a text. The error says what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Address, &'static str> {
        for kind in Kind::ALL {
            if let Some(place) = text.strip_prefix(kind.prefix().as_bytes()) {
                let name = if kind.is_internet() { internet(place) } else { unix(place) };
                return Ok(Address { kind, name: name? });
            }
        }
        Err("it does not begin with tcp:, udp:, unix:, unix-dgram: or unix-seqpacket:")
    }
}

/// Parses the part behind the kind, of a Unix socket.
fn unix(text: &[u8]) -> Result<Name, &'static str> {
    let mut name = Name::new(UNIX);
    let length = match text {
        [] => return Err("there is no path"),
        [b'@'] => return Err("there is no name behind the @"),
        [b'@', escaped @ ..] => unescape(escaped, name.push(&[0])),
        path => {
            name.push(path);
            path.len()
        }
    };
    if length > PATH_MAX {
        return Err("a path or an abstract name is at most 107 bytes long");
    }
    Ok(name)
}

/// Adds an abstract name to a NUL, and returns its length: `%0` stands for NUL, `%%` for `%`.
fn unescape(mut text: &[u8], name: &mut Name) -> usize {
    let mut length = 0;
    while let [byte, behind @ ..] = text {
        let (byte, behind) = match text {
            [b'%', b'0', behind @ ..] => (&0, behind),
            [b'%', b'%', behind @ ..] => (byte, behind),
            _ => (byte, behind),
        };
        name.push(&[*byte]);
        (length, text) = (length + 1, behind);
    }
    length
}

/// Parses the part behind the kind, of a TCP or UDP socket.
fn internet(text: &[u8]) -> Result<Name, &'static str> {
    let at = numeric(text).ok_or("it is not ADDRESS:PORT or [ADDRESS]:PORT in numbers")?;
    match at.rest() {
        [0, 0, ..] => Err("there is no port 0"),
        [_, _, _, _, _, _, host @ .., a, b, c, d]
            if at.family() == INET6 && needs_interface(host) != ([a, b, c, d] != [&0; 4]) =>
        {
            Err("a link-local address, and no other, names an interface, as in [fe80::1%2]")
        }
        _ => Ok(at),
    }
}

/// True if an IPv6 address needs an interface: it is link-local, or multicast on an interface or a link.
fn needs_interface(host: &[u8]) -> bool {
    match host {
        [0xfe, second, ..] => second & 0xc0 == 0x80,
        [0xff, second, ..] => matches!(second & 0x0f, 1 | 2),
        _ => false,
    }
}

/// Parses `ADDRESS:PORT` or `[ADDRESS%SCOPE]:PORT`. With the parser of the standard library the
/// compressed program is 1.3 KB larger.
fn numeric(text: &[u8]) -> Option<Name> {
    let (host, port) = split(text, text.iter().rposition(|byte| *byte == b':'))?;
    let port = (number(port, 10, u16::MAX.into())? as u16).to_be_bytes();
    let [b'[', host @ .., b']'] = host else {
        let mut name = Name::new(INET);
        name.push(&port).push(&ipv4(host)?).push(&[0; 8]);
        return Some(name);
    };
    let (host, scope) = match split(host, host.iter().position(|byte| *byte == b'%')) {
        Some((host, scope)) => (host, number(scope, 10, u32::MAX)?),
        None => (host, 0),
    };
    let mut name = Name::new(INET6);
    name.push(&port).push(&[0; 4]);
    for segment in ipv6(host)? {
        name.push(&segment.to_be_bytes());
    }
    name.push(&scope.to_ne_bytes());
    Some(name)
}

/// The bytes in front of an index and those behind it.
fn split(text: &[u8], at: Option<usize>) -> Option<(&[u8], &[u8])> {
    let (front, behind) = text.split_at_checked(at?)?;
    Some((front, behind.get(1..)?))
}

/// A number of base 10 or 16. A decimal number has no leading zeros.
fn number(text: &[u8], base: u32, max: u32) -> Option<u32> {
    if text.is_empty() || base == 10 && text.len() > 1 && text.starts_with(b"0") {
        return None;
    }
    let number = text.iter().try_fold(0_u32, |number, byte| {
        number.checked_mul(base)?.checked_add(char::from(*byte).to_digit(base)?)
    });
    number.filter(|number| *number <= max)
}

fn is_dot(byte: &u8) -> bool {
    *byte == b'.'
}

/// Four numbers with dots between them.
fn ipv4(text: &[u8]) -> Option<[u8; 4]> {
    let (mut octets, mut parts) = ([0; 4], text.split(is_dot));
    for octet in &mut octets {
        *octet = number(parts.next()?, 10, u8::MAX.into())? as u8;
    }
    if parts.next().is_some() { None } else { Some(octets) }
}

/// Eight segments with `:` between them; `::` once stands for one or more zero segments.
fn ipv6(text: &[u8]) -> Option<[u16; 8]> {
    let mut segments = [0; 8];
    let Some(gap) = text.windows(2).position(|pair| pair == b"::") else {
        let count = read_segments(text, &mut segments)?;
        return if count == segments.len() { Some(segments) } else { None };
    };
    let (front, behind) = (text.get(..gap)?, text.get(gap + 2..)?);
    // An IPv4 address is at the end only.
    if front.iter().any(is_dot) {
        return None;
    }
    let start = read_segments(front, &mut segments)?;
    let mut tail = [0; 8];
    let count = read_segments(behind, &mut tail)?;
    let place = segments.get_mut(start..)?.get_mut(1..)?;
    let at = place.len().checked_sub(count)?;
    place.get_mut(at..)?.copy_from_slice(tail.get(..count)?);
    Some(segments)
}

/// Parses segments into the first elements and returns how many, perhaps 0. An IPv4 address at the end
/// stands for two segments.
fn read_segments(text: &[u8], segments: &mut [u16; 8]) -> Option<usize> {
    let mut count = 0;
    let mut rest = Some(text).filter(|text| !text.is_empty());
    while let Some(text) = rest {
        let colon = text.iter().position(|byte| *byte == b':');
        let part = text.get(..colon.unwrap_or(text.len()))?;
        rest = colon.and_then(|colon| text.get(colon + 1..));
        if rest.is_none() && part.iter().any(is_dot) {
            let [a, b, c, d] = ipv4(part)?;
            *segments.get_mut(count)? = u16::from_be_bytes([a, b]);
            *segments.get_mut(count + 1)? = u16::from_be_bytes([c, d]);
            count += 2;
        } else {
            let digits = if part.len() > 4 { b"" } else { part };
            *segments.get_mut(count)? = number(digits, 16, u16::MAX.into())? as u16;
            count += 1;
        }
    }
    Some(count)
}
