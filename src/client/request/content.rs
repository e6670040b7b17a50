//! Bodies that say what they are.
//!
//! ```text
//!   form([("a", 1)]) ──► a=1          application/x-www-form-urlencoded
//!   json(&value) ──────► {"a":1}      application/json
//!   multipart(form) ───► --x … --x--  multipart/form-data; boundary=x
//! ```

use std::path::Path;

#[cfg(feature = "json")]
use serde::Serialize;

use crate::client::multipart::Form;
use crate::client::request::RequestBuilder;
use crate::client::request::held::Builds;
use crate::error::Error;
use crate::error::Result;
use crate::fs;
use crate::http::body::Body;
use crate::http::headers::InvalidHeader;
#[cfg(feature = "json")]
use crate::http::json;
use crate::http::query;
use crate::http::query::Pair;
use crate::http::request::Request;
use crate::runtime::random_number;

impl<C: Builds> RequestBuilder<C> {
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

    /// With this form, which may have files, as its body, and `multipart/form-data` as its type. What
    /// no part can hold shows when the request is sent.
    pub fn multipart(self, form: Form) -> Self {
        self.change(|request| {
            // 128 bits: a line that no content has by chance, nor by design of who wrote it.
            let boundary = format!("{:016x}{:016x}", random_number(), random_number());
            request.set_body(form.into_body(&boundary)?);
            let content_type = format!("multipart/form-data; boundary={boundary}");
            let headers = request.headers_mut();
            headers.insert("Content-Type", content_type)?;
            Ok::<(), Error>(())
        })
    }
}

impl Body {
    /// A whole file, of the length that it has now. It is read while it is sent. One whose length promises
    /// nothing, as those of `/proc` and `/sys`, is sent up to its end, and not a second time.
    ///
    /// ```no_run
    /// use roundtrip::Body;
    ///
    /// # async fn example(client: roundtrip::Client) -> roundtrip::Result<()> {
    /// let film = Body::open("film.mp4").await?;
    /// client.put("http://127.0.0.1:8080/film").body(film).send().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`fs::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Body> {
        let (file, metadata) = fs::open(path).await?;
        Ok(match fs::has_unknown_length(&file, metadata.len) {
            true => Body::stream(fs::chunks(file)),
            false => Body::file(file, 0..metadata.len),
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
