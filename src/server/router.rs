//! Which handler answers a request.
//!
//! ```text
//!   method · host · path ──► clean? ──► Routes ──► Endpoint, path parameters filled in
//!                              │          ├──────► 404, or 405 with Allow
//!                              └──────────┴──────► 307 to the path that was meant
//! ```
//!
//! All routers that are part of another become one table when they are added to it: a look-up is one
//! search, however deep they were nested.

mod scopes;
#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use ::http::Method;
use percent_encoding::percent_decode_str;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::clean;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::server::handler::Endpoint;
use crate::server::handler::Handler;
use crate::server::into_response::IntoResponse;
use crate::server::middleware::Layer;
use crate::server::middleware::Next;
use crate::server::middleware::Verdict;
use crate::server::options::RouteOptions;
use crate::server::pattern::Pattern;
use crate::server::router::scopes::Miss;
use crate::server::router::scopes::Scope;
use crate::server::routes::Answer;
use crate::server::routes::Match;
use crate::server::routes::Place;
use crate::server::routes::Routes;
use crate::server::routes::without_port;

/// Patterns and their handlers.
///
/// ```
/// use roundtrip::Request;
/// use roundtrip::Response;
/// use roundtrip::Router;
///
/// let users = Router::new()
///     .get("/{$}", |_: &Request| "all users")
///     .get("/{id}", |request: &Request| format!("user {}", request.param("id")))
///     .before(|request: &mut Request| match request.header("x-internal") {
///         Some(_) => None,
///         None => Some(Response::new().status(roundtrip::StatusCode::FORBIDDEN)),
///     });
///
/// let router = Router::new()
///     .get("/{$}", |_: &Request| "Hello, World!")
///     .nest("/users", users)
///     .not_found(|request: &Request| format!("nothing at {}", request.path()));
/// # let _ = router;
/// ```
///
/// # Patterns
///
/// A pattern is `[METHOD ][HOST]/PATH`. In the path, `{name}` stands for one segment, `{name...}`
/// for all that is left, `{$}` for the end. A pattern that ends with `/` answers everything beneath
/// it; `/{$}` only the root itself: a router with a handler at `/` answers no path with 404. GET
/// patterns answer HEAD too. A request to CONNECT has a host and no path, and is answered only by
/// patterns that name the method: `CONNECT /`, `CONNECT host/`.
///
/// Where several match, the most specific one answers, whatever the order of registration: the one
/// whose requests the others all answer too. A pattern with a host is asked before all without. When
/// two patterns have requests in common and neither is more specific, the second is refused.
///
/// | pattern | answers | not |
/// |---|---|---|
/// | `GET /users/{id}` | `/users/7`, `/users/a%2Fb` (`id` is `a/b`) | `/users/`, `/users/7/x` |
/// | `/static/{path...}` | `/static/`, `/static/a/b` | |
/// | `/docs/` | `/docs/`, `/docs/a/b`; `/docs` is sent to `/docs/` | |
/// | `/docs/{$}` | `/docs/`; `/docs` is sent there | `/docs/a` |
/// | `example.com/` | all of that host, at any port | other hosts |
///
/// A path that matches for other methods only is answered 405, with `Allow`. A path with `//`, `.` or
/// `..` is sent to what it means (307, with its query), and one that only lacks a slash at its end
/// too. Each segment is compared and handed out percent-decoded; `%2F` never separates.
///
/// # Registration
///
/// The methods that register a route panic when the pattern breaks a rule or conflicts with another
/// one: both are mistakes of the program. The text names both patterns, where they were registered,
/// and a request that both would answer. For patterns that come from elsewhere there are
/// [`Router::try_route`], [`Router::try_nest`] and [`Router::try_merge`].
///
/// # Routers in routers, and middleware
///
/// [`Router::nest`] puts a router under a prefix, [`Router::merge`] beside the routes of another.
/// Either way it keeps what it was given: its [middleware](crate::server::middleware), its limits, its
/// 404. That makes a group of routes: a router with them and what they have in common.
pub struct Router {
    routes: Routes<Route>,
    /// The first is this router's own.
    scopes: Vec<Scope>,
}

struct Route {
    /// As it was registered.
    handler: Endpoint,
    scope: usize,
    /// With all that stands around it.
    endpoint: Endpoint,
    /// With those of the routers around it.
    options: RouteOptions,
}

/// What a router makes of a request.
#[derive(Debug)]
pub enum Routed<'a> {
    /// Somebody answers; the request has its path parameters.
    Endpoint {
        /// The handler.
        endpoint: &'a Endpoint,
        /// What holds for its route.
        options: &'a RouteOptions,
    },
    /// Nobody: the response says so.
    Refused(Response),
}

impl Default for Router {
    fn default() -> Router {
        Router::new()
    }
}

impl Router {
    /// A router without routes: all is 404.
    pub fn new() -> Router {
        Router {
            routes: Routes::new(),
            scopes: vec![Scope::default()],
        }
    }

    /// Answers GET, and HEAD, for a path such as `/users/{id}`, or a host and a path.
    #[must_use]
    #[track_caller]
    pub fn get<M>(self, path: &str, handler: impl Handler<M>) -> Router {
        self.method(Method::GET, path, handler)
    }

    /// Answers POST.
    #[must_use]
    #[track_caller]
    pub fn post<M>(self, path: &str, handler: impl Handler<M>) -> Router {
        self.method(Method::POST, path, handler)
    }

    /// Answers PUT.
    #[must_use]
    #[track_caller]
    pub fn put<M>(self, path: &str, handler: impl Handler<M>) -> Router {
        self.method(Method::PUT, path, handler)
    }

    /// Answers DELETE.
    #[must_use]
    #[track_caller]
    pub fn delete<M>(self, path: &str, handler: impl Handler<M>) -> Router {
        self.method(Method::DELETE, path, handler)
    }

    /// Answers PATCH.
    #[must_use]
    #[track_caller]
    pub fn patch<M>(self, path: &str, handler: impl Handler<M>) -> Router {
        self.method(Method::PATCH, path, handler)
    }

    /// Answers HEAD otherwise than GET would.
    #[must_use]
    #[track_caller]
    pub fn head<M>(self, path: &str, handler: impl Handler<M>) -> Router {
        self.method(Method::HEAD, path, handler)
    }

    /// Answers OPTIONS.
    #[must_use]
    #[track_caller]
    pub fn options<M>(self, path: &str, handler: impl Handler<M>) -> Router {
        self.method(Method::OPTIONS, path, handler)
    }

    /// Answers every method that no other route of the same path takes, but CONNECT.
    #[must_use]
    #[track_caller]
    pub fn any<M>(self, path: &str, handler: impl Handler<M>) -> Router {
        self.route(path, handler)
    }

    /// Answers what a whole pattern says: `GET example.com/files/{path...}`.
    #[must_use]
    #[track_caller]
    pub fn route<M>(self, pattern: &str, handler: impl Handler<M>) -> Router {
        unwrap(self.try_route(pattern, handler))
    }

    /// As [`Router::route`], for patterns that are not part of the program: what would panic is an
    /// error.
    #[track_caller]
    pub fn try_route<M>(mut self, pattern: &str, handler: impl Handler<M>) -> Result<Router> {
        let place = Location::caller();
        let pattern = Pattern::parse(pattern)?;
        self.insert(pattern, place, handler.into_endpoint(), 0)?;
        Ok(self)
    }

    /// Answers CONNECT, for any host. A handler opens the tunnel or refuses it.
    #[must_use]
    #[track_caller]
    pub fn connect<M>(self, handler: impl Handler<M>) -> Router {
        self.method(Method::CONNECT, "/", handler)
    }

    // ---- routers in routers ----------------------------------------------------------------

    /// Puts a router under a prefix: a path (`/api`, `/users/{user}`), a host (`example.com`), or
    /// both. Its patterns are then what one reads: the prefix, and the pattern behind it. `/{$}` at
    /// `/api` is `/api/{$}`, which `/api` is sent to; a route that answers `/api` itself is one of
    /// this router: `.get("/api", …)`.
    ///
    /// Inside, [`Request::path`] is what the client sent, with the prefix; what follows it is in the
    /// parameters. For handlers that were written for another place there is
    /// [`strip_prefix`](crate::server::middleware::strip_prefix). [`Request::pattern`] is the whole
    /// pattern.
    ///
    /// Paths beneath the prefix that no route takes are that router's to answer: with its 404 if it
    /// has one, within its middleware.
    ///
    /// Panics where [`Router::route`] would, for one of the patterns.
    #[must_use]
    #[track_caller]
    pub fn nest(self, prefix: &str, router: Router) -> Router {
        unwrap(self.try_nest(prefix, router))
    }

    /// As [`Router::nest`]; what would panic is an error.
    pub fn try_nest(mut self, prefix: &str, router: Router) -> Result<Router> {
        let area = Pattern::parse(&format!("{}/", prefix.trim_end_matches('/')))?;
        if area.method().is_some() {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("the prefix {prefix:?} has a method; its routes have theirs"),
            ));
        }
        self.adopt(Some(&area), router)?;
        Ok(self)
    }

    /// Adds the routes of another router. They keep its middleware and its limits, which the routes
    /// of this one do not get: so they are a group.
    ///
    /// A path that no route takes is this router's to answer. A 404 or 405 handler of the other one
    /// becomes this one's.
    ///
    /// ```
    /// use roundtrip::Request;
    /// use roundtrip::Router;
    ///
    /// fn authorize(_: &mut Request) -> Result<(), roundtrip::StatusCode> {
    ///     Err(roundtrip::StatusCode::FORBIDDEN)
    /// }
    ///
    /// let admin = Router::new()
    ///     .before(authorize)
    ///     .post("/restart", |_: &Request| "restarting")
    ///     .get("/settings", |_: &Request| "settings");
    /// let router = Router::new().get("/{$}", |_: &Request| "welcome").merge(admin);
    /// # let _ = router;
    /// ```
    ///
    /// Panics where [`Router::route`] would, for one of the patterns, and when both routers have a
    /// handler of the same kind.
    #[must_use]
    #[track_caller]
    pub fn merge(self, router: Router) -> Router {
        unwrap(self.try_merge(router))
    }

    /// As [`Router::merge`]; what would panic is an error.
    pub fn try_merge(mut self, mut router: Router) -> Result<Router> {
        let (own, other) = (&mut self.scopes[0], &mut router.scopes[0]);
        adopt_handler(&mut own.not_found, &mut other.not_found, "not_found")?;
        adopt_handler(
            &mut own.method_not_allowed,
            &mut other.method_not_allowed,
            "method_not_allowed",
        )?;
        self.adopt(None, router)?;
        Ok(self)
    }

    // ---- middleware ------------------------------------------------------------------------

    /// Puts an asynchronous function around all routes of this router. It goes on with
    /// [`Next::run`], or answers itself. Handlers in it no longer run inline, which costs some
    /// allocations per request: where a function need not wait, there are [`Router::before`],
    /// [`Router::after`] and [`Router::around`].
    ///
    /// For the order of several see [`middleware`](crate::server::middleware).
    ///
    /// ```
    /// use roundtrip::Request;
    /// use roundtrip::Response;
    /// use roundtrip::Router;
    /// use roundtrip::server::middleware::Next;
    ///
    /// async fn timed(request: Request, next: Next) -> Response {
    ///     let route = request.pattern().unwrap_or("none").to_owned();
    ///     let started = std::time::Instant::now();
    ///     let response = next.run(request).await;
    ///     println!("{route}: {} in {:?}", response.status_code(), started.elapsed());
    ///     response
    /// }
    ///
    /// let router = Router::new().get("/{$}", |_: &Request| "hello").wrap(timed);
    /// # let _ = router;
    /// ```
    #[must_use]
    pub fn wrap<F, R>(self, middleware: F) -> Router
    where
        F: AsyncFn(Request, Next) -> R + Send + Sync + 'static,
        R: IntoResponse + 'static,
    {
        self.layer(Layer::wrap(middleware))
    }

    /// Calls a function before all routes of this router, which may change the request, or answer
    /// it: with `Some` response, or an error. The handler then does not run.
    ///
    /// ```
    /// use roundtrip::StatusCode;
    /// use roundtrip::Request;
    /// use roundtrip::Router;
    ///
    /// fn json_only(request: &mut Request) -> Result<(), StatusCode> {
    ///     match request.header("content-type") {
    ///         Some("application/json") => Ok(()),
    ///         _ => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ///     }
    /// }
    ///
    /// let router = Router::new().post("/{$}", async |_: Request| "taken").before(json_only);
    /// # let _ = router;
    /// ```
    #[must_use]
    pub fn before<F, V>(self, middleware: F) -> Router
    where
        F: Fn(&mut Request) -> V + Send + Sync + 'static,
        V: Verdict + 'static,
    {
        self.layer(Layer::before(middleware))
    }

    /// Passes the responses of all routes of this router through a function.
    ///
    /// ```
    /// use roundtrip::Request;
    /// use roundtrip::Response;
    /// use roundtrip::Router;
    ///
    /// let router = Router::new()
    ///     .get("/{$}", |_: &Request| "hello")
    ///     .after(|response: Response| response.header("X-Frame-Options", "DENY"));
    /// # let _ = router;
    /// ```
    #[must_use]
    pub fn after<F, R>(self, middleware: F) -> Router
    where
        F: Fn(Response) -> R + Send + Sync + 'static,
        R: IntoResponse + 'static,
    {
        self.layer(Layer::after(middleware))
    }

    /// Calls a function before all routes of this router, and what it returns with the response:
    /// for what the second half must know of the request.
    ///
    /// ```
    /// use roundtrip::Request;
    /// use roundtrip::Response;
    /// use roundtrip::Router;
    ///
    /// let router = Router::new()
    ///     .get("/{$}", |_: &Request| "hello")
    ///     .around(|request: &mut Request| {
    ///         let id = request.header("x-request-id").unwrap_or("none").to_owned();
    ///         move |response: Response| response.header("X-Request-Id", id)
    ///     });
    /// # let _ = router;
    /// ```
    #[must_use]
    pub fn around<F, E, R>(self, middleware: F) -> Router
    where
        F: Fn(&mut Request) -> E + Send + Sync + 'static,
        E: FnOnce(Response) -> R + 'static,
        R: IntoResponse + 'static,
    {
        self.layer(Layer::begin_and_end(middleware))
    }

    // ---- what no route takes ---------------------------------------------------------------

    /// Answers requests that no route takes, also in the routers in this one that have no such
    /// handler. A response with status 200, the one that says nothing else, becomes a 404.
    #[must_use]
    pub fn not_found<M>(mut self, handler: impl Handler<M>) -> Router {
        self.scopes[0].not_found = Some(handler.into_endpoint());
        self.settle();
        self
    }

    /// Answers requests whose path other methods have. A response with status 200 becomes a 405,
    /// which gets its `Allow`.
    #[must_use]
    pub fn method_not_allowed<M>(mut self, handler: impl Handler<M>) -> Router {
        self.scopes[0].method_not_allowed = Some(handler.into_endpoint());
        self.settle();
        self
    }

    // ---- limits ----------------------------------------------------------------------------

    /// Bytes of a request body, for all routes of this router: what is longer is answered 413.
    /// Without it the value of the router around this one holds, or the server's.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: u64) -> Router {
        self.scopes[0].options.body_bytes_max = Some(bytes);
        self.settle();
        self
    }

    /// How long a handler, and the body that it streams, may take, for all routes of this router; then
    /// it is answered 503, or cut off, as [`Server::handler_timeout`](crate::Server::handler_timeout)
    /// says. Without it the value of the router around this one holds, or the server's.
    #[must_use]
    pub fn handler_timeout(mut self, timeout: Duration) -> Router {
        self.scopes[0].options.handler_timeout = Some(timeout);
        self.settle();
        self
    }

    /// How long a request's body may make no progress, for all routes of this router. Without it the
    /// value of the router around this one holds, or the server's.
    #[must_use]
    pub fn body_timeout(mut self, timeout: Duration) -> Router {
        self.scopes[0].options.body_timeout = Some(timeout);
        self.settle();
        self
    }

    // ---- looking up ------------------------------------------------------------------------

    /// The patterns of all routes, in the order of registration.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.routes.patterns().map(Pattern::as_str)
    }

    /// Finds who answers, and gives the request its pattern and its path parameters. Allocates
    /// nothing, unless a parameter holds escapes or nobody answers.
    pub fn find(&self, request: &mut Request) -> Routed<'_> {
        let mut path = request.path();
        if *request.method() == Method::CONNECT {
            // It has a host and no path, of which patterns make a slash.
            path = if path.is_empty() { "/" } else { path };
        } else if let Some(path) = clean::cleaned(path) {
            return self.send_to_clean(request, &path);
        }
        match self.routes.find(request.method(), self.host(request), path) {
            Answer::Found(found) => {
                let route = found.value;
                describe(request, &found);
                Routed::Endpoint {
                    endpoint: &route.endpoint,
                    options: &route.options,
                }
            }
            Answer::Slash => {
                let path = path.to_owned();
                self.send_to_slash(request, &path)
            }
            Answer::Nothing => {
                let path = path.to_owned();
                let host = request.host().unwrap_or("");
                let miss = Miss::from_allowed(&self.routes.allowed(host, &path));
                self.miss(request, &path, miss)
            }
        }
    }

    /// The same routes for one worker.
    pub(super) fn for_worker(&self) -> Router {
        Router {
            routes: self.routes.map(|route| Route {
                handler: route.handler.clone(),
                scope: route.scope,
                endpoint: route.endpoint.for_worker(),
                options: route.options,
            }),
            scopes: self.scopes.iter().map(Scope::for_worker).collect(),
        }
    }

    /// The host, where a pattern asks for one.
    fn host<'a>(&self, request: &'a Request) -> &'a str {
        match self.routes.has_hosts() {
            true => request.host().unwrap_or(""),
            false => "",
        }
    }

    #[cold]
    fn send_to_clean(&self, request: &mut Request, path: &str) -> Routed<'_> {
        let answer = self.routes.find(request.method(), self.host(request), path);
        if matches!(answer, Answer::Slash) {
            // Both at once.
            return self.send_to_slash(request, path);
        }
        let miss = Miss::Redirect(clean::location(path, request.query()));
        self.miss(request, path, miss)
    }

    #[cold]
    fn send_to_slash(&self, request: &mut Request, path: &str) -> Routed<'_> {
        let miss = Miss::Redirect(clean::location(&format!("{path}/"), request.query()));
        self.miss(request, path, miss)
    }

    #[cold]
    fn miss(&self, request: &mut Request, path: &str, miss: Miss) -> Routed<'_> {
        let host = without_port(request.host().unwrap_or(""));
        let scope = scopes::scope_of(&self.scopes, host, path);
        let Some(fallbacks) = &self.scopes[scope].fallbacks else {
            return Routed::Refused(miss.response());
        };
        let (endpoint, options) = fallbacks.of(&miss);
        request.extensions_mut().insert(miss);
        Routed::Endpoint { endpoint, options }
    }

    // ---- building --------------------------------------------------------------------------

    #[track_caller]
    fn method<M>(self, method: Method, path: &str, handler: impl Handler<M>) -> Router {
        self.route(&format!("{method} {path}"), handler)
    }

    fn layer(mut self, layer: Layer) -> Router {
        self.scopes[0].layers.push(layer);
        self.settle();
        self
    }

    fn insert(
        &mut self,
        pattern: Pattern,
        place: Place,
        handler: Endpoint,
        scope: usize,
    ) -> Result<()> {
        let route = Route {
            endpoint: scopes::compose(&self.scopes, scope, handler.clone()),
            options: scopes::options(&self.scopes, scope),
            handler,
            scope,
        };
        self.routes.insert_at(pattern, route, place)
    }

    /// Takes the routes of another router, and its scopes, the outermost of which lies in ours.
    fn adopt(&mut self, prefix: Option<&Pattern>, router: Router) -> Result<()> {
        let first = self.scopes.len();
        for (at, mut scope) in router.scopes.into_iter().enumerate() {
            scope.parent = if at == 0 { 0 } else { scope.parent + first };
            scope.area = match (prefix, &scope.area) {
                (Some(prefix), Some(area)) => Some(prefix.joined(area)?),
                (Some(prefix), None) if at == 0 => Some(prefix.clone()),
                _ => scope.area,
            };
            self.scopes.push(scope);
        }
        for (pattern, place, route) in router.routes.into_parts() {
            let pattern = match prefix {
                Some(prefix) => prefix.joined(&pattern)?,
                None => pattern,
            };
            self.insert(pattern, place, route.handler, route.scope + first)?;
        }
        self.settle_fallbacks();
        Ok(())
    }

    /// Makes all endpoints anew, after something around them changed.
    fn settle(&mut self) {
        self.settle_fallbacks();
        for route in self.routes.values_mut() {
            route.endpoint = scopes::compose(&self.scopes, route.scope, route.handler.clone());
            route.options = scopes::options(&self.scopes, route.scope);
        }
    }

    fn settle_fallbacks(&mut self) {
        for scope in 0..self.scopes.len() {
            self.scopes[scope].fallbacks = scopes::fallbacks(&self.scopes, scope);
        }
    }
}

#[track_caller]
fn unwrap(router: Result<Router>) -> Router {
    match router {
        Ok(router) => router,
        Err(error) => panic!("{error}"),
    }
}

fn adopt_handler(
    own: &mut Option<Endpoint>,
    other: &mut Option<Endpoint>,
    name: &str,
) -> Result<()> {
    if own.is_some() && other.is_some() {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("both routers that are merged have a `{name}` handler"),
        ));
    }
    *own = own.take().or_else(|| other.take());
    Ok(())
}

/// Gives a request its pattern and its parameters.
fn describe(request: &mut Request, found: &Match<'_, Route>) {
    request.set_pattern(found.pattern.as_str());
    // A new request has none, which the common route without wildcards leaves as it is.
    if found.pattern.captures_count() > 0 {
        fill_params(request, found.pattern);
    }
}

fn fill_params(request: &mut Request, pattern: &Pattern) {
    let mut at = 1;
    for segment in pattern.segments() {
        let path = request.path();
        let span = segment.span(path, at);
        at = span.end + 1;
        let Some(name) = segment.name() else {
            continue;
        };
        let raw = &path[span.clone()];
        if !raw.contains('%') {
            request.push_param_span(name, span);
            continue;
        }
        let value: Vec<u8> = percent_decode_str(raw).collect();
        request.push_param_bytes(name, &value);
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.patterns()).finish()
    }
}
