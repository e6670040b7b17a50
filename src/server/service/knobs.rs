//! What can be set about a server; where each value starts from stands in
//! [`limits`](crate::limits).

use std::io::Write;
use std::time::Duration;

use crate::limits::HEADER_COUNT_MAX;
use crate::runtime::Engine;
use crate::server::service::Server;

impl Server {
    /// How many workers, 1 to [`WORKERS_MAX`](crate::limits::WORKERS_MAX): with another number
    /// [`Server::run`] is an error. Otherwise as many as the processors, and the quota of the cgroup,
    /// allow.
    #[must_use]
    pub fn workers(mut self, count: usize) -> Server {
        self.workers.count = Some(count);
        self
    }

    /// What drives the workers' rings; otherwise what `ROUNDTRIP_ENGINE` says, or io_uring, or epoll
    /// where that is refused, of which one line on standard error tells. A process has one engine, see
    /// [`Engine`]: with another one than it has decided on, [`Server::run`] is an error.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Server {
        self.workers.engine = engine;
        self
    }

    /// From accept, or the first byte of a further request, to the end of the head: 30 s. Then the
    /// connection is closed, with a 408 for who has begun a request.
    #[must_use]
    pub fn header_timeout(mut self, timeout: Duration) -> Server {
        self.options.header_timeout = timeout;
        self
    }

    /// Between two requests of a connection: 90 s from the last byte that was sent. Then it is closed.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Server {
        self.options.idle_timeout = timeout;
        self
    }

    /// Between two signs of progress of a request's body: 30 s. Then reading it fails with an error
    /// that is answered 408, and the connection is closed. Beside, there is a least rate:
    /// [`Server::body_bytes_per_second_min`].
    #[must_use]
    pub fn body_timeout(mut self, timeout: Duration) -> Server {
        self.options.body_timeout = timeout;
        self
    }

    /// From the whole head of a request to the end of its asynchronous handler, and of the body that
    /// it streams: no bound, since some work takes its time. A handler that takes longer is dropped
    /// and answered 503; a body that was begun is cut off, and the connection closes.
    ///
    /// It counts everything that the handler waits for: the body of the request, whose pieces have
    /// a time-out of their own ([`Server::body_timeout`]), and a client that reads slowly. Routes
    /// that need longer say so ([`Router::handler_timeout`](crate::Router::handler_timeout)). A
    /// synchronous handler cannot be interrupted, and a body in memory or of a file is not the
    /// handler's any more. One that has no end ([`Body::until_shutdown`](crate::Body::until_shutdown),
    /// as an event stream) has only to begin in time.
    #[must_use]
    pub fn handler_timeout(mut self, timeout: Duration) -> Server {
        self.options.handler_timeout = Some(timeout);
        self
    }

    /// Between two signs of progress of what is sent: 30 s, and 3 minutes from the first file that a
    /// connection was sent on, since a player may be paused. Then the connection is aborted. This sets
    /// both. Beside, there is a least rate: [`Server::write_bytes_per_second_min`].
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Server {
        self.options.write_timeout = timeout;
        self.options.file_write_timeout = timeout;
        self
    }

    /// How long a shutdown goes on accepting and answering before it stops to listen: not at all.
    ///
    /// Behind a load balancer, as long as that takes to notice that [`readiness`] says no: an
    /// interval of its health check, times the checks that must fail, and some more. Every response
    /// says `Connection: close` meanwhile, so that the connections end one by one.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use roundtrip::Request;
    /// use roundtrip::Router;
    /// use roundtrip::Server;
    /// use roundtrip::server::readiness;
    ///
    /// let router = Router::new()
    ///     .get("/{$}", |_: &Request| "hello")
    ///     .get("/ready", readiness);
    /// Server::new(router)
    ///     .drain_delay(Duration::from_secs(5))
    ///     .bind(":8080")?
    ///     .run()?;
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    ///
    /// [`readiness`]: fn@crate::server::readiness
    #[must_use]
    pub fn drain_delay(mut self, delay: Duration) -> Server {
        self.options.drain_delay = delay;
        self
    }

    /// How long a shutdown waits for the requests that run: 30 s, after the drain delay. What runs
    /// then is aborted.
    #[must_use]
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Server {
        self.options.shutdown_timeout = timeout;
        self
    }

    /// Bytes of a request head, the request line included: 64 KiB, and at most 16 MiB. A longer one
    /// is answered 431.
    #[must_use]
    pub fn head_bytes_max(mut self, bytes: usize) -> Server {
        self.options.head_limits.bytes = bytes;
        self
    }

    /// Fields of a request head: 128, which is also the most that can be set. More are answered
    /// 431.
    #[must_use]
    pub fn header_count_max(mut self, count: usize) -> Server {
        self.options.head_limits.fields = count.min(HEADER_COUNT_MAX);
        self
    }

    /// Bytes of a request target: 16 KiB. A longer one is answered 414.
    #[must_use]
    pub fn target_bytes_max(mut self, bytes: usize) -> Server {
        self.options.head_limits.target_bytes = bytes;
        self
    }

    /// Bytes of a request body: no bound, since bodies are streamed. A longer one is answered 413,
    /// or, where its length is not known before, is an error of the body.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: u64) -> Server {
        self.options.body_bytes_max = Some(bytes);
        self
    }

    /// Bytes of further requests that are kept while one runs: 64 KiB. Beyond, nothing is received.
    #[must_use]
    pub fn pipelined_bytes_max(mut self, bytes: usize) -> Server {
        self.options.pipelined_bytes_max = bytes;
        self
    }

    /// Writes one line per request, from a thread of its own; without it there is no log. See
    /// [`access_log`](crate::server::access_log). A writer that stalls or fails costs lines, which
    /// are counted, and never stalls a worker; what failed is tried again.
    #[must_use]
    pub fn access_log(mut self, writer: impl Write + Send + 'static) -> Server {
        self.access_log = Some(Box::new(writer));
        self
    }
}
