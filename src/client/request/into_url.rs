//! What a URL is made of.
//!
//! ```text
//!   "http://host/a"  Url ─────────────────────► as it is
//!   "a?b", "/a"      ── base URL of the client ─► joined (WHATWG URL §4.5)
//!                    └─ without one ────────────► an error that says so
//! ```

use url::ParseError;
use url::Url;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;

/// What can be a URL: a [`Url`], or text that is one.
pub trait IntoUrl: sealed::Resolve {
    /// The URL.
    ///
    /// # Errors
    ///
    /// It is none, or a relative one.
    fn into_url(self) -> Result<Url>
    where
        Self: Sized,
    {
        self.resolve(None)
    }
}

mod sealed {
    use url::Url;

    use crate::error::Result;

    pub trait Resolve {
        /// The URL; a relative one as seen from `base`.
        fn resolve(self, base: Option<&Url>) -> Result<Url>;
    }
}

/// The URL; a relative one as seen from `base`.
pub(in crate::client) fn resolve(url: impl IntoUrl, base: Option<&Url>) -> Result<Url> {
    url.resolve(base)
}

impl<T: sealed::Resolve> IntoUrl for T {}

impl sealed::Resolve for Url {
    fn resolve(self, _: Option<&Url>) -> Result<Url> {
        Ok(self)
    }
}

impl sealed::Resolve for &Url {
    fn resolve(self, _: Option<&Url>) -> Result<Url> {
        Ok(self.clone())
    }
}

impl sealed::Resolve for &str {
    fn resolve(self, base: Option<&Url>) -> Result<Url> {
        // The text is not repeated: it may hold a password.
        let parsed = Url::options().base_url(base).parse(self);
        parsed.map_err(|error| {
            let text = match error {
                ParseError::RelativeUrlWithoutBase => {
                    "the URL is relative: give a whole one, as in http://host/path, \
                     or the client a ClientBuilder::base_url"
                }
                _ => "the URL cannot be read; a whole one is expected, as in http://host/path",
            };
            Error::new(ErrorKind::Invalid, text).because(error)
        })
    }
}

impl sealed::Resolve for String {
    fn resolve(self, base: Option<&Url>) -> Result<Url> {
        self.as_str().resolve(base)
    }
}

impl sealed::Resolve for &String {
    fn resolve(self, base: Option<&Url>) -> Result<Url> {
        self.as_str().resolve(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_ones_need_a_base() {
        let base = Url::parse("http://a.example/api/v1/").unwrap();
        for (text, joined) in [
            ("users", Some("http://a.example/api/v1/users")),
            ("users?page=2", Some("http://a.example/api/v1/users?page=2")),
            ("/users", Some("http://a.example/users")),
            ("../v2/", Some("http://a.example/api/v2/")),
            ("", Some("http://a.example/api/v1/")),
            ("?a", Some("http://a.example/api/v1/?a")),
            ("//b.example/", Some("http://b.example/")),
            ("http://b.example", Some("http://b.example/")),
            ("http://[broken", None),
        ] {
            let found = resolve(text, Some(&base)).ok();
            assert_eq!(found.as_ref().map(Url::as_str), joined, "{text}");
        }
        let url = Url::parse("http://b.example/").unwrap();
        assert_eq!(resolve(&url, Some(&base)).unwrap(), url);
        for text in ["users", "/users", "", "?a"] {
            let error = text.into_url().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.text().contains("base_url"), "{error}");
        }
        let error = "http://user:secret@[x".into_url().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
