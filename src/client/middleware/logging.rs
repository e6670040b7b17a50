//! One line per exchange.
//!
//! ```text
//!   GET http://a.example/path?… 200 in 4.2ms
//!   GET http://a.example/path?… failed after 10.0s: no connection within 10s (connect_timeout)
//!   GET http://a.example/path?… given up after 1.2s
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::Method;
use ::http::StatusCode;
use url::Url;

use crate::client::round_trip::Next;
use crate::client::round_trip::RoundTrip;
use crate::error::Error;
use crate::error::Result;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::limits::LOG_URL_BYTES_MAX;
use crate::runtime::Core;
use crate::runtime::Instant;

/// Middleware that tells `sink` of each exchange when its head has come, or it failed, or its
/// future was dropped. An entry is a line ([`Display`](fmt::Display)), and has the parts of it.
/// Neither holds credentials: of the URL, user, password, query and fragment are left out.
///
/// Outside of [`retry`](super::retry()) it tells of requests, inside of it of attempts.
///
/// ```
/// use roundtrip::Client;
/// use roundtrip::client::middleware;
///
/// let client = Client::builder()
///     .middleware(middleware::logging(|entry| eprintln!("{entry}")))
///     .build();
/// # let _ = client;
/// ```
pub fn logging<S>(sink: S) -> impl Fn(Next) -> Logging<S> + Clone + Send + Sync + 'static
where
    S: Fn(&LogEntry<'_>) + Send + Sync + 'static,
{
    let sink = Arc::new(sink);
    move |next| Logging {
        next,
        sink: Arc::clone(&sink),
    }
}

/// What [`logging`] makes.
#[derive(Debug)]
pub struct Logging<S> {
    next: Next,
    sink: Arc<S>,
}

/// One exchange.
#[derive(Clone, Copy, Debug)]
pub struct LogEntry<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// Scheme, host, port and path, and `?…` in place of a query; up to 2 KiB of it.
    pub url: &'a str,
    /// How it ended.
    pub outcome: Outcome<'a>,
    /// From the request to the head of the response, or to the error.
    pub elapsed: Duration,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// With a response.
    Response(StatusCode),
    /// With an error.
    Failed(&'a Error),
    /// Its future was dropped, as by a time-out.
    GivenUp,
}

impl fmt::Display for LogEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogEntry {
            method,
            url,
            outcome,
            elapsed,
        } = self;
        match outcome {
            Outcome::Response(status) => {
                write!(f, "{method} {url} {} in {elapsed:.1?}", status.as_u16())
            }
            // Without the URL, which the error may have too, and without its causes.
            Outcome::Failed(error) => {
                let text = error.text().replace(char::is_control, " ");
                write!(f, "{method} {url} failed after {elapsed:.1?}: {text}")
            }
            Outcome::GivenUp => write!(f, "{method} {url} given up after {elapsed:.1?}"),
        }
    }
}

impl<S: Fn(&LogEntry<'_>)> RoundTrip for Logging<S> {
    async fn round_trip(&self, request: Request) -> Result<Response> {
        let mut pending = Pending {
            sink: &*self.sink,
            method: request.method().clone(),
            url: request.url().map_or_else(|| request.path().into(), shown),
            since: now(),
            is_told: false,
        };
        let result = self.next.run(request).await;
        pending.tell(match &result {
            Ok(response) => Outcome::Response(response.status_code()),
            Err(error) => Outcome::Failed(error),
        });
        result
    }
}

/// An exchange that has not ended; its drop is an end too.
struct Pending<'a, S: Fn(&LogEntry<'_>)> {
    sink: &'a S,
    method: Method,
    url: String,
    since: Instant,
    is_told: bool,
}

impl<S: Fn(&LogEntry<'_>)> Pending<'_, S> {
    fn tell(&mut self, outcome: Outcome<'_>) {
        self.is_told = true;
        (self.sink)(&LogEntry {
            method: &self.method,
            url: &self.url,
            outcome,
            elapsed: now() - self.since,
        });
    }
}

impl<S: Fn(&LogEntry<'_>)> Drop for Pending<'_, S> {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(Outcome::GivenUp);
        }
    }
}

/// The core's clock; at the end of a core, which drops futures, there is none.
fn now() -> Instant {
    Core::current().map_or(Instant::default(), |core| core.now())
}

/// What of a URL may be seen by everybody.
fn shown(url: &Url) -> String {
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let mut shown = format!("{}://{authority}{}", url.scheme(), url.path());
    if shown.len() > LOG_URL_BYTES_MAX {
        // A URL is ASCII.
        shown.truncate(LOG_URL_BYTES_MAX);
        shown.push('…');
    }
    if url.query().is_some() {
        shown.push_str("?…");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn nothing_secret_is_shown() {
        for (url, expected) in [
            ("http://a.example/", "http://a.example/"),
            (
                "https://me:secret@a.example:8443/p/q?token=secret#secret",
                "https://a.example:8443/p/q?…",
            ),
            ("http://[::1]:80/", "http://[::1]/"),
            ("http://secret@b/?", "http://b/?…"),
        ] {
            assert_eq!(shown(&Url::parse(url).unwrap()), expected);
        }
        let long = format!("http://a/{}?x", "p".repeat(LOG_URL_BYTES_MAX));
        let shown = shown(&Url::parse(&long).unwrap());
        assert!(shown.ends_with("ppp…?…") && shown.len() < LOG_URL_BYTES_MAX + 10);
    }

    #[test]
    fn an_entry_is_one_line() {
        let error = Error::new(ErrorKind::Handler, "two\nlines").for_url("http://me:x@a/");
        let mut entry = LogEntry {
            method: &Method::GET,
            url: "http://a/?…",
            outcome: Outcome::Failed(&error),
            elapsed: Duration::from_micros(1_260),
        };
        let line = entry.to_string();
        assert_eq!(line, "GET http://a/?… failed after 1.3ms: two lines");
        entry.outcome = Outcome::Response(StatusCode::NOT_FOUND);
        assert_eq!(entry.to_string(), "GET http://a/?… 404 in 1.3ms");
        entry.outcome = Outcome::GivenUp;
        assert_eq!(entry.to_string(), "GET http://a/?… given up after 1.3ms");
    }
}
