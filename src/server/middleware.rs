//! What stands around handlers: middleware.
//!
//! ```text
//!   Router::new().wrap(a).before(b).after(c).get("/", handler)
//!
//!               ┌─ a ───────────────────────────────────────────┐
//!               │          ┌─ b ──────────────────────────────┐ │
//!   request ───►│──────────│───────────► handler ───► c ──────│─│───► response
//!               │ async    │ may answer             changes   │ │
//!               │          └──────────────────────────────────┘ │
//!               └───────────────────────────────────────────────┘
//! ```
//!
//! What is registered first is outermost: it sees the request first and the response last. Where it
//! answers itself, nothing inside it runs. All of a router's middleware stands around all of its
//! routes, whichever was registered first, and around its 404, 405 and redirects; that of an outer
//! router stands around that of a router in it.
//!
//! A request was routed before its middleware runs: [`Request::pattern`] and the parameters are
//! there, and what middleware changes of the target is not routed again.
//!
//! | form | may | runs |
//! |---|---|---|
//! | [`Router::before`] | answer, change the request | inline, before the handler |
//! | [`Router::after`] | change or replace the response | inline, when there is one |
//! | [`Router::around`] | both, and keep values from one to the other | inline |
//! | [`Router::wrap`] | all that, and wait | as a future: its handlers are no longer inline |
//!
//! The first three allocate nothing around a synchronous handler. A panic costs its connection alone.
//!
//! [`Router::before`]: crate::server::router::Router::before
//! [`Router::after`]: crate::server::router::Router::after
//! [`Router::around`]: crate::server::router::Router::around
//! [`Router::wrap`]: crate::server::router::Router::wrap

use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::Arc;

use ::http::StatusCode;

use crate::http::request::Request;
use crate::http::response::Response;
use crate::server::handler::Deferred;
use crate::server::handler::Endpoint;
use crate::server::handler::ResponseFuture;
use crate::server::into_response::IntoResponse;
use crate::server::into_response::status_text;

/// One piece of middleware: what it makes of the endpoint inside it.
#[derive(Clone)]
pub(super) struct Layer(Arc<dyn Fn(Endpoint) -> Endpoint + Send + Sync>);

impl Layer {
    /// The endpoint with this around it.
    pub(super) fn around(&self, inner: Endpoint) -> Endpoint {
        (self.0)(inner)
    }

    /// [`Router::before`](crate::server::router::Router::before).
    pub(super) fn before<F, V>(function: F) -> Layer
    where
        F: Fn(&mut Request) -> V + Send + Sync + 'static,
        V: Verdict + 'static,
    {
        Layer::of(Before(function, PhantomData))
    }

    /// [`Router::after`](crate::server::router::Router::after).
    pub(super) fn after<F, R>(function: F) -> Layer
    where
        F: Fn(Response) -> R + Send + Sync + 'static,
        R: IntoResponse + 'static,
    {
        Layer::of(After(function, PhantomData))
    }

    /// [`Router::around`](crate::server::router::Router::around).
    pub(super) fn begin_and_end<F, E, R>(function: F) -> Layer
    where
        F: Fn(&mut Request) -> E + Send + Sync + 'static,
        E: FnOnce(Response) -> R + 'static,
        R: IntoResponse + 'static,
    {
        Layer::of(BeginAndEnd(function, PhantomData))
    }

    /// [`Router::wrap`](crate::server::router::Router::wrap).
    pub(super) fn wrap<F, R>(function: F) -> Layer
    where
        F: AsyncFn(Request, Next) -> R + Send + Sync + 'static,
        R: IntoResponse + 'static,
    {
        let function = Arc::new(function);
        Layer(Arc::new(move |inner| {
            Endpoint::Deferred(Arc::new(Wrapped {
                function: Arc::clone(&function),
                inner: Arc::new(inner),
                result: PhantomData,
            }))
        }))
    }

    fn of<A: Around>(around: A) -> Layer {
        let around = Arc::new(around);
        Layer(Arc::new(move |inner| {
            let around = Arc::clone(&around);
            match inner {
                Endpoint::Inline(inner) => {
                    Endpoint::Inline(Arc::new(move |request| match around.begin(request) {
                        ControlFlow::Break(response) => response,
                        ControlFlow::Continue(ending) => ending.end(inner(request)),
                    }))
                }
                Endpoint::Deferred(inner) => {
                    Endpoint::Deferred(Arc::new(AroundDeferred { around, inner }))
                }
            }
        }))
    }
}

// ---- synchronous ---------------------------------------------------------------------------

/// What a function given to [`Router::before`] decides.
///
/// `()` and `Ok(())` and `None` go on; an error or a response answers the request.
///
/// [`Router::before`]: crate::server::router::Router::before
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether the request goes on",
    note = "return `()`, `Option<Response>`, `Result<(), E>` or `ControlFlow<Response>`"
)]
pub trait Verdict {
    /// The answer, if the request is not to go on.
    fn answer(self) -> Option<Response>;
}

impl Verdict for () {
    fn answer(self) -> Option<Response> {
        None
    }
}

impl<R: IntoResponse> Verdict for Option<R> {
    fn answer(self) -> Option<Response> {
        self.map(IntoResponse::into_response)
    }
}

impl<E: IntoResponse> Verdict for Result<(), E> {
    fn answer(self) -> Option<Response> {
        self.err().map(IntoResponse::into_response)
    }
}

impl<R: IntoResponse> Verdict for ControlFlow<R> {
    fn answer(self) -> Option<Response> {
        self.break_value().map(IntoResponse::into_response)
    }
}

/// The synchronous forms.
trait Around: Send + Sync + 'static {
    type Ending<'a>: Ending
    where
        Self: 'a;

    fn begin(&self, request: &mut Request) -> ControlFlow<Response, Self::Ending<'_>>;
}

/// The second half of a synchronous form.
trait Ending {
    fn end(self, response: Response) -> Response;
}

struct Before<F, V>(F, PhantomData<fn() -> V>);

struct After<F, R>(F, PhantomData<fn() -> R>);

struct BeginAndEnd<F, E, R>(F, PhantomData<fn() -> (E, R)>);

impl<F, V> Around for Before<F, V>
where
    F: Fn(&mut Request) -> V + Send + Sync + 'static,
    V: Verdict + 'static,
{
    type Ending<'a> = Unchanged;

    fn begin(&self, request: &mut Request) -> ControlFlow<Response, Unchanged> {
        match (self.0)(request).answer() {
            Some(response) => ControlFlow::Break(response),
            None => ControlFlow::Continue(Unchanged),
        }
    }
}

impl<F, R> Around for After<F, R>
where
    F: Fn(Response) -> R + Send + Sync + 'static,
    R: IntoResponse + 'static,
{
    type Ending<'a> = Changed<&'a F>;

    fn begin(&self, _request: &mut Request) -> ControlFlow<Response, Changed<&F>> {
        ControlFlow::Continue(Changed(&self.0))
    }
}

impl<F, E, R> Around for BeginAndEnd<F, E, R>
where
    F: Fn(&mut Request) -> E + Send + Sync + 'static,
    E: FnOnce(Response) -> R + 'static,
    R: IntoResponse + 'static,
{
    type Ending<'a> = Changed<E>;

    fn begin(&self, request: &mut Request) -> ControlFlow<Response, Changed<E>> {
        ControlFlow::Continue(Changed((self.0)(request)))
    }
}

/// The response stays as it is.
struct Unchanged;

/// The response goes through a function.
struct Changed<E>(E);

impl Ending for Unchanged {
    fn end(self, response: Response) -> Response {
        response
    }
}

impl<E, R> Ending for Changed<E>
where
    E: FnOnce(Response) -> R,
    R: IntoResponse,
{
    fn end(self, response: Response) -> Response {
        (self.0)(response).into_response()
    }
}

/// A synchronous form around an asynchronous handler.
struct AroundDeferred<A> {
    around: Arc<A>,
    inner: Arc<dyn Deferred>,
}

impl<A: Around> Deferred for AroundDeferred<A> {
    fn start(self: Arc<Self>, mut request: Request) -> ResponseFuture {
        Box::pin(async move {
            match self.around.begin(&mut request) {
                ControlFlow::Break(response) => response,
                ControlFlow::Continue(ending) => {
                    let response = Arc::clone(&self.inner).start(request).await;
                    ending.end(response)
                }
            }
        })
    }

    fn for_worker(&self) -> Arc<dyn Deferred> {
        Arc::new(AroundDeferred {
            around: Arc::clone(&self.around),
            inner: self.inner.for_worker(),
        })
    }
}

// ---- asynchronous --------------------------------------------------------------------------

/// What middleware stands around: the rest of it, and the handler.
///
/// Dropped without [`Next::run`], nothing inside runs.
pub struct Next {
    /// Of one worker, as are the references to it that are counted.
    inner: Arc<Endpoint>,
}

impl Next {
    /// Goes on to the response. Dropping the future ends what runs inside.
    pub async fn run(self, mut request: Request) -> Response {
        match &*self.inner {
            Endpoint::Inline(function) => function(&mut request),
            Endpoint::Deferred(handler) => Arc::clone(handler).start(request).await,
        }
    }
}

struct Wrapped<F, R> {
    function: Arc<F>,
    inner: Arc<Endpoint>,
    result: PhantomData<fn() -> R>,
}

impl<F, R> Deferred for Wrapped<F, R>
where
    F: AsyncFn(Request, Next) -> R + Send + Sync + 'static,
    R: IntoResponse + 'static,
{
    fn start(self: Arc<Self>, request: Request) -> ResponseFuture {
        Box::pin(async move {
            let next = Next {
                inner: Arc::clone(&self.inner),
            };
            (self.function)(request, next).await.into_response()
        })
    }

    fn for_worker(&self) -> Arc<dyn Deferred> {
        Arc::new(Wrapped {
            function: Arc::clone(&self.function),
            inner: Arc::new(self.inner.for_worker()),
            result: PhantomData,
        })
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").finish_non_exhaustive()
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").finish_non_exhaustive()
    }
}

// ---- helpers -------------------------------------------------------------------------------

/// For [`Router::before`]: handlers see their path without this prefix, and what does not begin with
/// it is answered 404. For handlers that were written for another place; routes themselves are not
/// affected, and [`Request::params`] neither.
///
/// The prefix is compared as it stands, percent-encoded, and only whole segments are taken away:
/// without `/api`, `/api/x` is `/x`, `/api` is `/`, and `/apis` is 404.
///
/// ```
/// use roundtrip::Request;
/// use roundtrip::Router;
/// use roundtrip::server::middleware::strip_prefix;
///
/// let old = Router::new()
///     .before(strip_prefix("/old"))
///     .get("/", |request: &Request| request.path().to_owned()); // "/a" for "/old/a"
/// let router = Router::new().nest("/old", old);
/// # let _ = router;
/// ```
///
/// [`Router::before`]: crate::server::router::Router::before
pub fn strip_prefix(
    prefix: impl Into<String>,
) -> impl Fn(&mut Request) -> Option<Response> + Send + Sync + 'static {
    let prefix = prefix.into().trim_end_matches('/').to_owned();
    move |request| {
        let rest = request.path().strip_prefix(prefix.as_str());
        let path = match rest {
            Some("") => "/".to_owned(),
            Some(rest) if rest.starts_with('/') => rest.to_owned(),
            _ => return Some(status_text(StatusCode::NOT_FOUND)),
        };
        let is_set = request.set_path(&path);
        is_set.expect("what is left of a path is one");
        None
    }
}

#[cfg(test)]
mod tests;
