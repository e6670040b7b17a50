//! PROXY headers, and the texts that name who may send them.
//!
//! ```text
//!   bytes ──► every beginning ──► Partial, then one answer that more bytes do not change
//!   answer ──► written as version 1 and as version 2 ──► the same answer
//! ```

use std::net::IpAddr;
use std::net::SocketAddr;

use roundtrip::server::proxy_protocol::Announced;
use roundtrip::server::proxy_protocol::Network;
use roundtrip::server::proxy_protocol::Parsed;
use roundtrip::server::proxy_protocol::parse;

/// More than the longest header.
const LENGTH_MAX: usize = 4_096;

/// The first bytes of a connection.
pub fn proxy_protocol(data: &[u8]) {
    check_network(data);
    let data = &data[..data.len().min(LENGTH_MAX + 100)];
    let answer = (0..=data.len()).find_map(|end| match parse(&data[..end]) {
        Ok(Parsed::Partial) => None,
        answer => Some((end, answer)),
    });
    let Some((first, answer)) = answer else {
        assert!(data.len() < LENGTH_MAX, "what never ends is refused");
        return;
    };
    for end in first..=data.len() {
        assert_eq!(parse(&data[..end]), answer, "{}", data.escape_ascii());
    }
    let Ok(Parsed::Complete { used, announced }) = answer else {
        return;
    };
    assert_eq!(used, first, "complete with its last byte");
    assert!(used <= LENGTH_MAX);
    let is_text = data.starts_with(b"PROXY ");
    assert!(!is_text || (used <= 107 && data[..used].ends_with(b"\r\n")));
    for header in written(announced) {
        let used = header.len();
        assert_eq!(parse(&header), Ok(Parsed::Complete { used, announced }));
    }
}

/// The headers that say so.
fn written(announced: Announced) -> Vec<Vec<u8>> {
    let (peer, local) = match announced {
        Announced::Own => return vec![b"PROXY UNKNOWN\r\n".to_vec(), version_2(0x20, 0, &[])],
        Announced::Unix => return vec![version_2(0x21, 0x31, &[0; 216])],
        Announced::Addresses { peer, local } => (peer, local),
    };
    // Of both families only where one was written as the other, ::ffff:a.b.c.d.
    let is_ipv4 = peer.is_ipv4() && local.is_ipv4();
    let name = if is_ipv4 { "TCP4" } else { "TCP6" };
    let (source, destination) = (within(peer, is_ipv4), within(local, is_ipv4));
    let ports = format!("{} {}", peer.port(), local.port());
    let text = format!("PROXY {name} {source} {destination} {ports}\r\n");
    let mut block = octets(source);
    block.extend(octets(destination));
    block.extend(peer.port().to_be_bytes());
    block.extend(local.port().to_be_bytes());
    let family = if is_ipv4 { 0x11 } else { 0x21 };
    vec![text.into_bytes(), version_2(0x21, family, &block)]
}

/// The address as one of the header's family.
fn within(address: SocketAddr, is_ipv4: bool) -> IpAddr {
    match address.ip() {
        IpAddr::V4(address) if !is_ipv4 => address.to_ipv6_mapped().into(),
        address => address,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn version_2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family, 0, block.len() as u8]);
    header.extend_from_slice(block);
    header
}

/// A network contains the address that names it, and says itself again.
fn check_network(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(network) = text.parse::<Network>() else {
        return;
    };
    let shown = network.to_string();
    assert_eq!(shown.parse::<Network>().ok(), Some(network), "{shown}");
    let (address, _) = shown.split_once('/').expect("a slash");
    let address: IpAddr = address.parse().expect("an address");
    let is_mapped = address.to_canonical() != address;
    assert!(is_mapped || network.contains(address), "{shown}");
}
