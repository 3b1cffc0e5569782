//! Addresses of sockets: conversion from text to a value and back, compared with the standard library and
//! the kernel.
use crate::kit::random_cases;
use fdholder::protocol::address::{Address, Kind};
use fdholder::sys::fd::BorrowedFd;
use fdholder::sys::socket::{self, Name, STREAM, Socket, UNIX};
use proptest::prelude::*;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, UdpSocket};
use temp_dir::TempDir;

/// The canonical text of an address, or the reason why it is refused.
fn canonical(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    Address::parse(text).map(|address| address.text().bytes().to_vec())
}

/// The text of the address that the kernel reports for a socket.
fn of(socket: &impl AsRawFd) -> Option<String> {
    let described = socket::describe(BorrowedFd::named(socket.as_raw_fd() as u32)).unwrap();
    let address = Address::of(&described)?;
    Some(String::from_utf8_lossy(address.text().bytes()).into_owned())
}

/// The text of the address of a Unix socket whose name in the kernel is `name`.
fn text_of(name: &[u8]) -> Option<Vec<u8>> {
    let mut bound = Name::new(UNIX);
    bound.push(name);
    let socket = Socket { name: bound, kind: STREAM, protocol: 0, listens: None };
    Some(Address::of(&socket)?.text().bytes().to_vec())
}

/// IPv6 addresses with many zeros, which have short forms.
fn ipv6() -> impl Strategy<Value = Ipv6Addr> {
    let segment = prop_oneof![3 => Just(0u16), 1 => 1u16..16, 1 => any::<u16>()];
    let mapped = any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).to_ipv6_mapped());
    let any = proptest::array::uniform8(segment).prop_map(Ipv6Addr::from);
    prop_oneof![8 => any, 1 => mapped]
}

/// Whether the address needs the number of an interface.
fn has_scope(host: Ipv6Addr) -> bool {
    host.is_unicast_link_local() || host.is_multicast() && [1, 2].contains(&(host.octets()[1] & 15))
}

proptest! {
    #![proptest_config(random_cases(256))]

    #[test]
    fn internet_addresses_are_written_as_the_standard_library_writes_them(
        host in prop_oneof![any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).into()),
            ipv6().prop_map(IpAddr::from)],
        port in 1u16.., scope in 1u32..,
    ) {
        let at = match host {
            IpAddr::V6(host) if has_scope(host) => {
                SocketAddrV6::new(host, port, 0, scope).into()
            }
            host => SocketAddr::new(host, port),
        };
        for kind in ["tcp", "udp"] {
            let text = format!("{kind}:{at}");
            prop_assert_eq!(canonical(text.as_bytes()), Ok(text.into_bytes()));
        }
    }

    #[test]
    fn an_ipv6_address_is_parsed_in_full_and_in_upper_case(host in ipv6(), port in 1u16..) {
        prop_assume!(!has_scope(host));
        let s = host.segments().map(|segment| format!("{segment:04X}")).join(":");
        let short = format!("tcp:{}", SocketAddr::new(host.into(), port));
        let long = format!("tcp:[{s}]:{port}");
        prop_assert_eq!(canonical(long.as_bytes()), Ok(short.into_bytes()));
    }

    #[test]
    fn a_unix_address_keeps_all_its_bytes(
        name in proptest::collection::vec(1u8.., 1..=107), kind in 0usize..3, is_abstract: bool,
    ) {
        let mut text = ["unix:", "unix-dgram:", "unix-seqpacket:"][kind].as_bytes().to_vec();
        if is_abstract {
            text.push(b'@');
        }
        text.extend(name);
        prop_assume!(!text.ends_with(b":@"));
        // The next test covers escaped names.
        let looks_abstract = text.windows(2).any(|pair| pair == b":@");
        prop_assume!(!looks_abstract || !text.contains(&b'%'));
        prop_assert_eq!(canonical(&text), Ok(text));
    }

    #[test]
    fn two_different_unix_addresses_have_different_texts(
        [one, two] in proptest::array::uniform2(proptest::collection::vec(
            prop_oneof![Just(0u8), Just(b'@'), Just(b'%'), Just(b'0'), Just(b'/'), Just(b'.')], 1..=5)),
    ) {
        let texts = [&one, &two].map(|name| text_of(name));
        // The paths `@x` and `./@x` name the same file, and have the same text.
        let files = [&one, &two].map(|name| match &name[..] {
            [0, ..] => name.clone(),
            path => {
                let path = path.split(|byte| *byte == 0).next().unwrap();
                [if path[0] == b'@' { &b"./"[..] } else { b"" }, path].concat()
            }
        });
        prop_assert_eq!(texts[0] == texts[1], files[0] == files[1], "{:?}", texts);
        // The text parses to the same address. An abstract name without a byte has no valid text.
        for text in texts.iter().flatten().filter(|text| *text != b"unix:@") {
            prop_assert_eq!(canonical(text), Ok(text.clone()));
        }
    }

    #[test]
    fn a_canonical_text_stays_the_same(text in any::<Vec<u8>>(),
        like in "(tcp|udp):(\\[[0-9a-f:.%]{0,20}\\]|[0-9.]{0,12}):?[0-9]{0,6}") {
        for text in [&text[..], like.as_bytes()] {
            if let Ok(first) = canonical(text) {
                prop_assert_eq!(canonical(&first), Ok(first));
            }
        }
    }
}

#[test]
fn an_invalid_address_is_refused_with_the_reason() {
    let kinds = "it does not begin with tcp:, udp:, unix:, unix-dgram: or unix-seqpacket:";
    let numbers = "it is not ADDRESS:PORT or [ADDRESS]:PORT in numbers";
    let link = "a link-local address, and no other, names an interface, as in [fe80::1%2]";
    let long = "a path or an abstract name is at most 107 bytes long";
    for (text, reason) in [
        ("", kinds),
        ("tcp", kinds),
        ("TCP:127.0.0.1:80", kinds),
        ("sctp:127.0.0.1:80", kinds),
        ("/run/x", kinds),
        ("127.0.0.1:80", kinds),
        (" tcp:127.0.0.1:80", kinds),
        ("tcp:", numbers),
        ("tcp:80", numbers),
        ("tcp::80", numbers),
        ("tcp:*:80", numbers),
        ("tcp:localhost:80", numbers),
        ("tcp:127.0.0.1", numbers),
        ("tcp:127.0.0.1:", numbers),
        ("tcp:127.0.0.1:http", numbers),
        ("tcp:127.0.0.1:65536", numbers),
        ("tcp:127.0.0.1:-1", numbers),
        ("tcp:127.0.0.1:80 ", numbers),
        ("tcp:127.0.0.1:80:80", numbers),
        ("tcp:127.0.0:80", numbers),
        ("tcp:127.0.0.256:80", numbers),
        ("tcp:127.0.0.01:80", numbers),
        ("tcp:0x7f.0.0.1:80", numbers),
        ("tcp:[127.0.0.1]:80", numbers),
        ("tcp:::1:80", numbers),
        ("tcp:[::1]", numbers),
        ("tcp:[::1]80", numbers),
        ("tcp:[::1:80", numbers),
        ("tcp:[]:80", numbers),
        ("tcp:[1:2:3:4:5:6:7]:80", numbers),
        ("tcp:[1:2:3:4:5:6:7:8:9]:80", numbers),
        ("tcp:[1::2::3]:80", numbers),
        ("tcp:[::12345]:80", numbers),
        ("tcp:[::g]:80", numbers),
        ("tcp:[fe80::1%eth0]:80", numbers),
        ("tcp:[fe80::1%4294967296]:80", numbers),
        ("tcp:[fe80::1]:80", link),
        ("tcp:[fe80::1%0]:80", link),
        ("tcp:[::1%2]:80", link),
        ("udp:[ff02::1]:80", link),
        ("udp:[ff05::1%2]:80", link),
        ("tcp:127.0.0.1:0", "there is no port 0"),
        ("udp:[::]:0", "there is no port 0"),
        ("unix:", "there is no path"),
        ("unix-seqpacket:", "there is no path"),
        ("unix:@", "there is no name behind the @"),
        (&format!("unix:{}", "x".repeat(108)), long),
        (&format!("unix-dgram:@{}", "x".repeat(108)), long),
    ] {
        assert_eq!(canonical(text.as_bytes()), Err(reason), "{text}");
    }
    assert_eq!(canonical(b"tcp:\xff"), Err(numbers));
}

#[test]
fn the_text_of_a_bound_socket_is_the_address_it_was_bound_to() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(of(&tcp), Some(format!("tcp:{}", tcp.local_addr().unwrap())));
    let tcp = TcpListener::bind("[::1]:0").unwrap();
    assert_eq!(of(&tcp), Some(format!("tcp:{}", tcp.local_addr().unwrap())));
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(of(&udp), Some(format!("udp:{}", udp.local_addr().unwrap())));
    let bound = |kind, name: &SocketAddrUnix| {
        let fd = net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        net::bind(&fd, name).unwrap();
        fd
    };
    let dir = TempDir::new().unwrap();
    for (kind, word) in [
        (SocketType::STREAM, "unix"),
        (SocketType::DGRAM, "unix-dgram"),
        (SocketType::SEQPACKET, "unix-seqpacket"),
    ] {
        let path = dir.child(word);
        let fd: OwnedFd = bound(kind, &SocketAddrUnix::new(&path).unwrap());
        assert_eq!(of(&fd), Some(format!("{word}:{}", path.display())));
        let name = format!("{}-{word}", path.display());
        let fd = bound(kind, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap());
        assert_eq!(of(&fd), Some(format!("{word}:@{name}")));
        // A socket without an address has no text.
        let fd = net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        assert_eq!(of(&fd), None);
    }
    // Some programs give the size of the structure as the length of an abstract name. The zeros behind
    // the name are part of the name then.
    let name = SocketAddrUnix::new_abstract_name(b"a\0\0").unwrap();
    assert_eq!(of(&bound(SocketType::STREAM, &name)), Some("unix:@a%0%0".into()));
    let name = SocketAddrUnix::new_abstract_name(b"a@%%0").unwrap();
    assert_eq!(of(&bound(SocketType::STREAM, &name)), Some("unix:@a@%%%%0".into()));
    // The kernel accepts a path without a final NUL, and adds the NUL when it reports the address.
    let long = dir.path().to_str().unwrap().to_string();
    let long = format!("{long}/{}", "x".repeat(107 - long.len()));
    let fd = bound(SocketType::STREAM, &SocketAddrUnix::new(&long).unwrap());
    assert_eq!((long.len(), of(&fd)), (108, Some(format!("unix:{long}"))));
    for family in [AddressFamily::INET, AddressFamily::INET6, AddressFamily::NETLINK] {
        let kind = SocketType::DGRAM;
        assert_eq!(of(&net::socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap()), None);
    }
    assert_eq!(Address::parse(b"unix:x").unwrap().kind(), Kind::Unix);
}
