//! Zones of IPv6 addresses: on which link of this machine an address is that many links have (RFC 4007).
//!
//! ```text
//!   http://[fe80::1%25eth0]:81/a ──► http://[fe80::1]:81/a    what the server sees: URL and Host
//!                                └─► Zone eth0 ──► index ────► connect(2)
//! ```
//! A zone means something on this machine only, and so no URL has one (RFC 9844) and none is sent. In
//! text it stands behind the address: `%25eth0`, as RFC 6874 had it, or `%eth0`, as it is typed. It is
//! a name of an interface, or the number of one.

use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::limits::INTERFACE_NAME_BYTES_MAX;
use crate::net;

/// A zone: the name of an interface, or its number in digits. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Zone(Arc<str>);

impl Zone {
    /// From the name of an interface or its number, as `eth0` or `2`.
    ///
    /// # Errors
    ///
    /// It can be neither.
    pub fn new(interface: &str) -> Result<Zone> {
        Zone::of(interface).map_err(|rule| Error::new(ErrorKind::Invalid, rule))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number of the interface: `sin6_scope_id`.
    ///
    /// # Errors
    ///
    /// There is no such interface.
    pub(super) fn index(&self) -> Result<u32> {
        net::interface_index(&self.0).or_else(|error| {
            let number = self.0.parse().ok().filter(|number| *number > 0);
            number.ok_or_else(|| {
                let text = format!("there is no network interface {}", self.0);
                let public = Error::new(ErrorKind::Connect, text);
                public.in_phase(Phase::Connect).because(error)
            })
        })
    }

    fn read(text: &str) -> Result<Zone, &'static str> {
        let text = match text.strip_prefix("25").filter(|rest| !rest.is_empty()) {
            Some(coded) => percent_decode_str(coded).decode_utf8().ok(),
            None => Some(text.into()),
        };
        Zone::of(&text.unwrap_or_default())
    }

    fn of(text: &str) -> Result<Zone, &'static str> {
        let is_byte = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'%');
        let has_length = (1..=INTERFACE_NAME_BYTES_MAX).contains(&text.len());
        if !has_length || !text.bytes().all(is_byte) {
            return Err("the zone of an address is the name of a network interface, or its number");
        }
        Ok(Zone(text.into()))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Takes the zone out of a URL, or of what stands behind the `//` of one (`authority`); `None` where it
/// has none. What is no URL stays none.
///
/// # Errors
///
/// The rule that the zone breaks.
pub(super) fn take(text: &str) -> Result<Option<(String, Zone)>, &'static str> {
    let Some(open) = memchr::memchr(b'[', text.as_bytes()) else {
        return Ok(None);
    };
    // In front of an address: the scheme, and a user.
    let (scheme, user) = text[..open].split_once("//").unwrap_or(("", &text[..open]));
    let is_host = (scheme.is_empty() || scheme.ends_with(':'))
        && (user.is_empty() || user.ends_with('@'))
        && !user.contains(['/', '?', '#', '\\']);
    let end = text[open..].find(']').map(|len| open + len);
    let Some(close) = end.filter(|_| is_host) else {
        return Ok(None);
    };
    let Some(percent) = text[open..close].find('%').map(|len| open + len) else {
        return Ok(None);
    };
    let zone = Zone::read(&text[percent + 1..close])?;
    Ok(Some((
        format!("{}{}", &text[..percent], &text[close..]),
        zone,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_taken_out() {
        for (text, expected) in [
            (
                "http://[fe80::1%25eth0]/",
                Some(("http://[fe80::1]/", "eth0")),
            ),
            (
                "http://[fe80::1%eth0]:81/a?b",
                Some(("http://[fe80::1]:81/a?b", "eth0")),
            ),
            (
                "http://u:p%25@[fe80::1%252]/",
                Some(("http://u:p%25@[fe80::1]/", "2")),
            ),
            // Only what has something behind it is a percent sign in code.
            ("//[fe80::1%25]/", Some(("//[fe80::1]/", "25"))),
            ("[fe80::1%25wl%70]:80", Some(("[fe80::1]:80", "wlp"))),
            ("http://[fe80::1]/", None),
            ("http://h/[fe80::1%25eth0]", None),
            ("http://h?[fe80::1%25eth0]", None),
            ("a[fe80::1%25eth0]", None),
            ("a//[fe80::1%25eth0]", None),
            ("/[fe80::1%25eth0]", None),
            ("http://[fe80::1%25eth0", None),
            ("http://h/", None),
        ] {
            let taken = take(text).unwrap();
            let taken = taken
                .as_ref()
                .map(|(url, zone)| (url.as_str(), zone.as_str()));
            assert_eq!(taken, expected, "{text}");
        }
        for zone in [
            "",
            "25a%2fb",
            "a/b",
            "a b",
            "25a%20b",
            "25%ff",
            "sixteen-bytes-xx",
            "ä",
        ] {
            assert!(
                take(&format!("http://[fe80::1%{zone}]/")).is_err(),
                "{zone}"
            );
        }
    }

    #[test]
    fn an_interface_has_a_number() {
        assert_eq!(Zone("7".into()).index().unwrap(), 7);
        assert!(Zone("lo".into()).index().unwrap() > 0);
        for none in ["0", "no-such-link", "99999999999"] {
            let error = Zone(none.into()).index().unwrap_err();
            assert!(error.text().contains(none), "{error}");
        }
    }
}
