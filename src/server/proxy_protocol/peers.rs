//! Who may, and then must, announce its clients by the PROXY protocol.
//!
//! ```text
//!   "10.0.0.0/8", "fd00::/8", "192.0.2.7", "unix" ─► Peers ─ contains(peer)? ─► header, or not
//! ```

use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;

/// Addresses that begin alike: `10.0.0.0/8`, `fd00::/8`, or a single one.
///
/// ```
/// use roundtrip::server::proxy_protocol::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse().unwrap()));
/// assert!(!network.contains("11.0.0.1".parse().unwrap()));
/// assert!("10.0.0.1/8".parse::<Network>().is_err(), "bits behind the prefix");
/// # Ok::<(), roundtrip::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

impl Network {
    /// True when the address begins as this network does. An IPv4 address that came by IPv6
    /// (`::ffff:10.0.0.1`) is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= self.prefix_bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= self.prefix_bits
            }
            _ => false,
        }
    }

    /// True when no bit behind the prefix is set.
    fn is_clean(&self) -> bool {
        let zeros = match self.address {
            IpAddr::V4(address) => 32 - address.to_bits().trailing_zeros(),
            IpAddr::V6(address) => 128 - address.to_bits().trailing_zeros(),
        };
        zeros <= self.prefix_bits
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Network> {
        let bad = |why: &str| {
            let text = format!("{text:?} is no network: {why}");
            Error::new(ErrorKind::Invalid, text)
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| bad("write an address, or ADDRESS/BITS"))?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => bits_max,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|bits| *bits <= bits_max)
                .ok_or_else(|| bad("so many bits it does not have"))?,
            Some(_) => return Err(bad("behind the slash stands a number of bits")),
        };
        let network = Network {
            address,
            prefix_bits,
        };
        if !network.is_clean() {
            return Err(bad("bits behind the prefix are set"));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

/// The peers that send PROXY headers, and what becomes of all others.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    networks: Vec<Network>,
    /// True exactly when peers on Unix sockets send headers.
    unix: bool,
    /// True exactly when all others are served without a header, and not closed.
    pub(in crate::server) others_are_plain: bool,
}

impl Peers {
    /// From networks, and `unix` for Unix sockets.
    ///
    /// # Errors
    ///
    /// Of kind `Invalid`: a text is no network, or there is none at all.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Peers> {
        let mut peers = Peers::default();
        for text in texts {
            match text.as_ref() {
                "unix" => peers.unix = true,
                text => peers.networks.push(text.parse()?),
            }
        }
        if peers.networks.is_empty() && !peers.unix {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the PROXY protocol needs peers that may use it: Server::proxy_protocol([\"10.0.0.0/8\"])",
            ));
        }
        Ok(peers)
    }

    /// True when this peer must send a header; `None` is one on a Unix socket.
    pub fn contains(&self, peer: Option<SocketAddr>) -> bool {
        match peer {
            None => self.unix,
            Some(peer) => {
                let address = peer.ip();
                self.networks
                    .iter()
                    .any(|network| network.contains(address))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_begins_alike() {
        let table = [
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.6", false),
            ("192.0.2.6/31", "192.0.2.7", true),
            ("::/0", "2001:db8::1", true),
            ("::/0", "::ffff:10.0.0.1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::1", "::1", true),
        ];
        for (network, address, expected) in table {
            let found: Network = network.parse().unwrap();
            let contains = found.contains(address.parse().unwrap());
            assert_eq!(contains, expected, "{network} and {address}");
            assert_eq!(found.to_string().parse::<Network>().unwrap(), found);
        }
    }

    #[test]
    fn what_is_no_network() {
        for (text, why) in [
            ("", "ADDRESS/BITS"),
            ("10.0.0.0/", "bits"),
            ("10.0.0.0/33", "bits"),
            ("10.0.0.0/+8", "number"),
            ("10.0.0.0/-1", "number"),
            ("10.0.0.0/8/8", "number"),
            ("::/129", "bits"),
            ("10.0.0.1/8", "set"),
            ("fd00::1/8", "set"),
            ("localhost", "ADDRESS/BITS"),
            ("10.0/16", "ADDRESS/BITS"),
        ] {
            let error = text.parse::<Network>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn unix_peers_are_named() {
        let peer = Some("10.0.0.1:5".parse().unwrap());
        let tcp = Peers::parse(["10.0.0.0/8"]).unwrap();
        assert!(tcp.contains(peer) && !tcp.contains(None));
        let unix = Peers::parse(["unix"]).unwrap();
        assert!(unix.contains(None) && !unix.contains(peer));
        let nobody: [&str; 0] = [];
        assert!(Peers::parse(nobody).is_err());
    }
}
