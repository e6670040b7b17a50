//! Which hosts are reached without the proxy: the syntax of `NO_PROXY`, as in net/http.
//!
//! ```text
//!   *                  all hosts
//!   10.0.0.0/8         addresses of a network
//!   192.168.1.3:80     an address, at this port alone; IPv6 in brackets where a port follows
//!   example.com        the name and all names below it
//!   .example.com       the names below it alone, as *.example.com
//!   example.com:8080   at this port alone
//! ```
//! Entries are separated by commas or blanks. What is none of these matches nothing: lists are
//! shared with other programs, and what one of those invented must not stop this one.

use std::net::IpAddr;

use url::Host;

/// A list of hosts, read once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NoProxy {
    covers_all: bool,
    networks: Vec<Network>,
    names: Vec<Name>,
}

/// All addresses that begin like this one; a single address has all of its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// Leading bits that count.
    bits: u8,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    /// In lower case, without a dot at either end.
    name: Box<str>,
    /// True when the name itself is meant, beside those below it.
    with_itself: bool,
    port: Option<u16>,
}

impl NoProxy {
    /// Reads a list.
    pub(super) fn parse(list: &str) -> NoProxy {
        let mut read = NoProxy::default();
        let is_separator = |character: char| character == ',' || character.is_whitespace();
        for entry in list.split(is_separator) {
            read.add(entry);
        }
        read
    }

    fn add(&mut self, entry: &str) {
        if entry == "*" {
            self.covers_all = true;
            return;
        }
        if let Some(network) = network(entry) {
            self.networks.push(network);
            return;
        }
        let (host, port) = match with_port(entry) {
            Some((host, Some(port))) => (host, Some(port)),
            Some((_, None)) => return,
            None => (entry, None),
        };
        match bare(host).parse::<IpAddr>() {
            Ok(address) => self.networks.push(Network::single(address, port)),
            Err(_) => self.names.extend(Name::parse(host, port)),
        }
    }

    /// True when this host is reached without the proxy.
    pub(super) fn covers(&self, host: &Host<&str>, port: u16) -> bool {
        if self.covers_all {
            return true;
        }
        match host {
            Host::Domain(name) => {
                let name = without_dot(name);
                self.names.iter().any(|entry| entry.covers(name, port))
            }
            Host::Ipv4(address) => self.covers_address(IpAddr::V4(*address), port),
            Host::Ipv6(address) => self.covers_address(IpAddr::V6(*address), port),
        }
    }

    fn covers_address(&self, address: IpAddr, port: u16) -> bool {
        let mut networks = self.networks.iter();
        networks.any(|network| network.covers(address, port))
    }
}

impl Network {
    fn single(address: IpAddr, port: Option<u16>) -> Network {
        let address = address.to_canonical();
        let bits = width(address);
        Network {
            address,
            bits,
            port,
        }
    }

    fn covers(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        let is_port = self.port.is_none_or(|own| own == port);
        is_port
            && address.is_ipv4() == self.address.is_ipv4()
            && leading(address, self.bits) == leading(self.address, self.bits)
    }
}

impl Name {
    fn parse(text: &str, port: Option<u16>) -> Option<Name> {
        let text = text
            .strip_prefix('*')
            .filter(|rest| rest.starts_with('.'))
            .unwrap_or(text);
        let (name, with_itself) = match text.strip_prefix('.') {
            Some(name) => (name, false),
            None => (text, true),
        };
        let name = without_dot(name);
        if name.is_empty() {
            return None;
        }
        let name = if name.is_ascii() {
            name.to_ascii_lowercase()
        } else {
            // As URLs have it (RFC 5890).
            Host::parse(name).ok()?.to_string()
        };
        Some(Name {
            name: name.into(),
            with_itself,
            port,
        })
    }

    fn covers(&self, name: &str, port: u16) -> bool {
        let is_name = match name.strip_suffix(&*self.name) {
            Some("") => self.with_itself,
            Some(below) => below.ends_with('.'),
            None => false,
        };
        is_name && self.port.is_none_or(|own| own == port)
    }
}

/// True for this machine itself, which no proxy of the environment is asked for.
pub(super) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => without_dot(name) == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).to_canonical().is_loopback(),
    }
}

/// `address/bits`.
fn network(entry: &str) -> Option<Network> {
    let (address, bits) = entry.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    let canonical = address.to_canonical();
    // ::ffff:10.0.0.0/104 is 10.0.0.0/8.
    let bits = bits.checked_sub(width(address) - width(canonical))?;
    (bits <= width(canonical)).then_some(Network {
        address: canonical,
        bits,
        port: None,
    })
}

/// Host and port of `host:port` or `[address]:port`; the port is `None` where it is no number.
/// `None` for what has no port.
fn with_port(entry: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = entry.rsplit_once(':')?;
    if bare(host) == host && host.contains(':') {
        // An IPv6 address without brackets.
        return None;
    }
    Some((host, port.parse().ok()))
}

/// Without brackets around it.
fn bare(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host)
}

/// Without the dot of a name that is meant to be whole.
fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Bits of an address.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The leading bits of an address, at the top of 128.
fn leading(address: IpAddr, bits: u8) -> u128 {
    let value = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    let dropped = 128 - u32::from(bits);
    value.checked_shr(dropped).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn covers(list: &str, url: &str) -> bool {
        let url = Url::parse(url).unwrap();
        let port = url.port_or_known_default().unwrap();
        NoProxy::parse(list).covers(&url.host().unwrap(), port)
    }

    /// net/http's own table (`httpproxy`, `UseProxyTests`), without this machine itself.
    #[test]
    fn as_in_net_http() {
        let list = "foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, \
             192.168.1.3:80, 10.0.0.0/30, 2001:db8::52:0:1, [2001:db8::52:0:2]:443, \
             [2001:db8::52:0:3]:80, 2002:db8:a::45/64";
        let cases = [
            ("[::2]", false),
            ("192.168.1.1", true),
            ("192.168.1.2", false),
            ("192.168.1.3", true),
            ("192.168.1.4", false),
            ("10.0.0.2", true),
            ("[2001:db8::52:0:1]", true),
            ("[2001:db8::52:0:2]", false),
            ("[2001:db8::52:0:3]", true),
            ("[2002:db8:a::123]", true),
            ("[fe80::424b:c8be:1643:a1b6]", false),
            ("barbaz.net", false),
            ("www.barbaz.net", true),
            ("foobar.com", true),
            ("www.foobar.com", true),
            ("foofoobar.com", false),
            ("baz.com", false),
            ("localhost.net", false),
            ("local.localhost", false),
            ("barbarbaz.net", false),
            ("wildcard.io", false),
            ("nested.wildcard.io", true),
            ("awildcard.io", false),
        ];
        for (host, expected) in cases {
            assert_eq!(covers(list, &format!("http://{host}/")), expected, "{host}");
            assert!(covers("*", &format!("http://{host}/")));
            assert!(covers("a.example, *,b.example", &format!("http://{host}/")));
            assert!(!covers("", &format!("http://{host}/")));
        }
    }

    #[test]
    fn names_ports_and_networks() {
        let cases = [
            ("example.com", "http://foo.example.com/", true),
            (".example.com", "http://example.com/", false),
            ("ample.com", "http://example.com/", false),
            (".foo.com", "http://example.com/", false),
            // Names as people write them, and as URLs have them.
            (
                ".\u{793a}\u{4f8b}.com",
                "http://www.\u{793a}\u{4f8b}.com/",
                true,
            ),
            ("xn--fsq092h.com", "http://www.\u{793a}\u{4f8b}.com/", true),
            ("\u{793a}\u{4f8b}.com", "http://www.xn--fsq092h.com/", true),
            ("EXAMPLE.com", "http://www.Example.COM/", true),
            ("example.com", "http://example.com./", true),
            ("example.com.", "http://example.com/", true),
            // Ports.
            ("example.com:80", "http://example.com/", true),
            ("example.com:443", "https://example.com/", true),
            ("example.com:80", "https://example.com/", false),
            (".example.com:8080", "http://a.example.com:8080/", true),
            ("*.example.com:8080", "http://a.example.com/", false),
            ("10.0.0.1:8080", "http://10.0.0.1:8080/", true),
            ("[::5]:8080", "http://[::5]:8080/", true),
            ("[::5]", "http://[::5]:8080/", true),
            ("::5", "http://[::5]/", true),
            // Networks.
            ("10.0.0.0/8", "http://10.255.0.1/", true),
            ("10.0.0.0/8", "http://11.0.0.1/", false),
            ("10.1.2.3/0", "http://200.0.0.1/", true),
            ("0.0.0.0/0", "http://[::5]/", false),
            ("::/0", "http://[2001:db8::1]/", true),
            ("::/0", "http://10.0.0.1/", false),
            ("10.0.0.1/32", "http://10.0.0.1/", true),
            ("10.0.0.1", "http://[::ffff:10.0.0.1]/", true),
            ("::ffff:10.0.0.1", "http://10.0.0.1/", true),
            ("::ffff:10.0.0.0/104", "http://10.9.9.9/", true),
            // Blanks separate as commas do.
            ("a.example b.example\tc.example", "http://b.example/", true),
            (",, ,b.example,", "http://b.example/", true),
            // A name is none of an address, and the other way round.
            ("0.1", "http://10.0.0.1/", false),
            (".0.0.1", "http://10.0.0.1/", false),
        ];
        for (list, url, expected) in cases {
            assert_eq!(covers(list, url), expected, "{list} {url}");
        }
    }

    #[test]
    fn what_makes_no_sense_matches_nothing() {
        let list = ":1 . *. [ ] [] : :: 10.0.0.0/33 10.0.0.0/x 2001::/129 ::ffff:1.2.3.4/5 a:b:c \
             example.org:http *example.net \u{fffd} <local> http://example.com/ / /8 [::5";
        for host in [
            "example.com",
            "example.org",
            "a.example.net",
            "10.0.0.1",
            "[::5]",
        ] {
            assert!(!covers(list, &format!("http://{host}/")), "{host}");
        }
    }

    #[test]
    fn this_machine() {
        let cases = [
            ("localhost", true),
            ("localhost.", true),
            ("LOCALHOST", true),
            ("127.0.0.1", true),
            ("127.0.0.2", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("[::2]", false),
            ("localhost.net", false),
            ("local.localhost", false),
            ("10.0.0.1", false),
        ];
        for (host, expected) in cases {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            assert_eq!(is_loopback(&url.host().unwrap()), expected, "{host}");
        }
    }
}
