//! Which addresses belong to the public Internet: a guard for clients that fetch URLs of others.
//!
//! ```text
//!   IPv4 ──► one of the special blocks? ──► refused
//!   IPv6 ─┬─ holds an IPv4 address (mapped, NAT64, 6to4) ──► that one decides
//!         └─ outside of 2000::/3, or a special block in it ──► refused
//! ```
//! The blocks are those of IANA's registries of special-purpose addresses (RFC 6890) that are not
//! globally reachable, with multicast, what is reserved, and what is deprecated.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use crate::client::dial::ConnectTarget;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::net::Address;

/// Blocks of IPv4 addresses: the first, the length of the prefix, what it is.
const IPV4: [([u8; 4], u32, &str); 16] = [
    ([0, 0, 0, 0], 8, "of this network"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "shared behind a carrier's NAT"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "of a protocol"),
    ([192, 0, 2, 0], 24, "of documentation"),
    ([192, 88, 99, 0], 24, "of a 6to4 relay"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "of benchmarks"),
    ([198, 51, 100, 0], 24, "of documentation"),
    ([203, 0, 113, 0], 24, "of documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([255, 255, 255, 255], 32, "broadcast"),
    ([240, 0, 0, 0], 4, "reserved"),
];

/// The same of IPv6. The first that has an address counts, in both.
const IPV6: [([u16; 8], u32, &str); 14] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "of a local NAT64"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 16, "discarded"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "of Teredo"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "of a protocol"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "of documentation"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "of documentation"),
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "of segment routing"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "private"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
    // All that IANA has given out as global unicast starts with 001.
    ([0, 0, 0, 0, 0, 0, 0, 0], 0, "reserved"),
];

/// Refuses every address that is not one of the public Internet: loopback, private, link-local,
/// shared behind a carrier's NAT, multicast, of documentation, reserved, and all IPv6 forms of these
/// (mapped, NAT64, 6to4). For [`on_connect`](crate::client::ClientBuilder::on_connect), in clients
/// that fetch what others ask for (SSRF): since each address is looked at just before it is
/// connected to, a name that resolves to another one later, or a redirect, changes nothing.
///
/// Unix sockets are refused too, and so is a proxy at an address that is not public; where a proxy
/// connects to is the proxy's to guard, but for the addresses that a `socks5` proxy gets from us. A
/// [`Connector`](crate::client::dial::Connector) is not looked at.
///
/// ```
/// use roundtrip::Client;
/// use roundtrip::client::dial::public_addresses_only;
///
/// let client = Client::builder().on_connect(public_addresses_only).build();
/// let fetched = roundtrip::block_on(async { client.get("http://127.0.0.1/").send().await });
/// let error = fetched.unwrap_err().to_string();
/// assert!(error.contains("127.0.0.1:80 is an address that is not public: loopback"), "{error}");
/// ```
///
/// # Errors
///
/// [`ErrorKind::Invalid`], naming the address and what it is.
pub fn public_addresses_only(target: &ConnectTarget<'_>) -> Result<()> {
    let what = match target.address() {
        Address::Unix(_) => "is a Unix socket".into(),
        Address::Tcp(address) => match special(address.ip()) {
            None => return Ok(()),
            Some(what) => format!("is an address that is not public: {what}"),
        },
    };
    let text = format!(
        "{} {what}; this client connects to public addresses only (public_addresses_only)",
        target.address(),
    );
    Err(Error::new(ErrorKind::Invalid, text).in_phase(Phase::Connect))
}

/// What an address is that is not public, in a word or two.
fn special(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => special_ipv4(ip),
        IpAddr::V6(ip) => match embedded(ip) {
            Some(inside) => special_ipv4(inside),
            None => special_ipv6(ip),
        },
    }
}

fn special_ipv4(ip: Ipv4Addr) -> Option<&'static str> {
    let of_block = |(first, bits, _): &&([u8; 4], u32, &str)| {
        let differs = ip.to_bits() ^ Ipv4Addr::from(*first).to_bits();
        differs.leading_zeros() >= *bits
    };
    IPV4.iter().find(of_block).map(|(_, _, what)| *what)
}

fn special_ipv6(ip: Ipv6Addr) -> Option<&'static str> {
    let of_block = |(first, bits, _): &&([u16; 8], u32, &str)| {
        let differs = ip.to_bits() ^ Ipv6Addr::from(*first).to_bits();
        differs.leading_zeros() >= *bits
    };
    let is_given_out = ip.segments()[0] >> 13 == 1;
    let (_, bits, what) = IPV6.iter().find(of_block).expect("the last one has all");
    (*bits > 0 || !is_given_out).then_some(*what)
}

/// The IPv4 address to which packets for an IPv6 address are translated: mapped (RFC 4291 §2.5.5.2),
/// compatible (§2.5.5.1, deprecated), NAT64 (RFC 6052 §2.1), 6to4 (RFC 3056 §2).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = || Ipv4Addr::from_bits(ip.to_bits() as u32);
    match ip.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] if ip.to_bits() > 1 => Some(last()),
        [0, 0, 0, 0, 0xffff, 0, ..] => Some(last()),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(last()),
        [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::client::dial::DialTarget;

    fn check(address: &Address) -> Result<()> {
        public_addresses_only(&ConnectTarget {
            target: DialTarget {
                scheme: "http",
                host: "a.example",
                port: 80,
                is_proxy: false,
                zone: None,
            },
            address,
        })
    }

    #[test]
    fn the_internet_is_what_is_left() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.255",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "3ffe:ffff::1",
            "3fff:1000::1",
        ];
        for text in public {
            assert_eq!(special(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        let refused = [
            ("0.0.0.0", "of this network"),
            ("0.1.2.3", "of this network"),
            ("10.0.0.0", "private"),
            ("10.255.255.255", "private"),
            ("100.64.0.0", "shared behind a carrier's NAT"),
            ("100.127.255.255", "shared behind a carrier's NAT"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("169.254.169.254", "link-local"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.8", "of a protocol"),
            ("192.0.2.1", "of documentation"),
            ("192.88.99.1", "of a 6to4 relay"),
            ("192.168.1.1", "private"),
            ("198.18.0.1", "of benchmarks"),
            ("198.19.255.255", "of benchmarks"),
            ("198.51.100.7", "of documentation"),
            ("203.0.113.7", "of documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.254", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::2", "of this network"),
            ("::127.0.0.1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.1.2.3", "private"),
            ("::ffff:169.254.169.254", "link-local"),
            ("::ffff:0:127.0.0.1", "loopback"),
            ("64:ff9b::127.0.0.1", "loopback"),
            ("64:ff9b::10.0.0.1", "private"),
            ("64:ff9b:1::8.8.8.8", "of a local NAT64"),
            ("100::1", "discarded"),
            ("2001::1", "of Teredo"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "of Teredo"),
            ("2001:10::1", "of a protocol"),
            ("2001:db8::1", "of documentation"),
            ("2002:7f00:1::1", "loopback"),
            ("2002:a00:1::1", "private"),
            ("2002:c0a8:101::1", "private"),
            ("3fff::1", "of documentation"),
            ("3fff:fff::1", "of documentation"),
            ("4000::1", "reserved"),
            ("5f00::1", "of segment routing"),
            ("8000::1", "reserved"),
            ("fc00::1", "private"),
            ("fd12:3456::1", "private"),
            ("fe80::1", "link-local"),
            ("fec0::1", "private"),
            ("ff02::1", "multicast"),
        ];
        for (text, expected) in refused {
            assert_eq!(special(text.parse().unwrap()), Some(expected), "{text}");
        }
    }

    #[test]
    fn the_error_names_the_address() {
        let private = SocketAddr::from(([10, 0, 0, 1], 8080));
        let error = check(&Address::Tcp(private)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.phase(), Some(Phase::Connect));
        let text = error.to_string();
        assert!(text.starts_with("10.0.0.1:8080 is an address that is not public: private"));
        let error = check(&Address::Unix("/run/docker.sock".into())).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("/run/docker.sock is a Unix socket")
        );
        let public = SocketAddr::from(([8, 8, 8, 8], 80));
        assert!(check(&Address::Tcp(public)).is_ok());
    }
}
