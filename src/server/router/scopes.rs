//! Routers within routers: what stands around the routes of each, and who answers for no route.
//!
//! ```text
//!   0 the router's own ◄── 1 nested at /api ◄── 2 nested at /api/v1        each knows its parent
//!     layers, options        layers, options      layers, options
//!
//!   endpoint = layers of 0 ( layers of 1 ( layers of 2 ( handler )))
//! ```

use ::http::Method;
use ::http::StatusCode;
use percent_encoding::percent_decode_str;

use crate::http::request::Request;
use crate::http::response::Response;
use crate::server::handler::Endpoint;
use crate::server::into_response::status_text;
use crate::server::middleware::Layer;
use crate::server::options::RouteOptions;
use crate::server::pattern::Pattern;
use crate::server::pattern::Segment;

/// A router, after it became part of another.
#[derive(Default)]
pub(super) struct Scope {
    /// The router around it; the outermost is its own parent.
    pub parent: usize,
    /// Beneath which it answers for no route; `None` for the outermost and for merged ones.
    pub area: Option<Pattern>,
    /// Outermost first.
    pub layers: Vec<Layer>,
    pub not_found: Option<Endpoint>,
    pub method_not_allowed: Option<Endpoint>,
    pub options: RouteOptions,
    /// What it comes to; `None` while nothing stands around it.
    pub fallbacks: Option<Box<Fallbacks>>,
}

/// Who answers requests that no route takes.
pub(super) struct Fallbacks {
    not_found: Endpoint,
    method_not_allowed: Endpoint,
    redirect: Endpoint,
    options: RouteOptions,
}

/// Why no route answers a request.
#[derive(Clone, Debug)]
pub(super) enum Miss {
    NotFound,
    /// The value of `Allow`.
    MethodNotAllowed(String),
    /// The value of `Location`.
    Redirect(String),
}

impl Miss {
    /// No route, or none for this method.
    pub(super) fn from_allowed(allowed: &[Method]) -> Miss {
        if allowed.is_empty() {
            return Miss::NotFound;
        }
        let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
        Miss::MethodNotAllowed(names.join(", "))
    }

    /// The answer, if nobody else has one.
    pub(super) fn response(&self) -> Response {
        match self {
            Miss::Redirect(location) => {
                status_text(StatusCode::TEMPORARY_REDIRECT).header("Location", location)
            }
            Miss::NotFound => status_text(StatusCode::NOT_FOUND),
            Miss::MethodNotAllowed(_) => self.complete(status_text(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    /// What a handler answered, with the status and the field that it must have.
    fn complete(&self, mut response: Response) -> Response {
        let (status, allow) = match self {
            Miss::NotFound => (StatusCode::NOT_FOUND, None),
            Miss::MethodNotAllowed(allow) => (StatusCode::METHOD_NOT_ALLOWED, Some(allow)),
            Miss::Redirect(_) => return response,
        };
        if response.status_code() == StatusCode::OK {
            response.set_status(status);
        }
        match allow {
            // RFC 9110 §15.5.6: a 405 has one.
            Some(allow) if response.status_code() == status => {
                if response.headers().contains("allow") {
                    return response;
                }
                response.header("Allow", allow)
            }
            _ => response,
        }
    }

    /// Left in the request by the router for the endpoint that answers.
    fn take_from(request: &mut Request) -> Miss {
        let miss = request.extensions_mut().remove::<Miss>();
        miss.unwrap_or(Miss::NotFound)
    }
}

impl Fallbacks {
    /// Who answers, and what holds for it.
    pub(super) fn of(&self, miss: &Miss) -> (&Endpoint, &RouteOptions) {
        let endpoint = match miss {
            Miss::NotFound => &self.not_found,
            Miss::MethodNotAllowed(_) => &self.method_not_allowed,
            Miss::Redirect(_) => &self.redirect,
        };
        (endpoint, &self.options)
    }

    fn for_worker(&self) -> Fallbacks {
        Fallbacks {
            not_found: self.not_found.for_worker(),
            method_not_allowed: self.method_not_allowed.for_worker(),
            redirect: self.redirect.for_worker(),
            options: self.options,
        }
    }
}

impl Scope {
    /// The part of it that requests need.
    pub(super) fn for_worker(&self) -> Scope {
        Scope {
            parent: self.parent,
            area: self.area.clone(),
            layers: self.layers.clone(),
            not_found: self.not_found.clone(),
            method_not_allowed: self.method_not_allowed.clone(),
            options: self.options,
            fallbacks: self
                .fallbacks
                .as_ref()
                .map(|own| Box::new(own.for_worker())),
        }
    }
}

/// From a scope to the outermost one.
fn chain(scopes: &[Scope], from: usize) -> impl Iterator<Item = &Scope> {
    let parent = |&at: &usize| Some(scopes[at].parent).filter(|_| at != 0);
    std::iter::successors(Some(from), parent).map(|at| &scopes[at])
}

/// A handler of a scope, with all that stands around it.
pub(super) fn compose(scopes: &[Scope], scope: usize, handler: Endpoint) -> Endpoint {
    let layers = chain(scopes, scope).flat_map(|scope| scope.layers.iter().rev());
    layers.fold(handler, |inner, layer| layer.around(inner))
}

/// What holds for the routes of a scope.
pub(super) fn options(scopes: &[Scope], scope: usize) -> RouteOptions {
    let own = chain(scopes, scope).map(|scope| scope.options);
    own.fold(RouteOptions::default(), RouteOptions::or)
}

/// Who answers for a scope when no route does; `None` when nothing says how.
pub(super) fn fallbacks(scopes: &[Scope], scope: usize) -> Option<Box<Fallbacks>> {
    let not_found = chain(scopes, scope).find_map(|scope| scope.not_found.clone());
    let not_allowed = chain(scopes, scope).find_map(|scope| scope.method_not_allowed.clone());
    let has_layers = chain(scopes, scope).any(|scope| !scope.layers.is_empty());
    if !has_layers && not_found.is_none() && not_allowed.is_none() {
        return None;
    }
    let plain = (|request: &mut Request| Miss::take_from(request).response()) as fn(&mut _) -> _;
    let plain = Endpoint::Inline(std::sync::Arc::new(plain));
    let completed = Layer::begin_and_end(|request: &mut Request| {
        let miss = Miss::take_from(request);
        move |response| miss.complete(response)
    });
    let around = |handler: Option<Endpoint>| match handler {
        None => compose(scopes, scope, plain.clone()),
        Some(handler) => compose(scopes, scope, completed.around(handler)),
    };
    Some(Box::new(Fallbacks {
        not_found: around(not_found),
        method_not_allowed: around(not_allowed),
        redirect: around(None),
        options: options(scopes, scope),
    }))
}

/// The innermost scope under whose prefix a path lies. `host` is without port.
pub(super) fn scope_of(scopes: &[Scope], host: &str, path: &str) -> usize {
    let areas = scopes.iter().enumerate();
    let areas = areas.filter_map(|(at, scope)| Some((at, scope.area.as_ref()?)));
    areas
        .filter(|(_, area)| lies_beneath(area, host, path))
        .max_by_key(|(_, area)| {
            let literals = area.segments().iter();
            let literals = literals.filter(|one| matches!(one, Segment::Literal(_)));
            (
                area.host().is_some(),
                area.segments().len(),
                literals.count(),
            )
        })
        .map_or(0, |(at, _)| at)
}

fn lies_beneath(area: &Pattern, host: &str, path: &str) -> bool {
    if area
        .host()
        .is_some_and(|own| !own.eq_ignore_ascii_case(host))
    {
        return false;
    }
    let mut pieces = path.split('/').skip(1);
    for segment in area.segments() {
        let piece = pieces.next();
        match (segment, piece) {
            (Segment::Rest(_), _) => return true,
            (Segment::Wild(_), Some(piece)) if !piece.is_empty() => {}
            (Segment::Literal(text), Some(piece)) if percent_decode_str(piece).eq(text.bytes()) => {
            }
            _ => return false,
        }
    }
    panic!("an area is a prefix, and ends with a rest");
}
