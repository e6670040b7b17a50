//! The client's connections without a core: bytes in, bytes out, for fuzzers and benchmarks.
//!
//! ```text
//!   DetachedTransport::send ──► InFlight          the caller's end
//!                         └───► impl Protocol     a new connection: call on_ready, then drive it
//! ```
//!
//! Pool, exchanges and connections are those of every client; only dialling is left out: what
//! would dial on its own fails with an error of kind `Shutdown`.

use std::time::Duration;

use crate::client::exchange::InFlight;
use crate::client::options::RequestOptions;
use crate::client::options::TransportOptions;
use crate::client::transport::Transport;
use crate::client::transport::TransportStats;
use crate::error::Result;
use crate::http::request::Request;
use crate::net::Protocol;
use crate::runtime::Instant;

/// A transport whose connections are driven by hand.
pub struct DetachedTransport {
    transport: Transport,
}

impl DetachedTransport {
    /// Without connections.
    pub fn new(options: TransportOptions) -> DetachedTransport {
        DetachedTransport {
            transport: Transport::detached(options),
        }
    }

    /// Begins a request, which may take `timeout` altogether. It goes to the connection that rests,
    /// waits for one where the host has all it may have, or gets a new one, which is returned. The
    /// connection has to be called with `on_ready` next, and again when the request is given up.
    ///
    /// # Errors
    ///
    /// The request's URL is missing, or none that can be fetched.
    pub fn send(
        &self,
        request: Request,
        timeout: Option<Duration>,
        now: Instant,
    ) -> Result<(InFlight, Option<impl Protocol + use<>>)> {
        let mut options = RequestOptions::default();
        options.begin(now, timeout);
        self.transport.send_detached(request, options, now)
    }

    /// Counts, now.
    pub fn stats(&self) -> TransportStats {
        self.transport.stats()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;
    use std::task::Poll;
    use std::task::Waker;

    use ::http::Method;
    use url::Url;

    use super::*;
    use crate::net::Io;
    use crate::net::Received;
    use crate::net::Step;

    #[test]
    fn a_request_without_a_socket() {
        let transport = DetachedTransport::new(TransportOptions::default());
        let now = Instant::from_nanoseconds(1);
        let get = || Request::new(Method::GET, Url::parse("http://a.example/").unwrap());
        let (in_flight, connection) = transport.send(get(), None, now).unwrap();
        let mut connection = connection.expect("a new one");
        let mut io = Io::detached(now, 0);
        assert!(matches!(connection.on_ready(&mut io), Step::Continue));
        let head = io.output.take_memory();
        assert!(head.starts_with(b"GET / HTTP/1.1\r\nHost: a.example\r\n"));
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        let step = connection.on_recv(&mut io, Received::Borrowed(answer));
        assert!(matches!(step, Step::Continue));
        let mut in_flight = pin!(in_flight);
        let context = &mut Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(response)) = in_flight.as_mut().poll(context) else {
            panic!("it was answered");
        };
        assert_eq!(response.status_code().as_u16(), 204);
        assert_eq!(transport.stats().pool.idle, 1);
        // The second request finds the connection.
        let (second, connection_again) = transport.send(get(), None, now).unwrap();
        assert!(connection_again.is_none());
        assert!(matches!(connection.on_ready(&mut io), Step::Continue));
        assert!(!io.output.is_empty());
        drop(second);
        assert!(matches!(connection.on_ready(&mut io), Step::Abort));
        connection.on_closed(&io, None);
        assert_eq!(transport.stats().pool.connections, 0);
    }
}
