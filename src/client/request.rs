//! A request of a client, as it is put together.
//!
//! ```text
//!   client.post(url) ── query ── header ── body, form, json ── timeout ──► send()
//!            └─ with the client's base URL                            └──► build() ──► Request
//! ```

mod content;
pub(super) mod held;
pub(super) mod into_url;

use std::time::Duration;

use ::http::Method;
use ::http::StatusCode;

use crate::client::RequestOptions;
use crate::client::local::Caller;
use crate::client::observe::Event;
use crate::client::observe::Observer;
use crate::client::observe::OnInformational;
use crate::client::proxy::Proxies;
use crate::client::proxy::Proxy;
use crate::client::request::held::Builds;
use crate::client::request::held::Draft;
use crate::client::request::into_url::Located;
use crate::client::route::Via;
use crate::error::Error;
use crate::error::Result;
use crate::http::authentication;
use crate::http::headers::Headers;
use crate::http::query::Pair;
use crate::http::request::Request;
use crate::http::response::Response;

/// A request that is put together. What is wrong with its parts shows when it is sent. `C` is the
/// client that sends it, and how: [`Client`](crate::client::Client) returns a future, and so does
/// [`spawned::Client`](crate::client::spawned::Client), of which the builder is `Send` as well;
/// [`blocking::Client`](crate::blocking::Client) the response.
#[derive(Debug)]
#[must_use = "a request is sent with send()"]
pub struct RequestBuilder<C: Builds = Caller> {
    client: C,
    request: Result<C::Draft>,
    options: RequestOptions,
}

impl RequestBuilder {
    /// Sends it; returns with the head of the response. See [`Client::send`](crate::client::Client::send).
    ///
    /// # Errors
    ///
    /// Those of [`RequestBuilder::build`] and of [`Client::send`](crate::client::Client::send).
    pub async fn send(self) -> Result<Response> {
        self.client.execute(self.request?, self.options).await
    }
}

impl<C: Builds> RequestBuilder<C> {
    pub(super) fn new(client: C, method: Method, located: Result<Located>) -> Self {
        let mut options = RequestOptions::default();
        let request = located.map(|Located { url, zone }| {
            if let Some(zone) = zone {
                options.set_via(Via::Link(zone));
            }
            C::Draft::of(Request::new(method, url))
        });
        RequestBuilder {
            client,
            request,
            options,
        }
    }

    /// The client, and what it has to send.
    pub(super) fn into_parts(self) -> Result<(C, C::Draft, RequestOptions)> {
        Ok((self.client, self.request?, self.options))
    }

    /// With these names and values behind those that the URL's query has: pairs of anything that can
    /// be displayed, coded as forms are (WHATWG URL §5).
    ///
    /// ```
    /// use roundtrip::Client;
    ///
    /// let request = Client::new()
    ///     .get("http://a.example/search?lang=en")
    ///     .query([("q", "io uring"), ("sort", "-date")])
    ///     .query([("page", 2)])
    ///     .build()?;
    /// assert_eq!(request.query(), Some("lang=en&q=io+uring&sort=-date&page=2"));
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    pub fn query<P: Pair>(self, pairs: impl IntoIterator<Item = P>) -> Self {
        self.change(|request| {
            request.add_query(pairs);
            Ok::<(), Error>(())
        })
    }

    /// With one more header field; a further `Content-Type` takes the place of the one before, since
    /// a request has one. `Content-Length`, `Transfer-Encoding` and their like follow from the body
    /// and are not sent from here; `Connection: close` ends the connection.
    pub fn header(self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.change(|request| {
            let headers = request.headers_mut();
            if name.as_ref().eq_ignore_ascii_case("content-type") {
                return headers.insert(name, value);
            }
            headers.append(name, value)
        })
    }

    /// With these header fields, instead of those of the same names: [`Headers`], a `HeaderMap` of
    /// the `http` crate, both by reference, or pairs.
    ///
    /// ```
    /// use roundtrip::Client;
    /// use roundtrip::Headers;
    ///
    /// let usual = Headers::from_pairs([("Accept", "text/html"), ("Accept-Language", "en")])?;
    /// let request = Client::new()
    ///     .get("http://a.example/")
    ///     .headers(&usual)
    ///     .headers([("Accept", "*/*")])
    ///     .build()?;
    /// assert_eq!(request.header("accept"), Some("*/*"));
    /// assert_eq!(request.headers().len(), 2);
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    pub fn headers<N, V>(self, fields: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: AsRef<[u8]>,
    {
        self.change(|request| {
            let fields = Headers::from_pairs(fields)?;
            let headers = request.headers_mut();
            for (name, _) in &fields {
                headers.remove(name);
            }
            headers.extend(&fields)
        })
    }

    /// With one more field behind the body, which is then sent in chunks; see
    /// [`Request::add_trailer`].
    pub fn trailer(self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.change(|request| request.add_trailer(name, value))
    }

    /// With this body: bytes, text, a file range, a stream. A length that is known is announced,
    /// anything else is sent in chunks.
    pub fn body(mut self, body: impl Into<C::Body>) -> Self {
        if let Ok(request) = &mut self.request {
            request.set_body(body.into());
        }
        self
    }

    /// The time for everything: connecting, redirects, and the body to its last byte.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// The time from the end of the request to the end of the response head; the client's without
    /// this.
    pub fn response_head_timeout(self, timeout: Duration) -> Self {
        self.with_options(|options| options.response_head_timeout(timeout))
    }

    /// The time between two signs of progress of the response body; the client's without this.
    pub fn body_timeout(self, timeout: Duration) -> Self {
        self.with_options(|options| options.body_timeout(timeout))
    }

    /// The body waits until the server asks for it (`Expect: 100-continue`, RFC 9110 §10.1.1), or for
    /// the client's `continue_timeout`; it is not sent where the server refuses and closes.
    pub fn expect_continue(self) -> Self {
        self.change(|request| request.headers_mut().insert("Expect", "100-continue"))
    }

    /// Calls `hook` for each informational response (1xx but for 101) before the final one. Its error
    /// ends the request.
    pub fn on_informational(
        self,
        hook: impl Fn(StatusCode, &Headers) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.with_options(|options| options.on_informational(OnInformational::new(hook)))
    }

    /// Redirects that are followed for this request; the client's without this. 0 returns them as they
    /// come.
    pub fn redirects_max(self, count: usize) -> Self {
        self.with_options(|options| options.redirects_max(count))
    }

    /// The time for this request to get its connection, one of others in the pool or a new one. A dial
    /// is its host's, and bounded by the client's `connect_timeout` beside this.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.with_options(|options| options.connect_timeout(timeout))
    }

    /// Calls `observe` for what happens to this request; see [`observe`](crate::client::observe).
    pub fn observer(self, observe: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.with_options(|options| options.observer(Observer::new(observe)))
    }

    /// The request target, where it is not the URL's path and query: `host:port` for CONNECT, `*`
    /// for OPTIONS (RFC 9112 §3.2). The URL still says where to connect.
    pub fn target(self, target: &str) -> Self {
        self.change(|request| request.set_target(target))
    }

    /// With a name and password (RFC 7617); text is sent in UTF-8. Those of the URL are sent without
    /// this.
    pub fn basic_auth(self, user: impl AsRef<[u8]>, password: impl AsRef<[u8]>) -> Self {
        self.change(|request| {
            let value = authentication::basic(user.as_ref(), password.as_ref());
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

    /// A second request of the same parts; `None` where the body cannot be sent a second time, and
    /// for one that has an error.
    pub fn try_clone(&self) -> Option<Self>
    where
        C: Clone,
    {
        let request = self.request.as_ref().ok()?.try_clone()?;
        Some(RequestBuilder {
            client: self.client.clone(),
            request: Ok(request),
            options: self.options.clone(),
        })
    }

    /// By this proxy instead of those of the client; where it is none for the URL, straight. Holds
    /// for all redirects.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.options = self.options.proxies(proxy.into());
        self
    }

    /// By no proxy, whatever the client has.
    pub fn no_proxy(mut self) -> Self {
        self.options = self.options.proxies(Proxies::none());
        self
    }

    /// The request, to be sent later or by another [`RoundTrip`](crate::client::RoundTrip).
    ///
    /// # Errors
    ///
    /// The URL or a header field is invalid.
    pub fn build(self) -> Result<Request> {
        let mut request = self.request?.into_request();
        if !self.options.is_default() {
            self.options.put_into(&mut request);
        }
        Ok(request)
    }

    /// Changes the request; the first error is kept.
    pub(super) fn change<E: Into<Error>>(
        mut self,
        change: impl FnOnce(&mut Request) -> Result<(), E>,
    ) -> Self {
        if let Ok(request) = &mut self.request
            && let Err(error) = request.change(change)
        {
            self.request = Err(error);
        }
        self
    }

    pub(super) fn with_options(
        mut self,
        change: impl FnOnce(RequestOptions) -> RequestOptions,
    ) -> Self {
        self.options = change(self.options);
        self
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderMap;

    use super::*;
    use crate::client::Client;
    use crate::error::ErrorKind;
    use crate::http::body::Body;

    fn post() -> RequestBuilder {
        Client::new().post("http://a.example/")
    }

    fn values<'a>(request: &'a Request, name: &'a str) -> Vec<&'a [u8]> {
        request.headers().get_all(name).collect()
    }

    #[test]
    fn a_request_has_one_type() {
        let request = post()
            .form([("a", "b")])
            .header("content-type", "c/d")
            .header("Content-Type", "e/f");
        let request = request.build().unwrap();
        assert_eq!(values(&request, "content-type"), [b"e/f"]);
        let request = post().header("Content-Type", "c/d").form([("a", "b")]);
        let request = request.build().unwrap();
        assert_eq!(values(&request, "content-type"), [b"c/d"]);
        assert_eq!(request.body().as_bytes(), Some(&b"a=b"[..]));
        let form = values(&post().form([(1, 2)]).build().unwrap(), "content-type").len();
        assert_eq!(form, 1);
    }

    #[test]
    fn fields_replace_those_of_their_names() {
        let mut map = HeaderMap::new();
        map.append("x-a", "1".parse().unwrap());
        map.append("x-a", "2".parse().unwrap());
        let request = post().header("X-A", "0").header("X-B", "0").headers(&map);
        let request = request.build().unwrap();
        assert_eq!(values(&request, "x-a"), [b"1", b"2"]);
        assert_eq!(values(&request, "x-b"), [b"0"]);
        let error = post().headers([("a", "b\n")]).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn the_first_error_is_kept() {
        let request = Client::new().get("/relative").header("a b", "c");
        let error = request.query([("a", "b")]).build().unwrap_err();
        assert!(error.text().contains("base_url"), "{error}");
        let broken = post().header("a b", "c");
        assert!(broken.try_clone().is_none());
        assert!(broken.header("d", "\n").build().is_err());
    }

    #[test]
    fn clones_are_requests_of_their_own() {
        let timeout = Duration::from_secs(7);
        let request = post().body("text").timeout(timeout).bearer_auth("t");
        let clone = request.try_clone().unwrap().query([("a", 1)]);
        assert_eq!(clone.options.timeout, Some(timeout));
        let (request, clone) = (request.build().unwrap(), clone.build().unwrap());
        assert_eq!((request.query(), clone.query()), (None, Some("a=1")));
        assert_eq!(clone.header("authorization"), Some("Bearer t"));
        assert_eq!(clone.body().as_bytes(), Some(&b"text"[..]));
        let streamed = post().body(Body::produce(async |_| Ok(())));
        assert!(streamed.try_clone().is_none());
    }

    #[cfg(feature = "json")]
    #[test]
    fn values_as_json() {
        let request = post().json(&[1, 2]).build().unwrap();
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.body().as_bytes(), Some(&b"[1,2]"[..]));
        let own = post().header("Content-Type", "application/geo+json");
        let own = own.json("text").build().unwrap();
        assert_eq!(values(&own, "content-type"), [b"application/geo+json"]);
        let no_keys = std::collections::BTreeMap::from([((1, 2), 3)]);
        let error = post().json(&no_keys).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
