//! What a URL is made of.
//!
//! ```text
//!   "http://host/a"  Url ─────────────────────► as it is
//!   "a?b", "/a"      ── base URL of the client ─► joined (WHATWG URL §4.5)
//!                    └─ without one ────────────► an error that says so
//!   "http://[fe80::1%25eth0]/" ─► the URL without its zone, and the zone
//! ```

use url::ParseError;
use url::Url;

use crate::client::zone;
use crate::client::zone::Zone;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;

/// What can be a URL: a [`Url`], or text that is one.
pub trait IntoUrl: sealed::Resolve {
    /// The URL.
    ///
    /// # Errors
    ///
    /// It is none, or a relative one, or has a zone (`http://[fe80::1%25eth0]/`), which a URL cannot
    /// hold: clients take such a text for the requests and the base URL that they are given.
    fn into_url(self) -> Result<Url>
    where
        Self: Sized,
    {
        let located = self.resolve(None)?;
        match located.zone {
            None => Ok(located.url),
            Some(_) => Err(Error::new(
                ErrorKind::Invalid,
                "a zone (%25eth0) belongs into the URL of a request, and not here",
            )),
        }
    }
}

/// A URL, and the zone of its address, if it has one.
#[derive(Clone, Debug)]
pub struct Located {
    /// Without the zone.
    pub url: Url,
    /// The zone.
    pub zone: Option<Zone>,
}

impl Located {
    fn of(url: Url) -> Located {
        Located { url, zone: None }
    }
}

mod sealed {
    use crate::client::request::into_url::Located;
    use crate::error::Result;

    pub trait Resolve {
        /// The URL; a relative one as seen from `base`.
        fn resolve(self, base: Option<&Located>) -> Result<Located>;
    }
}

/// The URL; a relative one as seen from `base`.
pub(in crate::client) fn resolve(url: impl IntoUrl, base: Option<&Located>) -> Result<Located> {
    url.resolve(base)
}

impl<T: sealed::Resolve> IntoUrl for T {}

impl sealed::Resolve for Url {
    fn resolve(self, _: Option<&Located>) -> Result<Located> {
        Ok(Located::of(self))
    }
}

impl sealed::Resolve for &Url {
    fn resolve(self, _: Option<&Located>) -> Result<Located> {
        Ok(Located::of(self.clone()))
    }
}

impl sealed::Resolve for &str {
    fn resolve(self, base: Option<&Located>) -> Result<Located> {
        // The text is not repeated: it may hold a password.
        let taken = zone::take(self).map_err(|rule| {
            Error::new(
                ErrorKind::Invalid,
                format!("the URL cannot be read: {rule}"),
            )
        })?;
        let (text, zone) = match &taken {
            Some((text, zone)) => (text.as_str(), Some(zone)),
            None => (self, None),
        };
        let base_url = base.map(|base| &base.url);
        let parsed = Url::options().base_url(base_url).parse(text);
        let url = parsed.map_err(|error| {
            let text = match error {
                ParseError::RelativeUrlWithoutBase => {
                    "the URL is relative: give a whole one, as in http://host/path, \
                     or the client a ClientBuilder::base_url"
                }
                _ => "the URL cannot be read; a whole one is expected, as in http://host/path",
            };
            Error::new(ErrorKind::Invalid, text).because(error)
        })?;
        // What lies on the host of the base lies on its link.
        let of_base = base.filter(|base| base.url.host() == url.host());
        let zone = zone.or(of_base.and_then(|base| base.zone.as_ref()));
        Ok(Located {
            zone: zone.cloned(),
            url,
        })
    }
}

impl sealed::Resolve for String {
    fn resolve(self, base: Option<&Located>) -> Result<Located> {
        self.as_str().resolve(base)
    }
}

impl sealed::Resolve for &String {
    fn resolve(self, base: Option<&Located>) -> Result<Located> {
        self.as_str().resolve(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_ones_need_a_base() {
        let base = resolve("http://a.example/api/v1/", None).unwrap();
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
            let found = found.as_ref().map(|found| found.url.as_str());
            assert_eq!(found, joined, "{text}");
        }
        let url = Url::parse("http://b.example/").unwrap();
        assert_eq!(resolve(&url, Some(&base)).unwrap().url, url);
        for text in ["users", "/users", "", "?a"] {
            let error = text.into_url().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.text().contains("base_url"), "{error}");
        }
        for text in [
            "http://user:secret@[fe80::1%25eth0]/",
            "http://user:secret@[fe80::1%]/",
        ] {
            let error = text.into_url().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let error = "http://user:secret@[x".into_url().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn zones_stand_beside_the_url() {
        let base = resolve("http://[fe80::1%25eth0]:81/api/", None).unwrap();
        for (text, expected) in [
            ("a", Some("eth0")),
            ("//[fe80::1]/", Some("eth0")),
            ("//[fe80::1%252]/", Some("2")),
            ("http://[fe80::2]/", None),
            ("http://a.example/", None),
        ] {
            let found = resolve(text, Some(&base)).unwrap();
            assert_eq!(found.zone.as_ref().map(Zone::as_str), expected, "{text}");
            assert!(!found.url.as_str().contains('%'), "{text}");
        }
    }
}
