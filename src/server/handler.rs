//! Functions that answer requests.
//!
//! ```text
//!   Fn(&Request) -> impl IntoResponse       ──► Endpoint::Inline     runs in the connection's turn
//!   AsyncFn(Request) -> impl IntoResponse   ──► Endpoint::Deferred   a future, kept while pending
//! ```
//!
//! Handlers are shared by all workers, and therefore `Send + Sync`; the futures of asynchronous
//! handlers stay on the worker where they began, and need not be. A synchronous handler does not
//! see the body of its request: who needs the body is asynchronous.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use crate::http::request::Request;
use crate::http::response::Response;
use crate::server::into_response::IntoResponse;

/// The future of an asynchronous handler.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Response>>>;

/// What answers requests: a closure or function, synchronous or asynchronous. The marker only tells
/// the two forms apart, and is always inferred.
///
/// ```
/// use roundtrip::http::request::Request;
/// use roundtrip::server::router::Router;
///
/// async fn length(request: Request) -> roundtrip::Result<String> {
///     Ok(request.into_body().bytes().await?.len().to_string())
/// }
///
/// let router = Router::new()
///     .get("/{$}", |_: &Request| "Hello, World!")
///     .post("/length", length)
///     .post("/upper", async |request: Request| {
///         let text = request.into_body().text().await?;
///         Ok::<_, roundtrip::Error>(text.to_uppercase())
///     });
/// # let _ = router;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle requests",
    label = "neither `Fn(&Request) -> impl IntoResponse` nor `AsyncFn(Request) -> impl IntoResponse`",
    note = "write the type of the closure's argument: `|request: &Request| …` or \
            `async |request: Request| …`; an `async fn` takes the `Request` by value; a handler is also \
            `Send + Sync + 'static`",
    note = "what it returns is text, bytes, a `StatusCode`, `Response`, `Json(…)`, a `Result` of these, \
            or has an `impl IntoResponse`; `server::handler::synchronous(…)` or `asynchronous(…)` \
            around the handler says what is wrong with it"
)]
pub trait Handler<Marker>: Send + Sync + 'static {
    /// The handler without its type.
    fn into_endpoint(self) -> Endpoint;
}

/// The same synchronous handler: put around one that does not compile, this names the reason, since
/// only one form is left that it could have.
///
/// ```compile_fail
/// # use roundtrip::Request;
/// # use roundtrip::Router;
/// # use roundtrip::server::handler;
/// # struct Mine;
/// // error: `Mine` is no response
/// let router = Router::new().get("/{$}", handler::synchronous(|_: &Request| Mine));
/// ```
pub fn synchronous<F, R>(handler: F) -> F
where
    F: Fn(&Request) -> R + Send + Sync + 'static,
    R: IntoResponse,
{
    handler
}

/// The same asynchronous handler; as [`synchronous`].
pub fn asynchronous<F, R>(handler: F) -> F
where
    F: AsyncFn(Request) -> R + Send + Sync + 'static,
    R: IntoResponse + 'static,
{
    handler
}

/// Marks handlers of the form `Fn(&Request) -> R`.
#[derive(Debug)]
pub struct Synchronous<R>(PhantomData<R>);

/// Marks handlers of the form `AsyncFn(Request) -> R`.
#[derive(Debug)]
pub struct Asynchronous<R>(PhantomData<R>);

/// Marks an [`Endpoint`] that is passed on.
#[derive(Debug)]
pub struct Erased;

/// A handler without its type.
#[derive(Clone)]
pub enum Endpoint {
    /// Runs to its end within the call. What stands around a handler may change the request; the
    /// handler itself only reads it.
    Inline(Arc<dyn Fn(&mut Request) -> Response + Send + Sync>),
    /// Starts a future.
    Deferred(Arc<dyn Deferred>),
}

/// An asynchronous handler without its type.
pub trait Deferred: Send + Sync {
    /// Starts to answer a request. The future owns the handler, since that may be an `async`
    /// closure from which the future borrows.
    fn start(self: Arc<Self>, request: Request) -> ResponseFuture;

    /// The same handler for one worker. A future counts a reference to its handler, and workers
    /// that share the counter would wait for each other's caches on every request.
    fn for_worker(&self) -> Arc<dyn Deferred>;
}

impl Endpoint {
    /// The same handler for one worker.
    pub(super) fn for_worker(&self) -> Endpoint {
        match self {
            // Called where it is: nothing is counted per request.
            Endpoint::Inline(function) => Endpoint::Inline(Arc::clone(function)),
            Endpoint::Deferred(handler) => Endpoint::Deferred(handler.for_worker()),
        }
    }
}

struct AsyncHandler<F, R> {
    function: Arc<F>,
    result: PhantomData<fn() -> R>,
}

impl<F, R> Handler<Synchronous<R>> for F
where
    F: Fn(&Request) -> R + Send + Sync + 'static,
    R: IntoResponse,
{
    fn into_endpoint(self) -> Endpoint {
        Endpoint::Inline(Arc::new(move |request: &mut Request| {
            self(request).into_response()
        }))
    }
}

impl<F, R> Handler<Asynchronous<R>> for F
where
    F: AsyncFn(Request) -> R + Send + Sync + 'static,
    R: IntoResponse + 'static,
{
    fn into_endpoint(self) -> Endpoint {
        Endpoint::Deferred(Arc::new(AsyncHandler {
            function: Arc::new(self),
            result: PhantomData,
        }))
    }
}

impl Handler<Erased> for Endpoint {
    fn into_endpoint(self) -> Endpoint {
        self
    }
}

impl<F, R> Deferred for AsyncHandler<F, R>
where
    F: AsyncFn(Request) -> R + Send + Sync + 'static,
    R: IntoResponse + 'static,
{
    fn start(self: Arc<Self>, request: Request) -> ResponseFuture {
        Box::pin(async move { (self.function)(request).await.into_response() })
    }

    fn for_worker(&self) -> Arc<dyn Deferred> {
        Arc::new(AsyncHandler {
            function: Arc::clone(&self.function),
            result: PhantomData,
        })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Endpoint::Inline(_) => "Inline",
            Endpoint::Deferred(_) => "Deferred",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;
    use std::task::Poll;
    use std::task::Waker;

    use super::*;
    use crate::error::Result;

    fn answer<M>(handler: impl Handler<M>, target: &str) -> String {
        let mut request = Request::for_target("GET", target).unwrap();
        let response = match handler.into_endpoint() {
            Endpoint::Inline(function) => function(&mut request),
            Endpoint::Deferred(handler) => {
                let mut future = handler.start(request);
                match future
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                {
                    Poll::Ready(response) => response,
                    Poll::Pending => panic!("the handler waits"),
                }
            }
        };
        String::from_utf8(response.body_ref().as_bytes().unwrap().to_vec()).unwrap()
    }

    fn named(request: &Request) -> String {
        request.path().to_owned()
    }

    async fn named_async(request: Request) -> Result<String> {
        Ok(request.path().to_owned())
    }

    #[test]
    fn closures_and_functions_of_both_forms() {
        let owned = String::from("owned");
        let shared = Arc::new(String::from("shared"));
        assert_eq!(answer(|_: &Request| "a", "/"), "a");
        assert_eq!(answer(|r: &Request| format!("b{}", r.path()), "/x"), "b/x");
        assert_eq!(answer(named, "/y"), "/y");
        assert_eq!(answer(synchronous(named), "/y"), "/y");
        assert_eq!(answer(asynchronous(named_async), "/z"), "/z");
        assert_eq!(answer(named_async, "/z"), "/z");
        assert_eq!(answer(async |r: Request| r.path().to_owned(), "/c"), "/c");
        assert_eq!(answer(async move |_: Request| owned.clone(), "/"), "owned");
        let handler = move |_: Request| {
            let shared = Arc::clone(&shared);
            async move { shared.to_string() }
        };
        assert_eq!(answer(handler, "/"), "shared");
        let erased = (|_: &Request| "e").into_endpoint();
        assert_eq!(answer(erased.for_worker(), "/"), "e");
        let erased = named_async.into_endpoint();
        assert_eq!(answer(erased.for_worker(), "/f"), "/f");
    }
}
