//! A request of a client, as it is put together.
//!
//! ```text
//!   client.post(url).header(name, value).body(body).timeout(time).send().await
//! ```

use std::time::Duration;

use ::http::Method;
use url::Url;

use crate::client::Client;
use crate::client::RequestOptions;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::authentication;
use crate::http::body::Body;
use crate::http::headers::InvalidHeader;
use crate::http::request::Request;
use crate::http::response::Response;

/// What can be a URL: a [`Url`], or text that is one.
pub trait IntoUrl: sealed::Sealed {
    /// The URL.
    ///
    /// # Errors
    ///
    /// It is none.
    fn into_url(self) -> Result<Url>;
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for url::Url {}
    impl Sealed for &url::Url {}
    impl Sealed for &str {}
    impl Sealed for String {}
    impl Sealed for &String {}
}

impl IntoUrl for Url {
    fn into_url(self) -> Result<Url> {
        Ok(self)
    }
}

impl IntoUrl for &Url {
    fn into_url(self) -> Result<Url> {
        Ok(self.clone())
    }
}

impl IntoUrl for &str {
    fn into_url(self) -> Result<Url> {
        // The text is not repeated: it may hold a password.
        Url::parse(self).map_err(|error| {
            Error::new(
                ErrorKind::Invalid,
                "the URL cannot be read; a whole one is expected, as in http://host/path",
            )
            .because(error)
        })
    }
}

impl IntoUrl for String {
    fn into_url(self) -> Result<Url> {
        self.as_str().into_url()
    }
}

impl IntoUrl for &String {
    fn into_url(self) -> Result<Url> {
        self.as_str().into_url()
    }
}

/// A request that is put together. What is wrong with its parts shows when it is sent. `C` is the
/// client that sends it, and how: [`Client`] returns a future,
/// [`blocking::Client`](crate::blocking::Client) the response.
#[derive(Debug)]
#[must_use = "a request is sent with send()"]
pub struct RequestBuilder<C = Client> {
    client: C,
    request: Result<Request>,
    options: RequestOptions,
}

impl RequestBuilder {
    /// Sends it; returns with the head of the response. See [`Client::send`].
    ///
    /// # Errors
    ///
    /// Those of [`RequestBuilder::build`] and of [`Client::send`].
    pub async fn send(self) -> Result<Response> {
        self.client.execute(self.request?, self.options).await
    }
}

impl<C> RequestBuilder<C> {
    pub(super) fn new(client: C, method: Method, url: impl IntoUrl) -> Self {
        RequestBuilder {
            options: RequestOptions::default(),
            client,
            request: url.into_url().map(|url| Request::new(method, url)),
        }
    }

    /// The client, and what it has to send.
    pub(super) fn into_parts(self) -> Result<(C, Request, RequestOptions)> {
        Ok((self.client, self.request?, self.options))
    }

    /// With one more header field. `Content-Length`, `Transfer-Encoding` and their like follow from
    /// the body and are not sent from here; `Connection: close` ends the connection.
    pub fn header(self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.change(|request| request.headers_mut().append(name, value))
    }

    /// With this body: bytes, text, a file range, a stream. A length that is known is announced,
    /// anything else is sent in chunks.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.change(|request| {
            request.set_body(body);
            Ok(())
        })
    }

    /// The time for everything: connecting, redirects, and the body to its last byte.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// With a name and password (RFC 7617). Those of the URL are sent without this.
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        self.change(|request| {
            let value = authentication::basic(user.as_bytes(), password.as_bytes());
            request.headers_mut().insert("Authorization", value)
        })
    }

    /// With a token (RFC 6750).
    pub fn bearer_auth(self, token: &str) -> Self {
        self.change(|request| {
            let value = format!("Bearer {token}");
            request.headers_mut().insert("Authorization", value)
        })
    }

    /// The request, to be sent later or by another [`RoundTrip`](crate::client::RoundTrip).
    ///
    /// # Errors
    ///
    /// The URL or a header field is invalid.
    pub fn build(self) -> Result<Request> {
        let mut request = self.request?;
        if !self.options.is_default() {
            self.options.put_into(&mut request);
        }
        Ok(request)
    }

    fn change(mut self, change: impl FnOnce(&mut Request) -> Result<(), InvalidHeader>) -> Self {
        if let Ok(request) = &mut self.request
            && let Err(invalid) = change(request)
        {
            self.request = Err(invalid.into());
        }
        self
    }
}
