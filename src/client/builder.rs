//! Settings of a client.
//!
//! ```text
//!   ClientBuilder ── knobs, each with its default ──► Client
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::client::Client;
use crate::client::IntoUrl;
use crate::client::chain::Around;
use crate::client::decompress::Decompression;
#[cfg(feature = "cookies")]
use crate::client::jar::Jar;
use crate::client::middleware;
use crate::client::middleware::RetryPolicy;
use crate::client::observe::Event;
use crate::client::observe::Observer;
use crate::client::options::TransportOptions;
use crate::client::policy::RedirectAction;
use crate::client::policy::RedirectAttempt;
use crate::client::policy::RedirectPolicy;
use crate::client::policy::ReferrerPolicy;
use crate::client::proxy::Proxies;
use crate::client::proxy::Proxy;
use crate::client::request::into_url;
use crate::client::request::into_url::Located;
use crate::client::round_trip::Next;
use crate::client::round_trip::RoundTrip;
use crate::client::spawned;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::headers::Headers;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::response::reading::redacted;
use crate::limits::BODY_COLLECT_BYTES_MAX;
use crate::limits::REDIRECTS_MAX;

/// What a client was built with. Each core that uses it has a copy.
#[derive(Clone)]
pub(super) struct Config {
    /// Distinguishes the clients of this process; 0 before it is built.
    pub(super) id: u64,
    pub(super) transport: TransportOptions,
    pub(super) timeout: Option<Duration>,
    pub(super) redirects_max: usize,
    pub(super) redirect_policy: Option<RedirectPolicy>,
    pub(super) referrer_policy: ReferrerPolicy,
    pub(super) user_agent: Option<Box<str>>,
    pub(super) decompression: Decompression,
    pub(super) collect_bytes_max: usize,
    /// Added to requests that have not these fields.
    pub(super) default_headers: Headers,
    /// What relative URLs are seen from.
    pub(super) base_url: Option<Located>,
    #[cfg(feature = "cookies")]
    pub(super) jar: Option<Jar>,
    pub(super) around: Around,
}

impl fmt::Debug for Config {
    /// Without what may hold secrets: header fields, cookies, and the password of the base URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("transport", &self.transport)
            .field("timeout", &self.timeout)
            .field("redirects_max", &self.redirects_max)
            .field("user_agent", &self.user_agent)
            .field("decompression", &self.decompression)
            .field("collect_bytes_max", &self.collect_bytes_max)
            .field(
                "base_url",
                &self.base_url.as_ref().map(|base| redacted(&base.url)),
            )
            .field("around", &self.around)
            .finish_non_exhaustive()
    }
}

/// Settings of a client; all bounds hold per core. `C` is the client that is built:
/// [`Client::builder`] and [`blocking::Client::builder`](crate::blocking::Client::builder) have the
/// same settings.
#[derive(Clone)]
#[must_use = "a builder builds"]
pub struct ClientBuilder<C = Client> {
    client: PhantomData<fn() -> C>,
    pub(super) config: Config,
}

impl<C> fmt::Debug for ClientBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("config", &self.config)
            .finish()
    }
}

impl ClientBuilder {
    /// The defaults.
    pub fn new() -> ClientBuilder {
        ClientBuilder::with_defaults()
    }

    /// The client on a thread of its own; see [`spawned`].
    ///
    /// # Errors
    ///
    /// There is no thread to be had, or no ring; the text holds the remedy.
    pub fn spawned(self) -> Result<spawned::Client> {
        spawned::Client::start(self.build())
    }
}

impl<C> ClientBuilder<C> {
    pub(super) fn with_defaults() -> Self {
        ClientBuilder {
            client: PhantomData,
            config: Config {
                id: 0,
                transport: TransportOptions {
                    proxies: Proxies::from_environment(),
                    ..TransportOptions::default()
                },
                timeout: None,
                redirects_max: REDIRECTS_MAX,
                redirect_policy: None,
                referrer_policy: ReferrerPolicy::default(),
                user_agent: Some(concat!("roundtrip/", env!("CARGO_PKG_VERSION")).into()),
                decompression: Decompression::default(),
                collect_bytes_max: BODY_COLLECT_BYTES_MAX,
                default_headers: Headers::new(),
                base_url: None,
                #[cfg(feature = "cookies")]
                jar: None,
                around: Around::default(),
            },
        }
    }

    /// The client.
    pub fn build(mut self) -> C
    where
        C: From<Client>,
    {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        // Another client may have been built with another resolver.
        self.config.transport.dial.separate();
        self.config.id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Client::with_config(self.config).into()
    }

    /// The time for everything: connecting, redirects, and the body to its last byte. None by
    /// default; a request may set its own.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = Some(timeout);
        self
    }

    /// To look up a name and connect, over all of its addresses; 10 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.transport.connect_timeout = timeout;
        self
    }

    /// For a proxy to make a tunnel; 60 s by default.
    pub fn proxy_timeout(mut self, timeout: Duration) -> Self {
        self.config.transport.proxy_timeout = timeout;
        self
    }

    /// With one more proxy: the first that matches a URL serves it. Those of the environment, which
    /// a client has by default, are none of them any more.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.config.transport.proxies = self.config.transport.proxies.with(proxy);
        self
    }

    /// With these proxies alone.
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.config.transport.proxies = proxies;
        self
    }

    /// By no proxy, not even those of the environment.
    pub fn no_proxy(self) -> Self {
        self.proxies(Proxies::none())
    }

    /// Between two signs of progress of a request that is sent; 30 s by default.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.config.transport.write_timeout = timeout;
        self
    }

    /// From the end of the request to the end of the response head; 60 s by default.
    pub fn response_head_timeout(mut self, timeout: Duration) -> Self {
        self.config.transport.response_head_timeout = timeout;
        self
    }

    /// How long the body of a request with `Expect: 100-continue` waits for the server's word; 1 s by
    /// default. Then it is sent all the same (RFC 9110 §10.1.1); zero does not wait.
    pub fn continue_timeout(mut self, timeout: Duration) -> Self {
        self.config.transport.continue_timeout = timeout;
        self
    }

    /// Between two signs of progress of a response body that somebody reads; 30 s by default.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.config.transport.body_timeout = timeout;
        self
    }

    /// Bytes of a response head; 256 KiB by default, at most 16 MiB.
    pub fn response_head_bytes_max(mut self, bytes: usize) -> Self {
        self.config.transport.response_head_bytes_max = bytes;
        self
    }

    /// Fields of a response head, where each line of a folded one counts; 1,000 by default, at most
    /// 16,384.
    pub fn response_header_count_max(mut self, count: usize) -> Self {
        self.config.transport.response_header_count_max = count;
        self
    }

    /// Redirects that are followed; 9 by default, which is ten requests, as in net/http. One more is
    /// an error of kind `Limit`; 0 returns redirects as they come. A request may set its own.
    pub fn redirects_max(mut self, count: usize) -> Self {
        self.config.redirects_max = count;
        self
    }

    /// Calls `decide` for each redirect that could be followed, before it is. It runs between two
    /// steps of the core, and [`redirects_max`](Self::redirects_max) holds as well; where that is 0,
    /// nobody is asked.
    ///
    /// ```
    /// use roundtrip::Client;
    /// use roundtrip::client::RedirectAction;
    ///
    /// // Nothing leads away from where we wanted to go.
    /// let client = Client::builder()
    ///     .redirect_policy(|attempt| match attempt.leaves_origin() {
    ///         true => RedirectAction::Stop,
    ///         false => RedirectAction::Follow,
    ///     })
    ///     .build();
    /// # drop(client);
    /// ```
    pub fn redirect_policy(
        mut self,
        decide: impl Fn(&RedirectAttempt<'_>) -> RedirectAction + Send + Sync + 'static,
    ) -> Self {
        self.config.redirect_policy = Some(RedirectPolicy::new(decide));
        self
    }

    /// What redirects that are followed tell in `Referer`; by default the URL to the same origin, and
    /// to others the origin alone.
    pub fn referrer_policy(mut self, policy: ReferrerPolicy) -> Self {
        self.config.referrer_policy = policy;
        self
    }

    /// The `User-Agent` of requests that have none; an empty one sends none.
    ///
    /// # Errors
    ///
    /// It holds a control character.
    pub fn user_agent(mut self, agent: &str) -> Result<Self> {
        if Headers::new().append("User-Agent", agent).is_err() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the User-Agent holds a control character",
            ));
        }
        self.config.user_agent = (!agent.is_empty()).then(|| agent.into());
        Ok(self)
    }

    /// Puts middleware around the transport: `make` is called once per core, when the client is
    /// first used there, with what it stands around. What is registered first is outermost. See
    /// [`middleware`](crate::client::middleware) for what there is and what it sees.
    ///
    /// ```
    /// use roundtrip::Client;
    /// use roundtrip::Request;
    /// use roundtrip::Result;
    /// use roundtrip::Response;
    /// use roundtrip::client::Next;
    /// use roundtrip::client::RoundTrip;
    ///
    /// struct Numbered {
    ///     next: Next,
    ///     requests: std::cell::Cell<u64>,
    /// }
    ///
    /// impl RoundTrip for Numbered {
    ///     async fn round_trip(&self, mut request: Request) -> Result<Response> {
    ///         self.requests.set(self.requests.get() + 1);
    ///         request.headers_mut().append("X-Number", self.requests.get().to_string())?;
    ///         self.next.run(request).await
    ///     }
    /// }
    ///
    /// let client = Client::builder()
    ///     .middleware(|next| Numbered { next, requests: Default::default() })
    ///     .build();
    /// # let _ = client;
    /// ```
    pub fn middleware<R: RoundTrip + 'static>(
        mut self,
        make: impl Fn(Next) -> R + Send + Sync + 'static,
    ) -> Self {
        self.config.around.push(make);
        self
    }

    /// As [`middleware`](ClientBuilder::middleware), from an asynchronous closure that is given
    /// each request, and what it stands around.
    ///
    /// ```
    /// use roundtrip::Client;
    /// use roundtrip::Request;
    /// use roundtrip::client::Next;
    ///
    /// let client = Client::builder()
    ///     .wrap(async |request: Request, next: Next| {
    ///         let url = request.url().cloned();
    ///         let response = next.run(request).await?;
    ///         println!("{url:?}: {}", response.status_code());
    ///         Ok(response)
    ///     })
    ///     .build();
    /// # let _ = client;
    /// ```
    pub fn wrap<F>(self, around: F) -> Self
    where
        F: AsyncFn(Request, Next) -> Result<Response> + Send + Sync + 'static,
    {
        let around = Arc::new(around);
        self.middleware(move |next| {
            let around = Arc::clone(&around);
            async move |request: Request| around(request, next.clone()).await
        })
    }

    /// Sends requests again that may do better a moment later, by this policy: middleware, as
    /// [`middleware::retry`](crate::client::middleware::retry()).
    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.middleware(middleware::retry(policy))
    }

    /// Sends requests by something else than connections of its own: `make` is called once per
    /// core. Middleware stands around it; time-outs, pool and limits of connections do not count.
    /// For tests: [`Client::fake`].
    pub fn transport<R: RoundTrip + 'static>(
        mut self,
        make: impl Fn() -> R + Send + Sync + 'static,
    ) -> Self {
        self.config.around.set_base(make);
        self
    }

    /// Bytes of a body that [`Response::bytes`](crate::Response::bytes), `text` and `json` collect at
    /// most, decoded ones; 2 MiB by default. A longer one is an error of kind `Limit`, and not read to
    /// its end. One call may take another limit (`bytes_within`, `text_within`, `json_within`); what is
    /// read piece by piece has none.
    pub fn collect_bytes_max(mut self, bytes: usize) -> Self {
        self.config.collect_bytes_max = bytes;
        self
    }

    /// Whether codings are asked for and decoded: `gzip`, `br` and `zstd`, as far as these features
    /// of the crate are on. True by default. A request with an `Accept-Encoding` or a `Range` of its
    /// own, or a HEAD, gets what the server sends, as it came.
    ///
    /// Decoded bodies have no length that is known before their end; limits such as that of
    /// [`Response::text`](crate::Response::text) count decoded bytes. Nothing is decoded ahead of
    /// the reader, and one body takes up to 32 KiB (gzip), 8 MiB (zstd) or 16 MiB (br) while it is
    /// read, for the window of its coding.
    pub fn decompress(mut self, is_on: bool) -> Self {
        self.config.decompression.is_on = is_on;
        self
    }

    /// Bytes that one decoded body may have; more is an error of kind `Limit`. No bound by default:
    /// a body that is read as a stream takes no memory, one that is collected has a limit of its own.
    pub fn decompressed_bytes_max(mut self, bytes: u64) -> Self {
        self.config.decompression.limits.bytes_max = Some(bytes);
        self
    }

    /// How many times its received bytes a decoded body may become, beyond its first 16 MiB; 200 by
    /// default. More is a bomb, and an error of kind `Limit`.
    pub fn decompression_ratio_max(mut self, ratio: u32) -> Self {
        self.config.decompression.limits.ratio_max = ratio;
        self
    }

    /// Header fields of all requests that have none of these names: [`Headers`] or a `HeaderMap` of
    /// the `http` crate, by reference, or pairs; a second call adds to the first. They go wherever
    /// this client is sent to; of its redirects, credentials (`Authorization`, `Cookie` and their
    /// like) only to those of the same origin.
    ///
    /// ```
    /// use roundtrip::Client;
    ///
    /// let client = Client::builder()
    ///     .default_headers([("Accept", "application/json"), ("Accept-Language", "en")])?
    ///     .build();
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A name is no token, or a value holds a control character.
    pub fn default_headers<N, V>(mut self, fields: impl IntoIterator<Item = (N, V)>) -> Result<Self>
    where
        N: AsRef<str>,
        V: AsRef<[u8]>,
    {
        let fields = Headers::from_pairs(fields)?;
        self.config.default_headers.extend(&fields)?;
        Ok(self)
    }

    /// What relative URLs of requests are seen from, as links of a page are from its own URL (WHATWG
    /// URL §4.5): from `http://h/api/`, `users` is `http://h/api/users`, `/users` is
    /// `http://h/users`, `//other/` and `http://other/` are elsewhere. So what strangers give you is
    /// no relative URL: it goes into a [query](crate::client::RequestBuilder::query).
    ///
    /// ```
    /// use roundtrip::Client;
    ///
    /// let client = Client::builder().base_url("http://a.example/api/")?.build();
    /// let request = client.get("users?page=2").build()?;
    /// assert_eq!(request.url().unwrap().as_str(), "http://a.example/api/users?page=2");
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// It is no URL of `http` or `https`; its path does not end in `/`, so that the last part of it
    /// would be replaced; it has a query or fragment, which would be lost.
    pub fn base_url(mut self, url: impl IntoUrl) -> Result<Self> {
        let located = into_url::resolve(url, None)?;
        let url = &located.url;
        let is_http = matches!(url.scheme(), "http" | "https");
        let is_plain = url.query().is_none() && url.fragment().is_none();
        if !is_http || !is_plain || !url.path().ends_with('/') {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a base URL is one of http or https whose path ends in `/`, \
                 without query and fragment, as in http://host/api/",
            ));
        }
        self.config.base_url = Some(located);
        Ok(self)
    }

    /// Keeps cookies in this jar, and sends them where they belong, in redirects too: without a jar
    /// there are none. Others may have the same jar. A `Cookie` that a request has of its own is sent
    /// in front of them.
    ///
    /// ```
    /// use roundtrip::client::Client;
    /// use roundtrip::client::jar::Jar;
    ///
    /// let client = Client::builder().cookies(Jar::new()).build();
    /// # drop(client);
    /// ```
    #[cfg(feature = "cookies")]
    pub fn cookies(mut self, jar: Jar) -> Self {
        self.config.jar = Some(jar);
        self
    }

    /// Idle connections per host; 32 by default. More may rest for 100 ms, since of many requests
    /// side by side each takes the connection of another. 0 turns reuse off.
    pub fn idle_per_host_max(mut self, count: usize) -> Self {
        self.config.transport.pool.idle_per_host_max = count;
        self
    }

    /// Whether connections serve further requests; they do by default. Without, each request says
    /// `Connection: close`.
    pub fn keep_alive(mut self, keeps: bool) -> Self {
        self.config.transport.keep_alive = keeps;
        self
    }

    /// Requests that one connection serves; no bound by default. The last one says
    /// `Connection: close`.
    pub fn requests_per_connection_max(mut self, count: u64) -> Self {
        // With 0 no request could ever be sent.
        self.config.transport.requests_per_connection_max = Some(count.max(1));
        self
    }

    /// Calls `observe` for what happens to all requests and connections of the client; see
    /// [`observe`](crate::client::observe). It runs on the core that does the work, which waits for it.
    ///
    /// ```
    /// use roundtrip::Client;
    /// use roundtrip::client::observe::Event;
    ///
    /// let client = Client::builder().observer(|event| {
    ///     if let Event::Got { is_reused: false, waited, .. } = event {
    ///         eprintln!("a new connection took {waited:?}");
    ///     }
    /// });
    /// # let _ = client.build();
    /// ```
    pub fn observer(mut self, observe: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.config.transport.observer = Some(Observer::new(observe));
        self
    }

    /// Idle connections over all hosts; 256 by default. More may rest for 100 ms. Where the process has no
    /// descriptor left, the oldest of them make room for what needs one, also on other cores.
    pub fn idle_max(mut self, count: usize) -> Self {
        self.config.transport.pool.idle_max = count;
        self
    }

    /// How long a request waits for a connection of its host, where `per_host_max` are in use; 60 s
    /// by default.
    pub fn pool_timeout(mut self, timeout: Duration) -> Self {
        self.config.transport.pool_timeout = timeout;
        self
    }

    /// Requests that may wait for connections, over all hosts; 65,536 by default. One more is an error
    /// of kind `Limit`.
    pub fn waiting_max(mut self, count: usize) -> Self {
        self.config.transport.pool.waiting_max = count;
        self
    }

    /// Connections per host: dialling, busy and idle ones. Further requests wait in order. No
    /// bound by default.
    pub fn per_host_max(mut self, count: usize) -> Self {
        // With 0 no request could ever be sent.
        self.config.transport.pool.per_host_max = Some(count.max(1));
        self
    }

    /// How long a connection may rest; 90 s by default. Where its server says that it keeps one for
    /// less (`Keep-Alive: timeout=5`), it goes a second before that.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.config.transport.pool.idle_timeout = timeout;
        self
    }

    /// How old a connection may become, up to an eighth less; no bound by default. A busy one ends
    /// with its response.
    pub fn age_max(mut self, age: Duration) -> Self {
        self.config.transport.pool.age_max = Some(age);
        self
    }
}

impl Default for ClientBuilder {
    fn default() -> ClientBuilder {
        ClientBuilder::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_shows_at_once() {
        for (url, is_good) in [
            ("http://h", true),
            ("https://user:pw@h:1/a/b/", true),
            ("http://h/a", false),
            ("http://h/?", false),
            ("http://h/#", false),
            ("file:///a/", false),
            ("data:,/", false),
            ("/a/", false),
        ] {
            let built = Client::builder().base_url(url);
            assert_eq!(built.is_ok(), is_good, "{url}");
        }
        let error = Client::builder().base_url("http://h/a").unwrap_err();
        assert!(error.text().contains("ends in `/`"), "{error}");
        assert!(Client::builder().user_agent("a\nb").is_err());
        for (name, value) in [("", "a"), ("a b", "c"), ("a", "b\r\nc: d")] {
            let built = Client::builder().default_headers([(name, value)]);
            assert!(built.is_err(), "{name}");
        }
    }
}
