//! The seam of the client: a request in, a response out.
//!
//! ```text
//!   Client ─► middleware ─► middleware ─► Transport       each of them is a RoundTrip
//!                    └─ Next: one of any type, behind a pointer
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use crate::client::transport::Transport;
use crate::error::Result;
use crate::http::request::Request;
use crate::http::response::Response;

/// The seam of the client: anything that turns a request into a response. What wraps one (logging,
/// authentication, a fake for tests) is one itself. The future is polled on one thread and need
/// not be `Send`; dropping it gives the request up.
///
/// An asynchronous closure or function from [`Request`] to [`Result<Response>`] is one too:
///
/// ```
/// use roundtrip::Request;
/// use roundtrip::Response;
/// use roundtrip::Result;
/// use roundtrip::client::RoundTrip;
///
/// struct Tagged<R>(R);
///
/// impl<R: RoundTrip> RoundTrip for Tagged<R> {
///     async fn round_trip(&self, mut request: Request) -> Result<Response> {
///         request.headers_mut().append("X-Tag", "7")?;
///         self.0.round_trip(request).await
///     }
/// }
///
/// let fake = async |request: Request| {
///     Ok(Response::new().body(request.header("x-tag").unwrap_or("none").to_owned()))
/// };
/// let text = roundtrip::block_on(async {
///     let request = Request::for_target("GET", "/")?;
///     Tagged(fake).round_trip(request).await?.text().await
/// })?;
/// assert_eq!(text, "7");
/// # Ok::<(), roundtrip::Error>(())
/// ```
///
/// Pointers to one are none: share it as a [`Next`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not turn a request into a response",
    note = "asynchronous closures and functions from `Request` to `roundtrip::Result<Response>` do",
    note = "to share one, as `Rc` or `Box` would, make a `roundtrip::client::Next` of it"
)]
pub trait RoundTrip {
    /// Sends one request, without following redirects. A status is not an error.
    fn round_trip(&self, request: Request) -> impl Future<Output = Result<Response>>;
}

impl<F> RoundTrip for F
where
    F: AsyncFn(Request) -> Result<Response>,
{
    fn round_trip(&self, request: Request) -> impl Future<Output = Result<Response>> {
        self(request)
    }
}

/// A [`RoundTrip`] of any type, behind a pointer: what middleware stands around. Cheap to clone;
/// clones are the same. It belongs to one core.
///
/// A request through it costs one allocation, unless it is a [`Transport`].
#[derive(Clone)]
pub struct Next {
    inner: Inner,
}

#[derive(Clone)]
enum Inner {
    Transport(Transport),
    Other(Rc<dyn Erased>),
}

/// [`RoundTrip`] in a form that a pointer can have.
trait Erased {
    fn boxed(&self, request: Request) -> Pin<Box<dyn Future<Output = Result<Response>> + '_>>;
}

impl<R: RoundTrip> Erased for R {
    fn boxed(&self, request: Request) -> Pin<Box<dyn Future<Output = Result<Response>> + '_>> {
        Box::pin(self.round_trip(request))
    }
}

impl Next {
    /// Takes one of any type.
    pub fn new(round_trip: impl RoundTrip + 'static) -> Next {
        Next {
            inner: Inner::Other(Rc::new(round_trip)),
        }
    }

    /// Sends one request through it: [`RoundTrip::round_trip`] without the trait.
    ///
    /// # Errors
    ///
    /// Those of what is inside.
    pub async fn run(&self, request: Request) -> Result<Response> {
        match &self.inner {
            Inner::Transport(transport) => transport.round_trip(request).await,
            Inner::Other(other) => other.boxed(request).await,
        }
    }
}

impl RoundTrip for Next {
    fn round_trip(&self, request: Request) -> impl Future<Output = Result<Response>> {
        self.run(request)
    }
}

impl From<Transport> for Next {
    fn from(transport: Transport) -> Next {
        Next {
            inner: Inner::Transport(transport),
        }
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").finish_non_exhaustive()
    }
}
