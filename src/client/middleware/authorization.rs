//! `Authorization` for the requests to one origin, from a source that may have to ask for it.
//!
//! ```text
//!   request to the origin? ── no, or it has one ──► as it is
//!        │ yes
//!        ▼
//!   value known? ── no ──► source().await, once for all who wait ──┐
//!        │ yes                                                     │
//!        ▼                                                         ▼
//!   next ──► 401? ── yes: another value, and once more ───────────► …
//! ```
//! Redirects are followed above middleware, and may lead anywhere: the value goes to its origin
//! alone.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use ::http::StatusCode;
use url::Origin;

use crate::client::IntoUrl;
use crate::client::round_trip::Next;
use crate::client::round_trip::RoundTrip;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::authentication;
use crate::http::headers::Headers;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::runtime::Gate;

/// Middleware that gives requests to the origin of `url` (scheme, host and port; its path does not
/// matter) the `Authorization` that `source` returns: `"Bearer …"`. Requests that have one of their
/// own keep it.
///
/// The value is kept, per core, until a response is 401; then `source` is asked again, and if it
/// returns another value, a request that can be sent a second time is. Of many requests that wait
/// for a value, one asks; `source` should have a time-out of its own, since they wait as long as it.
///
/// ```
/// use roundtrip::Client;
/// use roundtrip::client::middleware;
///
/// let login = Client::new();
/// let source = async move || {
///     let response = login.post("https://login.example/token").send().await?;
///     let token = response.error_for_status()?.text().await?;
///     Ok(format!("Bearer {token}"))
/// };
/// let client = Client::builder()
///     .middleware(middleware::authorization("https://api.example", source)?)
///     .build();
/// # let _ = client;
/// # Ok::<(), roundtrip::Error>(())
/// ```
///
/// # Errors
///
/// `url` is none with a host.
pub fn authorization<F>(
    url: impl IntoUrl,
    source: F,
) -> Result<impl Fn(Next) -> Authorization + Clone + Send + Sync + 'static>
where
    F: AsyncFn() -> Result<String> + Send + Sync + 'static,
{
    let source: Arc<dyn Source + Send + Sync> = Arc::new(source);
    let origin = origin(url)?;
    Ok(move |next| Authorization {
        next,
        origin: origin.clone(),
        source: Some(Arc::clone(&source)),
        value: RefCell::default(),
        gate: Gate::default(),
    })
}

/// As [`authorization`], with a token that stays the same (RFC 6750).
///
/// # Errors
///
/// Those of [`authorization`], and a token that no field can hold.
pub fn bearer(
    url: impl IntoUrl,
    token: &str,
) -> Result<impl Fn(Next) -> Authorization + Clone + Send + Sync + 'static> {
    fixed(url, format!("Bearer {token}"))
}

/// As [`authorization`], with a name and a password (RFC 7617).
///
/// # Errors
///
/// Those of [`authorization`].
pub fn basic(
    url: impl IntoUrl,
    user: &str,
    password: &str,
) -> Result<impl Fn(Next) -> Authorization + Clone + Send + Sync + 'static> {
    let value = authentication::basic(user.as_bytes(), password.as_bytes());
    fixed(url, value)
}

fn fixed(
    url: impl IntoUrl,
    value: String,
) -> Result<impl Fn(Next) -> Authorization + Clone + Send + Sync + 'static> {
    Headers::new().append("Authorization", &value)?;
    let origin = origin(url)?;
    Ok(move |next| Authorization {
        next,
        origin: origin.clone(),
        source: None,
        value: RefCell::new(Some(value.as_str().into())),
        gate: Gate::default(),
    })
}

fn origin(url: impl IntoUrl) -> Result<Origin> {
    let origin = url.into_url()?.origin();
    if !origin.is_tuple() {
        let text = "credentials are for an origin, as in https://api.example";
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    Ok(origin)
}

/// What [`authorization`], [`bearer`] and [`basic`] make.
pub struct Authorization {
    next: Next,
    origin: Origin,
    /// `None` for a value that stays the same.
    source: Option<Arc<dyn Source + Send + Sync>>,
    value: RefCell<Option<Rc<str>>>,
    /// One request asks the source, others wait for it.
    gate: Gate,
}

/// An asynchronous closure, in a form that a pointer can have.
trait Source {
    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<String>> + '_>>;
}

impl<F: AsyncFn() -> Result<String>> Source for F {
    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<String>> + '_>> {
        Box::pin(self())
    }
}

impl RoundTrip for Authorization {
    async fn round_trip(&self, mut request: Request) -> Result<Response> {
        let is_ours = request.url().is_some_and(|url| url.origin() == self.origin);
        if !is_ours || request.headers().contains("authorization") {
            return self.next.run(request).await;
        }
        let value = self.value(None).await?;
        let again = match self.source {
            Some(_) if request.body().is_replayable() => request.try_clone(),
            _ => None,
        };
        request.headers_mut().insert("Authorization", &*value)?;
        let response = self.next.run(request).await?;
        let Some(mut again) = again.filter(|_| response.status_code() == UNAUTHORIZED) else {
            return Ok(response);
        };
        let other = self.value(Some(&value)).await?;
        if other == value {
            return Ok(response);
        }
        // What is left of its body is read and dropped, so that its connection can serve again.
        drop(response);
        again.headers_mut().insert("Authorization", &*other)?;
        self.next.run(again).await
    }
}

const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

impl Authorization {
    /// The value that is known, unless it is the one that was refused; else what the source says.
    async fn value(&self, refused: Option<&Rc<str>>) -> Result<Rc<str>> {
        if let Some(known) = self.known(refused) {
            return Ok(known);
        }
        let _inside = self.gate.enter().await;
        if let Some(known) = self.known(refused) {
            return Ok(known);
        }
        let source = self.source.as_ref().expect("a fixed value is known");
        let value: Rc<str> = source.ask().await?.into();
        Headers::new().append("Authorization", &*value)?;
        let replaced = self.value.replace(Some(Rc::clone(&value)));
        drop(replaced);
        Ok(value)
    }

    fn known(&self, refused: Option<&Rc<str>>) -> Option<Rc<str>> {
        let value = self.value.borrow();
        value
            .as_ref()
            .filter(|value| Some(*value) != refused)
            .cloned()
    }
}

impl fmt::Debug for Authorization {
    /// Without the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization")
            .field("origin", &self.origin.ascii_serialization())
            .finish_non_exhaustive()
    }
}
