//! Which bytes may stand where (RFC 9110 §5.6.2, §5.5; RFC 9112 §3.2).
//!
//! ```text
//!   token        methods, field names, codings        ! # $ % & ' * + - . ^ _ ` | ~ digits letters
//!   field value  what follows the colon               tab, space, visible, 0x80..
//!   target       second word of a request line        visible ASCII but "#"
//! ```

/// Entry of [`CLASSES`]: the byte may stand in a token.
const TOKEN: u8 = 1;
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let mut class = 0;
        if b.is_ascii_alphanumeric() || is_in(b, b"!#$%&'*+-.^_`|~") {
            class |= TOKEN;
        }
        if !b.is_ascii_graphic() || b == b'#' {
            class |= TARGET_INVALID;
        }
        if !b.is_ascii_alphanumeric() && !is_in(b, b"-._~%!$&'()*+,;=:[]") {
            class |= HOST_INVALID;
        }
        if matches!(b, b'[' | b']') {
            class |= HOST_BRACKET;
        }
        class |= match b {
            b'%' => PERCENT,
            b'?' => QUERY,
            b':' => HOST_COLON,
            _ => 0,
        };
        table[byte] = class;
        byte += 1;
    }
    table
}

const fn is_in(byte: u8, set: &[u8]) -> bool {
    let mut index = 0;
    while index < set.len() {
        if set[index] == byte {
            return true;
        }
        index += 1;
    }
    false
}

/// True when `byte` may stand in a token.
#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// True when `bytes` is a token: not empty, token characters alone.
#[inline]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// True when `bytes` may be a field value: no control character but the tab.
#[inline]
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    // Without an early end, so that it becomes a few vector comparisons.
    bytes.iter().fold(true, |valid, &byte| {
        valid & ((byte >= b' ') & (byte != 0x7f) | (byte == b'\t'))
    })
}

/// True when `bytes` may be a request target: visible ASCII without a fragment.
#[inline]
pub(crate) fn is_target(bytes: &[u8]) -> bool {
    !bytes.is_empty() && target_kinds(bytes) & TARGET_INVALID == 0
}

/// Bit of [`target_kinds`], and entry of [`CLASSES`]: a byte that stands in no target.
pub(crate) const TARGET_INVALID: u8 = 4;

/// Bit of [`target_kinds`], and entry of [`CLASSES`]: a question mark, behind which the query is.
pub(crate) const QUERY: u8 = 32;

/// Which kinds of bytes there are: [`TARGET_INVALID`], [`PERCENT`], [`QUERY`].
#[inline]
pub(crate) fn target_kinds(bytes: &[u8]) -> u8 {
    all_classes(bytes) & (TARGET_INVALID | PERCENT | QUERY)
}

/// Bit of [`host_kinds`], and entry of [`CLASSES`]: a byte that stands in no host (RFC 3986 §3.2.2) and no
/// port.
pub(crate) const HOST_INVALID: u8 = 8;
/// Bit of [`host_kinds`], and entry of [`CLASSES`]: a bracket, as around an IPv6 address.
pub(crate) const HOST_BRACKET: u8 = 2;
/// Bit of [`host_kinds`], and entry of [`CLASSES`]: a colon, as before a port.
pub(crate) const HOST_COLON: u8 = 64;
/// Bit of [`host_kinds`] and [`target_kinds`], and entry of [`CLASSES`]: a percent sign, which two
/// digits follow.
pub(crate) const PERCENT: u8 = 16;

/// Which kinds of bytes there are. None in the empty value, which is allowed: it says that the
/// target has no host (RFC 9112 §3.2).
#[inline]
pub(crate) fn host_kinds(bytes: &[u8]) -> u8 {
    all_classes(bytes) & (HOST_INVALID | HOST_BRACKET | HOST_COLON | PERCENT)
}

/// What any of the bytes is.
#[inline]
fn all_classes(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |all, &byte| all | CLASSES[byte as usize])
}

/// True when two hexadecimal digits follow each percent sign (RFC 3986 §2.1).
pub(crate) fn is_percent_coded(bytes: &[u8]) -> bool {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    memchr::memchr_iter(b'%', bytes)
        .all(|at| is_digit(bytes.get(at + 1)) && is_digit(bytes.get(at + 2)))
}

/// `bytes` without the spaces and tabs around it (OWS).
#[inline]
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The number that `bytes` spells in decimal digits: no sign, no blank, no overflow.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    let mut number = 0u64;
    for &byte in bytes {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number
            .checked_mul(10)?
            .checked_add(u64::from(byte - b'0'))?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_bytes() {
        assert!(is_token(b"Content-Length"));
        assert!(!is_token(b""));
        assert!(!is_token(b"a b"));
        assert!(!is_token(b"a:"));
        assert!(!is_token(b"\xffa"));
        assert!(is_value(b"a\tb \xff"));
        assert!(!is_value(b"a\0"));
        assert!(!is_value(b"a\x7f"));
        assert!(!is_value(b"a\r"));
        assert!(is_target(b"/a?b=|{}"));
        assert!(!is_target(b"/a b"));
        assert!(!is_target(b"/#a"));
        assert!(!is_target(b"/\xc3\xa4"));
        assert!(!is_target(b""));
        assert_eq!(target_kinds(b"/a%20"), PERCENT);
        let all = HOST_BRACKET | HOST_COLON | PERCENT;
        assert_eq!(host_kinds(b"[::1%25en0]:80"), all);
        assert_eq!(target_kinds(b"/a:b?"), QUERY);
        assert_eq!(host_kinds(b"a.b"), 0);
        assert!(is_percent_coded(b"a%41%fFb") && is_percent_coded(b""));
        assert!(!is_percent_coded(b"a%4") && !is_percent_coded(b"%") && !is_percent_coded(b"%4g"));
        assert_eq!(host_kinds(b"a{"), HOST_INVALID);
        assert_eq!(host_kinds(b""), 0);
    }

    #[test]
    fn numbers_have_digits_only() {
        for (text, number) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("+5", None),
            ("-5", None),
            ("5 ", None),
            ("0x5", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), number, "{text}");
        }
    }

    #[test]
    fn trims_blanks() {
        assert_eq!(trim(b" \ta b\t "), b"a b");
        assert_eq!(trim(b" \t"), b"");
    }
}
