//! The field names that framing and connection control care for.
//!
//! ```text
//!   name ──► length and first letter pick one candidate ──► one comparison ──► Known
//! ```

/// A field name that has a meaning for the message itself; anything else is `Other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Known {
    Other,
    Connection,
    ContentLength,
    ContentType,
    Date,
    Expect,
    Host,
    KeepAlive,
    ProxyConnection,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
}

impl Known {
    /// Which name this is.
    #[inline]
    pub(crate) fn of(name: &[u8]) -> Known {
        let Some(&first) = name.first() else {
            return Known::Other;
        };
        let (candidate, is_it) = match (name.len(), first | 0x20) {
            (2, b't') => (Known::Te, is(name, b"te")),
            (4, b'h') => (Known::Host, is(name, b"host")),
            (4, b'd') => (Known::Date, is(name, b"date")),
            (6, b'e') => (Known::Expect, is(name, b"expect")),
            (7, b'u') => (Known::Upgrade, is(name, b"upgrade")),
            (7, b't') => (Known::Trailer, is(name, b"trailer")),
            (10, b'c') => (Known::Connection, is(name, b"connection")),
            (10, b'k') => (Known::KeepAlive, is(name, b"keep-alive")),
            (12, b'c') => (Known::ContentType, is(name, b"content-type")),
            (14, b'c') => (Known::ContentLength, is(name, b"content-length")),
            (16, b'p') => (Known::ProxyConnection, is(name, b"proxy-connection")),
            (17, b't') => (Known::TransferEncoding, is(name, b"transfer-encoding")),
            _ => return Known::Other,
        };
        if is_it { candidate } else { Known::Other }
    }

    /// True for names that belong to one connection and not to the message (RFC 9110 §7.6.1).
    pub(crate) fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::Te
                | Known::Trailer
                | Known::TransferEncoding
                | Known::Upgrade
        )
    }
}

/// What authenticates, modifies a request, controls a response or describes the content, beside the
/// names that are [`Known`].
const NO_TRAILERS: [&[u8]; 14] = [
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"cookie",
    b"location",
    b"max-forwards",
    b"pragma",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"range",
    b"realm",
    b"set-cookie",
    b"www-authenticate",
];

/// True for names that may not stand in a trailer: what frames, routes, authenticates, modifies the
/// request, or controls the connection (RFC 9110 §6.5.1).
pub(crate) fn is_forbidden_trailer(name: &[u8]) -> bool {
    let known = Known::of(name);
    let is_condition = || {
        let prefix = name.first_chunk::<3>();
        prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"if-"))
    };
    known.is_hop_by_hop()
        || matches!(
            known,
            Known::ContentLength | Known::ContentType | Known::Expect | Known::Host
        )
        || is_condition()
        || NO_TRAILERS
            .iter()
            .any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}

/// True when `name` is `lower` in any case. The length is known when it is compiled, so that this
/// becomes two or three word comparisons.
#[inline]
fn is<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name) else {
        return false;
    };
    let mut difference = 0;
    for index in 0..N {
        // Sets the bit that tells cases apart; `-` has it already. CR would pass for `-`, but a
        // name is a token.
        difference |= (name[index] | 0x20) ^ lower[index];
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_case() {
        for (name, known) in [
            ("host", Known::Host),
            ("HOST", Known::Host),
            ("hOsT", Known::Host),
            ("hose", Known::Other),
            ("Transfer-Encoding", Known::TransferEncoding),
            ("Transfer_Encoding", Known::Other),
            ("content-length", Known::ContentLength),
            ("content-lengtH", Known::ContentLength),
            ("content-lengths", Known::Other),
            ("TE", Known::Te),
            ("", Known::Other),
        ] {
            assert_eq!(Known::of(name.as_bytes()), known, "{name}");
        }
    }

    #[test]
    fn no_other_token_passes_for_a_name() {
        for name in [
            "connection",
            "content-length",
            "expect",
            "host",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ] {
            let known = Known::of(name.as_bytes());
            assert_ne!(known, Known::Other);
            for at in 0..name.len() {
                for byte in (0..=255u8).filter(|byte| crate::http::token::is_token_byte(*byte)) {
                    let mut changed = name.as_bytes().to_vec();
                    changed[at] = byte;
                    let is_same = changed.eq_ignore_ascii_case(name.as_bytes());
                    assert_eq!(
                        Known::of(&changed) == known,
                        is_same,
                        "{name} {at} {byte:#x}"
                    );
                }
            }
        }
    }
}
