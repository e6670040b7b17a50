//! `Cookie`, `Set-Cookie` and `Authorization`.
//!
//! ```text
//!   value ─► request.cookies()  ◄── small reader
//!         ─► Cookie::parse ─► to_value ─► the same again
//!         ─► basic_auth, bearer_token ─► the same again
//! ```

use roundtrip::Request;
use roundtrip::Response;
use roundtrip::http::authentication::basic;
use roundtrip::http::cookie::Cookie;

use super::reference::trim;

/// A value of each of the fields.
pub fn cookie(data: &[u8]) {
    let request = |name: &str| {
        let mut request = Request::for_target("GET", "/").expect("a target");
        let added = request.headers_mut().append(name, data);
        added.ok().map(|()| request)
    };
    if let Some(request) = request("Cookie") {
        let found: Vec<_> = request.cookies().collect();
        assert_eq!(found, expected(data), "{}", data.escape_ascii());
        for (name, _) in &found {
            let first = found.iter().find(|(other, _)| other == name);
            assert_eq!(request.cookie(name), first.map(|(_, value)| *value));
        }
    }
    if let Some(request) = request("Authorization") {
        check_credentials(&request, data);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        check_attributes(text);
    }
}

fn check_credentials(request: &Request, data: &[u8]) {
    let value = trim(data);
    if let Some(found) = request.basic_auth() {
        assert!(!found.user.contains(':'));
        let again = basic(found.user.as_bytes(), found.password.as_bytes());
        let coded = again.strip_prefix("Basic ").expect("the scheme");
        assert!(value.ends_with(coded.as_bytes()));
        assert!(value[..5].eq_ignore_ascii_case(b"basic"));
        assert!(found.verify(&found.user, &found.password));
        assert!(!found.verify(&found.user, &format!("{}x", found.password)));
    }
    if let Some(token) = request.bearer_token() {
        assert!(value.ends_with(token.as_bytes()));
        assert!(token.bytes().all(|b| b.is_ascii_graphic()));
    }
}

fn check_attributes(text: &str) {
    let Ok(cookie) = Cookie::parse(text) else {
        return;
    };
    // Browsers drop some cookies that can be read: those are not written.
    let response = Response::new().cookie(cookie.clone());
    let Ok(value) = cookie.to_value() else {
        assert!(response.invalid_header().is_some() && response.headers().is_empty());
        return;
    };
    assert_eq!(response.headers().get("set-cookie"), Some(&value[..]));
    let again = Cookie::parse(&value).expect("what was written");
    // The last second that a date can have is as good as all behind it.
    assert_eq!(again, cookie, "{text:?} {value:?}");
    let sent = format!("{}={}", cookie.name, cookie.value);
    let request = Request::for_target("GET", "/").expect("a target");
    let request = request.with_header("Cookie", &sent).expect("a field");
    let has_blanks = trim(cookie.value.as_bytes()).len() < cookie.value.len();
    if !has_blanks {
        assert_eq!(
            request.cookie(&cookie.name),
            Some(&cookie.value[..]),
            "{sent:?}"
        );
    }
}

/// What RFC 6265 and net/http make of a `Cookie` field.
fn expected(data: &[u8]) -> Vec<(&str, &str)> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let is_value = |byte: &u8| (0x20..0x7f).contains(byte) && !b"\"\\;".contains(byte);
    let mut cookies = Vec::new();
    for pair in data.split(|byte| *byte == b';') {
        let Some(at) = pair.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let (name, mut value) = (trim(&pair[..at]), trim(&pair[at + 1..]));
        if let [b'"', inner @ .., b'"'] = value {
            value = inner;
        }
        if !name.is_empty() && name.iter().all(is_name) && value.iter().all(is_value) {
            let text = |bytes| std::str::from_utf8(bytes).expect("ASCII");
            cookies.push((text(name), text(value)));
        }
    }
    cookies
}
