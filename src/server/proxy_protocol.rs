//! The PROXY protocol, versions 1 and 2: what a proxy in front of us says about its own client
//! before the first request (`proxy-protocol.txt` of HAProxy, 2020/03/05).
//!
//! ```text
//!   v1   PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n
//!   v2   signature (12) │ version, command │ family │ length (2) │ addresses │ type-length-values
//!                                    │
//!   bytes ─► parse ─┬─ Partial       ▼
//!                   ├─ Complete: Announced::{Addresses, Unix, Own}, and where the request begins
//!                   └─ ProxyError: the connection is closed, nothing is answered
//! ```
//!
//! A receiver must not guess whether a header is there (§2). Who connects decides: peers that
//! [`Server::proxy_protocol`](crate::Server::proxy_protocol) names must send one, all others are
//! closed, or served plainly where that was asked for.
//!
//! What is stricter than the text: one blank between the words of version 1, no leading zeros;
//! the type-length-values of version 2 must fill the header exactly, and a checksum that is there
//! must be right. Datagram families are refused: this is a stream.

pub mod peers;
mod prefix;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use crate::limits::PROXY_HEADER_BYTES_MAX;

pub use crate::server::proxy_protocol::peers::Network;
pub use crate::server::proxy_protocol::peers::Peers;
pub(super) use crate::server::proxy_protocol::prefix::Prefix;

/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What a header of version 1 begins with.
const V1_START: &[u8; 6] = b"PROXY ";
/// The longest line of version 1, its CR LF included (§2.1).
const V1_BYTES_MAX: usize = 107;
/// Signature, version and command, family, length.
const V2_FIXED_BYTES: usize = 16;
/// Type-length-value: the CRC32c of the whole header, with zeros in its own place (§2.2.3).
const TLV_CRC32C: u8 = 0x03;

/// Who a proxy says has connected to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// A client, and where it connected to.
    Addresses {
        /// The proxy's client.
        peer: SocketAddr,
        /// The address of the proxy that the client connected to.
        local: SocketAddr,
    },
    /// A client on a Unix socket: there are no addresses.
    Unix,
    /// Nothing: the proxy itself asks (`LOCAL`), or does not know (`UNKNOWN`, `AF_UNSPEC`). The
    /// connection's own addresses hold.
    Own,
}

/// What the first bytes of a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// They may become a header.
    Partial,
    /// A header of `used` bytes.
    Complete {
        /// Bytes of the header; behind it the first request begins.
        used: usize,
        /// What it says.
        announced: Announced,
    },
}

/// The rule that a header broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyError {
    /// The rule, for people.
    pub rule: &'static str,
}

/// Reads a header at the beginning of `bytes`. A line of version 1 is judged when it is complete,
/// which is after 107 bytes at the latest; one of version 2 as soon as it is known to be wrong.
///
/// # Errors
///
/// The rule that was broken.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    if begins_like(bytes, SIGNATURE) {
        parse_v2(bytes)
    } else if begins_like(bytes, V1_START) {
        parse_v1(bytes)
    } else {
        Err(error("no PROXY header where one is required"))
    }
}

fn error(rule: &'static str) -> ProxyError {
    ProxyError { rule }
}

/// True as far as both go.
fn begins_like(bytes: &[u8], start: &[u8]) -> bool {
    let len = bytes.len().min(start.len());
    bytes[..len] == start[..len]
}

// ---- version 1 -------------------------------------------------------------------------------

fn parse_v1(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let line = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        if line.len() == V1_BYTES_MAX {
            return Err(error("a PROXY line of more than 107 bytes"));
        }
        return Ok(Parsed::Partial);
    };
    let line = line[..end]
        .strip_suffix(b"\r")
        .ok_or(error("a PROXY line ends with CR LF"))?;
    let used = end + 1;
    let text = std::str::from_utf8(line).map_err(|_| error("a PROXY line is ASCII"))?;
    let rest = text
        .strip_prefix("PROXY ")
        .ok_or(error("a PROXY line begins with PROXY and a blank"))?;
    // What follows UNKNOWN is to be ignored (§2.1).
    let announced = if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        Announced::Own
    } else {
        v1_addresses(rest)?
    };
    Ok(Parsed::Complete { used, announced })
}

fn v1_addresses(text: &str) -> Result<Announced, ProxyError> {
    let mut words = text.split(' ');
    let mut word = || words.next().ok_or(error("a PROXY line has six words"));
    let family = word()?;
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (v1_port(word()?)?, v1_port(word()?)?);
    if words.next().is_some() {
        return Err(error("a PROXY line has six words"));
    }
    let address = |text: &str| match family {
        "TCP4" => v1_address(text.parse::<Ipv4Addr>().ok()),
        "TCP6" => v1_address(text.parse::<Ipv6Addr>().ok()),
        _ => Err(error("a PROXY line is of TCP4, TCP6 or UNKNOWN")),
    };
    Ok(Announced::Addresses {
        peer: SocketAddr::new(address(source)?.to_canonical(), source_port),
        local: SocketAddr::new(address(destination)?.to_canonical(), destination_port),
    })
}

fn v1_address(address: Option<impl Into<IpAddr>>) -> Result<IpAddr, ProxyError> {
    address
        .map(Into::into)
        .ok_or(error("an address of a PROXY line is not one of its family"))
}

/// Decimal, without sign or leading zeros.
fn v1_port(text: &str) -> Result<u16, ProxyError> {
    let bad = error("a port of a PROXY line is a number up to 65535");
    let is_canonical = text == "0" || !text.starts_with('0');
    if text.is_empty() || text.len() > 5 || !is_canonical {
        return Err(bad);
    }
    let mut port: u32 = 0;
    for byte in text.bytes() {
        if !byte.is_ascii_digit() {
            return Err(bad);
        }
        port = port * 10 + u32::from(byte - b'0');
    }
    u16::try_from(port).map_err(|_| bad)
}

// ---- version 2 -------------------------------------------------------------------------------

fn parse_v2(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    // What is known is checked at once, so that nobody waits for the rest of what is wrong.
    let command = bytes.get(SIGNATURE.len()).copied();
    if command.is_some_and(|byte| byte >> 4 != 2) {
        return Err(error("a PROXY header is of version 1 or 2"));
    }
    if command.is_some_and(|byte| byte & 0xf > 1) {
        return Err(error("the command of a PROXY header is LOCAL or PROXY"));
    }
    let Some(fixed) = bytes.get(..V2_FIXED_BYTES) else {
        return Ok(Parsed::Partial);
    };
    let used = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if used > PROXY_HEADER_BYTES_MAX {
        return Err(error("a PROXY header of more than 4096 bytes"));
    }
    let is_local = fixed[12] & 0xf == 0;
    let address_bytes = if is_local {
        0
    } else {
        address_bytes(fixed[13])?
    };
    if used < V2_FIXED_BYTES + address_bytes {
        return Err(error("a PROXY header is too short for its addresses"));
    }
    let Some(header) = bytes.get(..used) else {
        return Ok(Parsed::Partial);
    };
    // LOCAL: whatever the header holds is to be skipped (§2.2).
    let announced = if is_local {
        Announced::Own
    } else {
        check_values(header, V2_FIXED_BYTES + address_bytes)?;
        v2_addresses(header)
    };
    Ok(Parsed::Complete { used, announced })
}

/// How long the two addresses of a family are.
fn address_bytes(family: u8) -> Result<usize, ProxyError> {
    match family {
        0x00 => Ok(0),
        0x11 => Ok(12),
        0x21 => Ok(36),
        0x31 => Ok(216),
        0x12 | 0x22 | 0x32 => Err(error("a PROXY header announces datagrams on a stream")),
        _ => Err(error("the family of a PROXY header is unknown")),
    }
}

/// The addresses of a complete header.
fn v2_addresses(header: &[u8]) -> Announced {
    let addresses = &header[V2_FIXED_BYTES..];
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    match header[13] {
        0x11 => {
            let ip = |at: usize| {
                let octets: [u8; 4] = addresses[at..at + 4].try_into().expect("four octets");
                IpAddr::from(octets)
            };
            Announced::Addresses {
                peer: SocketAddr::new(ip(0), port(8)),
                local: SocketAddr::new(ip(4), port(10)),
            }
        }
        0x21 => {
            let ip = |at: usize| {
                let octets: [u8; 16] = addresses[at..at + 16].try_into().expect("16 octets");
                // Of mixed families a proxy makes one; people expect a.b.c.d.
                IpAddr::from(octets).to_canonical()
            };
            Announced::Addresses {
                peer: SocketAddr::new(ip(0), port(32)),
                local: SocketAddr::new(ip(16), port(34)),
            }
        }
        0x31 => Announced::Unix,
        _ => Announced::Own,
    }
}

/// Skips the type-length-values from `start` on, which must end where the header does.
fn check_values(header: &[u8], start: usize) -> Result<(), ProxyError> {
    let mut at = start;
    while at < header.len() {
        let fixed = header.get(at..at + 3);
        let fixed = fixed.ok_or(error("a value of a PROXY header is cut"))?;
        let len = usize::from(u16::from_be_bytes([fixed[1], fixed[2]]));
        let value = at + 3..at + 3 + len;
        if value.end > header.len() {
            return Err(error("a value of a PROXY header is cut"));
        }
        if fixed[0] == TLV_CRC32C {
            let sum: Result<[u8; 4], _> = header[value.clone()].try_into();
            let sum = sum.map_err(|_| error("the checksum of a PROXY header has four bytes"))?;
            let found = crc32c(header, &value);
            if found != u32::from_be_bytes(sum) {
                return Err(error("the checksum of a PROXY header is wrong"));
            }
        }
        at = value.end;
    }
    Ok(())
}

/// CRC32c (Castagnoli) of a header, with zeros where the sum itself stands.
fn crc32c(header: &[u8], sum: &std::ops::Range<usize>) -> u32 {
    let mut crc = u32::MAX;
    for (index, byte) in header.iter().enumerate() {
        crc ^= if sum.contains(&index) {
            0
        } else {
            u32::from(*byte)
        };
        for _ in 0..8 {
            let is_odd = crc & 1 == 1;
            crc >>= 1;
            if is_odd {
                crc ^= 0x82f6_3b78;
            }
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(peer: &str, local: &str) -> Announced {
        Announced::Addresses {
            peer: peer.parse().unwrap(),
            local: local.parse().unwrap(),
        }
    }

    /// A header of version 2: command, family, and what follows the length.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    const TCP4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

    /// Whole, byte by byte, and with a request behind: the same answer, and not before its time.
    fn check(header: &[u8], expected: Announced) {
        let complete = Parsed::Complete {
            used: header.len(),
            announced: expected,
        };
        let shown = header.escape_ascii();
        for end in 0..header.len() {
            assert_eq!(
                parse(&header[..end]),
                Ok(Parsed::Partial),
                "{end} of {shown}"
            );
        }
        assert_eq!(parse(header), Ok(complete), "{shown}");
        let behind = [header, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(parse(&behind), Ok(complete), "{shown}");
    }

    /// Refused at the latest with its last byte, for the same rule whatever follows.
    fn check_refused(header: &[u8], word: &str) {
        let shown = header.escape_ascii();
        let first = (0..=header.len()).find_map(|end| parse(&header[..end]).err());
        let first = first.unwrap_or_else(|| panic!("{shown} is not refused"));
        assert!(first.rule.contains(word), "{shown}: {}", first.rule);
        assert_eq!(parse(header), Err(first), "{shown}");
        let behind = [header, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(parse(&behind), Err(first), "{shown}");
    }

    #[test]
    fn version_1() {
        check(
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
            addresses("192.0.2.1:56324", "198.51.100.1:443"),
        );
        check(
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            addresses("255.255.255.255:65535", "255.255.255.255:65535"),
        );
        check(
            b"PROXY TCP6 2001:db8::1 ::1 0 80\r\n",
            addresses("[2001:db8::1]:0", "[::1]:80"),
        );
        let longest = ["ffff"; 8].join(":");
        let line = format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n");
        assert_eq!(line.len(), 104);
        check(
            line.as_bytes(),
            addresses(&format!("[{longest}]:65535"), &format!("[{longest}]:65535")),
        );
        check(b"PROXY UNKNOWN\r\n", Announced::Own);
        check(b"PROXY UNKNOWN anything at all\r\n", Announced::Own);
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
        assert_eq!(longest.len(), V1_BYTES_MAX);
        check(longest.as_bytes(), Announced::Own);
    }

    #[test]
    fn version_1_refused() {
        for (line, word) in [
            ("GET / HTTP/1.1\r\n", "required"),
            ("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "required"),
            ("PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n", "required"),
            ("\r\n", "PROXY"),
            ("PROXY \r\n", "six words"),
            ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "number"),
            ("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", "number"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "six words"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", "six words"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "six words"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "CR LF"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "65535"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "65535"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "65535"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 100000\r\n", "65535"),
            ("PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", "family"),
            ("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", "family"),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", "family"),
            ("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "family"),
            ("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "family"),
            ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "TCP4, TCP6"),
            ("PROXY UNKNOWNX\r\n", "six words"),
        ] {
            if line == "\r\n" {
                // The signature begins so too: decided by the byte that follows.
                assert_eq!(parse(line.as_bytes()), Ok(Parsed::Partial));
                continue;
            }
            check_refused(line.as_bytes(), word);
        }
        check_refused(b"PROXY TCP4 \xff.2.3.4 1.2.3.4 1 2\r\n", "ASCII");
        let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(92));
        check_refused(long.as_bytes(), "107");
    }

    #[test]
    fn version_2() {
        check(
            &v2(0x21, 0x11, &TCP4),
            addresses("192.0.2.1:56324", "198.51.100.1:443"),
        );
        let mut six = [0; 36];
        six[..16].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        six[31] = 1;
        six[33] = 7;
        six[35] = 80;
        check(
            &v2(0x21, 0x21, &six),
            addresses("[2001:db8::1]:7", "[::1]:80"),
        );
        check(&v2(0x21, 0x31, &[0; 216]), Announced::Unix);
        check(&v2(0x21, 0x00, &[]), Announced::Own);
        // LOCAL: family and content do not matter.
        check(&v2(0x20, 0x00, &[]), Announced::Own);
        check(&v2(0x20, 0xff, &[9; 100]), Announced::Own);
        // Values behind the addresses: a name, nothing, and the most that fits.
        let values = [&TCP4[..], &[0x02, 0, 3, b'a', b'.', b'b', 0x04, 0, 0]].concat();
        let announced = addresses("192.0.2.1:56324", "198.51.100.1:443");
        check(&v2(0x21, 0x11, &values), announced);
        let len = PROXY_HEADER_BYTES_MAX - V2_FIXED_BYTES - 12 - 3;
        let mut values = TCP4.to_vec();
        values.extend([0xea, (len >> 8) as u8, len as u8]);
        values.resize(PROXY_HEADER_BYTES_MAX - V2_FIXED_BYTES, 7);
        check(&v2(0x21, 0x11, &values), announced);
    }

    #[test]
    fn version_2_refused() {
        let mut wrong = v2(0x21, 0x11, &TCP4);
        wrong[11] = b'\r';
        check_refused(&wrong, "required");
        for (header, word) in [
            (v2(0x11, 0x11, &TCP4), "version"),
            (v2(0x31, 0x11, &TCP4), "version"),
            (v2(0x22, 0x11, &TCP4), "LOCAL or PROXY"),
            (v2(0x21, 0x12, &TCP4), "datagrams"),
            (v2(0x21, 0x22, &[0; 36]), "datagrams"),
            (v2(0x21, 0x32, &[0; 216]), "datagrams"),
            (v2(0x21, 0x01, &TCP4), "unknown"),
            (v2(0x21, 0x41, &TCP4), "unknown"),
            (v2(0x21, 0x11, &TCP4[..11]), "too short"),
            (v2(0x21, 0x21, &TCP4), "too short"),
            (v2(0x21, 0x31, &[0; 215]), "too short"),
            (v2(0x21, 0x11, &[&TCP4[..], &[4, 0]].concat()), "cut"),
            (v2(0x21, 0x11, &[&TCP4[..], &[4, 0, 1]].concat()), "cut"),
            (v2(0x21, 0x11, &[0; 5_000]), "4096"),
        ] {
            check_refused(&header, word);
        }
    }

    #[test]
    fn checksums_are_checked() {
        // The check value of CRC-32C, of the digits 1 to 9.
        assert_eq!(crc32c(b"123456789", &(0..0)), 0xe306_9283);
        let values = [&TCP4[..], &[TLV_CRC32C, 0, 4, 0, 0, 0, 0]].concat();
        let mut header = v2(0x21, 0x11, &values);
        let place = header.len() - 4..header.len();
        let sum = crc32c(&header, &place).to_be_bytes();
        check_refused(&header, "checksum");
        header[place].copy_from_slice(&sum);
        check(&header, addresses("192.0.2.1:56324", "198.51.100.1:443"));
        let short = [&TCP4[..], &[TLV_CRC32C, 0, 3, 0, 0, 0]].concat();
        check_refused(&v2(0x21, 0x11, &short), "four bytes");
    }
}
