//! `Authorization: Basic` (RFC 7617), also from the user part of a URL.
//!
//! ```text
//!   http://user:pass@host/ ──► Authorization: Basic dXNlcjpwYXNz
//! ```

use percent_encoding::percent_decode_str;
use url::Url;

use crate::http::authentication::basic;
use crate::http::request::Request;

/// True when the URL has a name or a password.
pub(super) fn are_in(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Adds the URL's name and password, unless the request has credentials of its own; true when they
/// were added.
pub(super) fn from_url(request: &mut Request) -> bool {
    let Some(url) = request.url().filter(|url| are_in(url)) else {
        return false;
    };
    if request.headers().contains("authorization") {
        return false;
    }
    let user: Vec<u8> = percent_decode_str(url.username()).collect();
    let password: Vec<u8> = percent_decode_str(url.password().unwrap_or("")).collect();
    let value = basic(&user, &password);
    let added = request.headers_mut().append("Authorization", value);
    assert!(added.is_ok(), "base64 is a valid value");
    true
}

#[cfg(test)]
mod tests {
    use ::http::Method;

    use super::*;

    #[test]
    fn the_url_speaks_unless_the_request_does() {
        let request = |url: &str| Request::new(Method::GET, Url::parse(url).unwrap());
        let mut plain = request("http://h/");
        assert!(!from_url(&mut plain));
        assert_eq!(plain.header("authorization"), None);
        let mut coded = request("http://a:%62@h/");
        assert!(from_url(&mut coded));
        assert_eq!(coded.header("authorization"), Some("Basic YTpi"));
        let mut own = request("http://a:b@h/")
            .with_header("Authorization", "Bearer x")
            .unwrap();
        assert!(!from_url(&mut own));
        assert_eq!(own.header("authorization"), Some("Bearer x"));
        assert_eq!(own.headers().len(), 1);
    }
}
