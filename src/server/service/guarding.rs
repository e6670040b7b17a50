//! Knobs against crowds and slow peers, and hooks: all off unless their text says otherwise.
//!
//! ```text
//!   accept ─ connections_max, connections_per_address_max ─► 503
//!   request ─ requests_in_flight_max ─► 503      response ─ age, count ─► Connection: close
//!   body, response ─ bytes per second ─► cut
//! ```

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::net::Address;
use crate::server::hooks::ConnectionEvent;
use crate::server::hooks::HandlerError;
use crate::server::hooks::Hooks;
use crate::server::hooks::ProtocolError;
use crate::server::proxy_protocol::Peers;
use crate::server::service::Server;

impl Server {
    /// Connections of all workers, counted exactly. One more is accepted, waits up to a second for
    /// its first bytes, and is answered 503 with `Retry-After` and closed: a client or a load
    /// balancer learns at once what a queue would only tell by a time-out. Of those that wait so, a
    /// worker has 256 at most; beyond, connections are closed as they come. They are no requests: of
    /// them tell the statistics and [`Server::on_protocol_error`], not the access log.
    ///
    /// No limit unless set; then what is left of descriptors is the limit, and connections wait in
    /// the kernel's queue.
    #[must_use]
    pub fn connections_max(mut self, count: usize) -> Server {
        self.options.connections_max = Some(count);
        self
    }

    /// Connections from one IPv4 address, or from one /64 of IPv6, over all workers, counted
    /// exactly. One more is answered as with [`Server::connections_max`]. Unix sockets have no
    /// address and are not counted. Where proxies connect, use [`Server::proxy_protocol`]: then the
    /// addresses of their clients are counted.
    ///
    /// No limit unless set. It costs two system calls and a short lock per accept.
    #[must_use]
    pub fn connections_per_address_max(mut self, count: usize) -> Server {
        self.options.connections_per_address_max = Some(count);
        self
    }

    /// Requests whose asynchronous handlers run, or whose bodies are streamed, at a time. One more
    /// is answered 503 with `Retry-After`, and its connection is kept; none is queued. Requests of
    /// synchronous handlers take no time that another could have, and are always served: health
    /// checks, for one.
    ///
    /// No limit unless set. Each worker has an equal share of it, rounded up, since a count over
    /// all of them would be written by every request.
    #[must_use]
    pub fn requests_in_flight_max(mut self, count: usize) -> Server {
        self.options.requests_in_flight_max = Some(count);
        self
    }

    /// Requests that one connection may send: the last one is answered with `Connection: close`.
    /// Balances clients over restarted instances. No limit unless set.
    #[must_use]
    pub fn requests_per_connection_max(mut self, count: u64) -> Server {
        self.options.requests_per_connection_max = Some(count);
        self
    }

    /// How old a connection may get, give or take 10 %, by chance, so that connections that began
    /// together do not end together. From then on its next response says `Connection: close`; one
    /// that idles is closed. A request that runs is not touched, nor is a connection that was
    /// upgraded. No limit unless set.
    #[must_use]
    pub fn connection_age_max(mut self, age: Duration) -> Server {
        self.options.connection_age_max = Some(age);
        self
    }

    /// Least rate of a request's body while the server waits for it: 240 bytes per second; zero for
    /// none. Whoever sends one byte per [`Server::body_timeout`] would else hold a handler for days.
    ///
    /// A body begins with its time-out as credit. Waiting uses it up, and each so many bytes give
    /// back a second, never more than the time-out. Time that the handler takes is not counted.
    /// Where clients rightly send little now and then for long, say in a stream of events, set it
    /// to zero.
    #[must_use]
    pub fn body_bytes_per_second_min(mut self, bytes: u32) -> Server {
        self.options.body_bytes_per_second_min = bytes;
        self
    }

    /// Least rate at which a response is read while the server waits to send it: 240 bytes per
    /// second; zero for none. Counted as with [`Server::body_bytes_per_second_min`], against
    /// [`Server::write_timeout`]. Time in which there is nothing to send is not counted: a slow
    /// stream of events is never cut for its own slowness.
    #[must_use]
    pub fn write_bytes_per_second_min(mut self, bytes: u32) -> Server {
        self.options.write_bytes_per_second_min = bytes;
        self
    }

    /// Takes the addresses of clients from PROXY headers (version 1 or 2), which these peers must
    /// send, and no others: networks, addresses, and `unix` for Unix sockets. Requests, the access
    /// log, limits and hooks then see the announced addresses. All other peers are closed, unless
    /// [`Server::plain_from_other_peers`].
    ///
    /// ```no_run
    /// use roundtrip::Router;
    /// use roundtrip::Server;
    ///
    /// Server::new(Router::new())
    ///     .proxy_protocol(["10.0.0.0/8", "fd00::/8"])?
    ///     .bind(":8080")?
    ///     .run()?;
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Of kind `Invalid`: a text is no network, or there is none.
    pub fn proxy_protocol<T: AsRef<str>>(
        mut self,
        peers: impl IntoIterator<Item = T>,
    ) -> Result<Server> {
        let mut peers = Peers::parse(peers)?;
        let former = self.lifecycle.proxies.take();
        peers.others_are_plain = former.is_some_and(|former| former.others_are_plain);
        self.lifecycle.proxies = Some(Arc::new(peers));
        Ok(self)
    }

    /// Serves peers that [`Server::proxy_protocol`] does not name, without a header: for health
    /// checks that do not come through the proxy, for one. Whoever reaches the port then chooses
    /// nothing but its own address.
    #[must_use]
    pub fn plain_from_other_peers(mut self) -> Server {
        let mut peers = self.lifecycle.proxies.take().unwrap_or_default();
        Arc::make_mut(&mut peers).others_are_plain = true;
        self.lifecycle.proxies = Some(peers);
        self
    }

    /// Is told when a connection begins, becomes active or idle, is upgraded, or ends, on the thread
    /// of its worker; see [`hooks`](crate::server::hooks).
    ///
    /// ```
    /// use roundtrip::Router;
    /// use roundtrip::Server;
    /// use roundtrip::server::hooks::ConnectionState;
    ///
    /// let server = Server::new(Router::new()).on_connection_state(|event| {
    ///     if let ConnectionState::Closed(reason) = event.state {
    ///         println!("{:?}: {} requests; {reason}", event.peer, event.requests);
    ///     }
    /// });
    /// # drop(server);
    /// ```
    #[must_use]
    pub fn on_connection_state(
        mut self,
        hook: impl Fn(&ConnectionEvent) + Send + Sync + 'static,
    ) -> Server {
        self.hooks_mut().set_on_state(hook);
        self
    }

    /// Is told when a peer breaks a rule, is too slow, or one too many, on the thread of its worker:
    /// who, which rule, and what was answered; see [`hooks`](crate::server::hooks).
    ///
    /// ```
    /// use roundtrip::Router;
    /// use roundtrip::Server;
    ///
    /// let server = Server::new(Router::new()).on_protocol_error(|error| {
    ///     let bytes = error.received.escape_ascii();
    ///     eprintln!("{:?}: {} ({:?}) {bytes}", error.peer, error.rule, error.status);
    /// });
    /// # drop(server);
    /// ```
    #[must_use]
    pub fn on_protocol_error(
        mut self,
        hook: impl Fn(&ProtocolError<'_>) + Send + Sync + 'static,
    ) -> Server {
        self.hooks_mut().set_on_error(hook);
        self
    }

    /// Is told when a handler fails, on the thread of its worker: when it returns an error that is
    /// answered with 5xx, panics, or takes too long, when its response cannot be sent as it is, and
    /// when the body that it streams fails. Clients see a status, or a response that is cut; nobody
    /// else hears of the error without this. See [`hooks`](crate::server::hooks).
    ///
    /// ```
    /// use roundtrip::Router;
    /// use roundtrip::Server;
    ///
    /// let server = Server::new(Router::new()).on_handler_error(|failed| eprintln!("{failed}"));
    /// # drop(server);
    /// ```
    #[must_use]
    pub fn on_handler_error(
        mut self,
        hook: impl Fn(&HandlerError<'_>) + Send + Sync + 'static,
    ) -> Server {
        self.hooks_mut().set_on_handler_error(hook);
        self
    }

    /// Is told once that the server listens, with all its addresses: when the rings and listeners of
    /// all workers stand, so that a start that fails is never told as one. On the thread that waits
    /// in [`Server::run`] or [`Server::run_until`], where a signal waits for it and no worker does, or
    /// on the core of [`Server::run_here`], which waits for it. A panic in it is caught, and the server serves.
    ///
    /// ```no_run
    /// use roundtrip::Request;
    /// use roundtrip::Router;
    /// use roundtrip::Server;
    ///
    /// Server::new(Router::new().get("/{$}", |_: &Request| "Hello, World!"))
    ///     .bind("127.0.0.1:8080")?
    ///     .on_listening(|addresses| println!("listening on http://{}", addresses[0]))
    ///     .run()?;
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    #[must_use]
    pub fn on_listening(mut self, told: impl FnOnce(&[Address]) + Send + 'static) -> Server {
        self.on_listening = Some(Box::new(told));
        self
    }

    fn hooks_mut(&mut self) -> &mut Hooks {
        let hooks = self.lifecycle.hooks.get_or_insert_default();
        Arc::make_mut(hooks)
    }
}
