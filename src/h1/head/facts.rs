//! What the fields of a head say about the message and its connection, noted while they are parsed.
//!
//! ```text
//!   Content-Length ──► Length ──┐
//!   Transfer-Encoding ► Coding ─┼──► framing
//!   Connection ───────► close, keep-alive, upgrade
//!   Expect ───────────► Expect
//!   Host ─────────────► how many, and whether they are valid
//! ```

use std::net::Ipv6Addr;

use ::http::Version;

use crate::http::known::Known;
use crate::http::token;

/// What a client expects before it sends the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: the body follows.
    #[default]
    Nothing,
    /// `100-continue`.
    Continue,
    /// Something else, which is answered 417 (RFC 9110 §10.1.1).
    Unknown,
}

/// All `Content-Length` fields together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::h1) enum Length {
    #[default]
    Absent,
    /// One number, even if it was said more than once.
    Valid(u64),
    /// Not a number, or different numbers.
    Invalid,
}

/// All `Transfer-Encoding` fields together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::h1) enum Coding {
    #[default]
    Absent,
    /// `chunked` alone.
    Chunked,
    /// Codings we do not know, and `chunked` as the last.
    UnknownThenChunked,
    /// The last coding is not `chunked`.
    NotChunkedLast,
    /// `chunked` twice or not last, an empty element, or no list of tokens at all.
    Malformed,
}

/// What the head says about its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::h1) struct Facts {
    pub(in crate::h1) length: Length,
    pub(in crate::h1) coding: Coding,
    pub(in crate::h1) expect: Expect,
    /// `Host` fields; what counts is none, one, more.
    pub(in crate::h1) hosts: u8,
    /// True exactly when a `Host` field has a value that no host can have.
    pub(in crate::h1) host_invalid: bool,
    /// Options in all `Connection` fields.
    pub(in crate::h1) connection_options: usize,
    /// `Connection` holds `close`.
    pub(in crate::h1) close_token: bool,
    /// `Connection` holds `keep-alive`.
    pub(in crate::h1) keep_alive_token: bool,
    /// `Connection` holds `upgrade`.
    pub(in crate::h1) upgrade_token: bool,
    /// There is an `Upgrade` field.
    pub(in crate::h1) upgrade_field: bool,
    /// There is a `Keep-Alive` field.
    pub(in crate::h1) keep_alive_field: bool,
}

impl Facts {
    /// Notes one field.
    #[inline]
    pub(in crate::h1) fn note(&mut self, known: Known, value: &[u8]) {
        match known {
            Known::Host => {
                self.hosts = self.hosts.saturating_add(1);
                self.host_invalid |= !is_valid_host(value);
            }
            Known::ContentLength => self.length = self.length.and(value),
            Known::TransferEncoding => self.coding = self.coding.and(value),
            Known::Connection => self.note_connection(value),
            Known::Expect => {
                // RFC 9110 §10.1.1: the value is compared without case.
                let is_continue = value.eq_ignore_ascii_case(b"100-continue");
                self.expect = match self.expect {
                    Expect::Unknown => Expect::Unknown,
                    _ if is_continue => Expect::Continue,
                    _ => Expect::Unknown,
                };
            }
            Known::Upgrade => self.upgrade_field = true,
            Known::KeepAlive => self.keep_alive_field = true,
            _ => {}
        }
    }

    /// RFC 9112 §9.3: `close` wins, 1.1 persists, 1.0 only with `keep-alive`.
    pub(in crate::h1) fn is_keep_alive(&self, version: Version) -> bool {
        !self.close_token && (version == Version::HTTP_11 || self.keep_alive_token)
    }

    fn note_connection(&mut self, value: &[u8]) {
        for element in value.split(|&byte| byte == b',') {
            let element = token::trim(element);
            self.connection_options += 1;
            self.close_token |= element.eq_ignore_ascii_case(b"close");
            self.keep_alive_token |= element.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade_token |= element.eq_ignore_ascii_case(b"upgrade");
        }
    }
}

impl Length {
    /// With one more field. A list of equal numbers is one number (RFC 9110 §8.6).
    fn and(mut self, value: &[u8]) -> Length {
        for element in value.split(|&byte| byte == b',') {
            let number = token::decimal(token::trim(element));
            self = match (self, number) {
                // Beyond i64 there is no such body, and sums with it could overflow.
                (_, Some(number)) if number > i64::MAX as u64 => Length::Invalid,
                (Length::Absent, Some(number)) => Length::Valid(number),
                (Length::Valid(same), Some(number)) if same == number => Length::Valid(same),
                _ => Length::Invalid,
            };
        }
        self
    }
}

impl Coding {
    /// With one more field; several are one list (RFC 9110 §5.3).
    fn and(mut self, value: &[u8]) -> Coding {
        for element in value.split(|&byte| byte == b',') {
            let element = token::trim(element);
            let is_chunked = element.eq_ignore_ascii_case(b"chunked");
            let name = element.split(|&byte| byte == b';').next();
            let is_coding = token::is_token(token::trim(name.unwrap_or(&[])));
            self = match self {
                _ if !is_coding => Coding::Malformed,
                Coding::Absent if is_chunked => Coding::Chunked,
                Coding::NotChunkedLast if is_chunked => Coding::UnknownThenChunked,
                Coding::Absent | Coding::NotChunkedLast => Coding::NotChunkedLast,
                Coding::Chunked | Coding::UnknownThenChunked | Coding::Malformed => {
                    Coding::Malformed
                }
            };
        }
        self
    }
}

/// True for the value of a `Host` field (RFC 9110 §7.2): an authority, the empty value, which says
/// that the target has none, or an IPv6 address without brackets, as some clients send it.
pub(super) fn is_valid_host(value: &[u8]) -> bool {
    value.is_empty() || is_valid_authority(value) || is_ipv6(value)
}

/// True for a host with an optional port (RFC 3986 §3.2.2, §3.2.3), without user information.
pub(super) fn is_valid_authority(value: &[u8]) -> bool {
    let (name, port) = split_port(value);
    if !port.is_empty() && !is_port(port) {
        return false;
    }
    match token::host_kinds(name) {
        0 => !name.is_empty(),
        token::PERCENT => token::is_percent_coded(name),
        kinds if kinds & token::HOST_INVALID != 0 => false,
        kinds => kinds & token::HOST_BRACKET != 0 && is_bracketed_authority(value),
    }
}

/// What stands before the last colon that only digits follow, and that colon with them. A port is
/// short: from the end it is found sooner than the colon from the front.
fn split_port(value: &[u8]) -> (&[u8], &[u8]) {
    let digits = value.iter().rev().take_while(|byte| byte.is_ascii_digit());
    match value.len().checked_sub(digits.count() + 1) {
        Some(colon) if value[colon] == b':' => value.split_at(colon),
        _ => (value, b""),
    }
}

/// An IP literal in brackets, and perhaps a port.
fn is_bracketed_authority(value: &[u8]) -> bool {
    let Some(rest) = value.strip_prefix(b"[") else {
        return false;
    };
    let Some(end) = memchr::memchr(b']', rest) else {
        return false;
    };
    let (address, port) = (&rest[..end], &rest[end + 1..]);
    is_ip_literal(address) && (port.is_empty() || is_port(port))
}

/// A colon and digits, of which there may be none.
fn is_port(text: &[u8]) -> bool {
    match text {
        b":" => true,
        [b':', digits @ ..] => {
            digits.len() <= 5
                && token::decimal(digits).is_some_and(|port| port <= u64::from(u16::MAX))
        }
        _ => false,
    }
}

/// What stands in brackets: an IPv6 address, with a zone behind a percent sign, or one of a future
/// version, `v1.x`.
fn is_ip_literal(text: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = text {
        let dot = future.iter().position(|byte| !byte.is_ascii_hexdigit());
        return dot.is_some_and(|at| {
            at > 0 && future[at] == b'.' && at + 1 < future.len() && !future.contains(&b'[')
        });
    }
    match memchr::memchr(b'%', text) {
        None => is_ipv6(text),
        Some(at) => {
            let zone = &text[at + 1..];
            is_ipv6(&text[..at]) && !zone.is_empty() && !zone.contains(&b'[')
        }
    }
}

fn is_ipv6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (value, valid) in [
            ("", true),
            ("1.2.3.4", true),
            ("foo-bar_baz.com", true),
            ("foo.com:80", true),
            ("foo.com:", true),
            ("::1", true),
            ("[::1]", true),
            ("[::1]:80", true),
            ("[::1%25en0]:80", true),
            ("foo.com:8o", false),
            ("foo.com:123456", false),
            ("foo.com:65536", false),
            ("foo.com:65535", true),
            ("a:b:x", false),
            ("a:80:80", false),
            ("1.2.3.4:80:80", false),
            ("::1:2:3:4:5:6:7:8", false),
            ("[v1.a:b]", true),
            ("[fe80::1%eth0]", true),
            ("[::1%]", false),
            ("[a.b]", false),
            ("[a,b]:80", false),
            ("[1.2.3.4]", false),
            ("[v.a]", false),
            ("[v1.]", false),
            (":80", false),
            ("[::1", false),
            ("::1]", false),
            ("[]", false),
            ("[::1]80", false),
            ("a%41.b", true),
            ("a%", false),
            ("a%4", false),
            ("a%4g:80", false),
            ("a b", false),
            ("u@h", false),
            ("a/b", false),
            ("{", false),
            ("\u{ff}", false),
        ] {
            assert_eq!(is_valid_host(value.as_bytes()), valid, "{value}");
        }
    }

    fn fold<T: Default>(and: fn(T, &[u8]) -> T, values: &[&str]) -> T {
        let values = values.iter();
        values.fold(T::default(), |all, value| and(all, value.as_bytes()))
    }

    #[test]
    fn lengths() {
        for (values, length) in [
            (&["3"][..], Length::Valid(3)),
            (&["3", "3"], Length::Valid(3)),
            (&["3, 3"], Length::Valid(3)),
            (&["3", "4"], Length::Invalid),
            (&["3, 4"], Length::Invalid),
            (&["3,"], Length::Invalid),
            (&[""], Length::Invalid),
            (&["+3"], Length::Invalid),
            (&["-3"], Length::Invalid),
            (&["3 3"], Length::Invalid),
            (&["0x3"], Length::Invalid),
            (&["x", "3"], Length::Invalid),
            (&["9223372036854775807"], Length::Valid(i64::MAX as u64)),
            (&["9223372036854775808"], Length::Invalid),
            (&["18446744073709551616"], Length::Invalid),
        ] {
            assert_eq!(fold(Length::and, values), length, "{values:?}");
        }
    }

    #[test]
    fn codings() {
        for (values, coding) in [
            (&["chunked"][..], Coding::Chunked),
            (&["Chunked"], Coding::Chunked),
            (&["gzip"], Coding::NotChunkedLast),
            (&["gzip, chunked"], Coding::UnknownThenChunked),
            (&["gzip", "chunked"], Coding::UnknownThenChunked),
            (&["gzip;q=1, chunked"], Coding::UnknownThenChunked),
            (&["chunked, gzip"], Coding::Malformed),
            (&["chunked", "chunked"], Coding::Malformed),
            (&["chunked, identity"], Coding::Malformed),
            (&["identity"], Coding::NotChunkedLast),
            (&["chunked;a=b"], Coding::NotChunkedLast),
            (&["xchunked"], Coding::NotChunkedLast),
            (&[""], Coding::Malformed),
            (&[", chunked"], Coding::Malformed),
            (&["chunked,"], Coding::Malformed),
            (&["chun ked"], Coding::Malformed),
            (&["\"chunked\""], Coding::Malformed),
        ] {
            assert_eq!(fold(Coding::and, values), coding, "{values:?}");
        }
    }

    #[test]
    fn connection_tokens() {
        let mut facts = Facts::default();
        assert!(facts.is_keep_alive(Version::HTTP_11));
        assert!(!facts.is_keep_alive(Version::HTTP_10));
        facts.note(Known::Connection, b"a, Keep-Alive");
        assert!(facts.is_keep_alive(Version::HTTP_10));
        facts.note(Known::Connection, b"CLOSE,b");
        assert!(!facts.is_keep_alive(Version::HTTP_11));
    }
}
