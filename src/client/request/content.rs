//! Bodies that say what they are.
//!
//! ```text
//!   form([("a", 1)]) ──► a=1          application/x-www-form-urlencoded
//!   json(&value) ──────► {"a":1}      application/json
//! ```

#[cfg(feature = "json")]
use serde::Serialize;

use crate::client::request::RequestBuilder;
use crate::error::Error;
use crate::http::body::Body;
use crate::http::headers::InvalidHeader;
#[cfg(feature = "json")]
use crate::http::json;
use crate::http::query;
use crate::http::query::Pair;
use crate::http::request::Request;

impl<C> RequestBuilder<C> {
    /// With these names and values as its body: pairs of anything that can be displayed, as
    /// `application/x-www-form-urlencoded`, unless the request has a `Content-Type`.
    ///
    /// ```
    /// use roundtrip::Client;
    ///
    /// let request = Client::new()
    ///     .post("http://a.example/")
    ///     .form([("name", "Ada"), ("born", "10 December 1815")])
    ///     .build()?;
    /// assert_eq!(request.body().as_bytes(), Some(&b"name=Ada&born=10+December+1815"[..]));
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    pub fn form<P: Pair>(self, pairs: impl IntoIterator<Item = P>) -> Self {
        self.change(|request| {
            let form = query::encode(pairs);
            set_content(request, "application/x-www-form-urlencoded", form)
        })
    }

    /// With this value as its body, as `application/json` unless the request has a `Content-Type`.
    /// What cannot be written as JSON shows when the request is sent.
    ///
    /// ```
    /// use roundtrip::Client;
    ///
    /// let request = Client::new()
    ///     .post("http://a.example/")
    ///     .json(&["a", "b"])
    ///     .build()?;
    /// assert_eq!(request.body().as_bytes(), Some(&br#"["a","b"]"#[..]));
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    #[cfg(feature = "json")]
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        self.change(|request| {
            let body = json::to_bytes(value)?;
            set_content(request, "application/json", body).map_err(Error::from)
        })
    }
}

/// Sets the body, and its type where none is set.
fn set_content(
    request: &mut Request,
    content_type: &str,
    body: impl Into<Body>,
) -> Result<(), InvalidHeader> {
    request.set_body(body);
    let headers = request.headers_mut();
    if headers.contains("content-type") {
        return Ok(());
    }
    headers.append("Content-Type", content_type)
}
