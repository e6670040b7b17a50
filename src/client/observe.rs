//! What a client tells of its work: what net/http's httptrace tells, and more, for all requests of a
//! client or for one.
//!
//! ```text
//!   request    Wanted ─► Queued ─► Got ─► Sent ─► Informational* ─► Head ─► Finished
//!                                    └ RequestHead    └──── ResponseHead ┘
//!                │                  ▲ └──► Retrying ─► Wanted …
//!   dial         └► Resolving ─► Resolved ─► Connecting ─► Connected ─► Tunneled │ ConnectFailed
//!   connection                                   Rested ─► Got │ Closed
//! ```
//! Observers are called on the core that does the work, between two steps of it: what they do takes
//! time from every connection of the core. A panic in one is caught and counted
//! ([`Core::counters`](crate::runtime::Core::counters)); what it observes goes on. Times are those of
//! the core's turns.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::StatusCode;

use crate::client::pool::OriginRef;
use crate::client::proxy::ProxyUrl;
use crate::error::Error;
use crate::error::Result;
use crate::guard::caught;
use crate::guard::guarded;
use crate::http::headers::Headers;

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request needs a connection to there.
    Wanted {
        /// Where to.
        origin: OriginRef<'a>,
    },
    /// The host has all the connections it may have: the request waits for one.
    Queued {
        /// Where to.
        origin: OriginRef<'a>,
    },
    /// A name is looked up.
    Resolving {
        /// The name.
        host: &'a str,
    },
    /// It has these addresses.
    Resolved {
        /// The name.
        host: &'a str,
        /// Not empty, in the order in which they are tried.
        addresses: &'a [SocketAddr],
        /// How long it took; zero where they were known.
        time: Duration,
    },
    /// An address is tried.
    Connecting {
        /// Which one.
        address: SocketAddr,
    },
    /// It answered.
    Connected {
        /// Which one.
        address: SocketAddr,
        /// How long it took.
        time: Duration,
    },
    /// It did not.
    ConnectFailed {
        /// Which one.
        address: SocketAddr,
        /// Why.
        error: &'a Error,
    },
    /// A proxy has made a tunnel to the host.
    Tunneled {
        /// The proxy.
        proxy: &'a ProxyUrl,
        /// How long it took, from the connection to the proxy on.
        time: Duration,
    },
    /// A request has its connection.
    Got {
        /// Which connection, as numbered by the client's core.
        connection: u64,
        /// True exactly when it has served another request.
        is_reused: bool,
        /// How long the request waited for it, dialling included.
        waited: Duration,
    },
    /// The head of the request was written.
    RequestHead {
        /// It, byte by byte, credentials included.
        bytes: &'a [u8],
    },
    /// All of the request was written.
    Sent {
        /// Which connection.
        connection: u64,
    },
    /// The body waits for `100 Continue`.
    ContinueAwaited {
        /// Which connection.
        connection: u64,
    },
    /// A head came, informational or final; what it says is told next.
    ResponseHead {
        /// It, byte by byte.
        bytes: &'a [u8],
    },
    /// An informational response, 100 included.
    Informational {
        /// 1xx, without 101.
        status: StatusCode,
        /// Its fields.
        headers: &'a Headers,
    },
    /// The final head came.
    Head {
        /// Its status.
        status: StatusCode,
        /// Since the request was begun.
        time: Duration,
    },
    /// The connection was lost without an answer, and the request goes to another one.
    Retrying,
    /// The last byte of the response came.
    Finished {
        /// Which connection.
        connection: u64,
        /// True exactly when our kernel has taken all of the request by then: false where the
        /// response came before the peer had read it, and maybe instead of reading it.
        is_sent: bool,
    },
    /// The request failed, or its body did.
    Failed {
        /// Why.
        error: &'a Error,
    },
    /// A connection went back to the pool.
    Rested {
        /// Which connection.
        connection: u64,
    },
    /// A connection is not used again.
    Closed {
        /// Which connection.
        connection: u64,
        /// Why, in a few words.
        reason: &'static str,
    },
}

/// Who is told. Cheap to clone.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(&Event<'_>) + Send + Sync>);

impl Observer {
    /// Calls `observe` for every event.
    pub fn new(observe: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Observer {
        Observer(Arc::new(observe))
    }

    /// Tells it. A panic in it is caught.
    pub fn tell(&self, event: &Event<'_>) {
        let _ = guarded(|| (self.0)(event));
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// What is called for informational responses, and may end the request.
#[derive(Clone)]
pub struct OnInformational(Arc<InformationalHook>);

type InformationalHook = dyn Fn(StatusCode, &Headers) -> Result<()> + Send + Sync;

impl OnInformational {
    /// Calls `hook` with the status and the fields.
    pub fn new(
        hook: impl Fn(StatusCode, &Headers) -> Result<()> + Send + Sync + 'static,
    ) -> OnInformational {
        OnInformational(Arc::new(hook))
    }

    /// What it says, which a panic says too.
    pub(super) fn call(&self, status: StatusCode, headers: &Headers) -> Result<()> {
        caught(|| (self.0)(status, headers))
            .unwrap_or_else(|panic| Err(Error::panicked("on_informational", &panic)))
    }
}

impl fmt::Debug for OnInformational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnInformational")
    }
}

/// Who hears of one thing: those who observe the request, and those who observe the client.
#[derive(Clone, Debug, Default)]
pub(super) struct Observers {
    pub(super) request: Option<Observer>,
    pub(super) client: Option<Observer>,
}

impl Observers {
    /// Tells both, what belongs to the request first.
    pub(super) fn tell(&self, event: &Event<'_>) {
        for observer in [&self.request, &self.client].into_iter().flatten() {
            observer.tell(event);
        }
    }
}
