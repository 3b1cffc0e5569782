//! Addresses of sockets: as the kernel has them, and as text.
//!
//! | text | socket |
//! |---|---|
//! | `tcp:127.0.0.1:80`, `tcp:[::1]:80`, `tcp:[fe80::1%2]:80` | TCP; behind `%` the number of an interface |
//! | `udp:127.0.0.1:53` and so on | UDP |
//! | `unix:/run/x`, `unix:@name` | Unix stream, at a path or by an abstract name; a path that begins with `@` is `./@` |
//! | `unix-dgram:/run/x` and so on | Unix datagram |
//! | `unix-seqpacket:/run/x` and so on | Unix seqpacket |
//!
//! In an abstract name `%0` is NUL and `%%` is `%`. The text of an address is canonical; IPv6 follows RFC 5952. `fdholder-adopt` uses it as an
//! identifier.

mod read;
mod write;

pub use write::{TEXT_MAX, Text};

use crate::sys::socket::{self, INET, INET6, Name, Socket, UNIX};

/// Kinds of sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// UDP over IPv4 or IPv6.
    Udp,
    /// Unix stream.
    Unix,
    /// Unix datagram.
    UnixDgram,
    /// Unix seqpacket.
    UnixSeqpacket,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Tcp, Kind::Udp, Kind::Unix, Kind::UnixDgram, Kind::UnixSeqpacket];

    /// What the text of an address begins with.
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Tcp => "tcp:",
            Kind::Udp => "udp:",
            Kind::Unix => "unix:",
            Kind::UnixDgram => "unix-dgram:",
            Kind::UnixSeqpacket => "unix-seqpacket:",
        }
    }

    /// The type of the socket, one of the numbers in [`socket`].
    pub fn socket_type(self) -> u32 {
        match self {
            Kind::Tcp | Kind::Unix => socket::STREAM,
            Kind::Udp | Kind::UnixDgram => socket::DATAGRAM,
            Kind::UnixSeqpacket => socket::SEQPACKET,
        }
    }

    /// True if its sockets listen.
    pub fn listens(self) -> bool {
        self.socket_type() != socket::DATAGRAM
    }

    /// True if its addresses are those of IPv4 and IPv6.
    fn is_internet(self) -> bool {
        matches!(self, Kind::Tcp | Kind::Udp)
    }

    /// True if its sockets have this protocol; 0 if the kernel does not tell. Other protocols use the
    /// same types, such as SCTP and ICMP. Multipath TCP (262) counts as TCP.
    fn has_protocol(self, protocol: u32) -> bool {
        match self {
            Kind::Tcp => matches!(protocol, 0 | 6 | 262),
            Kind::Udp => matches!(protocol, 0 | 17),
            _ => true,
        }
    }
}

/// An address and the kind of socket that has it. A port is not 0, and a path is not empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    kind: Kind,
    /// The kernel's form, without the NUL behind a path and with flow 0 in IPv6.
    name: Name,
}

impl Address {
    /// The address of a socket. `None` if it is not bound, or of another kind.
    pub fn of(socket: &Socket) -> Option<Address> {
        let (family, rest) = (socket.name.family(), socket.name.rest());
        let mut name = Name::new(family);
        let is_internet = match family {
            INET => {
                name.push(rest);
                true
            }
            INET6 => {
                let (port, rest) = rest.split_first_chunk::<2>()?;
                let (_flow, host_and_scope) = rest.split_first_chunk::<4>()?;
                name.push(port).push(&[0; 4]).push(host_and_scope);
                true
            }
            UNIX => {
                // A NUL ends a path. An abstract name begins with NUL and may contain more.
                let path = rest.split(|byte| *byte == 0).next().unwrap_or_default();
                name.push(if path.is_empty() { rest } else { path });
                false
            }
            _ => return None,
        };
        // A socket that is not bound has no path and no name, or port 0.
        if name.rest().is_empty() || is_internet && name.rest().starts_with(&[0, 0]) {
            return None;
        }
        let kind = Kind::ALL.into_iter().find(|kind| {
            kind.is_internet() == is_internet
                && kind.socket_type() == socket.kind
                && kind.has_protocol(socket.protocol)
        });
        Some(Address { kind: kind?, name })
    }

    /// The kind of socket.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The family of addresses, one of the numbers in [`socket`].
    pub fn family(&self) -> u16 {
        self.name.family()
    }

    /// The kernel's form.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// True if it is that of a Unix socket.
    pub fn is_unix(&self) -> bool {
        self.family() == UNIX
    }

    /// True if it is a path.
    pub fn is_path(&self) -> bool {
        self.is_unix() && !self.name.rest().starts_with(&[0])
    }
}
