//! `Authorization`: Basic (RFC 7617) and Bearer (RFC 6750), and comparing in constant time.
//!
//! ```text
//!   Authorization: Basic dXNlcjpwYXNz ──► Basic { user, password } ──► verify("user", "pass")
//!   Authorization: Bearer mF_9.B5f-4  ──► "mF_9.B5f-4"             ──► is_same(token, expected)
//! ```

use std::fmt;
use std::hint::black_box;

use crate::http::request::Request;

/// A name and a password, as `Authorization: Basic` carries them: readable for everybody on the
/// way who can read the request.
#[derive(Clone, PartialEq, Eq)]
pub struct Basic {
    /// Without a colon.
    pub user: String,
    /// All that follows the first colon.
    pub password: String,
}

impl Basic {
    /// True when both are as expected. Both are compared, and in constant time: see [`is_same`].
    pub fn verify(&self, user: &str, password: &str) -> bool {
        let is_user = is_same(self.user.as_bytes(), user.as_bytes());
        let is_password = is_same(self.password.as_bytes(), password.as_bytes());
        is_user & is_password
    }
}

impl fmt::Debug for Basic {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Basic")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Compares what a peer gave with a secret. The time that it takes depends on the length of what
/// was given and on nothing else, so nobody can find the secret byte by byte.
pub fn is_same(given: &[u8], secret: &[u8]) -> bool {
    let mut difference = u8::from(given.len() != secret.len());
    for (index, byte) in given.iter().enumerate() {
        let other = secret.get(index % secret.len().max(1)).unwrap_or(&0);
        difference = black_box(difference | (byte ^ other));
    }
    black_box(difference) == 0
}

/// The value of `WWW-Authenticate` that asks for a name and a password in UTF-8 (RFC 7617 §2.1).
/// Of `realm`, which people may read, only printable ASCII is kept.
///
/// ```
/// use roundtrip::Request;
/// use roundtrip::Response;
/// use roundtrip::http::authentication::basic_challenge;
///
/// fn admin(request: &Request) -> Response {
///     match request.basic_auth() {
///         Some(basic) if basic.verify("admin", "secret") => Response::new().body("welcome"),
///         _ => Response::new()
///             .status(roundtrip::StatusCode::UNAUTHORIZED)
///             .header("WWW-Authenticate", basic_challenge("admin")),
///     }
/// }
/// ```
pub fn basic_challenge(realm: &str) -> String {
    format!(
        "Basic realm={}, charset=\"UTF-8\"",
        quoted_string(realm.as_bytes())
    )
}

/// The value of `WWW-Authenticate` that asks for a bearer token (RFC 6750 §3).
pub fn bearer_challenge(realm: &str) -> String {
    format!("Bearer realm={}", quoted_string(realm.as_bytes()))
}

/// RFC 9110 §5.6.4, of printable ASCII.
fn quoted_string(text: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            quoted.push('\\');
        }
        if matches!(byte, b' '..=b'~') {
            quoted.push(char::from(byte));
        }
    }
    quoted.push('"');
    quoted
}

/// The value of `Authorization` for a name, which has no colon, and a password.
pub fn basic(user: &[u8], password: &[u8]) -> String {
    let pair = [user, b":", password].concat();
    let mut value = String::from("Basic ");
    for group in pair.chunks(3) {
        let mut bits = 0u32;
        for index in 0..3 {
            bits = bits << 8 | u32::from(group.get(index).copied().unwrap_or(0));
        }
        for index in 0..4 {
            if index > group.len() {
                value.push('=');
            } else {
                let digit = bits >> (18 - 6 * index) & 0x3f;
                value.push(char::from(BASE64[digit as usize]));
            }
        }
    }
    value
}

/// RFC 4648 §4.
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Request {
    /// The name and password of `Authorization: Basic` (RFC 7617). `None` without that field, with
    /// two of them, and where it is malformed: not canonical base64, not UTF-8, without a colon,
    /// with control characters.
    ///
    /// Compare with [`Basic::verify`]; ask with [`basic_challenge`], whose example shows both.
    pub fn basic_auth(&self) -> Option<Basic> {
        let credentials = decode_base64(self.authorization("basic")?)?;
        let credentials = String::from_utf8(credentials).ok()?;
        if credentials.contains(char::is_control) {
            return None;
        }
        let (user, password) = credentials.split_once(':')?;
        Some(Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    /// The token of `Authorization: Bearer` (RFC 6750 §2.1). `None` without that field, with two of
    /// them, and where it is no token. Compare it with [`is_same`].
    pub fn bearer_token(&self) -> Option<&str> {
        let token = self.authorization("bearer")?;
        let padding = token.iter().rev().take_while(|&&byte| byte == b'=').count();
        let main = &token[..token.len() - padding];
        let is_main = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
        let is_token = !main.is_empty() && main.iter().all(is_main);
        is_token.then(|| std::str::from_utf8(token).expect("a token is ASCII"))
    }

    /// What follows the scheme in the one `Authorization` field. Schemes have no case (RFC 9110
    /// §11.1).
    fn authorization(&self, scheme: &str) -> Option<&[u8]> {
        let mut fields = self.headers().get_all("authorization");
        let value = fields.next()?;
        if fields.next().is_some() {
            return None;
        }
        let (own, rest) = value.split_at_checked(scheme.len())?;
        if !own.eq_ignore_ascii_case(scheme.as_bytes()) || !rest.starts_with(b" ") {
            return None;
        }
        let blanks = rest.iter().take_while(|&&byte| byte == b' ').count();
        Some(&rest[blanks..])
    }
}

/// RFC 4648 §4, canonical alone: padded, nothing else between, unused bits zero. Two texts never
/// mean the same.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let (groups, []) = text.as_chunks::<4>() else {
        return None;
    };
    let mut decoded = Vec::with_capacity(groups.len() * 3);
    for (index, group) in groups.iter().enumerate() {
        let padding = match group {
            [_, _, b'=', b'='] => 2,
            [_, _, _, b'='] => 1,
            _ => 0,
        };
        if padding > 0 && index + 1 < groups.len() {
            return None;
        }
        let mut bits = 0u32;
        for &digit in &group[..4 - padding] {
            let value = BASE64.iter().position(|&candidate| candidate == digit)?;
            bits = bits << 6 | value as u32;
        }
        bits <<= 6 * padding;
        let [_, bytes @ ..] = bits.to_be_bytes();
        let (kept, unused) = bytes.split_at(3 - padding);
        if unused.iter().any(|&byte| byte != 0) {
            return None;
        }
        decoded.extend_from_slice(kept);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(value: &str) -> Request {
        let request = Request::for_target("GET", "/").unwrap();
        request.with_header("Authorization", value).unwrap()
    }

    #[test]
    fn pairs_are_coded_and_read() {
        let cases = [
            (
                "Aladdin",
                "open sesame",
                "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ),
            ("", "", "Basic Og=="),
            ("a", "", "Basic YTo="),
            ("a", "b", "Basic YTpi"),
            ("a", "b:c", "Basic YTpiOmM="),
            ("a", "\u{ff}?>", "Basic YTrDvz8+"),
        ];
        for (user, password, expected) in cases {
            assert_eq!(basic(user.as_bytes(), password.as_bytes()), expected);
            let found = request(expected).basic_auth().unwrap();
            assert_eq!((&found.user[..], &found.password[..]), (user, password));
            assert!(found.verify(user, password));
            assert!(!found.verify(user, "other"));
            assert!(!found.verify("other", password));
        }
        for spelled in ["basic YTpi", "BASIC   YTpi"] {
            assert!(request(spelled).basic_auth().unwrap().verify("a", "b"));
        }
    }

    #[test]
    fn what_is_no_basic() {
        for value in [
            "",
            "Basic",
            "Basic ",
            "BasicYTpi",
            "Bearer YTpi",
            "Basic YTp",
            "Basic YTo",
            "Basic YTpi=",
            "Basic YT==YTpi",
            "Basic Y===",
            "Basic ====",
            "Basic YTp_",
            "Basic YTpi YTpi",
            // Bits that do not count: also `YTo=`.
            "Basic YTp=",
            // No colon; a control character; no UTF-8.
            "Basic YWI=",
            "Basic YToA",
            "Basic YTr/",
        ] {
            assert_eq!(request(value).basic_auth(), None, "{value}");
        }
        let twice = request("Basic YTpi");
        let twice = twice.with_header("authorization", "Basic YTpi").unwrap();
        assert_eq!(twice.basic_auth(), None);
        let none = Request::for_target("GET", "/").unwrap();
        assert_eq!(none.basic_auth(), None);
    }

    #[test]
    fn bearer_tokens() {
        for (value, token) in [
            ("Bearer mF_9.B5f-4.1JqM", Some("mF_9.B5f-4.1JqM")),
            ("bearer a~+/==", Some("a~+/==")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Bearer ==", None),
            ("Bearer a b", None),
            ("Bearer a=b", None),
            ("Bearer a,b", None),
            ("Bearer \u{e4}", None),
            ("Basic YTpi", None),
        ] {
            assert_eq!(request(value).bearer_token(), token, "{value}");
        }
        let twice = request("Bearer a");
        let twice = twice.with_header("Authorization", "Bearer b").unwrap();
        assert_eq!(twice.bearer_token(), None);
    }

    #[test]
    fn compares_all_of_it() {
        for (given, secret, same) in [
            ("", "", true),
            ("a", "a", true),
            ("secret", "secret", true),
            ("secret", "Secret", false),
            ("secret", "secreT", false),
            ("secre", "secret", false),
            ("secretsecret", "secret", false),
            ("", "secret", false),
            ("\0", "", false),
        ] {
            let found = is_same(given.as_bytes(), secret.as_bytes());
            assert_eq!(found, same, "{given} {secret}");
        }
    }

    #[test]
    fn challenges_are_quoted() {
        let challenge = basic_challenge("a \"b\" \\ \r\n\u{e4}");
        assert_eq!(
            challenge,
            "Basic realm=\"a \\\"b\\\" \\\\ \", charset=\"UTF-8\""
        );
        assert_eq!(bearer_challenge("r"), "Bearer realm=\"r\"");
    }

    #[test]
    fn passwords_are_not_shown() {
        let basic = request("Basic YTpiYmI=").basic_auth().unwrap();
        let shown = format!("{basic:?}");
        assert!(shown.contains("\"a\"") && !shown.contains("bbb"), "{shown}");
    }
}
