//! What a client sends its requests by: connections, and what was put around them.
//!
//! ```text
//!   builder.middleware(a).middleware(b)          per core, when the client is first used there:
//!   a(b(Transport)) ◄── Wrapped ◄── yes ── is there any? ── no ──► Plain ──► Transport
//! ```
//! The plain way has no pointers and allocates nothing.

use std::fmt;
use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use crate::client::exchange::InFlight;
use crate::client::failure::no_connection;
use crate::client::failure::total_timeout;
use crate::client::options::RequestOptions;
use crate::client::options::TotalTime;
use crate::client::options::TransportOptions;
use crate::client::round_trip::Next;
use crate::client::round_trip::RoundTrip;
use crate::client::transport::Transport;
use crate::error::Phase;
use crate::error::Result;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::runtime;
use crate::runtime::Core;

type Base = Arc<dyn Fn() -> Next + Send + Sync>;
type Layer = Arc<dyn Fn(Next) -> Next + Send + Sync>;

/// What was put around the transport of a client, or in its place.
#[derive(Clone, Default)]
pub(super) struct Around {
    base: Option<Base>,
    /// The first is outermost.
    layers: Vec<Layer>,
}

impl Around {
    /// Puts `make` in the place of the transport.
    pub(super) fn set_base<R: RoundTrip + 'static>(
        &mut self,
        make: impl Fn() -> R + Send + Sync + 'static,
    ) {
        self.base = Some(Arc::new(move || Next::new(make())));
    }

    /// Adds what stands inside of all before it.
    pub(super) fn push<R: RoundTrip + 'static>(
        &mut self,
        make: impl Fn(Next) -> R + Send + Sync + 'static,
    ) {
        self.layers
            .push(Arc::new(move |next| Next::new(make(next))));
    }
}

impl fmt::Debug for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Around")
            .field("has_base", &self.base.is_some())
            .field("layers", &self.layers.len())
            .finish()
    }
}

/// What a client sends its requests by, on one core.
#[derive(Clone)]
pub(super) enum Chain {
    /// Connections alone.
    Plain(Transport),
    /// Middleware around connections, or around what stands in their place.
    Wrapped {
        outermost: Next,
        transport: Option<Transport>,
    },
}

/// The request that was answered, for who follows a redirect.
pub(super) enum Sent {
    Plain(InFlight),
    Copy(Option<Request>),
}

impl Chain {
    /// Calls what users gave to make their parts.
    pub(super) fn on(core: &Rc<Core>, options: &TransportOptions, around: &Around) -> Chain {
        let (innermost, transport) = match &around.base {
            Some(make) => (make(), None),
            None => {
                let transport = Transport::on(core, options.clone());
                if around.layers.is_empty() {
                    return Chain::Plain(transport);
                }
                (Next::from(transport.clone()), Some(transport))
            }
        };
        let layers = around.layers.iter().rev();
        Chain::Wrapped {
            outermost: layers.fold(innermost, |next, layer| layer(next)),
            transport,
        }
    }

    /// The connections, unless something stands in their place.
    pub(super) fn transport(&self) -> Option<&Transport> {
        match self {
            Chain::Plain(transport) => Some(transport),
            Chain::Wrapped { transport, .. } => transport.as_ref(),
        }
    }

    /// One request, no longer than the time for everything, and what is left of it for a redirect
    /// if that is followed.
    pub(super) async fn send(
        &self,
        mut request: Request,
        options: &RequestOptions,
        follows: bool,
    ) -> Result<(Response, Sent)> {
        match self {
            Chain::Plain(transport) => {
                let mut in_flight = transport.send_with(request, options.clone(), follows);
                let response = head_of(&mut in_flight, options).await?;
                Ok((response, Sent::Plain(in_flight)))
            }
            Chain::Wrapped { outermost, .. } => {
                let copy = follows.then(|| copy(&mut request)).flatten();
                if !options.is_default() {
                    options.clone().put_into(&mut request);
                }
                let sending = pin!(outermost.run(request));
                let response = within(sending, options.total, |_| Phase::ResponseHead).await?;
                Ok((response, Sent::Copy(copy)))
            }
        }
    }
}

impl Sent {
    /// The request; without its body where that cannot be sent a second time.
    pub(super) fn take_request(&mut self) -> Option<Request> {
        match self {
            Sent::Plain(in_flight) => in_flight.take_request(),
            Sent::Copy(copy) => copy.take(),
        }
    }
}

/// The same request once more; without its body where that cannot be sent a second time.
fn copy(request: &mut Request) -> Option<Request> {
    let body = request.take_body();
    let mut copy = request.try_clone()?;
    if let Some(same) = body.try_clone() {
        copy.set_body(same);
    }
    request.set_body(body);
    Some(copy)
}

/// Waits for the head of a response, no longer than the caller's time for everything, and for a
/// connection no longer than the caller's time for that.
pub(super) async fn head_of(
    in_flight: &mut InFlight,
    options: &RequestOptions,
) -> Result<Response> {
    let total = options.total;
    let limit = match options.own_connect_timeout() {
        Some(limit) => Some((limit, "the request's connect_timeout")),
        None => in_flight
            .pool_timeout()
            .map(|limit| (limit, "pool_timeout")),
    };
    if let Some((limit, knob)) = limit {
        // The time for everything may be over before: then that is what is told, below.
        let now = Core::try_current()?.now();
        let left = total.map_or(limit, |total| limit.min(total.deadline - now));
        let connected = runtime::timeout(left, poll_fn(|cx| in_flight.poll_connected(cx))).await;
        if connected.is_err() && left == limit {
            return Err(no_connection(limit, knob, in_flight.phase()));
        }
    }
    within(Pin::new(in_flight), total, |in_flight| in_flight.phase()).await
}

/// Waits no longer than the caller's time for everything.
async fn within<F: Future<Output = Result<Response>>>(
    mut sending: Pin<&mut F>,
    total: Option<TotalTime>,
    phase: impl Fn(Pin<&mut F>) -> Phase,
) -> Result<Response> {
    let Some(total) = total else {
        return sending.await;
    };
    let mut sleep = pin!(runtime::sleep_until(total.deadline));
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = sending.as_mut().poll(cx) {
            return Poll::Ready(outcome);
        }
        if sleep.as_mut().poll(cx).is_ready() {
            let phase = phase(sending.as_mut());
            return Poll::Ready(Err(total_timeout(total.timeout, phase)));
        }
        Poll::Pending
    })
    .await
}
