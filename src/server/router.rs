//! Which handler answers a request.
//!
//! ```text
//!   method · host · path ──► Routes ──► Endpoint, path parameters filled in
//!                               └─────► 404, or 405 with Allow
//! ```

use std::fmt;
use std::time::Duration;

use ::http::Method;
use ::http::StatusCode;
use percent_encoding::percent_decode_str;

use crate::error::Result;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::server::handler::Endpoint;
use crate::server::handler::Handler;
use crate::server::into_response::status_text;
use crate::server::options::RouteOptions;
use crate::server::pattern::Pattern;
use crate::server::routes::Routes;

/// Patterns and their handlers.
///
/// A pattern is `[METHOD ][HOST]/PATH`. In the path, `{name}` stands for one segment, `{name...}`
/// for all that is left, `{$}` for the end. A pattern that ends with `/` answers everything beneath
/// it; `/{$}` only the root itself. Where several match, a literal segment beats a wildcard and a
/// wildcard beats a rest, from left to right; a pattern with a host beats one without. GET
/// patterns answer HEAD too. A path that matches for other methods only is answered 405.
///
/// The methods that register a route panic, with both patterns in the text, when an equal pattern
/// is there already, and when the pattern breaks a rule: both are mistakes of the program. For
/// patterns that come from elsewhere there is [`Router::try_route`].
#[derive(Default)]
pub struct Router {
    routes: Routes<Endpoint>,
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

impl Router {
    /// A router without routes: all is 404.
    pub fn new() -> Router {
        Router {
            routes: Routes::new(),
            options: RouteOptions::default(),
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

    /// Answers every method that no other route of the same path takes.
    #[must_use]
    #[track_caller]
    pub fn any<M>(self, path: &str, handler: impl Handler<M>) -> Router {
        self.route(path, handler)
    }

    /// Answers what a whole pattern says: `GET example.com/files/{path...}`.
    #[must_use]
    #[track_caller]
    pub fn route<M>(self, pattern: &str, handler: impl Handler<M>) -> Router {
        match self.try_route(pattern, handler) {
            Ok(router) => router,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`Router::route`], for patterns that are not part of the program: a bad or an equal
    /// pattern is an error.
    pub fn try_route<M>(mut self, pattern: &str, handler: impl Handler<M>) -> Result<Router> {
        let pattern = Pattern::parse(pattern)?;
        self.routes.insert(pattern, handler.into_endpoint())?;
        Ok(self)
    }

    /// Bytes of a request body, for all routes of this router: what is longer is answered 413.
    /// Without it the server's value holds.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: u64) -> Router {
        self.options.body_bytes_max = Some(bytes);
        self
    }

    /// How long a handler may take until it has answered, for all routes of this router. Without it
    /// the server's value holds.
    #[must_use]
    pub fn handler_timeout(mut self, timeout: Duration) -> Router {
        self.options.handler_timeout = Some(timeout);
        self
    }

    /// How long a request's body may make no progress, for all routes of this router. Without it
    /// the server's value holds.
    #[must_use]
    pub fn body_timeout(mut self, timeout: Duration) -> Router {
        self.options.body_timeout = Some(timeout);
        self
    }

    /// Finds who answers, and gives the request its path parameters. Allocates nothing, unless a
    /// parameter holds escapes or nobody answers.
    pub fn find(&self, request: &mut Request) -> Routed<'_> {
        let host = match self.routes.has_hosts() {
            true => request.host().unwrap_or(""),
            false => "",
        };
        let Some(found) = self.routes.find(request.method(), host, request.path()) else {
            return Routed::Refused(self.refuse(request));
        };
        // A new request has none, which the common route without wildcards leaves as it is.
        if found.captures.count() > 0 {
            let (pattern, captures) = (found.pattern, found.captures);
            fill_params(request, pattern, captures.iter());
        }
        Routed::Endpoint {
            endpoint: found.value,
            options: &self.options,
        }
    }

    /// The same routes for one worker.
    pub(super) fn for_worker(&self) -> Router {
        let mut routes = self.routes.clone();
        for endpoint in routes.values_mut() {
            *endpoint = endpoint.for_worker();
        }
        Router {
            routes,
            options: self.options,
        }
    }

    fn refuse(&self, request: &Request) -> Response {
        let allowed = self
            .routes
            .allowed(request.host().unwrap_or(""), request.path());
        if allowed.is_empty() {
            return status_text(StatusCode::NOT_FOUND);
        }
        let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
        status_text(StatusCode::METHOD_NOT_ALLOWED).header("Allow", names.join(", "))
    }

    #[track_caller]
    fn method<M>(self, method: Method, path: &str, handler: impl Handler<M>) -> Router {
        self.route(&format!("{method} {path}"), handler)
    }
}

/// A value that is not UTF-8 once decoded stays as it came, percent-encoded.
fn fill_params(
    request: &mut Request,
    pattern: &Pattern,
    spans: impl Iterator<Item = std::ops::Range<usize>>,
) {
    for (name, span) in pattern.names().zip(spans) {
        let raw = &request.path()[span.clone()];
        if !raw.contains('%') {
            request.push_param_span(name, span);
            continue;
        }
        match percent_decode_str(raw).decode_utf8() {
            Ok(text) => {
                let value = text.into_owned();
                request.push_param(name, &value);
            }
            Err(_) => request.push_param_span(name, span),
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = self.routes.patterns().map(Pattern::as_str);
        f.debug_list().entries(patterns).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router {
        Router::new()
            .get("/{$}", |_: &Request| "root")
            .get("/users/{id}", |_: &Request| "user")
            .get("/files/{path...}", |_: &Request| "files")
            .post("/files/upload", async |_: Request| "upload")
            .route("PUT example.com/put", |_: &Request| "put")
    }

    fn find(method: &str, target: &str) -> (u16, String) {
        let router = router();
        let mut request = Request::for_target(method, target).unwrap();
        match router.find(&mut request) {
            Routed::Refused(response) => {
                let allow = response.headers().get("allow").unwrap_or("");
                (response.status_code().as_u16(), allow.to_owned())
            }
            Routed::Endpoint { .. } => {
                let params: Vec<_> = request.params().map(|(n, v)| format!("{n}={v}")).collect();
                (200, params.join(" "))
            }
        }
    }

    #[test]
    fn finds_and_fills_in() {
        let table = [
            ("GET", "/", 200, ""),
            ("HEAD", "/", 200, ""),
            ("GET", "/users/7?x=1", 200, "id=7"),
            ("GET", "/users/a%20b%2Fc", 200, "id=a b/c"),
            ("GET", "/users/%FF", 200, "id=%FF"),
            ("GET", "/files/a/b", 200, "path=a/b"),
            ("GET", "http://other.com/files/?q", 200, "path="),
            ("PUT", "http://example.com/put", 200, ""),
            ("PUT", "http://other.com/put", 404, ""),
            ("POST", "/users/7", 405, "GET, HEAD"),
            ("DELETE", "/files/upload", 405, "GET, HEAD, POST"),
            ("GET", "/nowhere", 404, ""),
            ("OPTIONS", "*", 404, ""),
        ];
        for (method, target, status, found) in table {
            assert_eq!(
                find(method, target),
                (status, found.to_owned()),
                "{method} {target}"
            );
        }
    }

    #[test]
    #[should_panic(
        expected = "\"GET /users/{name}\" answers the same requests as \"GET /users/{id}\""
    )]
    fn an_equal_pattern_panics_with_both() {
        let _ = router().get("/users/{name}", |_: &Request| ());
    }

    #[test]
    fn or_is_an_error() {
        let error = router().try_route("/a//b", |_: &Request| ()).unwrap_err();
        assert!(error.to_string().contains("empty segments"), "{error}");
    }
}
